"""A null environment for measuring what is around it: ten turns of one picture, nothing computed, asleep if wanted."""

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
    """Ten turns of the same picture.

    Args:
        turn_s: how long a turn takes.
        straggler_s: how long it takes in one environment, the first that makes a file in `folder`.
        folder: where.
    """

    metadata = {  # noqa: RUF012
        "render_modes": [],
        "vlmq": {"reward_range": (0, 0), "success": "always", "modalities": ("image",)},
    }

    def __init__(self, turn_s: float = 0.0, straggler_s: float = 0.0, folder: str | None = None) -> None:
        self._turn_s = turn_s
        if folder is not None:
            try:
                Path(folder, "straggler").touch(exist_ok=False)
                self._turn_s = straggler_s
            except FileExistsError:
                pass
        self.observation_space = observation_space(64, 64)
        self.action_space = action_space()
        self._image = np.arange(64 * 64 * 3, dtype=np.int64).astype(np.uint8).reshape(64, 64, 3)
        self._turn = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self._turn = 0
        return {"image": self._image, "text": "go"}, {"action_ok": True, "legal_actions": ("a", "b")}

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self._turn += 1
        time.sleep(self._turn_s)
        info = {"action_ok": True, "legal_actions": ("a", "b"), "success": True}
        return {"image": self._image, "text": "go"}, 0.0, self._turn == TURNS, False, info
