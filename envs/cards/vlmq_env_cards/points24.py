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

from typing import Any

import numpy as np

from vlmq.api import check_flags
from vlmq_env_cards.formula_game import FormulaGame, Layout, any_ranks
from vlmq_env_cards.game import MODALITIES
from vlmq_env_cards.playing_cards import WORTH
from vlmq_env_cards.solver import values

GOAL = 24
CARDS = 4
MOST_SYMBOLS = 20
"""Symbols a formula may have, the closing "=" not counted."""


class Points24(FormulaGame):
    """Make 24 of four cards with + - * / and brackets; seventeen actions.

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
    goal, most_symbols = GOAL, MOST_SYMBOLS
    turn_limit = MOST_SYMBOLS + 1
    legal_actions = (*(str(number) for number in range(1, 11)), "+", "-", "*", "/", "(", ")", "=")
    task = "Use all four cards once to make 24. J, Q, K count 10.\nActions: one of 1 to 10, + - * / ( ) ="
    layout = Layout(
        card=(13.5, 25.0),
        left=2.0,
        step=15.5,
        shift=(1, 1),
        digit=(12, 11, 13),
        tray=31.0,
        pen=(4.0, 37.0),
        character=(7.5, 6.2, 10.5),
        line=10,
    )

    def __init__(self, solvable_only: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        check_flags(type(self).__name__, solvable_only=solvable_only)
        self.solvable_only = solvable_only

    def _draw_ranks(self, rng: np.random.Generator) -> tuple[str, ...]:
        while True:
            ranks = any_ranks(rng, CARDS)
            if not self.solvable_only or GOAL in values(tuple(sorted(WORTH[rank] for rank in ranks))):
                return ranks
