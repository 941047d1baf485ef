"""Test fixture: tiny untrained models of the classes of public checkpoints, saved as those are, with processors."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers as hf
from tokenizers.processors import TemplateProcessing
from vlmq_model_tiny.vocabulary import build_tokenizer

from vlmq.prompt.processor import pictures_only

SIDE = 32
PATCH = 8
WIDTH = int(os.environ.get("VLMQ_TEST_WIDTH", "32"))
"""Of four heads: vLLM's kernels want 32 each, so its tests set 128."""
_SIZE = {"height": SIDE, "width": SIDE}
_LAYERS = {
    "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip

_SPREAD = 0.2
"""Of the language model's weights: with the usual 0.02, at this width, it would hardly matter who sees whom."""

Build = Callable[[], tuple[Any, Any]]
"""Gives processor and model."""


def save(family: str, folder: Path) -> Path:
    """Write the tiny model of a family, always the same one."""
    torch.manual_seed(0)
    processor, model = FAMILIES[family]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer(*special: str, **named: str) -> Any:
    """The tiny model's words with a family's special tokens; those with a name become attributes."""
    base = build_tokenizer(1)
    every = [*special, *named.values()]
    base.add_special_tokens({"additional_special_tokens": every})
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=base.backend_tokenizer,
        eos_token=base.eos_token,
        pad_token=base.pad_token,
        additional_special_tokens=every,
        extra_special_tokens=named,
    )


def begin_with(tokenizer: Any, token: str) -> None:
    """Let a tokenizer put a beginning-of-sequence token in front of a text, unless it is told to add nothing."""
    tokenizer.add_special_tokens({"bos_token": token})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{token} $A", special_tokens=[(token, tokenizer.bos_token_id)]
    )


def _template(image: str) -> str:
    """Every message ends with the end token; a picture stands where the family's mark stands."""
    return (
        "{%- for message in messages -%}"
        "{{- '<|assistant|>' if message['role'] == 'assistant' else '<|user|>' -}}"
        "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
        "{%- for part in message['content'] -%}"
        "{{- '" + image + "' if part['type'] == 'image' else part['text'] -}}"
        "{%- endfor -%}{%- endif -%}{{- '<|end|>' -}}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
    )


def _text(kind: Any, tokenizer: Any, **more: Any) -> Any:
    return kind(
        vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, initializer_range=_SPREAD,
        **_LAYERS, **more,
    )  # fmt: skip


