"""The environment on the real pages: seeds, rewards, refusals, pictures, texts."""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import numpy as np
import pytest
import vlmq_env_miniwob
from vlmq_env_miniwob.env import ILLEGAL_REWARD, TEXT_BYTES, MiniWobEnv, MiniWobTasksEnv, _fitting, _num_bytes
from vlmq_env_miniwob.marks import draw_marks
from vlmq_env_miniwob.taskpage import TaskPage
from vlmq_env_miniwob.view import Element

from vlmq.api import PluginError, UserError

Envs = dict[str, MiniWobEnv]
TASKS = ("click-test", "click-test-2")


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a["text"] == b["text"] and np.array_equal(a["image"], b["image"])


def _named(env: MiniWobEnv, name: str) -> tuple[str, Element]:
    return next((bid, e) for bid, e in env._shown().items() if e.name == name)


def test_the_spec_module_is_found_and_is_light() -> None:
    (entry,) = importlib.metadata.entry_points(group="vlmq.envs", name="miniwob")
    assert entry.load() is vlmq_env_miniwob.SPECS
    ids = [spec.id for spec in vlmq_env_miniwob.SPECS]
    assert len(ids) == len(set(ids)) == 130
    assert {"miniwob/click-test-v1", "miniwob/book-flight-v1", "miniwob/Starter-v1", "miniwob/All-v1"} < set(
        ids
    )
    heavy = "{'torch', 'playwright', 'PIL', 'miniwob', 'selenium', 'vlmq_env_miniwob.env'}"
    check = f"import sys, vlmq_env_miniwob; print(*{heavy} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout
    assert loaded.split() == []


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_solves_20_seeds_with_the_full_raw_reward(shared: Envs, task: str) -> None:
    env = shared[task]
    for seed in range(20):
        _, info = env.reset(seed=seed)
        action = env.expert_action()
        assert action in info["legal_actions"]
        _, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated) == (1.0, True, False), seed
        assert info["success"] is True
        assert info["raw_reward"] == 1.0
        assert info["action_ok"] is True


def test_a_target_whose_centre_is_covered_is_clicked_where_it_shows(shared: Envs) -> None:
    env = shared["click-test-2"]
    covered = 0
    for seed in range(60):
        env.reset(seed=seed)
        bid, one = _named(env, "ONE")
        left, top, width, height = _named(env, "TWO")[1].box  # the later button lies on top
        x, y = one.box[0] + one.box[2] / 2, one.box[1] + one.box[3] / 2
        if left <= x <= left + width and top <= y <= top + height:
            covered += 1
            assert env.step(f"click('{bid}')")[1] == 1.0, seed
    assert covered >= 2


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_alone_determines_the_page(shared: Envs, make_env: Any, task: str) -> None:
    env, other = shared[task], make_env(task)
    env.reset(seed=1)
    env.step("mouse_click(3, 200)")
    firsts = {}
    for seed in (7, 8, 9):
        firsts[seed] = env.reset(seed=seed)[0]
        env.step(env.expert_action() or "")
    for seed in (9, 7, 8):
        assert _same(other.reset(seed=seed)[0], firsts[seed])
    assert not np.array_equal(firsts[7]["image"], firsts[8]["image"])


def test_a_press_on_marked_text_is_the_pages_to_hear_and_carries_nothing_away(shared: Envs) -> None:
    env = shared["click-test"]
    env.reset(seed=5)
    _on_page(env, "() => { window.heard = 0; window.addEventListener('mouseup', () => heard++, true); }")
    # The button is at (7, 114) to (99, 206); its text is marked from without, then pressed.
    drags = (
        "130, 70, 130, 110",
        "130, 110, 80, 110",
        "80, 150, 130, 150",
        "30, 150, 30, 110",
        "80, 190, 130, 190",
    )
    for released, points in enumerate(drags, start=1):
        env.step(f"mouse_drag({points})")
        assert _on_page(env, "() => heard") == released, points
    assert _on_page(env, "() => getSelection().isCollapsed") is False


def _on_page(env: MiniWobEnv, function: str) -> Any:
    page = env._page
    assert isinstance(page, TaskPage)
    return page.browser.run("asking", lambda _: page._tab.evaluate(function))


