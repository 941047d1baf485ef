"""What the plugin offers: the specs of the MiniWoB environments. Light to import: no browser."""

from __future__ import annotations

from gymnasium.envs.registration import EnvSpec

REQUIRES_API = ">=1.0,<2"

TASKS = ("click-test", "click-test-2")
"""Names of the task pages offered, as the `miniwob` package calls its pages."""

SPECS: tuple[EnvSpec, ...] = tuple(
    EnvSpec(
        id=f"miniwob/{task}-v1",
        entry_point="vlmq_env_miniwob.env:MiniWobEnv",
        kwargs={"task": task},
        disable_env_checker=True,
    )
    for task in TASKS
)


def unavailable() -> str | None:
    """Why the environments cannot run on this machine, with the mend; None where they can."""
    from vlmq.api import PluginError
    from vlmq_env_miniwob.chromium import find_chromium

    try:
        find_chromium(None)
    except PluginError as error:
        return str(error)
    return None
