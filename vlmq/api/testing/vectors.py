"""Plays recorded episodes again in gymnasium's vector environments, and says where they part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import gymnasium

from vlmq.api.testing.deadline import time_limit
from vlmq.api.testing.play import Record, digest
from vlmq.api.testing.target import Target


def compare(target: Target, records: Sequence[Record], kind: Literal["sync", "async"]) -> str | None:
    """Where a vector environment differs from the records, one instance for each; None where it does not."""
    makers = [target.make] * len(records)
    mode = gymnasium.vector.AutoresetMode.DISABLED
    envs: gymnasium.vector.VectorEnv[Any, Any, Any]
    if kind == "sync":
        envs = gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode)
    else:
        envs = gymnasium.vector.AsyncVectorEnv(makers, autoreset_mode=mode, context="spawn")
    try:
        observations, _ = envs.reset(seed=[record.seed for record in records])
        for turn in range(min(len(record.moments) for record in records)):
            rewards: Any = [0.0] * len(records)
            terminated: Any = [False] * len(records)
            truncated: Any = terminated
            if turn:
                actions = tuple(record.actions[turn - 1] for record in records)
                observations, rewards, terminated, truncated, _ = envs.step(actions)
            for index, record in enumerate(records):
                wanted = record.moments[turn]
                seen = {
                    "text": (observations["text"][index], wanted.text),
                    "picture": (_picture(observations, index), wanted.picture),
                    "reward": (float(rewards[index]), float(wanted.reward)),
                    "ending": (
                        (bool(terminated[index]), bool(truncated[index])),
                        (wanted.terminated, wanted.truncated),
                    ),
                }
                for part, (there, here) in seen.items():
                    if there != here:
                        return f"the {part} of instance {index} differs at turn {turn}"
        return None
    finally:
        with time_limit():
            envs.close()


def _picture(observations: Mapping[str, Any], index: int) -> str | None:
    return digest(observations["image"][index].tobytes()) if "image" in observations else None
