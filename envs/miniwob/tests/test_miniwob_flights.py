"""The airlines' booking pages: tasks played in a frame, larger than the others."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from vlmq_env_miniwob import PAGES, TASKS
from vlmq_env_miniwob.env import MiniWobEnv, MiniWobTasksEnv
from vlmq_env_miniwob.places import SITE, find_pages, served

from vlmq.api import PluginError

MakeEnv = Callable[..., MiniWobEnv]
FLIGHTS = tuple(task for task in TASKS if task not in PAGES)
FIELDS = {"flight.AA": "To", "flight.Alaska": "To", "flight.Alaska-auto": "To"}
"""The beginning of the name of a field that each of them shows."""


def named(env: MiniWobEnv, start: str) -> str:
    """The bid of the first element whose name begins so."""
    return next(bid for bid, element in env._shown().items() if element.name.startswith(start))


def test_all_of_them_are_offered() -> None:
    assert set(FIELDS) == set(FLIGHTS)


@pytest.mark.parametrize("task", FLIGHTS)
def test_a_form_is_shown_whole_and_the_seed_says_which_flight_is_wanted(make_env: MakeEnv, task: str) -> None:
    env = make_env(task)
    first, _ = env.reset(seed=0)
    assert first in env.observation_space
    assert first["image"].shape == (667, 375, 3)
    # The page goes on below what a window of the usual size would show.
    assert len(np.unique(first["image"][440:].reshape(-1, 3), axis=0)) > 20
    assert "Destination City" in json.loads(env._view.utterance)  # type: ignore[union-attr]
    assert "0 <= x < 375 and 0 <= y < 667" in first["text"]
    other, _ = env.reset(seed=1)
    assert other["text"] != first["text"]
    again, _ = env.reset(seed=0)
    assert again["text"] == first["text"]
    assert (np.abs(again["image"].astype(int) - first["image"]).max(axis=2) > 8).sum() <= 20


def test_what_is_filled_in_stays_for_the_episode_alone(make_env: MakeEnv) -> None:
    env = make_env("flight.AA")
    env.reset(seed=0)
    observation, _, terminated, _, info = env.step(f"fill('{named(env, 'To')}', 'Boston')")
    assert info["action_ok"]
    assert not terminated
    assert 'value "Boston"' in observation["text"]
    assert env.step("mouse_click(374, 666)")[4]["action_ok"]
    assert not env.step("mouse_click(375, 5)")[4]["action_ok"]
    again, _ = env.reset(seed=0)
    assert 'value "Boston"' not in again["text"]


def test_a_form_that_is_sent_half_empty_fails(make_env: MakeEnv) -> None:
    env = make_env("flight.AA")
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(f"click('{named(env, 'Search')}')")
    assert (terminated, reward, info["success"]) == (True, -1.0, False)


def test_a_link_that_leads_away_ends_the_episode(make_env: MakeEnv) -> None:
    env = make_env("flight.AA")
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(f"click('{named(env, 'Contact')}')")
    assert (terminated, reward, info["success"]) == (True, -1.0, False)
    assert env.reset(seed=0)[1]["legal_actions"]


def test_pictures_of_two_sizes_go_not_together() -> None:
    with pytest.raises(PluginError, match=r"tasks: flight\.AA has larger pictures than the rest"):
        MiniWobTasksEnv(("click-test", "flight.AA"))


def test_the_reference_plays_none_of_them() -> None:
    with pytest.raises(PluginError, match="driver='selenium' plays no page with a frame"):
        MiniWobEnv("flight.AA", driver="selenium")


@pytest.mark.parametrize("path", ["../constants.py", "..%2fconstants.py", "flight", "flight/none.html", ""])
def test_nothing_beside_the_pages_is_served(path: str) -> None:
    assert served(SITE + path, find_pages()) is None


def test_a_page_is_served_with_its_type() -> None:
    body, media_type = served(f"{SITE}flight/AA/wrapper.html?x=1#y", find_pages()) or (b"", "")
    assert body.startswith(b"<!DOCTYPE html>")
    assert media_type == "text/html"
