"""`vlmq rank`: which of several checkpoints is best, told from recorded episodes without playing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from vlmq.api import DataError, Episode, UserError
from vlmq.data.store import EpisodeStore
from vlmq.report.stats import Interval, rank_correlation
from vlmq.train import checkpoint
from vlmq.trained import fqe
from vlmq.trained.agent import Agent
from vlmq.trained.look import dataset_of


@dataclass(frozen=True)
class Ranked:
    """One checkpoint's place.

    Attributes:
        name: the run's folder, or the checkpoint's file.
        estimate: expected discounted return by fitted Q evaluation.
        success: of its evaluation at the end of a phase, None where the checkpoint was written on the way.
    """

    name: str
    estimate: Interval
    success: float | None


def rank(
    candidates: Sequence[str], *, dataset: str | None = None, episodes: int = 300, temperature: float = 0.0
) -> list[Ranked]:
    """Every candidate with its estimate, the best first.

    Args:
        candidates: run folders (their last checkpoint) or checkpoint files.
        dataset: recorded episodes; by default those that the first candidate learnt from.
        episodes: how many of them, evenly spread.
        temperature: of the policies that are evaluated; 0 is greedy.

    Raises:
        ModelError: a candidate holds no checkpoint.
        UserError: there is no dataset.
    """
    files = [
        checkpoint.find("last", one) if Path(one).is_dir() else checkpoint.find(one, ".")
        for one in candidates
    ]
    folder = Path(dataset) if dataset else dataset_of(files[0].parent.parent)
    seen = _some(folder, episodes)
    gamma = float(checkpoint.read(files[0])["vlmq"]["horizon"]["gamma_turn"])
    fit = fqe.Fit(gamma=gamma, temperature=temperature)
    found = []
    for name, file in zip(tqdm(candidates, unit="checkpoint", disable=None), files, strict=True):
        agent = Agent(file)
        if any(episode.tokenizer not in ("", None, agent.encoder.fingerprint) for episode in seen):
            raise DataError(
                f"the replies in {folder} are not tokens of {name}'s model; give a dataset of its own with --data."
            )
        features = fqe.features(agent.model.backbone, agent.encoder, agent.history, seen)
        estimate = fqe.evaluate(agent.model.backbone, features, fit)
        found.append(Ranked(name, estimate, success_of(agent.run)))
    return sorted(found, key=lambda one: -one.estimate.value)


def table(found: Sequence[Ranked]) -> str:
    """The ranking, and how well it agrees with the successes that are known."""
    width = max(len("checkpoint"), *(len(one.name) for one in found))
    lines = [f"{'checkpoint':{width}}  estimated return          success"]
    for one in found:
        value, low, high = one.estimate
        success = "-" if one.success is None else f"{100 * one.success:.1f} %"
        lines.append(f"{one.name:{width}}  {value:7.3f} [{low:7.3f}, {high:7.3f}]  {success:>7}")
    known = [(one.estimate.value, one.success) for one in found if one.success is not None]
    if len(known) > 2:
        agreement = rank_correlation(*np.array(known).T)
        lines.append(f"\nrank correlation with the {len(known)} known successes: {agreement:.2f} (Spearman)")
    return "\n".join(lines)


def _some(folder: Path, count: int) -> list[Episode]:
    if not (folder / "meta.json").is_file():
        raise UserError(f"there are no recorded episodes in {folder}; name a dataset with --data.")
    with EpisodeStore.open(folder) as store:
        order = np.argsort(store.table["index"], kind="stable")
        if not len(order):
            raise UserError(f"the dataset {folder} is empty; name another with --data.")
        places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).astype(int))
        return [store[int(order[place])] for place in places]


def success_of(kept: dict[str, Any]) -> float | None:
    """Of a checkpoint's weights, where it was written at the end of a phase, whose row is then its last.

    Args:
        kept: what the checkpoint says of its run.
    """
    rows, phases, schedule = kept["rows"], kept["phases"], kept["schedule"]
    begun = schedule["in_phase"] or schedule["entered"]
    stands_in = phases[min(schedule["index"], len(phases) - 1) if begun else schedule["index"] - 1]
    return rows[-1]["success"] if rows and rows[-1]["name"] == stands_in else None
