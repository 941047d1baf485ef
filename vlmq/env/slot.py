"""One environment, played safely: the contract checked at each turn, its own failures turned into values."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium

from vlmq.api import ContractError, Observation, SupportsExpert, UserError
from vlmq.api.contract import (
    Shape,
    check_info,
    check_observation,
    check_played,
    check_reward,
    check_spaces,
)
from vlmq.env.registry import FAULTS
from vlmq.env.wrappers import BlankImage

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """What one reset or one action brought.

    Attributes:
        observation: what the agent sees now; after a failure the last good one, or a blank.
        reward: for the action; 0 after a reset or a failure.
        terminated: the task itself ended.
        truncated: the episode was cut: by a limit, or by a failure.
        action_ok: whether the environment accepted the action as legal.
        success: what the environment says of the outcome; false while the episode goes on.
        legal_actions: what is legal now, where the environment lists it.
        expert: the expert's next action, where it was asked for and there is one.
        failure: why the environment itself broke, in one line; None where it did not. Such an episode is to
            be discarded: its end says nothing of the agent.
        played: id whose episode this is, where an environment plays those of several.
    """

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    action_ok: bool
    success: bool
    legal_actions: tuple[str, ...] | None
    expert: str | None
    failure: str | None
    played: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the next call must be a reset."""
        return self.terminated or self.truncated


def failed(observation: Observation, reason: str) -> Step:
    """The turn of an environment that broke."""
    return Step(observation, 0.0, False, True, False, False, None, None, reason)


class Slot:
    """One environment in this process.

    A `UserError` passes through. Any other exception of the environment, one that asks to end the process among
    them, ends the episode with its reason, and the next reset runs on a fresh environment; a reset that fails is
    tried once more on a fresh one.

    Args:
        env_id: for messages.
        build: makes the environment.
        expert: ask the environment's expert at every turn.
        blank_images: replace every picture by a constant one.
    """

    def __init__(
        self, env_id: str, build: Callable[[], gymnasium.Env[Any, Any]], expert: bool, blank_images: bool
    ) -> None:
        self.env_id = env_id
        self._build = build
        self._wants_expert = expert
        self._blank_images = blank_images
        self._env: gymnasium.Env[Any, Any] | None = None
        self._expert: SupportsExpert | None = None
        self._last: Observation | None = None
        self.shape: Shape = self._open()

    def reset(self, seed: int) -> Step:
        """Begin the episode of this seed."""
        step = self._reset(seed)
        return step if step.failure is None else self._reset(seed)

    def step(self, action: str) -> Step:
        """Take one action."""
        assert self._env is not None, "a slot that failed is reset before it is stepped"
        try:
            raw, reward, terminated, truncated, info = parts(self.env_id, "step", self._env.step(action))
            return self._judge(raw, reward, bool(terminated), bool(truncated), info)
        except UserError:
            raise
        except FAULTS as error:
            return self._fail(error)

    def close(self) -> None:
        """Close the environment; one that fails at that is left behind, with a warning in the log."""
        env, self._env, self._expert = self._env, None, None
        try:
            if env is not None:
                env.close()
        except FAULTS as error:
            log.warning("env '%s': close failed: %s", self.env_id, _reason(error))
            log.debug("env '%s': close failed", self.env_id, exc_info=error)

    def _open(self) -> Shape:
        env = self._build()
        try:
            shape = check_spaces(self.env_id, env)
        except UserError:
            env.close()
            raise
        assert isinstance(env.observation_space, gymnasium.spaces.Dict)
        self._space = env.observation_space
        inner = env.unwrapped
        self._expert = inner if self._wants_expert and isinstance(inner, SupportsExpert) else None
        self._env = BlankImage(env) if self._blank_images else env
        return shape

    def _reset(self, seed: int) -> Step:
        self._last = None
        try:
            if self._env is None:
                self._open()
        # it could be built before: that it cannot be now is the machine's fault, not the user's
        except FAULTS as error:
            return self._fail(error)
        assert self._env is not None
        try:
            raw, info = parts(self.env_id, "reset", self._env.reset(seed=seed))
            return self._judge(raw, 0.0, False, False, info)
        except UserError:
            raise
        except FAULTS as error:
            return self._fail(error)

    def _judge(self, raw: Any, reward: Any, terminated: bool, truncated: bool, info: Any) -> Step:
        ended = terminated or truncated
        observation = check_observation(self.env_id, raw, self._space)
        action_ok, success, legal = check_info(self.env_id, info, ended)
        number = check_reward(self.env_id, reward)
        played = check_played(self.env_id, info)
        expert = None if ended or self._expert is None else self._expert.expert_action()
        if not (expert is None or isinstance(expert, str)):
            raise ContractError(
                f"env '{self.env_id}': expert_action() gives {expert!r}; expected a str, or None."
            )
        self._last = observation
        return Step(
            observation, number, terminated, truncated, action_ok, success, legal, expert, None, played
        )

    def _fail(self, error: BaseException) -> Step:
        # where, and on the way to what, is for those who look for the fault; the reason is the caller's to tell
        log.debug("env '%s' broke", self.env_id, exc_info=error)
        self.close()
        return failed(self._last or self.shape.blank(), _reason(error))


_PARTS = {
    "reset": ("observation", "info"),
    "step": ("observation", "reward", "terminated", "truncated", "info"),
}


def parts(env_id: str, method: str, given: Any) -> tuple[Any, ...]:
    """What `reset` or `step` has returned, as many values as gymnasium demands.

    Raises:
        ContractError: they are more or fewer.
    """
    names = _PARTS[method]
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        got = f"{len(given)} values" if isinstance(given, (tuple, list)) else type(given).__name__
        raise ContractError(
            f"env '{env_id}': {method}() returns {got}; expected {len(names)}: {', '.join(names)}."
        )
    return tuple(given)


def _reason(error: BaseException) -> str:
    """One line: what was raised, and where."""
    said = " ".join(str(error).split()) or "no message"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {said[:500]}{where}"
