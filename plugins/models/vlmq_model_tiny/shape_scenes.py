"""Scenes of coloured shapes, and sequences of pictures that have to be remembered."""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny import phrases
from vlmq_model_tiny.draw import SHAPES, SIDE, Canvas, shade, shape_mask
from vlmq_model_tiny.number_scenes import number_picture
from vlmq_model_tiny.scene import Exchange, ask, distinct_colours, place_anywhere

_CORNERS = ("top left", "top right", "bottom left", "bottom right")


def colours(rng: Random) -> list[Exchange]:
    """The colour of a shape, of one of two shapes, or of the background."""
    ground, colour, other = distinct_colours(rng, 3)
    canvas = Canvas(rng, shade(rng, ground))
    if rng.random() < 0.35:
        shape_names = [rng.choice(SHAPES) for _ in range(2)]
        names = _two_shapes(canvas, shape_names, [colour, other])
        which = rng.randrange(2)
        question = ask(rng, phrases.COLOUR_OF, place=names[which])
        return [Exchange(canvas.finish(), question, (colour, other)[which])]
    shape = rng.choice(SHAPES)
    place_anywhere(canvas, shape_mask(shape, rng.randrange(14, 48)), shade(rng, colour))
    if rng.random() < 0.25:
        return [Exchange(canvas.finish(), ask(rng, phrases.GROUND, shape=shape), ground)]
    return [Exchange(canvas.finish(), ask(rng, phrases.COLOUR, shape=rng.choice((shape, "shape"))), colour)]


def shapes(rng: Random) -> list[Exchange]:
    """The name of a shape, or of one of two."""
    ground, colour, other = distinct_colours(rng, 3)
    canvas = Canvas(rng, shade(rng, ground))
    if rng.random() < 0.3:
        chosen = [rng.choice(SHAPES) for _ in range(2)]
        names = _two_shapes(canvas, chosen, [colour, other])
        which = rng.randrange(2)
        return [Exchange(canvas.finish(), ask(rng, phrases.SHAPE_OF, place=names[which]), chosen[which])]
    shape = rng.choice(SHAPES)
    place_anywhere(canvas, shape_mask(shape, rng.randrange(14, 48)), shade(rng, colour))
    return [Exchange(canvas.finish(), rng.choice(phrases.SHAPE), shape)]


def count(rng: Random) -> list[Exchange]:
    """One to six shapes: how many, or how many of a kind or colour."""
    ground, colour, other = distinct_colours(rng, 3)
    canvas = Canvas(rng, shade(rng, ground))
    total = rng.randrange(1, 7)
    cells = rng.sample(range(9), total)
    kinds = rng.sample(SHAPES, 2)
    mixed = rng.random() < 0.4
    found = 0
    for cell in cells:
        matches = not mixed or rng.random() < 0.5
        found += matches
        size = rng.randrange(10, 18)
        x = 21 * (cell % 3) + rng.randrange(0, 22 - size)
        y = 21 * (cell // 3) + rng.randrange(0, 22 - size)
        canvas.blend(
            shape_mask(kinds[0 if matches else 1], size), x, y, shade(rng, colour if matches else other)
        )
    if mixed:
        return [Exchange(canvas.finish(), ask(rng, phrases.COUNT_OF, kind=kinds[0]), str(found))]
    return [Exchange(canvas.finish(), rng.choice(phrases.COUNT), str(total))]


def place(rng: Random) -> list[Exchange]:
    """Where a shape is: left or right, top or bottom, in which corner, which of two."""
    ground, colour, other = distinct_colours(rng, 3)
    canvas = Canvas(rng, shade(rng, ground))
    shape = rng.choice(SHAPES)
    kind = rng.random()
    if kind < 0.3:
        names = _two_shapes(canvas, [shape, rng.choice(SHAPES)], [colour, other])
        which = rng.randrange(2)
        asked = (colour, other)[which]
        question = ask(rng, phrases.WHERE_OF_TWO, colour=asked, first=names[0], second=names[1])
        return [Exchange(canvas.finish(), question, names[which])]
    size = rng.randrange(10, 24)
    corner = rng.randrange(4)
    column, row = corner % 2, corner // 2
    reach = 30 - size
    x = 34 * column + rng.randrange(0, reach + 1)
    y = 34 * row + rng.randrange(0, reach + 1)
    canvas.blend(shape_mask(shape, size), x, y, shade(rng, colour))
    named = rng.choice((shape, "shape"))
    if kind < 0.6:
        question = ask(rng, phrases.CORNER, shape=named)
        return [Exchange(canvas.finish(), question, _CORNERS[corner])]
    if kind < 0.8:
        question = ask(rng, phrases.HALF, shape=named, first="left", second="right")
        return [Exchange(canvas.finish(), question, ("left", "right")[column])]
    question = ask(rng, phrases.HALF, shape=named, first="top", second="bottom")
    return [Exchange(canvas.finish(), question, ("top", "bottom")[row])]


def memory(rng: Random) -> list[Exchange]:
    """Two to four pictures in a row; the last question is about an earlier one."""
    num_turns = rng.randrange(2, 5)
    when = rng.choice(("first", "first", "last")) if num_turns > 2 else "first"
    asked = 0 if when == "first" else num_turns - 2
    wording = {"first": "first", "last": "previous"}[when]
    if rng.random() < 0.4:
        names = [distinct_colours(rng, 2) for _ in range(num_turns)]
        pictures = []
        for ground, colour in names:
            canvas = Canvas(rng, shade(rng, ground))
            place_anywhere(canvas, shape_mask(rng.choice(SHAPES), rng.randrange(18, 48)), shade(rng, colour))
            pictures.append(canvas.finish())
        question = ask(rng, phrases.FIRST_COLOUR, when=wording)
        return _remembered(rng, pictures, question, names[asked][1])
    numbers = [rng.randrange(10) for _ in range(num_turns)]
    pictures = [number_picture(rng, str(number)) for number in numbers]
    if rng.random() < 0.5:
        return _remembered(rng, pictures, ask(rng, phrases.FIRST_NUMBER, when=wording), str(numbers[asked]))
    answer = "yes" if numbers[-1] > numbers[asked] else "no"
    return _remembered(rng, pictures, ask(rng, phrases.GREW, when=wording), answer)


def _remembered(rng: Random, pictures: list[NDArray[np.uint8]], question: str, answer: str) -> list[Exchange]:
    shown = [Exchange(picture, rng.choice(phrases.LOOK), phrases.LOOK_REPLY) for picture in pictures[:-1]]
    return [*shown, Exchange(pictures[-1], question, answer)]


def _two_shapes(canvas: Canvas, kinds: list[str], names: list[str]) -> tuple[str, str]:
    """Two shapes, stacked or side by side; returns what their places are called."""
    rng = canvas.rng
    stacked = rng.random() < 0.5
    for half in range(2):
        size = rng.randrange(12, 28)
        across = rng.randrange(0, SIDE - size)
        along = 32 * half + 1 + rng.randrange(0, 31 - size)
        x, y = (across, along) if stacked else (along, across)
        canvas.blend(shape_mask(kinds[half], size), x, y, shade(rng, names[half]))
    return ("top", "bottom") if stacked else ("left", "right")
