"""What every environment owes the framework: the same checks as `vlmq check example/Memory-v0`."""

from vlmq.api.testing import EnvContract


class TestMemory(EnvContract):
    env_id = "example/Memory-v0"
