"""What an evaluation keeps, episode by episode, and when it is gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlmq.train.journal import Journal
from vlmq.train.judge import Outcome, judge

ABOUT = {"policy": "model", "checkpoint": "12ab", "env": "line/Walk-v0"}


def outcome(index: int, success: bool = True) -> Outcome:
    return Outcome(index, 7 + index, "line/Walk-v0", success, float(success), 3, 2, 9, asked=3, agreed=1)


def written(path: Path, outcomes: list[Outcome]) -> Path:
    journal = Journal(path, ABOUT, 4)
    journal.append(outcomes)
    journal.close()
    return path


def test_an_evaluation_that_was_cut_short_knows_what_was_played(tmp_path: Path) -> None:
    path = written(tmp_path / "runs" / "model.jsonl", [outcome(2), outcome(0, False)])
    again = Journal(path, ABOUT, 4)
    assert again.known == {2: outcome(2), 0: outcome(0, False)}
    again.append([outcome(1), outcome(3)])
    again.close()
    first, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == ABOUT
    assert [line["index"] for line in lines] == [2, 0, 1, 3]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_a_kill_cut_short_is_played_again(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "model.jsonl", [outcome(0), outcome(1)])
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path, ABOUT, 4)
    assert list(journal.known) == [0]
    journal.append([outcome(1)])
    journal.close()
    assert list(Journal(path, ABOUT, 4).known) == [0, 1]


def test_a_whole_evaluation_and_one_of_something_else_are_begun_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "model.jsonl", [outcome(index) for index in range(4)])
    assert Journal(path, ABOUT, 5).known.keys() == {0, 1, 2, 3}, "more episodes are wanted now"
    assert Journal(path, ABOUT, 4).known == {}
    path = written(tmp_path / "other.jsonl", [outcome(0)])
    assert Journal(path, {**ABOUT, "checkpoint": "34cd"}, 4).known == {}
    (tmp_path / "noise.jsonl").write_text("[1]\nnoise\n")
    assert Journal(tmp_path / "noise.jsonl", ABOUT, 4).known == {}


def test_a_row_is_made_of_outcomes() -> None:
    row = judge("model", [outcome(0), outcome(1, False)], 1)
    # Two of three replies valid, one of three the expert's, in both episodes.
    assert (row.success, row.episode_return, row.syntax) == (0.5, 0.5, pytest.approx(2 / 3))
    assert row.extras["agreement"] == pytest.approx(1 / 3)
    assert "tasks" not in row.extras
