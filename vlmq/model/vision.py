"""A frozen vision tower runs once for each picture: what it says of one never changes, so it is kept.

Learning draws the same pictures again and again, and own play has seen them before; with a frozen tower on the CPU the
features of the latest ones are kept in memory. Only towers that are known to treat each picture of a batch apart are
remembered: those of Idefics3, SmolVLM, LLaVA, LLaVA-OneVision, InternVL, Gemma 3 and PaliGemma. Qwen's read a batch of
pictures as one sequence; they, and any other, run as they always did.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

CAPACITY_BYTES = 512 * 1024 * 1024
"""Of features kept; the oldest go."""
TOWERS = (
    "Idefics3VisionTransformer",
    "SmolVLMVisionTransformer",
    "CLIPVisionModel",
    "SiglipVisionModel",
    "InternVLVisionModel",
)
"""Classes of towers whose forward is known to treat pictures apart."""


class Remembered:
    """The forward of a frozen tower, looked up where it can be.

    Args:
        forward: the tower's own.
        capacity_bytes: of features kept.

    Attributes:
        asked: pictures so far.
        computed: those among them that the tower ran on.
    """

    def __init__(self, forward: Callable[..., Any], capacity_bytes: int = CAPACITY_BYTES) -> None:
        self._forward = forward
        self._capacity = capacity_bytes
        self._kept: OrderedDict[bytes, dict[str, Any]] = OrderedDict()
        self._bytes = 0
        self._output: Callable[..., Any] = dict
        self.asked = self.computed = 0

    def __call__(
        self, pixel_values: Tensor, patch_attention_mask: Tensor | None = None, **options: Any
    ) -> Any:
        """The tower's output for a batch of pictures (N, 3, H, W).

        Args:
            pixel_values: the pictures.
            patch_attention_mask: (N, rows, columns) which patches count, for towers that are told.
            options: as the model gives them.
        """
        told = {} if patch_attention_mask is None else {"patch_attention_mask": patch_attention_mask}
        if pixel_values.device.type != "cpu":
            # An accelerator has run the tower before the picture is fingerprinted here.
            return self._forward(pixel_values, **told, **options)
        keys = _keys(pixel_values, patch_attention_mask, options)
        new = [place for place, key in enumerate(keys) if key not in self._kept]
        # The same picture twice in a batch is computed once.
        new = list({keys[place]: place for place in reversed(new)}.values())
        self.asked, self.computed = self.asked + len(keys), self.computed + len(new)
        if new:
            # Features kept for the learner must be ordinary tensors, wherever they were first asked for.
            with torch.inference_mode(False), torch.no_grad():
                output = self._forward(
                    pixel_values[new], **{name: mask[new] for name, mask in told.items()}, **options
                )
            self._output = type(output)
            for index, place in enumerate(new):
                self._keep(keys[place], {name: _of_one(value, index) for name, value in output.items()})
        found = [self._kept[key] for key in keys]
        for key in keys:
            self._kept.move_to_end(key)
        self._forget_oldest()
        return self._output(**{name: _of_all([of[name] for of in found]) for name in found[0]})

    def _keep(self, key: bytes, features: dict[str, Any]) -> None:
        self._kept[key] = features
        self._bytes += _size(features)

    def _forget_oldest(self) -> None:
        while self._bytes > self._capacity and self._kept:
            _, features = self._kept.popitem(last=False)
            self._bytes -= _size(features)


def _of_one(value: Any, place: int) -> Any:
    """One picture's part of what a tower gives of a batch: a tensor, or a tuple that may have gaps."""
    if isinstance(value, tuple):
        return tuple(_of_one(part, place) for part in value)
    return None if value is None else value[place].clone()


def _of_all(parts: list[Any]) -> Any:
    """The same of several pictures, as a batch of them."""
    if isinstance(parts[0], tuple):
        return tuple(_of_all(list(layer)) for layer in zip(*parts, strict=True))
    return None if parts[0] is None else torch.stack(parts)


def _size(features: dict[str, Any]) -> int:
    flat = [part for value in features.values() for part in (value if isinstance(value, tuple) else (value,))]
    return sum(part.numel() * part.element_size() for part in flat if part is not None)


def remember(model: nn.Module) -> None:
    """Let every vision tower of a model that is frozen, without dropout and of a known class remember its pictures."""
    for tower in _towers(model):
        frozen = not any(parameter.requires_grad for parameter in tower.parameters())
        if frozen and not _drops(tower):
            tower.forward = Remembered(tower.forward)


def forget(model: nn.Module) -> None:
    """Back to towers that run at every call, as all processes of a sharded model must do together."""
    for tower in _towers(model):
        tower.__dict__.pop("forward", None)


def _towers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if type(module).__name__ in TOWERS]


def _drops(tower: nn.Module) -> bool:
    """Whether its output is random while training."""
    config = getattr(tower, "config", None)
    modules = any(isinstance(module, nn.Dropout) and module.p > 0 for module in tower.modules())
    return modules or getattr(config, "attention_dropout", 0.0) > 0


def _keys(pixels: Tensor, mask: Tensor | None, options: dict[str, Any]) -> list[bytes]:
    """A fingerprint of each picture with its mask, of what is asked of it, and of the precision that is in force."""
    autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    context = f"{pixels.dtype} {autocast} {tuple(pixels.shape[1:])} {sorted(options.items())}".encode()
    raw = pixels.detach().contiguous().view(torch.uint8).numpy()
    masks = None if mask is None else mask.detach().numpy()
    found = []
    for place, picture in enumerate(raw):
        digest = hashlib.blake2b(context, digest_size=16)
        digest.update(picture.data)
        if masks is not None:
            digest.update(masks[place].tobytes())
        found.append(digest.digest())
    return found
