"""Makes minigrid's levels, quietly."""

from __future__ import annotations

import logging

import gymnasium
import minigrid  # noqa: F401  # importing it registers its levels
from gymnasium.envs.registration import load_env_creator
from minigrid.envs.babyai.core import roomgrid_level
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel

log = logging.getLogger(__name__)

MOST_NAVIGATIONS = 8
"""Ways that the longest mission asks for: four parts, and two ways for each thing to be put next to another."""


def make_level(name: str) -> RoomGridLevel:
    """One of minigrid's levels, without gymnasium's wrappers.

    Args:
        name: as minigrid registers it, without the "BabyAI-".
    """
    spec = gymnasium.spec(f"BabyAI-{name}")
    level = load_env_creator(str(spec.entry_point))(**spec.kwargs)
    assert isinstance(level, RoomGridLevel)
    return level


def longest_episode(level: RoomGridLevel) -> int:
    """A number of turns that no episode of the level exceeds; each episode's own limit depends on its mission."""
    if level.fixed_max_steps:
        return int(level.max_steps)
    return int(MOST_NAVIGATIONS * level.room_size**2 * level.num_rows * level.num_cols)


def _to_log(*words: object) -> None:
    log.debug(" ".join(map(str, words)))


# While it deals, minigrid prints every draw that it rejects. A name in that module alone hides the builtin there:
# redirecting standard output would touch every thread of the process.
vars(roomgrid_level)["print"] = _to_log
