"""Draws the pictures of the README: python pictures.py [FOLDER].

Three moments of an episode of CoinCollector, of Simple and of Cooking, enlarged: its beginning, a moment on the way,
and the last before the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from vlmq_env_textworld.env import TextWorld

EPISODES = {"CoinCollector": (2, 1, 3), "Simple": (1, 2, 3), "Cooking": (3, 1, 2)}
"""By challenge: the level, the seed, and how many times the pictures are enlarged."""


def episode(challenge: str) -> Image.Image:
    """Three moments of one episode, played by the expert, side by side."""
    level, seed, times = EPISODES[challenge]
    env = TextWorld(challenge, level=level, games=10)
    observation, _ = env.reset(seed=seed)
    frames = [observation["image"]]
    terminated = False
    while not terminated:
        action = env.expert_action()
        assert action is not None
        observation, _, terminated, _, _ = env.step(action)
        frames.append(observation["image"])
    gap = np.full((env.size, 4, 3), 255, np.uint8)
    strip = np.concatenate([frames[0], gap, frames[len(frames) // 2], gap, frames[-2]], axis=1)
    image = Image.fromarray(strip)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def main() -> None:
    """Write every picture."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for challenge in EPISODES:
        episode(challenge).save(folder / f"{challenge.lower()}.png", optimize=True)


if __name__ == "__main__":
    main()
