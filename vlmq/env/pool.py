"""Runs N environments of one id, in this process or each in its own, behind one small interface.

Slots are independent: a call names the slots it wants, in any number and order. Calls for different slots may
come from different threads; with workers no environment changes thread, for each has its own process.
"""

from __future__ import annotations

import os
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from vlmq.api import Observation, PluginError, UserError
from vlmq.api.contract import Shape
from vlmq.env import registry
from vlmq.env.slot import Slot, Step, failed
from vlmq.env.worker import CLOSE_TIMEOUT_S, Worker, WorkerDied

__all__ = ["Pool", "Step", "make_pool"]

START_TIMEOUT_S = 120.0
"""How long a worker may take to import and make its environment, where the time-out of a call is shorter."""


class Pool(ABC):
    """N environments of one id.

    An environment that breaks never raises: its turn says so (`Step.failure`), the other slots go on, and the
    slot's next reset runs on a fresh one. What the user or the plugin's author can mend raises a `UserError`.

    Attributes:
        num_envs: N; slots are numbered 0 to N - 1.
        image_shape: (height, width, 3), or None where the environment has no picture.
        text_bytes: capacity of the text, in UTF-8 bytes.
        action_bytes: capacity of the action, in UTF-8 bytes.
    """

    def __init__(self, env_id: str, num_envs: int, shape: Shape) -> None:
        self.env_id = env_id
        self.num_envs = num_envs
        self.image_shape = shape.image
        self.text_bytes = shape.text_bytes
        self.action_bytes = shape.action_bytes
        self._shape = shape
        self._playing = [False] * num_envs

    def reset(self, seeds: Mapping[int, int]) -> dict[int, Step]:
        """Begin an episode in each named slot, with its seed."""
        for slot in seeds:
            self._check(slot)
        return self._note(self._reset(seeds))

    def step(self, actions: Mapping[int, str]) -> dict[int, Step]:
        """Take one action in each named slot."""
        for slot in actions:
            self._check(slot)
            if not self._playing[slot]:
                raise RuntimeError(f"slot {slot} of '{self.env_id}' has no episode going on: reset it first")
        return self._note(self._step(actions))

    @abstractmethod
    def close(self) -> None:
        """Close every environment. Idempotent; the pool cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _reset(self, seeds: Mapping[int, int]) -> dict[int, Step]: ...

    @abstractmethod
    def _step(self, actions: Mapping[int, str]) -> dict[int, Step]: ...

    def _check(self, slot: int) -> None:
        if not 0 <= slot < self.num_envs:
            raise IndexError(f"slot {slot} of '{self.env_id}': there are {self.num_envs}, numbered from 0")

    def _note(self, steps: dict[int, Step]) -> dict[int, Step]:
        for slot, step in steps.items():
            self._playing[slot] = not (step.terminated or step.truncated)
        return steps


def make_pool(
    env_id: str,
    num_envs: int,
    *,
    env_args: Mapping[str, Any] | None = None,
    workers: bool | None = None,
    timeout_s: float = 60.0,
    expert: bool = False,
    blank_images: bool = False,
) -> Pool:
    """Make N environments of one id.

    Args:
        env_id: a registered id.
        num_envs: N.
        env_args: keyword arguments of the environment; picklable where there are workers.
        workers: a process for each environment, for slow or fragile ones; None: what its metadata asks for.
        timeout_s: a worker that does not answer a reset or an action within this is killed. In this process
            nothing can be interrupted, and there is no time-out.
        expert: fill `Step.expert`.
        blank_images: show the same blank picture at every turn.

    Raises:
        PluginError: the id is unknown, or cannot be built here.
        ContractError: its spaces are not those of the contract.
    """
    if num_envs < 1:
        raise UserError(f"num_envs is {num_envs}: a pool of '{env_id}' needs at least 1 environment.")
    if not timeout_s > 0:
        raise UserError(f"timeout_s is {timeout_s}: the time-out of a call must be more than 0 seconds.")
    if workers is None:
        workers = bool(dict(registry.metadata_of(env_id).get("vlmq") or {}).get("workers", False))
    spec, args = registry.find_spec(env_id), dict(env_args or {})
    if not workers:
        build = partial(registry.build, spec, args)
        return _LocalPool(env_id, num_envs, partial(Slot, env_id, build, expert, blank_images))
    return _WorkerPool(
        env_id, num_envs, partial(Worker, env_id, args, expert, blank_images, timeout_s), timeout_s
    )


class _LocalPool(Pool):
    def __init__(self, env_id: str, num_envs: int, make: Callable[[], Slot]) -> None:
        self._slots: list[Slot] = []
        try:
            self._slots.extend(make() for _ in range(num_envs))
        except BaseException:
            self.close()
            raise
        super().__init__(env_id, num_envs, self._slots[0].shape)

    def close(self) -> None:
        for slot in self._slots:
            slot.close()
        self._playing = [False] * len(self._slots)

    def _reset(self, seeds: Mapping[int, int]) -> dict[int, Step]:
        return {slot: self._slots[slot].reset(seed) for slot, seed in seeds.items()}

    def _step(self, actions: Mapping[int, str]) -> dict[int, Step]:
        return {slot: self._slots[slot].step(action) for slot, action in actions.items()}


class _WorkerPool(Pool):
    def __init__(self, env_id: str, num_envs: int, make: Callable[[], Worker], timeout_s: float) -> None:
        self._make = make
        self._timeout_s = timeout_s
        self._start_timeout_s = max(timeout_s, START_TIMEOUT_S)
        self._last: list[Observation | None] = [None] * num_envs
        self._workers = [make() for _ in range(num_envs)]
        # also when the pool is forgotten, or the interpreter exits
        self._shutdown = weakref.finalize(self, _shut_down, self._workers, os.getpid())
        try:
            shapes = [worker.wait_ready(self._start_timeout_s) for worker in self._workers]
        except WorkerDied as error:
            self._shutdown()
            raise PluginError(f"'{env_id}' cannot be started in a worker: {error}.") from error
        except BaseException:
            self._shutdown()
            raise
        super().__init__(env_id, num_envs, shapes[0])

    def close(self) -> None:
        self._shutdown()
        self._playing = [False] * self.num_envs

    def _reset(self, seeds: Mapping[int, int]) -> dict[int, Step]:
        for slot in seeds:
            self._last[slot] = None
        steps, dead = self._ask("reset", seeds)
        if dead:
            again, dead = self._ask("reset", {slot: seeds[slot] for slot in dead})
            steps |= again
        return self._in_order(seeds, steps, dead)

    def _step(self, actions: Mapping[int, str]) -> dict[int, Step]:
        return self._in_order(actions, *self._ask("step", actions))

    def _ask(self, verb: str, arguments: Mapping[int, Any]) -> tuple[dict[int, Step], dict[int, str]]:
        """The steps of the slots that answered, the reasons of those that did not: they have a new worker."""
        for slot, argument in arguments.items():
            self._workers[slot].send(verb, argument)
        steps: dict[int, Step] = {}
        dead: dict[int, str] = {}
        wrong: UserError | None = None
        for slot in arguments:
            # one that is still starting, after a death, has its own time for that
            if self._workers[slot].shape is None:
                self._await_start(slot, dead)
        deadline = time.monotonic() + self._timeout_s
        # The one asked last is awaited first: by then most have answered, and few waits put this process to sleep.
        for slot in reversed(list(arguments)):
            if slot in dead:
                continue
            try:
                step = self._workers[slot].receive(deadline, self._timeout_s)
            except WorkerDied as error:
                dead[slot] = str(error)
                self._replace(slot)
            except UserError as error:
                # every answer is taken in before one is raised
                wrong = wrong or error
            else:
                steps[slot] = step
                self._last[slot] = step.observation
        if wrong is not None:
            raise wrong
        return steps, dead

    def _await_start(self, slot: int, dead: dict[int, str]) -> None:
        try:
            self._workers[slot].wait_ready(self._start_timeout_s)
        # it could be made before: that it cannot be now is the machine's fault, not the user's
        except (WorkerDied, UserError) as error:
            dead[slot] = f"a fresh environment did not start: {error}"
            self._replace(slot)

    def _replace(self, slot: int) -> None:
        self._workers[slot].kill()
        self._workers[slot] = self._make()

    def _in_order(
        self, asked: Iterable[int], steps: dict[int, Step], dead: dict[int, str]
    ) -> dict[int, Step]:
        for slot, reason in dead.items():
            steps[slot] = failed(self._last[slot] or self._shape.blank(), reason)
        return {slot: steps[slot] for slot in asked}


def _shut_down(workers: list[Worker], owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child forgets its copy of the pool; the workers are not its own
    try:
        # one that is not up yet has nothing to close
        ready = [worker for worker in workers if worker.shape is not None]
        for worker in ready:
            worker.request_close()
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        for worker in ready:
            worker.wait_closed(deadline)
    finally:
        for worker in workers:
            worker.kill()
