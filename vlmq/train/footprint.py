"""What a run needs of memory, counted before it is built, and what this machine has.

Weights, adapters, gradients, optimizer and heads are counted on a model without memory (torch's meta device), so they
are exact. Activations are an estimate: what autograd keeps of one batch is counted by hand for a transformer with gated
MLPs and without stored attention matrices (compare arXiv 2205.05198, section 4).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vlmq.data.batch import Batch
from vlmq.model import quantize, vision
from vlmq.model.actor_critic import HEAD_COPIES, ActorCritic
from vlmq.model.attention import reusable
from vlmq.model.backbone import VISION_NAMES
from vlmq.prompt.window import History
from vlmq.train import build
from vlmq.train.adamw import is_low
from vlmq.train.muon import inner_matrices


class Need(NamedTuple):
    """One line of the estimate."""

    name: str
    size: int
    note: str


def of_model(settings: dict[str, Any], *, kl_weight: float, optimizer: str) -> list[Need]:
    """What does not depend on the data.

    Args:
        settings: a module's, from which the actor-critic is built.
        kl_weight: above 0 the starting weights are kept, but for adapters.
        optimizer: its name.
    """
    lora = settings["lora"]
    bits = None if lora is None else lora.get("quantize")
    plain = {**settings, "weights": "random", "lora": None if lora is None else {**lora, "quantize": None}}
    with torch.device("meta"):
        model = build.actor_critic(plain)
    every = dict(model.backbone.named_parameters())
    low_rank = {name: p for name, p in every.items() if "lora_" in name}
    base = [p for name, p in every.items() if name not in low_rank]
    trained = [p for p in model.backbone.parameters() if p.requires_grad]
    heads = list(model.critic.parameters())
    one_number = {id(p) for p in inner_matrices(model.backbone)} if optimizer == "muon" else set()
    state = sum(4 * p.numel() * _numbers(p, muon=id(p) in one_number) for p in [*trained, *heads])
    weights, note = size_of(base), f"{_count(base)} parameters, {settings['dtype']}"
    if bits is not None:
        now, then = quantize.size(model.backbone.model, bits)
        weights, note = (
            weights - now + then,
            f"{note}; {shown(then)} of it in {bits}, instead of {shown(now)}",
        )
    needs = [
        Need("weights", weights, note),
        Need("adapters", size_of(list(low_rank.values())), f"{_count(list(low_rank.values()))} parameters"),
        Need(
            "gradients",
            sum(4 * p.numel() for p in [*trained, *heads]),  # a step takes them in float32
            f"of the {_count([*trained, *heads])} that are trained",
        ),
        Need(
            "optimizer state",
            state,
            f"{optimizer}, with a float32 copy of the weights" if any(map(is_low, trained)) else optimizer,
        ),
        Need("critic heads", size_of(heads), f"{settings['critic']['members']} of them"),
        Need("their Polyak copy", size_of(heads), ""),
    ]
    if kl_weight and lora is None:
        needs.append(Need("reference", size_of(base), "the starting weights, for model.kl_weight"))
    return [need for need in needs if need.size]


def of_batch(model: ActorCritic, batch: Batch) -> list[Need]:
    """What one batch keeps until its gradients are known.

    Args:
        model: the built one.
        batch: of an update.
    """
    rows, length = batch.inputs["input_ids"].shape
    config = model.backbone.model.config
    text = config.get_text_config()
    width = next(model.backbone.parameters()).element_size()
    again = model.backbone.checkpointed
    trunk = rows * length * _a_token(text, again=again) * width
    states, vocabulary = len(batch.state_row), model.backbone.vocabulary
    needs = [
        Need("activations, language", trunk, f"{rows} rows of {length} tokens; an estimate"),
        Need(
            "activations, heads",
            min(HEAD_COPIES * 4 * states * vocabulary, model.heads_bytes),
            f"{states} states x {vocabulary:,} tokens",
        ),
    ]
    pixels = batch.inputs.get("pixel_values")
    if pixels is not None:
        tower = getattr(config, "vision_config", None)
        learns = any(p.requires_grad for module in towers(model.backbone) for p in module.parameters())
        if learns and tower is not None:
            patch = getattr(tower, "patch_size", 16)
            side = patch if isinstance(patch, int) else patch[0]
            patches = pixels.numel() // (3 * side * side)
            needs.append(
                Need(
                    "activations, vision",
                    patches * _a_token(tower, again=again) * width,
                    f"{patches:,} patches; an estimate",
                )
            )
        needs.append(Need("pictures", pixels.numel() * pixels.element_size(), f"{tuple(pixels.shape)}"))
    return needs


def of_replay(dataset: Path, model: ActorCritic, device: torch.device) -> list[Need]:
    """What replay keeps: episodes lie in files that the system may drop from memory, features of frozen towers do not.

    Args:
        dataset: folder of the episodes.
        model: the built one.
        device: where it lives.
    """
    on_disk = (
        sum(file.stat().st_size for file in dataset.rglob("*") if file.is_file()) if dataset.is_dir() else 0
    )
    needs = [Need("replay", on_disk, "episodes, read from files as they are drawn")]
    remembering = any("forward" in vars(module) for module in model.backbone.modules())
    if device.type == "cpu" and remembering:
        needs.append(Need("frozen features", vision.CAPACITY_BYTES, "at most, of pictures seen"))
    return needs


def of_vllm(device: torch.device, memory: float) -> Need:
    """What vLLM takes for its copy of the weights and for what it has read.

    Args:
        device: that the run is on.
        memory: share of all its memory.
    """
    whole = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else _machine()
    return Need("vLLM", int(memory * whole), "at most, beside the learner (data.vllm.memory)")


def of_acting(model: ActorCritic, reuse_gb: float, history: History) -> list[Need]:
    """What acting keeps of the contexts it has read, for the turns that follow.

    Args:
        model: the built one.
        reuse_gb: the most that it may keep, in GB.
        history: of the contexts; without one nothing is read twice.
    """
    if not reuse_gb or history.turns == "none" or not reusable(model.backbone.model_type):
        return []
    return [Need("acting", int(reuse_gb * 1e9), "at most, of contexts read (model.reuse_gb)")]


def towers(model: nn.Module) -> list[nn.Module]:
    """The vision towers of a model."""
    return [module for name, module in model.named_modules() if name.split(".")[-1] in VISION_NAMES]


def there(device: torch.device) -> int:
    """Bytes that are free where the model will live; of this process's own limit where it has one."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _machine()
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            free = min(free, int(limit) - int((group / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):
        pass  # no such limit here
    return max(0, free)


def _machine() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def size_of(tensors: Sequence[Tensor]) -> int:
    """Bytes, a tensor that several share counted once."""
    return sum(t.numel() * t.element_size() for t in {id(t): t for t in tensors}.values())


def shown(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _numbers(weight: Tensor, *, muon: bool) -> int:
    """That the optimizer keeps of each of a weight's, in float32."""
    return (1 if muon else 2) + is_low(weight)


def _count(tensors: Sequence[Tensor]) -> str:
    number = sum(t.numel() for t in {id(t): t for t in tensors}.values())
    return f"{number / 1e9:.2f} B" if number >= 1e9 else f"{number / 1e6:.2f} M"


def _a_token(config: Any, *, again: bool) -> int:
    """Numbers that autograd keeps of one token in all layers of a transformer.

    Args:
        config: the transformer's.
        again: whether each layer is run again in the backward pass, so that all is kept of one of them alone.
    """
    width = int(getattr(config, "hidden_size", 0) or getattr(config, "embed_dim", 0))
    inner = int(getattr(config, "intermediate_size", 0) or 4 * width)
    layers = int(getattr(config, "num_hidden_layers", 0) or getattr(config, "depth", 0))
    heads = int(getattr(config, "num_attention_heads", 0) or getattr(config, "num_heads", 1))
    few = getattr(config, "num_key_value_heads", None) or heads
    keys = width * few // heads
    # Two norms and the residuals before them, queries, attention's output; keys and values; gate, up, both products.
    a_layer = 8 * width + 2 * keys + 4 * inner
    return layers * width + a_layer if again else layers * a_layer
