"""Methods x tasks x share of expert play x training seeds, on the same data, model, updates and evaluation.

    python benchmarks/learning.py --tasks numberline --expert 0 0.05 --methods sft afsft --seeds 1 2 3 4 5
    python benchmarks/learning.py --quick

The rest of the play is random, and 30 % of its replies are garbled. Each unit is one `vlmq fit` in a process of its
own; its row is appended to the CSV when it ends, and a unit that is in the CSV already is not run again. Units of
one task, share and seed learn from the very same dataset. The training seed is the unit of every interval. The method
`afsft_online` goes on from where `afsft` ended, with play of its own.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm.auto import tqdm

from vlmq.report.stats import interquartile_mean, mean_over_seeds, stratified_bootstrap

ROOT = Path(__file__).resolve().parent.parent
CSV = ROOT / "benchmarks" / "results" / "learning.csv"
FIELDS = (
    "task", "expert", "method", "seed", "success", "low", "high", "return", "return_positive", "syntax",
    "success_sampled", "syntax_sampled", "agreement", "data_success", "episodes", "updates", "minutes",
)  # fmt: skip
Changes = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A task, and how much of it every method is given; what is None is the configuration's own.

    Attributes:
        config: name of the configuration that it is trained with.
        env: the environment.
        env_args: arguments of the environment beyond the configuration's.
        episodes: of the dataset.
        warmup: updates of the warm-up.
        updates: after it.
        batch_size: fragments of each update.
        evaluated: episodes of one more evaluation at the end; None where those of the configuration are enough.
        model: changes to the model, for every method.
        afsft: changes to AFSFT and its variants, of its phase and of the model, beyond what the configuration's own
            phase says; the data stay what they are.
    """

    config: str = "quickstart"
    env: str | None = None
    env_args: Changes = field(default_factory=dict)
    episodes: int | None = None
    warmup: int | None = None
    updates: int | None = None
    batch_size: int | None = None
    evaluated: int | None = None
    model: Changes = field(default_factory=dict)
    afsft: Changes = field(default_factory=dict)


MUON: Changes = {"optimizer": "muon", "learning_rate": 4e-3}
RARE_SUCCESS: Changes = {
    "margin_start": -0.03,
    "margin": -0.003,
    "margin_updates": 600,
    "priority": 0.5,
    "observed": 0.5,
    "critic_weight": 1.0,
    "model": {"lambda_turn": 1.0, "critic_weight": 20.0, "critic": {"conservative": 0.001}},
}
"""For data in which hardly an episode succeeds."""
TASKS = {
    "numberline": Task(env="cards/NumberLine-v0", updates=1000),
    "ezpoints": Task(
        env="cards/EZPoints-v0", episodes=10_000, warmup=200, updates=1800, model=MUON, afsft=RARE_SUCCESS
    ),
    "points24": Task(
        env="cards/Points24-v0", episodes=10_000, warmup=200, updates=1800, model=MUON, afsft=RARE_SUCCESS
    ),
    "blackjack": Task(
        env="cards/Blackjack-v0",
        episodes=20_000,
        warmup=600,
        updates=3000,
        batch_size=32,
        evaluated=10_000,
        afsft={
            "margin_start": -0.03,
            "margin": -0.005,
            "margin_updates": 2000,
            "margin_scale": "likelihood",
            "critic_weight": 1.0,
            "model": {"lambda_turn": 1.0},
        },
    ),
    "babyai": Task("babyai"),
    "household": Task("household"),
    "household_clean": Task("household", env="household/Clean-v0"),
    "miniwob": Task("miniwob"),
    "textworld": Task("textworld"),
}
BASELINES = ROOT / "configs" / "baselines"
VARIANTS: dict[str, Changes] = {
    "afsft_zero": {"margin": 0.0},
    "afsft_wide": {"margin": -0.1},
    "exp": {"filter": "exp", "temperature": 0.1},
    "turn_and": {"filter": "turn_and"},
    "priority": {"priority": 0.5},
    "topk": {"model": {"critic": {"value": "topk"}}},
    "expectile": {"model": {"critic": {"value": "expectile"}}},
    "hl_gauss": {
        "model": {"critic": {"value": "topk", "loss": "hl_gauss"}, "critic_weight": 20.0},
        "critic_weight": 1.0,
    },
    "one_step": {"model": {"lambda_turn": 0.0}},
    "lambda_0.9": {"model": {"lambda_turn": 0.9}},
    "not_corrected": {"model": {"traces": "lambda"}},
    "critic_weight_20": {"model": {"critic_weight": 20.0}, "critic_weight": 1.0},
    "critic_weight_kept": {"critic_weight": 1.0},
    "trunk_0.1": {"model": {"trunk_gradient": 0.1}},
    "trunk_0": {"model": {"trunk_gradient": 0.0}},
    "conservative": {"model": {"critic": {"conservative": 0.002}}},
    "kl": {"model": {"kl_weight": 0.1}},
    "fragment": {"observed_until": "fragment"},
}
"""Changes to AFSFT's phase, and to the model."""
ONLINE = "afsft_online"
METHODS = sorted([ONLINE] + [path.stem for path in BASELINES.glob("*.yaml")] + list(VARIANTS))


