"""NumberLine: read two numbers off a picture and walk the one to the other.

After the game of that name in RL4VLM's Gym Cards (arXiv 2405.10292). Deviations:
1. seeds count, and every reset deals two different numbers (the original's reset could deal the goal);
2. an equal pair is mended as its constructor does, the target becoming (target + 1) mod 5, so that the chance
   of random play is that of the published game; the target never moves during an episode;
3. the picture varies from episode to episode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq_env_cards.drawing import WEIGHTS, Canvas, Colour, Grain, dark, jitter, light, rgb
from vlmq_env_cards.game import MODALITIES, Game

HIGHEST = 5
"""The line runs from 0 to this number, both included."""


@dataclass(frozen=True, eq=False)
class Look:
    """How one episode looks; lengths in layout pixels."""

    background: Colour
    target_ink: Colour
    current_ink: Colour
    height: float
    weight: float
    target_shift: tuple[int, int]
    current_shift: tuple[int, int]
    grain: Grain

    @classmethod
    def plain(cls) -> Look:
        """Black on white, in the middle, clean."""
        ink = rgb(0, 0, 0)
        return cls(rgb(255, 255, 255), ink, ink, 22, WEIGHTS[1], (0, 0), (0, 0), Grain())

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int) -> Look:
        """A look that no other episode has."""
        paper, ink = (dark, light) if rng.integers(2) else (light, dark)
        return cls(
            background=paper(rng),
            target_ink=ink(rng),
            current_ink=ink(rng),
            height=float(rng.integers(20, 25)),
            weight=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            target_shift=jitter(rng, 3),
            current_shift=jitter(rng, 3),
            grain=Grain.draw(rng, size),
        )


class NumberLine(Game):
    """Bring the current number, the lower one (C), to the target, the upper one (T), by + and -.

    Reward: +1 at the target, which ends the episode; -1 for a turn that did not bring the numbers closer,
    text that is no action included; else 0. The current number stops at 0 and 5.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium declares it as an instance attribute
        "render_modes": [],
        "vlmq": {
            "reward_range": (-1.0, 1.0),
            "success": "The current number reached the target within ten turns.",
            "modalities": MODALITIES,
            "requirements": (),
            "licence": "Apache-2.0",
        },
    }
    turn_limit = 10
    legal_actions = ("+", "-")
    task = "Move C to T.\nActions: + or -"

    def _deal(self, rng: np.random.Generator) -> None:
        self._current = int(rng.integers(HIGHEST + 1))
        self._target = int(rng.integers(HIGHEST + 1))
        if self._target == self._current:
            self._target = (self._target + 1) % HIGHEST

    def _play(self, action: str) -> tuple[float, bool, bool, str]:
        before = abs(self._target - self._current)
        self._current = min(max(self._current + (1 if action == "+" else -1), 0), HIGHEST)
        after = abs(self._target - self._current)
        if after == 0:
            return 1.0, True, True, ""
        return (0.0 if after < before else -1.0), False, False, ""

    def expert_action(self) -> str:
        """The step towards the target."""
        return "+" if self._current < self._target else "-"

    def _state_key(self) -> tuple[Any, ...]:
        return self._target, self._current

    def _state_text(self) -> str:
        return f"T = {self._target}, C = {self._current}"

    def _choose_look(self, rng: np.random.Generator | None) -> None:
        self._look = look = Look.plain() if rng is None else Look.draw(rng, self.size)
        self._backdrop = Canvas(self.size, look.background)
        self._row(self._backdrop, "T", self._target, 16, look.target_shift, look.target_ink)

    def _draw(self) -> NDArray[np.uint8]:
        canvas, look = self._backdrop.copy(), self._look
        self._row(canvas, "C", self._current, 48, look.current_shift, look.current_ink)
        return canvas.finish(look.grain)

    def _row(
        self, canvas: Canvas, label: str, number: int, middle: int, shift: tuple[int, int], ink: Colour
    ) -> None:
        """A small label and a large number beside it."""
        x, y = shift
        canvas.write(label, 14 + x, middle + y, 12, ink, self._look.weight)
        canvas.write(str(number), 40 + x, middle + y, self._look.height, ink, self._look.weight)
