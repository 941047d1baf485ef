"""The command line: light verbs answered here, heavy ones handed to `vlmq.train.cli` only when asked for.

Importing this module needs the standard library alone, so `vlmq --help` answers at once.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence

Verb = Callable[[list[str]], int]

HELP = """\
vlmq turns a vision-language model into an agent: it learns from recorded play, good and bad, and then from
its own.

usage: vlmq VERB [ARGUMENTS]

Learn and measure (a yaml file says with which model, environment and data)
  fit       --config FILE      train an agent
  validate  --config FILE      play with a trained agent, and print how often it succeeds
  collect   --config FILE      play and record episodes, to learn from later

  report    RUN                see a run's episodes as its critic does, on one page (HTML)
  rank      RUN RUN ...        which run is best, told from recorded episodes without playing

Look around
  envs      [list | show ID]                      the environments installed here
  configs   [list | show NAME | copy NAME [DEST]] the configurations that ship with vlmq
  data      info STORE                            what a folder of recorded episodes holds
  data      import JSONL STORE                    turn your own episodes into such a folder

  --version, --help            `vlmq VERB --help` explains one verb

The first thing to try, minutes on a laptop without a GPU:

  vlmq fit --config configs/quickstart.yaml
"""

ENVS_HELP = """\
usage: vlmq envs [list | show ID]

  list      every environment installed here, and every plugin that cannot be used, with the reason
  show ID   what one environment shows, rewards and needs

An environment comes with a package: `pip install vlmq-env-<name>`, and its ids appear here.
"""

CONFIGS_HELP = """\
usage: vlmq configs [list | show NAME | copy NAME [DEST]]

  list              the configurations that ship with vlmq
  show NAME         print one
  copy NAME [DEST]  copy one for you to edit: to DEST, or to configs/NAME.yaml below this folder

Every NAME works at once, without a copy: vlmq fit --config NAME
"""

REPORT_HELP = """\
usage: vlmq report RUN [--checkpoint NAME] [--episodes N] [--open]

Writes RUN/report.html: results, learning curve, and episodes with every token coloured by its advantage.

  --checkpoint NAME  last (the default), best, or a file: whose critic judges
  --episodes N       how many of the agent's own play and of the dataset, 12 each by default
  --open             show the page in the browser
"""

RANK_HELP = """\
usage: vlmq rank RUN [RUN ...] [--data STORE] [--episodes N] [--temperature T]

Estimates each run's expected return by fitted Q evaluation on recorded episodes, without playing, and sorts them.

  RUN              a run's folder (its last checkpoint), or a checkpoint file
  --data STORE     the recorded episodes; by default those that the first run learnt from
  --episodes N     how many of them, 300 by default
  --temperature T  of the policies that are evaluated; 0, greedy, by default