def main() -> None:
    """Run what is missing, then print the table and draw a plot for each task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["numberline"], choices=sorted(TASKS))
    parser.add_argument(
        "--expert", type=float, nargs="+", default=[0.0], help="shares of the expert's episodes"
    )
    parser.add_argument("--methods", nargs="+", default=["sft", "afsft"], choices=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--updates", type=int, help="after the warm-up, in place of the task's own")
    parser.add_argument(
        "--quick", action="store_true", help="one seed, 200 updates, nothing kept: under 5 minutes"
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "learning")
    parser.add_argument("--csv", type=Path, default=CSV)
    arguments = parser.parse_args()
    if arguments.updates and arguments.csv == CSV and not arguments.quick:
        parser.error(f"--updates makes other runs than those of {CSV.name}; give them a --csv of their own")
    if arguments.quick:
        arguments.seeds, arguments.updates = [1], 200
        arguments.runs, arguments.csv = ROOT / "runs" / "learning_quick", ROOT / "runs" / "learning_quick.csv"
    units = list(product(arguments.tasks, arguments.expert, arguments.seeds, arguments.methods))
    for task, expert, seed, method in tqdm(units, unit="run", disable=None):
        key = (task, f"{expert:g}", method, str(seed))
        if key not in {(r["task"], r["expert"], r["method"], r["seed"]) for r in read(arguments.csv)}:
            append(arguments.csv, run(task, expert, method, seed, arguments.updates, arguments.runs))
    rows = read(arguments.csv)
    print(table([row for row in rows if row["method"] in arguments.methods]))
    for task in dict.fromkeys(row["task"] for row in rows):
        print(f"drawn: {draw(task, rows, arguments.csv.with_name(f'{arguments.csv.stem}_{task}.png'))}")


def configuration(task: str, expert: float, method: str, updates: int | None, dataset: Path) -> Changes:
    """The settings of a task's configuration, with other data and one method."""
    own = TASKS[task]
    config: Changes = yaml.safe_load((ROOT / "configs" / f"{own.config}.yaml").read_text(encoding="utf-8"))
    phases = {phase["name"]: phase for phase in config["model"]["phases"]}
    own_phase, own_play = phases["afsft_offline"], phases["afsft_online"]
    variant = VARIANTS.get(method, {} if method in ("afsft", ONLINE) else None)
    overlay = BASELINES / f"{'afsft' if variant is not None else method}.yaml"
    updates = updates or own.updates or own_phase["updates"]
    merge(config, yaml.safe_load(overlay.read_text(encoding="utf-8")))
    warmup, phase = config["model"]["phases"]
    warmup |= phases["warmup"]
    warmup["updates"] = own.warmup or warmup["updates"]
    changes: Changes = {}
    if variant is not None:
        phase.clear()
        phase |= {key: own_phase[key] for key in own_phase if key != "start_from"}
        merge(changes, copy.deepcopy(own.afsft))
        merge(changes, copy.deepcopy(variant))
    merge(config["model"], copy.deepcopy(own.model))
    merge(config["model"], changes.pop("model", {}))
    phase |= {"name": "afsft" if method == ONLINE else method, "updates": updates, **changes}
    if method == ONLINE:
        config["model"]["phases"].append({**own_play, **changes, "name": ONLINE})
    policy = {0.0: "random", 1.0: "expert"}.get(expert, "mixture")
    data = config["data"]
    for name, value in {"env": own.env, "batch_size": own.batch_size}.items():
        data[name] = value or data[name]
    merge(data, {"env_args": dict(own.env_args), "dataset": str(dataset)})
    data["collect"] |= {"policy": policy, "expert": expert}
    data["collect"]["episodes"] = own.episodes or data["collect"]["episodes"]
    config["trainer"] |= {
        "val_check_interval": int(np.gcd.reduce([phase["updates"] for phase in config["model"]["phases"]])),
        "enable_progress_bar": False,
    }
    return config


