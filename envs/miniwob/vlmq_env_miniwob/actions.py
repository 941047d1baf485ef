"""The action language: one call per turn, `click('12')`, `mouse_click(80, 60)` or `noop()`, strictly parsed.

The names and arguments follow BrowserGym's. Text is matched, never evaluated. What the agent gets wrong is
a value, `Refusal`, not an exception.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

AREA_WIDTH_PX = 160
AREA_HEIGHT_PX = 210

CLICK_SYNTAX = "click('bid')"
MOUSE_SYNTAX = "mouse_click(x, y)"
NOOP_SYNTAX = "noop()"

_BID = r"(?:'([1-9][0-9]{0,4})'|\"([1-9][0-9]{0,4})\")"
_NUMBER = r"([0-9]{1,3}(?:\.[0-9]{1,3})?)"
_CLICK = re.compile(rf"click\( *{_BID} *\)")
_MOUSE_CLICK = re.compile(rf"mouse_click\( *{_NUMBER} *, *{_NUMBER} *\)")
_NOOP = re.compile(r"noop\( *\)")


@dataclass(frozen=True)
class Click:
    """Click the element that carries this bid (browser id, the number in the element list)."""

    bid: str


@dataclass(frozen=True)
class MouseClick:
    """Click a point of the task area, in pixels from its top left corner."""

    x: float
    y: float


@dataclass(frozen=True)
class Noop:
    """Do nothing for one turn."""


@dataclass(frozen=True)
class Refusal:
    """A text that is no legal action, with one line that tells the agent why."""

    reason: str


def parse(text: str) -> Click | MouseClick | Noop | Refusal:
    """Read one action; blanks around it and inside the parentheses are allowed, nothing else is.

    Whether a bid is on the page is not known here; a point outside the task area is refused here.
    """
    call = text.strip(" \t\r\n")
    if match := _CLICK.fullmatch(call):
        return Click(match[1] or match[2])
    if match := _MOUSE_CLICK.fullmatch(call):
        x, y = float(match[1]), float(match[2])
        if x >= AREA_WIDTH_PX or y >= AREA_HEIGHT_PX:
            return Refusal(
                f"the point lies outside the page: x must be below {AREA_WIDTH_PX}, y below {AREA_HEIGHT_PX}"
            )
        return MouseClick(x, y)
    if _NOOP.fullmatch(call):
        return Noop()
    return Refusal(f"not an action: expected one of {CLICK_SYNTAX}, {MOUSE_SYNTAX}, {NOOP_SYNTAX}")


def click(bid: str) -> str:
    """The canonical text of a click on the element with this bid."""
    return f"click('{bid}')"
