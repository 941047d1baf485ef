"""Rules of things to drag: into a box, to a place of a list or a grid, to one side."""

from __future__ import annotations

import re
from collections.abc import Callable

from vlmq_env_miniwob.actions import write
from vlmq_env_miniwob.experts.figures import KINDS, plain_colour
from vlmq_env_miniwob.experts.seen import (
    Expert,
    Seen,
    drag,
    first,
    ordinal,
    submit,
)
from vlmq_env_miniwob.view import Box, Figure

STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

PLACES = {"top": 0, "middle": 1, "center": 1, "bottom": 2, "left": 0, "right": 2}


def _dragged_aside(seen: Seen) -> str | None:
    if any(action.startswith("mouse_drag") for action in seen.past):
        return submit(seen)
    thing = next(bid for bid in seen.elements if "draggable" in seen.elements[bid].state)
    x, y = seen.elements[thing].centre
    across, down = STEPS[first(r"Drag the \w+ (\w+)", seen.utterance)]
    return drag((x, y), (x + 30 * across, y + 30 * down))


def _box_into_box(seen: Seen) -> str | None:
    small, large = seen.named("s"), seen.named("L")
    if small is None or large is None or _within(seen.elements[small].box, seen.elements[large].box):
        return submit(seen)
    return write("drag_and_drop", small, large)


def _shapes_into_box(seen: Seen) -> str | None:
    (box,) = (each for each in seen.figures if each.kind == "rect" and not each.fill)
    kind = first(r"Drag all (\w+)s into", seen.utterance)
    return _into(seen, lambda each: box if KINDS.get(each.kind) == kind else None) or submit(seen)


def _shapes_into_boxes(seen: Seen) -> str | None:
    boxes = sorted(
        (each for each in seen.figures if each.kind == "rect" and not each.fill), key=lambda each: each.box[0]
    )
    found = re.search(r"all (\w+?)s?(?: shapes)? into the (\w+) box", seen.utterance)
    if found is None:
        return None
    own, rest = boxes if found[2] == "left" else boxes[::-1]
    asked = plain_colour(found[1])
    return _into(
        seen, lambda each: own if asked in (KINDS.get(each.kind), plain_colour(each.fill)) else rest
    ) or submit(seen)


def _into(seen: Seen, home_of: Callable[[Figure], Figure | None]) -> str | None:
    """Drags the first shape that lies outside its home; None where there is none."""
    for each in seen.figures:
        home = home_of(each) if each.fill and each.kind in KINDS else None
        if home is not None and not _within(each.box, home.box):
            return drag(each.centre, home.centre)
    return None


def _within(inner: Box, outer: Box) -> bool:
    return all(
        outer[axis] < inner[axis] and inner[axis] + inner[axis + 2] < outer[axis] + outer[axis + 2]
        for axis in (0, 1)
    )


def _reordered(seen: Seen) -> str | None:
    rows = _movable(seen)
    name, where = re.findall(r"Drag (\S+) (.*)\.", seen.utterance)[0]
    start = next(place for place, bid in enumerate(rows) if seen.elements[bid].name == name)
    shift = {"down by one position": start + 1, "up by one position": start - 1}
    ends = {"to the top": 0, "to the bottom": len(rows) - 1}
    return _move(seen, rows, start, {**shift, **ends}.get(where, ordinal(where)))


def _moved_in_grid(seen: Seen) -> str | None:
    cells = _movable(seen)
    name, where = re.findall(r"Drag (\S+) (.*)\.", seen.utterance)[0]
    words = where.split()
    start = next(place for place, bid in enumerate(cells) if seen.elements[bid].name == name)
    if "by" in words:
        across, down = STEPS[words[0]]
        return _move(seen, cells, start, start + across + 3 * down)
    row = next((PLACES[word] for word in words if word in ("top", "bottom")), 1)
    column = next((PLACES[word] for word in words if word in ("left", "right")), 1)
    return _move(seen, cells, start, row * 3 + column)


def _sorted_numbers(seen: Seen) -> str | None:
    rows = _movable(seen)
    numbers = [int(seen.elements[bid].name) for bid in rows]
    for place, number in enumerate(sorted(numbers)):
        if numbers[place] != number:
            return _move(seen, rows, numbers.index(number, place), place)
    return submit(seen)


def _movable(seen: Seen) -> list[str]:
    return [bid for bid, element in seen.elements.items() if "draggable" in element.state]


def _move(seen: Seen, places: list[str], start: int, end: int) -> str:
    """Drags the thing of one place onto another, a little beyond its middle, so that what lies there gives way.

    In a grid, what is dragged to the right is put behind what it is dropped on, even up from a later row.
    """
    origin, goal = (seen.elements[places[place]].centre for place in (start, end))
    if end < start and goal[0] > origin[0] + 1:
        goal = seen.elements[places[end - 1]].centre
        return drag(origin, (goal[0] + 14, goal[1] - 4))
    across = goal[0] - origin[0]
    beyond = 10 * ((across > 1) - (across < -1)), 4 if end > start else -4
    return drag(origin, (goal[0] + beyond[0], goal[1] + beyond[1]))


RULES: dict[str, Expert] = {
    "drag-box": _box_into_box,
    "drag-circle": _dragged_aside,
    "drag-items": _reordered,
    "drag-items-grid": _moved_in_grid,
    "drag-shapes": _shapes_into_box,
    "drag-shapes-2": _shapes_into_boxes,
    "drag-single-shape": _dragged_aside,
    "drag-sort-numbers": _sorted_numbers,
}
"""The rule of each of these tasks."""
