"""Pictures to what the vision tower takes, one at a time and in batches.

Where the image processor acts on each pixel alone (no resizing at this size), a table of 256 values for each
channel replaces it. Elsewhere the processor's image processor is called alone, with what the processor gives it: a
third of the time goes into the text beside it, whose ids are known. Both are read off the processor and verified bit
for bit on a second picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq.api import ModelError, Observation
from vlmq.prompt import chat
from vlmq.prompt.template import Template

Pixels = dict[str, NDArray[Any]]
"""What an image processor makes of one picture, without its batch dimension for rows."""

_OF_TEXT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "labels")


class PictureReader:
    """What a processor makes of pictures.

    Args:
        processor: a Hugging Face processor.
        template: its chat template: it is asked for a whole conversation, for it may set its image processor.
    """

    def __init__(self, processor: Any, template: Template) -> None:
        self._processor, self._template = processor, template
        self._tables: dict[tuple[int, ...], _PixelTable | None] = {}
        self._alone: dict[tuple[int, ...], _ImageProcessor | None] = {}
        self._met: set[tuple[int, ...]] = set()
        self._stacked: bool | None = None

    def read(self, image: NDArray[np.uint8]) -> Pixels:
        """Of one picture of shape (H, W, 3)."""
        table = self.table(image.shape)
        if table is None:
            # A size that is met once is not worth finding the quicker way for.
            alone = self.alone(image.shape) if image.shape in self._met else None
            self._met.add(image.shape)
            return self._process(image) if alone is None else self._of_one(alone(image))
        like = table.constants["pixel_values"]
        return {**table.constants, "pixel_values": table.planes(image).reshape(like.shape)}

    def table(self, shape: tuple[int, ...]) -> _PixelTable | None:
        """What replaces the processor for pictures of this shape (H, W, 3); None where it mixes pixels."""
        if shape not in self._tables:
            self._tables[shape] = self._read_table(shape)
        return self._tables[shape]

    def alone(self, shape: tuple[int, ...]) -> _ImageProcessor | None:
        """The image processor by itself, for pictures of this shape; None where that gives other pixels."""
        if shape not in self._alone:
            self._alone[shape] = self._read_alone(shape)
        return self._alone[shape]

    def collate(self, rows: list[tuple[Pixels, ...]]) -> dict[str, Tensor]:
        """The pictures of each row, batched as the model family expects them; {} where there are none."""
        pictures = [pixels for row in rows for pixels in row]
        if not pictures:
            return {}
        batch = {name: _joined([pixels[name] for pixels in pictures]) for name in pictures[0]}
        if self._stacked:
            counts = np.array([sum(len(pixels["pixel_values"]) for pixels in row) for row in rows])
            there = np.arange(counts.max()) < counts[:, None]
            batch = {name: _placed(values, there) for name, values in batch.items()}
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def _process(self, image: NDArray[np.uint8]) -> Pixels:
        made = self._pixels_of([image])
        if self._stacked is None:
            # A family either stacks the pictures of each row, or their tiles, (rows, pictures, ...), or lists all.
            one, two = made["pixel_values"].shape, self._pixels_of([image, image])["pixel_values"].shape
            self._stacked = one[0] == two[0] == 1 and two[1] == 2 * one[1]
        return self._of_one(made)

    def _of_one(self, made: Pixels) -> Pixels:
        return {name: value[0] if self._stacked else value for name, value in made.items()}

    def _pixels_of(self, images: list[NDArray[np.uint8]]) -> Pixels:
        """Of one row that holds these pictures; the whole processor is asked, for it may set its image processor."""
        messages = [chat.user_message(Observation(" ", image)) for image in images]
        made = processed(
            self._processor, self._template.render(messages, generate=False), images, return_tensors="np"
        )
        if "pixel_values" not in made:
            raise ModelError(
                f"the model's processor, a {type(self._processor).__name__}, drops pictures: it gives {sorted(made)} "
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
        table = _PixelTable(values, _arithmetic(values, self._processor.image_processor), made)
        check = _noise(shape)
        expected = self._process(check)
        planes = table.planes(check).reshape(expected["pixel_values"].shape)
        same = np.array_equal(planes, expected["pixel_values"])
        constants = all(np.array_equal(made[n], expected[n]) for n in made if n != "pixel_values")
        return table if same and constants else None

    def _read_alone(self, shape: tuple[int, ...]) -> _ImageProcessor | None:
        """The image processor with what the processor gave it for one picture, or None where it was not asked so."""
        known = getattr(self._processor, "image_processor", None)
        asked = _Overheard(known)
        try:
            self._processor.image_processor = asked
            expected = self._pixels_of([np.zeros(shape, np.uint8) + np.uint8(7)])
        except TypeError:  # a processor that takes nothing but image processors
            return None
        finally:
            self._processor.image_processor = known
        if asked.options is None:
            return None
        found = _ImageProcessor(known, asked.options, asked.nested, tuple(expected))
        check = _noise(shape)
        expected, made = self._pixels_of([check]), found(check)
        same = all(name in made and np.array_equal(made[name], expected[name]) for name in expected)
        return found if same else None


@dataclass(frozen=True, eq=False)
class _ImageProcessor:
    """An image processor, and how its processor calls it.

    Attributes:
        call: the image processor.
        options: beside the pictures.
        nested: whether the pictures of a row are a list of their own.
        names: of what the processor passes on.
    """

    call: Any
    options: dict[str, Any]
    nested: bool
    names: tuple[str, ...]

    def __call__(self, image: NDArray[np.uint8]) -> Pixels:
        """What it makes of a row that holds one picture (H, W, 3)."""
        picture = chat.as_picture(image)
        made = self.call([[picture]] if self.nested else [picture], **self.options)
        return {name: np.asarray(made[name]) for name in self.names if name in made}


class _Overheard:
    """An image processor that remembers how it was last called.

    Attributes:
        options: named ones, beside the pictures; None where it was not called, or with others.
        nested: whether the pictures of a row were a list of their own.
    """

    def __init__(self, known: Any) -> None:
        self._known = known
        self.options: dict[str, Any] | None = None
        self.nested = False

    def __call__(self, images: Any, *others: Any, **options: Any) -> Any:
        self.options = None if others else options
        self.nested = isinstance(images[0], list | tuple)
        return self._known(images, *others, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._known, name)


def processed(processor: Any, text: str, images: list[NDArray[np.uint8]], **options: Any) -> Any:
    """What a whole processor makes of one text and its pictures.

    Args:
        processor: the Hugging Face processor.
        text: as the chat template rendered it.
        images: each of shape (H, W, 3).
        options: of the processor's call.
    """
    try:
        return processor(
            text=[text], images=[[chat.as_picture(i) for i in images]], add_special_tokens=False, **options
        )
    except ValueError as error:
        shape = " x ".join(map(str, images[0].shape[:2]))
        raise ModelError(
            f"the model's processor takes no picture of {shape} pixels where its chat template puts one "
            f"({' '.join(str(error).split())[:200]}); mend the template's image token or the processor's settings."
        ) from error


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


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Parts one after another; zeros fill up those that are smaller, as an image processor fills up its pictures.

    What of them is real, the image processor says beside them: in a mask, or as the pictures' sizes.
    """
    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    whole = np.zeros((sum(map(len, parts)), *largest), parts[0].dtype)
    start = 0
    for part in parts:
        whole[(slice(start, start + len(part)), *map(slice, part.shape[1:]))] = part
        start += len(part)
    return whole


def _placed(values: NDArray[Any], there: NDArray[np.bool_]) -> NDArray[Any]:
    """Values, in order, where they are wanted; elsewhere zeros, the families' own sign of "no picture here"."""
    placed = np.zeros((*there.shape, *values.shape[1:]), values.dtype)
    placed[there] = values
    return placed


def _noise(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A picture of the same noise every time, on which two ways to process it are compared."""
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
