"""What an environment owes at every turn, as functions: the framework asks them in play, the kit in its checks.

They take a few microseconds: they look at types, shapes and lengths, never at pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from vlmq.api.env import Text
from vlmq.api.errors import ContractError
from vlmq.api.types import Observation

ENTRY_POINT_GROUP = "vlmq.envs"
"""Group of the entry points by which installed distributions offer environments."""

BLANK_LEVEL = 224
"""Every byte of a blank picture. Light, not mid-grey: 127.5 becomes exactly 0 after the usual normalisation,
and some models drop a picture that is all 0."""


@dataclass(frozen=True)
class Shape:
    """What an environment's spaces promise.

    Attributes:
        image: (height, width, 3), or None where there is no picture.
        text_bytes: capacity of the text, in UTF-8 bytes.
        action_bytes: capacity of the action, in UTF-8 bytes.
    """

    image: tuple[int, int, int] | None
    text_bytes: int
    action_bytes: int

    def blank(self) -> Observation:
        """An observation that says nothing."""
        return Observation("", None if self.image is None else np.full(self.image, BLANK_LEVEL, np.uint8))


def check_spaces(env_id: str, env: gymnasium.Env[Any, Any]) -> Shape:
    """What the environment's spaces promise.

    Raises:
        ContractError: they are not those of the contract.
    """
    # the class gymnasium.Env names both without giving a value
    space, actions = getattr(env, "observation_space", None), getattr(env, "action_space", None)
    if not isinstance(space, spaces.Dict) or not isinstance(space.spaces.get("text"), Text):
        raise ContractError(
            f"env '{env_id}': observation_space is {space}; expected a Dict with a 'text' of vlmq.api.Text."
            " Use vlmq.api.observation_space(height, width)."
        )
    if not isinstance(actions, Text):
        raise ContractError(
            f"env '{env_id}': action_space is {actions}; expected vlmq.api.Text. Use vlmq.api.action_space()."
        )
    image = space.spaces.get("image")
    shape = None if image is None else image.shape
    if image is not None and not (image.dtype == np.uint8 and shape and len(shape) == 3 and shape[2] == 3):
        raise ContractError(
            f"env '{env_id}': the image's space is {image.dtype} {shape}; expected uint8 (height, width, 3)."
            " Use vlmq.api.observation_space(height, width)."
        )
    text = space.spaces["text"]
    assert isinstance(text, Text)
    size = None if shape is None else (shape[0], shape[1], shape[2])
    return Shape(size, text.max_bytes, actions.max_bytes)


def check_observation(env_id: str, observation: Any, space: spaces.Dict) -> Observation:
    """The observation as the framework keeps it; the picture is copied, so the env may reuse its frame.

    Raises:
        ContractError: the observation is outside its space.
    """
    if not isinstance(observation, Mapping) or "text" not in observation:
        got = sorted(observation) if isinstance(observation, Mapping) else type(observation).__name__
        raise ContractError(f"env '{env_id}': observation is {got}; expected a dict with 'text' and 'image'.")
    text = observation["text"]
    if not isinstance(text, str):
        raise ContractError(f"env '{env_id}': text is {type(text).__name__}; expected str.")
    capacity = space.spaces["text"].max_bytes  # type: ignore[attr-defined]
    num_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if num_bytes > capacity:
        raise ContractError(
            f"env '{env_id}': text is {num_bytes} bytes; its space allows {capacity}."
            " Shorten it, or raise text_bytes in the env's observation_space."
        )
    wanted, image = space.spaces.get("image"), observation.get("image")
    if wanted is None:
        if image is not None:
            raise ContractError(
                f"env '{env_id}': there is an image, which its observation_space does not declare."
            )
        return Observation(text)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != wanted.shape:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ContractError(
            f"env '{env_id}': image is {got}; expected uint8 {wanted.shape}. Cast it in the env."
        )
    return Observation(text, image.copy(order="C"))


def check_info(env_id: str, info: Any, ended: bool) -> tuple[bool, bool, tuple[str, ...] | None]:
    """`action_ok`, `success` (false while the episode goes on) and `legal_actions`, as `info` has them.

    Raises:
        ContractError: one is missing or of the wrong type.
    """
    if not isinstance(info, Mapping):
        raise ContractError(
            f"env '{env_id}': info is {type(info).__name__}; expected a dict at every reset and step."
        )
    action_ok = info.get("action_ok")
    if not isinstance(action_ok, (bool, np.bool_)):
        raise ContractError(
            f"env '{env_id}': info['action_ok'] is {_kind(action_ok)}; expected bool at every reset and step."
        )
    success = info.get("success", None if ended else False)
    if ended and not isinstance(success, (bool, np.bool_)):
        raise ContractError(
            f"env '{env_id}': info['success'] is {_kind(success)} at the end of an episode; expected bool."
            " Where a turn limit ends it, count the turns in the env, not by max_episode_steps."
        )
    legal = info.get("legal_actions")
    if legal is not None and not isinstance(legal, tuple):
        raise ContractError(
            f"env '{env_id}': info['legal_actions'] is {_kind(legal)}; expected a tuple of str, or None."
        )
    for action in legal or ():
        if not isinstance(action, str):
            raise ContractError(
                f"env '{env_id}': info['legal_actions'] holds the {type(action).__name__} {action!r};"
                " expected a tuple of str, or None."
            )
    return bool(action_ok), ended and bool(success), legal


def check_played(env_id: str, info: Any) -> str | None:
    """`info["env_id"]`, which an environment that plays several tasks may give: the id whose episode this is.

    Raises:
        ContractError: it is no text.
    """
    played = info.get("env_id")
    if played is not None and not isinstance(played, str):
        raise ContractError(
            f"env '{env_id}': info['env_id'] is {_kind(played)}; expected a registered id, or None."
        )
    return played


def check_reward(env_id: str, reward: Any) -> float:
    """The reward as a float.

    Raises:
        ContractError: it is no finite number.
    """
    try:
        # float() reads texts, too: those have no __float__
        number = float(reward) if hasattr(reward, "__float__") else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ContractError(f"env '{env_id}': reward is {reward!r}; expected a finite number.")
    return number


def _kind(value: object) -> str:
    return "missing" if value is None else type(value).__name__
