"""What a check is: a claim about an environment, asked of it by a function that passes, fails or cannot ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmq.api.testing.subject import Subject

Ask = Callable[["Subject"], str]
"""Asks the claim of a subject; returns what was seen, in a few words or "". Raises Fault or Skip."""


class Fault(Exception):
    """The claim does not hold: one line each on what was seen, what was expected, and how to mend it."""

    def __init__(self, seen: str, expected: str, mend: str) -> None:
        super().__init__(f"seen: {seen}; expected: {expected}; mend: {mend}")
        self.seen, self.expected, self.mend = seen, expected, mend


class Skip(Exception):
    """The claim cannot be asked of this environment; its text is the reason."""


@dataclass(frozen=True)
class Question:
    """One check.

    Attributes:
        name: identifies it in reports and as a pytest method.
        claim: the sentence that holds if it passes.
        needs: the names of checks without which this one would only repeat their fault.
        ask: finds out.
    """

    name: str
    claim: str
    needs: tuple[str, ...]
    ask: Ask


def question(*needs: str) -> Callable[[Ask], Question]:
    """Make a check of a function: its name, and the first line of its docstring as the claim."""

    def of(ask: Ask) -> Question:
        claim = (ask.__doc__ or "").strip().splitlines()[0]
        return Question(getattr(ask, "__name__", ""), claim, needs, ask)

    return of


def shown(text: object, limit: int = 60) -> str:
    """A value as one short line of ASCII, for messages about texts that no terminal can print."""
    line = ascii(text)
    return line if len(line) <= limit else f"{line[:limit]}... ({len(line)} characters)"


def raised(error: BaseException) -> str:
    """An exception as one line: its class, what it says, and where in the code it was raised."""
    said = " ".join(str(error).encode("utf-8", "backslashreplace").decode().split())[:300]
    trace, where = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        where = f" ({file.rpartition('/')[2]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {said}{where}" if said else f"{type(error).__name__}{where}"
