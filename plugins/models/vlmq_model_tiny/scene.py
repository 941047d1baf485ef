"""What a scene gives back, and the helpers that scenes share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlmq_model_tiny.draw import COLOURS, RGB, SIDE, Canvas, Mask, glyphs


@dataclass(frozen=True, eq=False)
class Exchange:
    """A picture, or None where the talk goes on about the last one; one question, one answer."""

    image: NDArray[np.uint8] | None
    question: str
    answer: str


Scene = Callable[[Random], list[Exchange]]
"""Draws and asks; a pure function of the generator it is given."""

NumberScene = Callable[[Random, float], list[Exchange]]
"""A scene that can be drawn with less variation: from 0, as plain as can be, to 1, whatever may occur."""

Sight = TypeVar("Sight")
"""What a picture of a family shows, as values that questions are answered from."""

Pair = tuple[str, str]
"""A question and its answer."""

MOST_DRAWS = 200


@dataclass(frozen=True, eq=False)
class Family(Generic[Sight]):
    """Skills that ask about the same kind of picture.

    Attributes:
        draw: a picture, and what it shows.
        askers: by skill; None where the picture does not allow that question.
    """

    draw: Callable[[Random], tuple[Sight, NDArray[np.uint8]]]
    askers: Mapping[str, Callable[[Random, Sight], Pair | None]]

    def dialogue(self, rng: Random, skill: str, questions: int = 1) -> list[Exchange]:
        """A picture, a question of this skill, and questions of any skill after it; none is asked twice."""
        for _ in range(MOST_DRAWS):
            sight, image = self.draw(rng)
            first = self.askers[skill](rng, sight)
            if first is not None:
                break
        else:
            raise RuntimeError(f"no picture of {MOST_DRAWS} allows a question of the skill '{skill}'")
        asked = {first: None}
        for _ in range(questions - 1):
            pair = self.askers[rng.choice(tuple(self.askers))](rng, sight)
            if pair is not None:
                asked[pair] = None
        return [Exchange(image if turn == 0 else None, *pair) for turn, pair in enumerate(asked)]


def ask(rng: Random, forms: tuple[str, ...], **names: str) -> str:
    """One of the forms, with its names filled in."""
    return rng.choice(forms).format(**names)


def varied(rng: Random, low: int, centre: int, high: int, variation: float) -> int:
    """A whole number from `low` to `high`, or from a part of that range around `centre`."""
    return rng.randint(
        centre - round(variation * (centre - low)), centre + round(variation * (high - centre))
    )


def varied_glyphs(rng: Random, text: str, smallest: int, largest: int) -> Mask:
    """`text` in a drawn size; half of the time bold, slanted or stretched."""
    size = rng.randrange(smallest, largest + 1)
    if rng.random() < 0.5:
        return glyphs(text, size)
    return glyphs(text, size, rng.random() < 0.4, rng.choice((-2, -1, 0, 1, 2)), rng.choice((-1, 0, 2)))


def fitting_glyphs(rng: Random, text: str, smallest: int, largest: int) -> Mask:
    """`text` in a drawn size, or the largest that fits the picture's width."""
    mask = glyphs(text, rng.randrange(smallest, largest + 1), rng.random() < 0.2)
    size = largest
    while mask.shape[1] > SIDE - 2:
        size -= 2
        mask = glyphs(text, size)
    return mask


def place_anywhere(canvas: Canvas, mask: Mask, colour: RGB) -> None:
    """Anywhere inside the picture."""
    height, width = mask.shape
    x = canvas.rng.randrange(0, max(1, SIDE - width + 1))
    y = canvas.rng.randrange(0, max(1, SIDE - height + 1))
    canvas.blend(mask, x, y, colour)


def distinct_colours(rng: Random, number: int) -> list[str]:
    """Names of different colours, shuffled."""
    return rng.sample(tuple(COLOURS), number)
