"""What an import was told, and what it could not use or had to change, counted by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vlmq.prompt.parse import ReplyFormat

ActionIn = Literal["auto", "json", "react", "plain"]


@dataclass(frozen=True)
class Choices:
    """What the files do not say, or what to make of it.

    Attributes:
        env: the environment's id, where the file names none.
        success: whether trajectories that do not say so succeeded; None leaves them out.
        pictures: the folder that the paths of pictures are relative to; None is the file's own.
        action: where in a reply the action stands. `json`: the value of "action" in an object; `react`: what follows
            the last "Action:"; `plain`: the whole reply; `auto`: the first of these that is there. None is what the
            format usually does.
        rewrite: give every reply in which an action was found the form that an agent of vlmq is asked for; None
            leaves replies as they were said.
    """

    env: str | None = None
    success: bool | None = None
    pictures: Path | None = None
    action: ActionIn | None = None
    rewrite: ReplyFormat | None = None


class LeftOut(Exception):
    """A trajectory cannot be used: a reason to count, and the sentence for the first of its kind."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass
class Tally:
    """Counts of an import.

    Attributes:
        left_out: trajectories that were not used, by reason.
        first: the first trajectory of each reason, in a sentence.
        notes: what was changed or could not be aligned in those that were used.
    """

    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)

    def leave_out(self, why: LeftOut) -> None:
        """Count a trajectory that was not used."""
        self.left_out[why.reason] += 1
        self.first.setdefault(why.reason, str(why))

    def lines(self) -> list[str]:
        """For a person: one line a reason."""
        found = [
            f"left out {n:,}: {reason} (first: {self.first[reason]})"
            for reason, n in self.left_out.most_common()
        ]
        return found + [f"{note}: {n:,}" for note, n in self.notes.most_common()]
