"""Everything that is wrong with an episode store, from its first byte to its last, however damaged it is."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from vlmq.api import DataError
from vlmq.data import files
from vlmq.data.damage import Damage, Kind, kind_of
from vlmq.data.findings import Across, Findings
from vlmq.data.images import ImageReader
from vlmq.data.schema import HEADER_BYTES, MAGIC, Record, is_intact, parse_header


def lint_store(path: Path, found: Findings) -> None:
    """Read the whole store, and add what is wrong; DataError where there is none."""
    try:
        meta = files.read_meta(path)
    except DataError as error:
        if not (path / files.META).exists():
            raise
        found.add(kind_of(error), str(error))
        meta = {"committed": {"episodes": 0, "images": 0}, "provenance": {}}
    strange = sorted(entry.name for entry in path.iterdir() if entry.name not in files.NAMES)
    if strange:
        found.add(
            Kind.STRANGE, f"{path}: it holds {strange[0]!r}, which belongs to no store; move it elsewhere"
        )
    fds: list[int] = []
    try:
        for name in (files.EPISODES, files.IMAGES):
            try:
                fds.append(os.open(path / name, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                found.add(
                    Kind.TRUNCATED,
                    f"{path / name}: the file cannot be opened ({error.strerror}); restore it from a copy",
                )
                return
        for fd, name in zip(fds, (files.EPISODES, files.IMAGES), strict=True):
            size, committed = os.fstat(fd).st_size, meta["committed"][name.removesuffix(".bin")]
            if size < committed:
                found.add(
                    Kind.TRUNCATED,
                    f"{path / name}: it has {size} bytes of the {committed} that were written; restore it from a copy,"
                    " or keep the undamaged episodes with vlmq.data.salvage",
                )
        _records(path, fds[0], ImageReader(fds[1], str(path / files.IMAGES)), meta, found)
    finally:
        files.close_all(fds)


def _records(path: Path, fd: int, load: ImageReader, meta: dict[str, Any], found: Findings) -> None:
    across = Across(found)
    name, size = path / files.EPISODES, os.fstat(fd).st_size
    at = 0
    while at < size:
        where = f"{name}, byte {at}"
        header = os.pread(fd, HEADER_BYTES, at)
        parsed = parse_header(header) if len(header) == HEADER_BYTES else None
        if parsed is None:
            after = _next_record(fd, at + 1, size)
            if after == size and not header.strip(b"\0"):
                found.notes.append(
                    f"{where}: zeros to the end, a write that a crash cut short; no episode is lost"
                )
                break
            found.add(
                Kind.CHECKSUM,
                f"{where}: {after - at} bytes are no episode; restore the file from a copy, or keep the undamaged"
                " episodes with vlmq.data.salvage",
            )
            at = after
            continue
        end = at + HEADER_BYTES + parsed[1]
        if end > size:
            if at < meta["committed"]["episodes"]:
                found.add(
                    Kind.TRUNCATED,
                    f"{where}: an episode is cut short; restore the file from a copy, or keep the others with"
                    " vlmq.data.salvage",
                )
                break
            found.notes.append(
                f"{where}: the last {size - at} bytes are a write that a crash cut short; no episode is lost"
            )
            break
        record = os.pread(fd, end - at, at)
        try:
            if not is_intact(record):
                raise Damage(
                    Kind.CHECKSUM,
                    f"{where}: an episode is damaged (checksum); restore the file from a copy, or keep the others with"
                    " vlmq.data.salvage",
                )
            across.see(Record(record).episode(load), where)
        except DataError as error:
            found.add(kind_of(error), str(error))
        except (struct.error, ValueError, OverflowError) as error:
            found.add(Kind.FIELD, f"{where}: an episode has a layout that no vlmq wrote ({error})")
        at = end
    across.conclude()
    provenance = meta["provenance"]
    said = provenance.get("tokenizer") if isinstance(provenance, dict) else None
    if said and len(across.tokenizers) == 1 and said not in across.tokenizers:
        found.add(
            Kind.TOKENIZERS,
            f"{path}: it says that its tokens are of tokenizer {said}, and they are of"
            f" {next(iter(across.tokenizers)) or '(none)'}; forget them with `vlmq data convert --drop-tokens`",
        )


def _next_record(fd: int, at: int, size: int) -> int:
    """The first byte from which an intact header stands; the size where there is none."""
    window = 1 << 20
    while at < size:
        chunk = os.pread(fd, window + HEADER_BYTES, at)
        place = chunk.find(MAGIC)
        while 0 <= place < window:
            header = chunk[place : place + HEADER_BYTES]
            if len(header) == HEADER_BYTES and parse_header(header) is not None:
                return at + place
            place = chunk.find(MAGIC, place + 1)
        at += window
    return size
