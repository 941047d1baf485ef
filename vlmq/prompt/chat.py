"""Observations to chat messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import Observation

Message = dict[str, Any]
"""A message as Hugging Face chat templates take it: role, and a list of typed content parts."""


def user_message(observation: Observation, instruction: str = "") -> Message:
    """The message that shows one observation: its picture, if there is one, then its text.

    Args:
        observation: what the environment shows.
        instruction: how to reply; said once, in the first message of a window.
    """
    text = f"{observation.text}\n{instruction}" if instruction else observation.text
    parts: list[dict[str, str]] = [] if observation.image is None else [{"type": "image"}]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def assistant_message(reply: str) -> Message:
    """The message that holds one reply."""
    return {"role": "assistant", "content": [{"type": "text", "text": reply}]}


def as_picture(image: NDArray[np.uint8]) -> Any:
    """A picture (H, W, 3) as Hugging Face processors take it."""
    from PIL import Image

    return Image.fromarray(image)
