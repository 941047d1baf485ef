"""Scenes of numbers: read one or two, compare them, reckon with them."""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny import phrases
from vlmq_model_tiny.draw import RGB, SIDE, Canvas, contrasting, glyphs
from vlmq_model_tiny.scene import Exchange, ask, place_anywhere, varied_glyphs


def plain_digits(rng: Random) -> list[Exchange]:
    """One digit, or two stacked, in black and white without any clutter: where seeing starts."""
    canvas, ink = _plain_canvas(rng)
    if rng.random() < 0.4:
        digit = str(rng.randrange(10))
        mask = glyphs(digit, rng.randrange(26, 36))
        canvas.blend(mask, rng.randrange(16, 32), rng.randrange(14, 26), ink)
        return [Exchange(canvas.finish(), rng.choice(phrases.READ_ONE), digit)]
    digits = rng.randrange(10), rng.randrange(10)
    _plain_stack(canvas, digits, ink)
    kind = rng.random()
    if kind < 0.6:
        question = ask(rng, phrases.READ_BOTH, first="top", second="bottom")
        return [Exchange(canvas.finish(), question, f"{digits[0]} {digits[1]}")]
    which = rng.randrange(2)
    if kind < 0.8:
        question = ask(rng, phrases.READ_OF_TWO, place=("top", "bottom")[which])
        return [Exchange(canvas.finish(), question, str(digits[which]))]
    where = "top" if digits[0] > digits[1] else "bottom" if digits[1] > digits[0] else "same"
    question = ask(rng, phrases.LARGER_WHERE, first="top", second="bottom")
    return [Exchange(canvas.finish(), question, where)]


def stacked(rng: Random) -> list[Exchange]:
    """Two digits, one above the other near the middle, in any colours: read, compare and reckon at a glance."""
    numbers = rng.randrange(10), rng.randrange(10)
    canvas = Canvas(rng)
    first = contrasting(rng, canvas.ground)
    inks = first, first if rng.random() < 0.4 else contrasting(rng, canvas.ground)
    size, left = rng.randrange(20, 29), rng.randrange(14, 38)
    labelled = rng.random() < 0.4
    for row in range(2):
        mask = glyphs(str(numbers[row]), size + rng.randrange(-1, 2), rng.random() < 0.3)
        if labelled:
            canvas.small_label(rng.randrange(0, 10), 32 * row + rng.randrange(4, 18))
        top = 16 + 32 * row - mask.shape[0] // 2 + rng.randrange(-4, 5)
        canvas.blend(mask, left + rng.randrange(-2, 3), min(max(0, top), SIDE - mask.shape[0]), inks[row])
    image, names = canvas.finish(), ("top", "bottom")
    kind = rng.random()
    if kind < 0.4:
        return [Exchange(image, *_reading(rng, numbers, names))]
    if kind < 0.85:
        return [Exchange(image, *_comparing(rng, numbers, names))]
    return [Exchange(image, *_reckoning(rng, numbers))]


def read_digit(rng: Random) -> list[Exchange]:
    """One digit, anywhere."""
    return _read_one(rng, str(rng.randrange(10)))


def read_number(rng: Random) -> list[Exchange]:
    """One two-digit number, anywhere."""
    return _read_one(rng, str(rng.randrange(10, 100)))


def read_pair(rng: Random) -> list[Exchange]:
    """Two numbers, one above the other or side by side: read one of them, or both."""
    numbers = two_numbers(rng)
    image, names = _pair_picture(rng, str(numbers[0]), str(numbers[1]))
    return [Exchange(image, *_reading(rng, numbers, names))]


def compare(rng: Random) -> list[Exchange]:
    """Two numbers: which is larger or smaller, and how the first stands to the second."""
    numbers = two_numbers(rng)
    image, names = _pair_picture(rng, str(numbers[0]), str(numbers[1]))
    return [Exchange(image, *_comparing(rng, numbers, names))]


def arithmetic(rng: Random) -> list[Exchange]:
    """Two one-digit numbers: their distance or their sum."""
    numbers = rng.randrange(10), rng.randrange(10)
    image, _ = _pair_picture(rng, str(numbers[0]), str(numbers[1]))
    return [Exchange(image, *_reckoning(rng, numbers))]


