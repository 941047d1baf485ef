"""Does the critic choose better than the policy? Best of 8 by Q beside greedy play, on half-trained checkpoints.

    python benchmarks/best_of.py --seeds 1 2 3

Each run is the task's own configuration, stopped within its offline phase; then the same held-out episodes are played
greedily, by sampling once, by the best of 8 samples, and with the logits shifted by Q. A row for each run is appended
to the CSV when it ends. The training seed is the unit of every interval.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from learning import ROOT, Changes, append, fit, read, results, vlmq
from tqdm.auto import tqdm

from vlmq.report.stats import mean_over_seeds

CSV = ROOT / "benchmarks" / "results" / "best_of.csv"
POLICIES = ("model", "sampled", "best_of", "shifted")
TASKS = {"quickstart": 400, "memory": 300}
"""Configurations, and the updates of the offline phase after which they are half trained."""
FIELDS = ("task", "seed", "updates", "episodes", *POLICIES)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "best_of")
    parser.add_argument("--csv", type=Path, default=CSV)
    arguments = parser.parse_args()
    for task, seed in tqdm(list(product(arguments.tasks, arguments.seeds)), unit="run", disable=None):
        if (task, str(seed)) not in {(row["task"], row["seed"]) for row in read(arguments.csv)}:
            row = run(task, seed, arguments.episodes, arguments.runs / f"{task}-{seed}")
            append(arguments.csv, row, FIELDS)
    print(table(read(arguments.csv)))


def run(task: str, seed: int, episodes: int, folder: Path) -> Changes:
    """Train half-way, then play."""
    config: Changes = yaml.safe_load((ROOT / "configs" / f"{task}.yaml").read_text(encoding="utf-8"))
    phases = {phase["name"]: phase for phase in config["model"]["phases"]}
    half = {**phases["afsft_offline"], "updates": TASKS[task], "decay": "none"}
    half.pop("start_from", None)
    config["model"]["phases"] = [phases["warmup"], half]
    config["trainer"] |= {"val_check_interval": 100, "enable_progress_bar": False}
    config["data"]["evaluation"]["final_episodes"] = episodes
    fit(config, folder, seed)
    policies = ("--data.evaluation.policies", json.dumps(POLICIES))
    vlmq("validate", folder / "config.yaml", folder, "--ckpt_path", "last", *policies)
    success = {row["name"]: row["success"] for row in results(folder / "validate.json")}
    return {"task": task, "seed": seed, "updates": TASKS[task], "episodes": episodes, **success}


def table(rows: list[dict[str, str]]) -> str:
    """Each way to play, mean over seeds, and what the best of 8 gains over greedy play."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        for name in POLICIES:
            interval = mean_over_seeds([float(row[name]) for row in own], bounds=(0, 1))
            ends = f"[{100 * interval.low:5.1f}, {100 * interval.high:5.1f}]"
            lines.append(f"{task:11} {name:8} {100 * interval.value:5.1f} % {ends}  seeds {len(own)}")
        gains = np.array([float(row["best_of"]) - float(row["model"]) for row in own])
        lines.append(
            f"{task:11} best of 8 over greedy: {100 * gains.mean():+.1f} points, least {100 * gains.min():+.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
