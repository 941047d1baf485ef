"""History: which earlier turns stand in the context of a reply."""

from __future__ import annotations

from typing import Literal

History = Literal["none", "all"] | int
"""`none`: each turn stands alone; n: the n turns before it are seen too; `all`: the whole episode."""


def window_start(turn: int, history: History) -> int:
    """First turn of the context in which the reply of `turn` is made."""
    if history == "all":
        return 0
    return max(0, turn - (0 if history == "none" else history))
