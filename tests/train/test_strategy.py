"""Strategies by their names: one setting shards, and says who does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning.pytorch.strategies import ModelParallelStrategy

from vlmq.api import UserError
from vlmq.train.cli import VlmqTrainer


@pytest.mark.parametrize("name", ["fsdp", "fsdp2"])
def test_one_setting_shards_under_either_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = VlmqTrainer(strategy=name, accelerator="cpu", devices=2, default_root_dir=tmp_path)
    assert isinstance(trainer.strategy, ModelParallelStrategy)
    assert trainer.strategy._save_distributed_checkpoint is False
    assert ("fsdp is served by fsdp2" in capsys.readouterr().out) == (name == "fsdp")


def test_a_strategy_that_the_agent_cannot_sample_under_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use fsdp2 to shard, or ddp"):
        VlmqTrainer(strategy="deepspeed", accelerator="cpu", devices=2, default_root_dir=tmp_path)
