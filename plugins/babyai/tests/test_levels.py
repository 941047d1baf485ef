"""The list of levels is minigrid's own, and what it says of them is so."""

from __future__ import annotations

import gymnasium
import pytest
from vlmq_env_babyai import REQUIRES_API, SPECS
from vlmq_env_babyai.dealing import make_level
from vlmq_env_babyai.env import BabyAI
from vlmq_env_babyai.levels import CHANCE_LEVEL, EXPERT_SUCCESS, LEVELS


def test_the_levels_are_those_that_minigrid_registers() -> None:
    make_level(LEVELS[0])  # whoever makes a level has loaded minigrid
    registered = [name for name in gymnasium.registry if name.startswith("BabyAI-")]
    assert [f"BabyAI-{level}" for level in LEVELS] == registered


def test_each_level_has_a_spec_and_a_metadata_of_its_own() -> None:
    assert REQUIRES_API == ">=1.2,<2"
    assert [spec.id for spec in SPECS] == [f"babyai/{level}" for level in LEVELS]
    assert set(EXPERT_SUCCESS) < set(LEVELS)
    for level in ("GoToRedBall-v0", *EXPERT_SUCCESS):
        env = gymnasium.make(next(spec for spec in SPECS if spec.id == f"babyai/{level}"))
        assert env.unwrapped.metadata["vlmq"].get("expert_success", 1) == EXPERT_SUCCESS.get(level, 1)
    assert "expert_success" not in BabyAI.metadata["vlmq"]
    assert set(CHANCE_LEVEL) < set(LEVELS)
    assert BabyAI("GoToDoor-v0").metadata["vlmq"]["chance_level"] == 0.72
    assert "chance_level" not in BabyAI("GoToDoor-v0", max_turns=9).metadata["vlmq"]


@pytest.mark.parametrize("level", LEVELS)
def test_no_episode_is_longer_than_declared(level: str) -> None:
    theirs, declared = make_level(level), BabyAI(level, modality="text").metadata["vlmq"]["turn_limit"]
    for seed in range(2):
        theirs.reset(seed=seed)
        assert 0 < theirs.max_steps <= declared
