"""xGen-MM (BLIP-3) as a trunk and a language head.

Read in salesforce/LAVIS, branch xgen-mm:

- open_flamingo/src/xgenmm.py: `XGenMMPerceiver`, with `vision_tokenizer` a `PerceiverResampler`;
- open_flamingo/src/vlm.py: `VLM._encode_vision_x` takes (B, T, F, 3, H, W) and gives (B, T, F, v, d), without gradient;
  `lang_model`, `special_tokens`, `media_token_id`;
- open_flamingo/src/helpers.py: `PerceiverResampler.forward(x, vision_attn_masks)` gives (B, T, n, D); `DecoupledLinear`
  gives logits of `max_original_id + 1 + additional_out_features` tokens, `DecoupledEmbedding` a table in two parts.

And in Beniko95J/eval_llm, a copy of the code that comes with the checkpoints: `XGenMMModelForConditionalGeneration`
with `vlm` and `update_special_tokens` (modeling_xgenmm.py), `model_type` "xgenmm" (configuration_xgenmm.py). That code
fetches its vision encoder from the Hub when it is made, and needs einops, einops_exts and open_clip, which are not
declared here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, GenerationConfig
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.modeling_outputs import BaseModelOutputWithPast

from vlmq_model_xgenmm.prompt import tokenizer


class Trunk(nn.Module):
    """Everything below the language head.

    Args:
        xgenmm: the model as its own code makes it, its special tokens set.
    """

    def __init__(self, xgenmm: Any) -> None:
        super().__init__()
        self.xgenmm = xgenmm
        self.config = xgenmm.config

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
        vlm = self.xgenmm.vlm
        embeds = vlm.lang_model.get_input_embeddings()(input_ids)
        if pixel_values is not None:
            place = input_ids == vlm.media_token_id
            seen = vlm._encode_vision_x(vision_x=pixel_values[:, None, None].to(embeds.dtype))
            features = vlm.vision_tokenizer(seen, None).flatten(0, 2)
            if int(place.sum()) != len(features):
                raise ValueError(
                    f"Image features and image tokens do not match, tokens: {int(place.sum())}, features: "
                    f"{len(features)}"
                )
            embeds = embeds.masked_scatter(place[..., None], features.to(embeds.dtype))
        output = vlm.lang_model.model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            return_dict=True,
        )
        return BaseModelOutputWithPast(
            last_hidden_state=output.last_hidden_state, past_key_values=output.past_key_values
        )


class XGenMM(nn.Module):
    """The model as vlmq takes it.

    Attributes:
        vocabulary: width of the logits.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.model = trunk
        self.config = trunk.config
        self.generation_config = GenerationConfig()
        head = self.get_output_embeddings()
        own = getattr(head, "max_original_id", None)
        self.vocabulary = int(head.weight.shape[0] if own is None else own + 1 + head.additional_out_features)

    def get_input_embeddings(self) -> Any:
        """The table of the original tokens; the special ones have a part of their own."""
        return self.model.xgenmm.vlm.lang_model.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        """The language head."""
        return self.model.xgenmm.vlm.lang_model.get_output_embeddings()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model as its own code does."""
        self.model.xgenmm.save_pretrained(folder)
        self.generation_config.save_pretrained(folder)


def load(source: str, *, dtype: str, random_weights: bool) -> XGenMM:
    """Load a checkpoint by the code that comes with it: whoever calls this has asked whether that may run."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=True)
    names = [name for name in config.auto_map if name.startswith("AutoModel")]
    own = get_class_from_dynamic_module(config.auto_map[names[0]], source)
    precision = getattr(torch, dtype)
    if random_weights:
        xgenmm = own(config).to(precision)
    else:
        xgenmm = own.from_pretrained(source, config=config, dtype=precision)
    xgenmm.update_special_tokens(tokenizer(source))
    return XGenMM(Trunk(xgenmm))
