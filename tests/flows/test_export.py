"""`vlmq export` writes a model that plain transformers runs in another process, its card, and its critic."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import SmallRun

import vlmq
from vlmq.cli import main
from vlmq.data.batch import context_row
from vlmq.data.store import EpisodeStore
from vlmq.model import critic_file
from vlmq.trained.agent import Agent


@pytest.fixture(scope="module")
def run(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with adapters that have moved, and a critic of tied rows, which copies the model's embedding."""
    folder = tmp_path_factory.mktemp("export") / "run"
    moved = ("--model.lora.rank", "4", "--model.learning_rate", "3.0e-2", "--model.critic.rows", "tied")
    dataset = ("--data.dataset", str(small.folder / "dataset"), "--data.collect", "null")
    assert small.vlmq("fit", folder, *moved, *dataset, "--trainer.max_steps", "6") == 0
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "agent"
    assert main(["export", str(run), str(folder)]) == 0
    assert not folder.with_name("agent.part").exists()
    return folder


def test_the_lines_on_the_card_make_plain_transformers_reply_as_the_agent_does(
    run: Path, exported: Path, small: SmallRun, tmp_path: Path
) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.S)
    assert "vlmq" not in lines
    script = tmp_path / "card.py"
    script.write_text(lines, encoding="utf-8")
    agent = vlmq.load(run)
    for turn in EpisodeStore.open(small.folder / "dataset")[0].turns[:2]:
        shown = turn.observation
        assert shown.image is not None
        Image.fromarray(shown.image).save(tmp_path / "seen.png")
        agent.reset()
        agent.act(shown.image, shown.text)
        done = subprocess.run(
            [sys.executable, str(script), str(exported), str(tmp_path / "seen.png"), shown.text],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.rstrip("\n") == agent.encoder.tokenizer.decode(
            agent.encoder.tokenizer(agent.reply, add_special_tokens=False)["input_ids"],
            skip_special_tokens=True,
        )


def test_the_card_names_no_folder_of_this_machine_and_holds_the_results(run: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: image-text-to-text\n")
    assert str(run.parent.parent) not in card
    assert "adapters of rank 4" in card
    assert "| " not in card
    assert "warmup" in card


def test_the_critic_and_its_polyak_copy_come_back_with_the_same_values(
    run: Path, exported: Path, small: SmallRun
) -> None:
    agent: Agent = vlmq.load(run)
    there, unit = critic_file.read(exported)
    assert unit == agent.return_range != 1.0
    turn = EpisodeStore.open(small.folder / "dataset")[0].turns[0]
    reply = agent.encoder.reply(turn.reply)
    prompt = agent.encoder.prompt(turn.observation, first=True)
    inputs = agent.encoder.collate([context_row([prompt], [reply])], left=False)
    position = torch.arange(len(prompt.ids) - 1, len(prompt.ids) + len(reply) - 1)
    asked = inputs, torch.zeros_like(position), position, torch.from_numpy(reply.astype(np.int64))
    with torch.no_grad():
        ours, theirs = agent.model(*asked), there(*asked)
    for name in ("log_probs", "q", "value", "target_q", "target_value"):
        torch.testing.assert_close(getattr(theirs, name), getattr(ours, name), atol=1e-4, rtol=0)
    assert not torch.equal(ours.q, ours.target_q), "the copy lags behind, so it is not the critic itself"


def test_what_is_exported_can_be_trained_on(exported: Path, small: SmallRun, tmp_path: Path) -> None:
    dataset = ("--data.dataset", str(small.folder / "dataset"), "--data.collect", "null")
    own = ("--model.backbone", str(exported), "--trainer.max_steps", "2")
    assert small.vlmq("fit", tmp_path / "again", *own, *dataset) == 0


def test_a_folder_that_holds_something_is_left_alone(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in exported.iterdir())
    assert main(["export", str(run), str(exported)]) == 2
    assert "is not an empty folder; give another one" in capsys.readouterr().err
    assert sorted((path.name, path.stat().st_mtime_ns) for path in exported.iterdir()) == before
    assert main(["export", str(tmp_path / "none"), str(tmp_path / "out")]) == 2
    assert "train first with `vlmq fit`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["export", str(run)]) == 2
    assert "takes a run's folder or checkpoint, a folder to write" in capsys.readouterr().err
