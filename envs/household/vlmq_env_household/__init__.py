"""The specs of this distribution's environments; importing it loads no environment."""

from gymnasium.envs.registration import EnvSpec

REQUIRES_API = ">=1.2,<2"
"""Versions of the `vlmq.api` boundary these environments were written for."""

_NAMES = {
    "PickAndPlace": "place",
    "Examine": "light",
    "Clean": "clean",
    "Heat": "heat",
    "Cool": "cool",
    "PickTwo": "two",
    "Any": "any",
}
_LEVELS = {"": 0, "Full": 4}

SPECS = tuple(
    EnvSpec(
        id=f"household/{name}{size}-v0",
        entry_point="vlmq_env_household.env:Household",
        kwargs={"task": task, "level": level},
        disable_env_checker=True,
    )
    for size, level in _LEVELS.items()
    for name, task in _NAMES.items()
)
"""The environments, small ones first. Each counts its own turns."""

__all__ = ["REQUIRES_API", "SPECS"]
