"""The tasks: their experts, the actions that need more than a click, and one environment that plays several."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vlmq_env_miniwob
from vlmq_env_miniwob import PAGES, TASKS, taskpage
from vlmq_env_miniwob.actions import Call, parse
from vlmq_env_miniwob.env import STARTER, MiniWobEnv, MiniWobTasksEnv
from vlmq_env_miniwob.experts import EXPERTS
from vlmq_env_miniwob.offers import offered
from vlmq_env_miniwob.view import Element

from vlmq.api import UserError

MakeEnv = Callable[..., MiniWobEnv]

LEAVING = ("use-colorwheel", "copy-paste-2", "book-flight", "choose-date", "click-dialog", "click-test-2")
"""Tasks that leave something behind when they are played at random, and some others."""
RUNNING = ("stock-market", "terminal")
"""Tasks that are drawn anew by a clock of their own: a price, a caret."""


def solve(env: MiniWobEnv, seed: int) -> tuple[bool, list[str]]:
    """Whether the expert solves an episode, and what it did."""
    _, info = env.reset(seed=seed)
    actions: list[str] = []
    over = False
    while not over:
        action = env.expert_action()
        if action is None:
            return False, actions
        actions.append(action)
        _, _, terminated, truncated, info = env.step(action)
        assert info["action_ok"], info
        over = terminated or truncated
    return bool(info["success"]), actions


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(EXPERTS))
def test_an_expert_solves_its_task(make_env: MakeEnv, task: str) -> None:
    env = make_env(task, modality="elements")
    failed = [seed for seed in range(50) if not solve(env, seed)[0]]
    assert len(failed) <= 2, failed


def test_every_expert_is_of_a_task_that_is_offered() -> None:
    assert set(EXPERTS) <= set(TASKS)
    assert set(STARTER) <= set(EXPERTS)


def test_no_expert_reads_the_inside_of_a_page() -> None:
    internals = r"WOB_|core\.|genProblem|evaluate|querySelector|innerHTML|outerHTML|page_file|\.html|_page|_view|data-"
    rules = sorted((Path(vlmq_env_miniwob.__file__).parent / "experts").glob("*.py"))
    assert len(rules) >= 8
    for file in rules:
        assert re.findall(internals, file.read_text(encoding="utf-8")) == [], file.name


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_page_begins_takes_clicks_and_can_be_drawn(make_env: MakeEnv, task: str) -> None:
    env = make_env(task)
    rng = np.random.default_rng(0)
    for seed in range(2):
        observation, info = env.reset(seed=seed)
        assert observation in env.observation_space
        for _ in range(5):
            observation, _, terminated, truncated, info = env.step(str(rng.choice(info["legal_actions"])))
            assert observation in env.observation_space
            if terminated or truncated:
                break


def stray(env: MiniWobEnv, seed: int, num_turns: int = 6) -> None:
    """Do what comes to mind, as random play does."""
    chance = random.Random(seed)
    _, info = env.reset(seed=seed)
    for _ in range(num_turns):
        x, y, to_x, to_y = (chance.randrange(10, end) for end in (150, 200, 150, 200))
        bid = chance.choice([*env._shown(), "9"])
        others = (
            f"mouse_click({x}, {y})", f"mouse_drag({x}, {y}, {to_x}, {to_y})", f"scroll(0, {chance.choice([-80, 80])})",
            f"dblclick('{bid}')", f"fill('{bid}', '5')", f"press('{bid}', '{chance.choice(['Enter', 'Tab', 'a'])}')",
        )  # fmt: skip
        action = chance.choice(info["legal_actions"] if chance.random() < 0.6 else others)
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            break


def check_that_play_changes_no_episode(env: MiniWobEnv, num_seeds: int) -> None:
    for seed in range(num_seeds):
        first, info = env.reset(seed=seed)
        stray(env, seed)
        again, info_again = env.reset(seed=seed)
        assert again["text"] == first["text"], seed
        assert info_again == info, seed
        # Round corners differ by a few pixels from one picture of a page to the next.
        num_other_px = (again["image"] != first["image"]).any(axis=2).sum()
        assert env.task in RUNNING or num_other_px <= 20, seed


@pytest.mark.parametrize("task", LEAVING)
def test_what_was_played_before_changes_no_episode(make_env: MakeEnv, task: str) -> None:
    check_that_play_changes_no_episode(make_env(task), 3)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_what_was_played_before_changes_no_episode_of_any_task(make_env: MakeEnv, task: str) -> None:
    check_that_play_changes_no_episode(make_env(task), 4)


def test_a_field_that_cannot_be_written_in_is_offered_no_text(make_env: MakeEnv) -> None:
    env = make_env("choose-date", modality="elements")
    _, info = env.reset(seed=0)
    assert [element.role for element in env._shown().values()].count("textbox") == 1
    assert not [action for action in info["legal_actions"] if action.startswith("fill")]


def test_what_moves_by_itself_is_shown_and_not_offered(make_env: MakeEnv) -> None:
    env = make_env("click-dialog", modality="elements")
    before, info = env.reset(seed=0)
    assert len(info["legal_actions"]) > 1
    page = env._page._tab.page  # type: ignore[union-attr]
    fade = "() => { $('.ui-dialog').animate({opacity: 0.5}, 60000); }"
    env._page.browser.run("planting", lambda _: page.evaluate(fade))  # type: ignore[union-attr]
    observation, *_, info = env.step("noop()")
    assert observation["text"] == before["text"]
    assert info["legal_actions"] == ("noop()",)
    assert env.reset(seed=0)[0] == before


def test_the_actions_offered_are_those_that_trying_out_would_take() -> None:
    def element(role: str, *state: str, takes_text: bool = False) -> Element:
        return Element(0, role, "", state, (0.0, 0.0, 1.0, 1.0), (0.0, 0.0), takes_text=takes_text)

    field = element("textbox", takes_text=True)

    shown = {
        "11": field,
        "12": element("combobox", 'chosen ["a"]', 'of ["a","it\'s"]'),
        "13": element("button"),
    }
    assert offered('Enter "xy" and "xy" and "z".', shown) == (
        "click('11')", "fill('11', 'xy')", "fill('11', 'z')", "click('12')", "select_option('12', 'a')",
        "select_option('12', 'it\\'s')", "click('13')",
    )  # fmt: skip
    assert offered("Set 12:30.", {"11": field, "13": element("button")})[1] == "fill('11', '12:30')"
    assert offered("Set 12:30.", {"11": element("textbox")})[0:2] == ("click('11')", "mouse_click(30, 70)")
    things = {
        "11": element("generic", "draggable"),
        "12": element("generic", "draggable"),
        "13": element("button"),
    }
    assert offered("Drag it.", things)[3:] == ("drag_and_drop('11', '12')", "drag_and_drop('12', '11')")
    points = offered("Draw a line.", {})
    assert "mouse_click(30, 70)" in points
    assert "mouse_drag(30, 70, 80, 70)" in points
    assert points[-1] == "noop()"
    for action in (*points, *offered('Enter "xy".', shown)):
        assert isinstance(parse(action), Call), action


@pytest.fixture(scope="module")
def several(chromium: None) -> Any:
    env = MiniWobTasksEnv(
        (
            "login-user",
            "choose-list",
            "enter-date",
            "drag-items",
            "use-slider",
            "email-inbox-reply",
            "find-midpoint",
        )
    )
    yield env
    env.close()


def test_episodes_of_several_tasks_go_under_their_own_ids(
    several: MiniWobTasksEnv, make_env: MakeEnv
) -> None:
    played: dict[str, int] = {}
    for seed in range(12):
        solved, actions = solve(several, seed)
        assert solved, (several.task, actions)
        played.setdefault(several.task, seed)
    assert len(played) >= 3, "the seed chooses among them"
    task, seed = next(iter(played.items()))
    observation, info = several.reset(seed=seed)
    assert info["env_id"] == f"miniwob/{task}-v1"
    alone, _ = make_env(task).reset(seed=seed)
    assert alone["text"] == observation["text"]
    assert np.array_equal(alone["image"], observation["image"])


def seeds_of(env: MiniWobTasksEnv, task: str) -> int:
    """The first seed that plays a task."""
    for seed in range(100):
        env.reset(seed=seed)
        if env.task == task:
            return seed
    raise AssertionError(task)


def test_fields_are_filled_cleared_and_typed_into(several: MiniWobTasksEnv) -> None:
    seeds_of(several, "login-user")
    user, password = (bid for bid, element in several._shown().items() if element.role == "textbox")

    def held(bid: str) -> str:
        return ", ".join(several._shown()[bid].state)

    for action, expected in (
        (f"fill('{user}', 'it\\'s <b>')", 'value "it\'s <b>"'),
        (f"press('{user}', 'x')", "x"),
        (f"clear('{user}')", ""),
        (f"focus('{user}')", ""),
        (f"press('{user}', 'A')", 'value "A"'),
    ):
        info = several.step(action)[4]
        assert info["action_ok"], info
        assert expected in held(user) if expected else held(user) == ""
    assert held(password) == ""


def test_what_an_element_does_not_allow_is_refused_and_touches_nothing(several: MiniWobTasksEnv) -> None:
    seeds_of(several, "choose-list")
    (options,) = [bid for bid, element in several._shown().items() if element.role == "combobox"]
    (button,) = [bid for bid, element in several._shown().items() if element.role == "button"]
    before = several._observation(several._view)  # type: ignore[arg-type]  # an episode is going on
    for action in (
        f"fill('{button}', 'x')",
        f"fill('{options}', 'x')",
        f"select_option('{button}', 'x')",
        f"select_option('{options}', 'nothing of the kind')",
        "click('9')",
        "hover('100')",
    ):
        observation, reward, *_, info = several.step(action)
        assert (reward, info["action_ok"]) == (-0.1, False), action
        assert observation["text"] == before["text"]
        assert np.array_equal(observation["image"], before["image"])


def test_the_reward_falls_with_time_only_where_that_is_wanted(make_env: MakeEnv) -> None:
    for decay in (False, True):
        env = make_env("click-test", decay=decay)
        env.reset(seed=0)
        reward, info = (step := env.step(env.expert_action() or ""))[1], step[4]
        assert info["raw_reward"] == 1.0
        assert (float(reward) < 1.0) == decay


def test_no_task_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="tasks is empty"):
        MiniWobTasksEnv(())


def test_groups_of_tasks_go_by_name(chromium: None) -> None:
    assert set(MiniWobTasksEnv("all").tasks) == set(PAGES)
    assert set(MiniWobTasksEnv("expert").tasks) == set(EXPERTS)
    assert MiniWobTasksEnv().tasks == STARTER
    with pytest.raises(UserError, match="tasks='easy' is no group of pages; choose starter, expert, all"):
        MiniWobTasksEnv("easy")


def test_an_episode_looks_the_same_to_the_last_shade_whatever_was_played_before(chromium: None) -> None:
    env = MiniWobTasksEnv(("click-dialog", "click-dialog-2"))
    try:
        first: dict[tuple[int, int], Any] = {}
        for seed in (0, 5, 1, 2, 5, 0, 3, 1, 4, 0, 5, 2):
            observation, info = env.reset(seed=seed)
            rng = np.random.default_rng(seed)
            for turn in range(4):
                assert np.array_equal(
                    first.setdefault((seed, turn), observation["image"]), observation["image"]
                )
                if not info["legal_actions"]:
                    break
                observation, *_, info = env.step(str(rng.choice(info["legal_actions"])))
    finally:
        env.close()


def test_a_page_that_made_room_for_others_comes_back_as_it_was(
    make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taskpage, "_MOST_TABS", 2)
    env = MiniWobTasksEnv(STARTER[:6], timeout_s=15)
    try:
        first = {}
        for seed in [*range(10), *range(10)]:
            observation, _ = env.reset(seed=seed)
            env.step(env.expert_action() or "")
            assert np.array_equal(first.setdefault(seed, observation["image"]), observation["image"])
        assert len(env._page.browser.run("counting", lambda context: context.pages)) == 2  # type: ignore[union-attr]
    finally:
        env.close()
