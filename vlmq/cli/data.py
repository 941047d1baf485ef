"""`vlmq data`: folders of recorded episodes."""

from __future__ import annotations

from vlmq.cli.words import Wrong, asks_for_help, choose

HELP = """\
usage: vlmq data info STORE
       vlmq data import JSONL STORE

  info    what a folder of recorded episodes holds: how many, from where, how good
  import  read episodes from a JSONL file (one a line) into a new folder

A run keeps its episodes in RUN/dataset and RUN/replay: vlmq data info runs/quickstart/dataset
"""


def data(args: list[str]) -> int:
    """Describe a store, or make one."""
    if not args or asks_for_help(args):
        print(HELP, end="")
        return 0
    return choose({"info": _info, "import": _import}, args, "vlmq data", "see `vlmq data --help`")


def _info(args: list[str]) -> int:
    if len(args) != 1:
        raise Wrong("`vlmq data info` takes one folder of recorded episodes.")
    from vlmq.report.describe import describe

    print(describe(args[0]))
    return 0


def _import(args: list[str]) -> int:
    if len(args) != 2:
        raise Wrong("`vlmq data import` takes a JSONL file and the folder to make: import JSONL STORE.")
    from vlmq.data.jsonl import import_jsonl
    from vlmq.report.describe import describe

    import_jsonl(args[0], args[1])
    print(describe(args[1]))
    print(f"\nLook at it again: vlmq data info {args[1]}")
    return 0
