"""Known failures are recognised from the log, said once, and a healthy run hears nothing."""

from __future__ import annotations

import pytest

from vlmq.train.health import GROWN_UP, MEASURE_EVERY, WINDOW, Health
from vlmq.train.schedule import FilterName, Phase

FILTERED = Phase("afsft", 1000)
HEALTHY = {
    "pass_rate": 0.8, "pass_rate/random": 0.7, "pass_rate/expert": 0.95, "pass_rate/corrupted": 0.5,
    "critic/explained_variance": 0.6, "critic/q_max": 4.0,
}  # fmt: skip


def _heard(changes: dict[str, float], phase: Phase = FILTERED, updates: int = GROWN_UP + WINDOW) -> list[str]:
    health = Health(best_return=5.0, return_range=6.0)
    return [said for _ in range(updates) for said in health.see_update(phase, HEALTHY | changes)]


def test_a_healthy_run_hears_nothing() -> None:
    assert _heard({}) == []


@pytest.mark.parametrize(
    ("failure", "changes"),
    [
        (
            "coin flip",
            {
                "pass_rate": 0.5, "pass_rate/random": 0.5, "pass_rate/expert": 0.52,
                "critic/explained_variance": 0.1,
            },
        ),
        ("inverted", {"pass_rate/expert": 0.6}),
        ("overestimation", {"critic/q_max": 12.0}),
        ("dead critic", {"critic/explained_variance": 0.0}),
        ("outside bins", {"train/outside_bins": 0.05}),
        ("no priority", {"train/priority_positive": 0.0}),
        ("nothing left", {"pass_rate": 0.01, "pass_rate/random": 0.01, "pass_rate/expert": 0.01}),
    ],
)  # fmt: skip
def test_a_known_failure_is_said_once_with_its_remedy(failure: str, changes: dict[str, float]) -> None:
    (said,) = _heard(changes)
    assert said.startswith(f"{failure}: ")
    assert "docs/troubleshooting.md" in said


@pytest.mark.parametrize("name", ["success", "above_median"])
def test_a_filter_of_episodes_that_keeps_nothing_is_noticed(name: FilterName) -> None:
    (said,) = _heard({"pass_rate": 0.0}, Phase("sft", 1000, filter=name, critic=False))
    assert said.startswith("nothing left: ")
    assert "choose another filter" in said


def test_a_gate_that_stays_shut_is_noticed() -> None:
    phase, health = Phase("afsft", 1000, gate=0.5), Health(5.0, 6.0)
    measured = {"critic/gate_open": 0.0, "critic/held_out_explained_variance": 0.2}

    def hear(updates: int, opening: float) -> list[str]:
        return [
            said
            for update in range(updates)
            for said in health.see_update(
                phase,
                HEALTHY | (measured | {"critic/gate_open": opening} if update % MEASURE_EVERY == 0 else {}),
            )
        ]

    assert hear(GROWN_UP - MEASURE_EVERY, 0.0) == []
    (said,) = hear(MEASURE_EVERY, 0.0)
    assert said.startswith("gate shut: phase 'afsft' still imitates everything: its gate opens where")
    assert "50 %" in said
    assert "20 %" in said
    health = Health(5.0, 6.0)
    assert hear(MEASURE_EVERY, 1.0) + hear(GROWN_UP, 0.0) == [], "it was open once"


def test_an_experts_tokens_that_the_policy_cannot_come_back_to_are_noticed() -> None:
    alone = {
        "pass_rate": 0.7,
        "pass_rate/expert": 0.7,
        "critic/explained_variance": 0.99,
        "critic/q_max": 4.0,
    }
    for rare, said in ((0.0, 1), (0.9, 0)):
        health = Health(5.0, 6.0)
        heard = [
            s
            for _ in range(2 * WINDOW)
            for s in health.see_update(FILTERED, {**alone, "pass_rate_at_pi/0_to_0.1": rare})
        ]
        assert len(heard) == said
        assert all(s.startswith("locked out: ") for s in heard)
    assert _heard({"pass_rate_at_pi/0_to_0.1": 0.0}) == [], "garbled tokens are among them"


def test_where_outcomes_have_a_say_half_of_the_tokens_may_go() -> None:
    halves = {"pass_rate": 0.5, "pass_rate/random": 0.5, "pass_rate/expert": 0.52, "pass_rate/corrupted": 0.5}
    uncertain = halves | {"critic/explained_variance": 0.1}
    assert len(_heard(uncertain)) == 1
    assert _heard(uncertain, Phase("afsft", 1000, observed=0.5)) == []


def test_a_young_critic_may_be_ignorant() -> None:
    assert _heard({"critic/explained_variance": 0.0}, updates=GROWN_UP - 1) == []


def test_one_strange_batch_is_no_failure() -> None:
    health = Health(5.0, 6.0)
    for update in range(3 * WINDOW):
        strange = {"pass_rate/expert": 0.6} if update % 20 == 0 else {}
        assert health.see_update(FILTERED, HEALTHY | strange) == []


def test_without_a_filter_of_the_critics_its_pass_rates_mean_nothing() -> None:
    warmup = Phase("warmup", 1000, filter="always")
    assert _heard({"pass_rate/expert": 0.6}, warmup) == []


def test_a_phase_is_not_judged_by_the_one_before_it() -> None:
    health = Health(5.0, 6.0)
    for _ in range(2 * WINDOW):
        health.see_update(Phase("warmup", 1000, filter="always"), HEALTHY | {"pass_rate": 0.01})
    assert [s for _ in range(2 * WINDOW) for s in health.see_update(FILTERED, HEALTHY)] == []


def test_falling_syntax_is_said_and_a_wobble_is_not() -> None:
    health = Health(5.0, 6.0)
    assert [health.see_evaluation(syntax) for syntax in (0.9, 1.0, 0.98)] == [[], [], []]
    (said,) = health.see_evaluation(0.8)
    assert said.startswith("syntax falls: well-formed replies fell from 100 to 80 %")
    assert health.see_evaluation(0.5) == []


@pytest.mark.parametrize(("syntax", "warned"), [(0.0, True), (0.8, True), (0.95, False)])
def test_a_filter_that_begins_before_the_form_is_learnt_is_said_once(syntax: float, warned: bool) -> None:
    health = Health(5.0, 6.0)
    health.see_evaluation(syntax)
    assert health.see_update(Phase("warmup", 10, filter="always"), HEALTHY) == []
    said = health.see_update(FILTERED, HEALTHY)
    assert [sentence.partition(":")[0] for sentence in said] == (["too early"] if warned else [])
    assert health.see_update(Phase("online", 10), HEALTHY) == []
