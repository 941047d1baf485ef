"""Models of other families go the whole way: data, both phases, a checkpoint, an agent, an export."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from families import FAMILIES, SIDE, save
from PIL import Image
from small_run import SmallRun, logged

import vlmq
from vlmq.api import ModelError, Observation
from vlmq.model import attention
from vlmq.model.backbone import load_backbone
from vlmq.prompt.encode import Encoder
from vlmq.report.results import read_results
from vlmq.train.checks import check_own_forward
from vlmq.trained.export import card

_PHASES = (
    "--model.phases",
    "[{name: warmup, updates: 4, filter: always}, {name: afsft_online, updates: 4, online: 0.5}]",
)
_ADAPTERS = ("--model.lora.rank", "4", "--model.freeze_vision", "true")


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("qwen2_5_vl", ("--data.packed", "true", "--model.history", "all")),
        ("llava", _ADAPTERS),
        ("paligemma", ("--model.history", "all")),
        pytest.param("gemma3", ("--model.history", "1", *_ADAPTERS), marks=pytest.mark.slow),
        pytest.param("smolvlm", (), marks=pytest.mark.slow),
        pytest.param("qwen3_vl", (), marks=pytest.mark.slow),
        pytest.param("internvl", ("--model.history", "1"), marks=pytest.mark.slow),
        pytest.param("llava_onevision", (), marks=pytest.mark.slow),
        pytest.param("qwen2_vl", ("--model.freeze_vision", "true"), marks=pytest.mark.slow),
    ],
)
def test_a_family_learns_acts_and_is_exported(
    small: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, options: tuple[str, ...]
) -> None:
    source = save(family, tmp_path / "model")
    (source / "video_preprocessor_config.json").write_text('{"fps": 2}')
    run_dir = tmp_path / "run"
    own = "--model.backbone", str(source), "--data.dataset", str(tmp_path / "dataset"), *options
    assert small.vlmq("fit", run_dir, *own, *_PHASES) == 0
    assert [row.name for row in read_results(run_dir / "results.json")][-1] == "afsft_online"
    losses = [line["train/actor_loss"] for line in logged(run_dir).values()]
    assert losses[-1] < losses[0]
    agent = vlmq.load(run_dir)
    agent.export(tmp_path / "exported")
    there = load_backbone(str(tmp_path / "exported"))
    ours = agent.model.backbone.state_dict()
    for name, value in there.state_dict().items():
        torch.testing.assert_close(value, ours[name])
    assert Encoder.load(tmp_path / "exported").fingerprint == agent.encoder.fingerprint
    if family == "llava":  # whose tokenizer begins a context by itself
        shown = _shown()
        assert shown.image is not None
        Image.fromarray(shown.image).save(tmp_path / "seen.png")
        (lines,) = re.findall(r"```python\n(.*?)```", card(agent), re.S)
        monkeypatch.setattr(
            sys, "argv", ["card.py", str(tmp_path / "exported"), str(tmp_path / "seen.png"), shown.text]
        )
        exec(lines, said := {})  # what the card tells its reader to run
        prompt = agent.encoder.prompt(shown, first=True).ids.tolist()
        assert said["inputs"]["input_ids"][0].tolist() == prompt
        reply = agent.answer(shown.image, shown.text).ids.tolist()
        assert said["reply"][0, len(prompt) :].tolist() == reply
    if family in ("internvl", "llava_onevision", "smolvlm") or family.startswith("qwen"):
        video = json.loads((tmp_path / "exported" / "video_preprocessor_config.json").read_text())
        assert video == {"fps": 2}, "the part for videos, which is not loaded here, is handed on"


def _shown() -> Observation:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return Observation("go left please", image)


@pytest.mark.parametrize("family", ["paligemma", "gemma3"])
def test_a_family_that_looks_ahead_is_not_packed(
    small: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    source = save(family, tmp_path / "model")
    own = "--model.backbone", str(source), "--data.dataset", str(tmp_path / "dataset")
    assert small.vlmq("fit", tmp_path / "run", *own, "--data.packed", "true") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"vlmq: data.packed is true, but a {family} model is not one causal sequence")
    assert "set data.packed false, and it is trained window by window" in said
    assert not (tmp_path / "dataset").exists(), "nothing was collected first"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_before_it_learns_a_model_is_held_against_its_own_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    source = save(family, tmp_path)
    encoder, backbone = Encoder.load(source), load_backbone(str(source))
    cpu = torch.device("cpu")
    for shown in (_shown(), Observation("go left please")):
        assert check_own_forward(shown, backbone, encoder, cpu) < 1e-5
    assert backbone.training, "as it was before"
    if family in ("gemma3", "paligemma2"):
        # A family that nobody has looked at yet is one that the table does not know. (Of PaliGemma's first version
        # transformers itself lets a prompt without padding look ahead, whether it is told or not.)
        monkeypatch.setattr(attention, "_AHEAD", {})
        with pytest.raises(
            ModelError, match=f"{backbone.model_type} models read their prompts in a way that is not"
        ):
            check_own_forward(_shown(), backbone, encoder, cpu)
