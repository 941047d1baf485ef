"""What is wrong with recorded episodes, all of it, each by its kind: of a store, a file, a dataset or an archive.

Loading stops at the first damage; this goes on to the end. Nothing is changed, unpacked or unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vlmq.api import DataError, Episode
from vlmq.data import jsonl, minari, parquet
from vlmq.data.archive import lint_archive
from vlmq.data.damage import Damage, Kind, kind_of
from vlmq.data.findings import Across, Findings, Problem
from vlmq.data.foreign.tally import Choices, Tally
from vlmq.data.lint_store import lint_store
from vlmq.data.sources import ARCHIVES, FOREIGN, SOURCES, guess_format


def lint(path: str | Path, source_format: str | None = None) -> Findings:
    """Look at everything in a store, JSONL file, dataset, foreign file or archive.

    Args:
        path: what to look at; a Minari dataset may be named by its id.
        source_format: what it is; None finds out.

    Raises:
        DataError: there is nothing there, or nothing that is known.
    """
    if source_format is not None and source_format not in SOURCES:
        raise DataError(f"there is no format {source_format!r}; choose one of {', '.join(SOURCES)}")
    if source_format is None and str(path).endswith(ARCHIVES) and Path(path).is_file():
        return lint_archive(Path(path))
    try:
        found = Findings(str(path), source_format or guess_format(path))
    except Damage as error:
        return Findings(str(path), "unknown", problems=[Problem(error.kind, str(error))])
    if found.format == "store":
        lint_store(Path(path), found)
    elif found.format == "jsonl":
        _watch(jsonl.numbered(_existing(path)), found)
    elif found.format == "hf":
        _watch(parquet.numbered(parquet.shards(Path(path))), found)
    elif found.format == "minari":
        _minari(path, found)
    else:
        _foreign(Path(path), found)
    return found


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file; correct the path")
    return Path(path)


def _watch(episodes: Iterable[tuple[str, Episode | DataError]], found: Findings) -> None:
    across = Across(found)
    for where, episode in episodes:
        if isinstance(episode, DataError):
            found.add(kind_of(episode), str(episode))
        else:
            across.see(episode, where)
    across.conclude()


def _minari(path: str | Path, found: Findings) -> None:
    try:
        _watch(minari.numbered(path), found)
    except Damage as error:
        found.add(error.kind, str(error))


def _foreign(path: Path, found: Findings) -> None:
    """What an importer leaves out, but for success, which is the user's to say."""
    tally = Tally()
    try:
        _watch(
            ((found.path, episode) for episode in FOREIGN[found.format](path, Choices(success=False), tally)),
            found,
        )
    except DataError as error:
        found.add(kind_of(error), str(error))
    for reason, count in tally.left_out.items():
        kind = Kind(reason) if reason in set(Kind) else Kind.FIELD
        for _ in range(count):
            found.add(kind, f"{reason} (first: {tally.first[reason]})")
    found.notes += [f"{note}: {n:,}" for note, n in tally.notes.most_common()]
