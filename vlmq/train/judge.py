"""Judging policies by what they did: one results row from episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlmq.api import Episode
from vlmq.data.store import EpisodeStore
from vlmq.report.results import Row


def judge(name: str, episodes: Sequence[Episode], seed: int) -> Row:
    """Success with its interval, return, share of episodes with a positive return, syntax accuracy."""
    returns = np.array([episode.episode_return for episode in episodes])
    turns = [turn for episode in episodes for turn in episode.turns]
    return Row.from_counts(
        name,
        successes=sum(episode.success for episode in episodes),
        episodes=len(episodes),
        episode_return=float(returns.mean()),
        syntax=sum(turn.valid for turn in turns) / len(turns),
        seed=seed,
        return_positive=float((returns > 0).mean()),
        turns=len(turns) / len(episodes),
    )


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
