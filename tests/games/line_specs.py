"""Test fixture: the spec module of the plugin `line`, whose games the tests of the core play."""

from gymnasium.envs.registration import EnvSpec

REQUIRES_API = ">=1.0,<2"

SPECS = (
    EnvSpec(id="line/Walk-v0", entry_point="line_games:Walk"),
    EnvSpec(id="line/Recall-v0", entry_point="line_games:Recall"),
    EnvSpec(id="line/Either-v0", entry_point="line_games:Either"),
)
