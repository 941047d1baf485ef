"""Encoding: prompts append, replies survive, and the shortcuts equal the processor bit for bit."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tokenizers.processors import TemplateProcessing

from vlmq.api import ModelError, Observation, Turn
from vlmq.data.batch import context_row
from vlmq.prompt import chat
from vlmq.prompt.encode import Encoder, Row, digest
from vlmq.prompt.parse import format_reply

Turns = tuple[Turn, ...]


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Encoder) -> Encoder:
    return tiny_encoder


def _picture(seed: int, height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _processed(encoder: Encoder, image: NDArray[np.uint8]) -> dict[str, Any]:
    made = encoder.processor.image_processor(images=[[Image.fromarray(image)]], return_tensors="np")
    return {name: value[0] for name, value in made.items()}


def _conversation(encoder: Encoder, turns: Turns) -> tuple[list[chat.Message], list[Image.Image]]:
    messages: list[chat.Message] = []
    for index, turn in enumerate(turns):
        instruction = 'Reply: {"action": "..."}' if index == 0 else ""
        messages += [chat.user_message(turn.observation, instruction), chat.assistant_message(turn.reply)]
    images = [turn.observation.image for turn in turns]
    return messages[:-1], [Image.fromarray(image) for image in images if image is not None]


def test_appended_prompts_are_what_the_template_makes_of_the_whole_conversation(
    encoder: Encoder, tiny_turns: Turns
) -> None:
    turns = tiny_turns[:3]
    messages, pictures = _conversation(encoder, turns)
    text = encoder.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    whole = encoder.processor(text=[text], images=[pictures], add_special_tokens=False, return_tensors="np")
    segments = [encoder.prompt(turn.observation, first=i == 0) for i, turn in enumerate(turns)]
    row = context_row(segments, [encoder.reply(turn.reply) for turn in turns[:-1]])
    assert row.ids.tolist() == whole["input_ids"][0].tolist()
    batch = encoder.collate([row], left=False)
    for name in ("pixel_values", "pixel_attention_mask"):
        assert torch.equal(batch[name], torch.from_numpy(whole[name])), name


def _beginning(encoder: Encoder, template: str = "") -> Encoder:
    """With a tokenizer that puts <s> in front of a text, as Llama's does; the template may begin with it, too."""
    processor = copy.deepcopy(encoder.processor)
    processor.tokenizer.add_special_tokens({"bos_token": "<s>"})
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", processor.tokenizer.bos_token_id)]
    )
    processor.chat_template = template + processor.chat_template
    return Encoder(processor)


@pytest.mark.parametrize("template", ["", "{{ bos_token }}"], ids=["by the tokenizer", "by the template"])
@pytest.mark.parametrize("image", [None, _picture(0)], ids=["text", "picture"])
def test_a_window_begins_as_the_models_own_processor_begins_and_no_later_turn_does(
    encoder: Encoder, template: str, image: NDArray[np.uint8] | None
) -> None:
    beginning, seen = _beginning(encoder, template), Observation("look", image)
    begin = beginning.tokenizer.bos_token_id
    first, later = (beginning.prompt(seen, first=first).ids.tolist() for first in (True, False))
    assert first[0] == begin
    assert first.count(begin) == 1
    assert begin not in later
    assert beginning.own_inputs(seen)["input_ids"][0].tolist() == first
    assert first[1:] == encoder.prompt(seen, first=True).ids.tolist()
    assert begin in beginning.banned_ids
    assert beginning.template.lead == (() if template else (begin,))


def test_a_processor_that_adds_nothing_by_itself_gets_no_beginning(encoder: Encoder) -> None:
    class Bare(type(encoder.processor)):  # type: ignore[misc]
        """Test fixture: a processor whose own way is to leave special tokens to the template, as LFM2-VL's."""

        def __call__(self, add_special_tokens: bool = False, **given: Any) -> Any:
            return super().__call__(add_special_tokens=add_special_tokens, **given)

    with_begin = _beginning(encoder)
    processor = copy.copy(with_begin.processor)
    processor.__class__ = Bare
    bare, seen = Encoder(processor), Observation("look", _picture(0))
    assert bare.prompt(seen, first=True).ids.tolist() == with_begin.prompt(seen, first=True).ids.tolist()[1:]
    assert bare.own_inputs(seen)["input_ids"][0].tolist() == bare.prompt(seen, first=True).ids.tolist()
    assert bare.fingerprint != with_begin.fingerprint


def test_the_instruction_is_said_once_in_the_first_prompt_of_a_window(encoder: Encoder) -> None:
    observation = Observation("look")
    first = encoder.tokenizer.decode(encoder.prompt(observation, first=True).ids.tolist())
    later = encoder.tokenizer.decode(encoder.prompt(observation, first=False).ids.tolist())
    assert "Reply:" in first
    assert "Reply:" not in later
    assert "look" in later


