"""A critic comes back with the rows that it was trained with, whatever became of the model's embedding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vlmq.model import critic_file
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import load_backbone
from vlmq.model.heads import CriticConfig


@pytest.mark.parametrize("trained", [True, False], ids=["all weights", "the embedding as it was"])
def test_tied_rows_are_those_of_the_model_that_the_critic_began_on(
    tiny_directory: Path, tmp_path: Path, trained: bool
) -> None:
    config = CriticConfig(1, 4, 4, rows="tied")
    model = ActorCritic(load_backbone(str(tiny_directory)), config, trunk_gradient=1.0)
    if trained:
        with torch.no_grad():
            model.backbone.input_embedding().add_(0.1)
    model.backbone.model.save_pretrained(tmp_path)
    critic_file.write(tmp_path, model, return_range=2.0)
    kept = load_file(tmp_path / critic_file.WEIGHTS)
    assert [name for name in kept if name.endswith("embedding")] == ["critic.embedding"] * trained
    there, _ = critic_file.read(tmp_path)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(there.state_dict()[name], value, atol=0, rtol=0)
