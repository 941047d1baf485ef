"""Judging policies by what they did: one results row from the outcomes of episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import Episode
from vlmq.data.store import EpisodeStore
from vlmq.report.results import Row
from vlmq.report.stats import wilson


@dataclass(frozen=True)
class Outcome:
    """What one held-out episode came to.

    Attributes:
        index: of the episode.
        seed: it was played from.
        env_id: the environment's, or where that plays several tasks the task's.
        success: whether it succeeded.
        episode_return: sum of its rewards.
        turns: how many.
        valid: how many of the replies parsed and were legal.
        tokens: of all replies.
        asked: replies where the environment's expert knew an action.
        agreed: those among them that say the same action.
    """

    index: int
    seed: int
    env_id: str
    success: bool
    episode_return: float
    turns: int
    valid: int
    tokens: int
    asked: int = 0
    agreed: int = 0

    @classmethod
    def of(cls, episode: Episode, asked: int = 0, agreed: int = 0) -> Outcome:
        """The outcome of an episode."""
        return cls(
            episode.index, episode.seed, episode.env_id, episode.success, episode.episode_return, episode.num_turns,
            sum(turn.valid for turn in episode.turns), sum(len(turn.reply_ids) for turn in episode.turns),
            asked, agreed,
        )  # fmt: skip


def judge(name: str, outcomes: Sequence[Outcome], seed: int, evaluation_seed: int = 0) -> Row:
    """Success with its interval, return, share of episodes with a positive return, syntax accuracy.

    Where the environment played the episodes of several ids, the row says how each fared (`tasks`); where it has an
    expert, how often the agent did the same (`agreement`).

    Args:
        name: of the row.
        outcomes: of what was played.
        seed: of the run.
        evaluation_seed: tells this set of held-out episodes from another.
    """
    played = sorted({outcome.env_id for outcome in outcomes})
    extras: dict[str, Any] = {}
    if len(played) > 1:
        extras["tasks"] = [_task(one, outcomes) for one in played]
    if asked := sum(outcome.asked for outcome in outcomes):
        extras["agreement"] = sum(outcome.agreed for outcome in outcomes) / asked
    returns = np.array([outcome.episode_return for outcome in outcomes])
    turns = sum(outcome.turns for outcome in outcomes)
    return Row.from_counts(
        name,
        successes=sum(outcome.success for outcome in outcomes),
        episodes=len(outcomes),
        episode_return=float(returns.mean()),
        syntax=sum(outcome.valid for outcome in outcomes) / turns,
        seed=seed,
        evaluation_seed=evaluation_seed,
        return_positive=float((returns > 0).mean()),
        turns=turns / len(outcomes),
        **extras,
    )


def _task(env_id: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Success, return and syntax of one id's episodes among several's."""
    own = [outcome for outcome in outcomes if outcome.env_id == env_id]
    success, low, high = wilson(sum(outcome.success for outcome in own), len(own))
    return {
        "env_id": env_id, "success": success, "low": low, "high": high, "episodes": len(own),
        "return": sum(outcome.episode_return for outcome in own) / len(own),
        "syntax": sum(outcome.valid for outcome in own) / sum(outcome.turns for outcome in own),
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
