"""Judging may use other environments than training, and each kind of them is started once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from vlmq.prompt.encode import Encoder
from vlmq.rollout.collector import Player, episode_seed
from vlmq.rollout.policies import ScriptedPolicy
from vlmq.train.arena import Arena


@pytest.fixture
def started() -> list[dict[str, Any]]:
    """The arguments of every player that was started."""
    return []


@pytest.fixture
def arena(tiny_encoder: Encoder, started: list[dict[str, Any]]) -> Iterator[Arena]:
    def make_player(more: dict[str, Any], blank_images: bool) -> Player:
        started.append(more)
        args = {"variation": False, **more}
        return Player("line/Walk-v0", 2, tiny_encoder, env_args=args, blank_images=blank_images)

    arena = Arena(make_player, part=8)
    yield arena
    arena.close()


def test_arguments_of_judging_are_added_to_those_of_training(
    arena: Arena, tiny_encoder: Encoder, started: list[dict[str, Any]]
) -> None:
    policy = ScriptedPolicy(tiny_encoder, seed=1, expert=1.0)
    seed_of = episode_seed(1, "test")
    plain, small, again = (
        sorted((e for part in parts for e in part), key=lambda episode: episode.index)
        for parts in (
            arena.play(policy, range(3), seed_of),
            arena.play(policy, range(3), seed_of, env_args={"size": 48}),
            arena.play(policy, range(3), seed_of),
        )
    )
    assert [json.loads(e.env_args) for e in plain] == [{"variation": False}] * 3
    assert [json.loads(e.env_args) for e in small] == [{"size": 48, "variation": False}] * 3
    shapes = {e.observations[0].image.shape for e in small if e.observations[0].image is not None}
    assert shapes == {(48, 48, 3)}
    # the same deals under both, and the players of training are those that were there
    assert [e.seed for e in small] == [e.seed for e in plain] == [e.seed for e in again]
    assert started == [{}, {"size": 48}]
