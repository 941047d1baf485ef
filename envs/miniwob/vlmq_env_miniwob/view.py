"""What a page shows: its elements, and what lies on it as text and as drawing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels."""


@dataclass(frozen=True)
class Element:
    """An interactive element that can be clicked now.

    Attributes:
        key: its number, in the order in which things stand on the page; it keeps it for the episode.
        role: ARIA role, such as "button".
        name: accessible name, shortened to 60 characters.
        state: what else is to be seen of it: "checked", 'value "abc"', 'fill red'.
        box: left, top, width, height in pixels.
        point: where a click reaches it, which need not be the middle: something may lie over that.
        text: all that it holds or says, of which the name or the state shows the beginning.
        takes_text: whether it can be filled in.
        moves: whether it appears, goes or slides by itself just now: in a moment it may be somewhere else.
    """

    key: int
    role: str
    name: str
    state: tuple[str, ...]
    box: Box
    point: Point
    text: str = ""
    takes_text: bool = False
    moves: bool = False

    @property
    def centre(self) -> Point:
        """The middle of its box."""
        return centre(self.box)

    @property
    def value(self) -> str:
        """What a field holds."""
        told = [state for state in self.state if state.startswith("value ")]
        return str(json.loads(told[0].removeprefix("value "))) if told else ""


@dataclass(frozen=True)
class Writing:
    """A piece of text where it can be read on the page.

    Attributes:
        text: in one line.
        boxes: of its lines, as far as they can be seen.
        colour: a common name, or "#rrggbb".
    """

    text: str
    boxes: tuple[Box, ...]
    colour: str

    @property
    def centre(self) -> Point:
        """The middle of its first line."""
        return centre(self.boxes[0])


@dataclass(frozen=True)
class Figure:
    """Something drawn, whether it can be acted on or not.

    Attributes:
        kind: a shape of SVG such as "circle" or "polygon"; "image"; "icon"; "patch": a rectangle of
            colour or an outline.
        name: what a picture or an icon shows.
        fill: a common name, or "#rrggbb"; "" where it is not filled.
        corners: of a polygon, or the ends of a line.
    """

    kind: str
    name: str
    fill: str
    box: Box
    corners: tuple[Point, ...]

    @property
    def centre(self) -> Point:
        """The middle of its box."""
        return centre(self.box)


@dataclass(frozen=True)
class Scrolled:
    """Something that scrolls, and how many pixels of it are hidden above and below."""

    box: Box
    above: float
    below: float


@dataclass(frozen=True, eq=False)
class View:
    """What the page shows, and what it says of the episode.

    Attributes:
        text: what can be read in the task area, line by line.
        texts: the same piece by piece, each where it lies.
        figures: what is drawn.
        scrolled: what scrolls.
        selected: the text that is marked.
        focused: key of the element that has the focus.
        image: uint8 of shape (210, 160, 3): the task area; None where no picture was asked for.
        raw_reward: the page's reward without its decay over time; 0 until done.
        reward: the same, with the decay where it was asked for.
    """

    utterance: str
    elements: tuple[Element, ...]
    text: str
    texts: tuple[Writing, ...]
    figures: tuple[Figure, ...]
    scrolled: tuple[Scrolled, ...]
    selected: str
    focused: int | None
    image: NDArray[np.uint8] | None
    done: bool
    raw_reward: float
    reward: float


def view_of(report: dict[str, Any], image: NDArray[np.uint8] | None) -> View:
    """A view from what the page reports of itself.

    Raises:
        ValueError: the reward is no number that can be learnt from.
    """
    raw_reward, reward = float(report["rawReward"]), float(report["reward"])
    if not (math.isfinite(raw_reward) and math.isfinite(reward)):
        raise ValueError(f"the page gives a reward of {raw_reward}")
    return View(
        utterance=str(report["utterance"]),
        elements=tuple(_element(each) for each in report["elements"]),
        text=str(report["text"]),
        texts=tuple(_writing(each) for each in report["texts"]),
        figures=tuple(_figure(each) for each in report["figures"]),
        scrolled=tuple(
            Scrolled(_box(each["box"]), float(each["above"]), float(each["below"]))
            for each in report["scrolled"]
        ),
        selected=str(report["selected"]),
        focused=None if report["focused"] is None else int(report["focused"]),
        image=image,
        done=bool(report["done"]),
        raw_reward=raw_reward,
        reward=reward,
    )


def centre(box: Box) -> Point:
    """The middle of a box."""
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def _element(report: dict[str, Any]) -> Element:
    state = tuple(str(each) for each in report["state"])
    return Element(
        int(report["key"]),
        str(report["role"]),
        str(report["name"]),
        state,
        _box(report["box"]),
        (float(report["point"][0]), float(report["point"][1])),
        str(report["text"]),
        bool(report["takesText"]),
        bool(report["moves"]),
    )


def _writing(report: dict[str, Any]) -> Writing:
    return Writing(str(report["text"]), tuple(_box(box) for box in report["boxes"]), str(report["colour"]))


def _figure(report: dict[str, Any]) -> Figure:
    corners = tuple((float(x), float(y)) for x, y in report["corners"])
    return Figure(str(report["kind"]), str(report["name"]), str(report["fill"]), _box(report["box"]), corners)


def _box(numbers: Sequence[float]) -> Box:
    left, top, width, height = map(float, numbers)
    return left, top, width, height
