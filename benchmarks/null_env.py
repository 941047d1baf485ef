"""A null environment for measuring what is around it: ten turns of one picture; asleep, or varied, if wanted."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from vlmq.api import action_space, observation_space

SPECS = (EnvSpec(id="null/Null-v0", entry_point="null_env:Null"),)
TURNS = 10


def install(folder: Path) -> None:
    """Make the null environment known as an installed plugin's would be, in this process and its workers."""
    info = folder / "vlmq_env_null-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vlmq-env-null\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vlmq.envs]\nnull = null_env:SPECS\n")
    sys.path[:0] = [str(folder), str(Path(__file__).parent)]


class Null(gymnasium.Env[dict[str, Any], str]):
    """Ten turns of the same picture, unless otherwise wanted.

    Args:
        turn_s: how long a turn takes.
        straggler_s: how long it takes in one environment, the first that makes a file in `folder`.
        folder: where.
        turns: of an episode.
        varied: whether every turn of every seed has a picture and a text of its own.
        side: of the picture, in pixels.
    """

    metadata = {  # noqa: RUF012
        "render_modes": [],
        "vlmq": {"reward_range": (0, 0), "success": "always", "modalities": ("image",)},
    }

    def __init__(
        self,
        turn_s: float = 0.0,
        straggler_s: float = 0.0,
        folder: str | None = None,
        turns: int = TURNS,
        varied: bool = False,
        side: int = 64,
    ) -> None:
        self._turns, self._varied, self._base = turns, varied, 0
        self._turn_s = turn_s
        if folder is not None:
            try:
                Path(folder, "straggler").touch(exist_ok=False)
                self._turn_s = straggler_s
            except FileExistsError:
                pass
        self.observation_space = observation_space(side, side)
        self.action_space = action_space()
        self._image = np.arange(side * side * 3, dtype=np.int64).astype(np.uint8).reshape(side, side, 3)
        self._turn = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self._turn, self._base = 0, seed or 0
        return self._shown(), {"action_ok": True, "legal_actions": ("a", "b")}

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self._turn += 1
        time.sleep(self._turn_s)
        info = {"action_ok": True, "legal_actions": ("a", "b"), "success": True}
        return self._shown(), 0.0, self._turn == self._turns, False, info

    def _shown(self) -> dict[str, Any]:
        if not self._varied:
            return {"image": self._image, "text": "go"}
        number = self._base * self._turns + self._turn
        return {"image": np.roll(self._image, number, (0, 1)), "text": f"go {number % 10}"}
