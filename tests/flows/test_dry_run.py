"""`vlmq fit --dry-run` estimates, makes one real update, and leaves everything as it was."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from small_run import SmallRun


def _files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_it_estimates_updates_once_and_writes_nothing(
    small: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = _files(small.folder)
    assert small.vlmq("fit", tmp_path / "run", "--dry-run", "--model.lora.rank", "4") == 0
    said = capsys.readouterr().out
    names = (
        "weights", "adapters", "gradients", "optimizer state", "critic heads", "their Polyak copy",
        "activations, language", "activations, heads", "pictures", "replay",
    )  # fmt: skip
    for name in names:
        assert re.search(rf"^{name} +[\d.]+ [MG]B", said, re.M), said
    assert not re.search(r"^acting", said, re.M)
    assert re.search(r"^sum, replay apart +[\d.]+ MB   of [\d.]+ GB free: it fits$", said, re.M)
    assert re.search(
        r"^One real update: 8 replies of \d+ tokens, forward, backward and optimizer", said, re.M
    )
    assert re.search(r"^Most that this process held: [\d.]+ GB", said, re.M)
    assert said.rstrip().endswith("Nothing was kept. Run it: the same command without --dry-run.")
    assert _files(small.folder) == before
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_run_in_the_folder_stays_where_it_is(small: SmallRun, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "checkpoints").mkdir(parents=True)
    assert small.vlmq("fit", run_dir, "--dry-run") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert [path.name for path in run_dir.iterdir()] == ["checkpoints"]


def test_without_a_dataset_a_few_episodes_are_played_and_forgotten(
    small: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "dataset"
    assert small.vlmq("fit", tmp_path / "run", "--dry-run", "--data.dataset", str(absent)) == 0
    assert "One real update: 8 replies" in capsys.readouterr().out
    assert not absent.exists()


def test_what_acting_may_keep_is_counted_where_there_is_a_history(
    small: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--dry-run", "--model.history", "all", "--model.reuse_gb", "0.3")
    assert small.vlmq("fit", tmp_path / "run", *options) == 0
    said = capsys.readouterr().out
    assert re.search(r"^acting +0\.30 GB   at most", said, re.M), said
    total = re.search(r"^sum, replay apart +([\d.]+) GB", said, re.M)
    assert total
    assert float(total[1]) > 0.3


def test_what_is_too_large_is_estimated_before_it_fails(
    small: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert small.vlmq("fit", tmp_path / "run", "--dry-run", "--model.critic.width", str(10**12)) == 2
    shown = capsys.readouterr()
    assert re.search(r"^critic heads +\d+\.\d\d GB", shown.out, re.M)
    assert "One real update" not in shown.out
    assert "learning ran out of memory" in shown.err.splitlines()[-1]