def test_unseeded_resets_continue_the_seeded_stream(shared: Envs) -> None:
    env = shared["click-test"]
    runs = []
    for _ in range(2):
        env.reset(seed=5)
        runs.append([env.reset()[0] for _ in range(2)])
    assert _same(runs[0][0], runs[1][0])
    assert _same(runs[0][1], runs[1][1])
    assert not np.array_equal(runs[0][0]["image"], runs[0][1]["image"])


def test_a_seed_beyond_53_bits_is_a_seed_like_any_other(shared: Envs) -> None:
    env = shared["click-test"]
    a, b = env.reset(seed=2**60)[0], env.reset(seed=2**60 + 1)[0]
    assert not np.array_equal(a["image"], b["image"])
    assert _same(env.reset(seed=2**60)[0], a)


def test_the_wrong_button_ends_the_episode_with_the_pages_minus_one(shared: Envs) -> None:
    env = shared["click-test-2"]
    env.reset(seed=0)
    bid, _ = _named(env, "TWO")
    observation, reward, terminated, truncated, info = env.step(f"click('{bid}')")
    assert (reward, terminated, truncated) == (-1.0, True, False)
    assert info["success"] is False
    assert info["action_ok"] is True
    assert info["legal_actions"] == ()
    assert observation in env.observation_space
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step("noop()")


def test_a_click_beside_everything_and_waiting_do_not_end_it_but_the_limit_does(shared: Envs) -> None:
    env = shared["click-test-2"]
    before, _ = env.reset(seed=0)
    for turn, action in enumerate(("mouse_click(2, 207)", *["noop()"] * 14), start=1):
        observation, reward, terminated, truncated, info = env.step(action)
        assert reward == 0
        assert info["action_ok"] is True
        assert not terminated
        assert _same(observation, before)
        assert truncated == (turn == 15)
    assert info["success"] is False


def test_a_mouse_click_on_the_button_is_a_real_click(shared: Envs) -> None:
    env = shared["click-test"]
    env.reset(seed=4)
    _, button = _named(env, "Click Me!")
    x, y = button.box[0] + button.box[2] - 4, button.box[1] + button.box[3] - 4
    assert env.step(f"mouse_click({x:.0f}, {y:.0f})")[1] == 1.0


@pytest.mark.parametrize("modality", ["image+elements", "elements"])
def test_illegal_text_leaves_the_page_and_costs_a_turn(make_env: Any, modality: str) -> None:
    texts = [
        "",
        "  ",
        "12",
        "click",
        "click('9')",
        "click('100')",
        "click('1",
        "mouse_click(200, 5)",
        "é" * 99,
    ]
    texts += ['{"a": 1}', "noop() noop()", "x" * 10_000, "\ud800", "click('12'); alert(1)", "</script>", "\0"]
    env = make_env(modality=modality, max_turns=len(texts) + 1)
    before, info = env.reset(seed=2)
    legal = info["legal_actions"]
    for text in texts:
        observation, reward, terminated, truncated, info = env.step(text)
        assert (reward, terminated, truncated) == (ILLEGAL_REWARD, False, False)
        assert info["action_ok"] is False
        assert info["legal_actions"] == legal
        assert info["error"]
        assert "\n" not in info["error"]
        assert observation["text"] == before["text"]
        assert np.array_equal(observation.get("image"), before.get("image"))
    assert env.step("noop()")[3] is True  # every refusal counted as a turn


def test_the_syntax_of_the_actions_can_be_left_out(make_env: Any) -> None:
    """The settings' pages are the same, and so is what may be done on them."""
    texts = []
    for told in (True, False):
        env = make_env(show_syntax=told)
        texts.append(env.reset(seed=2)[0]["text"])
        assert env.step(env.expert_action())[1] == 1.0
    whole, _, ending = texts[0].rpartition("\n")
    assert ending.startswith("Actions: click('bid')")
    assert texts[1] == whole


