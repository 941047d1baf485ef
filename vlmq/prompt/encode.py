"""Messages to tokens and pixels: the only use of a Hugging Face processor, for acting and for learning alike.

A prompt is encoded turn by turn and appended; no earlier id is ever computed again, and replies are spliced
in as the ids that were sampled. So what the learner sees is what the actor saw, id for id.

The ids of a prompt depend on its text and on its picture's size only, so they are kept.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq.api import ModelError, Observation
from vlmq.prompt import chat
from vlmq.prompt.parse import ReplyFormat, instruction, thought_span
from vlmq.prompt.pixels import PictureReader, Pixels, processed
from vlmq.prompt.processor import load as load_processor
from vlmq.prompt.processor import reads_conversations
from vlmq.prompt.processor import save as save_processor
from vlmq.prompt.template import Template

_CACHE_SIZE = 8192
_WORD = 2**64 - 1


@dataclass(frozen=True, eq=False)
class Segment:
    """One prompt: its ids (n,) with image tokens expanded, and its picture."""

    ids: NDArray[np.int32]
    pixels: Pixels | None
    checksum: int


@dataclass(frozen=True, eq=False)
class Row:
    """One sequence: ids (L,) and the pictures whose tokens stand in it, in order.

    Attributes:
        reply: how many tokens at its end are the reply that is learnt; 0 where it is a prompt, or a whole trajectory.
    """

    ids: NDArray[np.int32]
    pixels: tuple[Pixels, ...]
    reply: int = 0


class Encoder:
    """Turns observations and replies into token ids and pixels, and ids back into text.

    Args:
        processor: a Hugging Face processor with a chat template, a tokenizer and an image processor.
        reply_format: the form of the replies, said in the first prompt of a window.
        thoughts: whether the prompt asks for thoughts before the action.

    Attributes:
        end_id: the token that ends a reply; it is an action of the agent like any other.
        pad_id: fills the batch; attention masks, never the id, say what is padding.
        banned_ids: special tokens that a reply may not contain (image tokens among them).
        fingerprint: identifies tokenizer and template; stored with every dataset.
        instruction: what a window's first prompt says of the form of replies, "" for nothing.
        prefix_stable: whether the chat template renders a prompt the same when turns follow it.
        template: the chat template.
        pictures: makes pixels of pictures.
    """

    def __init__(self, processor: Any, reply_format: ReplyFormat = "json", *, thoughts: bool = False) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.reply_format = reply_format
        self.instruction = instruction(reply_format, thoughts)
        self.template = Template(processor)
        self.end_id, self.banned_ids = self.template.end_id, self.template.banned_ids
        self.fingerprint, self.prefix_stable = self.template.fingerprint, self.template.prefix_stable
        self.pictures = PictureReader(processor, self.template)
        pad = self.tokenizer.pad_token_id
        self.pad_id = int(pad if pad is not None else self.end_id)
        self._ids: OrderedDict[tuple[Any, ...], NDArray[np.int32]] = OrderedDict()
        self._texts: OrderedDict[bytes, str] = OrderedDict()
        self._thoughts: OrderedDict[bytes, NDArray[np.bool_]] = OrderedDict()

    @classmethod
    def load(
        cls,
        path: str | Path,
        reply_format: ReplyFormat = "json",
        *,
        thoughts: bool = False,
        trust_remote_code: bool = False,
    ) -> Encoder:
        """Load the processor of a model directory or Hub id; pictures are always processed by Pillow."""
        try:
            processor = load_processor(path, trust_remote_code=trust_remote_code)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:200]
            if "trust_remote_code" in str(error):
                raise ModelError(
                    f"the processor of '{path}' is code that comes with it and was not run; if you have read and trust "
                    "it, set model.trust_remote_code true."
                ) from error
            if isinstance(error, ImportError):
                raise ModelError(
                    f"the processor of '{path}' needs a library that is not here: {reason}"
                ) from error
            raise ModelError(
                f"'{path}' holds no processor for pictures and text; choose a vision-language model ({reason})."
            ) from error
        if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
            raise ModelError(
                f"{path}: its processor is {type(processor).__name__}, without images; "
                "choose a vision-language model."
            )
        return cls(processor, reply_format, thoughts=thoughts)

    def save(self, folder: str | Path, source: str | Path) -> None:
        """Write the processor, as plain transformers loads it; `source` is where it was loaded from."""
        save_processor(self.processor, folder, source)

    # -- to tokens -----------------------------------------------------------------------------------------

    def prompt(self, observation: Observation, *, first: bool) -> Segment:
        """Encode the prompt that shows one observation.

        Args:
            observation: what the environment shows.
            first: whether a window starts here. A first prompt holds whatever the template puts in front and
                the instruction; a later one continues after the reply before it.
        """
        shape = None if observation.image is None else observation.image.shape
        key = (observation.text, shape, first)
        ids = self._ids.get(key)
        if ids is None:
            ids = self._prompt_ids(observation, first)
            _remember(self._ids, key, ids)
        checksum = zlib.adler32(ids.data)
        if observation.image is None:
            return Segment(ids, None, checksum)
        pixels = self.pixels(observation.image)
        checksum = zlib.adler32(np.ascontiguousarray(observation.image).data, checksum)
        return Segment(ids, pixels, (checksum << 32) ^ _fold(pixels["pixel_values"]))

    def own_inputs(self, observation: Observation) -> dict[str, Tensor]:
        """The first prompt that shows an observation, as the model's own processor gives it to the model: one row."""
        if not reads_conversations(self.processor):
            prompt = self.prompt(observation, first=True)
            return self.collate(
                [Row(prompt.ids, () if prompt.pixels is None else (prompt.pixels,))], left=False
            )
        message = chat.user_message(
            Observation(self.template.disarm(observation.text), observation.image), self.instruction
        )
        if observation.image is not None:
            message["content"][0]["image"] = chat.as_picture(observation.image)
        made = self.processor.apply_chat_template(
            [message], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        return {name: value for name, value in made.items() if isinstance(value, Tensor) and name != "labels"}

    def prompts(self, context: Sequence[Observation]) -> list[Segment]:
        """Encode the observations of one window."""
        return [self.prompt(observation, first=index == 0) for index, observation in enumerate(context)]

    def reply(self, text: str) -> NDArray[np.int32]:
        """Ids of a reply that no model sampled, end token included."""
        key = ("reply", text)
        ids = self._ids.get(key)
        if ids is None:
            body = self.tokenizer(self.template.disarm(text), add_special_tokens=False)["input_ids"]
            ids = np.asarray([*body, self.end_id], np.int32)
            _remember(self._ids, key, ids)
        return ids

    def decode(self, ids: NDArray[np.int32]) -> str:
        """The text of reply ids, without the end token."""
        key = ids.tobytes()
        text = self._texts.get(key)
        if text is None:
            body = ids[:-1] if len(ids) and ids[-1] == self.end_id else ids
            text = str(
                self.tokenizer.decode(
                    body.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
                )
            )
            _remember(self._texts, key, text)
        return text

    def thoughts(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which tokens (n,) of a reply belong to its thoughts; one that holds a part of them does."""
        key = ids.tobytes()
        found = self._thoughts.get(key)
        if found is None:
            found = np.zeros(len(ids), bool)
            start, stop = thought_span(self.decode(ids), self.reply_format)
            if stop > start:
                ends = np.array([len(self.decode(ids[: count + 1])) for count in range(len(ids))])
                begins = np.concatenate([[0], ends[:-1]])
                # A token that only completes a character adds no length.
                found = (ends > start) & ((begins < stop) | ((begins == ends) & (ends == stop)))
            _remember(self._thoughts, key, found)
        return found

    def pixels(self, image: NDArray[np.uint8]) -> Pixels:
        """What the image processor makes of one picture of shape (H, W, 3)."""
        return self.pictures.read(image)

    # -- to batches ----------------------------------------------------------------------------------------

    def collate(self, rows: list[Row], *, left: bool) -> dict[str, Tensor]:
        """Pad rows to one batch of model inputs.

        Args:
            rows: R causal sequences.
            left: pad on the left (for generation) or on the right (for learning).

        Returns:
            input_ids and attention_mask (R, L) int64, and what the image processor gave, batched as the
            model family expects it; where rows end with a reply reply_mask (R, L), 1 on its tokens.
        """
        length = max(len(row.ids) for row in rows)
        ids = np.full((len(rows), length), self.pad_id, np.int64)
        mask = np.zeros((len(rows), length), np.int64)
        for index, row in enumerate(rows):
            place = slice(length - len(row.ids), length) if left else slice(0, len(row.ids))
            ids[index, place] = row.ids
            mask[index, place] = 1
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if any(row.reply for row in rows):
            batch["reply_mask"] = torch.from_numpy(_reply_mask(rows, mask.shape, left))
        batch.update(self.pictures.collate([row.pixels for row in rows]))
        return batch

    # -- private -------------------------------------------------------------------------------------------

    def _prompt_ids(self, observation: Observation, first: bool) -> NDArray[np.int32]:
        shown = Observation(self.template.disarm(observation.text), observation.image)
        message = chat.user_message(shown, self.instruction if first else "")
        text = (
            self.template.render([message], generate=True) if first else self.template.continuation(message)
        )
        if observation.image is None:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            self.template.demand_a_place(message)
            ids = processed(self.processor, text, [observation.image])["input_ids"][0]
        lead = self.template.lead if first else ()
        return np.asarray([*lead, *ids], np.int32)


def _reply_mask(rows: list[Row], shape: tuple[int, ...], left: bool) -> NDArray[np.int64]:
    """1 on the tokens of the reply that each row ends with."""
    mask = np.zeros(shape, np.int64)
    for index, row in enumerate(rows):
        end = shape[1] if left else len(row.ids)
        mask[index, end - row.reply : end] = 1
    return mask


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Keep a value, and let the oldest go where there are too many."""
    kept[key] = value
    if len(kept) > _CACHE_SIZE:
        kept.popitem(last=False)


def _fold(values: NDArray[Any]) -> int:
    """A quick checksum of an array's bytes: their sum as 64-bit words, or Adler-32 where they are no such words."""
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if flat.size % 8:
        return zlib.adler32(flat.tobytes())
    return int(np.add.reduce(flat.view(np.uint64)))


def digest(segments: list[Segment], replies: list[NDArray[np.int32]]) -> int:
    """Fingerprint of a context: prompts and replies in order, ids and pixels."""
    value = 1
    for index, segment in enumerate(segments):
        value = zlib.adler32((segment.checksum & _WORD).to_bytes(8, "little"), value)
        if index < len(replies):
            value = zlib.adler32(np.ascontiguousarray(replies[index], np.int32).tobytes(), value)
    return value
