"""Judging policies by what they did: one results row from episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import Episode
from vlmq.data.store import EpisodeStore
from vlmq.report.results import Row
from vlmq.report.stats import wilson


def judge(name: str, episodes: Sequence[Episode], seed: int, evaluation_seed: int = 0) -> Row:
    """Success with its interval, return, share of episodes with a positive return, syntax accuracy.

    Where the environment played the episodes of several ids, the row says each one's success (`tasks`).

    Args:
        name: of the row.
        episodes: what was played.
        seed: of the run.
        evaluation_seed: tells this set of held-out episodes from another.
    """
    played = sorted({episode.env_id for episode in episodes})
    apart = {} if len(played) == 1 else {"tasks": [_task(one, episodes) for one in played]}
    returns = np.array([episode.episode_return for episode in episodes])
    turns = [turn for episode in episodes for turn in episode.turns]
    return Row.from_counts(
        name,
        successes=sum(episode.success for episode in episodes),
        episodes=len(episodes),
        episode_return=float(returns.mean()),
        syntax=sum(turn.valid for turn in turns) / len(turns),
        seed=seed,
        evaluation_seed=evaluation_seed,
        return_positive=float((returns > 0).mean()),
        turns=len(turns) / len(episodes),
        **apart,
    )


def _task(env_id: str, episodes: Sequence[Episode]) -> dict[str, Any]:
    """Success, return and syntax of one id's episodes among several's."""
    own = [episode for episode in episodes if episode.env_id == env_id]
    turns = [turn for episode in own for turn in episode.turns]
    success, low, high = wilson(sum(episode.success for episode in own), len(own))
    return {
        "env_id": env_id, "success": success, "low": low, "high": high, "episodes": len(own),
        "return": sum(episode.episode_return for episode in own) / len(own),
        "syntax": sum(turn.valid for turn in turns) / len(turns),
    }  # fmt: skip


def judge_data(store: EpisodeStore) -> Row:
    """The same for the episodes of a dataset, from the store's table alone."""
    table = store.table
    return Row.from_counts(
        "data",
        successes=int(table["success"].sum()),
        episodes=len(table),
        episode_return=float(table["episode_return"].mean()),
        syntax=float(table["num_valid"].sum() / max(1, table["num_turns"].sum())),
        seed=int(store.provenance.get("seed", 0)),
        return_positive=float((table["episode_return"] > 0).mean()),
        turns=float(table["num_turns"].mean()),
    )


def discounted_returns(store: EpisodeStore, gamma: float, most: int = 512) -> NDArray[np.float64]:
    """Discounted returns from every turn of the data.

    Args:
        store: offline episodes, at least one.
        gamma: discount from turn to turn.
        most: episodes looked at, spread evenly over the store.
    """
    values: list[float] = []
    for position in np.unique(np.linspace(0, len(store) - 1, min(most, len(store))).astype(int)):
        value = 0.0
        for reward in reversed([turn.reward for turn in store[int(position)].turns]):
            value = reward + gamma * value
            values.append(value)
    return np.array(values)


def spread(values: NDArray[np.float64]) -> float:
    """99th minus 1st percentile, or 1 if there is none."""
    low, high = np.percentile(values, [1, 99])
    return float(high - low) if high - low > 1e-6 else 1.0
