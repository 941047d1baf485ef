"""xGen-MM's prompts and pictures.

Read in salesforce/LAVIS, branch xgen-mm: the special tokens in open_flamingo/src/xgenmm.py (`_special_tokens`), how a
picture's embeddings take the place of "<image>" in open_flamingo/src/vlm.py (`_prepare_inputs_for_forward`). The form
of a conversation is that of the model's card (Salesforce_xgen-mm-phi3-mini-instruct-r-v1.md in
YinanWusoymilk/hf-readme, `apply_prompt_template`), the picture's size and colours are those of
image_processing_blip_3.py in Beniko95J/eval_llm (`Blip3ImageProcessor`, `resize_mode` "squash").

What differs:

1. One "<image>" stands in the source's ids for all embeddings of a picture; here it stands as often as there are.
2. The source cuts a large picture into tiles beside a small version of the whole ("anyres"). Here a picture is the
   whole, resized, alone: `image_aspect_ratio` "pad" in the source's words. What only the tiles would show is not seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoTokenizer
from transformers.utils import cached_file

from vlmq.api import InStreamProcessor

IMAGE = "<image>"
SPECIAL = (IMAGE, "<image placeholder>", "<|endofchunk|>")
"""In the order in which the model's own `update_special_tokens` adds them, which settles their ids."""
END = "<|end|>"
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_SIDE = 378
_MEAN, _SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_PER_PICTURE = 128


def tokenizer(source: str) -> Any:
    """The model's tokenizer with the special tokens that its own code adds."""
    found = AutoTokenizer.from_pretrained(source)
    found.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    # the card's programs stop there; the tokenizer itself knows the end of a text alone
    found.eos_token = END
    return found


def processor(source: str) -> InStreamProcessor:
    """The processor of a model directory or Hub id."""
    count = (_said(source, "config.json").get("vision_tokenizer_config") or {}).get(
        "num_vis_tokens", _PER_PICTURE
    )
    return InStreamProcessor(
        tokenizer(source),
        pixels(_said(source, "preprocessor_config.json")),
        image_token=IMAGE,
        tokens_per_picture=int(count),
        render=conversation,
        template="xgenmm-phi3",
    )


def conversation(messages: Sequence[dict[str, Any]], reply_follows: bool) -> str:
    """The turns under the model card's system message.

    Args:
        messages: roles and lists of typed parts.
        reply_follows: whether the assistant's turn is opened.
    """
    said = [f"<|system|>\n{SYSTEM}{END}\n"]
    for message in messages:
        pictures = sum(part["type"] == "image" for part in message["content"])
        text = "".join(part["text"] for part in message["content"] if part["type"] == "text")
        said.append(f"<|{message['role']}|>\n" + f"{IMAGE}\n" * pictures + f"{text}{END}\n")
    return "".join(said) + ("<|assistant|>\n" if reply_follows else "")


def pixels(said: dict[str, Any]) -> Callable[[Image.Image], NDArray[np.float32]]:
    """What turns a picture into (3, side, side), by the settings of `preprocessor_config.json`."""
    size = said.get("size") or (_SIDE, _SIDE)
    height, width = (size["height"], size["width"]) if isinstance(size, dict) else size
    mean = np.asarray(said.get("image_mean") or _MEAN, np.float32)[:, None, None]
    spread = np.asarray(said.get("image_std") or _SPREAD, np.float32)[:, None, None]

    def process(picture: Image.Image) -> NDArray[np.float32]:
        small = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        values: NDArray[np.float32] = np.asarray(small, np.float32).transpose(2, 0, 1) / np.float32(255)
        return (values - mean) / spread

    return process


def _said(source: str, file: str) -> dict[str, Any]:
    """What a JSON file of a model directory or Hub id holds; {} without one."""
    found = cached_file(
        source,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if found is None:
        return {}
    said: dict[str, Any] = json.loads(Path(found).read_text(encoding="utf-8"))
    return said
