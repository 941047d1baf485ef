"""The objects of a JSON file one by one: an array's items, or one a line, however large the file is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlmq.api import DataError

_CHUNK = 1 << 20
_MOST = 1 << 30  # characters of one object
_BLANK = " \t\r\n"


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of the file with its place.

    A file is an array of objects, one object, or several, with line breaks between them or without. Raises DataError
    where it is not there, and, on reaching it, for what is not JSON.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from _objects(file, str(path))
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror}); correct the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: it is not UTF-8 (byte {error.start}); save the file as UTF-8") from error


def _objects(file: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    decoder = json.JSONDecoder()
    buffer, at, ended, in_array, first = "", 0, False, False, True
    number = 0
    while True:
        # skip what stands between objects
        while at < len(buffer) and buffer[at] in _BLANK + (",]" if in_array else ""):
            at += 1
        if at == len(buffer):
            buffer, at = file.read(_CHUNK), 0
            if not buffer:
                return
            continue
        if first and buffer[at] == "[":
            in_array, first, at = True, False, at + 1
            continue
        first = False
        where = f"{path}, object {number}"
        try:
            value, end = decoder.raw_decode(buffer, at)
        except (ValueError, RecursionError) as error:
            more = "" if ended else file.read(max(_CHUNK, len(buffer) - at))
            ended = not more
            if not more or len(buffer) - at > _MOST:
                raise DataError(f"{where}: it is not JSON ({_reason(error)}); mend or remove it") from error
            buffer, at = buffer[at:] + more, 0
            continue
        if not isinstance(value, dict):
            raise DataError(f"{where}: it is a {type(value).__name__}; a trajectory is an object in braces")
        at = end
        number += 1
        yield where, value


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
