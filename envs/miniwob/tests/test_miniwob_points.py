"""Mouse and keyboard alone: what an agent that is told no bids does in place of what names an element."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from vlmq_env_miniwob.actions import Call, parse
from vlmq_env_miniwob.env import STARTER, MiniWobEnv, MiniWobTasksEnv
from vlmq_env_miniwob.experts import EXPERTS
from vlmq_env_miniwob.places import TASK_AREA
from vlmq_env_miniwob.points import BY_ELEMENT_ALONE, SELECT_ALL, Step, by_point
from vlmq_env_miniwob.view import Element

MakeEnv = Callable[..., MiniWobEnv]
FIELD = Element(0, "textbox", "", (), (10.0, 20.0, 40.0, 10.0), (30.0, 25.0), takes_text=True)
BUTTON = Element(1, "button", "ok", (), (10.0, 60.0, 40.0, 10.0), (12.0, 61.0))
HELD = replace(FIELD, state=('value "old"',))


@pytest.mark.parametrize(
    ("action", "field", "focused", "before", "step"),
    [
        ("click('13')", FIELD, None, None, Step("mouse_click(12, 61)")),
        ("focus('12')", FIELD, None, None, Step("mouse_click(30, 25)")),
        ("dblclick('13')", FIELD, None, None, Step("mouse_dblclick(12, 61)")),
        ("hover('13')", FIELD, None, None, Step("mouse_move(12, 61)")),
        ("drag_and_drop('12', '13')", FIELD, None, None, Step("mouse_drag(30, 25, 12, 61)")),
        ("fill('12', 'new')", FIELD, None, None, Step("mouse_click(30, 25)", last=False)),
        ("fill('12', 'it\\'s')", FIELD, "12", None, Step("keyboard_type('it\\'s')")),
        ("fill('12', 'new')", HELD, "12", None, Step(SELECT_ALL, last=False)),
        ("fill('12', 'new')", HELD, "12", SELECT_ALL, Step("keyboard_type('new')")),
        ("clear('12')", HELD, "12", SELECT_ALL, Step("keyboard_press('Delete')")),
        ("press('12', 'Enter')", HELD, "13", None, Step("mouse_click(30, 25)", last=False)),
        ("press('12', 'Enter')", HELD, "12", None, Step("keyboard_press('Enter')")),
        ("select_option('12', 'a')", FIELD, "12", None, None),
        ("scroll(0, 50)", FIELD, None, None, Step("scroll(0, 50)")),
        ("nonsense", FIELD, None, None, Step("nonsense")),
    ],
)
def test_each_deed_has_its_next_step(
    action: str, field: Element, focused: str | None, before: str | None, step: Step | None
) -> None:
    found = by_point(action, {"12": field, "13": BUTTON}, TASK_AREA, focused, before)
    assert found == step


def _names_no_element(action: str) -> bool:
    call = parse(action)
    return isinstance(call, Call) and not call.bids


@pytest.mark.parametrize("task", [*STARTER, "copy-paste", "click-menu", "drag-box"])
def test_an_expert_solves_its_task_from_the_picture_alone(make_env: MakeEnv, task: str) -> None:
    env = make_env(task, modality="image")
    for seed in range(2):
        _, info = env.reset(seed=seed)
        over = False
        while not over:
            assert all(_names_no_element(action) for action in info["legal_actions"]), info
            action = env.expert_action()
            assert action is not None
            assert _names_no_element(action)
            _, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        assert info["success"], (task, seed)


def test_what_lies_over_a_button_is_not_clicked_in_its_place(make_env: MakeEnv) -> None:
    env = make_env("click-test-2", modality="image")
    elsewhere = 0
    for seed in range(60):
        env.reset(seed=seed)
        one = next(element for element in env._shown().values() if element.name == "ONE")
        if abs(one.point[0] - one.centre[0]) + abs(one.point[1] - one.centre[1]) > 2.0:
            elsewhere += 1
            assert env.step(str(env.expert_action()))[1] == 1.0, seed
    assert elsewhere >= 2


def test_what_an_expert_cannot_do_without_bids_it_does_not_claim(make_env: MakeEnv) -> None:
    for task in BY_ELEMENT_ALONE:
        assert "expert_success" not in make_env(task, modality="image").metadata["vlmq"]
        assert "expert_success" in make_env(task).metadata["vlmq"]
    env = make_env("choose-list", modality="image")
    env.reset(seed=0)
    assert env.expert_action() is None
    several = MiniWobTasksEnv("expert", modality="image")
    assert set(several.tasks) == set(EXPERTS) - BY_ELEMENT_ALONE
    assert "expert_success" in several.metadata["vlmq"]
    several.close()


def test_keys_go_where_the_caret_is_and_nowhere_without_one(make_env: MakeEnv) -> None:
    env = make_env("enter-text", modality="image", max_turns=9)
    env.reset(seed=3)
    (field,) = (element for element in env._shown().values() if element.takes_text)
    for action, value in (
        ("keyboard_type('lost')", []),
        (f"mouse_click({field.point[0]:g}, {field.point[1]:g})", []),
        ("keyboard_type('Abc')", ['value "Abc"']),
        ("keyboard_press('Backspace')", ['value "Ab"']),
    ):
        _, reward, terminated, _, info = env.step(action)
        assert (reward, terminated, info["action_ok"]) == (0.0, False, True)
        (now,) = (element for element in env._shown().values() if element.takes_text)
        assert [state for state in now.state if state.startswith("value ")] == value
