"""One environment for a person to look at: the contract checked at each turn, every fault of it one sentence.

The pool turns an environment's failures into values, so that training goes on; here somebody waits for the reason.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import gymnasium

from vlmq.api import Observation, PluginError, UserError, expert_action
from vlmq.api.contract import Shape, check_info, check_observation, check_reward, check_spaces
from vlmq.env import registry
from vlmq.env.slot import parts

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Moment:
    """What one reset or one action brought.

    Attributes:
        observation: what an agent would see now.
        reward: for the action; 0 after a reset.
        terminated: the task itself ended.
        truncated: the episode was cut.
        action_ok: whether the action was accepted as legal.
        success: what the environment says of the outcome; false while the episode goes on.
        legal_actions: what is legal now, where the environment lists it.
        error: the environment's own line about what was wrong with the action, or "".
    """

    observation: Observation
    reward: float
    terminated: bool
    truncated: bool
    action_ok: bool
    success: bool
    legal_actions: tuple[str, ...] | None
    error: str

    @property
    def ended(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated


class ByHand:
    """An environment that is made, played and closed by one caller.

    Raises:
        PluginError: it cannot be made here. Whatever it raises later becomes one, too, that names the place.
        ContractError: what it shows or says is not what the contract demands.
    """

    def __init__(self, env_id: str, settings: Mapping[str, Any]) -> None:
        self.env_id = env_id
        self._env: gymnasium.Env[Any, Any] = registry.make(env_id, **settings)
        try:
            self.shape: Shape = check_spaces(env_id, self._env)
        except UserError:
            # why it is of no use is what somebody wants to read
            with suppress(PluginError):
                self.close()
            raise

    @property
    def declared(self) -> dict[str, Any]:
        """Its `metadata["vlmq"]`: the instance's, so that one class may declare for several ids."""
        return declared_in(self._env.unwrapped.metadata)

    def reset(self, seed: int) -> Moment:
        """Begin the episode of this seed."""

        def begin() -> Moment:
            raw, info = parts(self.env_id, "reset", self._env.reset(seed=seed))
            return self._judge(raw, 0.0, False, False, info)

        return self._ask("reset", begin)

    def step(self, action: str) -> Moment:
        """Take one action."""
        return self._ask("step", lambda: self._judge(*parts(self.env_id, "step", self._env.step(action))))

    def hint(self) -> str | None:
        """What its expert would do now; None where it has none, or none knows."""
        return self._ask("expert_action", lambda: expert_action(self._env))

    def close(self) -> None:
        """Let go of what it holds."""
        self._ask("close", self._env.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except PluginError:
            # what went wrong first is what somebody wants to read
            if error is None:
                raise

    def _judge(self, raw: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Moment:
        over = bool(terminated), bool(truncated)
        space = self._env.observation_space
        assert isinstance(space, gymnasium.spaces.Dict)
        observation = check_observation(self.env_id, raw, space)
        action_ok, success, legal = check_info(self.env_id, info, any(over))
        said = " ".join(str(info.get("error") or "").split())
        return Moment(observation, check_reward(self.env_id, reward), *over, action_ok, success, legal, said)

    def _ask(self, what: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except UserError:
            raise
        except registry.FAULTS as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            raise PluginError(
                f"env '{self.env_id}' broke in {what}(): {registry.one_line(error)} ({where});"
                f" `vlmq check {self.env_id}` tells more."
            ) from error


def declared_in(metadata: object) -> dict[str, Any]:
    """What an environment says of itself to us, of all that its metadata hold."""
    ours = metadata.get("vlmq") if isinstance(metadata, Mapping) else None
    return dict(ours) if isinstance(ours, Mapping) else {}
