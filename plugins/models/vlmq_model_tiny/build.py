"""Builds the untrained model from configuration alone: tokenizer, processor, chat template, weights."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from vlmq_model_tiny.draw import SIDE
from vlmq_model_tiny.vocabulary import ASSISTANT, END, USER, build_tokenizer

PATCH = 8
SHUFFLE = 2
IMAGE_TOKENS = (SIDE // PATCH // SHUFFLE) ** 2
"""Tokens that one picture takes in the prompt; three marks around them come on top."""
MAX_POSITIONS = 2048
POSITION_SPREAD = 0.5
"""Initial spread of the patch positions: a patch's pixels amount to about 1 and would drown less."""


@dataclass(frozen=True)
class Architecture:
    """Widths and layers, and the version of the vocabulary; the inner layers of the vision tower are 3 times as wide,
    of the text side 2.5 times."""

    vision_width: int
    vision_layers: int
    text_width: int
    text_layers: int
    vocabulary: int
    heads: int = 4


ARCHITECTURES = {
    1: Architecture(vision_width=64, vision_layers=2, text_width=64, text_layers=3, vocabulary=1),
    2: Architecture(vision_width=128, vision_layers=4, text_width=96, text_layers=4, vocabulary=2),
    3: Architecture(vision_width=128, vision_layers=4, text_width=128, text_layers=4, vocabulary=2),
    4: Architecture(vision_width=128, vision_layers=4, text_width=128, text_layers=8, vocabulary=2),
}
"""By version of the model. The second sees more; what an answer costs depends on its text side, which stays small.
The third sees as the second does, and its wider text side can tell what a list does not hold. The fourth is twice as
deep there: to find what a task names in a list, and say the number beside it, takes more steps than four layers."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '" + ASSISTANT + "' if message['role'] == 'assistant' else '" + USER + "' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] if part['type'] == 'image' -%}{{- '<image>' -}}{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}"
    "{%- endif -%}"
    "{{- '" + END + "' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + ASSISTANT + "' -}}{%- endif -%}"
)
"""Every message ends with the end token and nothing looks ahead, so a longer chat extends a shorter one."""


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """Pictures of any size become 64x64 pixels in [-1, 1]; one of 64x64 is not resampled."""
    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": SIDE},
        max_image_size={"longest_edge": SIDE},
        do_image_splitting=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return Idefics3Processor(pictures, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE)


def build_config(tokenizer: PreTrainedTokenizerFast, version: int = 1) -> Idefics3Config:
    """The architecture of a version.

    The initial spread of all weights is about 1/sqrt(width): the usual 0.02 is meant for widths of 768 and
    more, and a model this narrow would not learn to see with it.
    """
    chosen = ARCHITECTURES[version]
    vision = Idefics3VisionConfig(
        hidden_size=chosen.vision_width,
        intermediate_size=3 * chosen.vision_width,
        num_hidden_layers=chosen.vision_layers,
        num_attention_heads=chosen.heads,
        image_size=SIDE,
        patch_size=PATCH,
        initializer_range=_spread(chosen.vision_width),
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=chosen.text_width,
        intermediate_size=5 * chosen.text_width // 2,
        num_hidden_layers=chosen.text_layers,
        num_attention_heads=chosen.heads,
        num_key_value_heads=chosen.heads,
        max_position_embeddings=MAX_POSITIONS,
        rms_norm_eps=1e-5,
        initializer_range=_spread(chosen.text_width),
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = Idefics3Config(
        vision_config=vision,
        text_config=text,
        scale_factor=SHUFFLE,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config.initializer_range = _spread(chosen.text_width)
    return config


def build_model(config: Idefics3Config, seed: int = 0) -> Idefics3ForConditionalGeneration:
    """A freshly initialised model; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Idefics3ForConditionalGeneration(config)
        model.model.vision_model.embeddings.position_embedding.weight.data.normal_(0.0, POSITION_SPREAD)
    model.generation_config = GenerationConfig(
        eos_token_id=config.text_config.eos_token_id,
        pad_token_id=config.text_config.pad_token_id,
        do_sample=False,
    )
    return model


