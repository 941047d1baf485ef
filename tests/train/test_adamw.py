"""A step that is too small for a weight's precision is not lost, nor is it over a restart."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from vlmq.api import UserError
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import LoraSettings, load_backbone
from vlmq.model.heads import CriticConfig
from vlmq.train import optimizers
from vlmq.train.adamw import MASTER, AdamW
from vlmq.train.muon import Muon


def _adamw(weight: nn.Parameter) -> AdamW:
    return AdamW([{"params": [weight]}], lr=1e-3, weight_decay=0.1)


def _muon(weight: nn.Parameter) -> AdamW:
    return Muon([{"params": [weight]}], frozenset([weight]), lr=1e-3, weight_decay=0.1)


def _step(optimizer: AdamW, weight: nn.Parameter, seed: int) -> None:
    """With a gradient that any precision holds exactly."""
    torch.manual_seed(seed)
    weight.grad = torch.randint(-8, 9, weight.shape).to(weight.dtype)
    optimizer.step()


def test_steps_far_below_bfloat16s_spacing_add_up() -> None:
    weight = nn.Parameter(torch.ones(3, 4, dtype=torch.bfloat16))
    optimizer = AdamW([weight], lr=1e-4, weight_decay=0.0)
    for _ in range(100):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    # A constant gradient makes steps of the learning rate, here a fortieth of the spacing below 1, which is 2^-8.
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight, torch.full_like(weight, 1.0 - 100 * 1e-4))


@pytest.mark.parametrize("build", [_adamw, _muon], ids=["adamw", "muon"])
def test_a_weight_is_the_rounding_of_what_float32_would_have_made_of_it(build: Any) -> None:
    torch.manual_seed(0)
    low = nn.Parameter(torch.randn(6, 4).bfloat16())
    whole = nn.Parameter(low.detach().float())
    one, other = build(low), build(whole)
    for seed in range(5):
        _step(one, low, seed)
        _step(other, whole, seed)
    assert torch.equal(one.state[low][MASTER], whole)
    assert torch.equal(low, whole.bfloat16())
    assert MASTER not in other.state[whole]


@pytest.mark.parametrize("build", [_adamw, _muon], ids=["adamw", "muon"])
def test_a_restored_optimizer_goes_on_as_the_uninterrupted_one(build: Any) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(6, 4).bfloat16())
    optimizer = build(weight)
    for seed in range(3):
        _step(optimizer, weight, seed)
    again = nn.Parameter(weight.detach().clone())
    restored = build(again)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in (3, 4):
        _step(optimizer, weight, seed)
        _step(restored, again, seed)
    for name, value in optimizer.state[weight].items():
        assert torch.equal(restored.state[again][name], value), name
        assert value.dtype == torch.float32
    assert torch.equal(again, weight)


def _built(folder: Path, dtype: str, lora: LoraSettings | None = None) -> torch.optim.Optimizer:
    model = ActorCritic(
        load_backbone(str(folder), dtype=dtype, lora=lora), CriticConfig(1, 4, 4), trunk_gradient=0.0
    )
    return optimizers.build(model, "adamw", 1e-4, 1e-3, weight_decay=0.01)


def test_nothing_is_trained_in_float16_and_adapters_are_trained_in_float32(tiny_directory: Path) -> None:
    with pytest.raises(
        UserError, match="model.dtype float16 holds no gradient below .* set model.dtype bfloat16"
    ):
        _built(tiny_directory, "float16")
    optimizer = _built(tiny_directory, "bfloat16", LoraSettings(rank=2))
    assert {p.dtype for group in optimizer.param_groups for p in group["params"]} == {torch.float32}
