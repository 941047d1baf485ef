"""Rounds of episodes played by several collectors beside the trainer, in processes or on other machines.

Each plays its share of a round with the weights that came with it: a `Player`, and so one of TorchRL's collectors, in
every one. A share is handed over whole, when it is played; so of a collector that dies nothing is kept, and its
share is played again by the one that takes its place.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, replace
from typing import Any

from vlmq.api import UserError
from vlmq.rollout.backends import Handle, HostDied
from vlmq.rollout.host import Order, Played, Weights

_TRIES = 3
"""How often a share is played before the run is ended, each time by a fresh collector."""
_LOOK_S = 5.0
"""How often it is looked why a collector does not answer."""
_TELL_S = 60.0
log = logging.getLogger(__name__)


class Fleet:
    """Plays rounds of episodes by several collectors. Starts them when first asked; close it.

    Args:
        start: makes one collector.
        count: how many.
        share: puts weights where all collectors get at them, once a version; what it gives is sent to each.

    Attributes:
        count: as given.
    """

    def __init__(
        self,
        start: Callable[[], Handle],
        count: int,
        *,
        share: Callable[[Weights], Any] = lambda weights: weights,
    ) -> None:
        self.count = count
        self._start, self._share = start, share
        self._shared: tuple[int, Any] | None = None
        self._hosts: list[Handle] = []
        self._holds: list[int | None] = []
        self._begun: dict[int, list[_Asked]] = {}
        self._finish = weakref.finalize(self, _kill_all, self._hosts)

    @property
    def asynchronous(self) -> bool:
        """Whether episodes depend on timing in their last digits; starts the collectors."""
        return bool(self._answer(self._ask(_Question(0))))

    def begin(self, number: int, order: Order, weights: Weights) -> None:
        """Have a round played from now on.

        Args:
            number: of the round, by which it is finished.
            order: all of it.
            weights: of the order's version; they are sent to whom they are new.
        """
        if self._shared is None or self._shared[0] != order.version:
            self._shared = order.version, self._share(weights)
        dealt = [order.indices[host :: self.count] for host in range(self.count)]
        self._begun[number] = [
            self._ask(_Question(host, replace(order, indices=indices), self._shared[1]))
            for host, indices in enumerate(dealt)
            if indices
        ]

    def finish(self, number: int) -> Iterator[Played]:
        """What a round that was begun has brought, share by share in order, awaited."""
        for share in self._begun.pop(number):
            yield self._answer(share)

    def drop(self) -> None:
        """Forget what was begun and not finished."""
        self._begun.clear()

    def close(self) -> None:
        """End every collector. Idempotent."""
        self._begun.clear()
        self._shared = None
        _kill_all(self._hosts)
        self._holds.clear()

    def _ask(self, question: _Question) -> _Asked:
        if not self._hosts:
            self._hosts.extend(self._start() for _ in range(self.count))
            self._holds.extend([None] * self.count)
        host, order = question.host, question.order
        handle = self._hosts[host]
        if order is None:
            return _Asked(question, handle, handle.ask("asynchronous"))
        known = self._holds[host] == order.version
        self._holds[host] = order.version
        return _Asked(question, handle, handle.ask("play", order, None if known else question.weights))

    def _answer(self, asked: _Asked) -> Any:
        """What a collector answers, awaited; one that dies is replaced, and asked again."""
        host = asked.question.host
        who = f"collector {host + 1} of {self.count}"
        tries, since, trouble = 1, time.monotonic(), ""
        told = since
        while True:
            try:
                answer = asked.answer.result(_LOOK_S)
                if trouble:
                    log.warning("%s has answered", who)
                return answer
            except Late:
                before, trouble = trouble, asked.handle.trouble()
                now = time.monotonic()
                if trouble != before or now - told >= _TELL_S:
                    told = now
                    why = f": {trouble}" if trouble else " again" if before else ""
                    log.warning("waiting for %s%s, for %.0f s now", who, why, now - since)
            except HostDied as error:
                if tries == _TRIES:
                    raise UserError(
                        f"{who} ended {tries} times in a row, at last because {error}; "
                        "see what it said above."
                    ) from error
                log.warning("%s is replaced: %s", who, error)
                if self._hosts[host] is asked.handle:  # else it has been, for another share
                    asked.handle.kill()
                    self._hosts[host], self._holds[host] = self._start(), None
                asked, tries = self._ask(asked.question), tries + 1


@dataclass(frozen=True, eq=False)
class _Question:
    """For which collector; a share to play with which weights, or None to ask whether it is asynchronous."""

    host: int
    order: Order | None = None
    weights: Any = None


@dataclass(frozen=True, eq=False)
class _Asked:
    question: _Question
    handle: Handle
    answer: Future[Any]


def _kill_all(hosts: list[Handle]) -> None:
    while hosts:
        hosts.pop().kill()
