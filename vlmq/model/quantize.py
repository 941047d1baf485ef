"""A frozen language model in 4 or 8 bits, under the adapters that are trained (QLoRA, arXiv 2305.14314).

Only the linear layers of the language model are quantised. Vision tower, connector, embeddings, norms and the language
head keep the trunk's precision: they are small, and no adapter lies on them that could make good for it.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

from vlmq.api import ModelError

Bits = Literal["4bit", "8bit"]
_LAYERS = ("Linear4bit", "Linear8bitLt")
"""Classes of bitsandbytes' layers, whichever library wraps them."""
_REPACKS = "support_avx512bf16_for_cpu"
_BLOCK, _NESTED = 64, 256
"""Weights that share a scale in 4 bits, and scales that share one of their own."""


def config_for(source: str, bits: Bits, *, dtype: torch.dtype, trust_remote_code: bool) -> BitsAndBytesConfig:
    """How transformers shall load a model so.

    Args:
        source: directory or Hub id.
        bits: which.
        dtype: in which 4-bit layers compute.
        trust_remote_code: whether code that comes with the checkpoint may run.

    Raises:
        ModelError: bitsandbytes is not there.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"model.lora.quantize is {bits}, which needs bitsandbytes; `pip install 'vlmq[quantized]'`."
        )
    # Layers in 8 bits would say at every call that they compute in float16.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=trust_remote_code)
    chosen = set(language_linears(model))
    apart = [
        re.escape(name)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name not in chosen
    ]
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=apart)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=apart,
    )


def settle(model: nn.Module) -> None:
    """Keep quantised layers as they are loaded.

    On a CPU with AVX512-BF16 bitsandbytes repacks a layer's weights when it first acts, rounds their scales,
    computes in bfloat16 from then on, and fails where a row is no multiple of a block: what acts would not be what
    learns.
    """
    for module in model.modules():
        if _is_layer(module) and hasattr(module, _REPACKS):
            setattr(module, _REPACKS, False)


def language_linears(model: Any) -> list[str]:
    """Names of the linear layers of the language model, its head apart."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    own = {id(module) for module in decoder.modules() if isinstance(module, nn.Linear) and module is not head}
    return [name for name, module in model.named_modules() if id(module) in own]


def size(model: Any, bits: Bits) -> tuple[int, int]:
    """Bytes of the layers that would be quantised: as they are in a model, and in so many bits.

    Args:
        model: not quantised, with adapters or without.
        bits: which.
    """
    names = {name.removesuffix(".base_layer") for name in language_linears(model) if "lora_" not in name}
    weights = [
        parameter
        for name, parameter in model.named_parameters()
        if name.removesuffix(".weight").removesuffix(".base_layer") in names and parameter.dim() == 2
    ]
    now = sum(weight.numel() * weight.element_size() for weight in weights)
    return now, sum(_quantised(weight.shape[0], weight.numel(), bits) for weight in weights)


def is_quantised(model: nn.Module) -> bool:
    """Whether any layer is."""
    return any(_is_layer(module) for module in model.modules())


def states(model: nn.Module) -> set[str]:
    """Names in the state of a model that belong to quantised layers: weights, scales and tables."""
    layers = [f"{name}." for name, module in model.named_modules() if _is_layer(module)]
    own = tuple(prefix for prefix in layers if prefix)
    return (
        {name for name in model.state_dict() if name.startswith(own) and "lora_" not in name}
        if own
        else set()
    )


def _is_layer(module: nn.Module) -> bool:
    return type(module).__name__ in _LAYERS and type(module).__module__.startswith("bitsandbytes")


def _quantised(rows: int, count: int, bits: Bits) -> int:
    if bits == "8bit":
        return count + 4 * rows  # a float32 scale a row
    blocks = -(-count // _BLOCK)
    return (count + 1) // 2 + blocks + 4 * -(-blocks // _NESTED)
