"""Stand-in for the code that comes with xGen-MM's checkpoints: the same names and shapes, other and tiny insides.

The names were read in salesforce/LAVIS (open_flamingo/src/xgenmm.py, vlm.py, helpers.py) and in Beniko95J/eval_llm
(modeling_xgenmm.py, configuration_xgenmm.py). Transformers loads this file from a model's folder, as it loads theirs.
"""

import torch
from torch import nn
from transformers import Phi3Config, Phi3ForCausalLM, PretrainedConfig, PreTrainedModel


class XGenMMConfig(PretrainedConfig):
    model_type = "xgenmm"

    def __init__(self, vision_tokenizer_config=None, text_config=None, **kwargs):
        self.vision_tokenizer_config = vision_tokenizer_config or {"num_vis_tokens": 128}
        text = text_config or {}
        self.text_config = text if isinstance(text, Phi3Config) else Phi3Config(**text)
        super().__init__(**kwargs)


class DecoupledEmbedding(nn.Embedding):
    """A table in two parts: ids above `max_original_id` are in the second."""

    def __init__(self, original, max_original_id, additional):
        super().__init__(*original.weight.shape, _weight=original.weight)
        self.max_original_id = max_original_id
        self.additional_embedding = nn.Embedding(additional, original.weight.shape[1])

    def forward(self, ids):
        new = ids > self.max_original_id
        known = super().forward(ids.masked_fill(new, 0))
        return torch.where(
            new[..., None], self.additional_embedding((ids - self.max_original_id - 1).clamp_min(0)), known
        )


class DecoupledLinear(nn.Linear):
    def __init__(self, original, max_original_id, additional):
        super().__init__(original.in_features, original.out_features, bias=False)
        self.weight = nn.Parameter(original.weight)
        self.max_original_id, self.additional_out_features = max_original_id, additional
        self.additional_fc = nn.Linear(original.in_features, additional, bias=False)

    def forward(self, hidden):
        return torch.cat(
            [super().forward(hidden)[..., : self.max_original_id + 1], self.additional_fc(hidden)], -1
        )


class PerceiverResampler(nn.Module):
    """(B, T, F, v, d) to (B, T, n, D)."""

    def __init__(self, dim, dim_inner, num_latents):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(num_latents, dim))
        self.projection = nn.Linear(dim, dim_inner)

    def forward(self, x, vision_attn_masks):
        assert vision_attn_masks is None
        seen = x.flatten(2, 3)
        weights = (self.latents @ seen.transpose(-1, -2)).softmax(-1)
        return self.projection(weights @ seen)


class XGenMMPerceiver(nn.Module):
    def __init__(self, vision_encoder, vision_tokenizer, lang_model, initial_tokenizer_len):
        super().__init__()
        self.special_tokens = {
            "media_token": "<image>",
            "image_placeholder_token": "<image placeholder>",
            "end_of_trunk_token": "<|endofchunk|>",
        }
        self.vision_encoder, self.vision_tokenizer = vision_encoder, vision_tokenizer
        self.lang_model = lang_model
        last = initial_tokenizer_len - 1
        lang_model.set_input_embeddings(DecoupledEmbedding(lang_model.get_input_embeddings(), last, 3))
        lang_model.set_output_embeddings(DecoupledLinear(lang_model.get_output_embeddings(), last, 3))

    def set_special_token_ids(self, string_to_ids):
        for name, token in self.special_tokens.items():
            setattr(self, f"{name}_id", string_to_ids[token])

    def _encode_vision_x(self, vision_x):
        assert vision_x.ndim == 6
        with torch.no_grad():
            grid = self.vision_encoder(vision_x.flatten(0, 2)).flatten(2).transpose(1, 2)
        return grid.unflatten(0, vision_x.shape[:3])


class XGenMMModelForConditionalGeneration(PreTrainedModel):
    config_class = XGenMMConfig

    def __init__(self, config):
        super().__init__(config)
        text = config.text_config
        self.vlm = XGenMMPerceiver(
            nn.Conv2d(3, 8, 14, 14),
            PerceiverResampler(8, text.hidden_size, config.vision_tokenizer_config["num_vis_tokens"]),
            Phi3ForCausalLM(text),
            text.initial_tokenizer_len,
        )
        self.post_init()

    def update_special_tokens(self, tokenizer):
        tokenizer.add_special_tokens({"additional_special_tokens": list(self.vlm.special_tokens.values())})
        ids = {token: tokenizer.convert_tokens_to_ids(token) for token in self.vlm.special_tokens.values()}
        self.vlm.set_special_token_ids(ids)
        return tokenizer

    def forward_of_one(self, pixel_values, input_ids):
        """As the source puts a picture's embeddings in the place of its one token; logits of all positions."""
        vlm = self.vlm
        tokens = vlm.vision_tokenizer(vlm._encode_vision_x(pixel_values), None)[0]
        embeds = vlm.lang_model.get_input_embeddings()(input_ids)[0]
        for picture, place in reversed(
            list(enumerate((input_ids[0] == vlm.media_token_id).nonzero()[:, 0].tolist()))
        ):
            embeds = torch.cat([embeds[:place], tokens[picture], embeds[place + 1 :]])
        return vlm.lang_model(inputs_embeds=embeds[None]).logits
