"""The benchmarks that stand beside peers run: each one's smallest form ends with its ratios."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALLEST = {
    "replay": (["--sizes", "64", "--episodes", "20", "--quick", "--seconds", "0.1"], ["ours over datasets"]),
    "startup": (["--quick"], ["vlmq fit --help over LightningCLI fit --help"]),
    "rollout": (["--quick", "--seconds", "0.1", "--long", "3"], ["ours over loop", "ours over batched"]),
    "throughput": (["--quick"], ["ours sft over", "ours afsft over"]),
}
RATIO = re.compile(r"\d\.\d\d \(lowest \d+\.\d\d, highest \d+\.\d\d of \d+ rounds\)")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_ends_with_its_ratios(name: str, tmp_path: Path) -> None:
    pytest.importorskip("minari")
    pytest.importorskip("trl")
    options, wanted = SMALLEST[name]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    last = done.stdout.rstrip().rsplit("\n\n", 1)[-1]
    for what in wanted:
        assert any(what in line and RATIO.search(line) for line in last.splitlines()), last


def test_a_ratio_is_taken_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import side_by_side

    # The machine's speed halves from round to round; both feel it alike.
    figures = {"ours": [8.0, 4.0, 2.0], "theirs": [4.0, 2.0, 1.0]}
    assert side_by_side.ratio(figures, "ours", "theirs") == "2.00 (lowest 2.00, highest 2.00 of 3 rounds)"


def test_whoever_begins_a_round_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import side_by_side

    called: list[str] = []

    def contestant(name: str) -> float:
        called.append(name)
        return 1.0

    side_by_side.alternate({n: lambda _, n=n: contestant(n) for n in "abc"}, 2, "times")
    assert called == [*"abc", *"bca"]
