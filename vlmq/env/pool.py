"""Runs N environments of one id, in this process or each in its own, behind one small interface.

Slots are independent: a call names the slots it wants, in any number and order. `reset` and `step` wait for all they
ask; `begin` and `act` do not wait, and `answers` gives what has come meanwhile.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from types import TracebackType
from typing import Any, Literal, Self

from vlmq.api import Observation, PluginError, UserError
from vlmq.api.contract import Shape
from vlmq.env import registry
from vlmq.env.address import address_of, is_remote
from vlmq.env.by_hand import declared_in
from vlmq.env.remote import LOOK_S, RemoteWorker
from vlmq.env.slot import Slot, Step, failed
from vlmq.env.worker import CLOSE_TIMEOUT_S, Worker, WorkerDied

__all__ = ["Pool", "Step", "make_pool"]

Verb = Literal["reset", "step"]
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
        concurrent: whether environments work while the caller does something else.
    """

    concurrent = False

    def __init__(self, env_id: str, num_envs: int, shape: Shape) -> None:
        self.env_id = env_id
        self.num_envs = num_envs
        self.image_shape = shape.image
        self.text_bytes = shape.text_bytes
        self.action_bytes = shape.action_bytes
        self._shape = shape
        self._playing = [False] * num_envs

    def reset(self, seeds: Mapping[int, int]) -> dict[int, Step]:
        """Begin an episode in each named slot, with its seed, and wait for all."""
        self.begin(seeds)
        return self._all(seeds)

    def step(self, actions: Mapping[int, str]) -> dict[int, Step]:
        """Take one action in each named slot, and wait for all."""
        self.act(actions)
        return self._all(actions)

    def begin(self, seeds: Mapping[int, int]) -> None:
        """Ask for an episode in each named slot; its first turn is among the `answers`."""
        for slot in seeds:
            self._check(slot)
        self._send("reset", seeds)

    def act(self, actions: Mapping[int, str]) -> None:
        """Ask for one action in each named slot; what it brings is among the `answers`."""
        for slot in actions:
            self._check(slot)
            if not self._playing[slot]:
                raise RuntimeError(f"slot {slot} of '{self.env_id}' has no episode going on: reset it first")
        self._send("step", actions)

    def answers(self, timeout_s: float | None = None) -> dict[int, Step]:
        """What has come since, by slot; waits for a first answer where slots are still at work.

        Args:
            timeout_s: longest wait for it; None waits until there is one.
        """
        return self._note(self._some(math.inf if timeout_s is None else timeout_s))

    def all_answers(self) -> dict[int, Step]:
        """What every slot that is at work brings, awaited."""
        return self._note(self._gather())

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
    def _send(self, verb: Verb, arguments: Mapping[int, int | str]) -> None:
        """Ask each named slot."""

    @abstractmethod
    def _some(self, timeout_s: float) -> dict[int, Step]:
        """Answers that are there, at least one unless none is outstanding or the time is up."""

    @abstractmethod
    def _gather(self) -> dict[int, Step]:
        """Every outstanding answer."""

    def _all(self, asked: Mapping[int, Any]) -> dict[int, Step]:
        steps = self.all_answers()
        return {slot: steps[slot] for slot in asked}

    def _check(self, slot: int) -> None:
        if not 0 <= slot < self.num_envs:
            raise IndexError(f"slot {slot} of '{self.env_id}': there are {self.num_envs}, numbered from 0")

    def _note(self, steps: dict[int, Step]) -> dict[int, Step]:
        for slot, step in steps.items():
            self._playing[slot] = not step.ended
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
        env_id: a registered id, or `remote://host:port/ID` for a server's, see `vlmq.env.remote`.
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
    if is_remote(env_id):
        make = partial(
            RemoteWorker, address_of(env_id), dict(env_args or {}), expert, blank_images, timeout_s
        )
        return _WorkerPool(env_id, num_envs, make, timeout_s)
    if workers is None:
        workers = bool(declared_in(registry.metadata_of(env_id)).get("workers", False))
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
        self._done: dict[int, Step] = {}
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

    def _send(self, verb: Verb, arguments: Mapping[int, Any]) -> None:
        slots = self._slots
        if verb == "reset":
            self._done |= {slot: slots[slot].reset(seed) for slot, seed in arguments.items()}
        else:
            self._done |= {slot: slots[slot].step(action) for slot, action in arguments.items()}

    def _some(self, timeout_s: float) -> dict[int, Step]:
        return self._gather()

    def _gather(self) -> dict[int, Step]:
        steps, self._done = self._done, {}
        return steps


