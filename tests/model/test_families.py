"""Models of public families, tiny and untrained: loaded as checkpoints are, and acting equals learning in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from families import FAMILIES, SIDE, save

from vlmq.api import ModelError, Observation
from vlmq.data.batch import context_row
from vlmq.model.backbone import Backbone, LoraSettings, load_backbone, merge_adapters
from vlmq.model.generate import Sampling, sample_replies
from vlmq.prompt.encode import Encoder, Row
from vlmq.prompt.pack import collate_packed


@pytest.fixture(scope="module", params=list(FAMILIES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(str(request.param), tmp_path_factory.mktemp(str(request.param)))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder.load(folder)


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(str(folder)).eval()


def _observations() -> list[Observation]:
    """Texts and pictures of several lengths and sizes."""
    rng = np.random.default_rng(0)
    shapes = [(SIDE, SIDE), (SIDE, SIDE), (SIDE, 2 * SIDE)]
    texts = ["go left please", "now go up or down", "what is in the red box on the right"]
    return [
        Observation(text, rng.integers(0, 256, (*shape, 3)).astype(np.uint8))
        for text, shape in zip(texts, shapes, strict=True)
    ]


def _same_size() -> list[Observation]:
    return _observations()[:2]


@torch.no_grad()
def _log_probs(backbone: Backbone, encoder: Encoder, row: Row) -> torch.Tensor:
    """(L, V) of one sequence alone."""
    return backbone.logits(backbone.hidden(encoder.collate([row], left=False))).log_softmax(-1)[0]


def test_a_prompt_is_what_the_models_own_processor_and_forward_make_of_it(
    encoder: Encoder, backbone: Backbone
) -> None:
    for observation in _observations():
        segment = encoder.prompt(observation, first=True)
        text = encoder.tokenizer.decode(segment.ids)
        assert observation.text in text
        content = [{"type": "image"}, {"type": "text", "text": "look"}]
        rendered = encoder.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False
        )
        own = encoder.processor(text=[rendered], images=[[_picture(observation)]], return_tensors="pt")
        ours = Row(own["input_ids"][0].numpy().astype(np.int32), (encoder.pixels(_image(observation)),))
        if hasattr(backbone.model.model, "rope_deltas"):
            backbone.model.model.rope_deltas = None
        with torch.no_grad():
            expected = backbone.model(**own).logits.log_softmax(-1)[0]
        torch.testing.assert_close(_log_probs(backbone, encoder, ours), expected, atol=1e-5, rtol=0)


def _image(observation: Observation) -> np.ndarray:
    assert observation.image is not None
    return observation.image


def _picture(observation: Observation) -> Any:
    from PIL import Image

    return Image.fromarray(_image(observation))


def test_a_family_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision = hf.SiglipVisionConfig(image_size=16, patch_size=8, vision_use_head=False, **small)
    text = hf.GemmaConfig(vocab_size=16, num_key_value_heads=1, head_dim=8, **small)
    config = hf.PaliGemmaConfig(vision_config=vision, text_config=text, projection_dim=8, image_token_index=3)
    hf.PaliGemmaForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a paligemma model, whose picture tokens look ahead"):
        load_backbone(str(tmp_path))


@pytest.mark.parametrize("turns", [1, 2], ids=["one turn", "with history"])
def test_what_acting_recorded_is_what_learning_computes(
    encoder: Encoder, backbone: Backbone, turns: int
) -> None:
    seen = _same_size()
    earlier = [encoder.reply('{"action": "left"}')] if turns == 2 else []
    contexts = [
        context_row([encoder.prompt(seen[(i + t) % 2], first=t == 0) for t in range(turns)], earlier)
        for i in range(2)
    ]
    assert len({len(context.ids) for context in contexts}) == (2 if turns == 1 else 1)
    sampling = Sampling(6, 1.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    noise = np.arange(2)[:, None]
    drawn = sample_replies(backbone, encoder.collate(contexts, left=True), noise, sampling)
    for context, ids, recorded in zip(contexts, drawn.ids, drawn.log_probs, strict=True):
        whole = Row(np.concatenate([context.ids, ids]), context.pixels)
        learnt = _log_probs(backbone, encoder, whole)[len(context.ids) - 1 : -1]
        taken = learnt.gather(-1, torch.from_numpy(ids).long()[:, None])[:, 0]
        np.testing.assert_allclose(taken.numpy(), recorded, atol=1e-5)


def test_packed_rows_say_what_each_sequence_says_alone(encoder: Encoder, backbone: Backbone) -> None:
    seen = _same_size()
    rows = [context_row([encoder.prompt(o, first=True)], []) for o in [*seen, seen[0]]]
    talk = [encoder.prompt(seen[turn % 2], first=turn == 0) for turn in range(3)]
    rows.append(context_row(talk, [encoder.reply('{"action": "up"}')] * 2))
    inputs, packed = collate_packed(rows, encoder)
    assert len(packed.rows) < len(rows), "two sequences share a row"
    with torch.no_grad():
        said = backbone.logits(backbone.hidden(inputs)).log_softmax(-1)
    for row, place, start in zip(rows, packed.row, packed.start, strict=True):
        own = said[place, start : start + len(row.ids)]
        torch.testing.assert_close(own, _log_probs(backbone, encoder, row), atol=1e-4, rtol=0)


def test_a_call_leaves_nothing_behind_for_the_next(encoder: Encoder, backbone: Backbone) -> None:
    first, second = (context_row([encoder.prompt(o, first=True)], []) for o in _same_size())
    alone = _log_probs(backbone, encoder, first)
    sampling = Sampling(3, 0.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    sample_replies(backbone, encoder.collate([second], left=True), np.zeros((1, 1), np.int64), sampling)
    torch.testing.assert_close(_log_probs(backbone, encoder, first), alone, atol=0, rtol=0)


def test_adapters_lie_on_the_language_model_alone_and_merge_into_it(folder: Path, encoder: Encoder) -> None:
    base = load_backbone(str(folder)).eval()
    adapted = load_backbone(str(folder), lora=LoraSettings(rank=2), freeze_vision=True).eval()
    names = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert names
    assert all("lora_" in name and "vision" not in name and "visual" not in name for name in names)
    row = context_row([encoder.prompt(_same_size()[0], first=True)], [])
    untouched = _log_probs(base, encoder, row)
    torch.testing.assert_close(_log_probs(adapted, encoder, row), untouched, atol=1e-5, rtol=0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    moved = _log_probs(adapted, encoder, row)
    assert (moved - untouched).abs().max() > 1e-3
    with adapted.without_adapters():
        torch.testing.assert_close(_log_probs(adapted, encoder, row), untouched, atol=1e-5, rtol=0)
    merge_adapters(adapted)
    torch.testing.assert_close(_log_probs(adapted, encoder, row), moved, atol=1e-4, rtol=0)