def pair_dialogue(rng: Random) -> list[Exchange]:
    """One picture of two numbers and several questions about it: reading, comparing, reckoning."""
    numbers = two_numbers(rng)
    image, names = _pair_picture(rng, str(numbers[0]), str(numbers[1]))
    exchanges: list[Exchange] = []
    for turn in range(6):
        kind = rng.random()
        if kind < 0.4:
            question, answer = _reading(rng, numbers, names)
        elif kind < 0.85 or max(numbers) > 9:
            question, answer = _comparing(rng, numbers, names)
        else:
            question, answer = _reckoning(rng, numbers)
        exchanges.append(Exchange(image if turn == 0 else None, question, answer))
    return exchanges


def plain_dialogue(rng: Random) -> list[Exchange]:
    """The same about two stacked digits in black and white: where seeing starts."""
    numbers = rng.randrange(10), rng.randrange(10)
    canvas, ink = _plain_canvas(rng)
    _plain_stack(canvas, numbers, ink)
    image, names = canvas.finish(), ("top", "bottom")
    pairs = [_reading(rng, numbers, names) for _ in range(4)] + [
        _comparing(rng, numbers, names) for _ in range(2)
    ]
    rng.shuffle(pairs)
    return [Exchange(image if turn == 0 else None, *pair) for turn, pair in enumerate(pairs)]


def _reading(rng: Random, numbers: tuple[int, int], names: tuple[str, str]) -> tuple[str, str]:
    if rng.random() < 0.5:
        question = ask(rng, phrases.READ_BOTH, first=names[0], second=names[1])
        return question, f"{numbers[0]} {numbers[1]}"
    which = rng.randrange(2)
    return ask(rng, phrases.READ_OF_TWO, place=names[which]), str(numbers[which])


def _comparing(rng: Random, numbers: tuple[int, int], names: tuple[str, str]) -> tuple[str, str]:
    first, second = numbers
    if rng.random() < 0.5:  # name them in either order
        first, second, names = second, first, (names[1], names[0])
    where = names[0] if first > second else names[1] if second > first else "same"
    other = names[1] if first > second else names[0] if second > first else "same"
    relation = "larger" if first > second else "smaller" if first < second else "equal"
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
    if rng.random() < 0.6:
        return rng.choice(phrases.DIFFERENCE), str(abs(numbers[0] - numbers[1]))
    return rng.choice(phrases.SUM), str(sum(numbers))


def two_numbers(rng: Random) -> tuple[int, int]:
    """Mostly one digit each; neighbours and equals are more frequent than chance."""
    limit = 10 if rng.random() < 0.65 else 100
    first = rng.randrange(limit)
    kind = rng.random()
    if kind < 0.08:
        return first, first
    if kind < 0.3:
        return first, min(limit - 1, max(0, first + rng.choice((-3, -2, -1, 1, 2, 3))))
    return first, rng.randrange(limit)


def number_picture(rng: Random, text: str) -> NDArray[np.uint8]:
    """One number anywhere; clutter beside it where it is small."""
    canvas = Canvas(rng)
    mask = varied_glyphs(rng, text, 13, 40)
    if mask.shape[0] < 26:
        canvas.clutter()
    place_anywhere(canvas, mask, contrasting(rng, canvas.ground))
    return canvas.finish()


def _plain_canvas(rng: Random) -> tuple[Canvas, RGB]:
    canvas = Canvas(rng, (255, 255, 255) if rng.random() < 0.7 else (0, 0, 0), plain=True)
    return canvas, (0, 0, 0) if canvas.ground[0] else (255, 255, 255)


def _plain_stack(canvas: Canvas, digits: tuple[int, int], ink: RGB) -> None:
    rng = canvas.rng
    for row in range(2):
        mask = glyphs(str(digits[row]), rng.randrange(24, 33))
        canvas.blend(mask, rng.randrange(20, 30), 32 * row + rng.randrange(3, 8), ink)


def _read_one(rng: Random, text: str) -> list[Exchange]:
    return [Exchange(number_picture(rng, text), rng.choice(phrases.READ_ONE), text)]


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
        mask = varied_glyphs(rng, texts[row], *((size, size) if rng.random() < 0.6 else (16, largest)))
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
        mask = varied_glyphs(rng, texts[column], size, size)
        height, width = mask.shape
        x = 32 * column + 1 + int(rng.random() * max(0, 30 - width))
        share = slide if aligned else rng.random()
        canvas.blend(mask, x, int(share * (SIDE - height)), inks[column])
    if rng.random() < 0.15:
        canvas.box(31, 0, 32, SIDE, contrasting(rng, canvas.ground, 40.0))
