"""Adapters: where they may not lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from families import FAMILIES, save

from vlmq.api import ModelError
from vlmq.model.backbone import LoraSettings, load_backbone


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
