"""What may stand between an environment and the framework: the blank picture."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from vlmq.api.contract import BLANK_LEVEL


class BlankImage(gymnasium.ObservationWrapper[dict[str, Any], str, dict[str, Any]]):
    """Replaces every picture by one constant light colour: what can the agent do without seeing?"""

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The same observation with a blank picture, or as it is where it has none."""
        if "image" not in observation:
            return observation
        return {**observation, "image": np.full_like(observation["image"], BLANK_LEVEL)}
