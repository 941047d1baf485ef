"""The curves of a page as plain numbers: success, what was logged, and the critic held against what followed."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vlmq.report.plots import Band, Point, phase_label
from vlmq.report.seen import SeenEpisode
from vlmq.report.stats import bootstrap

MOST_POINTS = 400
"""Of a curve: more cannot be told apart on a screen."""
_BINS, _LEAST_IN_A_BIN = 10, 10
_LOGGED = (
    ("Pass rate by source", "share of the tokens that the filter keeps", ("pass_rate",), "pass_rate/"),
    (
        "Critic on its own data",
        "share of its targets' variance that Q explains; 1 is all of it",
        ("critic/explained_variance", "critic/held_out_explained_variance"),
        "",
    ),
    ("Return of held-out play", "mean undiscounted return of an episode", ("val/return",), ""),
    ("Loss of the actor", "mean over replies", ("train/actor_loss",), ""),
    ("Loss of the critic", "in squared return ranges", ("train/critic_loss",), ""),
)
_PERCENT = ("Pass rate by source",)
_NAMES = {
    "pass_rate": "all",
    "critic/explained_variance": "trained on",
    "critic/held_out_explained_variance": "held out",
    "val/return": "return",
    "train/actor_loss": "loss",
    "train/critic_loss": "loss",
}


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        name: of it.
        points: (x, y), or (x, y, low, high) with an interval.
        marked: whether each point is marked.
        joined: whether points are joined by a line.
    """

    name: str
    points: Sequence[tuple[float, ...]]
    marked: bool = False
    joined: bool = True


@dataclass(frozen=True)
class Chart:
    """One plot.

    Attributes:
        title: of it.
        note: one line that says what is drawn.
        series: the curves.
        x: what the axis to the right counts.
        bands: stretches of it with a name.
        percent: whether values are shares.
        diagonal: whether x and y are the same quantity, and the line x = y is drawn.
        level: a value drawn as a horizontal line, and its name.
        aside: whether it is shown only to those who ask for more.
    """

    title: str
    note: str
    series: Sequence[Series]
    x: str = "updates"
    bands: Sequence[Band] = ()
    percent: bool = False
    diagonal: bool = False
    level: tuple[float, str] | None = None
    aside: bool = False


@dataclass
class Calibration:
    """Gathers what the critic said after each reply, and what return then followed.

    Attributes:
        pairs: by origin, (Q, observed return) in fractions of the return range.
    """

    pairs: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def see(self, episode: SeenEpisode) -> None:
        """Take an episode's turns, as far as both numbers are known."""
        for turn in episode.turns:
            if turn.tokens and turn.observed is not None and math.isfinite(turn.tokens[-1].q):
                self.pairs.setdefault(episode.origin, []).append((turn.tokens[-1].q, turn.observed))

    def chart(self) -> Chart | None:
        """Mean return against mean Q, in bins of equally many replies; None where there are too few."""
        series = [
            Series(origin, _binned(pairs), marked=True)
            for origin, pairs in self.pairs.items()
            if len(pairs) >= 2 * _LEAST_IN_A_BIN
        ]
        if not series:
            return None
        return Chart(
            "Calibration of the critic",
            "mean discounted return that followed against Q of the reply, in return ranges, with 95 % intervals. Q "
            "speaks of the policy as it is now; old play may have been another's",
            series,
            x="Q",
            diagonal=True,
        )


def success_chart(points: Sequence[Point], bands: Sequence[Band], data_success: float | None) -> Chart:
    """Success over updates, a curve for each phase."""
    phases = dict.fromkeys(point.phase for point in points)
    series = [
        Series(
            phase_label(phase),
            [(p.update, p.success, p.low, p.high) for p in points if p.phase == phase],
            marked=True,
        )
        for phase in phases
    ]
    level = None if data_success is None else (data_success, "the data's own")
    note = "share of held-out episodes that succeed, played greedily, with 95 % intervals"
    named = [Band(phase_label(band.phase), band.start, band.end) for band in bands]
    return Chart("Success", note, series, bands=named, percent=True, level=level)


def logged_charts(run: Path, phases: Sequence[str]) -> list[Chart]:
    """What a run's CSV files hold, of a resumed one the later lines; nothing where there are none.

    Args:
        run: its folder.
        phases: names of its phases.
    """
    columns, entered = _logged(run)
    bands = [Band(_phase_name(phases, band.phase), band.start, band.end) for band in _bands(entered)]
    charts = []
    for title, note, names, family in _LOGGED:
        chosen = [name for name in names if name in columns]
        chosen += sorted(name for name in columns if family and name.startswith(family))
        series = [
            Series(_NAMES.get(name, name.partition("/")[2]), _thinned(columns[name])) for name in chosen
        ]
        if series:
            apart = title == "Return of held-out play"
            series = [Series(one.name, one.points, marked=apart) for one in series]
            shares = title in _PERCENT
            across = "updates, baselines included"
            charts.append(Chart(title, note, series, across, bands, percent=shares, aside=not shares))
    return charts


def _logged(run: Path) -> tuple[dict[str, dict[int, float]], dict[int, int]]:
    columns: dict[str, dict[int, float]] = {}
    phases: dict[int, int] = {}
    versions = sorted(run.glob("logs/version_*/metrics.csv"), key=lambda path: (len(path.parts[-2]), path))
    for path in versions:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            for line in csv.DictReader(file):
                step = _number(line.get("step"))
                if step is None:
                    continue  # a line that was cut off as it was written
                for name, text in line.items():
                    value = _number(text)
                    if value is not None and isinstance(name, str):
                        columns.setdefault(name, {})[int(step)] = value
                phase = _number(line.get("phase"))
                if phase is not None:
                    phases[int(step)] = int(phase)
    return columns, phases


def _number(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) and text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _bands(phases: dict[int, int]) -> list[Band]:
    """The phases by number, as they followed one another in the log."""
    bands: list[Band] = []
    for step, phase in sorted(phases.items()):
        if bands and bands[-1].phase == str(phase):
            bands[-1] = Band(str(phase), bands[-1].start, step)
        else:
            bands.append(Band(str(phase), step, step))
    return bands


def _phase_name(phases: Sequence[str], number: str) -> str:
    return phase_label(phases[int(number)]) if int(number) < len(phases) else number


def _thinned(values: dict[int, float]) -> list[tuple[float, ...]]:
    """Means of neighbours, so that no more than MOST_POINTS are left."""
    steps = sorted(values)
    group = max(1, math.ceil(len(steps) / MOST_POINTS))
    parts = [steps[start : start + group] for start in range(0, len(steps), group)]
    return [(float(np.mean(part)), float(np.mean([values[step] for step in part]))) for part in parts]


def _binned(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, ...]]:
    ordered = np.array(sorted(pairs))
    count = max(1, min(_BINS, len(ordered) // _LEAST_IN_A_BIN))
    points: list[tuple[float, ...]] = []
    for part in np.array_split(ordered, count):
        mean, low, high = bootstrap(part[:, 1], resamples=500)
        points.append((float(part[:, 0].mean()), mean, low, high))
    return points
