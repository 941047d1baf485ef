"""Rounds of own play: when they are due, what they explore, what is visible."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from vlmq.api import UserError
from vlmq.train.ownplay import Explore, OwnPlay, exploration
from vlmq.train.schedule import Phase, Schedule
from vlmq.train.settings import Online


class FakeReplay:
    """A fixture: a store of episodes of three turns, and what was shown of it."""

    def __init__(self, held: int = 0) -> None:
        self.held, self.shown = held, (0, 0)
        self.store = self
        self.provenance: dict[str, list[int]] = {}

    @property
    def table(self) -> np.ndarray:
        rows = [(index, 3) for index in range(self.held)]
        return np.array(rows, dtype=[("index", np.int64), ("num_turns", np.int64)])

    def refresh(self) -> None:
        """Nothing changes behind our back."""

    def position_of(self, index: int) -> int | None:
        return index if index < self.held else None

    def show(self, below: int, first: int) -> None:
        self.shown = (first, below)


def _own(
    settings: Online, held: int = 0, *, whole: bool = False, known: int = 0, **options: Any
) -> tuple[OwnPlay, FakeReplay, list[tuple[list[int], Explore]]]:
    replay, played = FakeReplay(held), []

    def play(number: int, indices: list[int], explore: Explore) -> None:
        played.append((indices, explore))
        replay.held += len(indices)

    def forget(first: int) -> None:
        replay.held = min(replay.held, first)

    own = OwnPlay(
        settings, cast(Any, replay), play, forget=forget, whole=lambda: whole, known=known, **options
    )
    return own, replay, played


def test_rounds_follow_the_count_of_updates() -> None:
    own, replay, played = _own(Online(episodes=2, every=5))
    own.collect(1, 0)
    own.collect(1, 32)
    assert [indices for indices, _ in played] == [[0, 1]]
    own.collect(2, 64)
    assert [indices for indices, _ in played] == [[0, 1], [2, 3]]
    assert replay.shown == (0, 4)


def test_what_an_interrupted_run_played_is_used_and_not_shown_early() -> None:
    own, replay, played = _own(Online(episodes=2), held=3)
    own.collect(1, 0)
    assert (replay.shown, played) == ((0, 2), [])
    own.collect(2, 0)
    assert [indices for indices, _ in played] == [[3]]


def test_a_replay_ratio_asks_for_a_round_once_enough_was_trained_on_the_ones_before() -> None:
    # 2 episodes of 3 turns are 6 turns a round; at a ratio of 2 a round lasts for 12 fragments.
    own, _, played = _own(Online(episodes=2, replay_ratio=2.0))
    rounds = []
    for trained in range(0, 40, 4):
        own.collect(99, trained)
        rounds.append(len(played))
    assert rounds == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


def test_only_the_latest_rounds_are_visible_where_older_ones_are_to_be_forgotten() -> None:
    own, replay, _ = _own(Online(episodes=2, rounds=1))
    own.collect(3, 0)
    assert replay.shown == (4, 6)


def test_exploration_falls_to_its_final_rate() -> None:
    settings = Online(explore=0.1, explore_start=0.9, explore_rounds=4)
    assert [exploration(settings, number) for number in (0, 2, 4, 9)] == [
        (0.1, 0.9), (0.1, pytest.approx(0.5)), (0.1, pytest.approx(0.1)), (0.1, pytest.approx(0.1))
    ]  # fmt: skip
    assert exploration(Online(explore=0.2), 7) == (0.2, 0.2)


def test_the_schedule_counts_what_was_trained_on_own_play() -> None:
    schedule = Schedule([Phase("a", 4), Phase("b", 3, online=0.5), Phase("c", 3, online=1.0)])
    schedule.index, schedule.in_phase = 2, 2
    assert schedule.trained_on_own(8) == 3 * 4 + 2 * 8
    schedule.index, schedule.in_phase = 1, 1
    assert schedule.trained_on_own(8) == 4


def test_a_phase_that_stops_early_leaves_no_rounds_behind() -> None:
    schedule = Schedule([Phase("a", 400, online=0.5), Phase("b", 10, online=0.5)])
    for _ in range(10):
        schedule.advance()
    schedule.ended = True
    assert schedule.at_end_of_phase
    schedule.finish_phase()
    again = Schedule(schedule.phases)
    again.load_state_dict(schedule.state_dict())
    for one in (schedule, again):
        assert (one.round(2), one.trained_on_own(8)) == (5, 40)
        assert not one.at_end_of_phase


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"replay_ratio": 0.0}, "replay_ratio is 0.0"),
        ({"explore": 0.2, "explore_start": 0.1}, "may only fall"),
        ({"explore": 1.2}, "probabilities"),
        ({"episodes": 0}, "online.episodes is 0; give 1 or more"),
        ({"rounds": 0}, "online.rounds is 0"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Online(**settings)


def test_an_interrupted_round_is_played_anew_where_it_must_come_out_the_same() -> None:
    own, _, played = _own(Online(episodes=4), held=6, whole=True)
    own.collect(2, 0)
    assert [indices for indices, _ in played] == [[4, 5, 6, 7]]


def test_an_interrupted_round_is_played_to_its_end_where_nothing_may_be_lost() -> None:
    own, _, played = _own(Online(episodes=4), held=6, whole=False)
    own.collect(2, 0)
    assert [indices for indices, _ in played] == [[6, 7]]


def test_what_a_store_lost_of_rounds_that_the_checkpoint_knows_costs_no_other_episode() -> None:
    own, _, played = _own(Online(episodes=4), held=6, whole=True, known=2)
    own.collect(2, 0)
    assert [indices for indices, _ in played] == [[6, 7]]


def test_an_episode_that_was_given_up_is_counted_and_not_tried_again() -> None:
    own, replay, played = _own(Online(episodes=4), held=7, whole=True)
    replay.provenance = {"given_up": [7, 9]}
    own.collect(2, 0)
    assert played == []
    assert own.given_up == 1


def test_rounds_are_begun_ahead_of_time_once_and_shown_when_they_are_due() -> None:
    begun: list[tuple[int, list[int]]] = []
    own, replay, played = _own(
        Online(episodes=2), begin=lambda number, indices, explore: begun.append((number, indices)), ahead=2
    )
    own.collect(1, 0)
    assert begun == [(0, [0, 1]), (1, [2, 3]), (2, [4, 5])]
    assert ([indices for indices, _ in played], replay.shown) == ([[0, 1]], (0, 2))
    own.collect(2, 0)
    assert begun[3:] == [(3, [6, 7])]
    assert ([indices for indices, _ in played], replay.shown) == ([[0, 1], [2, 3]], (0, 4))
    own.drop()
    own.collect(3, 0)
    assert begun[4:] == [(2, [4, 5]), (3, [6, 7]), (4, [8, 9])], "with the weights of another phase"
