"""`vlmq validate`, episode by episode: a line of JSON as each ends, from which a run that was cut short goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from vlmq.train.judge import Outcome


class Journal:
    """The file of one policy's evaluation, with its first line saying what is played and the others how it went.

    A file of the very same evaluation that is not whole yet is gone on with; a whole one, or one of another checkpoint
    or of other settings, is begun anew. A line that a kill cut short is dropped.

    Args:
        path: of the file; its folder is made.
        about: what is played, as JSON would give it back.
        episodes: how many belong to it.

    Attributes:
        known: outcomes that are in the file already, by index.
    """

    def __init__(self, path: Path, about: dict[str, Any], episodes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        first, whole_bytes, outcomes = _read(path)
        self.known = {outcome.index: outcome for outcome in outcomes if outcome.index < episodes}
        if first != about or len(self.known) >= episodes:
            self.known, whole_bytes = {}, 0
        self._file: IO[str] = path.open("a", encoding="utf-8")
        os.ftruncate(self._file.fileno(), whole_bytes)
        if whole_bytes == 0:
            self._write(about)

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Add episodes that have ended."""
        for outcome in outcomes:
            self._write(asdict(outcome))
            self.known[outcome.index] = outcome

    def close(self) -> None:
        """No more is to come."""
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _read(path: Path) -> tuple[Any, int, list[Outcome]]:
    """The first line, how many bytes are whole lines, and the outcomes; None, 0 and [] where there is no such file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None, 0, []
    first: Any = None
    at, outcomes = 0, []
    for number, line in enumerate(content.splitlines(keepends=True)):
        try:
            told = json.loads(line) if line.endswith(b"\n") else None
            if not isinstance(told, dict):
                break
            if number == 0:
                first = told
            else:
                outcomes.append(Outcome(**told))
        except (ValueError, TypeError):
            break
        at += len(line)
    return first, at, outcomes
