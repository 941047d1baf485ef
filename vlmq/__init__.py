"""vlmq: turn a vision-language model into an agent."""

from typing import Any

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`vlmq.load`, without importing torch before it is asked for."""
    if name == "load":
        from vlmq.trained.agent import load

        return load
    raise AttributeError(f"module 'vlmq' has no attribute '{name}'")
