"""`vlmq report STORE`: recorded episodes on a page, as they are; no model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from vlmq.api import Episode, UserError
from vlmq.data.store import EpisodeStore
from vlmq.report import source
from vlmq.report.page import Head, write_page
from vlmq.report.seen import as_recorded


def write_recorded(
    path: Path,
    *,
    episodes: int,
    indices: Sequence[int] = (),
    against: Path | None = None,
    out: Path | None = None,
) -> Path:
    """Write the page of a store or a JSONL file; gives its path.

    Args:
        path: the store's folder, or the file.
        episodes: how many, evenly spread over a store, or the first ones of a file.
        indices: of a store's episodes that are wanted; these alone are shown then.
        against: another store or file, whose episodes of the same seeds are shown beside these.
        out: where to; by default into the store's folder, or beside the file.

    Raises:
        UserError: an episode is not there, something is damaged, or the page cannot be written.
    """
    pages = [path] if against is None else [path, against]
    origins = [_short(path)] if against is None else _apart(path, against)
    shown = chain.from_iterable(
        ((episode, origin) for episode in _episodes(one, episodes, indices))
        for one, origin in zip(pages, origins, strict=True)
    )
    target = out or (path / "report.html" if path.is_dir() else path.with_suffix(".html"))
    head = Head(" and ".join(map(str, pages)), _about(path), paired=against is not None)
    write_page(target, head, (as_recorded(episode, origin) for episode, origin in shown))
    return target


def _episodes(path: Path, count: int, indices: Sequence[int]) -> Iterator[Episode]:
    if path.is_file():
        if indices:
            raise UserError(
                f"{path} has lines and no indices; `vlmq data import` makes a store of it, which has."
            )
        return source.told(path, count)
    return source.these(path, indices) if indices else source.some(path, count)


def _about(path: Path) -> str:
    if path.is_file():
        return "episodes of a JSONL file"
    with EpisodeStore.open(path) as store:
        made = [str(store.provenance[name]) for name in ("env", "source") if store.provenance.get(name)]
        return ", ".join([f"{len(store):,} recorded episodes", *made])


def _short(path: Path) -> str:
    return path.resolve().stem


def _apart(one: Path, other: Path) -> list[str]:
    """Names that tell two places apart."""
    names = [_short(one), _short(other)]
    return names if names[0] != names[1] else [str(one), str(other)]
