"""The environment contract: the Text space, the observation space, and what `info` must hold."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Protocol, overload, runtime_checkable

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import utils as vector_utils
from numpy.typing import NDArray

from vlmq.api.errors import ContractError

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
        """Always false: a text is no vector of numbers."""
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A random printable ASCII string."""
        length = int(self.np_random.integers(0, min(self.max_bytes, 32) + 1))
        return bytes(self.np_random.integers(32, 127, size=length, dtype=np.uint8)).decode("ascii")

    def contains(self, x: Any) -> bool:
        """Whether `x` is a string that fits the capacity."""
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

    def expert_action(self) -> str | None:
        """The canonical text of the next action, or None where it knows none."""


def expert_action(env: gymnasium.Env[Any, Any]) -> str | None:
    """The expert's next action, or None where the environment offers no expert."""
    inner = env.unwrapped
    return inner.expert_action() if isinstance(inner, SupportsExpert) else None


# What follows lets gymnasium's vector environments carry `Text`. Their generic path already batches any space
# as a Tuple; only shared memory and batches of unequal spaces need to be told about a new kind of space.

_LENGTH_BYTES = 4
"""Each text lies in shared memory as a native uint32 length, then its UTF-8 bytes."""


class _SharedTexts(Sequence[str]):
    """A live view of every worker's present text.

    AsyncVectorEnv reads the shared memory once, when it is made, and afterwards only copies what it read: so
    the reading must stay live, and a copy of it must be the texts of that moment.
    """

    def __init__(self, rows: NDArray[np.uint8]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        row: NDArray[np.uint8] = self._rows[index]
        length = int(row[:_LENGTH_BYTES].view(np.uint32)[0])
        return bytes(row[_LENGTH_BYTES : _LENGTH_BYTES + length]).decode("utf-8", "surrogatepass")

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return repr(tuple(self))


def _row_bytes(space: Text) -> int:
    # rounded up, so that every row's length field is aligned
    return _LENGTH_BYTES + (space.max_bytes + _LENGTH_BYTES - 1) // _LENGTH_BYTES * _LENGTH_BYTES


def _text_rows(space: Text, shared_memory: Any) -> NDArray[np.uint8]:
    return np.frombuffer(shared_memory.get_obj(), dtype=np.uint8).reshape(-1, _row_bytes(space))


@vector_utils.create_shared_memory.register(Text)
def _create_shared_texts(space: Text, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array("B", n * _row_bytes(space))


@vector_utils.read_from_shared_memory.register(Text)
def _read_shared_texts(space: Text, shared_memory: Any, n: int = 1) -> Sequence[str]:
    return _SharedTexts(_text_rows(space, shared_memory))


@vector_utils.write_to_shared_memory.register(Text)
def _write_shared_text(space: Text, index: int, value: str, shared_memory: Any) -> None:
    data = value.encode("utf-8", "surrogatepass")
    if len(data) > space.max_bytes:
        raise ContractError(
            f"text is {len(data)} bytes; its space allows {space.max_bytes}: raise text_bytes or shorten it."
        )
    row = _text_rows(space, shared_memory)[index]
    row[:_LENGTH_BYTES].view(np.uint32)[0] = len(data)
    row[_LENGTH_BYTES : _LENGTH_BYTES + len(data)] = np.frombuffer(data, np.uint8)


@vector_utils.create_empty_array.register(Text)
def _create_empty_texts(space: Text, n: int = 1, fn: Any = np.zeros) -> tuple[str, ...]:
    return ("",) * n


def _batch_differing_texts(texts: Sequence[Text]) -> spaces.Tuple[Any]:
    return spaces.Tuple([deepcopy(space) for space in texts], seed=deepcopy(texts[0].np_random))


# dispatched on the type of the first space, though it takes them all: the signature that mypy expects differs
_register: Any = vector_utils.batch_differing_spaces.register
_register(Text, _batch_differing_texts)
