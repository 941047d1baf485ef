"""Draws the pictures of the README: python pictures.py [FOLDER].

`legend.png` names every sprite; `level0.png`, `level2.png` and `level4.png` show one episode each, enlarged: its
beginning, its middle and its end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from vlmq_env_household import sprites
from vlmq_env_household.catalogue import MARKS, RECEPTACLES, THINGS
from vlmq_env_household.env import Household

EPISODES = {0: ("heat", 3, 3), 2: ("two", 2, 2), 4: ("light", 5, 2)}
"""By level: the task, the seed, and how many times the pictures are enlarged."""

_SIGNS = ("agent", "unseen", "hand", *MARKS)


def episode(level: int) -> Image.Image:
    """Three moments of one episode, side by side; random play goes first, so that there is something to see."""
    task, seed, times = EPISODES[level]
    env = Household(task=task, level=level, max_turns=1000, expert="shortest")
    chooser = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    frames = [observation["image"]]
    for turn in range(1000):
        ways = [action for action in info["legal_actions"] if action.startswith(("go", "open"))]
        strays = turn < 4 * level and len(ways) > 0
        action = ways[int(chooser.integers(len(ways)))] if strays else env.expert_action()
        assert action is not None
        observation, _, terminated, _, info = env.step(action)
        frames.append(observation["image"])
        if terminated:
            break
    gap = np.full((env.size, 4, 3), 255, np.uint8)
    strip = np.concatenate([frames[0], gap, frames[len(frames) * 2 // 3], gap, frames[-1]], axis=1)
    image = Image.fromarray(strip)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def legend(columns: int = 8, width: int = 96, height: int = 62, times: int = 3) -> Image.Image:
    """Every sprite with its name."""
    names = [*RECEPTACLES, *THINGS, *_SIGNS]
    rows = -(-len(names) // columns)
    image = Image.new("RGB", (columns * width, rows * height), (238, 236, 230))
    draw, font, inks = ImageDraw.Draw(image), ImageFont.load_default(12), sprites.palette(None)
    for index, name in enumerate(names):
        x, y = index % columns * width, index // columns * height
        tall, wide = sprites.shapes()[name].shape
        picture = sprites.sprite(name, inks, wide * times, tall * times)
        if name == "unseen":
            image.paste((160, 163, 170), (x, y, x + width, y + height))
        image.paste(picture, (x + (width - picture.width) // 2, y + 40 - picture.height), picture)
        draw.text((x + width // 2, y + 51), name, fill=(20, 20, 20), font=font, anchor="mm")
    return image


def main() -> None:
    """Write every picture."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    legend().save(folder / "legend.png", optimize=True)
    for level in EPISODES:
        episode(level).save(folder / f"level{level}.png", optimize=True)


if __name__ == "__main__":
    main()
