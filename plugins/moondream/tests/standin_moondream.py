"""Stand-in for the code that comes with Moondream2's checkpoints: the same names and shapes, other and tiny insides.

The names were read in vikhyat/moondream: moondream/hf/moondream.py, vision_encoder.py, modeling_phi.py and
configuration_moondream.py. Transformers loads this file from a model's folder, as it loads theirs.
"""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaModel, PretrainedConfig, PreTrainedModel


class MoondreamConfig(PretrainedConfig):
    model_type = "moondream1"

    def __init__(self, **kwargs):
        text = kwargs.pop("text_config", {})
        self.text_config = text if isinstance(text, LlamaConfig) else LlamaConfig(**text)
        super().__init__(**kwargs)


class VisionEncoder(nn.Module):
    """(B, 3, H, W) to (B, 729, D), whatever the size."""

    def __init__(self, width):
        super().__init__()
        self.encoder = nn.Conv2d(3, width, 14, 14)
        self.projection = nn.Linear(width, width)

    def forward(self, images):
        grid = nn.functional.adaptive_avg_pool2d(self.encoder(images), (27, 27))
        return self.projection(grid.flatten(2).transpose(1, 2))


class CausalLMHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln = nn.LayerNorm(config.hidden_size)
        self.linear = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, hidden_states):
        return self.linear(self.ln(hidden_states))


class PhiForCausalLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.transformer = LlamaModel(config)
        self.lm_head = CausalLMHead(config)

    def get_input_embeddings(self):
        return self.transformer.embed_tokens


class Moondream(PreTrainedModel):
    config_class = MoondreamConfig

    def __init__(self, config):
        super().__init__(config)
        self.vision_encoder = VisionEncoder(config.text_config.hidden_size)
        self.region_model = nn.Linear(2, 2)
        self.text_model = PhiForCausalLM(config.text_config)
        self.post_init()

    def input_embeds(self, prompt, image_embeds, tokenizer):
        """As the source cuts a prompt at "<image>" and puts the picture's embeddings there."""

        def embedded(text):
            ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
            return self.text_model.get_input_embeddings()(ids)

        before, after = prompt.split("<image>")
        start = self.text_model.get_input_embeddings()(torch.tensor([[tokenizer.bos_token_id]]))
        parts = [start, embedded(before)] if before else [start]
        return torch.cat([*parts, image_embeds, embedded(after)], 1)