def test_a_bid_can_stand_after_what_it_is_the_bid_of(make_env: Any) -> None:
    """The settings' pages are the same, and so is what may be done on them."""
    listed = []
    for bids in ("before", "after"):
        env = make_env("click-checkboxes", bids=bids, show_syntax=False)
        env.reset(seed=2)
        observation, *_ = env.step(env.expert_action())
        listed.append(observation["text"].splitlines()[1:])
    before, after = listed
    assert (before[0], after[0]) == ("Elements ([bid] role 'name'):", "Elements (role 'name' [bid]):")
    moved = [re.sub(r"^(\[\d+\]) (\w+ '[^']*')", r"\2 \1", line) for line in before[1:]]
    assert after[1:] == moved
    assert sum(line.endswith("], checked") for line in after) == 1
    with pytest.raises(PluginError, match="bids='first' is unknown; choose one of before, after"):
        make_env(bids="first")


def test_bids_are_drawn_anew_so_that_no_answer_can_be_learnt_by_heart(shared: Envs) -> None:
    env = shared["click-test-2"]
    answers = {(env.reset(seed=seed), env.expert_action())[1] for seed in range(10)}
    assert len(answers) >= 8


def test_the_picture_is_the_task_area_of_the_page(shared: Envs) -> None:
    env = shared["click-test"]
    observation, _ = env.reset(seed=3)
    image = observation["image"]
    assert observation in env.observation_space
    assert image.shape == (210, 160, 3)
    assert tuple(image[2, 158]) == (255, 255, 0)  # the yellow instruction bar
    assert (image[:50] < 100).all(axis=2).sum() > 30  # black letters on it
    assert tuple(image[205, 2]) == (255, 255, 255)
    left, top, width, height = _named(env, "Click Me!")[1].box
    face = image[int(top) + 4 : int(top + height) - 4, int(left) + 4 : int(left + width) - 4]
    assert (face == (239, 239, 239)).all(axis=2).mean() > 0.5  # a grey button where its box says
    after = env.step(env.expert_action() or "")[0]["image"]
    assert not np.array_equal(after, image)


OVER_THE_COVER = {
    "nothing": "",
    "a veil": "document.getElementById('sync-task-cover').style.opacity = 0.5",
    "a hole": "document.getElementById('sync-task-cover').style.backgroundColor = 'transparent'",
    "a note": "document.getElementById('sync-task-cover').innerText = 'WELL DONE'",
    "a patch": "document.body.insertAdjacentHTML('beforeend', "
    "'<b style=\"position: fixed; top: 30px; left: 30px; padding: 9px; background: red; z-index: 99999\"></b>')",
}
"""What a page does at the end of a task, by what lies over everything then."""


@pytest.fixture(scope="module")
def choosing(chromium: None) -> Iterator[MiniWobEnv]:
    env = MiniWobEnv("choose-list")
    yield env
    env.close()


@pytest.mark.parametrize("over", OVER_THE_COVER.values(), ids=OVER_THE_COVER)
def test_the_picture_of_an_end_is_what_the_page_shows(choosing: Any, over: str) -> None:
    env, ends = choosing, []
    for seed in range(3):
        env.reset(seed=seed)
        tab = env._page._tab
        if seed == 2:
            env._page.browser.run("planting", lambda _, tab=tab: tab.page.evaluate(f"() => {{ {over} }}"))
        done = False
        while not done:
            observation, _, terminated, truncated, _ = env.step(env.expert_action() or "")
            done = terminated or truncated
        ends.append(observation["image"].copy())
        observation["image"][:] = 0  # what was handed out is the caller's
        if seed < 2:
            shown = env._page.browser.run("looking", lambda _, tab=tab: tab._picture(unfolds=True))
            assert np.array_equal(ends[-1], shown)
    assert np.array_equal(ends[0], ends[1])
    assert np.array_equal(ends[1], ends[2]) == (over == "")


def test_a_limit_on_frames_changes_nothing_that_is_seen(make_env: Any, choosing: MiniWobEnv) -> None:
    env = make_env("choose-list", frame_limit=True)
    for seed in range(3):
        turns: list[tuple[dict[str, Any], dict[str, Any]]] = [
            (env.reset(seed=seed)[0], choosing.reset(seed=seed)[0])
        ]
        over = False
        while not over:
            action = env.expert_action()
            one, other = env.step(action), choosing.step(action)
            turns.append((one[0], other[0]))
            assert one[1:4] == other[1:4]
            over = one[2] or one[3]
        assert all(_same(*turn) for turn in turns)


