"""The specs of this distribution's environments; importing it does not load TextWorld."""

from __future__ import annotations

from gymnasium.envs.registration import EnvSpec

REQUIRES_API = ">=1.2,<2"
"""Versions of the `vlmq.api` boundary these environments were written for."""

CHALLENGES = ("House", "CoinCollector", "TreasureHunter", "Cooking", "Simple")

SPECS = (
    *(
        EnvSpec(
            id=f"textworld/{challenge}-v0",
            entry_point="vlmq_env_textworld.env:TextWorld",
            kwargs={"challenge": challenge},
            disable_env_checker=True,
        )
        for challenge in CHALLENGES
    ),
    EnvSpec(
        id="textworld/ALFWorld-v0",
        entry_point="vlmq_env_textworld.env:ALFWorld",
        disable_env_checker=True,
    ),
)
"""The environments. Each counts its own turns. The last one needs data that no package ships."""


def unavailable() -> str | None:
    """Why the environments cannot run on this machine, with the mend; None where they can."""
    from vlmq_env_textworld.machine import missing

    return missing()


__all__ = ["REQUIRES_API", "SPECS", "unavailable"]
