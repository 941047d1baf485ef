"""`vlmq serve`: environments of this machine, for agents elsewhere."""

from __future__ import annotations

import signal
import sys
from typing import Any

from vlmq.cli.words import VALUE, Wrong, asks_for_help, read

HELP = """\
usage: vlmq serve ID [ID ...] [--host HOST] [--port PORT] [--token-file FILE] [--most N] [--timeout S]
                  [--set NAME=VALUE ...]

Plays environments for whoever asks over the network: there, remote://HOST:PORT/ID stands in place of an id, in
`data.env` of a config and in every verb that takes an id. Each connection has an environment and a process of its own.

  --host HOST        interface to listen at: 127.0.0.1 by default, which is this machine alone; 0.0.0.0 for all
  --port PORT        7777 by default; 0 takes a free one and says which
  --token-file FILE  a file that holds the token, a line of your choice that clients must know, too; or set
                     VLMQ_TOKEN_FILE, or VLMQ_TOKEN to the token itself. Needed beyond this machine
  --token TOKEN      the token itself: whoever lists this machine's processes can read it
  --most N           environments at once, 256 by default
  --timeout S        longest turn in seconds, 600 by default; an environment that takes longer is ended
  --set NAME=VALUE   an argument of the environments, as often as you like

The token is never sent, yet nothing is encrypted: across a network that you do not trust, go through ssh -L.
"""

_TAKES = "environments' IDs, --host, --port, --token-file, --token, --most, --timeout and --set NAME=VALUE"
_OPTIONS = dict.fromkeys(
    ("--host", "--port", "--token-file", "--token", "--most", "--timeout", "--set"), VALUE
)  # fmt: skip


def serve(args: list[str]) -> int:
    """Listen until Ctrl-C."""
    if not args or asks_for_help(args):
        print(HELP, end="")
        return 0
    given = read(args, "vlmq serve", _TAKES, _OPTIONS)
    if not given.words:
        raise Wrong("`vlmq serve` takes at least one environment's ID; `vlmq envs` lists them.")
    port = given.number("--port", 7777)
    if port > 65535:
        raise Wrong(f"--port is {port}; give a number up to 65535, or 0 for a free one.")
    from vlmq.env import address
    from vlmq.env.serve import Server

    token = given.text("--token", "") or address.read_token(given.text("--token-file", ""))
    server = Server(
        given.words,
        host=given.text("--host", "127.0.0.1"),
        port=port,
        token=token,
        settings=given.settings(),
        most=given.number("--most", 256, least=1),
        timeout_s=given.number("--timeout", 600, least=1),
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    with server:
        signal.signal(signal.SIGTERM, _stop)
        for env_id in given.words:
            print(f"serving {address.SCHEME}{_in_url(server.host)}:{server.port}/{env_id}")
        asks = "clients need the token" if token else "no token, this machine alone"
        print(f"({asks}; Ctrl-C stops it)", flush=True)
        server.run()
    return 0


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _stop(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
