"""`vlmq report RUN`: a run's results, curves and episodes as its checkpoint sees them, token by token, on one page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from vlmq.api import Episode, UserError
from vlmq.env.by_hand import ByHand
from vlmq.report import page, source
from vlmq.report.charts import Chart, logged_charts, success_chart
from vlmq.report.plots import Band, Point
from vlmq.report.results import Row, read_results
from vlmq.report.seen import SeenEpisode
from vlmq.train import checkpoint
from vlmq.trained import watch
from vlmq.trained.reader import Reader

RECORDED, PLAYED = 50, 12
"""Episodes by default: of each store, and played by each of two checkpoints."""

_Labelled = Iterator[tuple[Episode, str]]


@dataclass(frozen=True)
class Wanted:
    """What a page shall show.

    Attributes:
        checkpoint: `last`, `best` or a file: whose critic judges, and whose policy speaks.
        episodes: how many of the agent's own play (the latest), and how many of the dataset (evenly spread); None for
            the usual number.
        indices: of episodes; these alone are shown then, of own play and dataset.
        against: another run, checkpoint file, or `best` or `last` of the same run: both play the same held-out
            episodes.
        store: show these recorded episodes in place of the run's own.
        out: where to; `report.html` in the run's folder by default.
    """

    checkpoint: str = "last"
    episodes: int | None = None
    indices: Sequence[int] = ()
    against: str | None = None
    store: Path | None = None
    out: Path | None = None


def write_page(run: str | Path, wanted: Wanted = Wanted()) -> Path:
    """Write the page of a run; gives its path.

    Args:
        run: the run's folder, or a checkpoint file.
        wanted: what it shall show.

    Raises:
        UserError: the folder is no run's, or holds no checkpoint; or what is wanted is not there.
    """
    path = watch.resolve(run, wanted.checkpoint)
    folder = watch.run_of(path)
    reader = reader_of(path)
    count = wanted.episodes or RECORDED
    notes: list[str] = []
    recorded = reader.see(_bar(_recorded(folder, wanted, count, reader, notes), "reading"))
    title = folder.name if wanted.store is None else str(wanted.store)
    subtitle = f"checkpoint {path.name}"
    shown: Iterable[SeenEpisode] = recorded
    if wanted.against is not None:
        other = _other(wanted.against, folder)
        names = _names(path, other)
        title, subtitle = f"{names[0]} and {names[1]}", "the same held-out episodes, played greedily by both"
        rivals = [(reader, names[0]), (reader_of(other), names[1])]
        theirs = rivals[1][0].return_range
        if abs(theirs - reader.return_range) > 0.01 * reader.return_range:
            notes.append(
                f"Q, V and advantage of {names[1]} are fractions of its own return range, {theirs:.4g}."
            )
        shown = chain(_played(rivals, folder, other, wanted.episodes or PLAYED), recorded)
    config = watch.config_of(folder)
    env = (config.get("data") or {}).get("env")
    head = page.Head(
        title=title,
        subtitle=", ".join(filter(None, [env, subtitle])),
        margin=float(_last_filter(config).get("margin", -0.03)),
        return_range=reader.return_range,
        rows=_rows(folder),
        charts=_charts(path, folder),
        notes=notes,
        paired=wanted.against is not None,
    )
    target = wanted.out or (folder / "report.html" if wanted.store is None else wanted.store / "report.html")
    page.write_page(target, head, shown)
    return target


def dataset_of(run: Path) -> Path:
    """The folder of the episodes that a run learnt from."""
    return Path((watch.config_of(run).get("data") or {}).get("dataset") or run / "dataset")


def reader_of(path: Path) -> Reader:
    """A checkpoint's reader, which asks as the last filter of its run did."""
    last = _last_filter(watch.config_of(watch.run_of(path)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scaled = last.get("margin_scale") == "likelihood"
    observed, until = float(last.get("observed") or 0.0), last.get("observed_until", "fragment")
    return Reader(path, device=device, observed=observed, until=until, scaled=scaled)


def write_played(out: Path, path: Path, reader: Reader, episodes: Sequence[Episode]) -> None:
    """Write a page of episodes that a checkpoint has just played."""
    config = watch.config_of(watch.run_of(path))
    margin = float(_last_filter(config).get("margin", -0.03))
    env = episodes[0].env_id if episodes else ""
    head = page.Head(watch.run_of(path).name, f"{env}, played by {path.name}", margin, reader.return_range)
    page.write_page(out, head, reader.see((episode, path.stem) for episode in episodes))


def _recorded(folder: Path, wanted: Wanted, count: int, reader: Reader, notes: list[str]) -> _Labelled:
    if wanted.store is not None:
        stores = [(wanted.store.name, wanted.store, False)]
    else:
        stores = [("own play", folder / "replay", True), ("dataset", dataset_of(folder), False)]
    foreign = 0
    for origin, store, latest in stores:
        if not source.is_store(store):
            continue
        found = (
            source.these(store, wanted.indices)
            if wanted.indices
            else source.some(store, count, latest=latest)
        )
        for episode in found:
            foreign += not reader.can_read(episode)
            yield episode, origin
    if foreign:
        notes.append(
            f"{foreign:,} episodes hold replies of another tokenizer, which this checkpoint cannot judge; they are "
            "shown as they were recorded."
        )


def _played(
    rivals: Sequence[tuple[Reader, str]], folder: Path, other: Path, count: int
) -> Iterator[SeenEpisode]:
    """The same held-out episodes by both, those of one seed one after the other."""
    task = watch.task_of(watch.config_of(folder))
    if task is None:
        raise UserError(
            f"{folder} names no environment to play in (data.env), so nothing can be compared there."
        )
    theirs = watch.task_of(watch.config_of(watch.run_of(other)))
    if theirs is not None and theirs.env_id != task.env_id:
        raise UserError(
            f"{folder} plays {task.env_id}, but {watch.run_of(other)} plays {theirs.env_id}; compare runs of one "
            "environment."
        )
    with ByHand(task.env_id, task.env_args) as env:
        for index in _bar(range(count), "playing"):
            for reader, name in rivals:
                episode = watch.play(reader.agent, env, task, task.held_out_seed(index), index=index)
                yield from reader.see([(episode, name)])


def _other(against: str, folder: Path) -> Path:
    if against in ("last", "best"):
        return checkpoint.find(against, folder)
    return watch.resolve(against)


def _names(one: Path, other: Path) -> list[str]:
    """Short names that tell two checkpoints apart: their runs, or their own."""
    runs = [watch.run_of(path).name for path in (one, other)]
    if runs[0] != runs[1]:
        return runs
    return [path.stem for path in (one, other)] if one.stem != other.stem else [str(one), str(other)]


def _rows(folder: Path) -> list[Row]:
    results = folder / "results.json"
    return read_results(results) if results.is_file() else []


def _charts(path: Path, folder: Path) -> list[Chart]:
    """Success as the checkpoint remembers it, and what the run logged."""
    content = checkpoint.read(path)["vlmq"]
    points = [Point(**point) for point in content["points"]]
    phases = (watch.config_of(folder).get("model") or {}).get("phases") or []
    names = [str(phase.get("name")) for phase in phases] or list(content["phases"])
    charts = logged_charts(folder, names)
    if points:
        rows = {row["name"]: row["success"] for row in content["rows"]}
        charts.insert(0, success_chart(points, _line(phases, points), rows.get("data")))
    return charts


def _line(phases: Sequence[dict[str, Any]], points: Sequence[Point]) -> list[Band]:
    """The phases that follow one another, baselines left out, as far as the run has come."""
    start, bands, last = 0, list[Band](), max(point.update for point in points)
    for phase in phases:
        updates = int(phase.get("updates") or 0)
        if not phase.get("baseline") and start < last:
            bands.append(Band(str(phase.get("name")), start, start + updates))
            start += updates
    if bands:
        bands[-1] = replace(bands[-1], end=min(bands[-1].end, max(last, bands[-1].start)))
    return bands


def _last_filter(config: dict[str, Any]) -> dict[str, Any]:
    """The run's last phase with a margin; nothing where there is none."""
    phases = (config.get("model") or {}).get("phases") or []
    found: list[dict[str, Any]] = [p for p in phases if p.get("filter") in ("binary", "turn_and")]
    return found[-1] if found else {}


def _bar(things: Iterable[Any], title: str) -> Iterator[Any]:
    """A progress bar, where it takes longer than a moment."""
    yield from tqdm(things, desc=title, unit="episode", leave=False, delay=1.0, disable=None)
