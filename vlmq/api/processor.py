"""A processor for adapters: a picture becomes a fixed number of tokens in the stream of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class InStreamProcessor:
    """The part of a Hugging Face processor's surface that vlmq uses.

    Args:
        tokenizer: a Hugging Face tokenizer that knows the image token as a special one.
        picture: turns a PIL picture into float32 (3, H, W).
        image_token: where a picture stands in a rendered prompt, once.
        tokens_per_picture: how often the token stands there in the ids.
        render: messages, and whether a reply shall follow, to text.
        template: names the rendering; a dataset made with another one is told from ours by it.

    Attributes:
        image_token_id: id of the image token.
    """

    def __init__(
        self,
        tokenizer: Any,
        picture: Callable[[Any], NDArray[np.float32]],
        *,
        image_token: str,
        tokens_per_picture: int,
        render: Callable[[Sequence[dict[str, Any]], bool], str],
        template: str,
    ) -> None:
        self.tokenizer = tokenizer
        self.image_processor = picture
        self.image_token, self._count = image_token, tokens_per_picture
        self.image_token_id = int(tokenizer.convert_tokens_to_ids(image_token))
        self._render = render
        self.chat_template = template

    def apply_chat_template(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = False,
    ) -> str:
        """The text of a conversation."""
        assert not tokenize, "ids are made with the pictures"
        return self._render(messages, add_generation_prompt)

    def __call__(
        self,
        text: Sequence[str],
        images: Sequence[Sequence[Any]] | None = None,
        *,
        add_special_tokens: bool = False,
        return_tensors: str | None = None,
    ) -> dict[str, Any]:
        """Ids of each text as lists, and pixel_values (pictures, 3, H, W).

        Raises:
            ValueError: the texts have not as many image tokens as there are pictures.
        """
        pictures = [picture for row in images or () for picture in row]
        places = sum(one.count(self.image_token) for one in text)
        if places != len(pictures):
            raise ValueError(f"{places} places for pictures in the text, and {len(pictures)} pictures")
        whole = [one.replace(self.image_token, self.image_token * self._count) for one in text]
        made = {"input_ids": self.tokenizer(whole, add_special_tokens=add_special_tokens)["input_ids"]}
        if pictures:
            made["pixel_values"] = np.stack([self.image_processor(picture) for picture in pictures])
        return made

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the tokenizer; the rest is the adapter's own."""
        self.tokenizer.save_pretrained(folder)
