"""Every TensorDict key, once: name, dtype, shape, who writes it, who reads it.

N is the number of environments of a pool; text and action are fixed-capacity UTF-8 bytes with a length.

| key              | dtype   | shape        | written by   | read by           |
|------------------|---------|--------------|--------------|-------------------|
| image            | uint8   | (N, H, W, 3) | env/bridge   | rollout/actor, assemble |
| text             | uint8   | (N, bytes)   | env/bridge   | rollout/actor, assemble |
| text_length      | int32   | (N,)         | env/bridge   | rollout/actor, assemble |
| random_action    | uint8   | (N, bytes)   | env/bridge   | scripted policies |
| random_length    | int32   | (N,)         | env/bridge   | scripted policies; -1: no finite set |
| expert_action    | uint8   | (N, bytes)   | env/bridge   | scripted policies |
| expert_length    | int32   | (N,)         | env/bridge   | scripted policies; -1: no expert |
| episode          | int64   | (N,)         | env/bridge   | actor, assemble; -1: the slot is idle |
| turn             | int32   | (N,)         | env/bridge   | actor, assemble |
| action_ok        | bool    | (N,)         | env/bridge   | assemble |
| success          | bool    | (N,)         | env/bridge   | assemble |
| failed           | bool    | (N,)         | env/bridge   | actor: ask nothing; assemble: drop |
| action           | uint8   | (N, bytes)   | rollout/actor | env/bridge, assemble |
| action_length    | int32   | (N,)         | rollout/actor | env/bridge, assemble |
| reply            | int32   | (N, tokens)  | rollout/actor | assemble |
| reply_length     | int32   | (N,)         | rollout/actor | assemble |
| logprob          | float32 | (N, tokens)  | rollout/actor | assemble |
| parsed           | bool    | (N,)         | rollout/actor | assemble |
| digest           | int64   | (N,)         | rollout/actor | assemble |
| source           | uint8   | (N,)         | rollout/actor | assemble; index into SOURCES |
"""

from __future__ import annotations

IMAGE = "image"
TEXT = "text"
TEXT_LENGTH = "text_length"
RANDOM_ACTION = "random_action"
RANDOM_LENGTH = "random_length"
EXPERT_ACTION = "expert_action"
EXPERT_LENGTH = "expert_length"
EPISODE = "episode"
TURN = "turn"
ACTION_OK = "action_ok"
SUCCESS = "success"
FAILED = "failed"

ACTION = "action"
ACTION_LENGTH = "action_length"
REPLY = "reply"
REPLY_LENGTH = "reply_length"
LOGPROB = "logprob"
PARSED = "parsed"
DIGEST = "digest"
SOURCE = "source"

SOURCES = ("model", "random", "expert", "corrupted")
"""Values of the `source` key, in the order of their codes."""
