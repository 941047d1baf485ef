"""A batch is laid out as the method's indices say: every state, link, reward and id where it belongs."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from vlmq.api import Observation, Turn
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.model.actor_critic import ActorCritic, Output
from vlmq.model.backbone import Backbone
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History

HISTORIES = (History(), History(1), History("all"))
Turns = tuple[Turn, ...]


@pytest.fixture(scope="module")
def model(tiny_backbone: Backbone) -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(tiny_backbone, CriticConfig(2, 16, 8), trunk_gradient=0.1).eval()


def _whole(turns: Turns, following: Observation | None = None, *, terminated: bool = False) -> Fragment:
    return Fragment(turns, 0, 0, following, terminated)


@torch.no_grad()
def _forward(model: ActorCritic, batch: Batch) -> Output:
    output: Output = model(batch.inputs, batch.state_row, batch.state_position, batch.tokens)
    return output


def _place(batch: Batch, state: int) -> tuple[int, int]:
    return int(batch.state_row[state]), int(batch.state_position[state])


@pytest.mark.parametrize("history", HISTORIES)
def test_the_hidden_state_before_a_token_predicts_it(
    tiny_encoder: Encoder, tiny_turns: Turns, history: History
) -> None:
    fragments = [_whole(tiny_turns[:3], tiny_turns[3].observation), _whole(tiny_turns[3:])]
    batch = build_batch(fragments, tiny_encoder, history)
    count = len(batch.tokens)
    after = batch.inputs["input_ids"][batch.state_row[:count], batch.state_position[:count] + 1]
    assert after.tolist() == batch.tokens.tolist()
    assert batch.tokens.tolist() == [int(i) for turn in tiny_turns for i in turn.reply_ids]


@pytest.mark.parametrize("packed", [False, True])
def test_words_alone_may_be_given_a_blank_picture_that_changes_nothing(
    tiny_encoder: Encoder, model: ActorCritic, tiny_turns: Turns, packed: bool
) -> None:
    told = tuple(
        dataclasses.replace(turn, observation=Observation(text=turn.observation.text)) for turn in tiny_turns
    )
    plain, pictured = (
        build_batch([_whole(told)], tiny_encoder, History("all"), packed=packed, pictured=pictured)
        for pictured in (False, True)
    )
    assert "pixel_values" not in plain.inputs
    assert "pixel_values" in pictured.inputs
    torch.testing.assert_close(_forward(model, plain).log_probs, _forward(model, pictured).log_probs)
    learner = copy.deepcopy(model)
    output = learner(pictured.inputs, pictured.state_row, pictured.state_position, pictured.tokens)
    output.log_probs.sum().backward()
    connector = [p for name, p in learner.backbone.named_parameters() if "connector" in name]
    assert connector
    assert all(p.grad is not None and not p.grad.any() for p in connector)


def test_what_shows_a_picture_is_given_no_other(tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    plain, pictured = (
        build_batch([_whole(tiny_turns)], tiny_encoder, History(), pictured=pictured)
        for pictured in (False, True)
    )
    assert plain.inputs["input_ids"].equal(pictured.inputs["input_ids"])


@pytest.mark.parametrize("history", HISTORIES)
def test_after_a_reply_comes_the_last_prompt_token_of_the_next_turn(
    tiny_encoder: Encoder, tiny_turns: Turns, history: History
) -> None:
    batch = build_batch([_whole(tiny_turns[:3], tiny_turns[3].observation)], tiny_encoder, history)
    ids = batch.inputs["input_ids"]
    mask = batch.inputs["attention_mask"]
    ends = batch.last.nonzero().flatten().tolist()
    for turn, token in enumerate(ends):
        row, position = _place(batch, int(batch.next_state[token]))
        first = history.start(turn + 1)
        observations = [t.observation for t in tiny_turns[first : turn + 2]]
        prompt = tiny_encoder.prompt(observations[-1], first=first == turn + 1).ids
        assert ids[row, position + 1 - len(prompt) : position + 1].tolist() == prompt.tolist()
        if turn < 2:
            assert int(ids[row, position + 1]) == int(tiny_turns[turn + 1].reply_ids[0])
        else:
            assert int(mask[row].sum()) == position + 1  # nothing answers the final prompt


def test_inside_a_reply_the_next_state_is_the_next_token(tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    batch = build_batch([_whole(tiny_turns[:2]), _whole(tiny_turns[2:4])], tiny_encoder, History())
    inside = (~batch.last).nonzero().flatten()
    assert batch.next_state[inside].tolist() == (inside + 1).tolist()
    assert batch.next_token[inside].tolist() == (inside + 1).tolist()
    ends = batch.last.nonzero().flatten().tolist()
    # Fragments end after their second reply; between their two replies the chain goes on.
    assert batch.next_token[ends].tolist() == [ends[0] + 1, -1, ends[2] + 1, -1]


def test_rewards_arrive_with_the_last_token_of_their_reply(tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    batch = build_batch([_whole(tiny_turns)], tiny_encoder, History())
    assert batch.reward[batch.last].tolist() == [turn.reward for turn in tiny_turns]
    assert (batch.reward[~batch.last] == 0).all()
    lengths = [len(turn.reply_ids) for turn in tiny_turns]
    assert (batch.last.nonzero().flatten() + 1).tolist() == np.cumsum(lengths).tolist()


def test_termination_has_no_state_to_bootstrap_from_and_truncation_has(
    tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    after = tiny_turns[2].observation
    kinds = {
        "terminated": _whole(tiny_turns[:2], after, terminated=True),
        "truncated": _whole(tiny_turns[:2], after),
        "not recorded": _whole(tiny_turns[:2]),
    }
    for history in HISTORIES:
        for name, fragment in kinds.items():
            batch = build_batch([fragment], tiny_encoder, history)
            extra = len(batch.state_row) - len(batch.tokens)
            seen = (extra, bool(batch.next_known[-1]), bool(batch.terminal[-1]))
            expected = {"terminated": (0, False, True), "truncated": (1, True, False)}
            assert seen == expected.get(name, (0, False, False)), (name, history)
            assert batch.next_known[:-1].all()
            assert not batch.terminal[:-1].any()


def test_whole_episode_rows_agree_with_windows_as_long_as_the_episode(
    tiny_encoder: Encoder, tiny_turns: Turns, model: ActorCritic
) -> None:
    fragments = [_whole(tiny_turns[:4], tiny_turns[4].observation), _whole(tiny_turns[4:], terminated=True)]
    packed = build_batch(fragments, tiny_encoder, History("all"))
    windows = build_batch(fragments, tiny_encoder, History(9))
    assert len(packed.inputs["input_ids"]) == 2
    assert len(windows.inputs["input_ids"]) == 7
    one, many = _forward(model, packed), _forward(model, windows)
    assert one.value is not None
    assert many.value is not None
    torch.testing.assert_close(one.log_probs, many.log_probs, atol=1e-4, rtol=0)
    torch.testing.assert_close(one.value, many.value, atol=1e-4, rtol=0)
    same = ("tokens", "reward", "next_state", "next_known", "next_token", "terminal", "reply", "turn")
    for name in same:
        assert getattr(packed, name).tolist() == getattr(windows, name).tolist(), name


@pytest.mark.parametrize("history", HISTORIES)
def test_padding_never_changes_a_log_probability_or_a_value(
    tiny_encoder: Encoder, tiny_turns: Turns, model: ActorCritic, history: History
) -> None:
    short = _whole(tiny_turns[:1], tiny_turns[1].observation)
    alone = build_batch([short], tiny_encoder, history)
    together = build_batch([short, _whole(tiny_turns[3:])], tiny_encoder, history)
    padding = together.inputs["attention_mask"] == 0
    assert padding.any()
    together.inputs["input_ids"][padding] = 77
    few, many = _forward(model, alone), _forward(model, together)
    count = len(alone.tokens)
    assert few.value is not None
    assert few.q is not None
    assert many.value is not None
    assert many.q is not None
    torch.testing.assert_close(few.log_probs, many.log_probs[:count], atol=1e-5, rtol=0)
    torch.testing.assert_close(few.q, many.q[:, :count], atol=1e-5, rtol=0)
    torch.testing.assert_close(few.value[:, :count], many.value[:, :count], atol=1e-5, rtol=0)
    # The bootstrap states come last: the short fragment's is the first of them.
    torch.testing.assert_close(few.value[:, count], many.value[:, len(together.tokens)], atol=1e-5, rtol=0)


@pytest.mark.parametrize("history", HISTORIES)
def test_every_row_has_the_image_tokens_that_its_pictures_need(
    tiny_encoder: Encoder, tiny_turns: Turns, model: ActorCritic, history: History
) -> None:
    blind = dataclasses.replace(tiny_turns[1], observation=Observation("no picture"))
    batch = build_batch([_whole((tiny_turns[0], blind, tiny_turns[2]))], tiny_encoder, history)
    image_id = tiny_encoder.processor.image_token_id
    tokens = (batch.inputs["input_ids"] == image_id).sum(1)
    pictures = batch.inputs["pixel_attention_mask"].flatten(2).any(-1).sum(1)
    assert tokens.tolist() == (16 * pictures).tolist()
    assert pictures.tolist() == {"none": [1, 0, 1], 1: [1, 1, 1], "all": [2]}[history.turns]
    assert torch.isfinite(_forward(model, batch).log_probs).all()  # the model refuses any other count


def test_skipped_turns_are_context_and_nothing_else(
    tiny_encoder: Encoder, tiny_turns: Turns, model: ActorCritic
) -> None:
    following = tiny_turns[4].observation
    for history in HISTORIES:
        whole = build_batch([_whole(tiny_turns[:4], following)], tiny_encoder, history)
        late = build_batch([Fragment(tiny_turns[:4], 0, 2, following, False)], tiny_encoder, history)
        assert late.turn.tolist() == [2, 3]
        kept = whole.reply >= 2
        assert late.tokens.tolist() == whole.tokens[kept].tolist()
        expected = _forward(model, whole).log_probs[kept]
        torch.testing.assert_close(_forward(model, late).log_probs, expected, atol=1e-5, rtol=0)


def test_a_fragment_from_the_middle_sees_the_window_that_the_actor_saw(
    tiny_encoder: Encoder, tiny_turns: Turns, model: ActorCritic
) -> None:
    # With one turn of history, turns 3 and 4 need turn 2 as context and no more.
    middle = Fragment(tiny_turns[2:5], 2, 1, tiny_turns[5].observation, False)
    batch = build_batch([middle], tiny_encoder, History(1))
    whole = build_batch([_whole(tiny_turns[:5], tiny_turns[5].observation)], tiny_encoder, History(1))
    kept = whole.reply >= 3
    assert batch.turn.tolist() == [3, 4]
    torch.testing.assert_close(
        _forward(model, batch).log_probs, _forward(model, whole).log_probs[kept], atol=1e-5, rtol=0
    )


def test_reply_ids_are_used_as_stored_and_never_tokenised_again(
    tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    reply = tiny_turns[1].reply
    letters = [tiny_encoder.tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in reply]
    odd = np.array([*(i for ids in letters for i in ids), tiny_encoder.end_id], np.int32)
    assert tiny_encoder.decode(odd) == reply
    assert len(odd) > len(tiny_encoder.reply(reply))
    turn = dataclasses.replace(tiny_turns[1], reply_ids=odd)
    for history in HISTORIES:
        batch = build_batch([_whole((turn, tiny_turns[2]))], tiny_encoder, history)
        assert batch.tokens[batch.reply == 0].tolist() == odd.tolist()


def test_a_reply_cut_at_its_limit_keeps_no_end_token(tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    cut = dataclasses.replace(tiny_turns[1], reply_ids=tiny_turns[1].reply_ids[:3])
    batch = build_batch([_whole((cut,))], tiny_encoder, History())
    assert batch.tokens.tolist() == cut.reply_ids.tolist()
    assert tiny_encoder.end_id not in batch.tokens.tolist()


def test_text_is_tokenised_only_where_no_model_sampled_it(tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    scripted = dataclasses.replace(tiny_turns[1], reply_ids=np.zeros(0, np.int32))
    batch = build_batch([_whole((scripted,))], tiny_encoder, History())
    assert batch.tokens.tolist() == tiny_encoder.reply(scripted.reply).tolist()
    assert batch.behaviour.isnan().all()


def test_what_is_known_of_a_reply_stays_with_it(tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    count = len(tiny_turns[1].reply_ids)
    log_probs = -np.arange(1, count + 1, dtype=np.float32)
    turns: Any = (tiny_turns[0], dataclasses.replace(tiny_turns[1], logprobs=log_probs), tiny_turns[4])
    batch = build_batch([_whole(turns)], tiny_encoder, History())
    assert batch.behaviour[batch.reply == 1].tolist() == log_probs.tolist()
    assert batch.behaviour[batch.reply != 1].isnan().all()
    assert batch.valid.tolist() == [True, True, False]
    assert [batch.sources[code] for code in batch.source] == ["random", "model", "random"]
    assert batch.num_replies == 3


def test_a_batch_moves_whole(tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    batch = build_batch([_whole(tiny_turns[:2])], tiny_encoder, History()).to("meta")
    tensors = [getattr(batch, f.name) for f in dataclasses.fields(batch)]
    tensors += list(batch.inputs.values())
    assert {t.device.type for t in tensors if isinstance(t, torch.Tensor)} == {"meta"}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("history", HISTORIES)
def test_sequences_that_share_a_row_do_not_see_each_other(
    tiny_encoder: Encoder, tiny_turns: Turns, model: ActorCritic, history: History, attention: str
) -> None:
    blind = dataclasses.replace(tiny_turns[1], observation=Observation("no picture"))
    fragments = [
        _whole(tiny_turns[:4], tiny_turns[4].observation),
        _whole((blind,), Observation("nor here")),
        _whole((blind, blind, tiny_turns[2]), terminated=True),
        _whole(tiny_turns[3:]),
    ]
    apart = build_batch(fragments, tiny_encoder, history)
    packed = build_batch(fragments, tiny_encoder, history, packed=True)
    shape, narrow = apart.inputs["input_ids"].shape, packed.inputs["input_ids"].shape
    assert shape[1] == narrow[1]
    assert narrow[0] < shape[0]
    assert packed.positions == apart.positions == int(apart.inputs["attention_mask"].sum())
    count = len(packed.tokens)
    after = packed.inputs["input_ids"][packed.state_row[:count], packed.state_position[:count] + 1]
    assert after.tolist() == packed.tokens.tolist()
    text = model.backbone.model.model.text_model
    before = text.config._attn_implementation
    text.set_attn_implementation(attention)
    try:
        one, many = _forward(model, packed), _forward(model, apart)
    finally:
        text.set_attn_implementation(before)
    assert one.value is not None
    assert many.value is not None
    torch.testing.assert_close(one.log_probs, many.log_probs, atol=1e-5, rtol=0)
    torch.testing.assert_close(one.value, many.value, atol=1e-5, rtol=0)
