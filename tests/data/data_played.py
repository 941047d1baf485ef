"""Episodes that were really played, in several environments, with replies as a model would have them."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest

from vlmq.api import Episode, Observation, Turn
from vlmq.env.registry import discover, make, metadata_of

A_PLUGIN = 2
"""Environments of each plugin that are played."""


def games(plugins: int | None = 3) -> list[str]:
    """Ids of what so many plugins offer and needs nothing else on this machine, such as a browser; None: of all."""
    found = []
    for plugin in discover().plugins[:plugins]:
        if plugin.reason is None and plugin.unavailable is None:
            ids = [spec.id for spec in plugin.specs]
            found += [name for name in ids if not metadata_of(name).get("vlmq", {}).get("requirements")][
                :A_PLUGIN
            ]
    if not found:
        pytest.skip("no environment is installed that needs nothing else")
    return found


def played(count: int, *, plugins: int | None = 3, most_turns: int = 4) -> Iterator[Episode]:
    """So many episodes, one environment after the other; each a function of its number and of what is installed."""
    envs = {name: make(name) for name in games(plugins)}
    names = list(envs)
    try:
        for index in range(count):
            name = names[index % len(names)]
            yield _play(envs[name], name, index, most_turns)
    finally:
        for env in envs.values():
            env.close()


def _play(env: gymnasium.Env, name: str, index: int, most_turns: int) -> Episode:
    rng = np.random.default_rng(index)
    shown, info = env.reset(seed=index)
    turns: list[Turn] = []
    terminated = truncated = False
    while not (terminated or truncated) and len(turns) < most_turns:
        action = str(rng.choice([*(info.get("legal_actions") or ("help",)), "nonsense"]))
        before = shown
        shown, reward, terminated, truncated, info = env.step(action)
        tokens = int(rng.integers(0, 9))
        turns.append(
            Turn(
                observation=Observation(before["text"], before.get("image")),
                reply=f'{{"action": "{action}"}}',
                action=action,
                reward=float(reward),
                action_ok=bool(info["action_ok"]),
                reply_ids=rng.integers(0, 2**31, tokens).astype(np.int32),
                logprobs=np.where(rng.random(tokens) < 0.2, np.nan, -rng.random(tokens)).astype(np.float32),
                digest=int(rng.integers(0, 2**64, dtype=np.uint64)),
                source="random",
            )
        )
    return Episode(
        env_id=name, seed=index, turns=tuple(turns),
        final_observation=Observation(shown["text"], shown.get("image")) if index % 5 else None,
        terminated=bool(terminated), truncated=not terminated, success=bool(info.get("success", False)),
        source="random", index=index, policy_version=index // 7, tokenizer="abc",
    )  # fmt: skip
