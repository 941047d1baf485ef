"""`vlmq envs`: the environments installed here."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from vlmq.cli.play import listed, play
from vlmq.cli.words import VALUE, Verb, Wrong, asks_for_help, choose, one_word, print_table, read

if TYPE_CHECKING:
    from vlmq.env.by_hand import Moment

HELP = """\
usage: vlmq envs [list | show ID | play ID]

  list      every environment installed here, and every plugin that cannot be used, with the reason
  show ID   what one environment shows, rewards and needs, and its first text; its first picture with --png
  play ID   play one episode yourself, in this terminal

An environment comes with a package: `pip install vlmq-env-<name>`, and its ids appear here. `vlmq new-env` writes
such a package for you to fill, `vlmq check ID` tells what is wrong with one.
`vlmq envs show --help` and `vlmq envs play --help` say more.
"""

SHOW_HELP = """\
usage: vlmq envs show ID [--png [FILE]] [--seed N] [--set NAME=VALUE ...]

What an environment shows, rewards and needs, its arguments with their defaults, and how an episode begins.

  --png [FILE]      write its first picture as a PNG file: to FILE, whose name ends in .png, or else to this folder
                    under the id's name, such as foo-Bar-v0.png
  --seed N          which episode, 0 by default
  --set NAME=VALUE  an argument of the environment, as often as you like

Where it cannot be made on this machine, what it declares is shown all the same, with the reason.
"""

_SHOW_TAKES = "one environment's ID, --png [FILE], --seed N and --set NAME=VALUE"


def envs(args: list[str]) -> int:
    """List, show or play."""
    verbs: dict[str, Verb] = {"list": _list, "show": _show, "play": play}
    if asks_for_help(args) and args[0] not in ("show", "play"):
        print(HELP, end="")
        return 0
    return choose(verbs, args or ["list"], "vlmq envs", "see `vlmq envs --help`")


def _list(args: list[str]) -> int:
    if args:
        raise Wrong("`vlmq envs list` takes no argument; one environment: vlmq envs show ID.")
    from vlmq.env.registry import discover

    plugins = discover().plugins
    rows = [(spec.id, plugin.distribution) for plugin in plugins for spec in plugin.specs]
    if rows:
        print_table(("environment", "comes with"), rows)
    elif plugins:
        print("Environments are installed here, and none can be used.")
    else:
        print("No environment is installed here. They come with packages: pip install vlmq-env-<name>")
    for plugin in plugins:
        for warning in plugin.warnings:
            print(f"\nwarning: plugin '{plugin.name}': {warning}")
    absent = [plugin for plugin in plugins if plugin.unavailable is not None]
    if absent:
        print("\nCannot run on this machine:")
        for plugin in absent:
            print(f"  {plugin.name}/...: {plugin.unavailable}")
    broken = [plugin for plugin in plugins if plugin.reason is not None]
    if broken:
        print("\nCannot be used:")
        for plugin in broken:
            print(f"  plugin '{plugin.name}' {plugin.reason}")
    if rows:
        print(f"\nMore on one of them: vlmq envs show {rows[0][0]}")
    else:
        print("Or write your own: vlmq new-env NAME")
    return 0


def _show(args: list[str]) -> int:
    if asks_for_help(args):
        print(SHOW_HELP, end="")
        return 0
    given = read(args, "vlmq envs show", _SHOW_TAKES, {"--png": ".png", "--seed": VALUE, "--set": VALUE})
    env_id = one_word(given, "vlmq envs show", "one environment's ID", "`vlmq envs` lists them")
    seed, settings = given.number("--seed", 0), given.settings()
    from vlmq.api import UserError
    from vlmq.env import facts, registry
    from vlmq.env.by_hand import ByHand, declared_in

    spec, plugin = registry.find_spec(env_id), registry.plugin_of(env_id)
    if settings:
        registry.check_arguments(spec, settings)
    declared, spaces, reason = declared_in(registry.metadata_of(env_id)), {}, ""
    creator, first = facts.maker(spec), None
    try:
        with ByHand(env_id, settings) as env:
            declared, spaces = env.declared, facts.of_spaces(env.shape)
            first = env.reset(seed)
    except UserError as error:
        reason = str(error)
    print("\n".join(filter(None, [spec.id, facts.purpose(creator)])) + "\n")
    found = {"comes with": plugin.distribution, **spaces}
    found |= facts.of_declaration(declared) | facts.of_arguments(spec, creator)
    _print_facts(found)
    if plugin.unavailable is not None:
        print(f"\nIt cannot run on this machine: {plugin.unavailable}")
    if first is None:
        if settings or given.has("--png"):  # what was asked for was more than the facts
            raise Wrong(f"no picture and no text: {reason}")
        print(f"\nNo picture and no text: {reason}")
        return 0
    _print_start(first, seed)
    if given.has("--png"):
        _write_picture(first, env_id, given.text("--png", ""))
    if reason:  # it played, and could not be closed
        raise Wrong(reason)
    print(f"\nPlay it yourself: vlmq envs play {env_id}")
    return 0


def _print_start(first: Moment, seed: int) -> None:
    print(f"\nHow the episode of seed {seed} begins:\n")
    print(textwrap.indent(first.observation.text, "  | ", lambda line: True))
    if first.legal_actions is not None:
        print(f"\n{textwrap.indent(listed(first.legal_actions), '  ')}")


def _print_facts(found: dict[str, str]) -> None:
    width = max(map(len, found))
    for name, value in found.items():
        lines = textwrap.wrap(value, 108 - width, break_long_words=False, break_on_hyphens=False) or [""]
        for label, line in zip([name, *[""] * (len(lines) - 1)], lines, strict=True):
            print(f"  {label.ljust(width)}  {line}")


def _write_picture(first: Moment, env_id: str, given: str) -> None:
    from vlmq.data.pictures import save_png

    if first.observation.image is None:
        raise Wrong(f"no picture was written: '{env_id}' shows text alone with these arguments.")
    file = Path(given or f"{env_id.replace('/', '-')}.png")
    try:
        save_png(file, first.observation.image)
    except OSError as error:
        raise Wrong(f"'{file}' cannot be written ({error.strerror}); name another file.") from error
    print(f"\n  wrote {file}")