def build(
    directory: Path, seed: int = 0, version: int = 1, vision: Path | None = None, text: Path | None = None
) -> None:
    """Write an untrained model and its processor, as `AutoModelForImageTextToText` loads them.

    `vision` names a trained model's directory, whose vision tower is taken; `text` one of half as many layers of text,
    which is taken whole, each of these layers followed by a new one that changes nothing yet.

    Raises:
        ValueError: that model is of another size.
    """
    tokenizer = build_tokenizer(ARCHITECTURES[version].vocabulary)
    build_processor(tokenizer).save_pretrained(directory)
    model = build_model(build_config(tokenizer, version), seed)
    if text is not None:
        _take_whole(model, text, version)
    if vision is not None:
        trained = _trained(model, vision, version)
        model.model.vision_model.load_state_dict(trained.model.vision_model.state_dict())
    model.save_pretrained(directory)


def _take_whole(model: Idefics3ForConditionalGeneration, directory: Path, version: int) -> None:
    """A shallower model's weights; new layers lie between its own, and their outputs start at zero."""
    trained = _trained(model, directory, version)
    made = model.model.text_model.layers
    layers = trained.model.text_model.layers
    depth, width = len(layers), trained.config.text_config.hidden_size
    if (2 * depth, width) != (len(made), model.config.text_config.hidden_size):
        raise ValueError(
            f"the text side of {directory} has {depth} layers of {width}, and version {version} {len(made)} of "
            f"{model.config.text_config.hidden_size}; take a model of that width and half as many"
        )
    for place, layer in enumerate(layers):
        kept, new = made[2 * place], made[2 * place + 1]
        kept.load_state_dict(layer.state_dict())
        new.input_layernorm.load_state_dict(layer.input_layernorm.state_dict())
        new.post_attention_layernorm.load_state_dict(layer.post_attention_layernorm.state_dict())
        torch.nn.init.zeros_(new.self_attn.o_proj.weight)
        torch.nn.init.zeros_(new.mlp.down_proj.weight)
    rest = {name: value for name, value in trained.state_dict().items() if ".text_model.layers." not in name}
    model.load_state_dict(rest, strict=False)


def _trained(
    model: Idefics3ForConditionalGeneration, directory: Path, version: int
) -> Idefics3ForConditionalGeneration:
    trained = Idefics3ForConditionalGeneration.from_pretrained(directory)
    own, other = model.config.vision_config, trained.config.vision_config
    if (own.hidden_size, own.num_hidden_layers) != (other.hidden_size, other.num_hidden_layers):
        raise ValueError(
            f"the vision tower of {directory} has {other.num_hidden_layers} layers of {other.hidden_size}, "
            f"version {version} has {own.num_hidden_layers} of {own.hidden_size}; take the tower of another model"
        )
    return trained


def main() -> None:
    """`python -m vlmq_model_tiny.build DIRECTORY`."""
    parser = argparse.ArgumentParser(description="Write the untrained tiny model, from configuration alone.")
    parser.add_argument("directory", type=Path, help="where to write it")
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial weights")
    parser.add_argument(
        "--version", type=int, choices=ARCHITECTURES, default=1, help="of the model; 1 is the default"
    )
    parser.add_argument("--vision", type=Path, help="a trained model's directory, whose vision tower to take")
    parser.add_argument("--text", type=Path, help="a trained model half as deep, to take whole")
    arguments = parser.parse_args()
    try:
        build(arguments.directory, arguments.seed, arguments.version, arguments.vision, arguments.text)
    except ValueError as error:
        parser.error(str(error))
    print(f"wrote an untrained model of version {arguments.version} to {arguments.directory}")


def _spread(width: int) -> float:
    return float(0.8 * width**-0.5)


if __name__ == "__main__":
    main()
