"""Pictures of a run: the learning curve as a PNG file. matplotlib is imported only when one is drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from vlmq.report.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#7a8594", "#c77b1e", "#2f6fb3", "#1f8a5b", "#8c4fa3", "#b23a48")
_INK, _FAINT, _GRID, _SHADE = "#22272e", "#6b7480", "#e3e6ea", "#f4f6f8"
_CLOSE = 0.05
"""Success rates that are nearer than this would write their names over one another."""
_LETTER = 0.0145
"""Width of a letter of a phase's name as a share of the axis: a name wider than its band stands upright."""


@dataclass(frozen=True)
class Point:
    """One evaluation.

    Attributes:
        update: optimizer updates made before it, counted over the whole run.
        success: share of episodes that succeeded, 0..1.
        low: lower end of its interval, 0..1.
        high: upper end of it.
        phase: the phase of training it belongs to, "warmup" for instance.
        tokens: positions that the updates behind it were made of.
        seconds: what those updates took, with the play and the batches they waited for.
        own_turns: turns of own play so far.
    """

    update: int
    success: float
    low: float
    high: float
    phase: str
    tokens: int = 0
    seconds: float = 0.0
    own_turns: int = 0


@dataclass(frozen=True)
class Band:
    """A stretch of updates drawn as one background: a phase from `start` to `end`."""

    phase: str
    start: int
    end: int


def learning_curve(
    points: Sequence[Point],
    path: str | os.PathLike[str],
    *,
    title: str,
    bands: Sequence[Band] = (),
    data_success: float | None = None,
) -> None:
    """Draw success over updates, one line per phase with its interval shaded, and write a PNG file.

    Phases without a band are branches: they are drawn from the point they left the main line at, and named at
    their end. Without `bands` each phase reaches from its first point to the first point of the next. `data_success`,
    a share in 0..1, is drawn as a horizontal line: what the training data themselves achieved.

    Raises:
        ValueError: there is no point to draw.
    """
    if not points:
        raise ValueError("a learning curve needs at least one point")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = sorted(points, key=lambda point: point.update)
    bands = bands or _bands_of(points)
    figure = Figure(figsize=(8.0, 4.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _style(axes, title, points, bands)
    _draw_bands(axes, bands)
    below = data_success is not None and _words_below(points, bands, data_success)
    if data_success is not None:
        _draw_data_line(axes, data_success, below=below)
    _draw_lines(axes, points, bands, data_success, below=below)

    _write(figure, path)


def draw_arms(arms: Sequence[tuple[str, Interval]], path: str | os.PathLike[str]) -> None:
    """Draw one bar of success an arm, the first on top, with its interval, and write a PNG file.

    Args:
        arms: name and success, 0..1.
        path: the file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(8.0, 0.9 + 0.45 * len(arms)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, (_, success) in enumerate(arms):
        colour = _COLOURS[place % len(_COLOURS)]
        axes.barh(place, success.value, height=0.6, color=colour, alpha=0.75)
        axes.plot(
            [success.low, success.high], [place, place], color=_INK, linewidth=1.6, solid_capstyle="butt"
        )
        axes.text(1.02, place, _percent(success.value), va="center", fontsize=9, color=_INK)
    axes.set_yticks(range(len(arms)), [phase_label(name) for name, _ in arms], fontsize=9, color=_INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_xlabel("success; the dark line is its 95 % interval over seeds", color=_FAINT)
    axes.tick_params(colors=_FAINT, length=0)
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "left")
        spine.set_color(_GRID)
    _write(figure, path)


def _write(figure: Figure, path: str | os.PathLike[str]) -> None:
    """As a PNG file, whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        figure.savefig(part, format="png")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def phase_label(phase: str) -> str:
    """A phase's name for people: "afsft_offline" -> "AFSFT offline"."""
    words = phase.replace("_", " ").replace("-", " ").split()
    return " ".join(word.upper() if word.lower() in {"sft", "afsft", "ppo"} else word for word in words)


def _words_below(points: Sequence[Point], bands: Sequence[Band], data_success: float) -> bool:
    """Whether the words of the data's line stand below it: opposite to the branch that ends nearest to it.

    Without branches, opposite to where the run itself ends.
    """
    main = {band.phase for band in bands}
    ends = [last.success for phase, last in {p.phase: p for p in points}.items() if phase not in main]
    if not ends:
        return points[-1].success >= data_success
    return min(ends, key=lambda end: abs(end - data_success)) >= data_success


def _bands_of(points: Sequence[Point]) -> list[Band]:
    starts = [(phase, next(group).update) for phase, group in groupby(points, key=lambda p: p.phase)]
    ends = [start for _, start in starts[1:]] + [points[-1].update]
    return [Band(phase, start, end) for (phase, start), end in zip(starts, ends, strict=True)]


def _style(axes: Axes, title: str, points: Sequence[Point], bands: Sequence[Band]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

    first = min(points[0].update, *(band.start for band in bands))
    last = max(points[-1].update, first + 1, *(band.end for band in bands))
    # The margin on the right holds the last value.
    axes.set_xlim(first, last + 0.09 * (last - first))
    axes.set_ylim(0, 1.12)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda update, _: f"{update:,.0f}"))
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=_INK, pad=12)
    axes.set_xlabel("updates", color=_FAINT)
    axes.set_ylabel("success", color=_FAINT)
    axes.tick_params(colors=_FAINT, length=0, pad=6)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(_GRID)


