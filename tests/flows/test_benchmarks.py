"""The benchmarks that stand beside peers run to their ratios; what is simulated keeps its bounds."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALLEST = {
    "replay": (["--sizes", "64", "--episodes", "20", "--quick", "--seconds", "0.1"], ["ours over datasets"]),
    "startup": (["--quick"], ["vlmq fit --help over LightningCLI fit --help"]),
    "rollout": (["--quick", "--seconds", "0.1", "--long", "3"], ["ours over loop", "ours over batched"]),
    "throughput": (["--quick"], ["ours sft over", "ours afsft over"]),
    "throughput_ragged": (["--quick"], ["ours sft over trainer", "ours afsft over trainer, turns"]),
    "accelerator": (["--quick"], ["ours afsft over trl", "ours over generate"]),
    "critic_cost": (["--wide", "--quick"], ["ours over positions", "ours over naive"]),
}
MORE = {
    "rollout": (["--turns", "3", "--quick", "--seconds", "0.1"], ["reuse over anew"]),
    "throughput_ragged": (["--curve", "--quick"], ["trajectories over one sample a turn"]),
}
RATIO = re.compile(r"\d\.\d\d \(lowest \d+\.\d\d, highest \d+\.\d\d of \d+ rounds\)")


def test_every_mutant_still_finds_the_line_that_it_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    mutations = importlib.import_module("mutations")
    for mutant in mutations.MUTANTS:
        text = (BENCHMARKS.parent / "vlmq" / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, mutant.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [(name, *form) for forms in (SMALLEST, MORE) for name, form in forms.items()],
)
def test_a_benchmark_ends_with_its_ratios(
    name: str, options: list[str], wanted: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("minari")
    pytest.importorskip("trl")
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


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("scaling")


@pytest.mark.parametrize(
    ("slots", "latency_s", "batch_s", "reply_s", "most", "rate"),
    [
        (1, 0.3, 0.2, 0.1, 100, 1 / 0.6),  # alone: one after the other
        (8, 0.0, 0.2, 0.1, 100, 8 / 1.0),  # no latency: every batch is full, 8 replies in 0.2 + 0.8 s
        (8, 0.0, 0.2, 0.1, 4, 4 / 0.6),  # the same in batches of at most 4
        (
            8,
            0.3,
            0.2,
            0.0,
            100,
            8 / 0.5,
        ),  # a reply more costs nothing: min(N / (latency + generation), capacity)
        (64, 0.5, 0.0, 0.1, 1, 10.0),  # one at a time, and always somebody waits: the generator's capacity
    ],
)
def test_simulated_collection_is_the_closed_form_where_there_is_one(
    scaling: Any, slots: int, latency_s: float, batch_s: float, reply_s: float, most: int, rate: float
) -> None:
    generator = scaling.Generator(batch_s, reply_s, most)
    share = scaling.play(slots, 50 * slots, 10, itertools.repeat(latency_s), generator)
    assert share.turns == 500 * slots
    assert share.turns / share.seconds == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("environments", [8, 48, 256])
def test_no_simulated_run_exceeds_its_bound_and_lag_hides_what_is_shorter(
    scaling: Any, environments: int
) -> None:
    assumed = scaling.Assumed(updates_s=2.0, rounds=40)
    base = scaling.Setting(environments, 4, 0.3, weights_mb=40.0, link_mb_s=1250.0, lag=0)
    played = scaling.shares(base, assumed)
    rates = {lag: scaling.rate(dataclasses.replace(base, lag=lag), assumed, played) for lag in (0, 1)}
    least_s = 0.15  # of a turn whose mean is 0.3 s
    assert rates[0] < rates[1] <= scaling.bound(environments, 4, least_s, assumed.generator)
    # A round by itself, 2 s of training after it, and with lag the longer of both, but for the first round.
    alone = sum(max(share.seconds for share in one) for one in played) / 40
    turns = environments * 10
    assert rates[0] == pytest.approx(turns / (alone + 2.0), rel=0.1)
    assert rates[1] == pytest.approx(turns / alone, rel=0.15)
