"""Are these runs different? Rows of several runs, their seeds put together, with intervals over seeds.

Runs whose configurations differ in nothing but the seed and the folders are one setting, and each row of their results
is an arm: what a phase reached, once a seed. Only what was judged alike is compared.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from vlmq.api import DataError, UserError
from vlmq.report.plots import draw_arms
from vlmq.report.results import Row, percent, read_results
from vlmq.report.stats import (
    Interval,
    interquartile_mean,
    mean_over_seeds,
    probability_of_improvement,
    stratified_bootstrap,
)

_OF_A_RUN = (
    "seed_everything",
    "config",
    "ckpt_path",
    "trainer.default_root_dir",
    "data.seed",
    "data.dataset",
)
"""Settings in which the runs of one setting may differ."""
_JUDGED_BY = (
    "data.env", "data.env_args", "data.evaluation.env_args", "data.evaluation.seed", "data.evaluation.blank_images",
    "data.evaluation.temperature", "model.reply_format",
)  # fmt: skip
"""Settings that say what success means."""


@dataclass(frozen=True)
class Arm:
    """What one phase of one setting reached, over its seeds.

    Attributes:
        name: the row's, and where several settings have such a row, in what this one differs.
        rows: one a seed.
        offline_turns: of the data that it learnt from, one number a seed.
    """

    name: str
    rows: tuple[Row, ...]
    offline_turns: tuple[float, ...] = ()

    @property
    def success(self) -> list[float]:
        """One number a seed."""
        return [row.success for row in self.rows]

    def by_task(self, measure: str = "success") -> dict[str, list[float]]:
        """Success, return or syntax of each task, one number a seed; under "" where there is one task alone."""
        tasks: dict[str, list[float]] = {}
        for row in self.rows:
            whole = {"env_id": "", "success": row.success, "return": row.episode_return, "syntax": row.syntax}
            for task in row.extras.get("tasks") or [whole]:
                if measure in task:  # results of an earlier version tell of a task's success alone
                    tasks.setdefault(task["env_id"], []).append(float(task[measure]))
        return tasks


def compare(runs: Sequence[str | os.PathLike[str]]) -> list[Arm]:
    """The arms of several runs, in the order in which they first occur.

    Raises:
        DataError: a folder holds no results, or no configuration.
        UserError: two runs were judged differently, or one arm has a seed twice.
    """
    settings: dict[str, dict[str, Any]] = {}
    found: dict[tuple[str, str], dict[int, Row]] = {}
    offline: dict[int, float] = {}
    first: tuple[Path, dict[str, Any]] | None = None
    for run in map(Path, runs):
        config = _flat(_configuration(run))
        first = first or (run, config)
        _check_alike(*first, run, config)
        own = {key: value for key, value in config.items() if not key.startswith(_OF_A_RUN)}
        setting = json.dumps(own, sort_keys=True, default=str)
        settings[setting] = own
        for row in read_results(run / "results.json"):
            if row.name == "data":
                offline[row.seed] = row.episodes * float(row.extras.get("turns", 0))
                continue
            seeds = found.setdefault((setting, row.name), {})
            if row.seed in seeds:
                raise UserError(
                    f"{run} has the settings and the seed ({row.seed}) of a run before it; name it once."
                )
            seeds[row.seed] = row
    # Settings that differ in what comes after a phase give that phase the same rows: one arm.
    arms: dict[tuple[str, str], tuple[Row, ...]] = {}
    seen: list[list[Row]] = []
    for arm, rows in found.items():
        ordered = tuple(row for _, row in sorted(rows.items()))
        if (lasting := [replace(row, extras=_lasting(row)) for row in ordered]) not in seen:
            arms[arm] = ordered
            seen.append(lasting)
    names = _names(settings, list(arms))
    return [
        Arm(names[arm], rows, tuple(offline.get(row.seed, 0.0) for row in rows)) for arm, rows in arms.items()
    ]


def _lasting(row: Row) -> dict[str, Any]:
    """What a row says beside its numbers, but for how long it took."""
    return {name: value for name, value in row.extras.items() if name not in ("seconds", "curve")}


def table(arms: Sequence[Arm], against: str) -> list[tuple[str, ...]]:
    """Header and one line an arm: seeds, success, interquartile mean, return, syntax, better than one of them.

    Args:
        arms: at least one.
        against: the name of the one that the others are held against.

    Raises:
        UserError: there is no such arm.
    """
    rival = next((arm for arm in arms if arm.name == against), None)
    if rival is None:
        raise UserError(f"no row is named '{against}'; there are {', '.join(arm.name for arm in arms)}.")
    lines: list[tuple[str, ...]] = [
        ("", "seeds", "success", "IQM", "return", "syntax", f"better than {rival.name}")
    ]
    for arm in arms:
        strata = list(arm.by_task().values())
        spread = stratified_bootstrap(strata) if len(strata) > 1 else mean_over_seeds(arm.success)
        returned = mean_over_seeds([row.episode_return for row in arm.rows])
        syntax = mean_over_seeds([row.syntax for row in arm.rows])
        better = "" if arm is rival else percent(probability_of_improvement(rival.success, arm.success))
        lines.append(
            (
                arm.name, str(len(arm.rows)), _share(spread), _share(stratified_bootstrap(strata, interquartile_mean)),
                _number(returned), _share(syntax), better,
            )
        )  # fmt: skip
    return lines


def task_table(arms: Sequence[Arm]) -> list[tuple[str, ...]]:
    """Header and one line for each task and arm: seeds, success, return, syntax; [] where all have one task alone."""
    tasks = dict.fromkeys(task for arm in arms for task in arm.by_task() if task)
    if not tasks:
        return []
    lines: list[tuple[str, ...]] = [("task", "", "seeds", "success", "return", "syntax")]
    for task in sorted(tasks):
        for arm in arms:
            found = {name: arm.by_task(name).get(task, []) for name in ("success", "return", "syntax")}
            if not found["success"]:
                continue
            success, returned, syntax = (
                mean_over_seeds(values) if values else None for values in found.values()
            )
            assert success is not None
            lines.append(
                (
                    task, arm.name, str(len(found["success"])), _share(success),
                    "" if returned is None else _number(returned), "" if syntax is None else _share(syntax),
                )
            )  # fmt: skip
    return lines


def cost_table(arms: Sequence[Arm], threshold: float) -> list[tuple[str, ...]]:
    """Header and one line an arm: what it cost until an evaluation first reached a success; [] where none tells.

    Means over the seeds that reached it. All updates behind the weights count, those of earlier phases too; turns of
    own play are counted with and without those of the data.

    Args:
        arms: at least one.
        threshold: success to reach, 0..1.
    """
    lines: list[tuple[str, ...]] = [
        (f"until {percent(threshold)}", "seeds", "updates", "own turns", "all turns", "tokens", "minutes")
    ]
    for arm in arms:
        if not any(row.extras.get("curve") for row in arm.rows):
            continue
        costs = []
        for row, offline in zip(arm.rows, arm.offline_turns, strict=True):
            reached = [point for point in row.extras.get("curve", []) if point["success"] >= threshold]
            if reached:
                point = min(reached, key=lambda one: one["updates"])
                own = point["own_turns"]
                costs.append((point["updates"], own, own + offline, point["tokens"], point["seconds"] / 60))
        means = [sum(column) / len(costs) for column in zip(*costs, strict=True)]
        said = [f"{value:,.0f}" for value in means[:4]] + [f"{value:.1f}" for value in means[4:]]
        lines.append((arm.name, f"{len(costs)} of {len(arm.rows)}", *(said or ["never", "", "", "", ""])))
    return lines if len(lines) > 1 else []


def as_markdown(table: Sequence[tuple[str, ...]]) -> str:
    """A table of one of these in Markdown."""
    header, *lines = table
    ruled = [header, ("---", *("---:" for _ in header[1:])), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in ruled) + "\n"


def draw(arms: Sequence[Arm], path: str | os.PathLike[str]) -> None:
    """Success of every arm as a PNG file."""
    draw_arms([(arm.name, mean_over_seeds(arm.success, bounds=(0, 1))) for arm in arms], path)


def _share(interval: Interval) -> str:
    """A share in 0..1 in per cent, its interval cut where shares end."""
    if math.isinf(interval.low):
        return f"{percent(interval.value)} (one seed: no interval)"
    low, high = max(0.0, interval.low), min(1.0, interval.high)
    return f"{percent(interval.value)} [{100 * low:.1f}, {100 * high:.1f}]"


def _number(interval: Interval) -> str:
    """A return; that one seed has no interval is said beside its success."""
    if math.isinf(interval.low):
        return f"{interval.value:.2f}"
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _configuration(run: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(
            f"{run} holds no readable config.yaml; name the folder of a run of `vlmq fit`."
        ) from error
    if not isinstance(config, dict):
        raise DataError(f"{run}/config.yaml holds no settings; name the folder of a run of `vlmq fit`.")
    return config


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by their dotted names; lists stay whole, and so do the arguments of environments."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and not name.endswith("env_args"):
            flat |= _flat(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def _check_alike(first: Path, ours: Mapping[str, Any], run: Path, theirs: Mapping[str, Any]) -> None:
    for name in _JUDGED_BY:
        if ours.get(name) != theirs.get(name):
            # As JSON, which reads like the yaml in which it was set.
            there, here = (json.dumps(found.get(name), default=str) for found in (ours, theirs))
            raise UserError(
                f"{first} and {run} cannot be compared: {name} is {there} there and {here} here, so success does not "
                "mean the same."
            )


def _names(
    settings: Mapping[str, Mapping[str, Any]], arms: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Each arm's row, with what tells its setting from the others that have such a row."""
    names: dict[tuple[str, str], str] = {}
    for setting, row in arms:
        rivals = [settings[other] for other, name in arms if name == row and other != setting]
        own = settings[setting]
        apart = [key for key in own if any(rival.get(key) != own[key] for rival in rivals)]
        told = ", ".join(
            _difference(key, own[key], [rival.get(key) for rival in rivals]) for key in apart[:3]
        )
        names[setting, row] = f"{row} ({told})" if told else row
    return names


def _difference(key: str, value: Any, others: Sequence[Any]) -> str:
    """One setting, shortened: of a list of phases only what is different in them."""
    if key == "model.phases" and isinstance(value, list):
        rivals = [phase for other in others if isinstance(other, list) for phase in other]
        return ", ".join(dict.fromkeys(_phases_apart(value, rivals))) or "other phases"
    return f"{key.rpartition('.')[2]} {value}"


def _phases_apart(own: Sequence[Mapping[str, Any]], rivals: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for phase in own:
        for rival in rivals:
            if phase.get("name") == rival.get("name"):
                apart = [key for key in phase if phase[key] != rival.get(key)]
                yield from (f"{key} {phase[key]}" for key in apart[:2])
