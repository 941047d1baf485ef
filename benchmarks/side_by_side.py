"""Contestants measured in turns: rounds that alternate, ratios within a round with their spread, memory in a child."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Figures = dict[str, list[float]]
"""One figure a round for each contestant."""


def alternate(contestants: Mapping[str, Callable[[int], float]], rounds: int, unit: str) -> Figures:
    """One figure of everybody each round; who begins moves on by one from round to round.

    Args:
        contestants: each is given the round's number and returns its figure.
        rounds: how many.
        unit: of the figures, for the lines that are printed meanwhile.
    """
    names = list(contestants)
    found: Figures = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contestants[name](number))
        told = ", ".join(f"{name} {found[name][-1]:,.4g}" for name in names)
        print(f"round {number + 1} of {rounds}: {told} {unit}", flush=True)
    return found


def best(figures: Figures, among: list[str], *, higher: bool = True) -> str:
    """Whose median is the best."""
    return (max if higher else min)(among, key=lambda name: float(np.median(figures[name])))


def ratio(figures: Figures, ours: str, theirs: str) -> str:
    """Ours over theirs within each round: median, and the lowest and highest of them."""
    found = np.array(figures[ours]) / np.array(figures[theirs])
    return (
        f"{np.median(found):.2f} (lowest {found.min():.2f}, highest {found.max():.2f} of {len(found)} rounds)"
    )


def table(figures: Figures, unit: str) -> str:
    """A line for each contestant: median, lowest, highest."""
    return "\n".join(
        f"{name:28} {np.median(found):12,.4g} {unit} (lowest {min(found):,.4g}, highest {max(found):,.4g})"
        for name, found in figures.items()
    )


def child(script: str, *arguments: object) -> dict[str, Any]:
    """The JSON object on the last line that a script prints in a process of its own."""
    done = subprocess.run([sys.executable, script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{Path(script).name} {' '.join(map(str, arguments))} ended with {done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def memory_mb() -> tuple[float, float]:
    """Proportional set size of this process and, of that, what no file backs, in MB.

    The first counts the pages of mapped files that were touched, the second does not.
    """
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return kilobytes["Pss"] / 1024, kilobytes["Anonymous"] / 1024


class Peak:
    """The largest of `memory_mb` while a `with` block runs.

    Attributes:
        pss: MB.
        anonymous: MB.
    """

    def __init__(self, every_s: float = 0.01) -> None:
        self.pss, self.anonymous = memory_mb()
        self._every_s, self._stop = every_s, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._look()
            time.sleep(self._every_s)

    def _look(self) -> None:
        pss, anonymous = memory_mb()
        self.pss, self.anonymous = max(self.pss, pss), max(self.anonymous, anonymous)
