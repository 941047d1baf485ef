"""The action language: one call a turn, such as `click('12')`, `fill('12', 'text')` or `mouse_click(80, 60)`.

Names and arguments follow BrowserGym's. Text is matched, never evaluated, in time that grows with its length alone.
What the agent gets wrong is a value, `Refusal`, not an exception.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from vlmq_env_miniwob.places import TASK_AREA, Area

Argument = str | float | tuple[str, ...]

BID, TEXT, TYPED, KEYS, CHOICE, X, Y, STEP = "bid", "text", "typed", "keys", "choice", "x", "y", "step"
"""What an argument is: a bid, any text, one key by key, keys, options of a list, a point's coordinates, a distance."""

CALLS: dict[str, tuple[str, ...]] = {
    "click": (BID,),
    "dblclick": (BID,),
    "hover": (BID,),
    "focus": (BID,),
    "clear": (BID,),
    "fill": (BID, TEXT),
    "press": (BID, KEYS),
    "select_option": (BID, CHOICE),
    "drag_and_drop": (BID, BID),
    "scroll": (STEP, STEP),
    "mouse_click": (X, Y),
    "mouse_dblclick": (X, Y),
    "mouse_move": (X, Y),
    "mouse_drag": (X, Y, X, Y),
    "keyboard_press": (KEYS,),
    "keyboard_type": (TYPED,),
    "noop": (),
}
"""Every call with what it takes."""

NOOP = "noop()"
_BY_ELEMENT = "click('bid'), fill('bid', 'text'), press('bid', 'Enter'), select_option('bid', 'option')"
_BY_POINT = "mouse_click(x, y), mouse_drag(x, y, x, y), scroll(dx, dy)"
_BY_KEY = "keyboard_type('text'), keyboard_press('Enter')"

_NAME = re.compile(r"([a-z_]{1,20})\(")
_STRING = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]{1,4}(?:\.[0-9]{1,3})?")
_BID = re.compile(r"[1-9][0-9]{0,4}")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t"}
_NAMED_KEYS = (
    "Enter|Tab|Escape|Backspace|Delete|Space|ArrowUp|ArrowDown|ArrowLeft|ArrowRight|Home|End|PageUp|PageDown"
)
_KEYS = re.compile(rf"(?:(?:Control|Shift|Alt)\+){{0,3}}(?:[A-Za-z0-9]|{_NAMED_KEYS})")
_MOST_OPTIONS = 100
"""Options that one call may name."""
_MOST_TYPED = 200
"""Letters that one call may type."""
_FARTHEST_PX = 1000
_FINEST_PX = Decimal("0.001")
_MOST_QUOTED = 40
"""Letters of a wrong argument that a refusal quotes."""
_BLANK = " \t\r\n"


@dataclass(frozen=True)
class Call:
    """One action that is well formed: its name and its arguments."""

    name: str
    arguments: tuple[Argument, ...] = ()

    @property
    def bids(self) -> tuple[str, ...]:
        """The elements it names."""
        kinds = CALLS[self.name]
        return tuple(str(value) for kind, value in zip(kinds, self.arguments, strict=True) if kind == BID)


@dataclass(frozen=True)
class Refusal:
    """A text that is no legal action, with one line that tells the agent why.

    Attributes:
        reason: the line.
        by_page: whether it reads as an action, and the page as it is now does not allow it.
    """

    reason: str
    by_page: bool = False


def parse(text: str, area: Area = TASK_AREA) -> Call | Refusal:
    """Read one action; blanks around it and between its parts are allowed, nothing else is.

    Whether a bid is on the page is not known here; a point outside the page's area is refused here.
    """
    call = text.strip(_BLANK)
    match = _NAME.match(call)
    if match is None or match[1] not in CALLS:
        return Refusal(f"not an action: expected one of {', '.join(CALLS)}")
    name = match[1]
    found = _arguments(call, match.end(), at_most=len(CALLS[name]))
    if found is None or len(found) != len(CALLS[name]):
        return Refusal(f"not an action: expected {signature(name)}")
    values: list[Argument] = []
    for kind, value in zip(CALLS[name], found, strict=True):
        read = _read(kind, value, area)
        if isinstance(read, Refusal):
            return read
        values.append(read)
    return Call(name, tuple(values))


def signature(name: str) -> str:
    """How a call is written, such as "fill('bid', 'text')"."""
    numbers = (X, Y, STEP)
    return f"{name}({', '.join(kind if kind in numbers else repr(kind) for kind in CALLS[name])})"