def merge(config: Changes, changes: Changes) -> None:
    """Put changes on top, mappings key by key and lists whole, as several --config do."""
    for name, value in changes.items():
        if isinstance(value, dict):
            merge(config.setdefault(name, {}), value)
        else:
            config[name] = value


def run(task: str, expert: float, method: str, seed: int, updates: int | None, runs: Path) -> Changes:
    """Train one unit and give its row."""
    name = f"{task}-{expert:g}-{seed}"
    start = "afsft" if method == ONLINE else method
    folder = runs / f"{name}-{start}"
    dataset = runs / "datasets" / name
    started = time.monotonic()
    there = folder / "results.json"
    if method != ONLINE or not there.is_file() or start not in {row["name"] for row in results(there)}:
        fit(configuration(task, expert, start, updates, dataset), folder, seed)
    if method == ONLINE:
        fit(configuration(task, expert, method, updates, dataset), folder, seed, "--ckpt_path", "last")
    rows = {row["name"]: row for row in results(there)}
    row = rows[method]
    if evaluated := TASKS[task].evaluated:
        options = ("--ckpt_path", "last", "--data.evaluation.final_episodes", str(evaluated))
        vlmq("validate", folder / "config.yaml", folder, *options, "--data.evaluation.policies", "[model]")
        row |= results(folder / "validate.json")[0]
    return {
        **{field: row.get(field, "") for field in FIELDS},
        "task": task, "expert": f"{expert:g}", "method": method, "seed": seed,
        "data_success": rows["data"]["success"], "minutes": round((time.monotonic() - started) / 60, 2),
    }  # fmt: skip


def fit(config: Changes, folder: Path, seed: int, *options: str) -> None:
    """Train in a process of its own, everything under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config["trainer"]["default_root_dir"] = str(folder)
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    vlmq("fit", path, folder, "--seed_everything", str(seed), *options)


def vlmq(verb: str, config: Path, folder: Path, *options: str) -> None:
    """One of the verbs that take a configuration, its output in the folder's log."""
    command(folder, verb, "--config", str(config), *options)


def command(folder: Path, *words: str) -> None:
    """A command of `vlmq`, its output in the folder's log."""
    code = "import sys; from vlmq.cli import main; sys.exit(main())"
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        subprocess.run(
            [sys.executable, "-c", code, *words], check=True, env={"OMP_NUM_THREADS": "1", **os.environ},
            stdout=log, stderr=log,
        )  # fmt: skip


def results(path: Path) -> list[Changes]:
    """The rows that a verb left."""
    rows: list[Changes] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def read(path: Path) -> list[dict[str, str]]:
    """The rows so far."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, row: Changes, fields: Sequence[str] = FIELDS) -> None:
    """Add one unit's row, with a header where the file is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if new:
            writer.writeheader()
        writer.writerow(row)


