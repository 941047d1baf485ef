"""Somebody's own conversations, good answers and bad, become a dataset and are learnt from, with nothing to play in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from families import save
from PIL import Image
from small_run import SmallRun, logged

import vlmq
from vlmq.cli import main
from vlmq.model import attention

PHASES = "[{name: warmup, updates: 4, filter: always}, {name: afsft_offline, updates: 4}]"


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Sixteen questions about a picture each, of which every other is answered well."""
    (tmp_path / "shots").mkdir()
    lines = []
    for number in range(16):
        grey = np.full((64, 64, 3), 10 * number, np.uint8)
        Image.fromarray(grey).save(tmp_path / "shots" / f"{number}.png")
        lines.append(
            {
                "messages": [
                    {"role": "user", "content": "<image>Is it bright? + or -"},
                    {"role": "assistant", "content": "+-"[number % 2]},
                ],
                "images": [f"shots/{number}.png"],
                "success": (number >= 8) == (number % 2 == 0),
            }
        )
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_imported_conversations_are_learnt_from(
    small: SmallRun, chats: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "convert", str(chats), str(tmp_path / "mine"), "--rewrite", "json"]) == 0
    own = ("--data.dataset", str(tmp_path / "mine"), "--data.collect", "null", "--data.env", "null")
    run_dir = tmp_path / "run"
    more = ("--data.held_out", "0.3", "--model.phases", PHASES, "--trainer.val_check_interval", "100")
    assert small.vlmq("fit", run_dir, *own, *more) == 0
    said = capfd.readouterr()
    assert said.out.splitlines()[-1] == f"Next: vlmq report {run_dir}", "there is nothing to validate it in"
    assert "across ranks is zero" not in said.err
    updates = logged(run_dir)
    assert len(updates) == 8
    assert updates[7]["train/actor_loss"] < updates[0]["train/actor_loss"]
    assert [u for u, line in updates.items() if "critic/held_out_explained_variance" in line] == [0, 4]
    assert vlmq.load(run_dir).answer(None, "Is it bright? + or -").text


def test_a_family_that_is_read_wrongly_is_refused_where_nothing_is_played(
    small: SmallRun,
    chats: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["data", "convert", str(chats), str(tmp_path / "mine"), "--rewrite", "json"]) == 0
    source = str(save("gemma3", tmp_path / "model"))
    monkeypatch.setattr(attention, "_AHEAD", {})  # a family that nobody has looked at yet
    own = ("--data.dataset", str(tmp_path / "mine"), "--data.collect", "null", "--data.env", "null")
    assert (
        small.vlmq("fit", tmp_path / "run", *own, "--model.backbone", source, "--model.phases", PHASES) == 2
    )
    assert "gemma3 models read their prompts in a way that is not handled" in capfd.readouterr().err
    assert logged(tmp_path / "run") == {}


def test_a_phase_of_own_play_is_refused_before_anything_is_learnt(
    small: SmallRun, chats: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "convert", str(chats), str(tmp_path / "mine"), "--rewrite", "json"]) == 0
    own = ("--data.dataset", str(tmp_path / "mine"), "--data.collect", "null", "--data.env", "null")
    assert small.vlmq("fit", tmp_path / "run", *own) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith(
        "vlmq: phase 'afsft_online' learns from own play (online: 0.5), but data.env is not set"
    )
    assert logged(tmp_path / "run") == {}
