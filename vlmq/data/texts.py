"""Any text at all in a place that takes only well-formed Unicode without NUL; and counts in words."""

from __future__ import annotations

import json

_MARK = "\ufdd0json:"  # a code point that no text ever holds


def storable(text: str) -> str:
    """The text itself, or a form of it without lone surrogates and NULs where it has some; `plain` undoes it."""
    if "\0" not in text and not text.startswith(_MARK) and _well_formed(text):
        return text
    return _MARK + json.dumps(text)


def plain(text: str) -> str:
    """What `storable` was given. Raises ValueError where it cannot have made this."""
    return str(json.loads(text[len(_MARK) :])) if text.startswith(_MARK) else text


def readable(text: str) -> str:
    """The text with a question mark for whatever is not well-formed: for others, not for the way back."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def counted(number: int, noun: str) -> str:
    """The number and its noun: "1 episode", "2,000 episodes"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _well_formed(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
