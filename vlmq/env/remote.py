"""Environments that a server elsewhere plays: `remote://host:port/ID` in place of an id.

`RemoteWorker` is to the pool what a process of its own on this machine is: asked without waiting, awaited until a
deadline, dead when the connection is lost, and then replaced by a fresh one, which waits for the server to come
back. `RemoteEnv` is a plain `gymnasium.Env` over it, for whatever plays one environment at a time.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from vlmq import api
from vlmq.api import Observation, PluginError, UserError, action_space, observation_space
from vlmq.api.contract import Shape
from vlmq.env import wire
from vlmq.env.address import Address, address_of, read_token
from vlmq.env.slot import Step
from vlmq.env.worker import WorkerDied

LOOK_S = 10.0
"""How often it is looked why a server does not answer."""

_CONNECT_S = 5.0
_KNOCK_S = 3.0
_RETRY_S = 0.5
_ENV_TIMEOUT_S = 120.0
log = logging.getLogger(__name__)


class RemoteWorker:
    """One environment of a server, with the methods that a `vlmq.env.worker.Worker` has.

    Args:
        address: of the server, shared by all that play there.
        env_args: keyword arguments of the environment.
        expert: fill `Step.expert`.
        blank_images: replace every picture by a blank one, over there.
        timeout_s: for sending.
    """

    def __init__(
        self,
        address: Address,
        env_args: Mapping[str, Any],
        expert: bool,
        blank_images: bool,
        timeout_s: float,
    ) -> None:
        self.address = address
        self.shape: Shape | None = None
        self.metadata: dict[str, Any] = {}
        self.has_expert = False
        self._hello = {"id": address.env_id, "args": dict(env_args), "expert": expert, "blank": blank_images}
        self._timeout_s = timeout_s
        self._asked = 0
        self._frame: NDArray[np.uint8] | None = None
        self._link: wire.Link | None = None
        self._lost = ""
        self._queued: tuple[str, int | str] | None = None
        # Until there is a connection, something that is always ready: whoever waits then comes and asks.
        ours, theirs = socket.socketpair()
        theirs.close()
        self._nothing = ours
        self._connect()

    @property
    def connected(self) -> bool:
        """Whether the connection is there, as far as anybody has noticed."""
        return self._link is not None

    @property
    def pipe(self) -> Any:
        """Becomes readable when the server has said something, or is gone."""
        return self._nothing if self._link is None else self._link

    def wait_ready(self, deadline: float, timeout_s: float) -> Shape:
        """What the environment's spaces promise, once it is made; awaited until `deadline` (monotonic seconds).

        A server that has answered before is waited for, and asked again and again until then.

        Raises:
            UserError: the server refuses, or making the environment raised.
            WorkerDied: there is no server, or it did not answer in time.
        """
        said = ""
        while self.shape is None:
            if self._link is not None:
                try:
                    return self._take_ready(deadline)
                except (OSError, wire.Malformed) as error:
                    self._lose(error)
            if not self.address.seen or time.monotonic() + _RETRY_S >= deadline:
                raise WorkerDied(self._lost)
            if self._lost != said:
                log.warning("waiting for the environment server %s: %s", self.address, self._lost)
                said = self._lost
            time.sleep(_RETRY_S)
            self._connect()
        return self.shape

    def send(self, verb: str, argument: int | str) -> None:
        """Ask for a `reset` (of a seed) or a `step` (of an action). A lost connection shows at `receive`."""
        self._asked += 1
        if self.shape is None:
            self._queued = verb, argument  # sent once the environment is there
        else:
            self._post(verb, argument)

    def receive(self, deadline: float, timeout_s: float) -> Step:
        """The answer to the last request, awaited until `deadline` (monotonic seconds).

        Raises:
            UserError: what the environment's contract check raised.
            WorkerDied: the connection was lost, or the deadline passed; `timeout_s` is for the message.
        """
        while True:
            if self._link is None:
                raise WorkerDied(self._lost)
            try:
                while (
                    not self._link.wait(min(deadline, time.monotonic() + LOOK_S))
                    and time.monotonic() < deadline
                ):
                    self.look()
                message, png = self._read(deadline)
                if message.get("n") == self._asked:
                    _raise_error(message)
                    return self._step(message, png)
            except TimeoutError as error:
                self._lose(error)
                raise WorkerDied(f"no answer from {self.address} within {timeout_s:g} s") from error
            except (OSError, wire.Malformed) as error:
                self._lose(error)

    def look(self) -> None:
        """Say so where the server cannot be reached; called while an answer is awaited."""
        self.address.look(LOOK_S, _KNOCK_S)

    def request_close(self) -> None:
        """Ask the environment to close; `kill` follows."""
        self._asked += 1
        self._post("close", "")

    def wait_closed(self, deadline: float) -> None:
        """Wait until the environment has closed, the connection is gone, or the deadline has passed."""
        with suppress(OSError, wire.Malformed):
            while self._link is not None and self._read(deadline)[0].get("n") != self._asked:
                pass

    def kill(self) -> None:
        """Hang up, which ends the environment over there. Idempotent."""
        if self._link is not None:
            self._link.close()
            self._link, self._lost = None, "the connection was closed here"
        self._nothing.close()

    def _connect(self) -> None:
        """Connect, and say who we are and what we want; whatever fails shows when the answer is awaited."""
        link: wire.Link | None = None
        try:
            sock = socket.create_connection((self.address.host, self.address.port), timeout=_CONNECT_S)
            link = wire.Link(sock, self._timeout_s)
            deadline = time.monotonic() + wire.HELLO_TIMEOUT_S
            greeting, _ = link.receive(deadline=deadline, most=wire.MOST_REQUEST_BYTES)
            if greeting.get("version") != wire.VERSION:
                raise wire.Malformed(
                    f"it speaks version {greeting.get('version')} of the protocol, not {wire.VERSION}"
                )
            token = read_token()
            said = {"proof": wire.proof(token, str(greeting.get("nonce"))) if token else "", **self._hello}
            link.send(said)
            self._link = link
        except (OSError, wire.Malformed) as error:
            if link is not None:
                link.close()
            self._lose(error)

    def _take_ready(self, deadline: float) -> Shape:
        message, _ = self._read(deadline)
        _raise_error(message)
        try:
            ready = message["ready"]
            image = None if ready["image"] is None else tuple(map(int, ready["image"]))
            shape = Shape(image, int(ready["text_bytes"]), int(ready["action_bytes"]))  # type: ignore[arg-type]
            self.metadata, self.has_expert = {"vlmq": dict(ready["declared"])}, bool(ready["expert"])
        except (KeyError, TypeError, ValueError) as error:
            raise wire.Malformed("an answer that lacks the environment's spaces") from error
        if image is not None and (
            len(image) != 3 or image[2] != 3 or not 0 < image[0] * image[1] <= wire.MOST_PIXELS
        ):
            raise wire.Malformed(f"a picture of {image}")
        self.shape, self.address.seen = shape, True
        if self._queued is not None:
            self._post(*self._queued)
            self._queued = None
        return shape

    def _read(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        assert self._link is not None
        return self._link.receive(
            deadline=deadline,
            most=wire.MOST_ANSWER_BYTES,
            most_png=wire.MOST_PICTURE_BYTES,
            message_s=self._timeout_s,
        )

    def _post(self, verb: str, argument: int | str) -> None:
        if self._link is not None:
            # where the server is gone, the answer that never comes will say so
            with suppress(OSError):
                self._link.send({"n": self._asked, "verb": verb, "value": argument})

    def _step(self, message: dict[str, Any], png: bytes) -> Step:
        assert self.shape is not None
        try:
            text, reward, terminated, truncated, action_ok, success, legal, expert, failure, played = message[
                "step"
            ]
            if png and self.shape.image is not None:
                self._frame = self._patched(self._frame, message["rows"], png, self.shape.image)
            if self.shape.image is not None and self._frame is None:
                raise ValueError("no picture")
            return Step(
                Observation(str(text), None if self._frame is None else self._frame.copy()),
                float(reward), bool(terminated), bool(truncated), bool(action_ok), bool(success),
                None if legal is None else tuple(map(str, legal)), None if expert is None else str(expert),
                None if failure is None else str(failure), None if played is None else str(played),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise wire.Malformed(f"an answer that is no turn ({error})") from error

    @staticmethod
    def _patched(
        frame: NDArray[np.uint8] | None, rows: Any, png: bytes, shape: tuple[int, int, int]
    ) -> NDArray[np.uint8]:
        """The picture (H, W, 3) with those rows that have changed, from the first to before the last that is named."""
        top, end = map(int, rows)
        if not (0 <= top < end <= shape[0] and (frame is not None or end - top == shape[0])):
            raise ValueError(f"rows {top} to {end} of a picture of {shape[0]}")
        frame = np.empty(shape, np.uint8) if frame is None else frame
        frame[top:end] = wire.from_png(png, (end - top, *shape[1:]))
        return frame

    def _lose(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if self._link is not None:
            self._link.close()
            self._link = None
            self._lost = f"the connection to {self.address} was lost ({reason})"
        else:
            start = f"vlmq serve {self.address.env_id} --port {self.address.port}"
            self._lost = (
                f"no environment server answers at {self.address} ({reason}); start one there: `{start}`"
            )


class RemoteEnv(gymnasium.Env[dict[str, Any], str]):
    """An environment that a server elsewhere plays.

    What the framework reads of its `info` comes along; whatever else the environment puts there stays over there.
    After a lost connection the next reset connects again.

    Args:
        url: `remote://host:port/ID`.
        modality: of the environment, where it has several to choose from.
        env_args: other arguments of the environment.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # type: ignore[misc]  # gymnasium declares it for instances

    def __init__(self, url: str, modality: str | None = None, **env_args: Any) -> None:
        self._url, self._address = url, address_of(url)
        self._env_args = env_args if modality is None else {**env_args, "modality": modality}
        self._over = True
        shape = self._connect()
        height, width = (None, None) if shape.image is None else shape.image[:2]
        self.metadata = {"render_modes": [], **self._worker.metadata}  # type: ignore[misc]  # of this server's
        self.observation_space = observation_space(height, width, text_bytes=shape.text_bytes)
        self.action_space = action_space(action_bytes=shape.action_bytes)
        self._expert: str | None = None
        if self._worker.has_expert:
            self.expert_action = lambda: self._expert

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the episode of a seed, or of the next one."""
        super().reset(seed=seed)
        if not self._worker.connected:
            self._worker.kill()
            self._connect()
        # without a seed, the next of the generator's, as the environment itself would go on with its own
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        step = self._ask("reset", chosen)
        return _seen(step), _info(step)

    def step(self, action: str) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take one action."""
        if self._over:
            raise ResetNeeded("the episode is over; call reset() before step().")
        step = self._ask("step", action)
        return _seen(step), step.reward, step.terminated, step.truncated, _info(step)

    def close(self) -> None:
        """Let the server close it, and hang up."""
        self._worker.request_close()
        self._worker.wait_closed(time.monotonic() + 3.0)
        self._worker.kill()

    def _connect(self) -> Shape:
        self._worker = RemoteWorker(self._address, self._env_args, True, False, _ENV_TIMEOUT_S)
        try:
            return self._worker.wait_ready(time.monotonic() + _ENV_TIMEOUT_S, _ENV_TIMEOUT_S)
        except WorkerDied as error:
            self._worker.kill()
            raise PluginError(f"'{self._url}' cannot be played: {error}.") from error
        except BaseException:
            self._worker.kill()
            raise

    def _ask(self, verb: str, argument: int | str) -> Step:
        self._over = True  # whatever comes between here and the end
        self._worker.send(verb, argument)
        try:
            step = self._worker.receive(time.monotonic() + _ENV_TIMEOUT_S, _ENV_TIMEOUT_S)
        except WorkerDied as error:
            raise ConnectionError(str(error)) from error
        if step.failure is not None:
            raise RuntimeError(step.failure)
        self._expert, self._over = step.expert, step.ended
        return step


def _seen(step: Step) -> dict[str, Any]:
    seen: dict[str, Any] = {"text": step.observation.text}
    return seen if step.observation.image is None else {**seen, "image": step.observation.image}


def _info(step: Step) -> dict[str, Any]:
    info: dict[str, Any] = {"action_ok": step.action_ok, "legal_actions": step.legal_actions}
    if step.ended:
        info["success"] = step.success
    return info if step.played is None else {**info, "env_id": step.played}


def _raise_error(message: dict[str, Any]) -> None:
    """What went wrong over there, as the same class of error here."""
    if "error" in message:
        name, said = (*map(str, message["error"]), "", "")[:2]
        found = getattr(api, name, PluginError)
        raise (found if isinstance(found, type) and issubclass(found, UserError) else PluginError)(said)
