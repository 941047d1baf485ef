"""Moondream2 as a trunk and a language head.

Read in vikhyat/moondream, the code that comes with the checkpoints up to the revision 2024-08-26:

- moondream/hf/moondream.py: `Moondream` with `vision_encoder`, `text_model`, `region_model`;
- moondream/hf/vision_encoder.py: `VisionEncoder.forward` takes (B, 3, H, W) and gives (B, 729, D);
- moondream/hf/modeling_phi.py: `PhiForCausalLM` with `transformer` (its `forward` takes inputs_embeds, attention_mask,
  position_ids, past_key_values, use_cache, return_dict) and `lm_head`, whose `ln` comes before its `linear`;
- moondream/hf/configuration_moondream.py: `model_type` "moondream1", `text_config`.

Later checkpoints (moondream/torch/hf_moondream.py, `HfMoondream`) keep a cache of their own and give no hidden states:
they are of another model type and not served. `region_model` finds boxes and takes no part here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, DynamicCache, GenerationConfig
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.modeling_outputs import BaseModelOutputWithPast

from vlmq_model_moondream.prompt import IMAGE, tokenizer


class Trunk(nn.Module):
    """Everything below the language head's linear layer.

    Args:
        moondream: the model as its own code makes it.
        image_token_id: stands where a picture's embeddings go.
    """

    def __init__(self, moondream: Any, image_token_id: int) -> None:
        super().__init__()
        self.moondream = moondream
        self.config = moondream.config
        self._image = image_token_id
        if hasattr(moondream, "region_model"):
            moondream.region_model.requires_grad_(False)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> BaseModelOutputWithPast:
        """Hidden states (R, L, D) of a batch; pixels (pictures, 3, H, W)."""
        text = self.moondream.text_model
        place = input_ids == self._image
        # the image token has no row of its own
        embeds = text.get_input_embeddings()(input_ids.masked_fill(place, 0))
        if pixel_values is not None:
            features = self.moondream.vision_encoder(pixel_values)
            if int(place.sum()) != features.shape[0] * features.shape[1]:
                raise ValueError(
                    f"Image features and image tokens do not match, tokens: {int(place.sum())}, features: "
                    f"{features.shape[0] * features.shape[1]}"
                )
            embeds = embeds.masked_scatter(place[..., None], features.to(embeds.dtype))
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        output = text.transformer(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            return_dict=True,
        )
        hidden = text.lm_head.ln(output.last_hidden_state)
        return BaseModelOutputWithPast(last_hidden_state=hidden, past_key_values=output.past_key_values)


class Moondream(nn.Module):
    """The model as vlmq takes it."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.model = trunk
        self.config = trunk.config
        self.generation_config = GenerationConfig()

    def get_input_embeddings(self) -> Any:
        """The table of the tokens."""
        return self.model.moondream.text_model.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """The linear layer of the language head."""
        return self.model.moondream.text_model.lm_head.linear

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model as its own code does."""
        self.model.moondream.save_pretrained(folder)
        self.generation_config.save_pretrained(folder)


def load(source: str, *, dtype: str, random_weights: bool) -> Moondream:
    """Load a checkpoint by the code that comes with it: whoever calls this has asked whether that may run."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=True)
    own = get_class_from_dynamic_module(config.auto_map["AutoModelForCausalLM"], source)
    precision = getattr(torch, dtype)
    if random_weights:
        moondream = own(config).to(precision)
    else:
        moondream = own.from_pretrained(source, config=config, dtype=precision)
    return Moondream(Trunk(moondream, tokenizer(source).convert_tokens_to_ids(IMAGE)))
