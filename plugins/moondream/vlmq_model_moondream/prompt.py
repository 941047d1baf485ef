"""Moondream2's prompts and pictures.

Read in vikhyat/moondream: the form of a prompt in moondream/hf/moondream.py (`answer_question`, `input_embeds`), the
sizes of pictures in moondream/hf/vision_encoder.py (`preprocess`, `supported_sizes`).

What differs:

1. The source cuts a prompt at "<image>" and puts the picture's embeddings there; here the tokenizer gets "<image>" as a
   special token, which stands in the ids as often as a picture has embeddings, and which the trunk replaces by them.
2. Pixels are computed in float32, not float16.
3. The source allows one picture a prompt; here every turn may show one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoTokenizer

from vlmq.api import InStreamProcessor

IMAGE = "<image>"
SIDE, PATCH = 378, 14
SIZES = ((378, 378), (378, 756), (756, 378), (756, 756))
"""Heights and widths that the vision encoder takes."""
SMALL = 512
"""A picture whose longer side is below this is shown whole."""


def tokenizer(source: str) -> Any:
    """The model's tokenizer, which knows the image token."""
    found = AutoTokenizer.from_pretrained(source)
    found.add_special_tokens({"additional_special_tokens": [IMAGE]})
    return found


def processor(source: str) -> InStreamProcessor:
    """The processor of a model directory or Hub id."""
    own = tokenizer(source)

    def render(messages: Sequence[dict[str, Any]], reply_follows: bool) -> str:
        return conversation(messages, reply_follows, start=own.bos_token, end=own.eos_token)

    count = (SIDE // PATCH) ** 2
    return InStreamProcessor(
        own, pixels, image_token=IMAGE, tokens_per_picture=count, render=render, template="moondream-question"
    )


def conversation(messages: Sequence[dict[str, Any]], reply_follows: bool, *, start: str, end: str) -> str:
    """Questions and answers; every question begins with its picture, if there is one.

    Args:
        messages: roles and lists of typed parts.
        reply_follows: every question ends with "Answer:" in any case.
        start: token in front of everything.
        end: token after each answer.
    """
    said = [start]
    for message in messages:
        text = "".join(part["text"] for part in message["content"] if part["type"] == "text")
        if message["role"] == "assistant":
            said.append(f"{text}{end}")
            continue
        pictures = sum(part["type"] == "image" for part in message["content"])
        said.append(f"{IMAGE * pictures}\n\nQuestion: {text}\n\nAnswer:")
    return "".join(said)


def pixels(picture: Image.Image) -> NDArray[np.float32]:
    """(3, height, width) in [-1, 1], of one of the sizes that the encoder takes."""
    height, width = size_for(*picture.size)
    small = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    values = np.asarray(small, np.float32).transpose(2, 0, 1) / np.float32(255)
    return (values - np.float32(0.5)) / np.float32(0.5)


def size_for(width: int, height: int) -> tuple[int, int]:
    """Height and width for a picture: the supported shape nearest to its own; of two, the nearer size."""
    if max(width, height) < SMALL:
        return SIDE, SIDE
    shape = width / height
    return min(SIZES, key=lambda s: (abs(s[1] / s[0] - shape), abs(s[0] - width) + abs(s[1] - height)))
