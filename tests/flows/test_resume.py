"""A run that was killed goes on as if nothing had happened: same losses, same episodes, nothing lost or doubled."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_run import PHASES, UPDATES, SmallRun, logged

from vlmq.data.store import EpisodeStore
from vlmq.report.results import read_results


@pytest.fixture(scope="module")
def uninterrupted(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert small.vlmq("fit", run_dir) == 0
    return run_dir


def _stop(
    small: SmallRun, run_dir: Path, when: Callable[[], bool], how: signal.Signals
) -> tuple[int, str, str]:
    """Start a fit, send it a signal once `when` holds; gives exit code, output and complaints."""
    process = small.start("fit", run_dir)
    # The limit only ends a run in which `when` never comes true.
    deadline = time.monotonic() + 300
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, "the run ended before it could be stopped"
    process.send_signal(how)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def _check_same(run_dir: Path, uninterrupted: Path) -> None:
    expected, actual = logged(uninterrupted), logged(run_dir)
    assert sorted(actual) == sorted(expected) == list(range(UPDATES))
    for update, line in actual.items():
        assert line == pytest.approx(expected[update], abs=1e-6), f"update {update}"
    first, second = (EpisodeStore.open(folder / "replay") for folder in (uninterrupted, run_dir))
    assert second.verify() == []
    assert sorted(second.table["index"].tolist()) == list(range(16))
    for index in range(16):
        ids = [
            [turn.reply_ids.tolist() for turn in store[store.position_of(index) or 0].turns]
            for store in (first, second)
        ]
        assert ids[0] == ids[1], f"episode {index}"
    rows = [
        [(r.name, r.success, r.episode_return, r.syntax) for r in read_results(folder / "results.json")]
        for folder in (uninterrupted, run_dir)
    ]
    assert rows[0] == rows[1]
    assert [row[0] for row in rows[1]] == ["data", *PHASES]


def _updates_logged(run_dir: Path) -> int:
    try:
        return len(logged(run_dir))
    except (OSError, ValueError):  # a line that is being written
        return 0


@pytest.mark.parametrize(
    "moment",
    [
        "during own play",
        pytest.param("during warm-up", marks=pytest.mark.slow),
        pytest.param("during an evaluation", marks=pytest.mark.slow),
        pytest.param("during the baseline", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    small: SmallRun, uninterrupted: Path, tmp_path: Path, moment: str
) -> None:
    run_dir = tmp_path / "run"
    replay = run_dir / "replay" / "episodes.bin"
    last = run_dir / "checkpoints" / "last.ckpt"
    when: Callable[[], bool] = {
        "during warm-up": last.is_file,
        "during an evaluation": lambda: _updates_logged(run_dir) >= 4,
        "during the baseline": (run_dir / "phases" / "warmup.pt").is_file,
        "during own play": lambda: replay.is_file() and replay.stat().st_size > 0,
    }[moment]
    code, _, _ = _stop(small, run_dir, when, signal.SIGKILL)
    assert code == -signal.SIGKILL
    results = run_dir / "results.json"
    assert not results.is_file() or len(read_results(results)) < 5, "it had ended already"
    assert small.vlmq("fit", run_dir, "--ckpt_path", "last") == 0
    _check_same(run_dir, uninterrupted)


@pytest.mark.slow
def test_a_run_may_be_cut_and_continued_again_and_again(
    small: SmallRun, uninterrupted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert small.vlmq("fit", run_dir, "--trainer.max_steps", "6") == 0
    for updates in ("8", "13", "17"):
        assert small.vlmq("fit", run_dir, "--ckpt_path", "last", "--trainer.max_steps", updates) == 0
    for _ in ("the rest", "a run that is over"):
        assert "Every phase of this run is finished" not in capfd.readouterr().out
        assert small.vlmq("fit", run_dir, "--ckpt_path", "last") == 0
        _check_same(run_dir, uninterrupted)
    assert "Every phase of this run is finished" in capfd.readouterr().out


def test_a_finished_run_goes_on_when_it_is_given_more(
    small: SmallRun, uninterrupted: Path, tmp_path: Path
) -> None:
    run_dir, more = tmp_path / "run", tmp_path / "more.yaml"
    shutil.copytree(uninterrupted, run_dir)
    phases = yaml.safe_load(small.config.read_text())["model"]["phases"]
    phases[-1]["updates"] += 4
    phases.append({"name": "longer", "updates": 4, "filter": "always"})
    more.write_text(yaml.safe_dump({"model": {"phases": phases}}))
    assert small.vlmq("fit", run_dir, "--config", str(more), "--ckpt_path", "last") == 0
    assert sorted(logged(run_dir)) == list(range(UPDATES + 8))
    assert [row.name for row in read_results(run_dir / "results.json")][-2:] == ["afsft_online", "longer"]


def test_a_run_with_everything_that_is_off_by_default_may_be_cut_and_continued(
    small: SmallRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    extras = "--model.optimizer", "muon", "--model.kl_weight", "0.1", "--data.held_out", "0.3"
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert small.vlmq("fit", whole, *extras) == 0
    assert small.vlmq("fit", cut, *extras, "--trainer.max_steps", "13") == 0
    assert small.vlmq("fit", cut, "--ckpt_path", "last") == 2
    assert "resume with --model.optimizer muon" in capfd.readouterr().err
    assert small.vlmq("fit", cut, *extras, "--ckpt_path", "last") == 0
    _check_same(cut, whole)
    measured = [
        update for update, line in logged(cut).items() if "critic/held_out_explained_variance" in line
    ]
    assert measured == [0, 8, 12], "at the beginning of each phase that has a critic"
    moved = [line["train/kl"] for line in logged(cut).values()]
    assert moved[0] < 1e-5 < moved[-1]


@pytest.mark.slow  # the signal races with a run of seconds: on a quick machine the run may end before it
@pytest.mark.parametrize(("how", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_told_to_stop_says_how_to_go_on(
    small: SmallRun, uninterrupted: Path, tmp_path: Path, how: signal.Signals, expected: int
) -> None:
    run_dir = tmp_path / "run"
    last = run_dir / "checkpoints" / "last.ckpt"
    code, _, err = _stop(small, run_dir, last.is_file, how)
    assert code == expected
    assert "Traceback" not in err
    assert "--ckpt_path last" in err.splitlines()[-1]
    assert small.vlmq("fit", run_dir, "--ckpt_path", "last") == 0
    _check_same(run_dir, uninterrupted)


@pytest.mark.slow
def test_ctrl_c_before_the_first_checkpoint_says_that_the_run_starts_anew(
    small: SmallRun, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    code, _, err = _stop(small, run_dir, (run_dir / "config.yaml").is_file, signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("vlmq: stopped")
    assert "no checkpoint" in err.splitlines()[-1]
