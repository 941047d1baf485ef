"""The conformance kit's checks, on the levels as they are registered."""

from __future__ import annotations

import pytest
from vlmq_env_babyai import SPECS

from vlmq.api.testing import EnvContract, check_env


class TestGoToRedBall(EnvContract):
    env_id = "babyai/GoToRedBall-v0"


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [spec.id for spec in SPECS])
def test_every_level_keeps_the_contract(env_id: str) -> None:
    report = check_env(env_id, seeds=range(8), cycles=20)
    assert report.ok, report


@pytest.mark.slow
@pytest.mark.parametrize("view", ["agent", "full"])
@pytest.mark.parametrize("modality", ["image", "both", "text"])
def test_every_modality_and_view_keeps_the_contract(modality: str, view: str) -> None:
    report = check_env("babyai/SynthS5R2-v0", modality=modality, view=view, size=96, decay=True)
    assert report.ok, report
