"""Episodes that were really played, in several environments, with replies as a model would have them."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium
import numpy as np

from vlmq.api import Episode, Observation, Turn
from vlmq.env.registry import make

GAMES = ("cards/NumberLine-v0", "cards/EZPoints-v0", "cards/Blackjack-v0", "household/PickAndPlace-v0",
         "babyai/GoToRedBall-v0", "example/Memory-v0")  # fmt: skip
"""None of them needs a browser or a game file; their pictures have several sizes."""


def played(count: int, *, first: int = 0, most_turns: int = 4) -> Iterator[Episode]:
    """Episodes `first` to `first + count - 1`, one environment after the other; a function of the number alone."""
    envs = {name: make(name) for name in GAMES}
    try:
        for index in range(first, first + count):
            name = GAMES[index % len(GAMES)]
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
