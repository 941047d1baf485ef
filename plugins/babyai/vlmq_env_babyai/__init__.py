"""The specs of this distribution's environments, one for each BabyAI level; importing it does not load minigrid."""

import os

from gymnasium.envs.registration import EnvSpec

from vlmq_env_babyai.levels import LEVELS

# pygame, which minigrid imports and we never use, greets on standard output; this module comes before any of those
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

REQUIRES_API = ">=1.2,<2"
"""Versions of the `vlmq.api` boundary these environments were written for."""

SPECS = tuple(
    EnvSpec(
        id=f"babyai/{level}",
        entry_point="vlmq_env_babyai.env:BabyAI",
        kwargs={"level": level},
        disable_env_checker=True,
    )
    for level in LEVELS
)
"""The environments, in minigrid's order. Each keeps its own turn limit."""

__all__ = ["REQUIRES_API", "SPECS"]
