"""A frozen vision tower runs once for each picture: what it says of one never changes, so it is kept.

Learning draws the same pictures again and again, and own play has seen them before; with a frozen tower on the CPU the
features of the latest ones are kept in memory. Only towers that treat each picture of a batch apart and give nothing
but their last hidden states are remembered (Idefics3 and SmolVLM are such); any other runs as it always did.
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
TOWERS = ("Idefics3VisionTransformer", "SmolVLMVisionTransformer")
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
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self._bytes = 0
        self._output: Callable[..., Any] = dict
        self.asked = self.computed = 0

    def __call__(
        self, pixel_values: Tensor, patch_attention_mask: Tensor | None = None, **options: Any
    ) -> Any:
        """The tower's output for a batch of pictures (N, 3, H, W).

        Args:
            pixel_values: the pictures.
            patch_attention_mask: (N, rows, columns) which patches count.
            options: as the model gives them.
        """
        if pixel_values.device.type != "cpu":
            # An accelerator has run the tower before the picture is fingerprinted here.
            return self._forward(pixel_values, patch_attention_mask=patch_attention_mask, **options)
        keys = _keys(pixel_values, patch_attention_mask)
        new = [place for place, key in enumerate(keys) if key not in self._kept]
        # The same picture twice in a batch is computed once.
        new = list({keys[place]: place for place in reversed(new)}.values())
        self.asked, self.computed = self.asked + len(keys), self.computed + len(new)
        if new:
            mask = None if patch_attention_mask is None else patch_attention_mask[new]
            # Features kept for the learner must be ordinary tensors, wherever they were first asked for.
            with torch.inference_mode(False), torch.no_grad():
                output = self._forward(pixel_values[new], patch_attention_mask=mask, **options)
            self._output = type(output)
            for place, features in zip(new, output.last_hidden_state, strict=True):
                self._keep(keys[place], features.clone())
        found = torch.stack([self._kept[key] for key in keys])
        for key in keys:
            self._kept.move_to_end(key)
        self._forget_oldest()
        return self._output(last_hidden_state=found)

    def _keep(self, key: bytes, features: Tensor) -> None:
        self._kept[key] = features
        self._bytes += features.numel() * features.element_size()

    def _forget_oldest(self) -> None:
        while self._bytes > self._capacity and self._kept:
            _, features = self._kept.popitem(last=False)
            self._bytes -= features.numel() * features.element_size()


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


def _keys(pixels: Tensor, mask: Tensor | None) -> list[bytes]:
    """A fingerprint of each picture with its mask, and of the precision that is in force."""
    autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    context = f"{pixels.dtype} {autocast} {tuple(pixels.shape[1:])}".encode()
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
