"""Who is judged at the points and the end of a phase."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vlmq.report.results import Row
from vlmq.train import evaluate
from vlmq.train.schedule import Phase, Schedule
from vlmq.train.settings import Evaluation


def _learner(phase: Phase) -> Any:
    data = SimpleNamespace(evaluation=Evaluation(episodes=1, final_episodes=2), own_turns=0)
    return SimpleNamespace(data=data, schedule=Schedule([phase]), points=[], rows=[], started=0.0)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Who was judged, over how many episodes; all succeed half of the time."""
    found: list[tuple[str, int]] = []

    def play(learner: Any, name: str, policy: str, episodes: int) -> Row:
        found.append((policy, episodes))
        return Row(name, 0.5, 0.4, 0.6, 0.0, 1.0, episodes, 0)

    monkeypatch.setattr(evaluate, "play", play)
    return found


@pytest.mark.parametrize("who", ["model", "shifted"])
def test_a_phase_is_judged_by_the_policy_that_it_names(played: list[tuple[str, int]], who: Any) -> None:
    learner = _learner(Phase("p", 2, policy=who, stop_at_success=0.5))
    learner.schedule.advance()
    evaluate.phase(learner, learner.schedule.phases[0])
    assert played == [(who, 1), (who, 2), ("sampled", 2)], "one point, and since it is good enough the end"
    assert learner.schedule.at_end_of_phase
    assert learner.schedule.in_phase == 1


def test_a_phase_may_say_how_many_episodes_its_end_is_worth(played: list[tuple[str, int]]) -> None:
    learner = _learner(Phase("p", 1, evaluated=5))
    learner.schedule.advance()
    evaluate.phase(learner, learner.schedule.phases[0])
    assert played == [("model", 5), ("sampled", 5)]
