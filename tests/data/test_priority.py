"""Priorities follow the advantages last seen, survive new episodes, and fall back to uniform."""

from __future__ import annotations

import numpy as np

from vlmq.data.priority import Priorities

ONE_TO_FOUR = np.array([0, 1, 2]), np.array([1, 2, 1]), np.zeros(3)
"""Three episodes of one, two and one turns that earned the same: places 0, 1 2, 3."""


def _drawn(priorities: Priorities) -> list[float]:
    """Share of each of four places among even draws."""
    places = priorities.draw((np.arange(4000) + 0.5) / 4000)
    return [float(share) for share in np.round(np.bincount(places, minlength=4) / 4000, 3)]


def test_places_are_drawn_in_proportion_to_the_positive_part_of_their_advantage() -> None:
    priorities = Priorities()
    priorities.show(*ONE_TO_FOUR)
    assert _drawn(priorities) == [0.25, 0.25, 0.25, 0.25]
    priorities.rate(np.arange(4), np.array([3.0, -5.0, 1.0, 0.0], np.float32))
    assert _drawn(priorities) == [0.75, 0.0, 0.25, 0.0]
    assert priorities.positive == 0.5


def test_a_turn_never_rated_counts_as_the_mean_of_the_others() -> None:
    priorities = Priorities()
    priorities.show(*ONE_TO_FOUR)
    priorities.rate(np.array([0, 1, 2]), np.array([3.0, 0.0, 0.0], np.float32))
    assert _drawn(priorities) == [0.75, 0.0, 0.0, 0.25]


def test_until_it_is_rated_what_its_episode_earned_speaks_for_a_turn() -> None:
    priorities = Priorities()
    # The mean is 1, the range 4: the second episode is half a range above it.
    priorities.show(*ONE_TO_FOUR[:2], np.array([-1.0, 3.0, 1.0]))
    assert _drawn(priorities) == [0.0, 0.5, 0.5, 0.0]
    priorities.rate(np.array([0]), np.array([0.5], np.float32))
    assert _drawn(priorities) == [0.167, 0.333, 0.333, 0.167]
    priorities.rate(np.array([1, 2]), np.array([-1.0, 1.0], np.float32))
    assert _drawn(priorities) == [0.25, 0.0, 0.5, 0.25]


def test_without_any_positive_one_all_are_alike() -> None:
    priorities = Priorities()
    priorities.show(*ONE_TO_FOUR)
    priorities.rate(np.arange(4), -np.ones(4, np.float32))
    assert _drawn(priorities) == [0.25, 0.25, 0.25, 0.25]
    assert priorities.positive == 0.0


def test_ratings_follow_their_episodes_when_others_come_and_go_and_through_a_checkpoint() -> None:
    priorities = Priorities()
    priorities.show(*ONE_TO_FOUR)
    priorities.rate(np.arange(4), np.array([0.0, 2.0, 6.0, 0.0], np.float32))
    restored = Priorities()
    restored.load_state_dict(priorities.state_dict())
    for one in (priorities, restored):
        # Episode 0 is forgotten, episode 3 is new with one turn.
        one.show(np.array([1, 2, 3]), np.array([2, 1, 1]), np.zeros(3))
        one.rate(np.array([3]), np.zeros(1, np.float32))
        assert _drawn(one) == [0.25, 0.75, 0.0, 0.0]


def test_the_largest_draw_is_a_place_too() -> None:
    priorities = Priorities()
    priorities.show(*ONE_TO_FOUR)
    priorities.rate(np.arange(4), np.full(4, 0.1, np.float32))
    assert priorities.draw(np.array([1.0 - 2.0**-53])).tolist() == [3]
