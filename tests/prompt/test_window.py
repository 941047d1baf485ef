"""Which earlier turns, and which of their pictures, stand in the context of a reply."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmq.api import Observation, UserError
from vlmq.prompt.window import History, Turns


@pytest.mark.parametrize(
    ("turns", "starts"),
    [("none", [0, 1, 2, 3]), (0, [0, 1, 2, 3]), (1, [0, 0, 1, 2]), (2, [0, 0, 0, 1]), ("all", [0, 0, 0, 0])],
)
def test_the_window_of_each_turn(turns: Turns, starts: list[int]) -> None:
    assert [History(turns).start(turn) for turn in range(4)] == starts


@pytest.mark.parametrize(
    ("turns", "grows"),
    [
        ("none", [False, False, False]),
        (0, [False, False, False]),
        (2, [True, True, False]),
        ("all", [True] * 3),
    ],
)
def test_a_window_grows_until_it_moves_on(turns: Turns, grows: list[bool]) -> None:
    assert [History(turns).grows(turn) for turn in range(3)] == grows


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_window_never_starts_before_the_episode_and_holds_at_most_its_turns(turn: int, turns: int) -> None:
    start = History(turns).start(turn)
    assert 0 <= start <= turn
    assert turn - start == min(turn, turns)


@pytest.mark.parametrize(
    ("history", "shown"),
    [
        (History("all"), [True, True, True, True]),
        (History("all", 0), [False, False, False, True]),
        (History("all", 1), [False, False, True, True]),
        (History(2, 1), [False, True, True]),
        (History(1, 5), [True, True]),
        (History("none", 0), [True]),
    ],
)
def test_old_pictures_leave_the_context_and_their_texts_stay(history: History, shown: list[bool]) -> None:
    seen = [Observation(f"turn {turn}", np.full((2, 2, 3), turn, np.uint8)) for turn in range(5)]
    context = history.context(seen, 3)
    assert [observation.image is not None for observation in context] == shown
    assert [observation.text for observation in context] == [f"turn {t}" for t in range(4 - len(shown), 4)]


def test_a_context_is_the_same_from_a_part_of_the_episode() -> None:
    seen = [Observation(f"turn {turn}") for turn in range(5)]
    assert History(2).context(seen[1:], 3, first=1) == History(2).context(seen, 3)


def test_only_a_whole_episode_with_all_its_pictures_is_append_only() -> None:
    assert History("all").append_only
    assert not History("all", 3).append_only
    assert not History(9).append_only


@pytest.mark.parametrize(
    ("turns", "pictures", "name"), [(-1, "all", "history "), (1, -2, "history_pictures ")]
)
def test_negative_numbers_are_refused(turns: int, pictures: int, name: str) -> None:
    with pytest.raises(UserError, match=f"model.{name}is -.; a number of turns is 0 or more"):
        History(turns, pictures if pictures == "all" else int(pictures))
