"""Copy the undamaged episodes of a damaged store to a new one, or put them in its place."""

from __future__ import annotations

import itertools
import mmap
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlmq.api import DataError, Episode
from vlmq.data import files
from vlmq.data.damage import Damage, Kind
from vlmq.data.images import ImageReader
from vlmq.data.schema import HEADER_BYTES, MAGIC, Record, is_intact, parse_header
from vlmq.data.store import EpisodeStore

SALVAGED_FROM = "salvaged_from"
"""In the provenance of a store: the damaged one that its episodes were copied from."""


@dataclass(frozen=True)
class SalvageReport:
    """What was found.

    Attributes:
        kept: episodes copied.
        damaged: stretches of the episode file that held no readable episode; several lost episodes in a row
            may be one stretch.
        without_picture: episodes left out because one of their pictures is damaged.
    """

    kept: int
    damaged: int
    without_picture: int


def salvage(path: str | Path, into: str | Path) -> SalvageReport:
    """Copy every undamaged episode of the store at `path` to a new store `into`, in order.

    The damaged store is only read. Raises DataError where it has no episode file, or `into` is not vacant.
    """
    path = Path(path)
    try:
        provenance = files.read_meta(path)["provenance"]
    except DataError as error:
        provenance = {"salvaged_without_provenance": str(error)}
    counts = Counter[str]()
    found = undamaged(path)
    first = next(found, None)  # there are files to read, or nothing is made
    with EpisodeStore.create(into, {**provenance, SALVAGED_FROM: str(path)}) as target:
        for episode in itertools.chain([] if first is None else [first], found):
            if isinstance(episode, Damage):
                counts[episode.kind] += 1
            else:
                target.append(episode)
                counts["kept"] += 1
    return SalvageReport(counts["kept"], counts[Kind.CHECKSUM], counts[Kind.MISSING_PICTURE])


def undamaged(path: Path) -> Iterator[Episode | Damage]:
    """The episodes of a damaged store, and, of kind CHECKSUM or MISSING_PICTURE, what is in the place of others.

    Raises DataError where there is no episode file or no picture file.
    """
    fds: list[int] = []
    try:
        for name in (files.EPISODES, files.IMAGES):
            try:
                fds.append(os.open(path / name, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                raise DataError(
                    f"{path / name}: the file cannot be opened ({error.strerror}); nothing can be"
                    " salvaged from here"
                ) from error
        yield from _undamaged(path, fds[0], ImageReader(fds[1], str(path / files.IMAGES)))
    finally:
        files.close_all(fds)


def mend(path: str | Path) -> str | None:
    """Read a whole store; where it is damaged, put its undamaged episodes in its place.

    The damaged one stays beside it, under another name. Nobody may have it open. Whoever is interrupted in between
    finds either the damaged store or the mended one at the next call.

    Returns:
        A sentence on what was found, None where all was well.

    Raises:
        DataError: there is no store, it is of a newer version, or there is no room for a copy.
    """
    path = Path(path)
    mended = path.with_name(f"{path.name}.mended")
    if not path.exists() and mended.exists():
        mended.rename(path)
    try:
        with EpisodeStore.open(path) as store:
            wrong = store.verify()
    except DataError as error:
        newer = isinstance(error, Damage) and error.kind is Kind.VERSION
        if newer or not (path / files.EPISODES).is_file():
            raise
        wrong = [str(error)]
    if not wrong:
        return None
    shutil.rmtree(mended, ignore_errors=True)
    report = salvage(path, mended)
    number = 1
    while (aside := path.with_name(f"{path.name}-damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    mended.rename(path)
    return f"{wrong[0].split(';')[0]}: the {report.kept} undamaged episodes are used, and all is kept in {aside}."


def _undamaged(path: Path, fd: int, load: ImageReader) -> Iterator[Episode | Damage]:
    size = os.fstat(fd).st_size
    if size == 0:
        return
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as data:
        at = 0
        while at < size:
            record = _record_at(data, at)
            if record is None:
                after = _next_record(data, at + 1)
                yield Damage(
                    Kind.CHECKSUM,
                    f"{path / files.EPISODES}, byte {at}: {after - at} bytes are no undamaged episode",
                )
                at = after
                continue
            try:
                yield Record(record).episode(load)
            except DataError as error:
                yield Damage(Kind.MISSING_PICTURE, str(error))
            at += len(record)


def _record_at(data: mmap.mmap, at: int) -> bytes | None:
    header = data[at : at + HEADER_BYTES]
    parsed = parse_header(header) if len(header) == HEADER_BYTES else None
    if parsed is None:
        return None
    record = data[at : at + HEADER_BYTES + parsed[1]]
    return record if is_intact(record) else None


def _next_record(data: mmap.mmap, at: int) -> int:
    """Where the next intact record starts; the end of the file where there is none."""
    while (at := data.find(MAGIC, at)) >= 0:
        if _record_at(data, at) is not None:
            return at
        at += 1
    return len(data)