def test_the_tiny_models_template_is_prefix_stable_and_ends_a_turn_with_its_end_token(
    encoder: Encoder,
) -> None:
    assert encoder.prefix_stable
    assert encoder.tokenizer.decode([encoder.end_id]) == "<|end|>"


def test_a_template_that_rewrites_earlier_turns_is_found_out(encoder: Encoder) -> None:
    processor = copy.deepcopy(encoder.processor)
    processor.chat_template = "{{ messages|length }}" + processor.chat_template
    assert not Encoder(processor).prefix_stable


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_reply_survives_tokenising(encoder: Encoder, text: str) -> None:
    special = encoder.tokenizer.convert_ids_to_tokens([*encoder.banned_ids, encoder.end_id])
    assume(not any(name in text for name in special))
    ids = encoder.reply(text)
    assert encoder.decode(ids) == text
    assert int(ids[-1]) == encoder.end_id
    assert not {int(i) for i in ids[:-1]} & {*encoder.banned_ids, encoder.end_id}


def test_a_reply_without_its_end_token_decodes_whole(encoder: Encoder) -> None:
    assert encoder.decode(encoder.reply("go to shelf 1")[:-1]) == "go to shelf 1"


@pytest.mark.parametrize("name", ["<image>", "<|end|>", "<|assistant|>", "<|pad|>"])
@pytest.mark.parametrize("image", [None, _picture(0)])
def test_a_text_that_spells_a_special_token_does_not_become_one(
    encoder: Encoder, name: str, image: NDArray[np.uint8] | None
) -> None:
    special = {*encoder.banned_ids, encoder.end_id}
    for first in (True, False):
        plain = encoder.prompt(Observation("a b", image), first=first).ids
        spelt = encoder.prompt(Observation(f"a {name} b", image), first=first).ids
        assert [i for i in spelt if i in special] == [i for i in plain if i in special]
    assert [i for i in encoder.reply(f"a {name} b") if i in special] == [encoder.end_id]


def test_banned_are_the_special_tokens_and_never_the_end_token(encoder: Encoder) -> None:
    special = set(encoder.tokenizer.all_special_ids)
    assert special - {encoder.end_id} <= set(encoder.banned_ids)
    assert encoder.processor.image_token_id in encoder.banned_ids
    assert encoder.end_id not in encoder.banned_ids


@pytest.mark.parametrize("seed", range(4))
def test_the_pixel_table_equals_the_processor_bit_for_bit(encoder: Encoder, seed: int) -> None:
    image = _picture(seed) if seed else np.full((64, 64, 3), (0, 128, 255), np.uint8)
    expected = _processed(encoder, image)
    made = encoder.pixels(image)
    assert encoder.pictures.table(image.shape) is not None  # the shortcut was taken
    assert made.keys() == expected.keys()
    for name, value in expected.items():
        assert made[name].dtype == value.dtype
        assert made[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize(("height", "width"), [(128, 128), (32, 32), (64, 48), (100, 30), (8, 8)])
def test_where_the_processor_resizes_its_image_processor_alone_gives_the_very_same(
    encoder: Encoder, height: int, width: int
) -> None:
    image = _picture(1, height, width)
    whole, made = encoder.pixels(image), encoder.pixels(image)
    assert encoder.pictures.table(image.shape) is None
    assert encoder.pictures.alone(image.shape) is not None  # the shortcut was taken
    assert made.keys() == whole.keys()
    expected = _processed(encoder, image)
    assert made.keys() == expected.keys()
    for name, value in expected.items():
        assert made[name].dtype == value.dtype
        assert made[name].tobytes() == value.tobytes(), name


def test_a_processor_that_changes_pixels_of_its_own_is_asked_whole(tiny_directory: Path) -> None:
    class Brightens(type(own := Encoder.load(tiny_directory).processor)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            made = super().__call__(*args, **kwargs)
            made["pixel_values"] = made["pixel_values"] + 1
            return made

    own.__class__ = Brightens
    encoder, image = Encoder(own), _picture(1, 128, 128)
    encoder.pixels(image)
    made = encoder.pixels(image)
    assert encoder.pictures.alone(image.shape) is None
    assert np.array_equal(made["pixel_values"], _processed(encoder, image)["pixel_values"] + 1)


def test_one_kept_prompt_serves_every_picture_of_its_size(encoder: Encoder) -> None:
    one = encoder.prompt(Observation("same", _picture(1)), first=True)
    other = encoder.prompt(Observation("same", _picture(2)), first=True)
    fresh = Encoder(encoder.processor).prompt(Observation("same", _picture(2)), first=True)
    assert one.ids.tolist() == other.ids.tolist() == fresh.ids.tolist()
    assert other.checksum == fresh.checksum != one.checksum
    assert one.pixels is not None
    assert other.pixels is not None
    assert not np.array_equal(one.pixels["pixel_values"], other.pixels["pixel_values"])


def test_a_digest_sees_ids_pixels_and_order(encoder: Encoder) -> None:
    a, b = (encoder.prompt(Observation("x", _picture(i)), first=True) for i in (1, 2))
    c = encoder.prompt(Observation("y", _picture(1)), first=True)
    reply = encoder.reply("go")
    seen = {
        digest([a], []), digest([b], []), digest([c], []), digest([a, b], [reply]), digest([b, a], [reply]),
        digest([a, b], [encoder.reply("no")]),
    }  # fmt: skip
    assert len(seen) == 6
    assert digest([a, b], [reply]) == digest([a, b], [reply.copy()])


def test_the_tokens_of_the_thoughts_are_told_from_the_rest(encoder: Encoder) -> None:
    for thoughts in ("the top one is 7", 'say "ä" 🂡 twice'):
        ids = encoder.reply(format_reply("+", "json", thoughts))
        chosen = encoder.thoughts(ids)
        assert chosen.dtype == bool
        inside = encoder.decode(ids[chosen])
        assert json.dumps(thoughts, ensure_ascii=False)[1:-1] in inside
        assert "thoughts" not in inside
        assert "action" not in inside
        assert not chosen[-1], "the end token is no thought"
    assert not encoder.thoughts(encoder.reply(format_reply("+", "json"))).any()
    assert not encoder.thoughts(encoder.reply('{"thoughts": "no action')).any()


@pytest.mark.parametrize("left", [True, False])
def test_padding_is_masked_and_stands_where_it_should(encoder: Encoder, left: bool) -> None:
    rows = [Row(np.array(ids, np.int32), ()) for ids in ([9, 8], [7, 6, 5, 4])]
    batch = encoder.collate(rows, left=left)
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1] if left else [1, 1, 0, 0], [1] * 4]
    assert batch["input_ids"][batch["attention_mask"] == 1].tolist() == [9, 8, 7, 6, 5, 4]
    assert "pixel_values" not in batch