def _draw_bands(axes: Axes, bands: Sequence[Band]) -> None:
    left, right = axes.get_xlim()
    colours = _colours(bands)
    for number, band in enumerate(bands):
        end = right if number == len(bands) - 1 else band.end
        if number % 2 == 0:
            axes.axvspan(band.start, end, color=_SHADE, linewidth=0, zorder=0)
        narrow = end - band.start < _LETTER * (len(phase_label(band.phase)) + 1) * (right - left)
        axes.text(
            (band.start + end) / 2,
            1.105 if narrow else 1.06,
            phase_label(band.phase),
            rotation=90 if narrow else 0,
            ha="center",
            va="top" if narrow else "center",
            fontsize=9,
            fontweight="bold",
            color=colours[band.phase],
            zorder=5,
        )


def _draw_data_line(axes: Axes, data_success: float, *, below: bool) -> None:
    axes.axhline(data_success, color=_FAINT, linewidth=1.1, linestyle=(0, (4, 3)), zorder=2)
    axes.annotate(
        f"the data's own success {_percent(data_success)}",
        (1, data_success),
        xycoords=("axes fraction", "data"),
        xytext=(-4, -5 if below else 5),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        fontsize=9,
        color=_FAINT,
        zorder=5,
    )


def _draw_lines(
    axes: Axes, points: Sequence[Point], bands: Sequence[Band], data_success: float | None, *, below: bool
) -> None:
    colours = _colours([*bands, *(Band(point.phase, 0, 0) for point in points)])
    main = {band.phase for band in bands}
    for phase in dict.fromkeys(point.phase for point in points):
        run = [point for point in points if point.phase == phase]
        _draw_thread(axes, run[0], points, main)
        _draw_phase(axes, run, colours[phase])
        if phase not in main:
            words = f"{phase_label(phase)} {_percent(run[-1].success)}"
            height = run[-1].success
            if data_success is not None and abs(height - data_success) < _CLOSE:
                # Clear of the line of the data's own success, whose words stand on its other side.
                height = data_success + (_CLOSE if below else -_CLOSE)
            _say(axes, replace(run[-1], success=height), words, colours[phase], size=9)
    axes.text(
        0.99, 0.02, "shaded: 95 % interval", transform=axes.transAxes, ha="right", fontsize=8, color=_FAINT
    )
    final = max((p for p in points if p.phase in main), key=lambda point: point.update, default=None)
    if final is not None:
        _say(axes, final, _percent(final.success), colours[final.phase], size=11)


def _draw_thread(axes: Axes, first: Point, points: Sequence[Point], main: set[str]) -> None:
    """Join a phase to the point it went on from: the latest one before it, of the main line where two are."""
    before = [p for p in points if p.update < first.update and p.phase != first.phase]
    if before:
        origin = max(before, key=lambda point: (point.update, point.phase in main))
        axes.plot(
            [origin.update, first.update],
            [origin.success, first.success],
            color=_GRID,
            linewidth=1.5,
            zorder=2,
        )


def _draw_phase(axes: Axes, run: Sequence[Point], colour: str) -> None:
    updates = [point.update for point in run]
    if len(run) == 1:  # nothing to shade between: an upright bar
        axes.vlines(updates, run[0].low, run[0].high, color=colour, alpha=0.3, linewidth=4)
    axes.fill_between(
        updates,
        [point.low for point in run],
        [point.high for point in run],
        color=colour,
        alpha=0.16,
        linewidth=0,
        zorder=1,
    )
    axes.plot(
        updates,
        [point.success for point in run],
        color=colour,
        linewidth=2.2,
        marker="o",
        markersize=4.5,
        markeredgecolor="white",
        markeredgewidth=0.8,
        solid_capstyle="round",
        zorder=4,
        clip_on=False,
    )


def _say(axes: Axes, point: Point, text: str, colour: str, *, size: int) -> None:
    axes.annotate(
        text,
        (point.update, point.success),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=size,
        fontweight="bold",
        color=colour,
        zorder=5,
    )


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _colours(bands: Sequence[Band]) -> dict[str, str]:
    """One colour per phase name, in order of first appearance."""
    phases = list(dict.fromkeys(band.phase for band in bands))
    return {phase: _COLOURS[number % len(_COLOURS)] for number, phase in enumerate(phases)}
