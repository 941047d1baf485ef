"""Which earlier turns stand in the context of a reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmq.prompt.window import History, window_start


@pytest.mark.parametrize(
    ("history", "starts"),
    [("none", [0, 1, 2, 3]), (0, [0, 1, 2, 3]), (1, [0, 0, 1, 2]), (2, [0, 0, 0, 1]), ("all", [0, 0, 0, 0])],
)
def test_the_window_of_each_turn(history: History, starts: list[int]) -> None:
    assert [window_start(turn, history) for turn in range(4)] == starts


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_window_never_starts_before_the_episode_and_holds_at_most_its_turns(
    turn: int, history: int
) -> None:
    start = window_start(turn, history)
    assert 0 <= start <= turn
    assert turn - start == min(turn, history)
