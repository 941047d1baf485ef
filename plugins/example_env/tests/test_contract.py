"""What every environment owes the framework: the same checks as `vlmq check`."""

from vlmq.api.testing import EnvContract


class TestMemory(EnvContract):
    env_id = "example/Memory-v0"
