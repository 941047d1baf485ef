"""Rules of drawings: shapes to find, count and name, and points to place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vlmq_env_miniwob.actions import click
from vlmq_env_miniwob.experts.seen import (
    Expert,
    Seen,
    click_at,
    click_on,
    distance,
    drag,
    fill_all,
    first,
    nearest,
    submit,
)
from vlmq_env_miniwob.view import Box, Figure, Point

KINDS = {"circle": "circle", "rect": "rectangle", "polygon": "triangle"}

LARGE_PX = 15
"""A shape or a letter of at least this height is a large one."""


@dataclass(frozen=True)
class Item:
    """A shape, a letter or a digit of a drawing; the letter or the digit is its sign."""

    kind: str
    sign: str
    colour: str
    large: bool
    centre: Point


def _items(seen: Seen) -> list[Item]:
    shapes = [
        Item(KINDS[each.kind], "", plain_colour(each.fill), each.box[3] >= LARGE_PX, each.centre)
        for each in seen.figures
        if each.kind in KINDS and each.fill
    ]
    signs = [
        Item(
            "digit" if each.text.isdigit() else "letter",
            each.text,
            plain_colour(each.colour),
            each.boxes[0][3] >= LARGE_PX,
            each.centre,
        )
        for each in seen.texts
        if len(each.text) == 1 and not _on_button(seen, each.centre)
    ]
    return shapes + signs


def _on_button(seen: Seen, point: Point) -> bool:
    return any(_holds(seen.elements[bid].box, point) for bid in seen.of("button"))


def _holds(box: Box, point: Point) -> bool:
    return box[0] <= point[0] <= box[0] + box[2] and box[1] <= point[1] <= box[1] + box[3]


def plain_colour(name: str) -> str:
    """One name for each colour: drawings and instructions use two for some."""
    return {"aqua": "cyan", "fuchsia": "magenta"}.get(name, name)


def _described(items: list[Item], words: str) -> list[Item]:
    """The items that a description such as "small red triangle" or "large digits" fits."""
    asked = {
        plain_colour(word if len(word) == 1 else word.removesuffix("s")) for word in re.findall(r"\w+", words)
    }
    colours = {item.colour for item in items} | {"red", "green", "blue", "cyan", "black", "magenta", "yellow"}
    kinds = {"circle", "rectangle", "triangle", "digit", "letter"}
    fitting = items
    if asked & kinds:
        fitting = [item for item in fitting if item.kind in asked]
    if any(len(word) == 1 for word in asked):
        fitting = [item for item in fitting if item.sign in asked and item.sign]
    if "shape" in asked:
        fitting = [item for item in fitting if item.kind not in ("digit", "letter")]
    if asked & colours:
        fitting = [item for item in fitting if item.colour in asked]
    if asked & {"large", "small"}:
        fitting = [item for item in fitting if item.large == ("large" in asked)]
    return fitting


def _shape(seen: Seen) -> str | None:
    found = _described(_items(seen), seen.utterance.removeprefix("Click on a"))
    candidates = [bid for bid, element in seen.elements.items() if element.role not in ("svg", "button")]
    return click_on(nearest(seen, found[0].centre, candidates)) if found else None


def _count(seen: Seen) -> str | None:
    words = first(r"How many (.*) are there", seen.utterance)
    return click_on(seen.named(str(len(_described(_items(seen), words))), "button"))


def _name_of_shape(seen: Seen) -> str | None:
    kind = _items(seen)[0].kind
    return click_on(seen.named("Number" if kind == "digit" else kind.capitalize(), "button"))


def _blocks(seen: Seen) -> str | None:
    count = sum(each.kind == "patch" and each.fill != "" for each in seen.figures)
    return fill_all(seen, {seen.of("textbox")[0]: str(count)})


def _named_colour(seen: Seen) -> str | None:
    wanted = first(r"Click on the (.*) colored box", seen.utterance)
    boxes = [bid for bid in seen.elements if seen.fill(bid) == wanted]
    # The instruction may show a small one of the same colour.
    return click_on(max(boxes, key=lambda bid: seen.elements[bid].box[2], default=None))


def _shades(seen: Seen) -> str | None:
    wanted = ("red", "green", "blue").index(first(r"shades of (\w+)", seen.utterance))
    for bid in seen.of("generic"):
        parts = _parts(seen.fill(bid))
        if parts and parts.index(max(parts)) == wanted and seen.clicks(bid) % 2 == 0:
            return click(bid)
    return submit(seen)


def _parts(colour: str) -> list[int]:
    plain = {"red": [255, 0, 0], "lime": [0, 255, 0], "green": [0, 128, 0], "blue": [0, 0, 255]}
    if colour in plain:
        return plain[colour]
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)] if colour.startswith("#") else []


def _ascending(seen: Seen) -> str | None:
    """The first click hides the numbers: they are clicked where they stood."""
    at_first = (*seen.earlier, seen.texts)[0]
    numbers = sorted((each for each in at_first if each.text.isdigit()), key=lambda each: int(each.text))
    done = sum("click" in action for action in seen.past)
    return click_on(nearest(seen, numbers[done].centre, list(seen.elements))) if done < len(numbers) else None


def _greatest_card(seen: Seen) -> str | None:
    cards = seen.of("generic")
    told = {bid: seen.after(click(bid)) for bid in cards}
    values = {bid: int(first(r"(?m)^(\d+)$", text or "") or -1) for bid, text in told.items()}
    unknown = next((bid for bid, value in values.items() if value < 0), None)
    if unknown is not None:
        return click(unknown)
    best = max(values, key=lambda bid: values[bid])
    return submit(seen) if re.search(rf"(?m)^{values[best]}$", seen.shown) else click(best)


def _coordinate(seen: Seen) -> str | None:
    asked = re.search(r"\((-?\d+),\s*(-?\d+)\)", seen.utterance)
    lines = [each for each in seen.figures if each.kind == "line"]
    points = [each for each in seen.figures if each.kind == "circle"]
    if asked is None or len(lines) < 2:
        return None
    across = next(each for each in lines if each.box[2] > each.box[3])
    upright = next(each for each in lines if each.box[3] > each.box[2])
    columns = sorted({round(each.centre[0]) for each in points})
    unit = columns[1] - columns[0]
    goal = (upright.centre[0] + unit * int(asked[1]), across.centre[1] - unit * int(asked[2]))
    return click_on(nearest(seen, goal, seen.of("circle")))


def _place(seen: Seen, goal: Point) -> str | None:
    """Clicks on a point and sees where the blue mark appears: beside it, the click is corrected by as much."""
    clicked = [action for action in seen.past if action.startswith("mouse_click")]
    if not clicked:
        return click_at(goal)
    x, y = map(float, re.findall(r"[\d.]+", clicked[-1]))
    mark = min((each.centre for each in _circles(seen, "blue")), key=lambda point: distance(point, (x, y)))
    if distance(mark, goal) < 1:
        return submit(seen)
    return click_at((x + goal[0] - mark[0], y + goal[1] - mark[1]))


def _circles(seen: Seen, fill: str) -> list[Figure]:
    return [each for each in seen.figures if each.kind == "circle" and each.fill == fill]


def _midpoint(seen: Seen) -> str | None:
    a, b = (each.centre for each in _circles(seen, "black"))
    return _place(seen, ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2))


def _centre(seen: Seen) -> str | None:
    return _place(seen, _circles(seen, "white")[0].centre)


def _bisector(seen: Seen) -> str | None:
    tip = _circles(seen, "blue")[0].centre
    units = [_unit(tip, each.centre) for each in _circles(seen, "black")]
    along = (units[0][0] + units[1][0], units[0][1] + units[1][1])
    return _place(seen, _reach(seen, tip, along))


def _right_angle(seen: Seen) -> str | None:
    tip = _circles(seen, "blue")[0].centre
    x, y = _unit(tip, _circles(seen, "black")[0].centre)
    ends = (_reach(seen, tip, (-y, x)), _reach(seen, tip, (y, -x)))
    return _place(seen, max(ends, key=lambda end: distance(end, tip)))


def _unit(start: Point, end: Point) -> Point:
    length = distance(start, end)
    return (end[0] - start[0]) / length, (end[1] - start[1]) / length


def _reach(seen: Seen, start: Point, along: Point) -> Point:
    """The end of a line of up to 60 pixels that stays within the drawing and off the button."""
    left, top, width, height = seen.elements[seen.of("svg")[0]].box
    floor = min(top + height, seen.elements[seen.of("button")[0]].box[1])
    length = math.hypot(*along)
    end = start
    for step in range(61):
        point = (start[0] + along[0] / length * step, start[1] + along[1] / length * step)
        if not (left + 3 < point[0] < left + width - 3 and top + 3 < point[1] < floor - 3):
            break
        end = point
    return round(end[0]), round(end[1])


def _line(seen: Seen) -> str | None:
    if any(each.kind == "path" for each in seen.figures):
        return submit(seen)
    x, y = next(each.centre for each in seen.figures if each.kind == "circle")
    left, top, width, height = seen.elements[seen.of("svg")[0]].box
    if "vertical" in seen.utterance:
        return drag((x, top + 6), (x, top + height - 6))
    return drag((left + 6, y), (left + width - 6, y))


RULES: dict[str, Expert] = {
    "ascending-numbers": _ascending,
    "bisect-angle": _bisector,
    "circle-center": _centre,
    "click-color": _named_colour,
    "click-shades": _shades,
    "click-shape": _shape,
    "count-shape": _count,
    "draw-line": _line,
    "find-greatest": _greatest_card,
    "find-midpoint": _midpoint,
    "grid-coordinate": _coordinate,
    "identify-shape": _name_of_shape,
    "right-angle": _right_angle,
    "visual-addition": _blocks,
}
"""The rule of each of these tasks."""
