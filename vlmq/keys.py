"""Every TensorDict key, once: name, dtype, shape, who writes it, who reads it.

N is the number of environments of a pool; text and action are fixed-capacity UTF-8 bytes with a length.

| key              | dtype   | shape        | written by   | read by           |
|------------------|---------|--------------|--------------|-------------------|
| image            | uint8   | (N, H, W, 3) | env/bridge   | rollout/actor, assemble |
| text             | uint8   | (N, bytes)   | env/bridge   | rollout/actor, assemble |
| hints            | uint8   | (N, 2, bytes) | env/bridge  | rollout/actor, for scripted policies and exploration |
| state            | int64   | (N, 9)       | env/bridge   | rollout/actor, assemble |
| action           | uint8   | (N, bytes)   | rollout/actor | env/bridge, assemble |
| reply            | int32   | (N, tokens)  | rollout/actor | assemble |
| logprob          | float32 | (N, tokens)  | rollout/actor | assemble |
| reply_info       | int64   | (N, 5)       | rollout/actor | env/bridge, assemble |

Small values share a leaf, for TorchRL's cost of a step grows with the number of leaves. What is in them:

- hints: random_action, a legal one drawn at random; expert_action.
- state: text_length; random_length (-1: no finite set); expert_length (-1: no expert); episode (-1: the slot is idle);
  turn; action_ok; success; failed (ask nothing of the slot, drop its episode); waiting (ask nothing of the slot: its
  environment is still at work; the rest of its row says nothing).
- reply_info: action_length; reply_length; parsed; source (index into SOURCES); digest of the context.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from tensordict import TensorDictBase

IMAGE = "image"
TEXT = "text"
HINTS = "hints"
STATE = "state"

ACTION = "action"
REPLY = "reply"
LOGPROB = "logprob"
REPLY_INFO = "reply_info"

RANDOM_ACTION, EXPERT_ACTION = "random_action", "expert_action"
TEXT_LENGTH, RANDOM_LENGTH, EXPERT_LENGTH = "text_length", "random_length", "expert_length"
EPISODE, TURN = "episode", "turn"
ACTION_OK, SUCCESS, FAILED, WAITING = "action_ok", "success", "failed", "waiting"
ACTION_LENGTH, REPLY_LENGTH, PARSED, SOURCE, DIGEST = (
    "action_length", "reply_length", "parsed", "source", "digest",
)  # fmt: skip

COLUMNS = {
    HINTS: (RANDOM_ACTION, EXPERT_ACTION),
    STATE: (
        TEXT_LENGTH, RANDOM_LENGTH, EXPERT_LENGTH, EPISODE, TURN, ACTION_OK, SUCCESS, FAILED, WAITING,
    ),
    REPLY_INFO: (ACTION_LENGTH, REPLY_LENGTH, PARSED, SOURCE, DIGEST),
}  # fmt: skip
"""Names of what the leaves that hold several values hold, in order."""

SOURCES = ("model", "random", "expert", "corrupted")
"""Values of the `source` column, in the order of their codes."""


def read(tensordict: TensorDictBase, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Leaves as arrays, those of several columns taken apart: each column under its own name."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        array = tensordict[name].numpy()
        if name == HINTS:
            arrays.update({hint: array[..., place, :] for place, hint in enumerate(COLUMNS[name])})
        elif name in COLUMNS:
            arrays.update({column: array[..., place] for place, column in enumerate(COLUMNS[name])})
        else:
            arrays[name] = array
    return arrays
