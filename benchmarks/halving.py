"""Which setting should be the default? Successive halving over AFSFT's variants, on two tasks.

    python benchmarks/halving.py --tasks numberline ezpoints

Every variant is trained for a part of the task's updates on one seed; the better half goes on to more updates and one
seed more, from the start again, until few are left. Variants are compared by mean success, then by mean return, on the
same data and evaluation episodes. A row is appended to the CSV when a run ends, and a run that is in it is not
repeated, so halving goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from learning import FIELDS, ROOT, VARIANTS, append, read
from learning import run as train
from tqdm.auto import tqdm

CSV = ROOT / "benchmarks" / "results" / "halving.csv"
ARMS = (
    "afsft", "afsft_zero", "exp", "turn_and",  # the filter: with a margin, without, and others
    "topk", "expectile", "hl_gauss",  # the value, and the critic's loss
    "one_step", "lambda_0.9",  # the targets
    "trunk_0.1", "trunk_0",  # how much of the critic's gradient reaches the trunk
)  # fmt: skip
"""What is contested by default; `--arms` takes any of AFSFT's variants."""


@dataclass(frozen=True)
class Rung:
    """A round of the contest.

    Attributes:
        updates: of each run.
        seeds: how many, from 1 on.
        keep: share of the variants that go on.
    """

    updates: int
    seeds: int
    keep: float = 0.5


CONTESTS = {
    "numberline": (0.0, (Rung(400, 1), Rung(700, 2), Rung(1000, 3))),
    "ezpoints": (0.05, (Rung(600, 1), Rung(1000, 2), Rung(1800, 2))),
}
"""Share of expert play, and the rungs."""


def main() -> None:
    """Run what is missing, rung by rung, and print who stayed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(CONTESTS), choices=list(CONTESTS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=["afsft", *VARIANTS])
    parser.add_argument("--rungs", type=int, default=3, help="how many are run")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "halving")
    parser.add_argument("--csv", type=Path, default=CSV)
    arguments = parser.parse_args()
    for task in arguments.tasks:
        expert, rungs = CONTESTS[task]
        arms: Sequence[str] = arguments.arms
        for rung in rungs[: arguments.rungs]:
            rows = climb(task, expert, arms, rung, arguments.runs, arguments.csv)
            arms = ranked(rows)
            print(table(task, rung, rows, arms))
            arms = arms[: ceil(len(arms) * rung.keep)]


def climb(
    task: str, expert: float, arms: Sequence[str], rung: Rung, runs: Path, csv: Path
) -> list[dict[str, str]]:
    """The rows of one rung, those that were missing run first."""
    units = [(arm, seed) for seed in range(1, rung.seeds + 1) for arm in arms]
    for arm, seed in tqdm(units, desc=f"{task}, {rung.updates} updates", unit="run", disable=None):
        key = (task, arm, str(seed), str(rung.updates))
        if key not in {(r["task"], r["method"], r["seed"], r["rung"]) for r in read(csv)}:
            row = train(task, expert, arm, seed, rung.updates, runs / str(rung.updates))
            append(csv, {**row, "rung": rung.updates}, ("rung", *FIELDS))
    wanted = {(task, arm, str(seed), str(rung.updates)) for arm, seed in units}
    return [r for r in read(csv) if (r["task"], r["method"], r["seed"], r["rung"]) in wanted]


def ranked(rows: Sequence[dict[str, str]]) -> list[str]:
    """The arms, best first."""
    return sorted({row["method"] for row in rows}, key=lambda arm: _score(rows, arm), reverse=True)


def table(task: str, rung: Rung, rows: Sequence[dict[str, str]], arms: Sequence[str]) -> str:
    """What each arm reached."""
    stay = ceil(len(arms) * rung.keep)
    lines = [f"\n{task}, {rung.updates} updates, {rung.seeds} seeds"]
    for place, arm in enumerate(arms):
        success, returned = _score(rows, arm)
        syntax = min(float(row["syntax"]) for row in rows if row["method"] == arm)
        mark = "stays" if place < stay else ""
        reached = (
            f"success {100 * success:5.1f} %  return {returned:6.2f}  least syntax {100 * syntax:5.1f} %"
        )
        lines.append(f"  {arm:17} {reached}  {mark}".rstrip())
    return "\n".join(lines)


def _score(rows: Sequence[dict[str, str]], arm: str) -> tuple[float, float]:
    own = [row for row in rows if row["method"] == arm]
    success, returned = ([float(row[name]) for row in own] for name in ("success", "return"))
    return float(np.mean(success)), float(np.mean(returned))


if __name__ == "__main__":
    main()
