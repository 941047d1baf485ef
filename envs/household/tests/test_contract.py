"""The conformance kit's checks, on the environments as they are registered."""

from __future__ import annotations

import pytest
from vlmq_env_household import SPECS

from vlmq.api.testing import EnvContract, check_env


class TestSmallHome(EnvContract):
    env_id = "household/Any-v0"


@pytest.mark.slow
@pytest.mark.parametrize("env_id", [spec.id for spec in SPECS])
def test_every_id_keeps_the_contract(env_id: str) -> None:
    report = check_env(env_id)
    assert report.ok, report


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["both", "text"])
@pytest.mark.parametrize("level", [0, 3])
def test_every_modality_keeps_the_contract(level: int, modality: str) -> None:
    report = check_env("household/Any-v0", level=level, modality=modality, split="held_out", shaping=True)
    assert report.ok, report
