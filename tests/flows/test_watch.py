"""`vlmq play`: what is told of an agent's play is what it does, in the terminal, as a GIF and as a page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlmq.cli import main
from vlmq.report.results import read_results
from vlmq.rollout.collector import episode_seed


def _play(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["play", *arguments]) == 0
    return capsys.readouterr().out


def test_play_shows_the_evaluations_own_episodes_with_their_outcome(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = _play(capsys, str(trained), "--episodes", "6", "--pictures", str(tmp_path / "seen"))
    seeds = [int(seed) for seed in re.findall(r"^line/Walk-v0, seed (\d+),", told, re.M)]
    assert seeds == [episode_seed(1, "evaluation 0")(index) for index in range(6)]
    row = read_results(trained / "results.json")[-1]
    (won, mean) = re.findall(r"^(\d) of 6 episodes succeeded; mean return (.+)$", told, re.M)[0]
    assert int(won) / 6 == pytest.approx(row.success), "the run's last evaluation played the same six"
    assert float(mean) == pytest.approx(row.episode_return, abs=1e-4)
    turns = told.count("--- turn ")
    assert len(list((tmp_path / "seen").glob("turn-*.png"))) == turns
    assert told.count("critic: Q ") == told.count("; reward ") == turns


def test_a_seed_names_the_environments_and_sampling_is_repeatable(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (str(trained), "--seed", "7", "--temperature", "1", "--tokens", "--pictures", str(tmp_path))
    told = _play(capsys, *arguments)
    assert "line/Walk-v0, seed 7, played by" in told
    assert told == _play(capsys, *arguments)
    assert told != _play(capsys, *arguments[:-2], "--temperature", "0", "--pictures", str(tmp_path))
    assert re.search(r"^  '.+' +Q +-?[\d.]+  A +[+-][\d.]+  p +[\d.]+ %$", told, re.M)


def test_a_gif_and_a_page_show_the_same_play(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gif, page = tmp_path / "play.gif", tmp_path / "play.html"
    told = _play(capsys, str(trained / "checkpoints" / "best.ckpt"), "--gif", str(gif), "--html", str(page))
    turns = told.count("--- turn ")
    with Image.open(gif) as picture:
        assert picture.format == "GIF"
        assert getattr(picture, "n_frames") == turns + 1, "every turn, and the end"  # noqa: B009
    found = re.search('<script type="application/json" id="e0">(.*)</script>', page.read_text("utf-8"))
    assert found
    seen: list[dict[str, Any]] = json.loads(found[1])["turns"]
    assert [turn["reply"] for turn in seen] == re.findall(r"^reply: (.*)$", told, re.M)
    assert all(turn["tokens"] for turn in seen)


def test_a_checkpoint_alone_needs_an_environment_named(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.ckpt"
    shutil.copy(trained / "checkpoints" / "last.ckpt", alone)
    assert main(["play", str(alone)]) == 2
    assert "--env" in capsys.readouterr().err
    told = _play(
        capsys, str(alone), "--env", "line/Walk-v0", "--set", "variation=false", "--pictures", str(tmp_path)
    )
    assert "line/Walk-v0, seed" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no run in nowhere"),
        ([".", "--temperature", "hot"], "--temperature is 'hot'"),
        ([".", "--temperature", "-1"], "--temperature is '-1'"),
        ([".", "--episodes", "0"], "whole number of at least 1"),
        ([".", "--draw", "--no-draw"], "opposites"),
        ([".", "--checkpoint", "best"], "no checkpoint"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


def test_a_gif_that_cannot_be_written_is_one_sentence(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", str(trained), "--no-draw", "--gif", str(tmp_path / "no" / "a.gif")]) == 2
    assert "cannot be written" in capsys.readouterr().err
