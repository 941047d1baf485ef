"""Environment turns to the same success: own play from the same supervised start, AFSFT against PPO.

    python benchmarks/online.py --methods grid --seeds 1          # AFSFT's 3 settings and PPO's 18, once each
    python benchmarks/online.py --methods afsft-40 ppo_reply-0.3-8 --seeds 1 2 3 4 5

Every run of a seed fine-tunes on the same few random episodes without a critic (the quickstart's warm-up) to the same
weights, then plays, and stops once an evaluation reaches the success asked for, or after so many rounds of play. The
last number of a name is the updates on each round; PPO's other one is the factor on the learning rate. AFSFT keeps
drawing half of each batch from the offline data, so turns are counted with and without those. Rows are appended to the
CSV as runs end.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from learning import BASELINES, ROOT, Changes, append, fit, merge, read, results
from tqdm.auto import tqdm

from vlmq.data.store import EpisodeStore

CSV = ROOT / "benchmarks" / "results" / "online.csv"
FIELDS = (
    "method", "seed", "wanted", "reached", "own_turns", "offline_turns", "success", "success_sampled", "syntax_sampled",
    "updates", "minutes",
)  # fmt: skip
WARMUP = 320
"""Updates without a critic; the evaluations, every 4 rounds of play, fit in."""
OFFLINE = 200
"""Episodes of random play, from which everybody learns the form of a reply."""
OBJECTIVES, RATES, EPOCHS = ("ppo_token", "ppo_reply"), (0.1, 0.3, 1.0), (4, 8, 16)
GRID = [
    *(f"afsft-{updates}" for updates in (10, 20, 40)),
    *(f"{objective}-{rate:g}-{epochs}" for objective, rate, epochs in product(OBJECTIVES, RATES, EPOCHS)),
]


def main() -> None:
    """Run what is missing, then print how many turns each method took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["grid"], choices=["grid", *GRID])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--success", type=float, default=0.9, help="at which a run stops")
    parser.add_argument("--rounds", type=int, default=100, help="of own play at most; a multiple of 4")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "online")
    parser.add_argument("--csv", type=Path, default=CSV)
    arguments = parser.parse_args()
    methods = [m for name in arguments.methods for m in (GRID if name == "grid" else [name])]
    for seed, method in tqdm(list(product(arguments.seeds, methods)), unit="run", disable=None):
        if (method, str(seed)) not in {(r["method"], r["seed"]) for r in read(arguments.csv)}:
            row = run(method, seed, arguments.success, arguments.rounds, arguments.runs)
            append(arguments.csv, row, FIELDS)
    print(table(read(arguments.csv)))


def configuration(method: str, success: float, rounds: int) -> Changes:
    """Supervised fine-tuning as in the quickstart's warm-up, then own play until the success is reached."""
    config: Changes = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    online = config["data"]["online"]
    warmup = {**config["model"]["phases"][0], "critic": False, "updates": WARMUP}
    phase: Changes = {"filter": "binary", "margin": -0.03, "online": 0.5}
    name, *rate, updates = method.split("-")
    if rate:
        merge(config, yaml.safe_load((BASELINES / f"{name}.yaml").read_text(encoding="utf-8")))
        phase = {**config["model"]["phases"][1], "learning_rate": float(rate[0])}
    online["every"] = int(updates)
    config["data"]["collect"]["episodes"] = OFFLINE
    phase |= {"name": "play", "updates": rounds * online["every"], "stop_at_success": success}
    config["model"]["phases"] = [warmup, phase]
    config["trainer"] |= {"val_check_interval": 4 * online["every"], "enable_progress_bar": False}
    return config


def run(method: str, seed: int, success: float, rounds: int, runs: Path) -> Changes:
    """Train one unit and give its row."""
    folder = runs / f"{method}-{seed}"
    config = configuration(method, success, rounds)
    config["data"]["dataset"] = str(runs / "datasets" / str(seed))
    started = time.monotonic()
    fit(config, folder, seed)
    last = results(folder / "results.json")[-1]
    own, offline = (
        int(EpisodeStore.open(path).table["num_turns"].sum())
        for path in (folder / "replay", runs / "datasets" / str(seed))
    )
    return {
        "method": method, "seed": seed, "wanted": success, "reached": last["success"] >= success - 0.05,
        "own_turns": own, "offline_turns": offline,
        **{name: last[name] for name in ("success", "success_sampled", "syntax_sampled", "updates")},
        "minutes": round((time.monotonic() - started) / 60, 2),
    }  # fmt: skip


def table(rows: list[dict[str, str]]) -> str:
    """Turns of own play of each method, mean over seeds, and how many seeds arrived."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        arrived = sum(row["reached"] == "True" for row in own)
        turns = np.array([int(row["own_turns"]) for row in own])
        offline = np.array([int(row["offline_turns"]) for row in own])
        success = np.mean([float(row["success"]) for row in own])
        lines.append(
            f"{method:18} arrived {arrived} of {len(own)}  own turns {turns.mean():7.0f}  with the offline data "
            f"{(turns + offline).mean():7.0f}  success at the end {100 * success:5.1f} %"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