"""

DATA_HELP = """\
usage: vlmq data info STORE
       vlmq data import JSONL STORE

  info    what a folder of recorded episodes holds: how many, from where, how good
  import  read episodes from a JSONL file (one a line) into a new folder
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 is done, 1 the machine (or vlmq) failed, 2 the user's input was wrong, 130 Ctrl-C.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stop:
        print("; ".join(["vlmq: stopped", *getattr(stop, "__notes__", [])]), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader went away, as in `vlmq envs | head`; nothing is left to say, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from vlmq.api.errors import UserError

        if isinstance(error, UserError):
            print(f"vlmq: {error}", file=sys.stderr)
            return 2
        import traceback

        traceback.print_exc()
        print("vlmq: this is not your input: the machine failed, or vlmq did (see above).", file=sys.stderr)
        return 1


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if args[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"vlmq {version('vlmq')}")
        return 0
    return _choose(_VERBS, args, "vlmq", "`vlmq --help` explains all")


def _choose(verbs: dict[str, Verb], args: list[str], before: str, more: str) -> int:
    """Run the verb that `args` begins with, or name the nearest one."""
    if args[0] in verbs:
        return verbs[args[0]](args[1:])
    near = difflib.get_close_matches(args[0], verbs, n=1, cutoff=0.5)
    hint = f"did you mean `{before} {near[0]}`?" if near else f"it knows {', '.join(verbs)};"
    return _wrong(f"`{before}` has no verb '{args[0]}'; {hint} {more}.")


def _wrong(sentence: str) -> int:
    print(f"vlmq: {sentence}", file=sys.stderr)
    return 2


def _train(verb: str) -> Verb:
    def run(args: list[str]) -> int:
        from vlmq.train.cli import main as run_heavy

        return run_heavy([verb, *args])

    return run


# envs


def _envs(args: list[str]) -> int:
    if _asks_for_help(args):
        print(ENVS_HELP, end="")
        return 0
    more = "see `vlmq envs --help`"
    return _choose({"list": _envs_list, "show": _envs_show}, args or ["list"], "vlmq envs", more)


def _envs_list(args: list[str]) -> int:
    if args:
        return _wrong("`vlmq envs list` takes no argument; one environment: vlmq envs show ID.")
    from vlmq.env.registry import discover

    plugins = discover().plugins
    rows = [(spec.id, plugin.distribution) for plugin in plugins for spec in plugin.specs]
    if rows:
        _print_table(("environment", "comes with"), rows)
    else:
        print("No environment is installed here. They come with packages: pip install vlmq-env-<name>")
    for plugin in plugins:
        for warning in plugin.warnings:
            print(f"\nwarning: plugin '{plugin.name}': {warning}")
    broken = [plugin for plugin in plugins if plugin.reason is not None]
    if broken:
        print("\nCannot be used:")
        for plugin in broken:
            print(f"  plugin '{plugin.name}' {plugin.reason}")
    if rows:
        print(f"\nMore on one of them: vlmq envs show {rows[0][0]}")
    return 0


def _envs_show(args: list[str]) -> int:
    if len(args) != 1:
        return _wrong("`vlmq envs show` takes one environment's id; `vlmq envs` lists them.")
    from vlmq.env.registry import find_spec, metadata_of, plugin_of

    spec, plugin = find_spec(args[0]), plugin_of(args[0])
    print(f"{spec.id}\n")
    facts = {"comes with": plugin.distribution}
    for name, value in (metadata_of(args[0]).get("vlmq") or {}).items():
        facts[str(name).replace("_", " ")] = _as_text(value)
    if spec.kwargs:
        facts["arguments"] = ", ".join(f"{name}={value!r}" for name, value in spec.kwargs.items())
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"  {name.ljust(width)}  {value}")
    return 0


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_as_text, value)) or "none"
    return str(value)


# configs


def _configs(args: list[str]) -> int:
    if _asks_for_help(args):
        print(CONFIGS_HELP, end="")
        return 0
    verbs: dict[str, Verb] = {"list": _configs_list, "show": _configs_show, "copy": _configs_copy}
    return _choose(verbs, args or ["list"], "vlmq configs", "see `vlmq configs --help`")


def _configs_list(args: list[str]) -> int:
    if args:
        return _wrong("`vlmq configs list` takes no argument; one configuration: vlmq configs show NAME.")
    from vlmq import configs

    rows = [(name, configs.summary(name)) for name in configs.names()]
    if not rows:
        raise RuntimeError(f"this installation holds no configuration in {configs.folder()}")
    _print_table(("configuration", ""), rows)
    first = rows[0][0]
    print(f"\nRun one:  vlmq fit --config configs/{first}.yaml\nEdit one: vlmq configs copy {first} my.yaml")
    return 0


def _configs_show(args: list[str]) -> int:
    if len(args) != 1:
        return _wrong("`vlmq configs show` takes one name; `vlmq configs` lists them.")
    from vlmq import configs

    print(configs.read(args[0]), end="")
    return 0


def _configs_copy(args: list[str]) -> int:
    if not 1 <= len(args) <= 2:
        return _wrong("`vlmq configs copy` takes a name and, if you like, a place: copy NAME [DEST].")
    from vlmq import configs

    target = configs.copy(*args)
    print(f"wrote {target}\nEdit it, then: vlmq fit --config {target}")
    return 0


