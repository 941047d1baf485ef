"""The files under an episode store: scanning records, writing them, the meta file, the writer's lock."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from vlmq.api import DataError
from vlmq.data.damage import Damage, Kind
from vlmq.data.schema import SCHEMA_VERSION

FORMAT = "vlmq-episodes"
META, LOCK, EPISODES, IMAGES = "meta.json", "lock", "episodes.bin", "images.bin"

_META_TEMPORARY = "meta.json.new"
NAMES = (META, LOCK, EPISODES, IMAGES, _META_TEMPORARY)
"""Every file a store directory may hold."""

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_T = TypeVar("_T")


def scan(
    fd: int, path: str, start: int, header_bytes: int, parse: Callable[[bytes], tuple[_T, int] | None]
) -> tuple[list[tuple[int, _T, int]], int]:
    """Hop over the whole records from byte `start`: (start, value, bytes after the header); and their end.

    `parse` turns a header into a value and the bytes that follow it, or None where it is damaged. A
    record that the file does not hold to its end, or a tail of zeros, is a write that a crash cut short: the
    scan stops before it. Raises DataError for a damaged header.
    """
    size = os.fstat(fd).st_size
    found: list[tuple[int, _T, int]] = []
    while start + header_bytes <= size:
        header = os.pread(fd, header_bytes, start)
        if len(header) < header_bytes:
            break
        parsed = parse(header)
        if parsed is None:
            if _only_zeros(fd, start):
                break
            raise Damage(
                Kind.CHECKSUM,
                f"{path}: a record is damaged (header checksum, byte {start}); restore"
                " the file from a copy, or keep the undamaged episodes with vlmq.data.salvage",
            )
        value, length = parsed
        if start + header_bytes + length > size:
            break
        found.append((start, value, length))
        start += header_bytes + length
    return found, start


def require_committed(path: str, end: int, committed: int) -> None:
    """Refuse a file that is shorter than what was once safely on disk."""
    if end < committed:
        raise Damage(
            Kind.TRUNCATED,
            f"{path}: it is cut short, whole records end at byte {end} of the {committed} that were written;"
            " restore the file from a copy, or keep the undamaged episodes with vlmq.data.salvage",
        )


def write_at(fd: int, offset: int, data: bytes) -> None:
    """Write all of `data` at a byte; on failure the file is left longer than it was by a part of it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def trouble(path: Path, error: OSError) -> DataError | None:
    """The sentence for an error that freeing space or giving rights mends; None for any other."""
    # HDF5 and Arrow keep the number in the text of their own error, if anywhere.
    if error.errno in _FULL or any(os.strerror(number) in str(error) for number in _FULL):
        why = error.strerror or "the disk is full"
        return DataError(
            f"{path}: there is no room to write ({why}); free some space or raise the limit and go on:"
            " what was stored before is intact"
        )
    if error.errno in _DENIED:
        return DataError(
            f"{path}: it cannot be written ({error.strerror}); mend its rights, or choose another folder"
        )
    return None


def write_meta(directory: Path, meta: dict[str, Any]) -> None:
    """Replace the meta file in one step: a reader sees the old one or the new one.

    Raises DataError where the disk is full or read-only, or the provenance is not plain JSON.
    """
    temporary = directory / _META_TEMPORARY
    try:
        meta = json.loads(json.dumps(meta, allow_nan=False))  # what a reader will see: text keys, no tuples
        text = json.dumps({**meta, "crc32": _meta_crc(meta)}, indent=2)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{directory}: the provenance cannot be written as JSON ({error}); use text, numbers, lists"
        ) from error
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, directory / META)
        sync_directory(directory)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        known = trouble(directory / META, error)
        raise known if known is not None else error from error


def read_meta(directory: Path) -> dict[str, Any]:
    """The meta file; DataError where the directory is not a store that this version can read."""
    path = directory / META
    mend = (
        "collect episodes with `vlmq collect`, import your own with `vlmq data convert`, or correct the path"
    )
    if not directory.exists():
        raise DataError(f"{directory}: there is no episode store here; {mend}")
    if not directory.is_dir():
        raise DataError(f"{directory}: it is a file, but an episode store is a directory; {mend}")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "the directory is empty" if not any(directory.iterdir()) else f"it has no {META}"
        raise DataError(f"{directory}: it is not an episode store, {what}; {mend}") from None
    except ValueError as error:
        raise Damage(
            Kind.CHECKSUM, f"{path}: it is damaged ({error}); restore the file from a copy"
        ) from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DataError(f"{path}: it does not describe an episode store; {mend}")
    schema = meta.get("schema")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise Damage(
            Kind.VERSION,
            f"{directory}: it was written by a newer vlmq (schema {schema}; this one reads up to"
            f" {SCHEMA_VERSION}); upgrade vlmq to read it",
        )
    crc = meta.pop("crc32", None)
    if crc != _meta_crc(meta):
        raise Damage(Kind.CHECKSUM, f"{path}: it is damaged (checksum); restore the file from a copy")
    return meta


def require_vacant(path: Path) -> None:
    """Allow an empty directory, and what a `create` that was killed half-way leaves."""
    names = {entry.name for entry in path.iterdir()}
    if META in names:
        raise DataError(
            f"{path}: it is an episode store already; use open_for_append, or choose another directory"
        )
    records = {EPISODES, IMAGES}
    strange = {n for n in names if n not in NAMES or (n in records and (path / n).stat().st_size)}
    if strange:
        raise DataError(
            f"{path}: the directory is not empty, it holds {min(strange)!r}; choose another for the store"
        )


def version() -> str:
    """The installed version of vlmq."""
    try:
        return metadata.version("vlmq")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def take_lock(
    directory: Path,
    held: str = "another writer (process {owner}) has this store open; close it or write elsewhere",
) -> int:
    """Become the only writer: the descriptor to keep open. The system frees the lock when a process dies.

    Raises DataError where another process holds it, in the words of `held`, or the directory is read-only.
    """
    try:
        fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        known = trouble(directory, error)
        raise known if known is not None else error from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(fd, 128).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise DataError(f"{directory}: {held.format(owner=owner)}") from None
    os.ftruncate(fd, 0)
    try:
        os.pwrite(fd, f"{os.getpid()} on {platform.node()}\n".encode("ascii", "replace"), 0)
    except OSError:  # a full disk must not keep anybody out: the number is only for the message above
        os.ftruncate(fd, 0)
    return fd


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that are open."""
    for fd in fds:
        os.close(fd)


def _meta_crc(meta: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True, allow_nan=False).encode("ascii"))


def _only_zeros(fd: int, start: int) -> bool:
    while chunk := os.pread(fd, 1 << 20, start):
        if chunk.count(0) != len(chunk):
            return False
        start += len(chunk)
    return True
