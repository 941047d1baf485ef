"""Blackjack: two cards and the dealer's one; hit or stand.

After the game of that name in RL4VLM's Gym Cards (arXiv 2405.10292), itself Gymnasium's: an infinite deck, hit or
stand alone, the dealer stands on every 17, no bonus for a natural. Deviations:
1. seeds count: a seed fixes every card that will be dealt, so the same play gives the same game;
2. nothing tells the hidden card before the hand is over, `state_key` included; then the picture shows it;
3. every card stays within the picture, however many are drawn;
4. the picture varies from episode to episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq_env_cards.drawing import WEIGHTS, Canvas, Colour, Grain, jitter, rgb
from vlmq_env_cards.game import MODALITIES, Game
from vlmq_env_cards.playing_cards import RANKS, RED_SUITS, SUITS, WORTH, Card, draw_card
from vlmq_env_cards.strategy import hand, wise_to_hit

HIT, STAND = "hit", "stand"
MOST_TURNS = 16
DEALER_CARDS = 12
"""As many as the dealer can ever need to come to 17."""


@dataclass(frozen=True, eq=False)
class Look:
    """How one episode looks; lengths in layout pixels."""

    table: Colour
    card: Colour
    back: Colour
    black: Colour
    red: Colour
    weight: float
    dealer_shift: tuple[int, int]
    player_shift: tuple[int, int]
    grain: Grain

    @classmethod
    def plain(cls) -> Look:
        """White cards on a green table, clean."""
        return cls(
            table=rgb(53, 101, 77),
            card=rgb(255, 255, 255),
            back=rgb(60, 60, 150),
            black=rgb(0, 0, 0),
            red=rgb(190, 0, 20),
            weight=WEIGHTS[1],
            dealer_shift=(0, 0),
            player_shift=(0, 0),
            grain=Grain(),
        )

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int) -> Look:
        """A look that no other episode has."""
        return cls(
            table=rng.integers(60, 171, size=3).astype(np.float32),
            card=rng.integers(215, 256, size=3).astype(np.float32),
            back=rng.integers(20, 201, size=3).astype(np.float32),
            black=rng.integers(0, 61, size=3).astype(np.float32),
            red=rgb(*rng.integers((150, 0, 0), (211, 41, 61))),
            weight=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            dealer_shift=jitter(rng, 2, 1),
            player_shift=jitter(rng, 2, 1),
            grain=Grain.draw(rng, size),
        )


class Blackjack(Game):
    """Come closer to 21 than the dealer without going over it.

    Reward at the end of the hand: 1 for a win, 0 for a draw, -1 for a loss; success is a win.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium declares it as an instance attribute
        "render_modes": [],
        "vlmq": {
            "reward_range": (-1.0, 1.0),
            "success": "The hand was won.",
            "modalities": MODALITIES,
            "requirements": (),
            "licence": "Apache-2.0",
            "chance_level": 0.28,  # of hands won by random play, and below by the best: floors.py counts both
            "expert_success": 0.43,
            "secrets": ("hole_card",),
        },
    }
    turn_limit = MOST_TURNS
    legal_actions = (HIT, STAND)
    task = (
        "Blackjack: above the dealer's cards, below yours. Come closer to 21, not over.\nActions: hit stand"
    )

    def _deal(self, rng: np.random.Generator) -> None:
        draws = rng.integers(len(RANKS) * len(SUITS), size=2 + MOST_TURNS + DEALER_CARDS)
        deck: list[Card] = [(RANKS[int(n) % len(RANKS)], SUITS[int(n) // len(RANKS)]) for n in draws]
        self._player, self._stock = deck[:2], deck[2 : 2 + MOST_TURNS]
        self._dealer = deck[2 + MOST_TURNS :]
        self._shown = 1  # of the dealer's cards

    def _play(self, action: str) -> tuple[float, bool, bool, str]:
        if action == HIT:
            self._player.append(self._stock.pop(0))
            if _total(self._player) <= 21:
                return 0.0, False, False, ""
            self._shown = 2
            return -1.0, True, False, ""
        self._shown = 2
        while _total(self._dealer[: self._shown]) < 17:
            self._shown += 1
        dealer, player = _total(self._dealer[: self._shown]), _total(self._player)
        outcome = 1.0 if dealer > 21 else float(np.sign(player - dealer))
        return outcome, True, outcome > 0, ""

    def expert_action(self) -> str:
        """What wins most on average against the card that shows."""
        total, soft = hand([WORTH[rank] for rank, _ in self._player])
        return HIT if wise_to_hit(total, soft, WORTH[self._dealer[0][0]]) else STAND

    @property
    def hole_card(self) -> str:
        """Rank of the dealer's second card, which nothing tells before the hand is over."""
        return self._dealer[1][0]

    def _state_key(self) -> tuple[Any, ...]:
        return tuple(self._player), tuple(self._dealer[: self._shown])

    def _state_text(self) -> str:
        dealer = " ".join(rank for rank, _ in self._dealer[: self._shown])
        hidden = " ?" if self._shown == 1 else ""
        return f"Dealer: {dealer}{hidden}\nYou: {' '.join(rank for rank, _ in self._player)}"

    def _choose_look(self, rng: np.random.Generator | None) -> None:
        self._look = Look.plain() if rng is None else Look.draw(rng, self.size)

    def _draw(self) -> NDArray[np.uint8]:
        canvas, look = Canvas(self.size, self._look.table), self._look
        x, y = look.dealer_shift
        dealer = self._dealer[: self._shown]
        step = min(18.0, 56.0 / max(2, len(dealer)))
        for place, card in enumerate(dealer):
            self._draw_card(canvas, card, (5 + x + step * place, 3 + y, step - 1.5, 22.0), 11.0)
        if self._shown == 1:
            canvas.fill(5 + x + step, 3 + y, step - 1.5, 22.0, look.back)
        x, y = look.player_shift
        # One row of large cards, two of smaller ones, and so on: every card stays whole and apart.
        rows = 1 if len(self._player) <= 3 else 2 if len(self._player) <= 8 else 3
        columns = {1: 3, 2: 4, 3: 6}[rows]
        step, height = 58.0 / columns, 33.0 / rows
        for place, card in enumerate(self._player):
            row, column = divmod(place, columns)
            box = 3 + x + step * column, 29 + y + height * row, step - 1.5, height - 1.0
            self._draw_card(canvas, card, box, min(0.48 * height, 13.0))
        return canvas.finish(look.grain)

    def _draw_card(
        self, canvas: Canvas, card: Card, place: tuple[float, float, float, float], digit: float
    ) -> None:
        ink = self._look.red if card[1] in RED_SUITS else self._look.black
        draw_card(canvas, card, place, self._look.card, ink, digit, self._look.weight)


def _total(cards: list[Card]) -> int:
    return hand([WORTH[rank] for rank, _ in cards])[0]
