"""Scenes of playing cards, words and letters."""

from __future__ import annotations

from random import Random

from vlmq_model_tiny import phrases
from vlmq_model_tiny.draw import SIDE, Canvas, contrasting, glyphs, luminance, shade, shape_mask
from vlmq_model_tiny.scene import Exchange, ask, fitting_glyphs, place_anywhere, varied_glyphs

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
SUITS = ("diamond", "circle", "triangle", "star")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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
        wanted = rng.random()
        if wanted < 0.45:
            return [Exchange(canvas.finish(), rng.choice(phrases.CARDS), " ".join(ranks))]
        if wanted < 0.75:
            which = rng.randrange(2)
            question = ask(rng, phrases.CARD_OF, place=("left", "right")[which])
            return [Exchange(canvas.finish(), question, ranks[which])]
        total = sum(_worth(rank) for rank in ranks)
        return [Exchange(canvas.finish(), rng.choice(phrases.CARD_SUM), str(total))]
    rows = [[rng.choice(RANKS) for _ in range(rng.randrange(1, 4))] for _ in range(2)]
    _card_row(canvas, rows[0], rng.randrange(0, 5), rng.randrange(23, 27))
    _card_row(canvas, rows[1], rng.randrange(33, 36), rng.randrange(23, 27))
    which = rng.randrange(2)
    question = ask(rng, phrases.CARDS_ROW, place=("top", "bottom")[which])
    return [Exchange(canvas.finish(), question, " ".join(rows[which]))]


def words(rng: Random) -> list[Exchange]:
    """A short word, one of two words, or a letter."""
    canvas = Canvas(rng)
    canvas.clutter(0.5)
    kind = rng.random()
    if kind < 0.2:
        letter = rng.choice(_LETTERS)
        place_anywhere(canvas, varied_glyphs(rng, letter, 16, 34), contrasting(rng, canvas.ground))
        return [Exchange(canvas.finish(), rng.choice(phrases.LETTER), letter)]
    if kind < 0.65:
        word = rng.choice(phrases.WORDS)
        place_anywhere(canvas, fitting_glyphs(rng, word, 12, 22), contrasting(rng, canvas.ground))
        return [Exchange(canvas.finish(), rng.choice(phrases.WORD), word)]
    pair = [rng.choice(phrases.WORDS) for _ in range(2)]
    for row, word in enumerate(pair):
        mask = fitting_glyphs(rng, word, 12, 18)
        x = rng.randrange(0, max(1, SIDE - mask.shape[1]))
        y = 32 * row + rng.randrange(1, max(2, 31 - mask.shape[0]))
        canvas.blend(mask, x, y, contrasting(rng, canvas.ground))
    which = rng.randrange(2)
    question = ask(rng, phrases.WORD_OF_TWO, place=("top", "bottom")[which])
    return [Exchange(canvas.finish(), question, pair[which])]


def echo(rng: Random) -> list[Exchange]:
    """Say a word of the question, whatever the picture shows."""
    canvas = Canvas(rng)
    canvas.clutter()
    word = rng.choice(phrases.ECHO_WORDS)
    return [Exchange(canvas.finish(), ask(rng, phrases.ECHO, word=word), word)]


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
