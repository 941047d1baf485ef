"""The model as a policy: of several replies it gives the one that its critic finds worth most."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from vlmq.api import Turn
from vlmq.model.backbone import Backbone
from vlmq.model.generate import Guide, Sampling
from vlmq.prompt.encode import Encoder
from vlmq.rollout.policies import Compared, Context, ModelPolicy, Reply, ScriptedPolicy


class _PrefersLargeIds:
    """Q of a token is its id: of replies of one token the largest is worth most."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        self.asked = max(self.asked, len(tokens))
        return tokens.float()


def _replies(
    backbone: Backbone, encoder: Encoder, turns: tuple[Turn, ...], best_of: int, judge: _PrefersLargeIds
) -> list[Reply]:
    sampling = Sampling(1, 1.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    policy = ModelPolicy(backbone, encoder, sampling, seed=1, guide=Guide(judge), best_of=best_of)
    contexts = [
        Context(episode, 0, [encoder.prompt(turn.observation, first=True)])
        for episode, turn in enumerate(turns)
    ]
    return policy.replies(contexts)


def test_the_best_of_more_replies_is_worth_no_less(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]
) -> None:
    worth = {}
    for best_of in (1, 2, 8):
        judge = _PrefersLargeIds()
        replies = _replies(tiny_backbone, tiny_encoder, tiny_turns, best_of, judge)
        assert len(replies) == len(tiny_turns)
        assert judge.asked == best_of * len(tiny_turns)
        worth[best_of] = torch.tensor([int(reply.ids[-1]) for reply in replies])
    # the first two of eight candidates are the two candidates of two
    assert (worth[8] >= worth[2]).all()
    assert (worth[8] > worth[1]).any()


def test_a_choice_among_replies_is_the_same_beside_other_contexts(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tiny_turns: tuple[Turn, ...]
) -> None:
    together = _replies(tiny_backbone, tiny_encoder, tiny_turns, 4, _PrefersLargeIds())
    alone = _replies(tiny_backbone, tiny_encoder, tiny_turns[:1], 4, _PrefersLargeIds())
    assert alone[0].ids.tolist() == together[0].ids.tolist()


@pytest.mark.parametrize("corruption", [0.0, 1.0])
def test_replies_are_held_against_the_experts(tiny_encoder: Encoder, corruption: float) -> None:
    expert = Compared(ScriptedPolicy(tiny_encoder, seed=1, expert=1.0), tiny_encoder)
    other = Compared(ScriptedPolicy(tiny_encoder, seed=1, corruption=corruption), tiny_encoder)
    known = [Context(episode, 0, random_action="+-"[episode % 2], expert_action="+") for episode in range(8)]
    unknown = Context(8, 0, random_action="+")
    for compared in (expert, other):
        assert len(compared.replies([*known, unknown] if compared is other else known)) >= 8
        assert compared.asked.total() == 8
    assert expert.agreed.total() == 8
    assert other.agreed.total() == (4 if corruption == 0.0 else 0)


@pytest.mark.parametrize("by_turn", [False, True])
def test_an_experts_share_is_of_the_episodes_or_of_the_turns(tiny_encoder: Encoder, by_turn: bool) -> None:
    policy = ScriptedPolicy(tiny_encoder, seed=1, expert=0.25, by_turn=by_turn, corruption=0.5)
    contexts = [
        Context(episode, turn, random_action="-", expert_action="+")
        for episode, turn in product(range(200), range(10))
    ]
    replies = policy.replies(contexts)
    assert [r.source for r in policy.replies(contexts[::-1])] == [r.source for r in replies][::-1]
    played = np.array([reply.source == "expert" for reply in replies]).reshape(200, 10)
    assert 0.2 < played.mean() < 0.3
    shares = played.mean(1)
    assert set(shares) == {0.0, 1.0} if not by_turn else len(set(shares)) > 4
    garbled = [reply.source == "corrupted" for reply in replies if reply.source != "expert"]
    assert 0.4 < np.mean(garbled) < 0.6
