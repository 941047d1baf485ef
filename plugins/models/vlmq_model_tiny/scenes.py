"""The scenes of the curriculum, one function a skill: it draws a picture and asks something about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny import phrases
from vlmq_model_tiny.draw import (
    COLOURS,
    RGB,
    SHAPES,
    SIDE,
    Canvas,
    Mask,
    contrasting,
    glyphs,
    luminance,
    shade,
    shape_mask,
)

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
SUITS = ("diamond", "circle", "triangle", "star")
_CORNERS = ("top left", "top right", "bottom left", "bottom right")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, eq=False)
class Exchange:
    """One picture, one question about it (or an earlier one), one answer."""

    image: NDArray[np.uint8]
    question: str
    answer: str


Scene = Callable[[Random], list[Exchange]]


# ---------------------------------------------------------------------------------------------- numbers


def plain_digits(rng: Random) -> list[Exchange]:
    """One digit, or two stacked, in black and white without any clutter: where seeing starts."""
    canvas = Canvas(rng, (255, 255, 255) if rng.random() < 0.7 else (0, 0, 0), plain=True)
    ink = (0, 0, 0) if canvas.ground[0] else (255, 255, 255)
    if rng.random() < 0.4:
        digit = str(rng.randrange(10))
        mask = glyphs(digit, rng.randrange(26, 36))
        canvas.blend(mask, rng.randrange(16, 32), rng.randrange(14, 26), ink)
        return [Exchange(canvas.finish(), rng.choice(phrases.READ_ONE), digit)]
    digits = [rng.randrange(10) for _ in range(2)]
    for row in range(2):
        mask = glyphs(str(digits[row]), rng.randrange(24, 33))
        canvas.blend(mask, rng.randrange(20, 30), 32 * row + rng.randrange(3, 8), ink)
    kind = rng.random()
    if kind < 0.6:
        question = _ask(rng, phrases.READ_BOTH, first="top", second="bottom")
        return [Exchange(canvas.finish(), question, f"{digits[0]} {digits[1]}")]
    which = rng.randrange(2)
    if kind < 0.8:
        question = _ask(rng, phrases.READ_OF_TWO, place=("top", "bottom")[which])
        return [Exchange(canvas.finish(), question, str(digits[which]))]
    where = "top" if digits[0] > digits[1] else "bottom" if digits[1] > digits[0] else "same"
    question = _ask(rng, phrases.LARGER_WHERE, first="top", second="bottom")
    return [Exchange(canvas.finish(), question, where)]


def read_digit(rng: Random) -> list[Exchange]:
    """One digit, anywhere."""
    return _read_one(rng, str(rng.randrange(10)))


def read_number(rng: Random) -> list[Exchange]:
    """One two-digit number, anywhere."""
    return _read_one(rng, str(rng.randrange(10, 100)))


def read_pair(rng: Random) -> list[Exchange]:
    """Two numbers, one above the other or side by side: read one of them, or both."""
    first, second = _two_numbers(rng)
    image, names = _pair_picture(rng, str(first), str(second))
    if rng.random() < 0.5:
        question = _ask(rng, phrases.READ_BOTH, first=names[0], second=names[1])
        return [Exchange(image, question, f"{first} {second}")]
    which = rng.randrange(2)
    question = _ask(rng, phrases.READ_OF_TWO, place=names[which])
    return [Exchange(image, question, str((first, second)[which]))]


def compare(rng: Random) -> list[Exchange]:
    """Two numbers: which is larger or smaller, and how the first stands to the second."""
    first, second = _two_numbers(rng)
    image, names = _pair_picture(rng, str(first), str(second))
    kind = rng.random()
    if rng.random() < 0.5:  # name them in either order
        first, second, names = second, first, (names[1], names[0])
    where = names[0] if first > second else names[1] if second > first else "same"
    other = names[1] if first > second else names[0] if second > first else "same"
    relation = "larger" if first > second else "smaller" if first < second else "equal"
    if kind < 0.28:
        forms, answer = phrases.LARGER_WHERE, where
    elif kind < 0.40:
        forms, answer = phrases.SMALLER_WHERE, other
    elif kind < 0.66:
        forms, answer = phrases.RELATION, relation
    elif kind < 0.78:
        forms, answer = phrases.LARGER_YES, "yes" if first > second else "no"
    elif kind < 0.84:
        forms, answer = phrases.EQUAL_YES, "yes" if first == second else "no"
    elif kind < 0.92:
        forms, answer = phrases.LARGEST, str(max(first, second))
    else:
        forms, answer = phrases.SMALLEST, str(min(first, second))
    return [Exchange(image, _ask(rng, forms, first=names[0], second=names[1]), answer)]


def arithmetic(rng: Random) -> list[Exchange]:
    """Two one-digit numbers: their distance or their sum."""
    first, second = rng.randrange(10), rng.randrange(10)
    image, _ = _pair_picture(rng, str(first), str(second))
    if rng.random() < 0.6:
        return [Exchange(image, rng.choice(phrases.DIFFERENCE), str(abs(first - second)))]
    return [Exchange(image, rng.choice(phrases.SUM), str(first + second))]


# ---------------------------------------------------------------------------------------- cards and words


def cards(rng: Random) -> list[Exchange]:
    """One to six playing cards in one or two rows."""
    canvas = Canvas(rng)
    kind = rng.random()
    if kind < 0.3:
        rank = rng.choice(RANKS)
        width, height = rng.randrange(26, 42), rng.randrange(36, 56)
        _card(canvas, rank, rng.randrange(0, SIDE - width), rng.randrange(0, SIDE - height), width, height)
        return [Exchange(canvas.finish(), rng.choice(phrases.CARD), rank)]
    if kind < 0.75:
        ranks = [rng.choice(RANKS) for _ in range(2)]
        _card_row(canvas, ranks, rng.randrange(0, 24), rng.randrange(30, 40))
        ask = rng.random()
        if ask < 0.45:
            return [Exchange(canvas.finish(), rng.choice(phrases.CARDS), " ".join(ranks))]
        if ask < 0.75:
            which = rng.randrange(2)
            question = _ask(rng, phrases.CARD_OF, place=("left", "right")[which])
            return [Exchange(canvas.finish(), question, ranks[which])]
        total = sum(_worth(rank) for rank in ranks)
        return [Exchange(canvas.finish(), rng.choice(phrases.CARD_SUM), str(total))]
    rows = [[rng.choice(RANKS) for _ in range(rng.randrange(1, 4))] for _ in range(2)]
    _card_row(canvas, rows[0], rng.randrange(0, 5), rng.randrange(23, 27))
    _card_row(canvas, rows[1], rng.randrange(33, 36), rng.randrange(23, 27))
    which = rng.randrange(2)
    question = _ask(rng, phrases.CARDS_ROW, place=("top", "bottom")[which])
    return [Exchange(canvas.finish(), question, " ".join(rows[which]))]


def words(rng: Random) -> list[Exchange]:
    """A short word, one of two words, or a letter."""
    canvas = Canvas(rng)
    canvas.clutter(0.5)
    kind = rng.random()
    if kind < 0.2:
        letter = rng.choice(_LETTERS)
        _place_mask(canvas, _glyphs(rng, letter, 16, 34), contrasting(rng, canvas.ground))
        return [Exchange(canvas.finish(), rng.choice(phrases.LETTER), letter)]
    if kind < 0.65:
        word = rng.choice(phrases.WORDS)
        _place_mask(canvas, _fitting(rng, word, 12, 22), contrasting(rng, canvas.ground))
        return [Exchange(canvas.finish(), rng.choice(phrases.WORD), word)]
    pair = [rng.choice(phrases.WORDS) for _ in range(2)]
    for row, word in enumerate(pair):
        mask = _fitting(rng, word, 12, 18)
        x = rng.randrange(0, max(1, SIDE - mask.shape[1]))
        y = 32 * row + rng.randrange(1, max(2, 31 - mask.shape[0]))
        canvas.blend(mask, x, y, contrasting(rng, canvas.ground))
    which = rng.randrange(2)
    question = _ask(rng, phrases.WORD_OF_TWO, place=("top", "bottom")[which])
    return [Exchange(canvas.finish(), question, pair[which])]


def echo(rng: Random) -> list[Exchange]:
    """Say a word of the question, whatever the picture shows."""
    canvas = Canvas(rng)
    canvas.clutter()
    word = rng.choice(phrases.ECHO_WORDS)
    return [Exchange(canvas.finish(), _ask(rng, phrases.ECHO, word=word), word)]


# --------------------------------------------------------------------------------- shapes, colours, places


def colours(rng: Random) -> list[Exchange]:
    """The colour of a shape, of one of two shapes, or of the background."""
    ground, colour, other = _distinct_colours(rng, 3)
    canvas = Canvas(rng, shade(rng, ground))
    if rng.random() < 0.35:
        shape_names = [rng.choice(SHAPES) for _ in range(2)]
        names = _two_shapes(canvas, shape_names, [colour, other])
        which = rng.randrange(2)
        question = _ask(rng, phrases.COLOUR_OF, place=names[which])
        return [Exchange(canvas.finish(), question, (colour, other)[which])]
    shape = rng.choice(SHAPES)
    _place_mask(canvas, shape_mask(shape, rng.randrange(14, 48)), shade(rng, colour))
    if rng.random() < 0.25:
        return [Exchange(canvas.finish(), _ask(rng, phrases.GROUND, shape=shape), ground)]
    return [Exchange(canvas.finish(), _ask(rng, phrases.COLOUR, shape=rng.choice((shape, "shape"))), colour)]


def shapes(rng: Random) -> list[Exchange]:
    """The name of a shape, or of one of two."""
    ground, colour, other = _distinct_colours(rng, 3)
    canvas = Canvas(rng, shade(rng, ground))
    if rng.random() < 0.3:
        chosen = [rng.choice(SHAPES) for _ in range(2)]
        names = _two_shapes(canvas, chosen, [colour, other])
        which = rng.randrange(2)
        return [Exchange(canvas.finish(), _ask(rng, phrases.SHAPE_OF, place=names[which]), chosen[which])]
    shape = rng.choice(SHAPES)
    _place_mask(canvas, shape_mask(shape, rng.randrange(14, 48)), shade(rng, colour))
    return [Exchange(canvas.finish(), rng.choice(phrases.SHAPE), shape)]


def count(rng: Random) -> list[Exchange]:
    """One to six shapes: how many, or how many of a kind or colour."""
    ground, colour, other = _distinct_colours(rng, 3)
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
        return [Exchange(canvas.finish(), _ask(rng, phrases.COUNT_OF, kind=kinds[0]), str(found))]
    return [Exchange(canvas.finish(), rng.choice(phrases.COUNT), str(total))]


def place(rng: Random) -> list[Exchange]:
    """Where a shape is: left or right, top or bottom, in which corner, which of two."""
    ground, colour, other = _distinct_colours(rng, 3)
    canvas = Canvas(rng, shade(rng, ground))
    shape = rng.choice(SHAPES)
    kind = rng.random()
    if kind < 0.3:
        names = _two_shapes(canvas, [shape, rng.choice(SHAPES)], [colour, other])
        which = rng.randrange(2)
        asked = (colour, other)[which]
        question = _ask(rng, phrases.WHERE_OF_TWO, colour=asked, first=names[0], second=names[1])
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
        question = _ask(rng, phrases.CORNER, shape=named)
        return [Exchange(canvas.finish(), question, _CORNERS[corner])]
    if kind < 0.8:
        question = _ask(rng, phrases.HALF, shape=named, first="left", second="right")
        return [Exchange(canvas.finish(), question, ("left", "right")[column])]
    question = _ask(rng, phrases.HALF, shape=named, first="top", second="bottom")
    return [Exchange(canvas.finish(), question, ("top", "bottom")[row])]


# ------------------------------------------------------------------------------------------------ memory


def memory(rng: Random) -> list[Exchange]:
    """Two to four pictures in a row; the last question is about an earlier one."""
    num_turns = rng.randrange(2, 5)
    when = rng.choice(("first", "first", "last")) if num_turns > 2 else "first"
    asked = 0 if when == "first" else num_turns - 2
    wording = {"first": "first", "last": "previous"}[when]
    if rng.random() < 0.4:
        names = [_distinct_colours(rng, 2) for _ in range(num_turns)]
        pictures = []
        for ground, colour in names:
            canvas = Canvas(rng, shade(rng, ground))
            _place_mask(canvas, shape_mask(rng.choice(SHAPES), rng.randrange(18, 48)), shade(rng, colour))
            pictures.append(canvas.finish())
        question = _ask(rng, phrases.FIRST_COLOUR, when=wording)
        return _remembered(rng, pictures, question, names[asked][1])
    numbers = [rng.randrange(10) for _ in range(num_turns)]
    pictures = [_number_picture(rng, str(number)) for number in numbers]
    if rng.random() < 0.5:
        return _remembered(rng, pictures, _ask(rng, phrases.FIRST_NUMBER, when=wording), str(numbers[asked]))
    answer = "yes" if numbers[-1] > numbers[asked] else "no"
    return _remembered(rng, pictures, _ask(rng, phrases.GREW, when=wording), answer)


# ----------------------------------------------------------------------------------------------- helpers


def _ask(rng: Random, forms: tuple[str, ...], **names: str) -> str:
    return rng.choice(forms).format(**names)


def _remembered(rng: Random, pictures: list[NDArray[np.uint8]], question: str, answer: str) -> list[Exchange]:
    shown = [Exchange(picture, rng.choice(phrases.LOOK), phrases.LOOK_REPLY) for picture in pictures[:-1]]
    return [*shown, Exchange(pictures[-1], question, answer)]


def _two_numbers(rng: Random) -> tuple[int, int]:
    """Mostly one digit each; neighbours and equals are more frequent than chance."""
    limit = 10 if rng.random() < 0.65 else 100
    first = rng.randrange(limit)
    kind = rng.random()
    if kind < 0.08:
        return first, first
    if kind < 0.3:
        second = min(limit - 1, max(0, first + rng.choice((-3, -2, -1, 1, 2, 3))))
    else:
        second = rng.randrange(limit)
    return first, second


def _glyphs(rng: Random, text: str, smallest: int, largest: int) -> Mask:
    size = rng.randrange(smallest, largest + 1)
    if rng.random() < 0.5:
        return glyphs(text, size)
    return glyphs(text, size, rng.random() < 0.4, rng.choice((-2, -1, 0, 1, 2)), rng.choice((-1, 0, 2)))


def _fitting(rng: Random, text: str, smallest: int, largest: int) -> Mask:
    mask = glyphs(text, rng.randrange(smallest, largest + 1), rng.random() < 0.2)
    size = largest
    while mask.shape[1] > SIDE - 2:
        size -= 2
        mask = glyphs(text, size)
    return mask


def _place_mask(canvas: Canvas, mask: Mask, colour: RGB) -> None:
    """Anywhere inside the picture."""
    height, width = mask.shape
    x = canvas.rng.randrange(0, max(1, SIDE - width + 1))
    y = canvas.rng.randrange(0, max(1, SIDE - height + 1))
    canvas.blend(mask, x, y, colour)


def _read_one(rng: Random, text: str) -> list[Exchange]:
    return [Exchange(_number_picture(rng, text), rng.choice(phrases.READ_ONE), text)]


def _number_picture(rng: Random, text: str) -> NDArray[np.uint8]:
    canvas = Canvas(rng)
    mask = _glyphs(rng, text, 13, 40)
    if mask.shape[0] < 26:
        canvas.clutter()
    _place_mask(canvas, mask, contrasting(rng, canvas.ground))
    return canvas.finish()


def _pair_picture(rng: Random, first: str, second: str) -> tuple[NDArray[np.uint8], tuple[str, str]]:
    """Two numbers, stacked (3 of 4) or side by side, with labels, a divider or frames at times."""
    canvas = Canvas(rng)
    canvas.clutter(0.7)
    colour = contrasting(rng, canvas.ground)
    colours_ = (colour, colour if rng.random() < 0.5 else contrasting(rng, canvas.ground))
    if rng.random() < 0.75:
        _stack(canvas, (first, second), colours_)
        return canvas.finish(), rng.choice((("top", "bottom"), ("top", "bottom"), ("upper", "lower")))
    _side_by_side(canvas, (first, second), colours_)
    return canvas.finish(), ("left", "right")


def _stack(canvas: Canvas, texts: tuple[str, str], inks: tuple[RGB, RGB]) -> None:
    rng = canvas.rng
    labels = rng.random()
    largest = 26 if labels < 0.2 else 36
    size = rng.randrange(16, largest + 1)
    aligned = rng.random() < 0.6
    slide = rng.random()
    divider = rng.random()
    for row in range(2):
        mask = _glyphs(rng, texts[row], *((size, size) if rng.random() < 0.6 else (16, largest)))
        height, width = mask.shape
        top, bottom, left = 32 * row + 1, 32 * row + 31, 1
        if labels < 0.2:  # a small label above the number
            canvas.small_label(rng.randrange(0, 24), top)
            top += 9
        elif labels < 0.35 and width < 32:  # or to its left
            canvas.small_label(0, top + rng.randrange(2, 18))
            left = SIDE - 1 - max(width, 24)
        share = slide if aligned else rng.random()
        x = left + int(share * max(0, SIDE - 1 - width - left))
        y = top + int(rng.random() * max(0, bottom - top - height))
        canvas.blend(mask, x, y, inks[row])
        if divider < 0.12:
            canvas.frame(1, 32 * row, SIDE - 2, 32 * row + 31, contrasting(rng, canvas.ground, 40.0))
    if 0.12 <= divider < 0.25:
        canvas.box(0, 31, SIDE, 32, contrasting(rng, canvas.ground, 40.0))


def _side_by_side(canvas: Canvas, texts: tuple[str, str], inks: tuple[RGB, RGB]) -> None:
    rng = canvas.rng
    size = rng.randrange(16, 25)
    aligned = rng.random() < 0.5
    slide = rng.random()
    for column in range(2):
        mask = _glyphs(rng, texts[column], size, size)
        height, width = mask.shape
        x = 32 * column + 1 + int(rng.random() * max(0, 30 - width))
        share = slide if aligned else rng.random()
        canvas.blend(mask, x, int(share * (SIDE - height)), inks[column])
    if rng.random() < 0.15:
        canvas.box(31, 0, 32, SIDE, contrasting(rng, canvas.ground, 40.0))


def _card_row(canvas: Canvas, ranks: list[str], y: int, height: int) -> None:
    step = SIDE // max(2, len(ranks))
    width = min(step - 2, canvas.rng.randrange(18, 29))
    for column, rank in enumerate(ranks):
        x = step * column + canvas.rng.randrange(0, step - width + 1)
        _card(canvas, rank, x, y, width, height)


def _card(canvas: Canvas, rank: str, x: int, y: int, width: int, height: int) -> None:
    """A light card with its rank in the middle or near the top, and a small mark below."""
    rng = canvas.rng
    face = shade(rng, "white", 10)
    canvas.box(x, y, x + width, y + height, face)
    if luminance(canvas.ground) > 150 or rng.random() < 0.3:
        canvas.frame(x, y, min(x + width - 1, SIDE - 1), min(y + height - 1, SIDE - 1), (60, 60, 60))
    ink = shade(rng, rng.choice(("red", "black", "black", "blue")))
    size = min(int(width * 0.95), height - 4, 30)
    mask = glyphs(rank, size)
    while mask.shape[1] > width - 2 or mask.shape[0] > height - 2:
        size -= 1
        mask = glyphs(rank, size)
    left = x + (width - mask.shape[1]) // 2
    mark = rng.random() < 0.5 and height - mask.shape[0] >= 12
    above = y + 2 if mark else y + (height - mask.shape[0]) // 2
    canvas.blend(mask, left, above, ink)
    if mark:
        suit = shape_mask(rng.choice(SUITS), min(8, height - mask.shape[0] - 4))
        canvas.blend(suit, x + (width - suit.shape[1]) // 2, y + height - suit.shape[0] - 1, ink)


def _worth(rank: str) -> int:
    return 1 if rank == "A" else 10 if rank in "JQK" else int(rank)


def _distinct_colours(rng: Random, number: int) -> list[str]:
    return rng.sample(tuple(COLOURS), number)


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
