"""The import of a spec module is listened to, whichever way it takes to the network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlmq.api.imports import watched_import


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / f"heard_{tmp_path.name.replace('-', '_')}.py"
    yield path
    sys.modules.pop(path.stem, None)


@pytest.mark.parametrize(
    ("source", "heard"),
    [
        (
            "import threading\n"
            "def call():\n"
            "    with socket.socket() as s:\n"
            "        s.connect_ex(('127.0.0.1', 9))\n"
            "thread = threading.Thread(target=call)\nthread.start()\nthread.join()",
            "socket.connect to 127.0.0.1:9",
        ),
        (
            "with socket.socket(type=socket.SOCK_DGRAM) as s:\n    s.sendmsg([b'x'], [], 0, ('127.0.0.1', 9))",
            "socket.sendmsg to 127.0.0.1:9",
        ),
        ("socket.gethostbyaddr('127.0.0.1')", "socket.gethostbyaddr of 127.0.0.1"),
        ("socket.getnameinfo(('127.0.0.1', 9), 0)", "socket.getnameinfo of ('127.0.0.1', 9)"),
        ("server = socket.socket()\nserver.listen()", "socket.listen on port "),
        ("kept = socket.socket()\nclosed = socket.socket()\nclosed.listen()\nclosed.close()", None),
        ("a, b = socket.socketpair()", None),
    ],
    ids=["thread", "sendmsg", "gethostbyaddr", "getnameinfo", "listen", "unused", "local"],
)
def test_every_way_to_the_network_is_heard(module: Path, source: str, heard: str | None) -> None:
    module.write_text(f"import socket\n{source}\n")
    imported, trace = watched_import(module.stem)
    for name in ("server", "kept", "a", "b"):
        if hasattr(imported, name):
            getattr(imported, name).close()
    if heard is None:
        assert trace.network == ()
    else:
        (said,) = trace.network
        assert said.startswith(heard)
