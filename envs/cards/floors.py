"""Floors and ceilings of the games, played anew: python floors.py [--episodes N] [--seed S].

Random play picks among `legal_actions`, all alike; the expert is the environment's own. The games are played
in the text modality: it deals the same episodes as the others and draws nothing.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from vlmq_env_cards.blackjack import Blackjack
from vlmq_env_cards.ezpoints import EZPoints
from vlmq_env_cards.game import Game
from vlmq_env_cards.numberline import NumberLine
from vlmq_env_cards.points24 import Points24

GAMES: dict[str, type[Game]] = {
    "cards/NumberLine-v0": NumberLine,
    "cards/EZPoints-v0": EZPoints,
    "cards/Points24-v0": Points24,
    "cards/Blackjack-v0": Blackjack,
}


class Tally(NamedTuple):
    """What a policy achieved: two shares of the episodes, and two means over them."""

    success: float
    positive: float
    mean_return: float
    mean_turns: float


def play(game: type[Game], policy: str, episodes: int, seed: int) -> Tally:
    """Play `episodes` episodes by policy "random" or "expert"; the seed governs deals and choices."""
    env = game(modality="text")
    chooser = np.random.default_rng((seed, 1))
    successes = positives = turns = 0
    total = 0.0
    for episode in range(episodes):
        _, info = env.reset(seed=seed if episode == 0 else None)
        episode_return, over = 0.0, False
        while not over:
            if policy == "expert":
                action = env.expert_action()
            else:
                action = env.legal_actions[int(chooser.integers(len(env.legal_actions)))]
            _, reward, terminated, truncated, info = env.step(action)
            episode_return += reward
            turns += 1
            over = terminated or truncated
        successes += bool(info["success"])
        positives += episode_return > 0
        total += episode_return
    return Tally(successes / episodes, positives / episodes, total / episodes, turns / episodes)


def main() -> None:
    """Print one line for each game and policy."""
    parser = argparse.ArgumentParser(description="Success and return of random play and of the expert.")
    parser.add_argument("--episodes", type=int, default=20_000, help="episodes for each line")
    parser.add_argument("--seed", type=int, default=0, help="governs deals and random choices")
    args = parser.parse_args()
    if args.episodes < 1:
        parser.error(f"--episodes {args.episodes}: play at least one episode")
    print(f"{args.episodes} episodes a line, seed {args.seed}; 95 % of repeats lie within the +-")
    print(f"{'game':<21}{'policy':<8}{'success %':>16}{'return > 0 %':>16}{'return':>9}{'turns':>7}")
    for name, game in GAMES.items():
        for policy in ("random", "expert"):
            tally = play(game, policy, args.episodes, args.seed)
            shares = "".join(_share(share, args.episodes) for share in tally[:2])
            print(f"{name:<21}{policy:<8}{shares}{tally.mean_return:>9.3f}{tally.mean_turns:>7.2f}")


def _share(share: float, episodes: int) -> str:
    reach = 1.96 * (share * (1 - share) / episodes) ** 0.5
    return f"{100 * share:>9.2f} +-{100 * reach:>4.2f}"


if __name__ == "__main__":
    main()
