"""Adapters: in which precision they are, and where they may not lie; activations that are computed again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from families import FAMILIES, save

from vlmq.api import ModelError, Turn
from vlmq.data.batch import context_row
from vlmq.model.backbone import Backbone, LoraSettings, load_backbone, merge_adapters, weights_to_load
from vlmq.prompt.encode import Encoder, Row


@pytest.fixture
def row(tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]) -> Row:
    return context_row([tiny_encoder.prompt(tiny_turns[0].observation, first=True)], [])


def _log_probs(backbone: Backbone, encoder: Encoder, row: Row) -> torch.Tensor:
    return backbone.logits(backbone.hidden(encoder.collate([row], left=False)))[0].float().log_softmax(-1)


def test_adapters_of_a_bfloat16_model_are_float32_learn_and_merge_into_bfloat16(
    tiny_directory: Path, tiny_encoder: Encoder, row: Row
) -> None:
    backbone = load_backbone(str(tiny_directory), dtype="bfloat16", lora=LoraSettings(rank=2)).eval()
    trained = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    assert all("lora_" in name and p.dtype == torch.float32 for name, p in trained.items())
    with torch.no_grad():
        for name, parameter in trained.items():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    said = _log_probs(backbone, tiny_encoder, row)
    said[-1, 5].neg().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool(p.grad.any()) for p in trained.values())
    loaded = weights_to_load(backbone.model)
    merge_adapters(backbone.model)
    assert {p.dtype for p in backbone.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        merged = _log_probs(backbone, tiny_encoder, row)
    assert float((merged - said).abs().mean()) < 0.1
    for name, value in backbone.model.named_parameters():
        assert torch.equal(loaded[name], value)


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2)], ids=["all weights", "adapters"])
def test_checkpointed_activations_change_nothing_but_what_is_kept(
    tiny_directory: Path, tiny_encoder: Encoder, row: Row, lora: LoraSettings | None
) -> None:
    inputs, found = tiny_encoder.collate([row], left=False), []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        backbone = load_backbone(str(tiny_directory), lora=lora)
        if checkpointed:
            backbone.checkpoint_activations()
        kept: list[int] = []

        def keep(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            said = _log_probs(backbone, tiny_encoder, row)
        said[-1, 5].neg().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            _, cache = backbone.eval().extend({**inputs, "position_ids": backbone.positions(inputs)}, None)
        assert cache.get_seq_length() == len(row.ids), "acting keeps its cache"
        found.append((said.detach(), {n: p.grad for n, p in backbone.named_parameters()}, sum(kept)))
    (one, gradients, much), (other, same, little) = found
    torch.testing.assert_close(other, one, atol=0, rtol=0)
    torch.testing.assert_close(same, gradients, atol=1e-6, rtol=1e-5)
    assert little < 0.5 * much


def test_adapters_on_a_weight_that_another_layer_shares_are_refused(
    tmp_path: Path,
) -> None:
    _, model = FAMILIES["llava"]()
    config = model.config
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    type(model)(config).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"]
    own = LoraSettings(rank=2, target_modules=r".*language_model.*q_proj")
    assert load_backbone(str(tmp_path), lora=own).adapters
    shared = LoraSettings(rank=2, target_modules=r".*language_model.*q_proj|lm_head")
    with pytest.raises(
        ModelError, match="matches lm_head, whose weight another layer shares, .* leave it out"
    ):
        load_backbone(str(tmp_path), lora=shared)


def test_adapters_that_lie_on_the_frozen_tower_alone_are_refused(tmp_path: Path) -> None:
    source = str(save("llava", tmp_path))
    seeing = LoraSettings(rank=2, target_modules=r".*vision.*q_proj")
    assert any(p.requires_grad for p in load_backbone(source, lora=seeing).parameters())
    with pytest.raises(
        ModelError, match="vision tower alone, which model.freeze_vision keeps .* learn nothing"
    ):
        load_backbone(source, lora=seeing, freeze_vision=True)
