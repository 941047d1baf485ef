"""Fixtures: environments on a real Chromium; without one, tests fail under CI=true and skip elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from vlmq_env_miniwob.chromium import INSTALL_COMMAND, find_chromium
from vlmq_env_miniwob.env import MiniWobEnv

from vlmq.api import PluginError

MakeEnv = Callable[..., MiniWobEnv]


@pytest.fixture(scope="session")
def chromium() -> None:
    try:
        find_chromium(None)
    except PluginError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have Chromium: {error}")
        pytest.skip(f"no Chromium; provide it with `{INSTALL_COMMAND}`")


@pytest.fixture
def make_env(chromium: None) -> Iterator[MakeEnv]:
    """Makes environments with a browser of their own, closed after the test."""
    made: list[MiniWobEnv] = []

    def make(task: str = "click-test-2", **settings: Any) -> MiniWobEnv:
        made.append(MiniWobEnv(task, **settings))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture(scope="module")
def shared(chromium: None) -> Iterator[dict[str, MiniWobEnv]]:
    """One environment of each task, for tests that leave the browser alive."""
    envs = {task: MiniWobEnv(task) for task in ("click-test", "click-test-2")}
    yield envs
    for env in envs.values():
        env.close()
