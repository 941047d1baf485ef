"""What a slow environment costs: lock-step against asynchronous collection, side by side, with real generation.

    python benchmarks/asynchronous.py [--rounds 3]

Eight environments in processes of their own, seven of which take 0.2 s a turn and one 2 s, are played by the tiny
model, which samples its replies. Rounds alternate between the two ways; a ratio is that of their turns a second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from null_env import install

from vlmq.model.backbone import load_backbone, locate
from vlmq.model.generate import Sampling
from vlmq.prompt.encode import Encoder
from vlmq.rollout.collector import Player
from vlmq.rollout.policies import Context, ModelPolicy, Policy, Reply

NUM_ENVS = 8


@dataclass
class Watched:
    """A policy whose batches and seconds are counted."""

    policy: Policy
    batches: list[int] = field(default_factory=list)
    seconds: float = 0.0
    reads_context: bool = True

    def replies(self, contexts: list[Context]) -> list[Reply]:
        """The policy's own."""
        started = time.perf_counter()
        replies = self.policy.replies(contexts)
        self.seconds += time.perf_counter() - started
        self.batches.append(len(contexts))
        return replies


def main() -> None:
    """Print turns a second both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each round, each way")
    parser.add_argument("--turn", type=float, default=0.2, help="seconds a turn of seven environments")
    parser.add_argument("--straggler", type=float, default=2.0, help="seconds a turn of the eighth")
    parser.add_argument("--model", default="pkg:vlmq_model_tiny")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = tempfile.TemporaryDirectory()
    install(Path(folder.name))
    encoder = Encoder.load(locate(arguments.model))
    sampling = Sampling(16, 1.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    policy = ModelPolicy(load_backbone(arguments.model).eval(), encoder, sampling, seed=1)
    ratios = []
    for _ in range(arguments.rounds):
        rates = [_round(arguments, encoder, policy, asynchronous=way) for way in (False, True)]
        ratios.append(rates[1] / rates[0])
    print(
        f"asynchronous over lock-step: {np.median(ratios):.2f} times the turns a second "
        f"(range {min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} rounds)"
    )


def _round(arguments: argparse.Namespace, encoder: Encoder, policy: Policy, *, asynchronous: bool) -> float:
    """Turns a second of one round; prints what it was made of."""
    watched = Watched(policy)
    with tempfile.TemporaryDirectory() as flags:
        env_args: dict[str, Any] = {
            "turn_s": arguments.turn, "straggler_s": arguments.straggler, "folder": flags,
        }  # fmt: skip
        with Player(
            "null/Null-v0", NUM_ENVS, encoder, env_args=env_args, workers=True, max_reply=16,
            asynchronous=asynchronous,
        ) as player:  # fmt: skip
            started = time.perf_counter()
            for _ in player.play(watched, range(10**6), lambda index: index, source="null"):
                taken = time.perf_counter() - started
                if taken > arguments.seconds:
                    break
    turns = sum(watched.batches)
    how = "asynchronous" if asynchronous else "lock-step   "
    print(
        f"{how} {turns / taken:6.1f} turns/s, mean policy batch {turns / len(watched.batches):.1f} of {NUM_ENVS}, "
        f"the policy at work for {100 * watched.seconds / taken:.0f} % of the time"
    )
    return turns / taken


if __name__ == "__main__":
    main()
