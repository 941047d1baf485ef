"""Generation: the cache changes nothing, neighbours change nothing, what is recorded is the model's own."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq.api import Turn
from vlmq.data.batch import Fragment, build_batch, context_row
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import Backbone
from vlmq.model.generate import Guide, Sampling, sample_replies
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder, Row
from vlmq.prompt.window import History

TOKENS = 9
Turns = tuple[Turn, ...]


@pytest.fixture(scope="module")
def sampling(tiny_encoder: Encoder) -> Sampling:
    return Sampling(TOKENS, 1.0, tiny_encoder.end_id, tiny_encoder.pad_id, tiny_encoder.banned_ids)


def _prompts(encoder: Encoder, turns: Turns) -> list[Row]:
    """Prompts of different lengths, each with its picture."""
    return [context_row([encoder.prompt(turn.observation, first=True)], []) for turn in turns]


def _keys(count: int) -> NDArray[np.int64]:
    return np.stack([np.full(count, 5), np.arange(count)], -1)


def _batch(encoder: Encoder, rows: list[Row]) -> dict[str, Tensor]:
    return encoder.collate(rows, left=True)


@torch.no_grad()
def _next_log_probs(backbone: Backbone, encoder: Encoder, row: Row) -> Tensor:
    """Of one whole row, without a cache."""
    inputs = encoder.collate([row], left=False)
    return backbone.logits(backbone.hidden(inputs)[0, -1]).log_softmax(-1)


def test_greedy_with_the_cache_is_greedy_without(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: Turns, sampling: Sampling
) -> None:
    rows = _prompts(tiny_encoder, tiny_turns[:4])
    greedy = replace(sampling, temperature=0.0)
    replies, log_probs, _ = sample_replies(tiny_backbone, _batch(tiny_encoder, rows), _keys(4), greedy)
    for row, reply, probs in zip(rows, replies, log_probs, strict=True):
        said = row
        for index, token in enumerate(reply.tolist()):
            expected = _next_log_probs(tiny_backbone, tiny_encoder, said)
            assert probs[index] == pytest.approx(float(expected[token]), abs=1e-4)
            expected[list(sampling.banned_ids)] = -torch.inf
            assert token == int(expected.argmax())
            said = Row(np.append(said.ids, np.int32(token)), said.pixels)


def test_a_reply_does_not_depend_on_its_neighbours(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: Turns, sampling: Sampling
) -> None:
    rows, keys = _prompts(tiny_encoder, tiny_turns), _keys(6)
    together, *_ = sample_replies(tiny_backbone, _batch(tiny_encoder, rows), keys, sampling)
    order = [4, 0, 5, 2, 1, 3]
    shuffled, *_ = sample_replies(
        tiny_backbone, _batch(tiny_encoder, [rows[i] for i in order]), keys[order], sampling
    )
    for place, i in enumerate(order):
        assert shuffled[place].tolist() == together[i].tolist()
    for i in range(6):
        alone, *_ = sample_replies(tiny_backbone, _batch(tiny_encoder, [rows[i]]), keys[i : i + 1], sampling)
        assert alone[0].tolist() == together[i].tolist()


def test_the_noise_belongs_to_the_key(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: Turns, sampling: Sampling
) -> None:
    inputs = _batch(tiny_encoder, _prompts(tiny_encoder, tiny_turns[:1] * 3))
    keys = np.array([[5, 1], [5, 2], [5, 1]])
    replies, *_ = sample_replies(tiny_backbone, inputs, keys, sampling)
    assert replies[0].tolist() == replies[2].tolist() != replies[1].tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_recorded_log_probabilities_are_the_learners(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: Turns, sampling: Sampling, temperature: float
) -> None:
    rows = _prompts(tiny_encoder, tiny_turns)
    drawn = replace(sampling, temperature=temperature)
    replies, log_probs, _ = sample_replies(tiny_backbone, _batch(tiny_encoder, rows), _keys(6), drawn)
    turns = [
        replace(turn, reply_ids=ids, logprobs=probs)
        for turn, ids, probs in zip(tiny_turns, replies, log_probs, strict=True)
    ]
    batch = build_batch([Fragment((turn,), 0, 0, None, True) for turn in turns], tiny_encoder, History())
    model = ActorCritic(tiny_backbone, CriticConfig(1, 4, 4), trunk_gradient=0.0)
    with torch.no_grad():
        output = model(batch.inputs, batch.state_row, batch.state_position, batch.tokens, with_critic=False)
    assert len(batch.tokens) > 6
    torch.testing.assert_close(batch.behaviour, output.log_probs, atol=1e-4, rtol=0)


def test_a_later_reply_is_recorded_as_the_learner_sees_it_after_earlier_ones(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: Turns, sampling: Sampling
) -> None:
    segments = [tiny_encoder.prompt(tiny_turns[i].observation, first=i == 0) for i in range(3)]
    earlier = [tiny_turns[i].reply_ids for i in range(2)]
    inputs = _batch(tiny_encoder, [context_row(segments, earlier)])
    (reply,), (log_probs,), _ = sample_replies(tiny_backbone, inputs, _keys(1), sampling)
    turns = (*tiny_turns[:2], replace(tiny_turns[2], reply_ids=reply, logprobs=log_probs))
    batch = build_batch([Fragment(turns, 0, 2, None, True)], tiny_encoder, History("all"))
    model = ActorCritic(tiny_backbone, CriticConfig(1, 4, 4), trunk_gradient=0.0)
    with torch.no_grad():
        output = model(batch.inputs, batch.state_row, batch.state_position, batch.tokens, with_critic=False)
    torch.testing.assert_close(batch.behaviour, output.log_probs, atol=1e-4, rtol=0)


def _many(
    backbone: Backbone, encoder: Encoder, sampling: Sampling, count: int
) -> tuple[list[NDArray[np.int32]], Tensor]:
    """Replies to one short prompt without a picture, and the log-probabilities of their first token."""
    row = Row(encoder.reply("go to"), ())
    inputs = _batch(encoder, [row] * count)
    replies, *_ = sample_replies(backbone, inputs, _keys(count), sampling)
    return replies, _next_log_probs(backbone, encoder, row)


def test_banned_tokens_never_appear(
    tiny_backbone: Backbone, tiny_encoder: Encoder, sampling: Sampling
) -> None:
    _, log_probs = _many(tiny_backbone, tiny_encoder, sampling, 1)
    likely = tuple(log_probs.topk(300).indices.tolist())
    for temperature in (0.0, 1.0):
        choice = replace(sampling, banned_ids=likely, temperature=temperature, max_tokens=2)
        replies, _ = _many(tiny_backbone, tiny_encoder, choice, 300)
        assert not {int(i) for reply in replies for i in reply} & set(likely)


def test_the_end_token_ends_a_reply_and_counts(
    tiny_backbone: Backbone, tiny_encoder: Encoder, sampling: Sampling
) -> None:
    _, log_probs = _many(tiny_backbone, tiny_encoder, sampling, 1)
    allowed = log_probs.index_fill(0, torch.tensor(sampling.banned_ids), -torch.inf)
    # Let each of the likeliest first tokens end a reply: some end at once, some never.
    lengths = set()
    for end in allowed.topk(3).indices.tolist():
        replies, _ = _many(tiny_backbone, tiny_encoder, replace(sampling, end_id=end, temperature=0.4), 64)
        for reply in replies:
            lengths.add(len(reply))
            assert end not in reply[:-1].tolist()
            assert len(reply) == TOKENS or int(reply[-1]) == end
    assert {1, TOKENS} < lengths


def test_draws_follow_the_models_probabilities(
    tiny_backbone: Backbone, tiny_encoder: Encoder, sampling: Sampling
) -> None:
    count = 4000
    for temperature in (1.0, 0.4):
        choice = replace(sampling, max_tokens=1, temperature=temperature)
        replies, log_probs = _many(tiny_backbone, tiny_encoder, choice, count)
        allowed = log_probs.index_fill(0, torch.tensor(sampling.banned_ids), -torch.inf)
        expected = count * (allowed.double() / temperature).softmax(-1).numpy()
        drawn = np.bincount([int(reply[0]) for reply in replies], minlength=len(expected))
        # Pearson's statistic over the tokens expected at least 5 times, all others together in one cell.
        often = expected >= 5
        cells = np.append(expected[often], expected[~often].sum())
        seen = np.append(drawn[often], drawn[~often].sum())
        statistic = float(((seen - cells) ** 2 / cells).sum())
        freedom = len(cells) - 1
        assert freedom > 20
        assert statistic < freedom + 4 * (2 * freedom) ** 0.5  # mean + 4 standard deviations


def test_a_low_temperature_draws_what_greedy_takes(
    tiny_backbone: Backbone, tiny_encoder: Encoder, sampling: Sampling
) -> None:
    cold = replace(sampling, temperature=1e-4, max_tokens=4)
    cold_replies, _ = _many(tiny_backbone, tiny_encoder, cold, 3)
    greedy_replies, _ = _many(tiny_backbone, tiny_encoder, replace(cold, temperature=0.0), 3)
    assert [r.tolist() for r in cold_replies] == [r.tolist() for r in greedy_replies]


def test_generation_leaves_the_model_as_it_was(
    tiny_backbone: Backbone, tiny_encoder: Encoder, sampling: Sampling
) -> None:
    backbone = copy.deepcopy(tiny_backbone).train()
    _many(backbone, tiny_encoder, sampling, 2)
    assert backbone.training
    for old, new in zip(tiny_backbone.parameters(), backbone.parameters(), strict=True):
        assert torch.equal(old, new)
        assert new.grad is None


def _critic(backbone: Backbone) -> ActorCritic:
    """A critic that prefers some tokens to others by far."""
    torch.manual_seed(3)
    model = ActorCritic(backbone, CriticConfig(members=2, width=16, dim=8), trunk_gradient=0.0)
    for member in model.critic.members:
        torch.nn.init.normal_(member.rows, std=1.0)  # type: ignore[arg-type]
    return model


def test_without_a_shift_the_guide_changes_nothing_but_says_what_a_reply_is_worth(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: Turns, sampling: Sampling
) -> None:
    rows, model = _prompts(tiny_encoder, tiny_turns[:4]), _critic(tiny_backbone)
    inputs = _batch(tiny_encoder, rows)
    plain = sample_replies(tiny_backbone, inputs, _keys(4), sampling)
    judged = sample_replies(
        tiny_backbone, inputs, _keys(4), sampling, guide=Guide(model.critic.of_candidates, candidates=10_000)
    )
    assert [i.tolist() for i in judged.ids] == [i.tolist() for i in plain.ids]
    assert not plain.worth.any()
    for row, reply, worth in zip(rows, judged.ids, judged.worth, strict=True):
        whole = tiny_encoder.collate([Row(np.append(row.ids, reply), row.pixels)], left=False)
        places = torch.arange(len(reply)) + len(row.ids) - 1
        output = model(whole, torch.zeros_like(places), places, torch.from_numpy(reply).long())
        gain = (output.q - output.value).mean(0).sum()
        assert worth == pytest.approx(float(gain), abs=1e-4)


def test_a_great_shift_takes_the_best_token_among_the_likeliest(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: Turns, sampling: Sampling
) -> None:
    rows, model = _prompts(tiny_encoder, tiny_turns[:4]), _critic(tiny_backbone)
    greedy = replace(sampling, temperature=0.0, max_tokens=1)
    guide = Guide(model.critic.of_candidates, shift=1e4, candidates=5)
    replies = sample_replies(tiny_backbone, _batch(tiny_encoder, rows), _keys(4), greedy, guide=guide)
    ordinary = sample_replies(tiny_backbone, _batch(tiny_encoder, rows), _keys(4), greedy)
    assert [i.tolist() for i in replies.ids] != [i.tolist() for i in ordinary.ids]
    for row, reply, log_prob in zip(rows, replies.ids, replies.log_probs, strict=True):
        hidden = tiny_backbone.hidden(tiny_encoder.collate([row], left=False))[0, -1]
        log_probs = tiny_backbone.logits(hidden).log_softmax(-1)
        allowed = log_probs.index_fill(-1, torch.tensor(sampling.banned_ids), -torch.inf)
        likeliest = allowed.topk(5).indices
        q = model.critic.every(hidden[None]).mean(0)[0]
        assert reply.tolist() == [int(likeliest[q[likeliest].argmax()])]
        # what is recorded stays the model's own
        assert log_prob[0] == pytest.approx(float(log_probs[reply[0]]), abs=1e-4)
