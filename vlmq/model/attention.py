"""Families that do not read strictly from left to right: who sees whom in them, and what that forbids.

Two reach ahead within a prompt, each in the way its own forward in transformers says:

1. Gemma 3: the tokens of one picture see one another; everything else sees what stands before it
   (transformers' models/gemma3/modeling_gemma3.py, `get_block_sequence_ids_for_mask`).
2. PaliGemma: all of a prompt sees all of it, and only the reply is read from left to right
   (transformers' models/paligemma/modeling_paligemma.py, `PaliGemmaModel.forward`). So one and the same earlier turn
   reads otherwise in every later prompt, and each reply is learnt in the window in which it was given.

Acting and learning give a model the same `token_type_ids`, which is how both families are told. LFM2-VL reads from left
to right, but its convolutions carry a few tokens over from whatever stands before them in the row; so do the layers of
linear attention of hybrid families such as Qwen3.5, all of them.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from vlmq.api import ModelError, adapter_for

REPLY_MASK = "reply_mask"
"""Key of a batch: (R, L), 1 where a token belongs to the reply that a row ends with."""

_AHEAD: dict[str, Literal["pictures", "prompt"]] = {"gemma3": "pictures", "paligemma": "prompt"}
_ACROSS = ("lfm2_vl",)
_WITHIN = {"full_attention", "sliding_attention"}
"""Kinds of layers that see what the positions of a row let them see, and no more."""


def looks_ahead(model_type: str) -> bool:
    """Whether tokens of a prompt see what follows them; such a family is trained window by window."""
    return model_type in _AHEAD


def reusable(model_type: str) -> bool:
    """Whether what a model keeps of a prompt stays good for a longer one that begins with it; see `reuse`."""
    return not looks_ahead(model_type) and model_type not in _ACROSS and adapter_for(model_type) is None


def check_packable(model_type: str, layers: frozenset[str] = frozenset()) -> None:
    """Refuse several sequences in a row where they would see one another.

    Args:
        model_type: the family.
        layers: kinds of layers that its language model has, where its configuration names them.

    Raises:
        ModelError: they would; says why, and what to set.
    """
    if model_type in _AHEAD:
        who = "picture tokens look" if _AHEAD[model_type] == "pictures" else "prompt looks"
        raise ModelError(
            f"data.packed is true, but a {model_type} model is not one causal sequence: its {who} ahead; set "
            "data.packed false, and it is trained window by window."
        )
    if model_type in _ACROSS:
        raise ModelError(
            f"data.packed is true, but a {model_type} model has convolutions, which run across the sequences of a "
            "row; set data.packed false."
        )
    if running := sorted(layers - _WITHIN):
        raise ModelError(
            f"data.packed is true, but a {model_type} model has layers of {' and '.join(running)}, which may run "
            "across the sequences of a row; set data.packed false."
        )
    if adapter_for(model_type) is not None:
        raise ModelError(
            f"data.packed is true, but {model_type} models are loaded by an adapter, and nobody has shown that their "
            "sequences do not see one another in a row; set data.packed false."
        )


def token_types(config: Any, inputs: dict[str, Tensor]) -> Tensor | None:
    """The `token_type_ids` (R, L) of a batch, for a family that looks ahead; None for any other.

    Args:
        config: the model's.
        inputs: input_ids (R, L) and, where rows end with a reply, which tokens belong to it.
    """
    reach = _AHEAD.get(config.model_type)
    if reach is None:
        return None
    ids = inputs["input_ids"]
    if reach == "pictures":
        pictures: Tensor = (ids == config.image_token_id).long()
        return pictures
    reply = inputs.get(REPLY_MASK)
    return ids.new_zeros(ids.shape) if reply is None else reply
