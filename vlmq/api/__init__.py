"""The plugin boundary. Plugins import this package and nothing else of vlmq; it needs no torch."""

from vlmq.api.env import (
    DEFAULT_ACTION_BYTES,
    DEFAULT_TEXT_BYTES,
    SupportsExpert,
    Text,
    action_space,
    expert_action,
    observation_space,
)
from vlmq.api.errors import ContractError, DataError, ModelError, PluginError, UserError
from vlmq.api.model import ModelAdapter, adapter_for
from vlmq.api.processor import InStreamProcessor
from vlmq.api.settings import check_choice, check_flags, check_seconds, check_whole
from vlmq.api.types import Episode, Observation, Turn

VERSION = "1.2"
"""Version of this boundary. A plugin's spec module may declare `REQUIRES_API = ">=1.0,<2"`."""

__all__ = [
    "DEFAULT_ACTION_BYTES",
    "DEFAULT_TEXT_BYTES",
    "VERSION",
    "ContractError",
    "DataError",
    "Episode",
    "InStreamProcessor",
    "ModelAdapter",
    "ModelError",
    "Observation",
    "PluginError",
    "SupportsExpert",
    "Text",
    "Turn",
    "UserError",
    "action_space",
    "adapter_for",
    "check_choice",
    "check_flags",
    "check_seconds",
    "check_whole",
    "expert_action",
    "observation_space",
]
