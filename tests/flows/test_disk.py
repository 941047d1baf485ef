"""Whatever a disk does to a run, it is told in one sentence and the last good state goes on to the same end."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small_run import SmallRun, check_same

from vlmq.data.store import EpisodeStore
from vlmq.train import checkpoint

CUT = ("--trainer.max_steps", "17")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def whole(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    assert small.vlmq("fit", run_dir) == 0
    return run_dir


@pytest.fixture(scope="module")
def cut(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in the middle of its own play; nobody writes into it."""
    run_dir = tmp_path_factory.mktemp("cut") / "run"
    assert small.vlmq("fit", run_dir, *CUT) == 0
    return run_dir


@pytest.fixture
def run_dir(cut: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(cut, tmp_path / "run"))


def go_on(small: SmallRun, run_dir: Path) -> int:
    return small.vlmq("fit", run_dir, "--ckpt_path", "last")


def sentence(capfd: Capture) -> str:
    """The one with which a run ended."""
    lines = capfd.readouterr().err.splitlines()
    assert not any(line.startswith("Traceback") for line in lines), lines
    (said,) = [line for line in lines if line.startswith("vlmq: ")]
    return said


def flip(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["cut short", "a flipped bit"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(
    small: SmallRun, run_dir: Path, whole: Path, capfd: Capture, damage: str
) -> None:
    last, previous = (run_dir / "checkpoints" / name for name in (checkpoint.LAST, checkpoint.PREVIOUS))
    if damage == "cut short":
        last.write_bytes(last.read_bytes()[:-1000])
    else:
        flip(last, 0.5)
    assert go_on(small, run_dir) == 0
    said = [line for line in capfd.readouterr().err.splitlines() if str(previous) in line]
    assert said == [f"{last} is truncated or damaged: the one before it, {previous}, is used instead."]
    check_same(run_dir, whole)
    assert checkpoint.is_intact(last)
    assert checkpoint.is_intact(previous)


def test_a_damaged_replay_is_mended_and_what_the_checkpoint_does_not_know_is_played_anew(
    small: SmallRun, run_dir: Path, whole: Path, capfd: Capture
) -> None:
    replay = run_dir / "replay"
    with EpisodeStore.open(replay) as store:
        assert len(store) == 12
        inside = store._offsets[10] + 200
    data = bytearray((replay / "episodes.bin").read_bytes())
    data[inside] ^= 1
    (replay / "episodes.bin").write_bytes(data)
    # The checkpoint of two updates ago knows of two rounds; the damage is in the third.
    (run_dir / "checkpoints" / checkpoint.LAST).unlink()
    assert go_on(small, run_dir) == 0
    said = capfd.readouterr().err
    assert "episode 10 is damaged" in said
    assert f"the 11 undamaged episodes are used, and all is kept in {replay}-damaged-1" in said
    check_same(run_dir, whole)


def test_a_second_run_in_the_same_folder_is_refused_and_told_whose_it_is(
    small: SmallRun, run_dir: Path, capfd: Capture
) -> None:
    hold = (
        "import sys; from pathlib import Path; from vlmq.train.folder import Lock; lock = Lock(Path(sys.argv[1]));"
        " print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(run_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    before = sorted(run_dir.rglob("*"))
    for options in ((), ("--ckpt_path", "last")):
        capfd.readouterr()
        assert small.vlmq("fit", run_dir, *options) == 2
        said = sentence(capfd)
        assert f"process {holder.pid} on " in said
        assert "is training in this folder" in said
    assert sorted(run_dir.rglob("*")) == before
    assert not run_dir.with_name("run-1").exists(), "it was not moved away under the other's feet"
    holder.communicate()
    assert go_on(small, run_dir) == 0


Mount = Callable[[str], None]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Mount]:
    """A file system in memory at a folder; gives a function that mounts it again with other options."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(
            f"NOT TESTED: no file system can be mounted here ({made.stderr.strip()}); run this as root"
        )
    try:
        yield (
            lambda others: (
                subprocess.run(
                    ["mount", "-o", f"remount,{others}", str(folder)], check=True, capture_output=True
                )
                and None
            )
        )
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_a_run_with_one_sentence_and_it_goes_on_once_there_is_room(
    small: SmallRun, cut: Path, whole: Path, tmp_path: Path, capfd: Capture
) -> None:
    used = sum(path.stat().st_size for path in cut.rglob("*") if path.is_file())
    run_dir = tmp_path / "small" / "run"
    # A little more than is there: the next checkpoint is too much.
    with mounted(run_dir.parent, f"size={used // 1024 + 400}k") as again:
        shutil.copytree(cut, run_dir)
        capfd.readouterr()
        assert go_on(small, run_dir) == 2
        said = sentence(capfd)
        assert "there is no room to write" in said
        assert str(run_dir) in said
        assert checkpoint.is_intact(run_dir / "checkpoints" / checkpoint.LAST)
        assert EpisodeStore.open(run_dir / "replay").verify() == []
        again("size=100m")
        assert go_on(small, run_dir) == 0
        check_same(run_dir, whole)


def test_a_read_only_folder_is_one_sentence(
    small: SmallRun, cut: Path, tmp_path: Path, capfd: Capture
) -> None:
    run_dir = tmp_path / "small" / "run"
    with mounted(run_dir.parent, "size=100m") as again:
        shutil.copytree(cut, run_dir)
        again("ro")
        for options in ((), ("--ckpt_path", "last")):
            capfd.readouterr()
            assert small.vlmq("fit", run_dir, *options) == 2
            assert "it cannot be written (Read-only file system)" in sentence(capfd)
