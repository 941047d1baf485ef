"""Floors and ceilings, played anew: python floors.py [--episodes N] [--challenges House ...] [--split held_out].

Random play picks among `legal_actions`, all alike; the expert is the environment's own. Each game is played once by
either, in the text modality. Games that were never played before are made and kept.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from vlmq_env_textworld.env import TextWorld
from vlmq_env_textworld.levels import LEVELS, SPLITS


class Tally(NamedTuple):
    """What a policy achieved: the share of episodes solved, and the mean number of turns."""

    success: float
    mean_turns: float


def play(env: TextWorld, policy: str, episodes: int) -> Tally:
    """Play `episodes` games by policy "random" or "expert"."""
    successes = turns = 0
    for number in range(episodes):
        _, info = env.reset(seed=number)
        chooser = np.random.default_rng((number, 1))
        over = False
        while not over:
            legal = info["legal_actions"]
            action = legal[int(chooser.integers(len(legal)))] if policy == "random" else env.expert_action()
            assert action is not None
            _, _, terminated, truncated, info = env.step(action)
            turns += 1
            over = terminated or truncated
        successes += bool(info["success"])
    return Tally(successes / episodes, turns / episodes)


def main() -> None:
    """Print one line for each challenge, level and policy."""
    parser = argparse.ArgumentParser(description="Success and turns of random play and of the expert.")
    parser.add_argument("--episodes", type=int, default=100, help="games for each line")
    parser.add_argument("--challenges", nargs="+", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--levels", nargs="+", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--split", default="train", choices=SPLITS)
    args = parser.parse_args()
    if args.episodes < 1:
        parser.error(f"--episodes {args.episodes}: play at least one")
    print(f"{args.episodes} games a line, split {args.split}; 95 % of repeats lie within the +-")
    print(f"{'challenge':<16}{'level':>5}  {'policy':<8}{'success %':>16}{'turns':>8}")
    for challenge in args.challenges:
        for level in args.levels:
            if level > len(LEVELS[challenge]):
                continue
            env = TextWorld(challenge, level=level, split=args.split, games=args.episodes, modality="text")
            for policy in ("random", "expert"):
                success, turns = play(env, policy, args.episodes)
                reach = 1.96 * (success * (1 - success) / args.episodes) ** 0.5
                share = f"{100 * success:>9.2f} +-{100 * reach:>4.2f}"
                print(f"{challenge:<16}{level:>5}  {policy:<8}{share}{turns:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
