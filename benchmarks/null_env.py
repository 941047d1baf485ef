"""A null environment for measuring what is around it: ten turns of the same picture, nothing computed."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from vlmq.api import action_space, observation_space

SPECS = (EnvSpec(id="null/Null-v0", entry_point="null_env:Null"),)
TURNS = 10


class Null(gymnasium.Env[dict[str, Any], str]):
    """Ten turns of the same picture."""

    metadata = {  # noqa: RUF012
        "render_modes": [],
        "vlmq": {"reward_range": (0, 0), "success": "always", "modalities": ("image",)},
    }

    def __init__(self) -> None:
        self.observation_space = observation_space(64, 64)
        self.action_space = action_space()
        self._image = np.arange(64 * 64 * 3, dtype=np.int64).astype(np.uint8).reshape(64, 64, 3)
        self._turn = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self._turn = 0
        return {"image": self._image, "text": "go"}, {"action_ok": True, "legal_actions": ("a", "b")}

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self._turn += 1
        info = {"action_ok": True, "legal_actions": ("a", "b"), "success": True}
        return {"image": self._image, "text": "go"}, 0.0, self._turn == TURNS, False, info