def _llava() -> tuple[Any, Any]:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _tokenizer("<image>")
    begin_with(tokenizer, "<s>")  # as Llama's tokenizer does by itself: no template of this family says it
    pictures = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=_SIZE)
    processor = hf.LlavaProcessor(
        pictures, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", image_token="<image>",
        num_additional_image_tokens=1, chat_template=_template("<image>"),
    )  # fmt: skip
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(image_size=SIDE, patch_size=PATCH, **_LAYERS),
        text_config=_text(hf.LlamaConfig, tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    return processor, hf.LlavaForConditionalGeneration(config)


def _onevision() -> tuple[Any, Any]:
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    tokenizer = _tokenizer(image_token="<image>", video_token="<video>")
    grids = [[SIDE, SIDE], [SIDE, 2 * SIDE]]
    processor = pictures_only(hf.LlavaOnevisionProcessor)(
        LlavaOnevisionImageProcessorPil(size=_SIZE, image_grid_pinpoints=grids), tokenizer, None,
        num_image_tokens=16, vision_feature_select_strategy="full", chat_template=_template("<image>"),
    )  # fmt: skip
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(
            image_size=SIDE, patch_size=PATCH, vision_use_head=False, **_LAYERS
        ),
        text_config=_text(hf.Qwen2Config, tokenizer),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=grids,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return processor, hf.LlavaOnevisionForConditionalGeneration(config)


def _internvl() -> tuple[Any, Any]:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    tokenizer = _tokenizer(
        start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )  # fmt: skip
    processor = pictures_only(hf.InternVLProcessor)(
        GotOcr2ImageProcessorPil(size=_SIZE, crop_to_patches=False), tokenizer, None, image_seq_length=4,
        chat_template=_template("<IMG_CONTEXT>"),
    )  # fmt: skip
    text = _text(hf.Qwen2Config, tokenizer).to_dict()
    config = hf.InternVLConfig(
        vision_config={"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH], **_LAYERS},
        text_config={**text, "model_type": "qwen2"},
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    return processor, hf.InternVLForConditionalGeneration(config)


def _idefics3(tiles: bool = False) -> tuple[Any, Any]:
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    return _idefics(
        hf.Idefics3Processor, Idefics3ImageProcessorPil, hf.Idefics3Config,
        hf.Idefics3ForConditionalGeneration, tiles,
    )  # fmt: skip


def _smolvlm(tiles: bool = False) -> tuple[Any, Any]:
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    return _idefics(
        pictures_only(hf.SmolVLMProcessor), SmolVLMImageProcessorPil, hf.SmolVLMConfig,
        hf.SmolVLMForConditionalGeneration, tiles,
    )  # fmt: skip


def _idefics(
    processor_class: Any, pictures_class: Any, config_class: Any, model_class: Any, tiles: bool
) -> tuple[Any, Any]:
    """With tiles, as public checkpoints have them, a picture is cut into pieces beside a small one of the whole."""
    tokenizer = _tokenizer("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    pictures = pictures_class(
        do_image_splitting=tiles,
        size={"longest_edge": 2 * SIDE if tiles else SIDE},
        max_image_size={"longest_edge": SIDE},
    )
    parts = (pictures, tokenizer) if processor_class is hf.Idefics3Processor else (pictures, tokenizer, None)
    processor = processor_class(*parts, image_seq_len=4, chat_template=_template("<image>"))
    text = _text(hf.LlamaConfig, tokenizer).to_dict()
    config = config_class(
        vision_config={"image_size": SIDE, "patch_size": PATCH, **_LAYERS},
        text_config={**text, "model_type": "llama"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    return processor, model_class(config)


def _siglip() -> dict[str, Any]:
    return {
        "model_type": "siglip_vision_model", "image_size": SIDE, "patch_size": PATCH, "vision_use_head": False,
        **_LAYERS,
    }  # fmt: skip


def _paligemma(text_class: str = "GemmaConfig", **more: Any) -> Build:
    def build() -> tuple[Any, Any]:
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

        tokenizer = _tokenizer("<bos>", image_token="<image>")
        tokenizer.bos_token = "<bos>"
        pictures = SiglipImageProcessorPil(size=_SIZE, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        pictures.image_seq_length = (SIDE // PATCH) ** 2
        processor = hf.PaliGemmaProcessor(pictures, tokenizer, chat_template=_template("<image>"))
        text = _text(getattr(hf, text_class), tokenizer, head_dim=WIDTH // 4, **more)
        config = hf.PaliGemmaConfig(
            vision_config=hf.SiglipVisionConfig(**_siglip()),
            text_config=text,
            projection_dim=WIDTH,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
        return processor, hf.PaliGemmaForConditionalGeneration(config)

    return build


def _gemma3() -> tuple[Any, Any]:
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    tokenizer = _tokenizer(
        image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    processor = hf.Gemma3Processor(
        Gemma3ImageProcessorPil(size=_SIZE), tokenizer, image_seq_length=4,
        chat_template=_template("<start_of_image>"),
    )  # fmt: skip
    # A window shorter than the prompts, and a layer of each kind.
    text = _text(
        hf.Gemma3TextConfig, tokenizer, head_dim=WIDTH // 4, sliding_window=12,
        layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(**_siglip()),
        text_config=text,
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    return processor, hf.Gemma3ForConditionalGeneration(config)


class StandInPictures:
    """Stands in for LFM2-VL's image processor, which runs on torchvision alone: whole pictures, cut into patches.

    Source of what it gives: transformers' models/lfm2_vl/image_processing_lfm2_vl.py, without tiles.
    """

    tile_size, downsample_factor, encoder_patch_size, use_thumbnail = SIDE, 2, PATCH, False
    model_input_names: ClassVar = ["pixel_values", "pixel_attention_mask", "spatial_shapes"]

    def __init__(self) -> None:
        from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

        self._patches = Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=(SIDE // PATCH) ** 2)

    def fetch_images(self, images: Any) -> Any:
        return images

    def __call__(self, images: Any, return_tensors: Any = None, **options: Any) -> dict[str, Any]:
        pictures = [picture.resize((SIDE, SIDE)) for row in images for picture in row]
        made = dict(self._patches(pictures, return_tensors="np"))
        sizes = [[height * PATCH, width * PATCH] for height, width in made["spatial_shapes"]]
        return {**made, "image_rows": [1] * len(sizes), "image_cols": [1] * len(sizes), "image_sizes": sizes}


def lfm2_vl() -> tuple[Any, Any]:
    """Its processor cannot be loaded from a folder here, so it is made around the stand-in."""
    tokenizer = _tokenizer("<|image_start|>", "<|image_end|>", image_token="<image>")

    class Processor(hf.Lfm2VlProcessor):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            return type(argument)

    processor = Processor(StandInPictures(), tokenizer, chat_template=_template("<image>"))
    text = _text(
        hf.Lfm2Config, tokenizer, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False
    )
    config = hf.Lfm2VlConfig(
        vision_config=hf.Siglip2VisionConfig(
            num_patches=(SIDE // PATCH) ** 2, patch_size=PATCH, vision_use_head=False, **_LAYERS
        ),
        text_config=text,
        image_token_id=tokenizer.image_token_id,
        projector_hidden_size=WIDTH,
    )
    return processor, hf.Lfm2VlForConditionalGeneration(config)


def _qwen(
    processor_class: str, config_class: str, model_class: str, vision: dict[str, Any], rope: Any, **more: Any
) -> Build:
    def build() -> tuple[Any, Any]:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        tokenizer = _tokenizer(
            "<|vision_start|>", "<|vision_end|>", image_token="<|image_pad|>", video_token="<|video_pad|>"
        )
        size = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
        processor = pictures_only(getattr(hf, processor_class))(
            Qwen2VLImageProcessorPil(patch_size=PATCH, merge_size=2, size=size), tokenizer, None,
            chat_template=_template("<|vision_start|><|image_pad|><|vision_end|>"),
        )  # fmt: skip
        marks = {
            "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
            "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
        }  # fmt: skip
        text = {
            **_LAYERS, "vocab_size": len(tokenizer), "num_key_value_heads": 2, "head_dim": WIDTH // 4,
            "rope_scaling": rope, "bos_token_id": None, "initializer_range": _SPREAD,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, **more,
        }  # fmt: skip
        config = getattr(hf, config_class)(
            vision_config={
                "depth": 2, "num_heads": 4, "patch_size": PATCH, "spatial_merge_size": 2, "hidden_size": WIDTH,
                **vision,
            },
            text_config=text,
            **{name: tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()},
        )  # fmt: skip
        return processor, getattr(hf, model_class)(config)

    return build


_SECTIONS = {"mrope_section": [WIDTH // 32, WIDTH // 32, WIDTH // 16]}
_OUT = {"intermediate_size": 2 * WIDTH, "out_hidden_size": WIDTH}
qwen3_5 = _qwen(
    "Qwen3VLProcessor", "Qwen3_5Config", "Qwen3_5ForConditionalGeneration",
    {**_OUT, "deepstack_visual_indexes": [], "num_position_embeddings": 64},
    {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0, "mrope_interleaved": True, **_SECTIONS},
    layer_types=["linear_attention", "full_attention"], linear_num_key_heads=2, linear_num_value_heads=4,
    linear_key_head_dim=WIDTH // 4, linear_value_head_dim=WIDTH // 4,
)  # fmt: skip
"""A hybrid, for what such families may not do."""
FAMILIES: dict[str, Build] = {
    "idefics3": _idefics3,
    "idefics3_tiles": partial(_idefics3, tiles=True),
    "smolvlm": _smolvlm,
    "smolvlm_tiles": partial(_smolvlm, tiles=True),
    "paligemma": _paligemma(),
    "paligemma2": _paligemma(
        "Gemma2Config", final_logit_softcapping=2.0, sliding_window=12,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "gemma3": _gemma3,
    "llava": _llava,
    "llava_onevision": _onevision,
    "internvl": _internvl,
    "qwen2_vl": _qwen(
        "Qwen2VLProcessor", "Qwen2VLConfig", "Qwen2VLForConditionalGeneration",
        {"embed_dim": WIDTH, "mlp_ratio": 2}, {"type": "mrope", **_SECTIONS},
    ),
    "qwen2_5_vl": _qwen(
        "Qwen2_5_VLProcessor", "Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration",
        {**_OUT, "window_size": 32, "fullatt_block_indexes": [1]}, {"type": "mrope", **_SECTIONS},
    ),
    "qwen3_vl": _qwen(
        "Qwen3VLProcessor", "Qwen3VLConfig", "Qwen3VLForConditionalGeneration",
        {**_OUT, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64},
        {"rope_type": "default", **_SECTIONS},
    ),
}  # fmt: skip
"""By name of the family."""
