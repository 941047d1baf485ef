"""Whole episodes are the same with and without what acting keeps, whatever history stands in the context."""

from __future__ import annotations

import numpy as np
import pytest

from vlmq.api import Episode
from vlmq.model.backbone import Backbone
from vlmq.model.generate import Sampling
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.rollout.collector import Player
from vlmq.rollout.policies import ModelPolicy


def _played(
    encoder: Encoder, backbone: Backbone, history: History, reuse_gb: float
) -> tuple[list[Episode], ModelPolicy]:
    sampling = Sampling(6, 1.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    policy = ModelPolicy(backbone, encoder, sampling, seed=3, explore=(0.3, 0.3), reuse_gb=reuse_gb)
    with Player("line/Walk-v0", 3, encoder, history=history, max_reply=6, workers=False) as player:
        played = list(player.play(policy, range(5), lambda index: index, source="test"))
    return sorted(played, key=lambda episode: episode.index), policy


@pytest.mark.parametrize(
    ("history", "share"),
    [(History("all"), 0.5), (History("all", 1), 0.3), (History("all", 0), 0.3), (History(2), 0.05)],
    ids=["all", "one picture", "no picture", "a window"],
)
def test_episodes_are_those_without_reuse(
    tiny_encoder: Encoder, tiny_backbone: Backbone, history: History, share: float
) -> None:
    plain, anew = _played(tiny_encoder, tiny_backbone, history, 0.0)
    kept, reusing = _played(tiny_encoder, tiny_backbone, history, 1.0)
    assert [episode.num_turns for episode in plain] == [episode.num_turns for episode in kept]
    for one, other in zip(plain, kept, strict=True):
        for a, b in zip(one.turns, other.turns, strict=True):
            assert (a.action, a.source, a.digest, a.reply_ids.tolist()) == (
                b.action,
                b.source,
                b.digest,
                b.reply_ids.tolist(),
            )
            np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4, equal_nan=True)
    assert anew.reader.kept.spared == 0
    assert reusing.reader.kept.spared > share * reusing.reader.kept.asked


def test_without_a_history_nothing_is_kept(tiny_encoder: Encoder, tiny_backbone: Backbone) -> None:
    _, policy = _played(tiny_encoder, tiny_backbone, History(), 1.0)
    assert policy.reader.kept.size == 0
