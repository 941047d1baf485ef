"""Every TensorDict key, once: name, dtype, shape, who writes it, who reads it.

N is the number of environments of a pool; text and action are fixed-capacity UTF-8 bytes with a length.

| key              | dtype   | shape        | written by   | read by           |
|------------------|---------|--------------|--------------|-------------------|
| image            | uint8   | (N, H, W, 3) | env/bridge   | rollout/actor, assemble |
| text             | uint8   | (N, bytes)   | env/bridge   | rollout/actor, assemble |
| random_action    | uint8   | (N, bytes)   | env/bridge   | scripted policies |
| expert_action    | uint8   | (N, bytes)   | env/bridge   | scripted policies |
| lengths          | int32   | (N, 3)       | env/bridge   | whoever reads the three texts above |
| place            | int64   | (N, 2)       | env/bridge   | rollout/actor, assemble |
| outcome          | bool    | (N, 3)       | env/bridge   | rollout/actor, assemble |
| action           | uint8   | (N, bytes)   | rollout/actor | env/bridge, assemble |
| reply            | int32   | (N, tokens)  | rollout/actor | assemble |
| logprob          | float32 | (N, tokens)  | rollout/actor | assemble |
| reply_info       | int32   | (N, 4)       | rollout/actor | env/bridge, assemble |
| digest           | int64   | (N,)         | rollout/actor | assemble |

Small values share a leaf, for TorchRL's cost of a step grows with the number of leaves. Their columns:

| leaf       | columns |
|------------|---------|
| lengths    | text_length; random_length (-1: no finite set); expert_length (-1: no expert) |
| place      | episode (-1: the slot is idle); turn |
| outcome    | action_ok; success; failed: ask nothing of the slot, drop its episode |
| reply_info | action_length; reply_length; parsed; source: index into SOURCES |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from tensordict import TensorDictBase

IMAGE = "image"
TEXT = "text"
RANDOM_ACTION = "random_action"
EXPERT_ACTION = "expert_action"
LENGTHS = "lengths"
PLACE = "place"
OUTCOME = "outcome"

ACTION = "action"
REPLY = "reply"
LOGPROB = "logprob"
REPLY_INFO = "reply_info"
DIGEST = "digest"

TEXT_LENGTH, RANDOM_LENGTH, EXPERT_LENGTH = "text_length", "random_length", "expert_length"
EPISODE, TURN = "episode", "turn"
ACTION_OK, SUCCESS, FAILED = "action_ok", "success", "failed"
ACTION_LENGTH, REPLY_LENGTH, PARSED, SOURCE = "action_length", "reply_length", "parsed", "source"

COLUMNS = {
    LENGTHS: (TEXT_LENGTH, RANDOM_LENGTH, EXPERT_LENGTH),
    PLACE: (EPISODE, TURN),
    OUTCOME: (ACTION_OK, SUCCESS, FAILED),
    REPLY_INFO: (ACTION_LENGTH, REPLY_LENGTH, PARSED, SOURCE),
}
"""Names of the columns of the leaves that hold several values, in order."""

SOURCES = ("model", "random", "expert", "corrupted")
"""Values of the `source` column, in the order of their codes."""


def read(tensordict: TensorDictBase, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Leaves as arrays, those of several columns taken apart: each column under its own name."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        array = tensordict[name].numpy()
        if name in COLUMNS:
            arrays.update({column: array[..., place] for place, column in enumerate(COLUMNS[name])})
        else:
            arrays[name] = array
    return arrays
