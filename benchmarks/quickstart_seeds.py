"""The quickstart over training seeds: every row of its table, with intervals over seeds.

    python benchmarks/quickstart_seeds.py --seeds 1 2 3 4 5
    python benchmarks/quickstart_seeds.py --variant sft_low --seeds 1 2 3

Each seed is one `vlmq fit` in a process of its own, with its own dataset, warm-up and evaluation episodes; its rows
are appended to the CSV when it ends, and a seed that is in the CSV already is not run again. After training, the
last checkpoint is evaluated once more with blanked pictures (row `blind`) and on other seeds (row `again`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from vlmq.report.stats import mean_over_seeds

ROOT = Path(__file__).resolve().parent.parent
CSV = ROOT / "benchmarks" / "results" / "quickstart_seeds.csv"
FIELDS = (
    "variant", "seed", "row", "success", "low", "high", "return", "return_positive", "syntax",
    "success_sampled", "syntax_sampled", "episodes", "updates", "minutes",
)  # fmt: skip


def main() -> None:
    """Run what is missing, then print the table of every variant in the CSV."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--variant", default="default", choices=sorted(VARIANTS))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "quickstart_seeds")
    parser.add_argument("--csv", type=Path, default=CSV)
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        if (arguments.variant, str(seed)) not in {(r["variant"], r["seed"]) for r in read(arguments.csv)}:
            append(
                arguments.csv, run(arguments.variant, seed, arguments.runs / f"{arguments.variant}-{seed}")
            )
    summarise(read(arguments.csv))


def run(variant: str, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Train one seed and give its rows."""
    config = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    VARIANTS[variant](config)
    config["trainer"]["default_root_dir"] = str(folder)
    config["trainer"]["enable_progress_bar"] = False
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "quickstart.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    started = time.monotonic()
    _vlmq("fit", "--config", path, "--seed_everything", seed)
    minutes = (time.monotonic() - started) / 60
    rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))["rows"]
    rows += _validate(path, seed, folder, "blind", "--data.evaluation.blank_images", "true")
    rows += _validate(path, seed, folder, "again", "--data.evaluation.seed", "1")
    return [
        {**{k: row.get(k, "") for k in FIELDS}, "variant": variant, "seed": seed, "row": row["name"],
         "minutes": round(minutes, 2)}
        for row in rows
    ]  # fmt: skip


def _validate(path: Path, seed: int, folder: Path, name: str, *extra: str) -> list[dict[str, Any]]:
    _vlmq("validate", "--config", path, "--seed_everything", seed, "--ckpt_path", "last", *extra)
    row = json.loads((folder / "validate.json").read_text(encoding="utf-8"))["rows"][0]
    return [{**row, "name": name}]


def _vlmq(*arguments: Any) -> None:
    """Run the command line in a process of its own, one thread each: several seeds may run side by side."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    code = "import sys; from vlmq.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, env=environment)


def _keep(config: dict[str, Any], *names: str) -> None:
    config["model"]["phases"] = [phase for phase in config["model"]["phases"] if phase["name"] in names]


def _sft(rate: float) -> Any:
    def change(config: dict[str, Any]) -> None:
        _keep(config, "warmup", "sft")
        config["model"]["phases"][-1] |= {"learning_rate": rate, "baseline": False}

    return change


def _random_weights(config: dict[str, Any]) -> None:
    config["model"]["weights"] = "random"


VARIANTS: dict[str, Any] = {
    "default": lambda config: None,
    "sft_low": _sft(0.3),
    "sft_mid": _sft(1.0),
    "sft_high": _sft(3.0),
    "random_weights": _random_weights,
}


def read(path: Path) -> list[dict[str, str]]:
    """The rows so far."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add one seed's rows, with a header where the file is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def summarise(rows: list[dict[str, str]]) -> None:
    """Mean over seeds with its 95 % interval, and the worst seed, for every row of the table."""
    for variant in dict.fromkeys(row["variant"] for row in rows):
        print(f"\n{variant}")
        own = [row for row in rows if row["variant"] == variant]
        for name in dict.fromkeys(row["row"] for row in own):
            seeds = [row for row in own if row["row"] == name]
            success = [float(row["success"]) for row in seeds]
            interval = mean_over_seeds(success, bounds=(0, 1))
            positive = sum(float(row["return_positive"]) for row in seeds) / len(seeds)
            syntax = min(float(row["syntax"]) for row in seeds)
            print(
                f"  {name:14} success {100 * interval.value:5.1f} % [{100 * interval.low:5.1f}, "
                f"{100 * interval.high:5.1f}] worst {100 * min(success):5.1f} %  return > 0 {100 * positive:5.1f} %  "
                f"worst syntax {100 * syntax:5.1f} %  seeds {len(seeds)}"
            )


if __name__ == "__main__":
    main()