# report


def _report(args: list[str]) -> int:
    if not args or _asks_for_help(args):
        print(REPORT_HELP, end="")
        return 0
    options = {"--checkpoint": "last", "--episodes": "12"}
    show, rest = "--open" in args, [arg for arg in args if arg != "--open"]
    runs = _take_options(rest, options)
    if runs is None or len(runs) != 1:
        return _wrong(
            "`vlmq report` takes one run's folder, --checkpoint NAME, --episodes N, --open; see `vlmq report --help`."
        )
    if not options["--episodes"].isdigit():
        return _wrong(f"--episodes is '{options['--episodes']}'; give a whole number.")
    from vlmq.train.look import write_page

    path = write_page(runs[0], checkpoint_name=options["--checkpoint"], episodes=int(options["--episodes"]))
    print(f"wrote {path}")
    if show:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return 0


# rank


def _rank(args: list[str]) -> int:
    if not args or _asks_for_help(args):
        print(RANK_HELP, end="")
        return 0
    options = {"--data": "", "--episodes": "300", "--temperature": "0"}
    runs = _take_options(args, options)
    if not runs:
        return _wrong(
            "`vlmq rank` takes runs, --data STORE, --episodes N and --temperature T; see `vlmq rank --help`."
        )
    try:
        episodes, temperature = int(options["--episodes"]), float(options["--temperature"])
    except ValueError:
        episodes, temperature = 0, -1.0
    if episodes < 1 or not temperature >= 0.0:
        return _wrong(
            "--episodes must be a whole number of at least 1, --temperature a number of at least 0."
        )
    from vlmq.train.rank import rank, table

    found = rank(runs, dataset=options["--data"] or None, episodes=episodes, temperature=temperature)
    print(table(found))
    print(f"\nLook at the best: vlmq report {found[0].name}")
    return 0


# data


def _data(args: list[str]) -> int:
    if not args or _asks_for_help(args):
        print(DATA_HELP, end="")
        return 0
    return _choose({"info": _data_info, "import": _data_import}, args, "vlmq data", "see `vlmq data --help`")


def _data_info(args: list[str]) -> int:
    if len(args) != 1:
        return _wrong("`vlmq data info` takes one folder of recorded episodes.")
    from vlmq.report.describe import describe

    print(describe(args[0]))
    return 0


def _data_import(args: list[str]) -> int:
    if len(args) != 2:
        return _wrong("`vlmq data import` takes a JSONL file and the folder to make: import JSONL STORE.")
    from vlmq.data.jsonl import import_jsonl
    from vlmq.report.describe import describe

    import_jsonl(args[0], args[1])
    print(describe(args[1]))
    print(f"\nLook at it again: vlmq data info {args[1]}")
    return 0


# shared


def _asks_for_help(args: list[str]) -> bool:
    return any(arg in ("-h", "--help") for arg in args)


def _take_options(args: list[str], options: dict[str, str]) -> list[str] | None:
    """Fill in the options found among the words, and give the other words; None where an option is unknown or bare."""
    words, rest = [], list(args)
    while rest:
        word = rest.pop(0)
        name, _, value = word.partition("=")
        if name in options and (value or rest):
            options[name] = value or rest.pop(0)
        elif word.startswith("-"):
            return None
        else:
            words.append(word)
    return words


def _print_table(header: tuple[str, str], rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(row[0]) for row in [header, *rows])
    for first, second in [header, *rows]:
        print(f"{first.ljust(width)}  {second}".rstrip())


_VERBS: dict[str, Verb] = {
    "fit": _train("fit"),
    "validate": _train("validate"),
    "collect": _train("collect"),
    "report": _report,
    "rank": _rank,
    "envs": _envs,
    "configs": _configs,
    "data": _data,
}

if __name__ == "__main__":
    sys.exit(main())
