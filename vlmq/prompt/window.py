"""History: which earlier turns, and which of their pictures, stand in the context of a reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vlmq.api import Observation, UserError

Turns = Literal["none", "all"] | int
"""`none`: each turn stands alone; n: the n turns before it are seen too; `all`: the whole episode."""

Pictures = Literal["all"] | int
"""`all`: every turn in the context shows its picture; n: only the present turn and the n before it."""


@dataclass(frozen=True)
class History:
    """What an agent remembers of its episode.

    Args:
        turns: earlier turns in the context, their texts and the replies to them.
        pictures: earlier turns whose pictures stay in it too. A picture is most of a prompt's tokens, so an agent that
            has only to know what it did is far cheaper with 0.
        per_reply: whether every reply is learnt in a window of its own even where one sequence could hold them all: the
            model reads a prompt otherwise once it has grown.

    Raises:
        UserError: a number is negative.
    """

    turns: Turns = "none"
    pictures: Pictures = "all"
    per_reply: bool = False

    def __post_init__(self) -> None:
        for name, value in {"model.history": self.turns, "model.history_pictures": self.pictures}.items():
            if isinstance(value, int) and value < 0:
                raise UserError(f"{name} is {value}; a number of turns is 0 or more.")

    @property
    def append_only(self) -> bool:
        """Whether the context of a turn begins with the whole context of the turn before it, read the same way."""
        return self.turns == "all" and self.pictures == "all" and not self.per_reply

    def start(self, turn: int) -> int:
        """First turn of the context in which the reply of `turn` is made."""
        if self.turns == "all":
            return 0
        return max(0, turn - (0 if self.turns == "none" else self.turns))

    def shows(self, seen: int, turn: int) -> bool:
        """Whether the picture of turn `seen` is in the context of turn `turn`."""
        return self.pictures == "all" or turn - seen <= self.pictures

    def grows(self, turn: int) -> bool:
        """Whether the context of the next turn begins where that of `turn` does, up to a picture that is left out."""
        return self.start(turn + 1) == self.start(turn)

    def context(self, observations: Sequence[Observation], turn: int, first: int = 0) -> list[Observation]:
        """What stands in the context of a turn, from the window's start to the turn itself.

        Args:
            observations: of the episode from turn `first` on, up to `turn` at least.
            turn: whose reply is to be made.
            first: turn of the first observation given.
        """
        return [
            seen if self.shows(index, turn) else replace(seen, image=None)
            for index in range(max(first, self.start(turn)), turn + 1)
            for seen in [observations[index - first]]
        ]
