"""Success and turns on the levels, played anew: python floors.py [--levels NAME ...] [--episodes N].

Random play picks among `legal_actions`, all alike; the expert is the environment's own. The episodes are those of
seeds 0, 1, 2 ..., played in the text modality: it deals the same levels as the others, and draws no pictures.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from vlmq_env_babyai.env import LEGAL_ACTIONS, BabyAI
from vlmq_env_babyai.levels import LEVELS

POLICIES = ("random", "expert")


class Tally(NamedTuple):
    """What a policy achieved: the share of episodes solved, the mean number of turns, the seeds not solved."""

    success: float
    mean_turns: float
    lost: list[int]


def play(level: str, policy: str, seeds: range) -> Tally:
    """One episode of each seed by one of `POLICIES`."""
    env = BabyAI(level, modality="text")
    lost, turns = [], 0
    for seed in seeds:
        chooser = np.random.default_rng((seed, 1))
        env.reset(seed=seed)
        over = False
        while not over:
            if policy == "random":
                action = LEGAL_ACTIONS[int(chooser.integers(len(LEGAL_ACTIONS)))]
            else:
                advised = env.expert_action()
                assert advised is not None
                action = advised
            _, _, terminated, truncated, info = env.step(action)
            over, turns = terminated or truncated, turns + 1
        if not info["success"]:
            lost.append(seed)
    return Tally(1 - len(lost) / len(seeds), turns / len(seeds), lost)


def main() -> None:
    """Print one line for each level and policy."""
    parser = argparse.ArgumentParser(description="Success and turns of random play and of the expert.")
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), help="all by default")
    parser.add_argument("--episodes", type=int, default=100, help="episodes for each line")
    parser.add_argument("--policies", nargs="+", default=["random", "expert"], choices=POLICIES)
    args = parser.parse_args()
    if args.episodes < 1:
        parser.error(f"--episodes {args.episodes}: play at least one episode")
    print(f"{args.episodes} episodes a line; 95 % of repeats lie within the +-")
    print(f"{'level':<27}{'policy':<8}{'success %':>16}{'turns':>8}  seeds not solved")
    for level in args.levels:
        for policy in args.policies:
            success, turns, lost = play(level, policy, range(args.episodes))
            reach = 1.96 * (success * (1 - success) / args.episodes) ** 0.5
            share = f"{100 * success:>9.1f} +-{100 * reach:>4.1f}"
            some = " ".join(map(str, lost[:10])) + (" ..." if len(lost) > 10 else "")
            print(f"{level:<27}{policy:<8}{share}{turns:>8.1f}  {some}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
