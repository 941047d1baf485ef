"""Own play by collectors beside the trainer: nothing is lost or doubled, and nothing is older than it may be."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from small_run import SmallRun, check_same, episode_bits, logged

from vlmq.data.store import EpisodeStore
from vlmq.rollout.host import Weights

PROCESSES = ("--data.collectors.backend", "process")
RAY = ("--data.collectors.backend", "ray", "--data.collectors.cpus", "0.5")


def _versions(run_dir: Path) -> list[int]:
    """Updates behind the weights that played each of the sixteen episodes, by index."""
    with EpisodeStore.open(run_dir / "replay") as store:
        assert store.verify() == []
        assert sorted(store.table["index"].tolist()) == list(range(16)), "none lost, none twice"
        return [episode.policy_version for episode in sorted(store, key=lambda episode: episode.index)]


@pytest.fixture(scope="module")
def played(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose own play two processes played, each round when it was due."""
    run_dir = tmp_path_factory.mktemp("collectors") / "run"
    assert small.vlmq("fit", run_dir, *PROCESSES) == 0
    return run_dir


def _collectors(started_as: bytes) -> set[int]:
    """Processes whose command line holds this, of multiprocessing or of Ray."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if started_as in (entry / "cmdline").read_bytes() and _is_ours(entry):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def _is_ours(entry: Path) -> bool:
    """Whether this process has started it, or who started it."""
    while entry.name not in ("0", "1"):
        if int(entry.name) == os.getpid():
            return True
        entry = entry.parent / (entry / "stat").read_text().rpartition(")")[2].split()[1]
    return False


def test_each_round_is_played_with_the_weights_of_its_time(played: Path) -> None:
    assert _versions(played) == [12] * 4 + [14] * 4 + [16] * 4 + [18] * 4
    assert {row["own_play/staleness"] for update, row in logged(played).items() if update >= 12} == {0.0}
    assert not _collectors(b"spawn_main"), "the collectors ended with the run"


@pytest.mark.parametrize(
    ("backend", "started_as"),
    [(PROCESSES, b"spawn_main"), pytest.param(RAY, b"ray::_RayHost", marks=pytest.mark.slow)],
    ids=["a process", "a Ray actor"],
)
def test_a_collector_that_is_killed_in_the_middle_changes_nothing(
    small: SmallRun, played: Path, tmp_path: Path, backend: tuple[str, ...], started_as: bytes
) -> None:
    run_dir = tmp_path / "run"
    killed: list[int] = []

    def kill_one() -> None:
        stored = run_dir / "replay" / "episodes.bin"
        while not (stored.is_file() and stored.stat().st_size):
            time.sleep(0.01)
        killed.append(max(_collectors(started_as)))
        os.kill(killed[0], signal.SIGKILL)

    watcher = threading.Thread(target=kill_one, daemon=True)
    watcher.start()
    assert small.vlmq("fit", run_dir, *backend) == 0
    assert killed, "it was killed in the middle"
    check_same(run_dir, played)


@pytest.mark.slow
def test_rounds_that_are_played_ahead_are_one_round_old_and_no_older(small: SmallRun, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    ahead = (*PROCESSES, "--data.collectors.lag", "1")
    assert small.vlmq("fit", run_dir, *ahead, "--trainer.max_steps", "15") == 0
    assert small.vlmq("fit", run_dir, *ahead, "--ckpt_path", "last") == 0
    staleness = {update: row["own_play/staleness"] for update, row in logged(run_dir).items() if update >= 12}
    assert (staleness[12], staleness[14], staleness[18]) == (0.0, 2.0, 2.0)
    assert all(0.0 <= lag <= 2.0 for lag in staleness.values())
    assert _versions(run_dir)[:8] == [12] * 8


def test_ray_plays_the_very_episodes_that_processes_play(
    small: SmallRun, played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    put: list[Any] = []
    original = ray.put

    def watched(value: Any) -> Any:
        put.append(value)
        return original(value)

    monkeypatch.setattr(ray, "put", watched)
    run_dir = tmp_path / "run"
    assert small.vlmq("fit", run_dir, *RAY) == 0
    assert [type(value) for value in put] == [Weights] * 4, "each round's weights once for both collectors"
    assert _versions(run_dir) == _versions(played)
    episodes = []
    for folder in (run_dir, played):
        with EpisodeStore.open(folder / "replay") as store:
            episodes.append({episode.index: episode_bits(episode) for episode in store})
    assert episodes[0] == episodes[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data.collectors.count", "0"), "collectors.count must be at least 1"),
        (("--data.collectors.address", "auto"), "processes need none"),
        ((*RAY, "--data.collectors.gpus", "64"), "ask for 128 GPUs where there are"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    small: SmallRun, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    if "ray" in options:
        pytest.importorskip("ray")
    assert small.vlmq("fit", tmp_path / "run", *options) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("vlmq: ")
    assert said in last
