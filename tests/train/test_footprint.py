"""The memory estimate counts what a built model holds, and its guess of the activations is of the right size."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlmq.api import Turn
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.model.backbone import LoraSettings
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.train import build, footprint, optimizers


def _settings(model: Path, **changed: Any) -> dict[str, Any]:
    return {
        "backbone": str(model), "weights": "pretrained", "dtype": "float32", "lora": None, "freeze_vision": False,
        "trust_remote_code": False, "trunk_gradient": 0.1, "critic": asdict(CriticConfig()), **changed,
    }  # fmt: skip


@pytest.fixture
def batch(tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]) -> Batch:
    return build_batch([Fragment(tiny_turns, 0, 0, None, True)] * 4, tiny_encoder, History("all"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("lora", [None, asdict(LoraSettings(rank=4))], ids=["all weights", "adapters"])
def test_what_is_counted_is_what_a_built_model_and_its_optimizer_hold(
    tiny_directory: Path, batch: Batch, lora: dict[str, Any] | None, dtype: str
) -> None:
    settings = _settings(tiny_directory, lora=lora, freeze_vision=lora is not None, dtype=dtype)
    told = {n.name: n.size for n in footprint.of_model(settings, kl_weight=0.0, optimizer="adamw")}
    model = build.actor_critic(settings)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = optimizers.build(model, "adamw", 1e-4, 1e-3, weight_decay=0.01)
    output = model(batch.inputs, batch.state_row, batch.state_position, batch.tokens)
    assert output.q is not None
    (output.log_probs.mean() + output.q.mean() + 0.0 * sum(p.sum() for p in trained)).backward()
    optimizer.step()
    held = [value for state in optimizer.state.values() for key, value in state.items() if key != "step"]
    assert told["weights"] + told.get("adapters", 0) == footprint.size_of(list(model.backbone.parameters()))
    assert ("adapters" in told) == (lora is not None)
    assert told["gradients"] == sum(4 * p.numel() for p in trained), "a step is made in float32"
    assert told["optimizer state"] == footprint.size_of(held)
    assert told["critic heads"] == footprint.size_of(list(model.critic.parameters()))
    assert told["their Polyak copy"] == footprint.size_of(list(model.target_critic.parameters()))
    assert "reference" not in told


def test_a_reference_is_counted_where_a_copy_is_kept(tiny_directory: Path) -> None:
    needs = footprint.of_model(_settings(tiny_directory), kl_weight=0.1, optimizer="muon")
    told = {need.name: need.size for need in needs}
    assert told["reference"] == told["weights"]
    assert told["gradients"] < told["optimizer state"] < 2 * told["gradients"]


def test_the_guess_of_the_activations_is_within_a_factor_of_two_of_what_autograd_keeps(
    tiny_directory: Path, batch: Batch
) -> None:
    model = build.actor_critic(_settings(tiny_directory))
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(batch.inputs, batch.state_row, batch.state_position, batch.tokens)
        held = output.log_probs.sum()
    told = footprint.of_batch(model, batch)
    guessed = sum(n.size for n in told if n.name.startswith("activations"))
    assert held.requires_grad
    assert 0.5 < guessed / sum(kept.values()) < 2.0
    model.backbone.checkpoint_activations()
    again = {n.name: n.size for n in footprint.of_batch(model, batch)}
    assert again["activations, language"] < 0.7 * next(
        n.size for n in told if n.name == "activations, language"
    )


def test_the_heads_are_counted_up_to_what_they_keep_at_once(tiny_directory: Path, batch: Batch) -> None:
    model = build.actor_critic(_settings(tiny_directory))
    sizes = []
    for model.heads_bytes in (2**40, 1_000_000):
        sizes += [n.size for n in footprint.of_batch(model, batch) if n.name == "activations, heads"]
    assert sizes == [16 * len(batch.state_row) * model.backbone.vocabulary, 1_000_000]
    assert sizes[0] > 1_000_000


def test_what_is_there_is_a_plausible_number_of_bytes() -> None:
    assert 2**26 < footprint.there(torch.device("cpu")) < 2**50
    assert footprint.shown(1_500_000) == "1.5 MB"
    assert footprint.shown(2_340_000_000) == "2.34 GB"
    assert footprint.size_of([torch.zeros(3), torch.zeros(2, dtype=torch.bfloat16)]) == np.int64(16)
