"""Judging may use other environments than training, each kind is started once, and those that break are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vlmq.api import PluginError
from vlmq.data.store import EpisodeStore
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


BUS_SPECS = """
from gymnasium.envs.registration import EnvSpec
SPECS = (EnvSpec(id="bus/A-v0", entry_point="bus_env:Bus"),)
"""
BUS = """
from line_games import Walk
class Bus(Walk):
    def __init__(self, whole):
        super().__init__()
        self.whole = whole
    def reset(self, *, seed=None, options=None):
        if seed >= self.whole:
            raise RuntimeError(f"no bus {seed}")
        return super().reset(seed=seed)
"""


@pytest.fixture
def buses(tiny_encoder: Encoder, install: Callable[..., None]) -> Iterator[Callable[[int], Arena]]:
    """Makes arenas whose environment breaks in every episode from an index on: the seed is the index."""
    install("bus", BUS_SPECS, bus_env=BUS)
    made: list[Arena] = []

    def make(whole: int) -> Arena:
        args = {"whole": whole}
        made.append(Arena(lambda more, blank: Player("bus/A-v0", 2, tiny_encoder, env_args=args), part=8))
        return made[-1]

    yield make
    for arena in made:
        arena.close()


def _collect(arena: Arena, encoder: Encoder, folder: Path, indices: list[int]) -> list[int]:
    if not folder.exists():
        EpisodeStore.create(folder, {}).close()
    policy = ScriptedPolicy(encoder, seed=1, expert=1.0)
    return arena.play_into(folder, policy, indices, int, title="collecting", source="expert")


@pytest.mark.parametrize(
    ("whole", "asked", "said"),
    [
        (0, 3, "no episode of 'bus/A-v0' could be played to the end: RuntimeError: no bus "),
        (1, 10, "only 1 of 10 episodes of 'bus/A-v0' could be played to the end: RuntimeError: no bus "),
    ],
)
def test_a_store_that_stays_all_but_empty_ends_the_run(
    buses: Callable[[int], Arena], tiny_encoder: Encoder, tmp_path: Path, whole: int, asked: int, said: str
) -> None:
    with pytest.raises(PluginError) as caught:
        _collect(buses(whole), tiny_encoder, tmp_path / "store", list(range(asked)))
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith("); `vlmq check bus/A-v0` tells more.")
    assert len(EpisodeStore.open(tmp_path / "store")) == whole


def test_episodes_that_broke_among_others_are_told_in_a_line_for_each_reason(
    buses: Callable[[int], Arena], tiny_encoder: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _collect(buses(8), tiny_encoder, tmp_path / "store", list(range(15))) == list(range(8, 15))
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "given up" in line]
    assert told.startswith("7 episodes were given up (8, 9, 10, 11, 12, ...): RuntimeError: no bus ")
    # those alone, by whoever comes back for them: that the others are there shows that it works
    assert _collect(buses(8), tiny_encoder, tmp_path / "store", list(range(8, 16))) == list(range(8, 16))


def test_judging_in_what_always_breaks_ends_where_no_episode_is_known(
    buses: Callable[[int], Arena], tiny_encoder: Encoder
) -> None:
    policy = ScriptedPolicy(tiny_encoder, seed=1, expert=1.0)
    with pytest.raises(PluginError, match="no episode of 'bus/A-v0' could be played to the end"):
        list(buses(0).play(policy, range(3), int))
    assert list(buses(0).play(policy, range(1, 12), int)) == [], "others are there that were played before"
