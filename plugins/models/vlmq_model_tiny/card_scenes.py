"""Scenes of playing cards: ranks, suits, sums, the higher card, the formula written below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlmq_model_tiny import wording
from vlmq_model_tiny.draw import RGB, SIDE, Canvas, Mask, contrasting, glyphs
from vlmq_model_tiny.lexicon import RANKS, SUITS
from vlmq_model_tiny.scene import Family, Pair, ask

Card = tuple[str, str]
"""Rank and suit; both empty where it lies face down."""

_HIDDEN = ("", "")
_ENLARGE = 4
_BOLD_FROM = 15
_ORDER = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class Table:
    """Rows of cards from top to bottom, and what is written below them."""

    rows: tuple[tuple[Card, ...], ...]
    writing: str = ""


def draw_table(rng: Random) -> tuple[Table, NDArray[np.uint8]]:
    """One card, two beside each other, four in a row or two rows."""
    canvas = Canvas(rng)
    weight, tint = rng.random() < 0.4, _tint(rng)
    kind = rng.random()
    if kind < 0.12:
        rows = ((_any_card(rng),),)
        width, height = rng.randrange(20, 42), rng.randrange(30, 60)
        x, y = rng.randrange(0, SIDE - width), rng.randrange(0, SIDE - height)
        _draw_card(canvas, rows[0][0], (x, y, width, height), weight, tint)
        return Table(rows), canvas.finish()
    if kind < 0.6:
        count = 2 if kind < 0.38 else rng.randrange(3, 5)
        row = tuple(_any_card(rng) for _ in range(count))
        height = rng.randrange(26, 44) if count == 2 else rng.randrange(22, 34)
        top = rng.randrange(0, 44 - height + 1)
        _draw_row(canvas, row, top, height, weight, tint)
        writing = _formula(rng) if rng.random() < 0.6 else ""
        if writing:
            _write(canvas, writing, max(top + height + 1, 44))
        return Table((row,), writing), canvas.finish()
    upper = tuple(_any_card(rng) for _ in range(rng.randrange(1, 4)))
    if rng.random() < 0.4:
        upper = (upper[0], _HIDDEN)
    lower = tuple(_any_card(rng) for _ in range(rng.randrange(1, 6)))
    for row, top in ((upper, 0), (lower, 32)):
        height = rng.randrange(20, 31)
        _draw_row(canvas, row, top + rng.randrange(0, 32 - height), height, weight, tint)
    return Table((upper, lower)), canvas.finish()


def ask_rank(rng: Random, table: Table) -> Pair:
    """The rank of a card, or those of a row."""
    if len(table.rows) == 2:
        which = rng.randrange(2)
        ranks = " ".join(card[0] or "hidden" for card in table.rows[which])
        return ask(rng, wording.CARD_ROW, place=("top", "bottom")[which]), ranks
    row = table.rows[0]
    if len(row) > 1 and rng.random() < 0.4:
        return ask(rng, wording.CARD_ROW, place="top"), " ".join(card[0] for card in row)
    place, card = _one_of(rng, row)
    return ask(rng, wording.CARD_RANK, place=place), card[0]


def ask_suit(rng: Random, table: Table) -> Pair | None:
    """The suit of a card, or its colour."""
    if len(table.rows) > 1:
        return None
    place, card = _one_of(rng, table.rows[0])
    if rng.random() < 0.25:
        red = card[1] in ("hearts", "diamonds")
        return ask(rng, wording.CARD_RED, place=place), "red" if red else "black"
    return ask(rng, wording.CARD_SUIT, place=place), card[1]


def ask_sum(rng: Random, table: Table) -> Pair | None:
    """What a row adds up to."""
    which = rng.randrange(len(table.rows))
    row = table.rows[which]
    if len(row) < 2 or _HIDDEN in row:
        return None
    return ask(rng, wording.CARD_SUM, place=("top", "bottom")[which]), str(_total(row))


def ask_best(rng: Random, table: Table) -> Pair | None:
    """The higher of two cards, the highest of several, the row that adds up to more."""
    if len(table.rows) == 2:
        if _HIDDEN in table.rows[0]:
            return None
        totals = [_total(row) for row in table.rows]
        return ask(rng, wording.CARD_ROW_MORE), _larger(totals, ("top", "bottom"))
    heights = [RANKS.index(card[0]) for card in table.rows[0]]
    if len(heights) < 2:
        return None
    if len(heights) == 2 and rng.random() < 0.7:
        question = ask(rng, wording.CARD_HIGHER, first="left", second="right")
        return question, _larger(heights, ("left", "right"))
    return ask(rng, wording.CARD_HIGHEST), RANKS[max(heights)]


def ask_writing(rng: Random, table: Table) -> Pair | None:
    """The formula below the cards."""
    return (ask(rng, wording.WRITING), table.writing) if table.writing else None


FAMILY = Family(
    draw_table,
    {
        "card_rank": ask_rank,
        "card_suit": ask_suit,
        "card_sum": ask_sum,
        "card_best": ask_best,
        "card_writing": ask_writing,
    },
)


def _any_card(rng: Random) -> Card:
    return rng.choice(RANKS), rng.choice(SUITS)


def _worth(rank: str) -> int:
    return 1 if rank == "A" else 10 if rank in "JQK" else int(rank)


def _total(row: tuple[Card, ...]) -> int:
    return sum(_worth(rank) for rank, _ in row)


def _larger(values: list[int], names: tuple[str, str]) -> str:
    return "same" if values[0] == values[1] else names[values[1] > values[0]]


def _one_of(rng: Random, row: tuple[Card, ...]) -> tuple[str, Card]:
    """A card of the row, and what its place is called."""
    which = rng.randrange(len(row))
    if len(row) == 1:
        return rng.choice(("only", "first")), row[0]
    if len(row) == 2:
        return ("left", "right")[which], row[which]
    return _ORDER[which], row[which]


def _formula(rng: Random) -> str:
    """Numbers and operators in turn, broken off anywhere, with a bracket at times."""
    symbols = [
        rng.choice("+-*/") if place % 2 else str(rng.randrange(1, 11)) for place in range(rng.randrange(1, 6))
    ]
    return ("(" if rng.random() < 0.15 else "") + "".join(symbols)


def _tint(rng: Random) -> RGB:
    """Of all cards of a picture: nearly white."""
    return rng.randrange(205, 256), rng.randrange(205, 256), rng.randrange(205, 256)


def _draw_row(canvas: Canvas, row: tuple[Card, ...], top: int, height: int, weight: bool, tint: RGB) -> None:
    step = min(SIDE // len(row), 32)
    width = min(step - 1, canvas.rng.randrange(18, 29))
    left = canvas.rng.randrange(0, max(1, SIDE - step * len(row) + 1))
    for column, card in enumerate(row):
        _draw_card(canvas, card, (left + step * column, top, width, height), weight, tint)


def _draw_card(canvas: Canvas, card: Card, box: tuple[int, int, int, int], weight: bool, tint: RGB) -> None:
    """A card in a box (left, top, width, height): its rank above, its suit below."""
    rng = canvas.rng
    x, y, width, height = box
    if card == _HIDDEN:
        back = contrasting(rng, canvas.ground, 30.0)
        canvas.box(x, y, x + width, y + height, back)
        return
    canvas.box(x, y, x + width, y + height, tint)
    rank, suit = card
    dark = rng.randrange(0, 60)
    ink = (rng.randrange(150, 225), dark // 2, dark // 2) if suit in ("hearts", "diamonds") else (dark,) * 3
    mask = _fitted(rank, min(height * 6 // 10, width, 26) + 2, (width - 2, height * 6 // 10), weight)
    canvas.blend(mask, x + (width - mask.shape[1]) // 2, y + 2, ink)
    room = height - mask.shape[0] - 5
    mark = pip(suit, max(5, min(room, width - 4, 14)))
    canvas.blend(mark, x + (width - mark.shape[1]) // 2, y + height - mark.shape[0] - 1, ink)


def _write(canvas: Canvas, writing: str, top: int) -> None:
    rng = canvas.rng
    mask = _fitted(writing, rng.randrange(12, 19), (SIDE - 2, SIDE - top), rng.random() < 0.4)
    x = rng.randrange(0, SIDE - mask.shape[1])
    y = rng.randrange(top, max(top + 1, SIDE - mask.shape[0]))
    canvas.blend(mask, x, y, contrasting(rng, canvas.ground))


def _fitted(text: str, size: int, room: tuple[int, int], bold: bool) -> Mask:
    """The text in this font size, or the largest that fits in the room; small ones are never bold."""
    while True:
        mask = glyphs(text, size, bold and size >= _BOLD_FROM)
        if mask.shape[1] <= room[0] and mask.shape[0] <= room[1]:
            return mask
        size -= 1


@lru_cache(maxsize=128)
def pip(suit: str, size: int) -> Mask:
    """Coverage 0-255 of a suit's mark."""
    side = size * _ENLARGE
    picture = Image.new("L", (side, side))
    pen = ImageDraw.Draw(picture)

    def disc(x: float, y: float, radius: float) -> None:
        pen.ellipse([side * (x - radius), side * (y - radius), side * (x + radius), side * (y + radius)], 255)

    def polygon(*points: tuple[float, float]) -> None:
        pen.polygon([(side * x, side * y) for x, y in points], 255)

    if suit == "diamonds":
        polygon((0.5, 0.02), (0.9, 0.5), (0.5, 0.98), (0.1, 0.5))
    elif suit == "hearts":
        disc(0.28, 0.3, 0.24)
        disc(0.72, 0.3, 0.24)
        polygon((0.06, 0.42), (0.94, 0.42), (0.5, 0.98))
    else:
        if suit == "spades":
            polygon((0.5, 0.0), (0.08, 0.56), (0.92, 0.56))
        else:
            disc(0.5, 0.24, 0.22)
        disc(0.27, 0.6, 0.22)
        disc(0.73, 0.6, 0.22)
        polygon((0.5, 0.45), (0.7, 1.0), (0.3, 1.0))
    return np.asarray(picture.resize((size, size), Image.Resampling.BOX), np.uint8).copy()
