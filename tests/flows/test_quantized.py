"""A run whose language model is held in 4 bits: it learns, goes on after an interrupt, and is exported whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from small_run import SmallRun, write_config

from vlmq.model.backbone import LoraSettings, load_backbone, merge_adapters
from vlmq.trained.agent import load

_QUANTISED = ("--model.lora.rank", "4", "--model.lora.quantize", "4bit", "--model.learning_rate", "3.0e-2")


def test_a_run_in_4_bits_goes_on_after_an_interrupt_and_is_exported_in_its_own_precision(
    tiny_directory: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForImageTextToText

    small, run_dir = SmallRun(write_config(tmp_path / "run.yaml", tiny_directory), tmp_path), tmp_path / "run"
    assert small.vlmq("fit", run_dir, *_QUANTISED, "--trainer.max_steps", "2") == 0
    first = load(run_dir)
    more = ("--trainer.max_steps", "4", "--ckpt_path", "last")
    assert small.vlmq("fit", run_dir, *_QUANTISED, *more) == 0
    agent = load(run_dir)
    trained = {n: p.detach().clone() for n, p in agent.model.backbone.named_parameters() if p.requires_grad}
    assert any((p != dict(first.model.backbone.named_parameters())[n]).any() for n, p in trained.items())
    held = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=False)["state_dict"]
    assert not [name for name in held if "base_layer" in name or "absmax" in name]
    agent.export(tmp_path / "exported")
    exported, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "exported", output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not hasattr(exported.config, "quantization_config")
    expected = load_backbone(str(tiny_directory), lora=LoraSettings(rank=4))
    expected.load_state_dict(trained, strict=False)
    merge_adapters(expected)
    for name, value in expected.model.state_dict().items():
        torch.testing.assert_close(exported.state_dict()[name], value, atol=1e-6, rtol=0, msg=name)
    assert os.path.getsize(tmp_path / "exported" / "model.safetensors") > 1e6, (
        "whole weights, not packed ones"
    )
