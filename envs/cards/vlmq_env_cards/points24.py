"""Points24: read four cards off a picture and write, symbol by symbol, a formula that makes 24 of them.

After the game of that name in RL4VLM's Gym Cards (arXiv 2405.10292). Deviations:
1. seeds count, and only deals that can make 24 occur, 73.1 % of all; `solvable_only=False` deals any four cards;
2. a formula is judged exactly, by fractions: 8 / (3 - 8 / 3) is 24; digits never join, so "24 * 1 * 1" is no
   way to win, and there are no powers and no whole division;
3. a refused number leaves the formula as it is and costs the turn all the same;
4. twenty-one turns are all there is: the last either closes the formula or is the symbol too many;
5. the picture varies from episode to episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq_env_cards.arithmetic import evaluate, is_number, uses_exactly
from vlmq_env_cards.drawing import WEIGHTS, Canvas, Colour, Grain, dark, jitter, light, rgb
from vlmq_env_cards.game import MODALITIES, Game
from vlmq_env_cards.playing_cards import RANKS, RED_SUITS, SUITS, WORTH, Card, draw_card
from vlmq_env_cards.solver import formulas, values

GOAL = 24
CARDS = 4
MOST_SYMBOLS = 20
"""Symbols a formula may have, the closing "=" not counted."""

CARD_WIDTH, CARD_HEIGHT = 13.5, 25.0
_LINE = 10
"""Characters in a line of the formula as it is drawn."""


@dataclass(frozen=True, eq=False)
class Look:
    """How one episode looks; lengths in layout pixels."""

    table: Colour
    tray: Colour
    formula_ink: Colour
    card: Colour
    black: Colour
    red: Colour
    height: float
    weight: float
    shifts: tuple[tuple[int, int], ...]
    formula_shift: tuple[int, int]
    grain: Grain

    @classmethod
    def plain(cls) -> Look:
        """White cards on a green table, clean."""
        return cls(
            table=rgb(53, 101, 77),
            tray=rgb(25, 55, 40),
            formula_ink=rgb(255, 255, 255),
            card=rgb(255, 255, 255),
            black=rgb(0, 0, 0),
            red=rgb(190, 0, 20),
            height=12,
            weight=WEIGHTS[1],
            shifts=((0, 0),) * CARDS,
            formula_shift=(0, 0),
            grain=Grain(),
        )

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int) -> Look:
        """A look that no other episode has."""
        paper, ink = (dark, light) if rng.integers(2) else (light, dark)
        return cls(
            table=rng.integers(60, 171, size=3).astype(np.float32),
            tray=paper(rng),
            formula_ink=ink(rng),
            card=rng.integers(215, 256, size=3).astype(np.float32),
            black=rng.integers(0, 61, size=3).astype(np.float32),
            red=rgb(*rng.integers((150, 0, 0), (211, 41, 61))),
            height=float(rng.integers(11, 14)),
            weight=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            shifts=tuple(jitter(rng, 1) for _ in range(CARDS)),
            formula_shift=jitter(rng, 1),
            grain=Grain.draw(rng, size),
        )


class Points24(Game):
    """Make 24 of four cards, each used once, with + - * / and brackets; "=" closes the formula and the episode.

    Every one of the seventeen actions is legal at every turn; whether it is wise is the game. Reward: 10 for a
    formula that makes 24, -1 for one that does not, -1 for a number that no unused card is worth, -1 when the
    turns run out, else 0.

    Args:
        solvable_only: deal only cards that can make 24.
        settings: those of `Game`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium declares it as an instance attribute
        "render_modes": [],
        "vlmq": {
            "reward_range": (-1.0, 10.0),
            "success": "The formula was closed, used all four cards once each, and made 24.",
            "modalities": MODALITIES,
            "requirements": (),
            "licence": "Apache-2.0",
        },
    }
    turn_limit = MOST_SYMBOLS + 1
    legal_actions = (*(str(number) for number in range(1, 11)), "+", "-", "*", "/", "(", ")", "=")
    task = "Use all four cards once to make 24. J, Q, K count 10.\nActions: one of 1 to 10, + - * / ( ) ="

    def __init__(self, solvable_only: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.solvable_only = bool(solvable_only)

    def _deal(self, rng: np.random.Generator) -> None:
        while True:
            ranks = [RANKS[int(rank)] for rank in rng.integers(len(RANKS), size=CARDS)]
            if not self.solvable_only or GOAL in values(_sorted_worth(ranks)):
                break
        suits = [SUITS[int(suit)] for suit in rng.integers(len(SUITS), size=CARDS)]
        self._cards: tuple[Card, ...] = tuple(zip(ranks, suits, strict=True))
        self._formula: tuple[str, ...] = ()

    def _play(self, action: str) -> tuple[float, bool, bool, str]:
        if action == "=":
            won = evaluate(self._formula) == GOAL and uses_exactly(self._formula, self._numbers())
            return (10.0 if won else -1.0), True, won, ""
        if is_number(action) and action not in self._unused():
            return -1.0, False, False, "no unused card is worth that number"
        if len(self._formula) == MOST_SYMBOLS:
            return -1.0, False, False, f"a formula has at most {MOST_SYMBOLS} symbols"
        self._formula += (action,)
        return 0.0, False, False, ""

    def _truncation_reward(self, reward: float) -> float:
        return -1.0

    def expert_action(self) -> str:
        """The next symbol of the shortest winning formula that goes on from here; where there is none, "="."""
        written = len(self._formula)
        for winning in formulas(tuple(sorted(self._numbers())), GOAL):
            if self._formula == winning[:written]:
                return (*winning, "=")[written]
        return "="

    def _numbers(self) -> tuple[int, ...]:
        return tuple(WORTH[rank] for rank, _ in self._cards)

    def _unused(self) -> list[str]:
        left = [str(number) for number in self._numbers()]
        for symbol in self._formula:
            if symbol in left:
                left.remove(symbol)
        return left

    def _state_key(self) -> tuple[Any, ...]:
        return self._cards, self._formula

    def _state_text(self) -> str:
        return (
            f"Cards: {' '.join(rank for rank, _ in self._cards)}\nFormula: {' '.join(self._formula)}".rstrip()
        )

    def _choose_look(self, rng: np.random.Generator | None) -> None:
        self._look = look = Look.plain() if rng is None else Look.draw(rng, self.size)
        self._backdrop = canvas = Canvas(self.size, look.table)
        canvas.fill(0, 31, 64, 33, look.tray)
        for column, card in enumerate(self._cards):
            x, y = look.shifts[column]
            ink = look.red if card[1] in RED_SUITS else look.black
            place = 2.0 + 15.5 * column + x, 3.0 + y, CARD_WIDTH, CARD_HEIGHT
            draw_card(canvas, card, place, look.card, ink, look.height, look.weight)

    def _draw(self) -> NDArray[np.uint8]:
        canvas, look = self._backdrop.copy(), self._look
        x, y = look.formula_shift
        for place, character in enumerate("".join(self._formula)):
            line, column = divmod(place, _LINE)
            canvas.write(
                character, 4 + x + 6.2 * column, 37 + y + 10.5 * line, 7.5, look.formula_ink, look.weight
            )
        return canvas.finish(look.grain)


def _sorted_worth(ranks: list[str]) -> tuple[int, ...]:
    return tuple(sorted(WORTH[rank] for rank in ranks))
