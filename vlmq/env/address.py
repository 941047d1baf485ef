"""Where an environment is played: here by its id, or on a server by `remote://host:port/ID`."""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from gymnasium.envs.registration import EnvSpec

from vlmq.api import PluginError, UserError

log = logging.getLogger(__name__)

SCHEME = "remote://"
TOKEN, TOKEN_FILE = "VLMQ_TOKEN", "VLMQ_TOKEN_FILE"
"""Environment variables: the token that a server asks for, or the file that holds it."""


@dataclass
class Address:
    """Where an environment is played.

    Attributes:
        host: name or number.
        port: of the server.
        env_id: its id over there.
        seen: whether it ever answered: then it is waited for when it does not.
    """

    host: str
    port: int
    env_id: str
    seen: bool = False
    _looked: float = field(default=0.0, init=False, repr=False, compare=False)
    _away: bool = field(default=False, init=False, repr=False, compare=False)

    def look(self, every_s: float, patience_s: float) -> None:
        """Say when the server cannot be reached, and when it can be again; does nothing if it was just looked.

        Args:
            every_s: between two looks.
            patience_s: longest wait for the server.
        """
        if time.monotonic() - self._looked < every_s:
            return
        why = ""
        try:
            socket.create_connection((self.host, self.port), patience_s).close()
        except OSError as error:
            why = error.strerror or str(error)
        if bool(why) != self._away:
            self._away = bool(why)
            state = f"it cannot be reached ({why})" if why else "it can be reached again"
            log.warning("waiting for the environment server %s: %s", self, state)
        self._looked = time.monotonic()

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def is_remote(env_id: str) -> bool:
    """Whether an id names an environment elsewhere."""
    return env_id.startswith(SCHEME)


def local_id(env_id: str) -> str:
    """The id without the place: what is played is the same game, wherever it is played."""
    return address_of(env_id).env_id if is_remote(env_id) else env_id


def address_of(env_id: str) -> Address:
    """The parts of `remote://host:port/ID`.

    Raises:
        PluginError: it is not of that form.
    """
    try:
        parts = urlsplit(env_id)
        host, port, name = parts.hostname, parts.port, parts.path.strip("/")
    except ValueError:
        host, port, name = None, None, ""
    if not (host and port and "/" in name) or parts.query or parts.username:
        raise PluginError(
            f"'{env_id}' is no environment elsewhere; give remote://host:port/ID, such as"
            " remote://127.0.0.1:7777/foo/Bar-v0."
        )
    return Address(host, port, name)


def spec_of(env_id: str) -> EnvSpec:
    """A gymnasium spec of a `RemoteEnv`."""
    address = address_of(env_id)
    return EnvSpec(id=address.env_id, entry_point="vlmq.env.remote:RemoteEnv", kwargs={"url": env_id})


def read_token(file: str | None = None) -> str:
    """The token from a file, or else from the environment variables; "" where there is none.

    Raises:
        UserError: the file cannot be read, or is empty.
    """
    file = file or os.environ.get(TOKEN_FILE)
    if not file:
        return os.environ.get(TOKEN, "").strip()
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the token file '{file}' cannot be read ({error}); name one that holds one line."
        ) from error
    if not token:
        raise UserError(f"the token file '{file}' is empty; put one line of your choice into it.")
    return token
