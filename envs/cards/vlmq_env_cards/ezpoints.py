"""EZPoints: read two cards off a picture and write, symbol by symbol, a formula that makes 12 of them.

After the game of that name in RL4VLM's Gym Cards (arXiv 2405.10292). Deviations:
1. seeds count, and the deal is any pair of ranks that can make 12, all ordered pairs alike;
2. a formula is numbers and operators in strict alternation, judged exactly; digits never join, and a leading
   or doubled operator is wrong;
3. a refused number leaves the formula as it is (the original adds a blank) and costs the turn all the same;
4. six turns are all there is: the sixth either closes the formula or is the symbol too many. The original
   answers one turn later, without looking at it;
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
from vlmq_env_cards.playing_cards import RANKS, RED_SUITS, SUITS, WORTH, draw_card

GOAL = 12
MOST_SYMBOLS = 5
"""Symbols a formula may have, the closing "=" not counted."""

DEALS = tuple(
    (left, right)
    for left in RANKS
    for right in RANKS
    if GOAL in (WORTH[left] + WORTH[right], WORTH[left] * WORTH[right])
)
"""Every ordered pair of ranks that can make 12; no pair with an ace can."""

CARD_WIDTH, CARD_HEIGHT = 27.0, 38.0


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
    shifts: tuple[tuple[int, int], tuple[int, int]]
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
            height=19,
            weight=WEIGHTS[1],
            shifts=((0, 0), (0, 0)),
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
            height=float(rng.integers(17, 21)),
            weight=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            shifts=(jitter(rng, 1, 2), jitter(rng, 1, 2)),
            formula_shift=jitter(rng, 1),
            grain=Grain.draw(rng, size),
        )


class EZPoints(Game):
    """Make 12 of two cards, each used once, with + or *; "=" closes the formula and ends the episode.

    Every one of the thirteen actions is legal at every turn; whether it is wise is the game. Reward: 10 for a
    formula that makes 12, -1 for one that does not, -1 for a number that no unused card is worth, -1 when the
    turns run out, else 0.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium declares it as an instance attribute
        "render_modes": [],
        "vlmq": {
            "reward_range": (-1.0, 10.0),
            "success": "The formula was closed, used both cards once each, and made 12.",
            "modalities": MODALITIES,
            "requirements": (),
            "licence": "Apache-2.0",
        },
    }
    turn_limit = MOST_SYMBOLS + 1
    legal_actions = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "+", "*", "=")
    task = "Use both cards once to make 12. J, Q, K count 10.\nActions: one of 1 to 10, + * ="

    def _deal(self, rng: np.random.Generator) -> None:
        self._ranks = DEALS[int(rng.integers(len(DEALS)))]
        self._suits = tuple(SUITS[int(suit)] for suit in rng.integers(len(SUITS), size=2))
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
        """The next symbol of the shortest winning formula; where the formula is spoilt, "=" to end it."""
        left, right = (str(number) for number in self._numbers())
        sign = "+" if int(left) + int(right) == GOAL else "*"
        for winning in ((left, sign, right, "="), (right, sign, left, "=")):
            written = len(self._formula)
            if self._formula == winning[:written] and written < len(winning):
                return winning[written]
        return "="

    def _numbers(self) -> tuple[int, ...]:
        return tuple(WORTH[rank] for rank in self._ranks)

    def _unused(self) -> list[str]:
        left = [str(number) for number in self._numbers()]
        for symbol in self._formula:
            if symbol in left:
                left.remove(symbol)
        return left

    def _state_key(self) -> tuple[Any, ...]:
        return self._ranks, self._suits, self._formula

    def _state_text(self) -> str:
        return f"Cards: {' '.join(self._ranks)}\nFormula: {' '.join(self._formula)}".rstrip()

    def _choose_look(self, rng: np.random.Generator | None) -> None:
        self._look = look = Look.plain() if rng is None else Look.draw(rng, self.size)
        self._backdrop = canvas = Canvas(self.size, look.table)
        canvas.fill(0, 45, 64, 19, look.tray)
        for column in range(2):
            x, y = look.shifts[column]
            left, top = 3.0 + 31 * column + x, 3.0 + y
            ink = look.red if self._suits[column] in RED_SUITS else look.black
            card, place = (self._ranks[column], self._suits[column]), (left, top, CARD_WIDTH, CARD_HEIGHT)
            draw_card(canvas, card, place, look.card, ink, look.height, look.weight)

    def _draw(self) -> NDArray[np.uint8]:
        canvas, look = self._backdrop.copy(), self._look
        x, y = look.formula_shift
        x += 7
        for character in "".join(self._formula):
            canvas.write(character, x, 54.5 + y, 12, look.formula_ink, look.weight)
            x += 10
        return canvas.finish(look.grain)
