"""How a collector beside the trainer is reached: in a process of this machine, or as a Ray actor anywhere."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from vlmq.api import UserError
from vlmq.env.worker import watch
from vlmq.rollout.host import Host, Recipe, Weights

_KNOCK_S = 3.0
_CALL_S = 60.0
_START_S = 30.0
"""How long an actor may take to start before that is worth a word."""
log = logging.getLogger(__name__)


class HostDied(Exception):
    """A collector's process or machine is gone; its text says how. Ours, caught by the fleet."""


class Handle(ABC):
    """The trainer's end of one collector."""

    @abstractmethod
    def ask(self, what: str, *arguments: Any) -> Future[Any]:
        """What a method of the host gives; the future raises `HostDied`, or what the host raised."""

    @abstractmethod
    def kill(self) -> None:
        """End it with all that it started. Idempotent."""

    def trouble(self) -> str:
        """Why it does not answer, as far as that can be told from here; "" where it is simply at work."""
        return ""


class ProcessHandle(Handle):
    """A collector in a process of its own on this machine; weights lie in memory that all share.

    Args:
        recipe: what it is made of.
        threads: of torch, in it.
    """

    def __init__(self, recipe: Recipe, threads: int) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # a daemon: it ends with this interpreter at the latest
        self._process = context.Process(
            target=_serve, args=(theirs, os.getpid(), recipe, threads), daemon=True
        )
        self._process.start()
        theirs.close()
        self._asked: queue.SimpleQueue[tuple[Future[Any], str, tuple[Any, ...]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._converse, daemon=True).start()

    def ask(self, what: str, *arguments: Any) -> Future[Any]:
        """See `Handle`."""
        answer: Future[Any] = Future()
        self._asked.put((answer, what, arguments))
        return answer

    def kill(self) -> None:
        """See `Handle`."""
        if self._process.is_alive():
            with suppress(ProcessLookupError, PermissionError):
                # a group of its own, as soon as it is up: environments end with it
                own = os.getpgid(self._process.pid or 0) == self._process.pid
                (os.killpg if own else os.kill)(self._process.pid or 0, signal.SIGKILL)
        self._process.join()
        self._asked.put(None)

    def _converse(self) -> None:
        """Ask one thing after the other, until it is killed."""
        while (asked := self._asked.get()) is not None:
            answer, *question = asked
            try:
                self._pipe.send(question)
                well, said = self._pipe.recv()
            except (OSError, EOFError, pickle.UnpicklingError):
                self._process.join(5.0)
                answer.set_exception(HostDied(f"its process ended (exit code {self._process.exitcode})"))
            else:
                answer.set_result(said) if well else answer.set_exception(said)
        self._pipe.close()


def _serve(pipe: Any, parent: int, recipe: Recipe, threads: int) -> None:
    """The collector's process: answers until the trainer is gone."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch(pipe.fileno(), parent)
    os.dup2(2, 1)
    torch.set_num_threads(threads)
    host = Host(recipe)
    while True:
        what, arguments = pipe.recv()
        try:
            answer = True, getattr(host, what)(*arguments)
        except UserError as error:
            answer = False, error
        pipe.send(answer)


class RayHandle(Handle):
    """A collector as a Ray actor, wherever the cluster has room; several of them on several machines.

    Args:
        recipe: what it is made of.
        cpus: that it reserves.
        gpus: likewise.
    """

    def __init__(self, recipe: Recipe, cpus: float, gpus: float) -> None:
        import ray

        # packed, Ray's default, would put them all on the machine of the trainer
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self._ray = ray
        self._begun = self._called = time.monotonic()
        self._actor: Any = ray.remote(_RayHost).options(**options).remote(recipe)
        self._place = self.ask("place")

    def ask(self, what: str, *arguments: Any) -> Future[Any]:
        """See `Handle`."""
        answer: Future[Any] = Future()
        getattr(self._actor, what).remote(*arguments).future().add_done_callback(
            partial(self._settle, answer)
        )
        return answer

    def kill(self) -> None:
        """See `Handle`."""
        with suppress(Exception):  # the cluster itself may be gone
            self._ray.kill(self._actor)

    def trouble(self) -> str:
        """See `Handle`. Knocks at the door of Ray's own process over there, and waits some seconds for an answer."""
        if not self._place.done():
            late = time.monotonic() - self._begun > _START_S
            return "Ray has not started it yet; see `ray status` whether there is room" if late else ""
        if self._place.exception() is not None:
            return ""  # it is dead, which its answer is about to say
        host, port = self._place.result()
        try:
            socket.create_connection((host, port), _KNOCK_S).close()
        except OSError as error:
            self._called = 0.0
            return f"its machine, {host}, cannot be reached ({error.strerror or error})"
        if time.monotonic() - self._called > _CALL_S:
            # where a cut has broken the connection, Ray waits minutes for the answer to a call, unless there is another
            self._called = time.monotonic()
            self.ask("place")
        return ""

    def _settle(self, answer: Future[Any], said: Future[Any]) -> None:
        error = said.exception()
        if error is None:
            answer.set_result(said.result())
        elif isinstance(error, self._ray.exceptions.RayTaskError):
            cause = error.cause
            answer.set_exception(cause if isinstance(cause, UserError) else error)
        else:
            answer.set_exception(HostDied(" ".join(str(error).split())[:300]))


class _RayHost(Host):
    def place(self) -> tuple[str, int]:
        """Address and port of the process of Ray's that runs on this machine."""
        import ray

        here = ray.get_runtime_context().get_node_id()
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        node = next(node for node in nodes if node["NodeID"] == here)
        return node["NodeManagerAddress"], node["NodeManagerPort"]


def put_into_ray(weights: Weights) -> Any:
    """Weights for any number of Ray actors: they lie in memory of Ray's, and each machine fetches them once."""
    import ray

    data = weights.data
    # as an array, for Ray gives a tensor to each actor as a copy of its own
    return ray.put(replace(weights, data=data.numpy() if isinstance(data, torch.Tensor) else data))


def join_ray(address: str | None, *, cpus: float, gpus: float) -> None:
    """Be part of a Ray cluster, once a process.

    Args:
        address: of the cluster, or `auto`; None starts one on this machine.
        cpus: that the collectors will reserve together.
        gpus: likewise.

    Raises:
        UserError: Ray is not installed, no cluster answers there, or this machine has too little for its own.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "data.collectors.backend is ray, which is not installed; `pip install 'vlmq[ray]'`."
        ) from error
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        logging.getLogger("ray").setLevel(logging.ERROR)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError, ray.exceptions.AuthenticationError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(
                f"no Ray cluster answers at data.collectors.address {address} ({said}); start one with `ray start "
                "--head`, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN where it asks for one, or leave the address out."
            ) from error
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    short = [
        f"{wanted:g} {name}s where there are {there.get(name, 0):g}"
        for name, wanted in (("CPU", cpus), ("GPU", gpus))
        if wanted > there.get(name, 0)
    ]
    if short and address is None:
        raise UserError(
            f"the collectors ask for {' and '.join(short)}; lower data.collectors.count, cpus or gpus, or name a "
            "cluster in data.collectors.address."
        )
    if short:
        log.warning("the collectors ask for %s: some wait until the cluster grows", " and ".join(short))
