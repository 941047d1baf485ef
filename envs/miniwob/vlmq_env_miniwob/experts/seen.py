"""What a rule is given, and the small steps that many rules share."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vlmq_env_miniwob.actions import click, write
from vlmq_env_miniwob.places import TASK_AREA
from vlmq_env_miniwob.view import Element, Figure, Point, Scrolled, Writing

SUBMITS = ("submit", "login", "search", "ok", "go!")


@dataclass(frozen=True)
class Seen:
    """What a person in front of the page has.

    Attributes:
        utterance: the instruction.
        text: what can be read in the task area, line by line.
        elements: what can be acted on, by bid, in reading order.
        texts: pieces of text, each where it lies.
        figures: what is drawn.
        scrolled: what scrolls, and how far.
        selected: the text that is marked.
        focused: the element that has the focus.
        past: the actions done in this episode, refused ones left out.
        earlier: the pieces of text that could be read before each of them.
    """

    utterance: str
    text: str
    elements: Mapping[str, Element]
    texts: tuple[Writing, ...] = ()
    figures: tuple[Figure, ...] = ()
    scrolled: tuple[Scrolled, ...] = ()
    selected: str = ""
    focused: str | None = None
    past: tuple[str, ...] = ()
    earlier: tuple[tuple[Writing, ...], ...] = ()

    @property
    def shown(self) -> str:
        """What can be read at the moment, a piece of text a line."""
        return shown(self.texts)

    def after(self, action: str) -> str | None:
        """What was shown after an action, the last time it was done; None where it never was."""
        if action not in self.past:
            return None
        place = len(self.past) - self.past[::-1].index(action)
        return shown(self.earlier[place]) if place < len(self.earlier) else self.shown

    def of(self, *roles: str) -> list[str]:
        """Bids of the elements of these roles."""
        return [bid for bid, element in self.elements.items() if element.role in roles]

    def named(self, name: str, *roles: str) -> str | None:
        """The first element with this name; of these roles, where some are given."""
        return next(iter(self.all_named(name, *roles)), None)

    def all_named(self, name: str, *roles: str) -> list[str]:
        """Every element with this name; of these roles, where some are given."""
        same = (bid for bid, element in self.elements.items() if element.name.strip() == name.strip())
        return [bid for bid in same if not roles or self.elements[bid].role in roles]

    def like(self, part: str) -> list[str]:
        """Elements whose name holds this, whatever the case of its letters."""
        return [bid for bid, element in self.elements.items() if part.lower() in element.name.lower()]

    def checked(self, bid: str) -> bool:
        """Whether a box or a radio button is chosen."""
        return "checked" in self.elements[bid].state

    def multiline(self, bid: str) -> bool:
        """Whether a field has room for several lines."""
        return "multiline" in self.elements[bid].state

    def value(self, bid: str) -> str:
        """What a field holds."""
        return self.elements[bid].value

    def chosen(self, bid: str) -> list[str]:
        """What is chosen in a list."""
        told = [state for state in self.elements[bid].state if state.startswith("chosen ")]
        return list(json.loads(told[0].removeprefix("chosen "))) if told else []

    def fill(self, bid: str) -> str:
        """The colour that an element is filled with."""
        told = [state for state in self.elements[bid].state if state.startswith("fill ")]
        return told[0].removeprefix("fill ") if told else ""

    def clicks(self, bid: str) -> int:
        """How often an element was clicked in this episode."""
        return self.past.count(click(bid))

    def fields(self) -> list[str]:
        """Bids of what takes a text."""
        return self.of("textbox", "searchbox", "spinbutton")

    def written(self, text: str) -> Writing | None:
        """The first piece of text that says just this."""
        return next((each for each in self.texts if each.text == text), None)


def shown(texts: tuple[Writing, ...]) -> str:
    """Pieces of text, one a line."""
    return "\n".join(each.text for each in texts)


Expert = Callable[[Seen], str | None]
"""The text of the next action; None where the rule knows none."""


def quoted(seen: Seen) -> list[str]:
    """The texts that the instruction has in quotes."""
    return re.findall(r'"([^"]*)"', seen.utterance)


def first(pattern: str, text: str) -> str:
    """What the first group of a pattern finds; "" where it finds nothing."""
    found = re.search(pattern, text)
    return found[1] if found else ""


def ordinal(text: str) -> int:
    """The place, counted from 0, that "1st", "2nd" or "3rd" names; -1 where none is named."""
    return int(first(r"(\d+)(?:st|nd|rd|th)", text) or 0) - 1


def click_on(bid: str | None) -> str | None:
    """A click, where there is something to click."""
    return None if bid is None else click(bid)


def submit(seen: Seen) -> str | None:
    """Sends the form: a click on the button that says so, or on the last one."""
    buttons = seen.of("button")
    wanted = (bid for bid in buttons if seen.elements[bid].name.lower() in SUBMITS)
    return click_on(next(wanted, buttons[-1] if buttons else None))


def fill_all(seen: Seen, wanted: Mapping[str, str]) -> str | None:
    """The first field that does not hold what it should is filled; then the form is sent."""
    for bid, text in wanted.items():
        if seen.value(bid) != text:
            return write("fill", bid, text)
    return submit(seen)


def only_field(seen: Seen, text: str) -> str | None:
    """Fills the one field of a form, then sends it."""
    fields = seen.fields()
    return fill_all(seen, {fields[0]: text}) if fields else None


def distance(a: Point, b: Point) -> float:
    """In pixels."""
    return math.dist(a, b)


def nearest(seen: Seen, point: Point, bids: list[str]) -> str | None:
    """The element whose middle lies nearest to a point."""
    return min(bids, key=lambda bid: distance(seen.elements[bid].centre, point), default=None)


def click_at(point: Point) -> str:
    """A click on a point, which is brought into the task area."""
    x, y = _inside(point)
    return write("mouse_click", x, y)


def drag(start: Point, end: Point) -> str:
    """A drag from point to point, both brought into the task area."""
    return write("mouse_drag", *_inside(start), *_inside(end))


def scroll(distance_px: float) -> str:
    """Turns the wheel; a positive distance goes down."""
    return write("scroll", 0.0, float(round(distance_px)))


def _inside(point: Point) -> Point:
    x, y = point
    return (
        min(max(round(x), 0), TASK_AREA.width_px - 1.0),
        min(max(round(y), 0), TASK_AREA.height_px - 1.0),
    )
