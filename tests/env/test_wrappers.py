"""The blank picture says nothing, and stays a picture."""

from __future__ import annotations

import numpy as np

from vlmq.env import registry
from vlmq.env.wrappers import BlankImage


def test_a_blank_picture_is_light_constant_and_never_what_a_model_would_drop() -> None:
    env = BlankImage(registry.make("line/Recall-v0"))
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    levels = np.unique(observation["image"])
    assert len(levels) == 1
    assert 200 < levels[0] < 255
    # (x / 255 - mean) / std with mean = std = 0.5, the usual normalisation: far from 0
    assert abs((levels[0] / 255 - 0.5) / 0.5) > 0.5
    assert observation["text"].startswith("Remember it")