def syntax(*, by_element: bool) -> str:
    """The line of the prompt that tells which actions there are."""
    calls = [_BY_ELEMENT, _BY_POINT] if by_element else [_BY_POINT, _BY_KEY]
    return ", ".join([*calls, NOOP])


def write(name: str, *arguments: Argument) -> str:
    """The canonical text of a call, which `parse` reads back; of a number the decimals that the language knows."""
    return f"{name}({', '.join(_written(argument) for argument in arguments)})"


def click(bid: str) -> str:
    """The canonical text of a click on the element with this bid."""
    return write("click", bid)


def _arguments(call: str, start: int, at_most: int) -> list[Argument] | None:
    """What stands between the parentheses, which must end the call; None where that cannot be read or is too much."""
    found: list[Argument] = []
    place = _past_blanks(call, start)
    if call[place:] == ")":
        return found
    while len(found) < at_most:
        value, place = _value(call, place)
        if value is None:
            return None
        found.append(value)
        place = _past_blanks(call, place)
        if call[place:] == ")":
            return found
        if call[place : place + 1] != ",":
            return None
        place = _past_blanks(call, place + 1)
    return None


def _value(call: str, place: int) -> tuple[Argument | None, int]:
    """The value that begins at a place, None where there is none, and the place after it."""
    if match := _STRING.match(call, place):
        return _unescaped(match[1] if match[1] is not None else match[2]), match.end()
    if match := _NUMBER.match(call, place):
        return float(match[0]), match.end()
    if call[place : place + 1] != "[":
        return None, place
    options: list[str] = []
    while match := _STRING.match(call, _past_blanks(call, place + 1)):
        option = _unescaped(match[1] if match[1] is not None else match[2])
        place = _past_blanks(call, match.end())
        if option is None:
            return None, place
        options.append(option)
        if len(options) > _MOST_OPTIONS:
            return None, place
        if call[place : place + 1] == "]":
            return tuple(options), place + 1
        if call[place : place + 1] != ",":
            return None, place
    return None, place


def _read(kind: str, value: Argument, area: Area) -> Argument | Refusal:
    """An argument as what it is to be."""
    if kind in (X, Y, STEP):
        if not isinstance(value, float):
            return Refusal(f"{_quoted(value)} stands where a number of pixels is expected")
        limit = {X: area.width_px, Y: area.height_px}.get(kind)
        if limit is not None and not 0 <= value < limit:
            return Refusal(
                f"the point lies outside the page: x must be below {area.width_px}, y below {area.height_px}"
            )
        return value if abs(value) <= _FARTHEST_PX else Refusal(f"{value:g} pixels is too far")
    if kind == CHOICE:
        return (value,) if isinstance(value, str) else value
    if not isinstance(value, str):
        return Refusal(f"a text in quotes is expected where {_quoted(value)} stands")
    if kind == BID and not _BID.fullmatch(value):
        return Refusal(f"{value[:20]!r} is no bid: bids are the numbers in the element list, in quotes")
    if kind == TYPED and len(value) > _MOST_TYPED:
        return Refusal(f"a text of {len(value)} letters is too long to type; {_MOST_TYPED} go at once")
    if kind == KEYS and not _KEYS.fullmatch(value):
        return Refusal(f"{value[:20]!r} is no key: 'a', 'Enter', 'Control+c', for instance, are")
    return value


def _unescaped(text: str) -> str | None:
    """A string without its backslashes; None where one stands before something that needs none."""
    if any(mark not in _ESCAPES for mark in _ESCAPE.findall(text)):
        return None
    return _ESCAPE.sub(lambda match: _ESCAPES[match[1]], text)


def _written(argument: Argument) -> str:
    if isinstance(argument, tuple):
        return f"[{', '.join(_written(option) for option in argument)}]"
    if isinstance(argument, str):
        marks = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t"}
        return f"'{''.join(marks.get(letter, letter) for letter in argument)}'"
    # Never rounded up: a point of the task area stays in it.
    return format(Decimal(str(argument)).quantize(_FINEST_PX, ROUND_DOWN).normalize(), "f")


def _quoted(argument: Argument) -> str:
    whole = repr(argument)
    return whole if len(whole) <= _MOST_QUOTED else f"{whole[:_MOST_QUOTED]}..."


def _past_blanks(call: str, place: int) -> int:
    while place < len(call) and call[place] in _BLANK:
        place += 1
    return place
