"""The conformance kit's checks, on the environments as they are registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from vlmq_env_textworld.levels import LEVELS

from vlmq.api.testing import EnvContract, check_env


class TestCoins(EnvContract):
    env_id = "textworld/CoinCollector-v0"
    # with idle, every accepted text is listed: the strictest reading
    env_kwargs: ClassVar[dict[str, Any]] = {"games": 8, "idle": True}
    seeds = range(8)
    cycles = 24


@pytest.mark.slow
def test_a_home_of_alfworld_keeps_the_contract(alfworld: Path) -> None:
    report = check_env("textworld/ALFWorld-v0", data=str(alfworld), idle=True, seeds=range(6), cycles=6)
    assert report.ok, report


@pytest.mark.slow
@pytest.mark.parametrize("challenge", list(LEVELS))
@pytest.mark.parametrize(
    "settings", [{}, {"modality": "both", "split": "held_out", "idle": True, "shaping": True}]
)
def test_every_challenge_keeps_the_contract(challenge: str, settings: dict[str, Any]) -> None:
    report = check_env(f"textworld/{challenge}-v0", games=20, **settings)
    assert report.ok, report


@pytest.mark.slow
@pytest.mark.parametrize("challenge", ["House", "Cooking"])
def test_a_large_level_keeps_the_contract(challenge: str) -> None:
    report = check_env(f"textworld/{challenge}-v0", level=3, games=20, modality="text", idle=True)
    assert report.ok, report
