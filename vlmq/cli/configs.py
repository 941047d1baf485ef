"""`vlmq configs`: the configurations that ship with vlmq."""

from __future__ import annotations

from vlmq.cli.words import Verb, Wrong, asks_for_help, choose, print_table

HELP = """\
usage: vlmq configs [list | show NAME | copy NAME [DEST]]

  list              the configurations that ship with vlmq
  show NAME         print one
  copy NAME [DEST]  copy one for you to edit: to DEST, or to configs/NAME.yaml below this folder

Every NAME works at once, without a copy: vlmq fit --config NAME
"""


def configs(args: list[str]) -> int:
    """List, show or copy."""
    if asks_for_help(args):
        print(HELP, end="")
        return 0
    verbs: dict[str, Verb] = {"list": _list, "show": _show, "copy": _copy}
    return choose(verbs, args or ["list"], "vlmq configs", "see `vlmq configs --help`")


def _list(args: list[str]) -> int:
    if args:
        raise Wrong("`vlmq configs list` takes no argument; one configuration: vlmq configs show NAME.")
    from vlmq import configs

    rows = [(name, configs.summary(name)) for name in configs.names()]
    if not rows:
        raise RuntimeError(f"this installation holds no configuration in {configs.folder()}")
    print_table(("configuration", ""), rows)
    first = rows[0][0]
    print(f"\nRun one:  vlmq fit --config configs/{first}.yaml\nEdit one: vlmq configs copy {first} my.yaml")
    return 0


def _show(args: list[str]) -> int:
    if len(args) != 1:
        raise Wrong("`vlmq configs show` takes one name; `vlmq configs` lists them.")
    from vlmq import configs

    print(configs.read(args[0]), end="")
    return 0


def _copy(args: list[str]) -> int:
    if not 1 <= len(args) <= 2:
        raise Wrong("`vlmq configs copy` takes a name and, if you like, a place: copy NAME [DEST].")
    from vlmq import configs

    target = configs.copy(*args)
    print(f"wrote {target}\nEdit it, then: vlmq fit --config {target}")
    return 0
