"""A frozen tower that remembers says exactly what it would say again, and runs on new pictures only."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from families import SIDE, save
from torch import Tensor

from vlmq.api import Observation, Turn
from vlmq.data.batch import context_row
from vlmq.model import vision
from vlmq.model.backbone import Backbone, load_backbone
from vlmq.model.vision import Remembered
from vlmq.prompt.encode import Encoder, Row


@pytest.fixture
def frozen(tiny_directory: Path) -> Backbone:
    return load_backbone(str(tiny_directory), freeze_vision=True)


@pytest.fixture
def inputs(tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]) -> dict[str, Tensor]:
    """Three pictures, of which the last is the first again."""
    segments = [tiny_encoder.prompt(turn.observation, first=True) for turn in tiny_turns[:2]]
    rows = [Row(s.ids, () if s.pixels is None else (s.pixels,)) for s in (*segments, segments[0])]
    return tiny_encoder.collate(rows, left=False)


def _remembered(backbone: Backbone) -> Remembered:
    (tower,) = vision._towers(backbone)
    return cast(Remembered, tower.forward)


def test_the_hidden_states_are_the_same_to_the_last_bit(frozen: Backbone, inputs: dict[str, Tensor]) -> None:
    first, second = frozen.hidden(inputs), frozen.hidden(inputs)
    memory = _remembered(frozen)
    assert (memory.asked, memory.computed) == (6, 2)
    vision.forget(frozen)
    plain = frozen.hidden(inputs)
    assert torch.equal(first, plain)
    assert torch.equal(second, plain)
    assert memory.asked == 6


@pytest.mark.parametrize(
    "family", ["idefics3_tiles", "smolvlm", "llava", "llava_onevision", "internvl", "gemma3", "paligemma"]
)
def test_in_every_family_that_sees_pictures_apart_features_kept_are_features_computed(
    tmp_path: Path, family: str
) -> None:
    encoder, frozen = _family(family, tmp_path)
    inputs = encoder.collate(_rows(encoder), left=False)
    first, memory = frozen.hidden(inputs), _remembered(frozen)
    computed = memory.computed
    assert 0 < computed < memory.asked, "a picture that comes twice is computed once"
    second = frozen.hidden(inputs)
    assert memory.computed == computed
    vision.forget(frozen)
    plain = frozen.hidden(inputs)
    for shown in (first, second):
        torch.testing.assert_close(shown, plain, atol=1e-5, rtol=0)
    second.sum().backward()  # type: ignore[no-untyped-call]
    assert any("projector" in name or "connector" in name for name in _moved(frozen))


def test_a_tower_that_reads_the_pictures_of_a_batch_as_one_sequence_keeps_nothing(tmp_path: Path) -> None:
    encoder, frozen = _family("qwen2_vl", tmp_path)
    frozen.hidden(encoder.collate(_rows(encoder), left=False))
    assert not any(isinstance(vars(module).get("forward"), Remembered) for module in frozen.modules())


def _family(family: str, folder: Path) -> tuple[Encoder, Backbone]:
    save(family, folder)
    return Encoder.load(folder), load_backbone(str(folder), freeze_vision=True)


def _rows(encoder: Encoder) -> list[Row]:
    """Pictures of several sizes; the last is the first again."""
    rng = np.random.default_rng(0)
    pictures = [
        rng.integers(0, 256, (*size, 3), np.uint8) for size in ((SIDE, SIDE), (SIDE, 2 * SIDE), (48, 32))
    ]
    seen = [Observation("look", picture) for picture in (*pictures, pictures[0])]
    return [context_row([encoder.prompt(one, first=True)], []) for one in seen]


def _moved(backbone: Backbone) -> list[str]:
    return [name for name, p in backbone.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]


def test_another_picture_or_another_mask_is_another_thing(
    frozen: Backbone, inputs: dict[str, Tensor]
) -> None:
    frozen.hidden(inputs)
    brighter = {**inputs, "pixel_values": inputs["pixel_values"] + 0.01}
    mask = inputs["pixel_attention_mask"].clone()
    mask[..., 32:, :] = 0
    for changed in (brighter, {**inputs, "pixel_attention_mask": mask}):
        before = _remembered(frozen).computed
        shown = frozen.hidden(changed)
        assert _remembered(frozen).computed == before + 2
        alone = frozen.hidden(changed)
        memory = _remembered(frozen)
        vision.forget(frozen)
        assert torch.equal(shown, frozen.hidden(changed))
        assert torch.equal(shown, alone)
        vision._towers(frozen)[0].forward = memory


def test_the_oldest_features_go_where_there_are_too_many(frozen: Backbone, inputs: dict[str, Tensor]) -> None:
    (tower,) = vision._towers(frozen)
    vision.forget(frozen)
    plain = frozen.hidden(inputs)
    tower.forward = memory = Remembered(tower.forward, capacity_bytes=1)
    assert torch.equal(frozen.hidden(inputs), plain)
    assert torch.equal(frozen.hidden(inputs), plain)
    assert memory.computed == 4, "nothing was kept from one call to the next"


def test_features_first_seen_while_acting_can_be_learnt_from(
    frozen: Backbone, inputs: dict[str, Tensor]
) -> None:
    with torch.inference_mode():
        frozen.hidden({name: value.clone() for name, value in inputs.items()})
    frozen.hidden(inputs).sum().backward()  # type: ignore[no-untyped-call]
    assert _remembered(frozen).computed == 2
    moved = _moved(frozen)
    assert any("connector" in name for name in moved)
    assert not any("vision_model" in name for name in moved)


def test_a_tower_that_learns_forgets_nothing_because_it_keeps_nothing(tiny_backbone: Backbone) -> None:
    (tower,) = vision._towers(tiny_backbone)
    assert not isinstance(tower.forward, Remembered)
    assert any(parameter.requires_grad for parameter in tower.parameters())
