"""Does the critic choose better than the policy? Best of 8 by Q beside greedy play, on half-trained checkpoints.

    python benchmarks/best_of.py --seeds 1 2 3

Each run is the task's own configuration, stopped half-way: at the end of a longer warm-up, in which the critic learns
beside supervised fine-tuning and the policy does not follow it yet, or within the offline phase, in which it does.
Then the same held-out episodes are played greedily, by sampling once, by the best of 8 samples, and with the logits
shifted by Q. A row for each run is appended to the CSV when it ends. The training seed is the unit of every interval.
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
HALVES = {
    ("quickstart", "warmup"): 1000,
    ("memory", "warmup"): 600,
    ("textworld", "warmup"): 600,
    ("quickstart", "afsft_offline"): 400,
    ("memory", "afsft_offline"): 300,
}
"""Configurations and the phase that is cut short or drawn out, each with the updates of that phase."""
FIELDS = ("task", "phase", "seed", "updates", "episodes", *POLICIES)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["quickstart", "memory"])
    parser.add_argument("--phases", nargs="+", default=["warmup", "afsft_offline"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "best_of")
    parser.add_argument("--csv", type=Path, default=CSV)
    arguments = parser.parse_args()
    units = list(product(arguments.tasks, arguments.phases, arguments.seeds))
    for task, phase, seed in tqdm(units, unit="run", disable=None):
        if (task, phase, str(seed)) not in {(r["task"], r["phase"], r["seed"]) for r in read(arguments.csv)}:
            row = run(task, phase, seed, arguments.episodes, arguments.runs / f"{task}-{phase}-{seed}")
            append(arguments.csv, row, FIELDS)
    print(table(read(arguments.csv)))


def run(task: str, phase: str, seed: int, episodes: int, folder: Path) -> Changes:
    """Train half-way, then play."""
    updates = HALVES[task, phase]
    config: Changes = yaml.safe_load((ROOT / "configs" / f"{task}.yaml").read_text(encoding="utf-8"))
    phases = {phase["name"]: phase for phase in config["model"]["phases"]}
    half = {**phases[phase], "updates": updates, "decay": "none"}
    half.pop("start_from", None)
    config["model"]["phases"] = [half] if phase == "warmup" else [phases["warmup"], half]
    config["trainer"] |= {"val_check_interval": 100, "enable_progress_bar": False}
    config["data"]["evaluation"]["final_episodes"] = episodes
    fit(config, folder, seed)
    policies = ("--data.evaluation.policies", json.dumps(POLICIES))
    vlmq("validate", folder / "config.yaml", folder, "--ckpt_path", "last", *policies)
    success = {row["name"]: row["success"] for row in results(folder / "validate.json")}
    return {
        "task": task, "phase": phase, "seed": seed, "updates": updates, "episodes": episodes, **success
    }  # fmt: skip


def table(rows: list[dict[str, str]]) -> str:
    """Each way to play, mean over seeds, and what the best of 8 gains over greedy play."""
    lines = []
    for task, phase in dict.fromkeys((row["task"], row["phase"]) for row in rows):
        own = [row for row in rows if (row["task"], row["phase"]) == (task, phase)]
        head = f"{task:11} {phase:14}"
        for name in POLICIES:
            interval = mean_over_seeds([float(row[name]) for row in own], bounds=(0, 1))
            ends = f"[{100 * interval.low:5.1f}, {100 * interval.high:5.1f}]"
            lines.append(f"{head} {name:8} {100 * interval.value:5.1f} % {ends}  seeds {len(own)}")
        gains = np.array([float(row["best_of"]) - float(row["model"]) for row in own])
        lines.append(
            f"{head} best of 8 over greedy: {100 * gains.mean():+.1f} points, least {100 * gains.min():+.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