def test_the_fingerprint_tells_tokenizers_and_templates_apart(encoder: Encoder, tiny_directory: Path) -> None:
    assert Encoder.load(tiny_directory, "plain").fingerprint == encoder.fingerprint
    other = copy.deepcopy(encoder.processor)
    other.tokenizer.add_tokens(["teleport"])
    assert Encoder(other).fingerprint != encoder.fingerprint
    other = copy.deepcopy(encoder.processor)
    other.chat_template += " "
    assert Encoder(other).fingerprint != encoder.fingerprint


def test_a_processor_without_a_template_is_refused(encoder: Encoder) -> None:
    processor = copy.deepcopy(encoder.processor)
    processor.chat_template = processor.tokenizer.chat_template = None
    with pytest.raises(ModelError, match="has no chat template; add a chat_template"):
        Encoder(processor)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{%- for message in messages -%}{{ message.content }", "unexpected '}'"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[0]['content'] + '</s>' }}", "can only concatenate list"),
    ],
    ids=["a mistake in its syntax", "it refuses the conversation", "it knows texts alone"],
)
def test_a_template_that_cannot_be_rendered_is_named_in_a_sentence(
    tiny_directory: Path, tmp_path: Path, template: str, reason: str
) -> None:
    shutil.copytree(tiny_directory, source := tmp_path / "model")
    (source / "chat_template.jinja").write_text(template)
    with pytest.raises(
        ModelError, match=rf"the chat template of '{source}' fails \({reason}.*\); mend it"
    ) as said:
        Encoder.load(source)
    assert "\n" not in str(said.value)


def test_a_processor_that_drops_pictures_is_refused_at_the_first_one(encoder: Encoder) -> None:
    class Dropping(type(encoder.processor)):  # type: ignore[misc]
        """Test fixture: a processor that writes the placeholders and forgets the pixels."""

        def __call__(self, **given: Any) -> Any:
            made = super().__call__(**given)
            return {name: value for name, value in made.items() if not name.startswith("pixel")}

    processor = copy.copy(encoder.processor)
    processor.__class__ = Dropping
    with pytest.raises(
        ModelError, match="a Dropping, drops pictures: it gives .* and no pixel_values; choose"
    ):
        Encoder(processor).prompt(Observation("look", _picture(0)), first=True)
    assert Encoder(processor).prompt(Observation("look"), first=True).pixels is None


def test_a_template_without_a_place_for_pictures_is_refused(encoder: Encoder) -> None:
    processor = copy.copy(encoder.processor)
    processor.chat_template = encoder.processor.chat_template.replace("<image>", "")
    with pytest.raises(ModelError, match="leaves pictures out"):
        Encoder(processor).prompt(Observation("look", _picture(0)), first=True)
