"""Killed at chosen moments, a run that is resumed makes the very losses and episodes of one that nobody interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import killing
import pytest
import yaml
from killing import Kill, Runner
from small_run import UPDATES, SmallRun, check_same, logged

from vlmq.data.store import EpisodeStore
from vlmq.report.results import read_results


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


def _fit(
    runner: Runner,
    small: SmallRun,
    run_dir: Path,
    *options: str,
    kill: Kill | None = None,
    resume: bool = True,
) -> None:
    """A `fit` that is killed where that is asked for, and else ends well."""
    more = ("--ckpt_path", "last") if resume and (run_dir / "checkpoints" / "last.ckpt").is_file() else ()
    output = run_dir.with_suffix(".txt")
    code = runner.run(small.arguments("fit", run_dir, *more, *options), output, kill)
    said = output.read_text()
    assert code == (0 if kill is None else -signal.SIGKILL), f"{kill}: {said}"


def test_killed_at_each_kind_of_moment_in_turn_a_run_ends_as_if_nothing_had_happened(
    small: SmallRun, runner: Runner, tmp_path: Path
) -> None:
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    _fit(runner, small, whole)
    checkpoints, replay = run_dir / "checkpoints", run_dir / "replay"
    _fit(runner, small, run_dir, kill=killing.idle(4))
    _fit(runner, small, run_dir, kill=killing.mid_update(5))
    _fit(runner, small, run_dir, kill=killing.after_checkpoint(1))
    _fit(runner, small, run_dir, kill=killing.mid_checkpoint(150))
    assert [path.stat().st_size > 0 for path in checkpoints.glob("*.part")] == [True], (
        "half a checkpoint is there"
    )
    _fit(runner, small, run_dir, kill=killing.mid_rename(2))
    _fit(runner, small, run_dir, kill=killing.mid_append(4))
    before = replay.joinpath("episodes.bin").stat().st_size
    with EpisodeStore.open(replay) as store:
        assert store._offsets[-1] < before, "half an episode is there"
    _fit(runner, small, run_dir, kill=killing.mid_collection(11))
    assert 4 <= len(EpisodeStore.open(replay)) < 16
    _fit(runner, small, run_dir)
    check_same(run_dir, whole, UPDATES)


LONG = {"warmup": 10, "afsft_offline": 10, "afsft_online": 110}
"""Everything is killed before its 30th update, so that a hundred follow."""
MOMENTS = {
    "idle": [killing.idle(4), killing.idle(9), killing.idle(13)],
    "mid-update": [
        killing.mid_update(3), killing.mid_gradient(7), killing.mid_update(6), killing.mid_gradient(6),
        killing.mid_update(7),
    ],
    "mid-collection": [killing.mid_collection(3), killing.mid_collection(20), killing.mid_collection(33)],
    "mid-store-append": [killing.mid_append(3), killing.mid_append(8), killing.mid_append(13)],
    "mid-checkpoint-write": [
        killing.mid_checkpoint(150), killing.mid_rename(2), killing.mid_checkpoint(700), killing.mid_rename(1),
        killing.mid_checkpoint(1400), killing.mid_rename(3),
    ],
}  # fmt: skip
"""One run for each kind, which is killed again and again; calls are counted from each new start."""


@pytest.fixture(scope="module")
def long(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """The same configuration with phases that leave room for a hundred updates."""
    config = yaml.safe_load(small.config.read_text())
    config["trainer"] |= {"val_check_interval": 10, "checkpoint_every": 3}
    config["data"]["evaluation"] = {"episodes": 2, "final_episodes": 4}
    config["data"]["online"]["every"] = 3
    config["model"]["phases"] = [
        {"name": "warmup", "updates": LONG["warmup"], "filter": "always"},
        {"name": "afsft_offline", "updates": LONG["afsft_offline"]},
        {"name": "afsft_online", "updates": LONG["afsft_online"], "priority": 0.25, "online": 0.5},
    ]
    path = tmp_path_factory.mktemp("long") / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return SmallRun(path, small.folder)


@pytest.fixture(scope="module")
def long_whole(runner: Runner, long: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = tmp_path_factory.mktemp("long_whole") / "run"
    _fit(runner, long, whole)
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("kind", MOMENTS)
def test_after_kills_at_any_point_a_hundred_losses_and_all_episodes_are_the_same(
    runner: Runner, long: SmallRun, long_whole: Path, tmp_path: Path, kind: str
) -> None:
    run_dir, updates = tmp_path / "run", sum(LONG.values())
    killed_at = []
    for kill in MOMENTS[kind]:
        _fit(runner, long, run_dir, kill=kill)
        killed_at.append(max(logged(run_dir), default=-1) + 1)
    assert updates - killed_at[-1] >= 100, killed_at
    assert killed_at == sorted(killed_at)
    _fit(runner, long, run_dir)
    check_same(run_dir, long_whole, updates)


AHEAD = ("--data.collectors.backend", "process", "--data.collectors.lag", "1")
ROUNDS = 37
"""Of four episodes, one every three of 110 updates."""
AHEAD_MOMENTS = [
    killing.idle(25), killing.mid_append(9), killing.mid_checkpoint(150), killing.mid_gradient(7),
    killing.mid_append(20), killing.mid_rename(2), killing.mid_update(5), killing.mid_append(30),
]  # fmt: skip


@pytest.mark.slow
def test_with_rounds_played_ahead_kills_lose_and_double_nothing(
    runner: Runner, long: SmallRun, tmp_path: Path
) -> None:
    whole, run_dir = tmp_path / "whole", tmp_path / "run"
    _fit(runner, long, whole, *AHEAD)
    for kill in AHEAD_MOMENTS:
        _fit(runner, long, run_dir, *AHEAD, kill=kill)
    _fit(runner, long, run_dir, *AHEAD)
    assert logged(run_dir).keys() == logged(whole).keys() == set(range(sum(LONG.values())))
    stores = [EpisodeStore.open(folder / "replay") for folder in (whole, run_dir)]
    for store in stores:
        assert store.verify() == []
        assert sorted(store.table["index"].tolist()) == list(range(4 * ROUNDS)), "none lost, none twice"
    played_ahead = [
        row["own_play/staleness"] for row in logged(run_dir).values() if "own_play/staleness" in row
    ]
    assert max(played_ahead) <= 3.0
    expected, actual = (read_results(folder / "results.json") for folder in (whole, run_dir))
    assert [row.name for row in actual] == [row.name for row in expected]
    for row, other in zip(actual, expected, strict=True):
        assert row.low <= other.high, row.name
        assert other.low <= row.high, row.name
    assert actual[-1].extras["curve"][-1]["own_turns"] == sum(len(episode.turns) for episode in stores[1])


def test_the_points_are_twenty_and_of_each_kind_there_are_three() -> None:
    assert sum(map(len, MOMENTS.values())) == 20
    assert all(len(kills) >= 3 for kills in MOMENTS.values())
