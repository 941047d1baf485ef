"""Seconds to make a game, milliseconds to begin one, turns per second: python speed.py [--turns N] [--games N].

Games are made in a cache of the script's own. Time is this process's own processor time, so that other work on the
machine counts for little. Play is random, among the legal actions; resets are counted apart.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

import numpy as np
from vlmq_env_textworld.cache import FOLDER_VARIABLE
from vlmq_env_textworld.env import MODALITIES, TextWorld
from vlmq_env_textworld.levels import LEVELS


def seconds_to_make(challenge: str, level: int, games: int) -> float:
    """Mean time of an episode's beginning where the game must be made."""
    env = TextWorld(challenge, level=level, games=games, modality="text")
    began = time.process_time()
    for number in range(games):
        env.reset(seed=number)
    return (time.process_time() - began) / games


def rates(challenge: str, level: int, modality: str, games: int, turns: int) -> tuple[float, float]:
    """Milliseconds of a reset, and turns per second without the resets."""
    env = TextWorld(challenge, level=level, games=games, modality=modality)
    choices = np.random.default_rng(0).random(turns).tolist()
    resets, in_resets, began = 0, 0.0, time.process_time()
    over, info = True, {}
    for choice in choices:
        if over:
            start = time.process_time()
            _, info = env.reset(seed=resets)
            in_resets += time.process_time() - start
            resets += 1
        legal = info["legal_actions"]
        _, _, terminated, truncated, info = env.step(legal[int(choice * len(legal))])
        over = terminated or truncated
    return 1e3 * in_resets / resets, turns / (time.process_time() - began - in_resets)


def main() -> None:
    """Print one line for each challenge and level."""
    parser = argparse.ArgumentParser(description="Seconds to make a game; turns per second.")
    parser.add_argument("--turns", type=int, default=400, help="turns for each number")
    parser.add_argument("--games", type=int, default=4, help="games for each level")
    parser.add_argument("--challenges", nargs="+", default=list(LEVELS), choices=list(LEVELS))
    args = parser.parse_args()
    if args.turns < 1 or args.games < 1:
        parser.error("--turns and --games must be 1 at least")
    print(f"{args.games} games and {args.turns} turns for each number")
    print(
        f"{'challenge':<16}{'level':>5}{'make s':>8}{'reset ms':>10}" + "".join(f"{m:>8}" for m in MODALITIES)
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER_VARIABLE] = folder
        seconds_to_make("CoinCollector", 1, 1)  # the first game also loads TextWorld
        for challenge in args.challenges:
            for level in range(1, len(LEVELS[challenge]) + 1):
                made = seconds_to_make(challenge, level, args.games)
                found = [rates(challenge, level, m, args.games, args.turns) for m in MODALITIES]
                speeds = "".join(f"{speed:>8.0f}" for _, speed in found)
                print(f"{challenge:<16}{level:>5}{made:>8.2f}{found[0][0]:>10.1f}{speeds}", flush=True)


if __name__ == "__main__":
    main()
