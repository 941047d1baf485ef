"""Model adapters: what a plugin offers for a family that transformers' own classes do not load.

An entry point of the group `vlmq.models`, named as the family's Hugging Face `model_type`, gives a `ModelAdapter`. The
model it loads looks to vlmq as one of transformers' own does. It has

- `model`, the trunk: called with `input_ids`, `attention_mask`, `position_ids`, what the processor gives of pictures,
  `past_key_values` and `use_cache`, it returns `last_hidden_state` and `past_key_values`; it has the `config`, too;
- `get_output_embeddings()`, the language head, and `get_input_embeddings()`, each with a `weight` of one row a token;
- `vocabulary`, the width of the logits, where it is not the number of those rows;
- `config` with its `model_type`, `generation_config`, and `save_pretrained(folder)`.

Where the numbers of image tokens and of features disagree, the trunk raises a ValueError that begins "Image features
and image tokens do not match". Its processor has what `InStreamProcessor` has.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from vlmq.api.errors import PluginError

MODEL_GROUP = "vlmq.models"
"""Entry-point group of adapters."""


class ModelAdapter(Protocol):
    """Loads the models of one family.

    Attributes:
        remote_code: whether loading runs code that comes with the checkpoint; vlmq then asks the user first.
    """

    remote_code: bool

    def load_model(self, source: str, *, dtype: str, random_weights: bool) -> Any:
        """The model of a directory or Hub id.

        Args:
            source: the directory or id.
            dtype: a torch dtype's name.
            random_weights: keep the architecture, and draw new weights from torch's global generator.
        """
        ...

    def load_processor(self, source: str) -> Any:
        """Its processor."""
        ...


def adapter_for(model_type: str) -> ModelAdapter | None:
    """The installed adapter of a family, or None. `VLMQ_PLUGINS` restricts which may load, by model type.

    Raises:
        PluginError: there are several, or the one there is fails to load; says why.
    """
    points = entry_points(group=MODEL_GROUP, name=model_type) if model_type else ()
    if not points or not _may_load(model_type):
        return None
    owners = [point.dist.name if point.dist is not None else point.value for point in points]
    if len(owners) > 1:
        raise PluginError(
            f"models of type {model_type} are claimed by {' and '.join(owners)}: uninstall one of them."
        )
    try:
        return cast(ModelAdapter, next(iter(points)).load())
    # an adapter's import may raise anything
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise PluginError(
            f"the adapter for {model_type} models, {owners[0]}, does not load ({reason}): mend or uninstall it."
        ) from error


def _may_load(name: str) -> bool:
    allowed = os.environ.get("VLMQ_PLUGINS", "").strip() or "auto"
    return allowed == "auto" or name in [part.strip() for part in allowed.split(",")]