def cells(rows: list[dict[str, str]]) -> Iterator[tuple[str, str, str, list[float]]]:
    """Task, share, method and the success of each seed."""
    for key in dict.fromkeys((row["task"], row["expert"], row["method"]) for row in rows):
        own = [float(r["success"]) for r in rows if (r["task"], r["expert"], r["method"]) == key]
        yield (*key, own)


def table(rows: list[dict[str, str]]) -> str:
    """Each cell's mean over seeds, then each method's mean and interquartile mean over the cells that all have."""
    lines = []
    for task, expert, method, success in cells(rows):
        interval = mean_over_seeds(success, bounds=(0, 1))
        lines.append(
            f"{task:11} expert {100 * float(expert):5.1f} %  {method:13} {100 * interval.value:5.1f} % "
            f"[{100 * interval.low:5.1f}, {100 * interval.high:5.1f}]  seeds {len(success)}"
        )
    methods: dict[str, dict[tuple[str, str], list[float]]] = {}
    for task, expert, method, success in cells(rows):
        methods.setdefault(method, {})[task, expert] = success
    shared = set.intersection(*(set(found) for found in methods.values())) if methods else set()
    lines.append(f"\nover {len(shared)} cells (stratified bootstrap over seeds, 95 %)")
    for method, found in methods.items():
        strata = [np.array(found[cell]) for cell in sorted(shared)]
        for name, statistic in (("mean", None), ("IQM", interquartile_mean)):
            value, low, high = stratified_bootstrap(strata, statistic)
            interval = f"[{100 * low:5.1f}, {100 * high:5.1f}]" if isfinite(low) else "(a cell of one seed)"
            lines.append(f"{method:13} {name:4} {100 * value:5.1f} % {interval}")
    return "\n".join(lines)


def draw(task: str, rows: list[dict[str, str]], path: Path) -> Path:
    """Success over the share of expert play, a line for each method; of one share, a column with every seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    found = [(expert, method, success) for name, expert, method, success in cells(rows) if name == task]
    methods = list(dict.fromkeys(method for _, method, _ in found))
    shares = sorted({float(expert) for expert, _, _ in found})
    for column, method in enumerate(methods):
        own = sorted((float(expert), success) for expert, name, success in found if name == method)
        intervals = [mean_over_seeds(success, bounds=(0, 1)) for _, success in own]
        mean, low, high = (100 * np.array(ends) for ends in zip(*intervals, strict=True))
        places = [100 * share if len(shares) > 1 else column for share, _ in own]
        axes.errorbar(places, mean, [mean - low, high - mean], marker="o", capsize=3, label=method)
        if len(shares) == 1:
            (_, success), *_ = own
            axes.plot([column + 0.15] * len(success), 100 * np.array(success), "k.", alpha=0.5)
    data = [
        [float(r["data_success"]) for r in rows if r["task"] == task and float(r["expert"]) == s]
        for s in shares
    ]
    of_data = [100 * float(np.mean(sorted(set(one)))) for one in data]
    if len(shares) > 1:
        axes.plot([100 * share for share in shares], of_data, "k:", label="the data, mean of seeds")
        axes.set_xlabel("episodes played by the expert, %")
        axes.legend()
    else:
        axes.axhline(of_data[0], color="k", linestyle=":")
        axes.annotate(
            "the data, mean of seeds", (-0.45, of_data[0]), xytext=(0, 3), textcoords="offset points"
        )
        axes.set_xticks(range(len(methods)), methods)
        axes.set_xlim(-0.5, len(methods) - 0.5)
        axes.set_xlabel(f"{100 * shares[0]:g} % of the episodes played by the expert; a dot is a seed")
    axes.set(ylabel="success, %", ylim=(-2, 102), title=task)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


if __name__ == "__main__":
    main()
