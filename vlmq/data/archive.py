"""Which members of an archive would land elsewhere, or blow up; it is never unpacked."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vlmq.data.damage import Kind
from vlmq.data.findings import Findings

_MOST_UNPACKED = 1 << 36
"""Bytes: an archive that says it holds more is a bomb, or wants a closer look than this."""
_MOST_RATIO = 1000


def lint_archive(path: Path) -> Findings:
    """Look at the names and sizes in an archive."""
    found = Findings(str(path), "archive")
    most = min(_MOST_UNPACKED, _MOST_RATIO * max(path.stat().st_size, 1 << 16))
    unpacked = members = 0
    try:
        for name, size, odd in _zipped(path) if zipfile.is_zipfile(path) else _tarred(path):
            members += 1
            unpacked += size
            if unpacked > most:
                found.add(
                    Kind.BOMB,
                    f"{path}: {path.stat().st_size:,} bytes unpack to {unpacked:,} or more; leave it packed",
                )
                break
            if odd or _leads_out(name):
                why = odd or "leads out of the folder it is unpacked in"
                found.add(Kind.TRAVERSAL, f"{path}: its member {name!r} {why}; do not unpack it")
            if name.endswith((".pkl", ".pickle", ".pkl.gz", ".pt", ".pth")):
                found.add(
                    Kind.PICKLE, f"{path}: its member {name!r} is a pickle, which runs what its maker wrote"
                )
    except (OSError, EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        found.add(Kind.TRUNCATED, f"{path}: it is cut short or damaged ({text}); fetch it again")
    found.notes.append(
        f"{members:,} files, {unpacked:,} bytes unpacked; unpack it in a folder of its own and lint what was in it"
    )
    return found


def _zipped(path: Path) -> Iterator[tuple[str, int, str]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            link = (member.external_attr >> 16) & 0o170000 == 0o120000
            yield member.orig_filename, member.file_size, "is a link" if link else ""


def _tarred(path: Path) -> Iterator[tuple[str, int, str]]:
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            odd = "" if member.isfile() or member.isdir() else "is a link or a device"
            yield member.name, member.size, odd


def _leads_out(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return name.startswith(("/", "\\")) or ".." in parts or "\0" in name or name[1:2] == ":"
