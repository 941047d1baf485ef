"""A frozen tower that remembers says exactly what it would say again, and runs on new pictures only."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from vlmq.api import Turn
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
    moved = [name for name, p in frozen.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert any("connector" in name for name in moved)
    assert not any("vision_model" in name for name in moved)


def test_a_tower_that_learns_forgets_nothing_because_it_keeps_nothing(tiny_backbone: Backbone) -> None:
    (tower,) = vision._towers(tiny_backbone)
    assert not isinstance(tower.forward, Remembered)
    assert any(parameter.requires_grad for parameter in tower.parameters())
