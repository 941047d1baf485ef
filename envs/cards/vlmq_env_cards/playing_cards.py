"""A deck of cards: ranks, suits, what a rank counts, and how one card is drawn."""

from __future__ import annotations

from vlmq_env_cards.drawing import Canvas, Colour, pip

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
WORTH = {rank: min(place, 10) for place, rank in enumerate(RANKS, start=1)}
"""What a card counts: the ace 1, the faces 10."""

SUITS = ("S", "H", "D", "C")
RED_SUITS = ("H", "D")

Card = tuple[str, str]
"""Rank and suit."""


def draw_card(
    canvas: Canvas,
    card: Card,
    place: tuple[float, float, float, float],
    paper: Colour,
    ink: Colour,
    digit: float,
    weight: float,
) -> None:
    """Draw one card: its rank above, its suit below.

    Args:
        canvas: what to draw on.
        card: rank and suit.
        place: left, top, width and height, in layout pixels.
        paper: the card's colour.
        ink: of rank and suit.
        digit: height of the rank, in layout pixels.
        weight: stroke width added to it.
    """
    left, top, width, height = place
    rank, suit = card
    canvas.fill(left, top, width, height, paper)
    middle = left + width / 2
    canvas.write(rank, middle, top + 0.355 * height, digit, ink, weight, room=width - 4)
    canvas.stamp(pip(suit, round(0.263 * height * canvas.scale)), middle, top + 0.816 * height, ink)
