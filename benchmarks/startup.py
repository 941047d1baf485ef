"""What it costs to be asked something: CPU seconds and wall time of light commands, beside bare Python and peers.

    python benchmarks/startup.py [--rounds 9] [--quick]

Each command is a process of its own; the contestants take turns within every round, after one unmeasured run of each
that fills the page cache and the compiled modules. CPU seconds are user and system time of the command and all it
started. The peer is LightningCLI's `--help` of a script that has nothing but a model of one layer; bare Python, the
import of torch and the import of Lightning stand beside it as what no command line built on them can be under.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import Figures, ratio, table

PEER_SCRIPT = '''\
"""The least that LightningCLI can be asked for help about."""

import torch
from lightning import LightningModule
from lightning.pytorch.cli import LightningCLI


class Model(LightningModule):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(width, 1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


if __name__ == "__main__":
    LightningCLI(Model)
'''
VLMQ = [sys.executable, "-m", "vlmq.cli"]
PYTHON = [sys.executable, "-c"]
PAIRS = (
    ("vlmq --help", "python -c pass"),
    ("vlmq envs", "python -c pass"),
    ("import vlmq.api", "python -c pass"),
    ("vlmq --help", "import torch"),
    ("vlmq fit --help", "import lightning"),
    ("vlmq fit --help", "LightningCLI fit --help"),
)


def main() -> None:
    """Print a table of medians, and the ratios last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="one round")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory(prefix="vlmq-startup-") as folder:
        script = Path(folder, "peer.py")
        script.write_text(PEER_SCRIPT, encoding="utf-8")
        commands = {
            "python -c pass": [*PYTHON, "pass"],
            "import vlmq.api": [*PYTHON, "import vlmq.api"],
            "vlmq --help": [*VLMQ, "--help"],
            "vlmq envs": [*VLMQ, "envs"],
            "import torch": [*PYTHON, "import torch"],
            "import lightning": [*PYTHON, "import lightning"],
            "vlmq fit --help": [*VLMQ, "fit", "--help"],
            "LightningCLI fit --help": [sys.executable, str(script), "fit", "--help"],
        }
        cpu, wall = measure(commands, rounds)
    print(table(cpu, "CPU s"))
    print(table(wall, "s of wall time"))
    print()
    for ours, theirs in PAIRS:
        print(f"{ours} over {theirs}: CPU {ratio(cpu, ours, theirs)}, wall {ratio(wall, ours, theirs)}")


def measure(commands: dict[str, list[str]], rounds: int) -> tuple[Figures, Figures]:
    """CPU seconds and wall time of every command in every round; who begins moves on."""
    cpu: Figures = {name: [] for name in commands}
    wall: Figures = {name: [] for name in commands}
    names = list(commands)
    for number in range(-1, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            before, started = os.times(), time.perf_counter()
            done = subprocess.run(commands[name], capture_output=True, text=True)
            taken, after = time.perf_counter() - started, os.times()
            if done.returncode != 0:
                raise SystemExit(f"{name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
            if number >= 0:
                wall[name].append(taken)
                spent = after.children_user - before.children_user
                cpu[name].append(spent + after.children_system - before.children_system)
        if number >= 0:
            told = ", ".join(f"{name} {cpu[name][-1]:.2f}" for name in names)
            print(f"round {number + 1} of {rounds}: {told} CPU s", flush=True)
    return cpu, wall


if __name__ == "__main__":
    main()