@dataclass
class _Request:
    """What a slot was asked, until when it may take (monotonic seconds), and whether it was asked before."""

    verb: Verb
    argument: int | str
    deadline: float
    again: bool = False


class _WorkerPool(Pool):
    concurrent = True

    def __init__(
        self, env_id: str, num_envs: int, make: Callable[[], Worker | RemoteWorker], timeout_s: float
    ) -> None:
        self._make = make
        self._timeout_s = timeout_s
        self._start_timeout_s = max(timeout_s, START_TIMEOUT_S)
        self._last: list[Observation | None] = [None] * num_envs
        self._asked: dict[int, _Request] = {}
        self._workers = [make() for _ in range(num_envs)]
        # also when the pool is forgotten, or the interpreter exits
        self._shutdown = weakref.finalize(self, _shut_down, self._workers, os.getpid())
        try:
            deadline = time.monotonic() + self._start_timeout_s
            shapes = [worker.wait_ready(deadline, self._start_timeout_s) for worker in self._workers]
        except WorkerDied as error:
            self._shutdown()
            where = "" if is_remote(env_id) else " in a worker"
            raise PluginError(f"'{env_id}' cannot be started{where}: {error}.") from error
        except BaseException:
            self._shutdown()
            raise
        super().__init__(env_id, num_envs, shapes[0])

    def close(self) -> None:
        self._shutdown()
        self._playing = [False] * self.num_envs

    def _send(self, verb: Verb, arguments: Mapping[int, int | str]) -> None:
        for slot, argument in arguments.items():
            if verb == "reset":
                self._last[slot] = None
            self._ask(slot, verb, argument)

    def _some(self, timeout_s: float) -> dict[int, Step]:
        steps: dict[int, Step] = {}
        give_up = time.monotonic() + timeout_s
        while self._asked and not steps:
            slot_of: dict[Any, int] = {self._workers[slot].pipe: slot for slot in self._asked}
            wake = min(give_up, *(request.deadline for request in self._asked.values()))
            ready = connection.wait(slot_of, min(wake - time.monotonic(), LOOK_S))
            if not ready:
                for slot in self._asked:
                    self._workers[slot].look()
            heard = {slot_of[pipe] for pipe in ready}
            now = time.monotonic()
            late = {slot for slot, request in self._asked.items() if request.deadline <= now}
            for slot in sorted(heard | late):
                step = self._receive(slot)
                if step is not None:
                    steps[slot] = step
            if now >= give_up:
                break
        return steps

    def _gather(self) -> dict[int, Step]:
        steps: dict[int, Step] = {}
        wrong: UserError | None = None
        while self._asked:
            # The one asked last is awaited first: by then most have answered, and few waits put this process to sleep.
            for slot in reversed(list(self._asked)):
                try:
                    step = self._receive(slot)
                except UserError as error:
                    # every answer is taken in before one is raised
                    wrong = wrong or error
                else:
                    if step is not None:
                        steps[slot] = step
        if wrong is not None:
            raise wrong
        return steps

    def _ask(self, slot: int, verb: Verb, argument: int | str, again: bool = False) -> None:
        worker = self._workers[slot]
        # one that is still starting, after a death, has its own time for that
        allowed = self._timeout_s if worker.shape is not None else self._start_timeout_s
        self._asked[slot] = _Request(verb, argument, time.monotonic() + allowed, again)
        worker.send(verb, argument)

    def _receive(self, slot: int) -> Step | None:
        """A slot's answer, awaited until its deadline; None where its worker has come up, or was asked anew."""
        request, worker = self._asked[slot], self._workers[slot]
        starting = worker.shape is None
        try:
            if starting:
                worker.wait_ready(request.deadline, self._start_timeout_s)
                request.deadline = time.monotonic() + self._timeout_s
                return None
            step = worker.receive(request.deadline, self._timeout_s)
        except (WorkerDied, UserError) as error:
            del self._asked[slot]
            if isinstance(error, UserError) and not starting:
                raise
            # it could be made before: that it cannot be now is the machine's fault, not the user's
            reason = f"a fresh environment did not start: {error}" if starting else str(error)
        else:
            del self._asked[slot]
            self._last[slot] = step.observation
            return step
        worker.kill()
        self._workers[slot] = self._make()
        if request.verb == "reset" and not request.again:
            self._ask(slot, request.verb, request.argument, again=True)
            return None
        return failed(self._last[slot] or self._shape.blank(), reason)


def _shut_down(workers: list[Worker | RemoteWorker], owner: int) -> None:
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
