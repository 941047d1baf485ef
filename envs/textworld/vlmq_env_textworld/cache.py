"""Keeps what takes seconds to make: a folder of files, each written whole or not at all.

A file is a line with the digest of the rest, then the rest. It is written under a name of its own and then renamed,
which is one step for whoever looks; so processes that make the same thing at the same time do no harm, and the
last one's file stays. A file that is cut off or damaged is seen by its digest, and made anew.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from vlmq.api import PluginError

FOLDER_VARIABLE = "VLMQ_TEXTWORLD_CACHE"
"""Environment variable that names another folder."""


def folder() -> Path:
    """Where the games are kept."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "vlmq" / "textworld"


def cached(name: str, make: Callable[[], bytes]) -> bytes:
    """What was kept under this name (a relative path), or else what `make` gives, which is kept.

    Raises:
        PluginError: the folder cannot be written to.
    """
    path = folder() / name
    found = _read(path)
    if found is not None:
        return found
    data = make()
    try:
        _write(path, data)
    except OSError as error:
        raise PluginError(
            f"TextWorld's games cannot be kept in {folder()} ({error.strerror or error}):"
            f" name a folder that can be written to, {FOLDER_VARIABLE}=..."
        ) from error
    return data


def _read(path: Path) -> bytes | None:
    try:
        digest, _, data = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return data if digest == _digest(data) else None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            file.write(_digest(data) + b"\n" + data)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


def _digest(data: bytes) -> bytes:
    return sha256(data).hexdigest().encode()
