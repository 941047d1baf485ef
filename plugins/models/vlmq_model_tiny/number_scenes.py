"""Scenes of numbers: read one or two, compare them, reckon with them.

`variation` runs from 0, digits in black and white near the middle, to 1, numbers of one or two digits in any size,
place and colour.
"""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny import phrases
from vlmq_model_tiny.draw import RGB, SIDE, Canvas, Mask, contrasting, glyphs
from vlmq_model_tiny.scene import Exchange, ask, varied, varied_glyphs


def stacked(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """Two digits, one above the other near the middle: read, compare and reckon at a glance."""
    numbers, image, names = _stacked_picture(rng, variation)
    kind = rng.random()
    if kind < 0.4:
        return [Exchange(image, *_reading(rng, numbers, names))]
    if kind < 0.85:
        return [Exchange(image, *_comparing(rng, numbers, names, variation))]
    return [Exchange(image, *_reckoning(rng, numbers))]


def read_digit(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """One digit, anywhere."""
    return _read_one(rng, str(rng.randrange(10)), variation)


def read_number(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """One two-digit number, anywhere."""
    return _read_one(rng, str(rng.randrange(10, 100)), variation)


def read_pair(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """Two numbers, one above the other or side by side: read one of them, or both."""
    numbers = two_numbers(rng, variation)
    image, names = _pair_picture(rng, numbers, variation)
    return [Exchange(image, *_reading(rng, numbers, names))]


def compare(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """Two numbers: which is larger or smaller, and how the first stands to the second."""
    numbers = two_numbers(rng, variation)
    image, names = _pair_picture(rng, numbers, variation)
    return [Exchange(image, *_comparing(rng, numbers, names, variation))]


def arithmetic(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """Two one-digit numbers: their distance or their sum."""
    numbers = rng.randrange(10), rng.randrange(10)
    image, _ = _pair_picture(rng, numbers, variation)
    return [Exchange(image, *_reckoning(rng, numbers))]


def pair_dialogue(rng: Random, variation: float = 1.0) -> list[Exchange]:
    """One picture of two numbers and several questions about it: six without variation, three with all of it.

    The more is asked about a picture, the sooner a model begins to see; but an answer that can be copied from
    an earlier one teaches nothing about the picture, so every kind of question comes first at times, comparing
    most often.
    """
    if rng.random() < 0.35:
        numbers, image, names = _stacked_picture(rng, variation)
    else:
        numbers = two_numbers(rng, variation, wide=0.6)
        image, names = _pair_picture(rng, numbers, variation)
    asked = [_comparing(rng, numbers, names, variation) for _ in range(3)]
    asked += [_reading_one(rng, numbers, names), _reading_both(rng, numbers, names)]
    if max(numbers) < 10:
        asked += [_difference(rng, numbers), _sum(rng, numbers)]
    comparing_first = rng.random() < 0.5
    first, rest = (asked[:1], asked[1:]) if comparing_first else ([], asked)
    rng.shuffle(rest)
    pairs = list(dict.fromkeys(first + rest))[: 6 - round(3 * variation)]
    return [Exchange(image if turn == 0 else None, *pair) for turn, pair in enumerate(pairs)]


def _reading(rng: Random, numbers: tuple[int, int], names: tuple[str, str]) -> tuple[str, str]:
    return (_reading_both if rng.random() < 0.5 else _reading_one)(rng, numbers, names)


def _reading_both(rng: Random, numbers: tuple[int, int], names: tuple[str, str]) -> tuple[str, str]:
    question = ask(rng, phrases.READ_BOTH, first=names[0], second=names[1])
    return question, f"{numbers[0]} {numbers[1]}"


def _reading_one(rng: Random, numbers: tuple[int, int], names: tuple[str, str]) -> tuple[str, str]:
    which = rng.randrange(2)
    return ask(rng, phrases.READ_OF_TWO, place=names[which]), str(numbers[which])


def _comparing(
    rng: Random, numbers: tuple[int, int], names: tuple[str, str], variation: float
) -> tuple[str, str]:
    """A comparison, always of the first number with the second; without variation of two kinds only.

    Never the other way round: on average nothing would depend on the order, and asked either way it was not learnt.
    """
    first, second = numbers
    where = names[0] if first > second else names[1] if second > first else "same"
    other = names[1] if first > second else names[0] if second > first else "same"
    relation = "larger" if first > second else "smaller" if first < second else "equal"
    if rng.random() >= variation:
        kind = rng.random()
        if kind < 0.4:
            return ask(rng, phrases.RELATION, first=names[0], second=names[1]), relation
        if kind < 0.8:
            return ask(rng, phrases.LARGER_WHERE, first=names[0], second=names[1]), where
        return ask(rng, phrases.LARGEST), str(max(first, second))
    kind = rng.random()
    forms: tuple[str, ...]
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
    return ask(rng, forms, first=names[0], second=names[1]), answer


def _reckoning(rng: Random, numbers: tuple[int, int]) -> tuple[str, str]:
    return (_difference if rng.random() < 0.6 else _sum)(rng, numbers)


def _difference(rng: Random, numbers: tuple[int, int]) -> tuple[str, str]:
    return ask(rng, phrases.DIFFERENCE), str(abs(numbers[0] - numbers[1]))


def _sum(rng: Random, numbers: tuple[int, int]) -> tuple[str, str]:
    return ask(rng, phrases.SUM), str(sum(numbers))


def two_numbers(rng: Random, variation: float = 1.0, wide: float = 0.35) -> tuple[int, int]:
    """Of up to two digits with probability `wide`, else one; near and equal numbers come more often than chance."""
    limit = 100 if rng.random() < wide * variation else 10
    first = rng.randrange(limit)
    kind = rng.random()
    if kind < 0.08:
        return first, first
    if kind < 0.3:
        step = rng.choice((-1, 1)) * rng.randint(1, 3 * limit // 10)
        return first, min(limit - 1, max(0, first + step))
    return first, rng.randrange(limit)


def number_picture(rng: Random, text: str, variation: float = 1.0) -> NDArray[np.uint8]:
    """One number anywhere; clutter beside it where it is small."""
    canvas, inks = _canvas(rng, variation)
    mask = _glyphs(rng, text, varied(rng, 19, 28, 40, variation), variation)
    if mask.shape[0] < 26 and not canvas.plain:
        canvas.clutter()
    height, width = mask.shape
    room = max(0, SIDE - width), max(0, SIDE - height)
    x, y = (varied(rng, 0, side // 2, side, max(variation, 0.2)) for side in room)
    canvas.blend(mask, x, y, inks[0])
    return canvas.finish()


def _canvas(rng: Random, variation: float) -> tuple[Canvas, tuple[RGB, RGB]]:
    """A ground and two inks: any colours with probability `variation`, else black and white."""
    if rng.random() < variation:
        canvas = Canvas(rng)
        first = contrasting(rng, canvas.ground)
        return canvas, (first, first if rng.random() < 0.4 else contrasting(rng, canvas.ground))
    canvas = Canvas(rng, (255, 255, 255) if rng.random() < 0.7 else (0, 0, 0), plain=True)
    ink = (0, 0, 0) if canvas.ground[0] else (255, 255, 255)
    return canvas, (ink, ink)


def _glyphs(rng: Random, text: str, size: int, variation: float) -> Mask:
    """`text`; half of the time bold, slanted or stretched."""
    return varied_glyphs(rng, text, size, size) if rng.random() < variation else glyphs(text, size)


def _read_one(rng: Random, text: str, variation: float) -> list[Exchange]:
    return [Exchange(number_picture(rng, text, variation), rng.choice(phrases.READ_ONE), text)]


def _stacked_picture(
    rng: Random, variation: float
) -> tuple[tuple[int, int], NDArray[np.uint8], tuple[str, str]]:
    numbers = rng.randrange(10), rng.randrange(10)
    canvas, inks = _canvas(rng, variation)
    size, left = varied(rng, 19, 24, 30, variation), varied(rng, 12, 26, 40, max(variation, 0.2))
    labelled = rng.random() < 0.4 * variation
    for row in range(2):
        mask = glyphs(str(numbers[row]), size + rng.randrange(-1, 2), rng.random() < 0.3 * variation)
        if labelled:
            canvas.small_label(rng.randrange(0, 10), 32 * row + rng.randrange(4, 18))
        top = 16 + 32 * row - mask.shape[0] // 2 + varied(rng, -5, 0, 5, max(variation, 0.5))
        canvas.blend(mask, left + rng.randrange(-2, 3), min(max(0, top), SIDE - mask.shape[0]), inks[row])
    return numbers, canvas.finish(), ("top", "bottom")


def _pair_picture(
    rng: Random, numbers: tuple[int, int], variation: float
) -> tuple[NDArray[np.uint8], tuple[str, str]]:
    """Two numbers, stacked (3 of 4) or side by side, with labels, a divider or frames at times."""
    canvas, inks = _canvas(rng, variation)
    texts = str(numbers[0]), str(numbers[1])
    canvas.clutter(0.7 * variation)
    if rng.random() < 1.0 - 0.25 * variation:
        _stack(canvas, texts, inks, variation)
        upper = rng.random() < 0.33 * variation
        return canvas.finish(), ("upper", "lower") if upper else ("top", "bottom")
    _side_by_side(canvas, texts, inks, variation)
    return canvas.finish(), ("left", "right")


def _stack(canvas: Canvas, texts: tuple[str, str], inks: tuple[RGB, RGB], variation: float) -> None:
    rng = canvas.rng
    above, beside = rng.random() < 0.2 * variation, rng.random() < 0.15 * variation
    largest = 24 if above else 34
    size = varied(rng, 19, 24, largest, variation)
    same_size, aligned = rng.random() < 0.6, rng.random() < 0.6
    slide = rng.random()
    framed, divided = rng.random() < 0.12 * variation, rng.random() < 0.13 * variation
    for row in range(2):
        mask = _glyphs(
            rng, texts[row], size if same_size else varied(rng, 19, 24, largest, variation), variation
        )
        height, width = mask.shape
        top, bottom, left = 32 * row + 1, 32 * row + 31, 1
        if above:  # a small label above the number
            canvas.small_label(rng.randrange(0, 24), top)
            top += 9
        elif beside and width < 32:  # or to its left
            canvas.small_label(0, top + rng.randrange(2, 18))
            left = SIDE - 1 - max(width, 24)
        share = 0.5 + max(variation, 0.2) * ((slide if aligned else rng.random()) - 0.5)
        x = left + int(share * max(0, SIDE - 1 - width - left))
        y = top + int(rng.random() * max(0, bottom - top - height))
        canvas.blend(mask, x, y, inks[row])
        if framed:
            canvas.frame(1, 32 * row, SIDE - 2, 32 * row + 31, contrasting(rng, canvas.ground, 40.0))
    if divided:
        canvas.box(0, 31, SIDE, 32, contrasting(rng, canvas.ground, 40.0))


def _side_by_side(canvas: Canvas, texts: tuple[str, str], inks: tuple[RGB, RGB], variation: float) -> None:
    rng = canvas.rng
    size = varied(rng, 18, 21, 24, variation)
    aligned = rng.random() < 0.5
    slide = rng.random()
    for column in range(2):
        mask = _glyphs(rng, texts[column], size, variation)
        height, width = mask.shape
        x = 32 * column + 1 + int(rng.random() * max(0, 30 - width))
        share = 0.5 + max(variation, 0.2) * ((slide if aligned else rng.random()) - 0.5)
        canvas.blend(mask, x, int(share * (SIDE - height)), inks[column])
    if rng.random() < 0.15 * variation:
        canvas.box(31, 0, 32, SIDE, contrasting(rng, canvas.ground, 40.0))
