"""What each call does on a page, by mouse, keyboard and the page's own script; the same for every driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from vlmq_env_miniwob.actions import Call
from vlmq_env_miniwob.places import TASK_AREA

SETTLED = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))"
"""Awaits the next picture of the page, and what its handlers put off until then."""

ASIDE_PX = (480, 300)
"""A point of the window outside every area, where the mouse touches nothing."""
_MIDDLE_PX = (TASK_AREA.width_px / 2, 130.0)
_DRAG_STEPS = 8
"""Moves of the mouse in a drag: pages follow it on the way."""
_WAIT_MS = 300
"""How long `noop` waits: what a page does by itself, unfolding a menu for instance, goes on meanwhile."""
_GONE = "the element is covered or gone"


class Hands(Protocol):
    """A mouse and a keyboard on one page; points in pixels from its top left."""

    def evaluate(self, function: str, argument: Any = None) -> Any:
        """What a JavaScript function returns for the argument; a promise is awaited."""

    def move(self, x: float, y: float) -> None:
        """Move the mouse there."""

    def click(self, x: float, y: float, times: int) -> None:
        """Move there and click once or twice."""

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        """Press the mouse's button at the first of these points and release it at the last, by way of the others."""

    def wheel(self, dx: float, dy: float) -> None:
        """Turn the wheel where the mouse is."""

    def press(self, keys: str) -> None:
        """Press keys such as "a", "Enter" or "Control+c"."""

    def type(self, text: str) -> None:
        """Strike the keys of a text, one after the other."""

    def insert(self, text: str) -> None:
        """Put text where the caret is, in place of what is selected."""

    def wait(self, milliseconds: float) -> None:
        """Let the page go on."""


def act(hands: Hands, call: Call, keys: Sequence[int]) -> str | None:
    """Do what a call says.

    Args:
        hands: on the page.
        call: the action.
        keys: of the elements that its bids name, in order.

    Returns:
        Why it cannot be done, the page untouched; None where it was done.
    """
    arguments = call.arguments
    numbers = [value for value in arguments if isinstance(value, float)]
    match call.name:
        case "noop":
            hands.wait(_WAIT_MS)
            return None
        case "mouse_click" | "mouse_dblclick":
            hands.click(numbers[0], numbers[1], 2 if call.name == "mouse_dblclick" else 1)
            return None
        case "mouse_move":
            hands.move(numbers[0], numbers[1])
            return None
        case "keyboard_press":
            hands.press(str(arguments[0]))
            return None
        case "keyboard_type":
            hands.type(str(arguments[0]))
            return None
        case "mouse_drag":
            _drag(hands, numbers[:2], numbers[2:])
            return None
        case "scroll":
            # The wheel turns where the mouse is.
            hands.move(*_MIDDLE_PX)
            hands.wheel(numbers[0], numbers[1])
            # The page scrolls a frame or two later; a picture before that would show it where it was.
            hands.evaluate(SETTLED)
            return None
        case "fill" | "clear":
            return _fill(hands, keys[0], str(arguments[1]) if call.name == "fill" else "")
        case "focus" | "press":
            if not hands.evaluate("key => vlmqPage.focus(key)", keys[0]):
                return _GONE
            if call.name == "press":
                hands.press(str(arguments[1]))
            return None
        case "select_option":
            wanted = [keys[0], list(arguments[1])]  # type: ignore[arg-type]  # the parser made it a tuple
            done = hands.evaluate("([key, wanted]) => vlmqPage.choose(key, wanted)", wanted)
            return None if done else "the element is no list, or does not offer that"
    points = [hands.evaluate("key => vlmqPage.pointOf(key)", key) for key in keys]
    if any(point is None for point in points):
        return _GONE
    if call.name == "drag_and_drop":
        _drag(hands, points[0], points[1])
    elif call.name == "hover":
        hands.move(*points[0])
    else:
        hands.click(points[0][0], points[0][1], 2 if call.name == "dblclick" else 1)
    return None


def _drag(hands: Hands, start: Sequence[float], end: Sequence[float]) -> None:
    parts = [step / _DRAG_STEPS for step in range(_DRAG_STEPS + 1)]
    hands.drag([(start[0] + (end[0] - start[0]) * p, start[1] + (end[1] - start[1]) * p) for p in parts])


def _fill(hands: Hands, key: int, text: str) -> str | None:
    if not hands.evaluate("key => vlmqPage.select(key)", key):
        return "the element takes no text"
    if not hands.evaluate("([key, text]) => vlmqPage.setValue(key, text)", [key, text]):
        if text:
            hands.insert(text)
        else:
            hands.press("Delete")
    return None
