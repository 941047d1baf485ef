"""Which of the endless actions are offered as legal ones: those that somebody who tries things out would take.

A click on each element; into each field a text that the instruction quotes; each option of a list; things that can be
dragged, onto each other. Where a page shows hardly an element to click, a picture to draw on or things to drag, points
of a grid. What moves by itself is waited for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import product

from vlmq_env_miniwob.actions import NOOP, click, write
from vlmq_env_miniwob.view import Element

MOST_WORDS = 4
"""Texts offered for each field."""
FIELDS = ("textbox", "searchbox", "spinbutton")

_COLUMNS_PX = (30.0, 80.0, 130.0)
_ROWS_PX = (70.0, 110.0, 150.0, 190.0)
_FEW = 2
"""With fewer elements than this, points are offered, too."""


def offered(utterance: str, elements: Mapping[str, Element]) -> tuple[str, ...]:
    """Legal actions, in the order of the elements; never none.

    Args:
        utterance: the instruction.
        elements: what can be acted on, by bid.
    """
    still = {bid: element for bid, element in elements.items() if not element.moves}
    found = [action for bid, element in still.items() for action in _of(bid, element, utterance)]
    found += _drags(still)
    if len(elements) < _FEW:
        found += _points()
    return (*found, NOOP) if len(elements) < _FEW or not found else tuple(found)


def _of(bid: str, element: Element, utterance: str) -> Iterator[str]:
    yield click(bid)
    if element.role in FIELDS and element.takes_text:
        yield from (write("fill", bid, word) for word in _quoted(utterance))
    for state in element.state:
        if element.role == "combobox" and state.startswith("of "):
            yield from (
                write("select_option", bid, option)
                for option in json.loads(state.removeprefix("of "))
                if option
            )


def _drags(elements: Mapping[str, Element]) -> Iterator[str]:
    """Of each thing that can be dragged, onto each of the others."""
    movable = [bid for bid, element in elements.items() if "draggable" in element.state]
    yield from (write("drag_and_drop", bid, other) for bid in movable for other in movable if other != bid)


def _quoted(utterance: str) -> list[str]:
    """Texts in quotes, or numbers where there are none, each once."""
    words = re.findall(r'"([^"]+)"', utterance) or re.findall(r"[0-9]+(?:[:/.-][0-9]+)*", utterance)
    return list(dict.fromkeys(words))[:MOST_WORDS]


def _points() -> Iterator[str]:
    """Clicks on the points of a grid, and drags from each to its neighbours."""
    points = list(product(_COLUMNS_PX, _ROWS_PX))
    yield from (write("mouse_click", *point) for point in points)
    for (x, y), (to_x, to_y) in product(points, points):
        if (abs(x - to_x), abs(y - to_y)) in ((0.0, 40.0), (50.0, 0.0)):
            yield write("mouse_drag", x, y, to_x, to_y)
