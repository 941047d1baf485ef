"""Models of public families, tiny and untrained: loaded as checkpoints are, and acting equals learning in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, PATCH, SIDE, lfm2_vl, qwen3_5, save

from vlmq.api import ModelError, Observation, Turn
from vlmq.data.batch import Fragment, build_batch, context_row
from vlmq.model.attention import check_packable, looks_ahead, token_types
from vlmq.model.backbone import Backbone, LoraSettings, layer_types, load_backbone, merge_adapters
from vlmq.model.generate import Sampling, sample_replies
from vlmq.prompt.chat import user_message
from vlmq.prompt.encode import Encoder, Row
from vlmq.prompt.pack import collate_packed
from vlmq.prompt.window import History
from vlmq.train.checks import check_packed


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
    shapes = [(SIDE, SIDE), (SIDE, 2 * SIDE), (3 * SIDE, SIDE + PATCH)]
    texts = ["go left please", "now go up or down", "what is in the red box on the right"]
    return [
        Observation(text, rng.integers(0, 256, (*shape, 3)).astype(np.uint8))
        for text, shape in zip(texts, shapes, strict=True)
    ]


@torch.no_grad()
def _log_probs(backbone: Backbone, encoder: Encoder, row: Row) -> torch.Tensor:
    """(L, V) of one sequence alone."""
    return backbone.logits(backbone.hidden(encoder.collate([row], left=False))).log_softmax(-1)[0]


def test_a_prompt_is_what_the_models_own_processor_and_forward_make_of_it(
    encoder: Encoder, backbone: Backbone
) -> None:
    for observation in _observations():
        segment = encoder.prompt(observation, first=True)
        assert segment.ids.tolist() == encoder.own_inputs(observation)["input_ids"][0].tolist()
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


def test_pictures_of_several_sizes_are_batched_as_the_models_own_processor_batches_them(
    encoder: Encoder,
) -> None:
    seen = _observations()
    texts = [encoder.template.render([user_message(shown)], generate=True) for shown in seen]
    pictures = [[_picture(shown)] for shown in seen]
    own = encoder.processor(text=texts, images=pictures, padding=True, return_tensors="pt")
    made = encoder.collate([context_row([encoder.prompt(o, first=True)], []) for o in seen], left=False)
    names = made.keys() - {"input_ids", "attention_mask"}
    assert "pixel_values" in names
    for name in names:
        assert torch.equal(made[name], own[name]), name


def _image(observation: Observation) -> np.ndarray:
    assert observation.image is not None
    return observation.image


def _picture(observation: Observation) -> Any:
    from PIL import Image

    return Image.fromarray(_image(observation))


@pytest.mark.parametrize("turns", [1, 2], ids=["one turn", "with history"])
def test_what_acting_recorded_is_what_learning_computes(
    encoder: Encoder, backbone: Backbone, turns: int
) -> None:
    seen = _observations()
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
        whole = Row(np.concatenate([context.ids, ids]), context.pixels, reply=len(ids))
        learnt = _log_probs(backbone, encoder, whole)[len(context.ids) - 1 : -1]
        taken = learnt.gather(-1, torch.from_numpy(ids).long()[:, None])[:, 0]
        np.testing.assert_allclose(taken.numpy(), recorded, atol=1e-5)


def _talk(encoder: Encoder) -> Row:
    """Three turns, two of them answered."""
    prompts = [encoder.prompt(seen, first=turn == 0) for turn, seen in enumerate(_observations())]
    return context_row(prompts, [encoder.reply('{"action": "up"}')] * 2)


def test_packed_rows_say_what_each_sequence_says_alone_and_a_leak_would_show(
    folder: Path, encoder: Encoder, backbone: Backbone
) -> None:
    if looks_ahead(backbone.model_type):
        with pytest.raises(ModelError, match=f"a {backbone.model_type} model is not one causal sequence"):
            check_packable(backbone.model_type)
        return
    check_packable(backbone.model_type, layer_types(str(folder)))
    assert check_packed(_fragments(encoder)[0].turns[0], backbone, encoder, torch.device("cpu")) < 1e-4
    rows = [context_row([encoder.prompt(o, first=True)], []) for o in _observations()]
    rows.append(_talk(encoder))
    inputs, packed = collate_packed(rows, encoder)
    assert len(packed.rows) < len(rows), "two sequences share a row"
    # The leak: sequences joined as if they were one.
    joined = {
        **inputs,
        "position_ids": torch.arange(inputs["input_ids"].shape[1]).expand_as(inputs["input_ids"]),
    }
    with torch.no_grad():
        said, leaked = (backbone.logits(backbone.hidden(i)).log_softmax(-1) for i in (inputs, joined))
    worst = 0.0
    for row, place, start in zip(rows, packed.row, packed.start, strict=True):
        own = slice(start, start + len(row.ids))
        alone = _log_probs(backbone, encoder, row)
        torch.testing.assert_close(said[place, own], alone, atol=1e-4, rtol=0)
        worst = max(worst, float((leaked[place, own] - alone).abs().max()))
    assert worst > 1e-2, "the comparison tells a leak from none"


def _greedy(backbone: Backbone, encoder: Encoder, context: Row, count: int) -> list[int]:
    """Without a cache: every token from the whole sequence anew."""
    ids = context.ids
    for made in range(count):
        row = Row(ids, context.pixels, reply=made)
        scores = _log_probs(backbone, encoder, row)[-1].clone()
        scores[list(encoder.banned_ids)] = -torch.inf
        ids = np.append(ids, np.int32(scores.argmax()))
        if ids[-1] == encoder.end_id:
            break
    return [int(i) for i in ids[len(context.ids) :]]


def test_the_cache_changes_nothing_and_the_models_own_generate_says_the_same(
    encoder: Encoder, backbone: Backbone
) -> None:
    sampling = Sampling(12, 0.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    alone = [context_row([encoder.prompt(o, first=True)], []) for o in _observations()[:2]]
    contexts = [*alone, _talk(encoder)]
    for context in contexts:
        inputs = encoder.collate([context], left=True)
        (drawn,) = sample_replies(backbone, inputs, np.zeros((1, 1), np.int64), sampling).ids
        assert drawn.tolist() == _greedy(backbone, encoder, context, 12)
        told = (
            {} if (types := token_types(backbone.model.config, inputs)) is None else {"token_type_ids": types}
        )
        if hasattr(backbone.model.model, "get_rope_index"):
            told["mm_token_type_ids"] = (inputs["input_ids"] == backbone.model.config.image_token_id).int()
        own = backbone.model.generate(
            **inputs, **told, max_new_tokens=12, do_sample=False, eos_token_id=encoder.end_id,
            pad_token_id=encoder.pad_id, suppress_tokens=list(encoder.banned_ids),
        )  # fmt: skip
        assert own[0, len(context.ids) :][: len(drawn)].tolist() == drawn.tolist()
    if hasattr(backbone.model.model, "rope_deltas"):
        backbone.model.model.rope_deltas = None


def _fragments(encoder: Encoder) -> list[Fragment]:
    """Two episodes of two turns, replies of unequal length."""
    seen = _observations()
    said = [('{"action": "up"}', '{"action": "left"}'), ('{"action": "go to shelf 1"}', '{"action": "up"}')]
    return [
        Fragment(
            tuple(
                Turn(seen[turn], reply, "up", reward=1.0, action_ok=True, reply_ids=encoder.reply(reply))
                for turn, reply in enumerate(replies)
            ),
            0,
            0,
            None,
            True,
        )
        for replies in said
    ]


@pytest.mark.parametrize("turns", ["none", "all"])
def test_the_loss_at_gathered_positions_is_the_models_own(
    encoder: Encoder, backbone: Backbone, turns: Any
) -> None:
    history = History(turns, per_reply=looks_ahead(backbone.model_type))
    fragments = _fragments(encoder)
    batch = build_batch(fragments, encoder, history)
    replies = [turn.reply_ids for fragment in fragments for turn in fragment.turns]
    assert batch.tokens.tolist() == np.concatenate(replies).tolist(), "no reply is masked away"
    if "reply_mask" in batch.inputs:
        assert batch.inputs["reply_mask"].sum(1).tolist() == [len(reply) for reply in replies]
    with torch.no_grad():
        hidden = backbone.hidden(batch.inputs)[batch.state_row, batch.state_position]
        ours = backbone.logits(hidden).log_softmax(-1).gather(-1, batch.tokens[:, None]).mean().neg()
    labels = torch.full_like(batch.inputs["input_ids"], -100)
    labels[batch.state_row[: len(batch.tokens)], batch.state_position[: len(batch.tokens)] + 1] = batch.tokens
    assert int((labels != -100).sum()) == len(batch.tokens)
    given = {name: value for name, value in batch.inputs.items() if name != "reply_mask"}
    if backbone.model_type == "gemma3":
        given["token_type_ids"] = (given["input_ids"] == backbone.model.config.image_token_id).long()
    elif backbone.model_type == "paligemma":
        given["token_type_ids"] = (labels != -100).long()
    if hasattr(backbone.model.model, "get_rope_index"):
        given["mm_token_type_ids"] = (given["input_ids"] == backbone.model.config.image_token_id).int()
        backbone.model.model.rope_deltas = None
    with torch.no_grad():
        own = backbone.model(**given, labels=labels).loss
    torch.testing.assert_close(ours, own, atol=1e-5, rtol=1e-5)
    if hasattr(backbone.model.model, "rope_deltas"):
        backbone.model.model.rope_deltas = None


def test_there_are_as_many_placeholders_as_features(encoder: Encoder, backbone: Backbone) -> None:
    for observation in _observations():
        row = context_row([encoder.prompt(observation, first=True)], [])
        inputs = encoder.collate([row], left=False)
        pixels = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
        with torch.no_grad():
            made = backbone.model.model.get_image_features(**pixels).pooler_output
        found = [made] if isinstance(made, torch.Tensor) else list(made)
        features = sum(part.numel() for part in found) // backbone.hidden_size
        assert (row.ids == backbone.model.config.image_token_id).sum() == features > 0


def test_paligemma_learns_what_its_own_processor_asks_of_it(tmp_path: Path) -> None:
    save("paligemma", tmp_path)
    encoder, backbone = Encoder.load(tmp_path), load_backbone(str(tmp_path)).eval()
    observation, reply = _observations()[0], '{"action": "left"}'
    content = [{"type": "image"}, {"type": "text", "text": f"{observation.text}\n{encoder.instruction}"}]
    rendered = encoder.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    own = encoder.processor(
        text=[rendered], images=[[_picture(observation)]], suffix=[reply], return_tensors="pt"
    )
    row = context_row([encoder.prompt(observation, first=True)], [encoder.reply(reply)])
    assert own["input_ids"][0].tolist()[: len(row.ids) - 1] == row.ids[:-1].tolist(), (
        "up to the end token's name"
    )
    start = len(row.ids) - len(encoder.reply(reply))
    with torch.no_grad():
        expected = backbone.model(**own).logits.log_softmax(-1)[0, start - 1 : len(row.ids) - 1]
    said = _log_probs(backbone, encoder, Row(row.ids, row.pixels, reply=len(row.ids) - start))
    torch.testing.assert_close(said[start - 1 : -1], expected, atol=1e-5, rtol=0)


def test_lfm2_with_a_stand_in_for_its_image_processor_acts_as_it_learns() -> None:
    torch.manual_seed(0)
    processor, model = lfm2_vl()
    encoder, backbone = Encoder(processor), Backbone(model).eval()
    test_what_acting_recorded_is_what_learning_computes(encoder, backbone, 1)
    test_what_acting_recorded_is_what_learning_computes(encoder, backbone, 2)
    test_the_cache_changes_nothing_and_the_models_own_generate_says_the_same(encoder, backbone)
    test_the_loss_at_gathered_positions_is_the_models_own(encoder, backbone, "all")
    test_there_are_as_many_placeholders_as_features(encoder, backbone)
    with pytest.raises(ModelError, match="convolutions, which run across the sequences of a row"):
        check_packable(backbone.model_type)


def test_layers_of_linear_attention_let_packed_sequences_see_one_another_and_are_refused(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    processor, model = qwen3_5()
    model.save_pretrained(tmp_path)
    encoder, backbone = Encoder(processor), Backbone(model)
    with pytest.raises(
        ModelError, match=r"sequences of qwen3_5 models that share a row see one another: .* set data.packed"
    ):
        check_packed(_fragments(encoder)[0].turns[0], backbone, encoder, torch.device("cpu"))
    with pytest.raises(
        ModelError, match=r"has layers of linear_attention, which may run across the sequences"
    ):
        check_packable(backbone.model_type, layer_types(str(tmp_path)))


def test_a_call_leaves_nothing_behind_for_the_next(encoder: Encoder, backbone: Backbone) -> None:
    first, second, _ = (context_row([encoder.prompt(o, first=True)], []) for o in _observations())
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
    row = context_row([encoder.prompt(_observations()[0], first=True)], [])
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
