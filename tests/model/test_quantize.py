"""A language model in 4 or 8 bits: what is quantised, what it weighs, and that acting still equals learning."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from vlmq.api import ModelError, Turn
from vlmq.data.batch import context_row
from vlmq.model import quantize
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import Backbone, LoraSettings, load_backbone
from vlmq.model.generate import Sampling, sample_replies
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder, Row
from vlmq.train import footprint

BITS = get_args(quantize.Bits)


@pytest.fixture(scope="module", params=BITS)
def bits(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip("bitsandbytes")
    return request.param


@pytest.fixture(scope="module")
def quantised(bits: Any, tiny_directory: Path) -> Backbone:
    return load_backbone(str(tiny_directory), lora=LoraSettings(rank=4, quantize=bits)).eval()


@torch.no_grad()
def _log_probs(backbone: Backbone, encoder: Encoder, row: Row) -> torch.Tensor:
    return backbone.logits(backbone.hidden(encoder.collate([row], left=False))).log_softmax(-1)[0]


def test_the_language_models_linear_layers_are_quantised_and_nothing_else(
    quantised: Backbone, tiny_directory: Path
) -> None:
    plain = dict(load_backbone(str(tiny_directory)).model.named_parameters())
    expected = set(quantize.language_linears(load_backbone(str(tiny_directory)).model))
    assert len(expected) > 6
    for name, parameter in quantised.model.named_parameters():
        owner = name.replace(".base_layer", "").removesuffix(".weight")
        if "lora_" in name:
            assert parameter.requires_grad
            assert parameter.dtype == torch.float32
        else:
            assert not parameter.requires_grad
            assert (parameter.dtype in (torch.uint8, torch.int8)) == (owner in expected)
            if owner not in expected:
                torch.testing.assert_close(parameter, plain[name], atol=0, rtol=0)


def test_it_says_nearly_what_the_whole_model_says_and_its_adapters_learn(
    quantised: Backbone, tiny_directory: Path, tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]
) -> None:
    row = context_row([tiny_encoder.prompt(tiny_turns[0].observation, first=True)], [])
    whole = _log_probs(load_backbone(str(tiny_directory)).eval(), tiny_encoder, row)
    said = _log_probs(quantised, tiny_encoder, row)
    assert 0.0 < float((said - whole).abs().mean()) < 0.3
    hidden = quantised.hidden(tiny_encoder.collate([row], left=False))
    quantised.logits(hidden)[0, -1].log_softmax(-1)[5].neg().backward()  # type: ignore[no-untyped-call]
    moved = {name for name, p in quantised.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert moved == {name for name, p in quantised.named_parameters() if "lora_B" in name}
    quantised.zero_grad()


def test_what_acting_recorded_is_what_learning_computes(
    quantised: Backbone, bits: Any, tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]
) -> None:
    row = context_row([tiny_encoder.prompt(tiny_turns[1].observation, first=True)], [])
    sampling = Sampling(6, 1.0, tiny_encoder.end_id, tiny_encoder.pad_id, tiny_encoder.banned_ids)
    inputs = tiny_encoder.collate([row], left=True)
    for _ in range(2):  # acting and learning alternate
        (ids,), (recorded,), _ = sample_replies(
            quantised.eval(), inputs, np.zeros((1, 1), np.int64), sampling
        )
        whole = Row(np.concatenate([row.ids, ids]), row.pixels)
        learnt = _log_probs(quantised.train(), tiny_encoder, whole)[len(row.ids) - 1 : -1]
        taken = learnt.gather(-1, torch.from_numpy(ids).long()[:, None])[:, 0]
        # 8-bit layers round their inputs, for which one token more or less in a call makes a difference
        np.testing.assert_allclose(taken.numpy(), recorded, atol=1e-4 if bits == "4bit" else 0.1)
    quantised.eval()


def test_acting_leaves_the_weights_as_they_were_loaded_on_any_cpu() -> None:
    """On one with AVX512-BF16 bitsandbytes would repack them, and fail: a row of 96 is one block and a half."""
    layer = pytest.importorskip("bitsandbytes").nn.Linear4bit(96, 64, quant_type="nf4").to("cpu")
    layer.support_avx512bf16_for_cpu = True
    quantize.settle(nn.Sequential(layer))
    weight = layer.weight.data.clone()
    with torch.no_grad():
        layer.eval()(torch.ones(2, 96))
    assert layer.weight.data.equal(weight)
    assert not getattr(layer.weight.quant_state, "packing_format_for_cpu", False)


def test_a_checkpoint_leaves_out_what_comes_back_with_the_base(quantised: Backbone) -> None:
    model = ActorCritic(quantised, CriticConfig(1, 4, 4), trunk_gradient=0.0)
    kept = {name for name in model.state_dict() if name.startswith("backbone.")} - model.given()
    assert kept
    assert all("lora_" in name for name in kept)


def test_the_estimate_counts_the_bytes_of_a_built_model(
    quantised: Backbone, bits: Any, tiny_directory: Path
) -> None:
    settings = {
        "backbone": str(tiny_directory), "weights": "pretrained", "dtype": "float32", "freeze_vision": False,
        "lora": asdict(LoraSettings(rank=4, quantize=bits)), "trust_remote_code": False, "trunk_gradient": 0.1,
        "critic": asdict(CriticConfig()),
    }  # fmt: skip
    told = {n.name: n for n in footprint.of_model(settings, kl_weight=0.0, optimizer="adamw")}
    layers = quantize.states(quantised.model)
    state = {name: value for name, value in quantised.model.state_dict().items() if "lora_" not in name}
    scales = ("absmax", "SCB")
    # tables of 16 or 256 numbers and the names of formats are the same few bytes in every layer
    packed = [v for n, v in state.items() if n in layers and n.endswith((".weight", *scales))]
    apart = [p for n, p in quantised.model.named_parameters() if n in state and n not in layers]
    assert told["weights"].size == pytest.approx(footprint.size_of([*packed, *apart]), rel=0.01)
    assert told["weights"].size < 0.9 * footprint.size_of(
        list(load_backbone(str(tiny_directory)).parameters())
    )
    assert f"in {bits}" in told["weights"].note


def test_without_bitsandbytes_it_says_what_to_install(
    tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"needs bitsandbytes; `pip install 'vlmq\[quantized\]'`"):
        load_backbone(str(tiny_directory), lora=LoraSettings(quantize="4bit"))


def test_new_weights_are_not_quantised(tiny_directory: Path) -> None:
    with pytest.raises(ModelError, match="frozen weights drawn anew learn nothing"):
        load_backbone(str(tiny_directory), weights="random", lora=LoraSettings(quantize="8bit"))


def test_scales_are_counted_with_their_blocks() -> None:
    # 64 x 64 weights in 4 bits: 2,048 bytes, 64 scales of a byte, one scale of these.
    layer = nn.Linear(64, 64, bias=False)
    assert quantize._quantised(*layer.weight.shape[:1], layer.weight.numel(), "4bit") == 2048 + 64 + 4
    assert quantize._quantised(64, 4096, "8bit") == 4096 + 256
