"""What this plugin offers: values only. `vlmq envs` imports this file of every plugin, so it stays light.

Name the environment's class by its path and do not import it here: then nothing else is loaded until somebody
makes the environment.
"""

from gymnasium.envs.registration import EnvSpec

# The versions of the plugin boundary (`vlmq.api.VERSION`) that this plugin was written for.
REQUIRES_API = ">=1.2,<2"

SPECS = (
    EnvSpec(
        # The part before the slash is the namespace: the name of the entry point in pyproject.toml.
        id="example/Memory-v0",
        entry_point="vlmq_env_example.env:MemoryEnv",
        # No max_episode_steps: the environment counts its own turns, so that it can say how the episode went.
    ),
)
