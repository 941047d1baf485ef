"""Floors and ceilings of the tasks, played anew: python floors.py [--episodes N] [--levels 0 1 ...] [--seed S].

Random play picks among `legal_actions`, all alike; the experts are the environment's own. The episodes are played in
the text modality: it draws the same homes as the others, and no pictures.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from vlmq_env_household.env import EXPERTS, Household
from vlmq_env_household.home import TASKS


class Tally(NamedTuple):
    """What a policy achieved: the share of episodes solved, and the mean number of turns."""

    success: float
    mean_turns: float


def play(task: str, level: int, policy: str, episodes: int, seed: int) -> Tally:
    """Play `episodes` episodes by policy "random" or one of the experts; the seed governs homes and choices."""
    own = {} if policy == "random" else {"expert": policy}
    env = Household(task=task, level=level, modality="text", **own)
    chooser = np.random.default_rng((seed, 1))
    successes = turns = 0
    for episode in range(episodes):
        _, info = env.reset(seed=seed if episode == 0 else None)
        over = False
        while not over:
            if policy != "random":
                action = env.expert_action()
                assert action is not None
            else:
                legal = info["legal_actions"]
                action = legal[int(chooser.integers(len(legal)))]
            _, _, terminated, truncated, info = env.step(action)
            turns += 1
            over = terminated or truncated
        successes += bool(info["success"])
    return Tally(successes / episodes, turns / episodes)


def main() -> None:
    """Print one line for each task, level and policy."""
    parser = argparse.ArgumentParser(description="Success and turns of random play and of the experts.")
    parser.add_argument("--episodes", type=int, default=1000, help="episodes for each line")
    parser.add_argument("--levels", type=int, nargs="+", default=[0, 1, 4], help="from 0 to 4")
    parser.add_argument("--seed", type=int, default=0, help="governs homes and random choices")
    args = parser.parse_args()
    if args.episodes < 1:
        parser.error(f"--episodes {args.episodes}: play at least one episode")
    print(f"{args.episodes} episodes a line, seed {args.seed}; 95 % of repeats lie within the +-")
    print(f"{'task':<8}{'level':>5}  {'policy':<10}{'success %':>16}{'turns':>8}")
    for task in TASKS:
        for level in args.levels:
            for policy in ("random", *EXPERTS):
                success, turns = play(task, level, policy, args.episodes, args.seed)
                reach = 1.96 * (success * (1 - success) / args.episodes) ** 0.5
                share = f"{100 * success:>9.2f} +-{100 * reach:>4.2f}"
                print(f"{task:<8}{level:>5}  {policy:<10}{share}{turns:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
