"""The same deeds with mouse and keyboard alone, for an agent that is told no bids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vlmq_env_miniwob.actions import Refusal, parse, write
from vlmq_env_miniwob.places import Area
from vlmq_env_miniwob.view import Element

BY_ELEMENT_ALONE = frozenset({"choose-list", "click-scroll-list", "enter-date", "enter-time", "use-spinner"})
"""Tasks whose expert needs bids: a list unfolds outside the picture, and their fields take a text as a whole only."""
SELECT_ALL = write("keyboard_press", "Control+a")
_BY_MOUSE = {
    "click": "mouse_click",
    "focus": "mouse_click",
    "dblclick": "mouse_dblclick",
    "hover": "mouse_move",
    "drag_and_drop": "mouse_drag",
}


@dataclass(frozen=True)
class Step:
    """An action without bids.

    Attributes:
        action: its text.
        last: whether it completes what it is a step of; before a text is typed, its field is clicked.
    """

    action: str
    last: bool = True


def by_point(
    action: str, elements: Mapping[str, Element], area: Area, focused: str | None, before: str | None
) -> Step | None:
    """The next step on the way to what an action does; the action itself, where it names no element.

    Args:
        action: in the language of `actions`.
        elements: what can be acted on, by bid.
        area: that points lie in.
        focused: bid of the element that has the focus.
        before: the action done before.

    Returns:
        None where mouse and keyboard alone do not do it: the options of a list unfold outside the picture.
    """
    call = parse(action, area)
    if isinstance(call, Refusal) or not call.bids:
        return Step(action)
    first = call.bids[0]
    points = [coordinate for bid in call.bids for coordinate in elements[bid].point]
    if call.name in _BY_MOUSE:
        return Step(write(_BY_MOUSE[call.name], *points))
    if call.name == "select_option":
        return None
    if first != focused:
        return Step(write("mouse_click", *points), last=False)
    if call.name == "press":
        return Step(write("keyboard_press", call.arguments[1]))
    if elements[first].value and before != SELECT_ALL:
        return Step(SELECT_ALL, last=False)
    text = str(call.arguments[1]) if call.name == "fill" else ""
    return Step(write("keyboard_type", text) if text else write("keyboard_press", "Delete"))
