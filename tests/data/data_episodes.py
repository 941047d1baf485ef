"""Episodes for the tests of this folder, and bit-exact comparison of them."""

from __future__ import annotations

import struct

import numpy as np

from vlmq.api import Episode, Observation, Turn


def make_episode(index: int, *, num_turns: int = 3, size: int = 8, index_field: int | None = None) -> Episode:
    """An episode that is a pure function of its arguments; every turn has its own picture."""
    rng = np.random.default_rng(index)

    def observation(k: int) -> Observation:
        return Observation(f"task {index}, turn {k} ☃", rng.integers(0, 256, (size, size, 3), np.uint8))

    turns = []
    for k in range(num_turns):
        count = int(rng.integers(0, 6))
        turns.append(
            Turn(
                observation=observation(k),
                reply=f'{{"action": "{k}"}}',
                action=str(k),
                reward=float(rng.normal()),
                parsed=k != 1,
                action_ok=k != 2,
                reply_ids=rng.integers(0, 1000, count).astype(np.int32),
                logprobs=np.where(rng.random(count) < 0.3, np.nan, -rng.random(count)).astype(np.float32),
                digest=int(rng.integers(0, 2**64, dtype=np.uint64)),
                source="model",
            )
        )
    return Episode(
        env_id="line/Walk-v0",
        seed=1000 + index,
        turns=tuple(turns),
        final_observation=observation(num_turns),
        terminated=index % 2 == 0,
        truncated=index % 2 == 1,
        success=index % 3 == 0,
        source="model",
        index=index if index_field is None else index_field,
        policy_version=index // 10,
        tokenizer="abc",
        env_args='{"size": 8}',
    )


def observation_bits(observation: Observation | None) -> object:
    if observation is None:
        return None
    image = observation.image
    return observation.text, None if image is None else (image.dtype, image.shape, image.tobytes())


def episode_bits(episode: Episode) -> object:
    """Everything an episode holds, as bytes where `==` would not tell NaN from NaN or 0.0 from -0.0."""
    turns = [
        (
            observation_bits(turn.observation),
            turn.reply,
            turn.action,
            struct.pack("<d", turn.reward),
            turn.parsed,
            turn.action_ok,
            (turn.reply_ids.dtype, turn.reply_ids.tobytes()),
            (turn.logprobs.dtype, turn.logprobs.tobytes()),
            turn.digest,
            turn.source,
        )
        for turn in episode.turns
    ]
    return (
        episode.env_id,
        episode.seed,
        turns,
        observation_bits(episode.final_observation),
        episode.terminated,
        episode.truncated,
        episode.success,
        episode.source,
        episode.index,
        episode.policy_version,
        episode.tokenizer,
        episode.env_args,
    )