def test_each_modality_shows_what_it_says(make_env: Any) -> None:
    plain = make_env().reset(seed=6)[0]
    marked_env = make_env(modality="image+marks")
    bare, _ = make_env(modality="image").reset(seed=6)
    marked, info = marked_env.reset(seed=6)
    words, _ = make_env(modality="elements").reset(seed=6)
    assert "button 'ONE'" in plain["text"]
    assert "button" not in marked["text"].replace("Click button ONE.", "")
    assert set(words) == {"text"}
    assert words["text"] == plain["text"]
    assert "click('bid'" in marked["text"]
    assert "bid" not in bare["text"]
    assert np.array_equal(bare["image"], plain["image"])
    assert len(info["legal_actions"]) == 2
    red = (marked["image"] == (200, 0, 0)).all(axis=2)
    assert red.sum() > 100
    assert not (plain["image"] == (200, 0, 0)).all(axis=2).any()
    changed = (marked["image"] != plain["image"]).any(axis=2)
    boxes = [element.box for element in marked_env._shown().values()]
    frames = sum(2 * (width + height) for _, _, width, height in boxes)
    assert len(boxes) == 2
    assert changed.sum() < 2 * 20 * 14 + frames  # two tags, two frames and nothing else
    assert marked_env.step(marked_env.expert_action())[1] == 1.0


def test_a_mark_hides_neither_a_small_thing_nor_another_mark() -> None:
    page = np.full((60, 80, 3), 255, np.uint8)
    page[20:30, 30:40] = 0
    page[40:50, 30:40] = 0
    marks = [("11", (28.0, 18.0, 14.0, 14.0)), ("12", (28.0, 38.0, 14.0, 14.0))]
    marked = draw_marks(page, marks)
    assert (marked[page[..., 0] == 0] == 0).all()
    one, both = ((draw_marks(page, some) == (200, 0, 0)).all(axis=2) for some in (marks[:1], marks))
    assert (both[one]).all()


def test_an_element_list_beyond_the_texts_capacity_says_what_is_missing() -> None:
    lines = [f"[{bid}] button 'é{'x' * 50}'" for bid in range(10, 90)]
    cut = _fitting(lines, TEXT_BYTES)
    assert _num_bytes(cut) <= TEXT_BYTES
    assert cut[:-1] == lines[: len(cut) - 1]
    assert cut[-1] == f"({len(lines) - len(cut) + 1} more not listed)"
    assert _fitting(lines[:3], TEXT_BYTES) == lines[:3]


def test_it_works_inside_an_event_loop_and_beside_another_environment(shared: Envs) -> None:
    async def play() -> float:
        for env in shared.values():
            env.reset(seed=1)
        return sum(float(env.step(env.expert_action() or "")[1]) for env in shared.values())

    # In a thread of its own: in this one another test's browser may have left a loop running.
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(asyncio.run, play()).result() == 2.0


def test_gymnasium_makes_it_from_its_spec(chromium: None) -> None:
    (spec,) = [spec for spec in vlmq_env_miniwob.SPECS if spec.id == "miniwob/click-test-v1"]
    env = gymnasium.make(spec, render_mode="rgb_array")
    try:
        observation, _ = env.reset(seed=0)
        assert np.array_equal(env.render(), observation["image"])
        assert env.metadata["vlmq"]["workers"] is True
    finally:
        env.close()


def test_what_is_declared_is_so_of_every_task_that_is_played() -> None:
    def declared(env: MiniWobEnv) -> tuple[float | None, float | None]:
        ours = env.metadata["vlmq"]
        return ours.get("expert_success"), ours.get("chance_level")

    assert declared(MiniWobEnv("click-dialog")) == (0.95, 0.98)
    assert declared(MiniWobEnv("click-test-2")) == (0.95, None)
    assert declared(MiniWobEnv("click-pie")) == (None, None)
    assert declared(MiniWobTasksEnv(["click-dialog", "click-test"])) == (0.95, None)
    assert declared(MiniWobTasksEnv("starter")) == (0.95, None)
    assert declared(MiniWobTasksEnv("all")) == (None, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"task": "no-such-page"},
        {"task": "../x"},
        {"modality": "sound"},
        {"max_turns": 0},
        {"timeout_s": 0},
        {"frame_limit": "yes"},
        {"frame_limit": True, "driver": "selenium"},
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        MiniWobEnv(**{"task": "click-test", **settings})
