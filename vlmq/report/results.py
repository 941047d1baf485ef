"""Evaluation results: one row per policy or phase, as a JSON file and as a table for the terminal."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmq.api.errors import DataError
from vlmq.report.stats import wilson

_SOLVED = 0.8
"""Success from which `format_tasks` counts a task as solved."""
_FIELDS = ("name", "success", "low", "high", "return", "syntax", "episodes", "seed")


@dataclass(frozen=True)
class Row:
    """What one policy reached in one evaluation.

    Attributes:
        name: the policy or the phase, "random" for instance.
        success: share of episodes that succeeded, 0..1.
        low: lower end of the success rate's confidence interval, 0..1.
        high: upper end of it.
        episode_return: mean undiscounted return of an episode; "return" in the file.
        syntax: share of replies that parsed and were legal, 0..1.
        episodes: number of episodes played.
        seed: the run's seed.
        extras: more values to store beside these, under names of their own.
    """

    name: str
    success: float
    low: float
    high: float
    episode_return: float
    syntax: float
    episodes: int
    seed: int
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("success", "low", "high", "syntax"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"row '{self.name}': {name} is {getattr(self, name)}; a share lies in 0..1")
        if not math.isfinite(self.episode_return):
            raise ValueError(f"row '{self.name}': the return is {self.episode_return}; expected a number")
        if taken := sorted(set(self.extras) & set(_FIELDS)):
            raise ValueError(f"row '{self.name}': extras may not be named {', '.join(taken)}")

    @classmethod
    def from_counts(
        cls,
        name: str,
        *,
        successes: int,
        episodes: int,
        episode_return: float,
        syntax: float,
        seed: int,
        **extras: Any,
    ) -> Row:
        """A row whose rate and Wilson interval come from counts."""
        success, low, high = wilson(successes, episodes)
        return cls(name, success, low, high, episode_return, syntax, episodes, seed, extras)


def write_results(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Write rows to a JSON file, atomically: a reader sees the old file or the new one, never a half."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"rows": [_to_json(row) for row in rows]}, indent=2, allow_nan=False)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text + "\n", encoding="utf-8")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def read_results(path: str | os.PathLike[str]) -> list[Row]:
    """Read what `write_results` wrote.

    Raises:
        DataError: the file is missing, is no JSON, or is not a list of rows.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        return [_from_json(row) for row in document["rows"]]
    except FileNotFoundError:
        raise DataError(f"there are no results at '{path}'; `vlmq validate` writes them") from None
    except KeyError as error:
        raise DataError(f"'{path}' holds no results: the key {error} is missing; write it anew") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"'{path}' is not a results file ({error}); write it anew") from error


def format_table(rows: Sequence[Row]) -> str:
    """Rows as an aligned table for a terminal, rates in percent with their intervals; no final newline.

    In brackets after the seed: which other set of held-out episodes was played.
    """
    header = ("", "success", "95 % interval", "return", "syntax", "episodes", "seed")
    return aligned([header, *(_cells(row) for row in rows)])


def format_tasks(rows: Sequence[Row]) -> str:
    """Success of each row in each task, with its interval, where the environment played several; else "".

    Rows without tasks are left out.
    """
    shown = {
        row.name: {task["env_id"]: task for task in row.extras["tasks"]}
        for row in rows
        if "tasks" in row.extras
    }
    names = sorted({name for tasks in shown.values() for name in tasks})
    if not names:
        return ""
    cells = [("task", *shown)]
    for name in names:
        found = [tasks.get(name) for tasks in shown.values()]
        cells.append((name, *("" if task is None else _interval(task) for task in found)))
    reached = [sum(task["success"] >= _SOLVED for task in tasks.values()) for tasks in shown.values()]
    cells.append((f"{percent(_SOLVED)} or more", *(f"{count} of {len(names)}" for count in reached)))
    return aligned(cells)


def _interval(task: Mapping[str, Any]) -> str:
    return f"{percent(task['success'])} ({100 * task['low']:.0f} - {100 * task['high']:.0f})"


def aligned(cells: Sequence[tuple[str, ...]]) -> str:
    """Lines of cells under each other, a rule below the first; the first column flush left, the others flush right."""
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def percent(share: float) -> str:
    """A share in 0..1 as text: "97.5 %"."""
    return f"{100 * share:.1f} %"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        percent(row.success),
        f"{100 * row.low:.1f} - {100 * row.high:.1f}",
        f"{row.episode_return:.2f}",
        percent(row.syntax),
        f"{row.episodes:,}",
        str(row.seed)
        if not row.extras.get("evaluation_seed")
        else f"{row.seed} ({row.extras['evaluation_seed']})",
    )


def _to_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "success": row.success,
        "low": row.low,
        "high": row.high,
        "return": row.episode_return,
        "syntax": row.syntax,
        "episodes": row.episodes,
        "seed": row.seed,
        **row.extras,
    }


def _from_json(row: dict[str, Any]) -> Row:
    return Row(
        name=str(row["name"]),
        success=float(row["success"]),
        low=float(row["low"]),
        high=float(row["high"]),
        episode_return=float(row["return"]),
        syntax=float(row["syntax"]),
        episodes=int(row["episodes"]),
        seed=int(row["seed"]),
        extras={key: value for key, value in row.items() if key not in _FIELDS},
    )
