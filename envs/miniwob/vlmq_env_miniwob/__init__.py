"""What the plugin offers: the specs of the MiniWoB environments. Light to import: no browser."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from gymnasium.envs.registration import EnvSpec

REQUIRES_API = ">=1.2,<2"

FALLBACK = ("click-test", "click-test-2")
"""Tasks offered where the `miniwob` package is missing, so that its absence is told by name."""


def registered() -> tuple[str, ...]:
    """Names of the tasks that the `miniwob` package registers, read from its source: importing it takes a second."""
    spec = importlib.util.find_spec("miniwob")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "registration.py"
        if file.is_file():
            names = re.findall(r'id="miniwob/([\w.-]+)-v1"', file.read_text(encoding="utf-8"))
            return tuple(dict.fromkeys(names))
    return FALLBACK


TASKS = registered()
"""Names of the task pages offered, as the `miniwob` package calls its pages."""
FLIGHTS = "flight."
"""Begins the names of the tasks that are played in a frame: the booking pages of airlines."""
PAGES = tuple(task for task in TASKS if not task.startswith(FLIGHTS))
"""Those whose pictures are of one size; the flights' are larger."""

_CLASSES = "vlmq_env_miniwob.env"
SPECS: tuple[EnvSpec, ...] = (
    *(
        EnvSpec(
            id=f"miniwob/{task}-v1",
            entry_point=f"{_CLASSES}:MiniWobEnv",
            kwargs={"task": task},
            disable_env_checker=True,
        )
        for task in TASKS
    ),
    *(
        EnvSpec(
            id=f"miniwob/{group.capitalize()}-v1",
            entry_point=f"{_CLASSES}:MiniWobTasksEnv",
            kwargs={"tasks": group},
            disable_env_checker=True,
        )
        for group in ("starter", "all")
    ),
)
"""One id for each task, one that plays those to begin with, and one that plays all: the seed says which."""


def unavailable() -> str | None:
    """Why the environments cannot run on this machine, with the mend; None where they can."""
    from vlmq.api import PluginError
    from vlmq_env_miniwob.chromium import find_chromium

    try:
        find_chromium(None)
    except PluginError as error:
        return str(error)
    return None
