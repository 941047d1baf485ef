"""`vlmq serve`: what is wrong with it is one sentence; that it serves is tested with the runs that play there."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Vlmq


def test_help_says_how_others_get_in(vlmq: Vlmq) -> None:
    for args in ((), ("--help",)):
        done = vlmq("serve", *args)
        assert done.code == 0
        assert "remote://HOST:PORT/ID" in done.out
        assert "VLMQ_TOKEN" in done.out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--port", "7"), "takes at least one environment's ID"),
        (("line/Walk-v0", "--port", "x"), "--port is 'x'; give a whole number."),
        (("line/Walk-v0", "--port", "70000"), "--port is 70000; give a number up to 65535"),
        (("line/Walk-v0", "--prot", "7"), "did you mean --port?"),
        (("line/Wolk-v0",), "did you mean 'line/Walk-v0'?"),
        (("line/Walk-v0", "--set", "colour=red"), "has no argument 'colour'"),
        (("line/Walk-v0", "--host", "0.0.0.0"), "without a token vlmq serves this machine alone"),
        (("line/Walk-v0", "--token-file", "nowhere"), "the token file 'nowhere' cannot be read"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    vlmq: Vlmq, args: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLMQ_TOKEN", raising=False)
    assert said in vlmq("serve", *args).wrong


def test_a_port_in_use_is_one_sentence(vlmq: Vlmq) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert (
            f"cannot listen at 127.0.0.1 port {port}"
            in vlmq("serve", "line/Walk-v0", "--port", str(port)).wrong
        )
