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

from typing import Any

import numpy as np

from vlmq_env_cards.formula_game import FormulaGame, Layout
from vlmq_env_cards.game import MODALITIES
from vlmq_env_cards.playing_cards import RANKS, WORTH

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


class EZPoints(FormulaGame):
    """Make 12 of two cards with + or *; thirteen actions."""

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
    goal, most_symbols = GOAL, MOST_SYMBOLS
    turn_limit = MOST_SYMBOLS + 1
    legal_actions = (*(str(number) for number in range(1, 11)), "+", "*", "=")
    task = "Use both cards once to make 12. J, Q, K count 10.\nActions: one of 1 to 10, + * ="
    layout = Layout(
        card=(27.0, 38.0),
        left=3.0,
        step=31.0,
        shift=(1, 2),
        digit=(19, 17, 20),
        tray=45.0,
        pen=(7.0, 54.5),
        character=(12.0, 10.0, 0.0),
        line=2 * MOST_SYMBOLS,
    )

    def _draw_ranks(self, rng: np.random.Generator) -> tuple[str, ...]:
        return DEALS[int(rng.integers(len(DEALS)))]
