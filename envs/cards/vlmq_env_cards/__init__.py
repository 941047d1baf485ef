"""The specs of this distribution's environments; importing it loads no game."""

from gymnasium.envs.registration import EnvSpec

REQUIRES_API = ">=1.2,<2"
"""Versions of the `vlmq.api` boundary these environments were written for."""

SPECS = (
    EnvSpec(
        id="cards/NumberLine-v0",
        entry_point="vlmq_env_cards.numberline:NumberLine",
        disable_env_checker=True,
    ),
    EnvSpec(
        id="cards/EZPoints-v0",
        entry_point="vlmq_env_cards.ezpoints:EZPoints",
        disable_env_checker=True,
    ),
    EnvSpec(
        id="cards/Points24-v0",
        entry_point="vlmq_env_cards.points24:Points24",
        disable_env_checker=True,
    ),
    EnvSpec(
        id="cards/Blackjack-v0",
        entry_point="vlmq_env_cards.blackjack:Blackjack",
        disable_env_checker=True,
    ),
)
"""The environments, in the order in which they are listed. Each keeps its own turn limit."""

__all__ = ["REQUIRES_API", "SPECS"]
