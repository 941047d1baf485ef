"""Messages to tokens and pixels: the only use of a Hugging Face processor, for acting and for learning alike.

A prompt is encoded turn by turn and appended; no earlier id is ever computed again, and replies are spliced
in as the ids that were sampled. So what the learner sees is what the actor saw, id for id.

Two shortcuts, both checked against the processor itself:

1. the ids of a prompt depend on its text and on its picture's size only, so they are kept;
2. where the image processor acts on each pixel alone (no resizing at this size), a table of 256 values for
   each channel replaces it. The table is read off the processor and verified bit for bit on a second picture.
"""

from __future__ import annotations

import hashlib
import re
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
from vlmq.prompt.processor import load as load_processor
from vlmq.prompt.processor import save as save_processor

Pixels = dict[str, NDArray[Any]]
"""What an image processor makes of one picture, without its batch dimension for rows."""

_MARK = "\u241f"  # a character that no template contains
_CACHE_SIZE = 8192
_OF_TEXT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "labels")
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
    """

    def __init__(self, processor: Any, reply_format: ReplyFormat = "json", *, thoughts: bool = False) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.reply_format = reply_format
        self.instruction = instruction(reply_format, thoughts)
        if not getattr(processor, "chat_template", None) and not getattr(
            self.tokenizer, "chat_template", None
        ):
            raise ModelError(
                "the model's processor has no chat template; add a chat_template.jinja to its directory."
            )
        self.end_id = self._find_end()
        pad = self.tokenizer.pad_token_id
        self.pad_id = int(pad if pad is not None else self.end_id)
        self.banned_ids = self._find_banned()
        self.fingerprint = self._fingerprint()
        names = self.tokenizer.convert_ids_to_tokens([*self.banned_ids, self.end_id])
        self._special = re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))
        self.prefix_stable = self._is_prefix_stable()
        self._ids: OrderedDict[tuple[Any, ...], NDArray[np.int32]] = OrderedDict()
        self._texts: OrderedDict[bytes, str] = OrderedDict()
        self._thoughts: OrderedDict[bytes, NDArray[np.bool_]] = OrderedDict()
        self._tables: dict[tuple[int, ...], _PixelTable | None] = {}
        self._stacked: bool | None = None

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
        shown = Observation(self._disarm(observation.text), observation.image)
        text = self._render([chat.user_message(shown, self.instruction)], generate=True)
        if observation.image is None:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            return {
                "input_ids": torch.tensor([ids]),
                "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
            }
        made = self._processed(text, [observation.image], return_tensors="pt")
        return {name: value for name, value in made.items() if isinstance(value, Tensor) and name != "labels"}

    def prompts(self, context: Sequence[Observation]) -> list[Segment]:
        """Encode the observations of one window."""
        return [self.prompt(observation, first=index == 0) for index, observation in enumerate(context)]

    def reply(self, text: str) -> NDArray[np.int32]:
        """Ids of a reply that no model sampled, end token included."""
        key = ("reply", text)
        ids = self._ids.get(key)
        if ids is None:
            body = self.tokenizer(self._disarm(text), add_special_tokens=False)["input_ids"]
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
        if image.shape not in self._tables:
            self._tables[image.shape] = self._read_table(image.shape)
        table = self._tables[image.shape]
        if table is None:
            return self._process(image)
        like = table.constants["pixel_values"]
        return {**table.constants, "pixel_values": table.planes(image).reshape(like.shape)}

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
        batch.update(self._collate_pixels([row.pixels for row in rows]))
        return batch

    def _collate_pixels(self, rows: list[tuple[Pixels, ...]]) -> dict[str, Tensor]:
        pictures = [pixels for row in rows for pixels in row]
        if not pictures:
            return {}
        if not self._stacked:
            return {
                name: torch.from_numpy(np.concatenate([pixels[name] for pixels in pictures]))
                for name in pictures[0]
            }
        most = max(sum(len(pixels["pixel_values"]) for pixels in row) for row in rows)
        batch: dict[str, Tensor] = {}
        for name, like in pictures[0].items():
            # Zeros are the family's own sign of "no picture here".
            stacked = np.zeros((len(rows), most, *like.shape[1:]), like.dtype)
            for index, row in enumerate(rows):
                if row:
                    filled = np.concatenate([pixels[name] for pixels in row])
                    stacked[index, : len(filled)] = filled
            batch[name] = torch.from_numpy(stacked)
        return batch

    # -- private -------------------------------------------------------------------------------------------

    def _render(self, messages: list[chat.Message], *, generate: bool) -> str:
        return str(
            self.processor.apply_chat_template(messages, add_generation_prompt=generate, tokenize=False)
        )

    def _prompt_ids(self, observation: Observation, first: bool) -> NDArray[np.int32]:
        shown = Observation(self._disarm(observation.text), observation.image)
        message = chat.user_message(shown, self.instruction if first else "")
        text = self._render([message], generate=True) if first else self._continuation(message)
        if observation.image is None:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            self._demand_a_place(message)
            ids = self._processed(text, [observation.image])["input_ids"][0]
        return np.asarray(ids, np.int32)

    def _demand_a_place(self, message: chat.Message) -> None:
        """A picture must leave a mark in the prompt, or nobody would notice that the model never sees it."""
        texts = [part for part in message["content"] if part["type"] != "image"]
        if self._render([message], generate=False) == self._render(
            [{**message, "content": texts}], generate=False
        ):
            raise ModelError(
                "the model's chat template leaves pictures out; give it one that writes the image token where a part "
                "of type 'image' stands."
            )

    def _processed(self, text: str, images: list[NDArray[np.uint8]], **options: Any) -> Any:
        """What the whole processor makes of one text and its pictures."""
        try:
            return self.processor(
                text=[text], images=[[_as_picture(i) for i in images]], add_special_tokens=False, **options
            )
        except ValueError as error:
            shape = " x ".join(map(str, images[0].shape[:2]))
            raise ModelError(
                f"the model's processor takes no picture of {shape} pixels where its chat template puts one "
                f"({' '.join(str(error).split())[:200]}); mend the template's image token or the processor's settings."
            ) from error

    def _disarm(self, text: str) -> str:
        """A text that spells a special token does not become one: `<image>` reads `< image>`."""
        return self._special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def _continuation(self, message: chat.Message) -> str:
        """What the template adds after a reply's end token when one more turn follows."""
        before = [chat.user_message(Observation(" ")), chat.assistant_message(_MARK)]
        text = self._render([*before, message], generate=True).split(_MARK, 1)[1]
        end = self.tokenizer.decode([self.end_id])
        return text.removeprefix(end)

    def _find_end(self) -> int:
        """The token that the template puts right after a reply."""
        messages = [chat.user_message(Observation(" ")), chat.assistant_message(_MARK)]
        rendered = self._render(messages, generate=False)
        if _MARK not in rendered:
            raise ModelError(
                "the model's chat template leaves replies out; give it one with an assistant turn."
            )
        after = self.tokenizer(rendered.split(_MARK, 1)[1], add_special_tokens=False)["input_ids"]
        special = set(self.tokenizer.all_special_ids)
        if after and after[0] in special:
            return int(after[0])
        if self.tokenizer.eos_token_id is None:
            raise ModelError("the model's tokenizer has no token that ends a reply; set its eos_token.")
        return int(self.tokenizer.eos_token_id)

    def _find_banned(self) -> tuple[int, ...]:
        special = {int(i) for i in self.tokenizer.all_special_ids}
        special |= {int(i) for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        image_id = getattr(self.processor, "image_token_id", None)
        return tuple(sorted((special | ({int(image_id)} if image_id is not None else set())) - {self.end_id}))

    def _is_prefix_stable(self) -> bool:
        first = chat.user_message(Observation("a"))
        turns = [first, chat.assistant_message(_MARK), chat.user_message(Observation("b"))]
        return self._render(turns, generate=True).startswith(self._render([first], generate=True))

    def _fingerprint(self) -> str:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        tokens = backend.to_str() if backend is not None else repr(sorted(self.tokenizer.get_vocab().items()))
        template = str(getattr(self.processor, "chat_template", "") or self.tokenizer.chat_template)
        return hashlib.blake2b((tokens + template).encode(), digest_size=8).hexdigest()

    def _process(self, image: NDArray[np.uint8]) -> Pixels:
        if self._stacked is None:
            # A family either stacks the pictures of each row, (rows, pictures, ...), or lists all of them.
            self._stacked = self._pixels_of([image, image])["pixel_values"].shape[:2] == (1, 2)
        made = self._pixels_of([image])
        return {name: value[0] if self._stacked else value for name, value in made.items()}

    def _pixels_of(self, images: list[NDArray[np.uint8]]) -> Pixels:
        """Of one row that holds these pictures; the whole processor is asked, for it may set its image processor."""
        messages = [chat.user_message(Observation(" ", image)) for image in images]
        made = self._processed(self._render(messages, generate=False), images, return_tensors="np")
        if "pixel_values" not in made:
            raise ModelError(
                f"the model's processor, a {type(self.processor).__name__}, drops pictures: it gives {sorted(made)} "
                "and no pixel_values; choose a vision-language model, or mend its processor."
            )
        return {
            name: np.asarray(value)
            for name, value in made.items()
            if name not in _OF_TEXT and isinstance(value, np.ndarray)
        }

    def _read_table(self, shape: tuple[int, ...]) -> _PixelTable | None:
        """The processor as a function of each pixel alone, or None where it mixes pixels."""
        height, width, _ = shape
        made = self._process(np.zeros(shape, np.uint8) + np.uint8(7))
        if height * width < 256 or made["pixel_values"].size != 3 * height * width:
            return None
        ramp = np.arange(height * width, dtype=np.int64) % 256
        probe = np.stack([np.roll(ramp, shift) for shift in (0, 85, 170)], -1).astype(np.uint8).reshape(shape)
        out = self._process(probe)["pixel_values"].reshape(3, -1)
        values = np.zeros((3, 256), out.dtype)
        for channel in range(3):
            values[channel, probe[..., channel].reshape(-1)] = out[channel]
        table = _PixelTable(values, _arithmetic(values, self.processor.image_processor), made)
        check = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        expected = self._process(check)
        planes = table.planes(check).reshape(expected["pixel_values"].shape)
        same = np.array_equal(planes, expected["pixel_values"])
        constants = all(np.array_equal(made[n], expected[n]) for n in made if n != "pixel_values")
        return table if same and constants else None


@dataclass(frozen=True, eq=False)
class _PixelTable:
    """An image processor that treats each pixel alone.

    Attributes:
        values: what it makes of 0 to 255, (3, 256).
        arithmetic: mean and spread, () or (3, 1, 1), that give the very same numbers, faster; None where they do not.
        constants: what it gives beside the pixels, whatever the picture shows.
    """

    values: NDArray[np.float32]
    arithmetic: tuple[NDArray[np.float32], NDArray[np.float32]] | None
    constants: Pixels

    def planes(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(3, H, W) of a picture (H, W, 3)."""
        planes = np.empty((3, *image.shape[:2]), self.values.dtype)
        if self.arithmetic is not None:
            return _standardised(np.ascontiguousarray(image.transpose(2, 0, 1)), *self.arithmetic, planes)
        for channel in range(3):
            np.take(self.values[channel], image[..., channel], out=planes[channel], mode="clip")
        return planes


def _arithmetic(
    values: NDArray[np.float32], image_processor: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Mean and spread with which plain arithmetic equals the table, to the last bit."""
    mean, spread = getattr(image_processor, "image_mean", None), getattr(image_processor, "image_std", None)
    if values.dtype != np.float32 or mean is None or spread is None:
        return None
    numbers = [np.asarray(n, np.float32).reshape(-1, 1, 1) for n in (mean, spread)]
    if all((number == number[0]).all() for number in numbers):  # one number is quicker than one a channel
        numbers = [number[0, 0, 0].reshape(()) for number in numbers]
    levels = np.broadcast_to(np.arange(256, dtype=np.uint8), (3, 1, 256))
    made = _standardised(levels, numbers[0], numbers[1], np.empty((3, 1, 256), np.float32))
    return (numbers[0], numbers[1]) if np.array_equal(made[:, 0], values) else None


def _standardised(
    levels: NDArray[np.uint8],
    mean: NDArray[np.float32],
    spread: NDArray[np.float32],
    out: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(levels / 255 - mean) / spread, in `out`."""
    np.divide(levels, np.float32(255.0), out=out)
    np.subtract(out, mean, out=out)
    return np.divide(out, spread, out=out)


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


def _as_picture(image: NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(image)


def digest(segments: list[Segment], replies: list[NDArray[np.int32]]) -> int:
    """Fingerprint of a context: prompts and replies in order, ids and pixels."""
    value = 1
    for index, segment in enumerate(segments):
        value = zlib.adler32((segment.checksum & _WORD).to_bytes(8, "little"), value)
        if index < len(replies):
            value = zlib.adler32(np.ascontiguousarray(replies[index], np.int32).tobytes(), value)
    return value
