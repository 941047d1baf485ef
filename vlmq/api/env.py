"""The environment contract: the Text space, the observation space, and what `info` must hold."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import spaces

DEFAULT_TEXT_BYTES = 1024
DEFAULT_ACTION_BYTES = 256


class Text(spaces.Space[str]):
    """Any string of at most `max_bytes` UTF-8 bytes, the empty one included.

    gymnasium's own `Text` is a set of characters: it rejects spaces, punctuation and the empty string.
    """

    def __init__(self, max_bytes: int, seed: int | np.random.Generator | None = None) -> None:
        if max_bytes < 1:
            raise ValueError(f"Text(max_bytes={max_bytes}): the capacity must be at least 1 byte")
        self.max_bytes = int(max_bytes)
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A random printable ASCII string."""
        length = int(self.np_random.integers(0, min(self.max_bytes, 32) + 1))
        return bytes(self.np_random.integers(32, 127, size=length, dtype=np.uint8)).decode("ascii")

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x.encode("utf-8", "surrogatepass")) <= self.max_bytes

    def __repr__(self) -> str:
        return f"Text({self.max_bytes})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Text) and other.max_bytes == self.max_bytes


def observation_space(
    height: int | None, width: int | None, *, text_bytes: int = DEFAULT_TEXT_BYTES
) -> spaces.Dict:
    """The space every environment declares: an image of (height, width, 3) uint8 and a text.

    With height and width None there is no picture: the `image` key is absent.
    """
    parts: dict[str, spaces.Space[Any]] = {"text": Text(text_bytes)}
    if height is not None and width is not None:
        parts["image"] = spaces.Box(0, 255, (height, width, 3), np.uint8)
    return spaces.Dict(parts)


def action_space(*, action_bytes: int = DEFAULT_ACTION_BYTES) -> Text:
    """The space of actions: one canonical string."""
    return Text(action_bytes)


@runtime_checkable
class SupportsExpert(Protocol):
    """An environment that can demonstrate: the next action of a good policy in its present state."""

    def expert_action(self) -> str | None: ...


def expert_action(env: gymnasium.Env[Any, Any]) -> str | None:
    """The expert's next action, or None where the environment offers no expert."""
    inner = env.unwrapped
    return inner.expert_action() if isinstance(inner, SupportsExpert) else None
