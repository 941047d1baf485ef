"""Turns per second of random legal play on one core, resets included: python speed.py [--turns N].

Time is this process's own processor time, so that other work on the machine counts for little.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from vlmq_env_household.env import MODALITIES, Household
from vlmq_env_household.generator import LEVELS


def turns_per_second(level: int, modality: str, turns: int) -> float:
    """Play so many turns, and say how many of them a second of processor time holds."""
    env = Household(level=level, modality=modality)
    choices = np.random.default_rng(0).random(turns).tolist()
    _, info = env.reset(seed=0)
    began = time.process_time()
    for choice in choices:
        legal = info["legal_actions"]
        _, _, terminated, truncated, info = env.step(legal[int(choice * len(legal))])
        if terminated or truncated:
            _, info = env.reset()
    return turns / (time.process_time() - began)


def main() -> None:
    """Print one line for each level, a column for each modality."""
    parser = argparse.ArgumentParser(description="Turns per second, resets included.")
    parser.add_argument("--turns", type=int, default=10_000, help="turns for each number")
    args = parser.parse_args()
    if args.turns < 1:
        parser.error(f"--turns {args.turns}: play at least one turn")
    print(f"turns per second, {args.turns} turns each\nlevel  " + "".join(f"{m:>9}" for m in MODALITIES))
    for level in range(len(LEVELS)):
        rates = [turns_per_second(level, modality, args.turns) for modality in MODALITIES]
        print(f"{level:<7}" + "".join(f"{rate:>9.0f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
