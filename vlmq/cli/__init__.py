"""The command line: light verbs answered here, heavy ones handed to `vlmq.train.cli` only when asked for.

Importing this package needs the standard library alone, so `vlmq --help` answers at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence

from vlmq.cli import author, configs, data, doctor, envs, runs, serve, watch
from vlmq.cli.words import Verb, Wrong, choose

HELP = """\
vlmq turns a vision-language model into an agent: it learns from recorded play, good and bad, and then from
its own.

usage: vlmq VERB [ARGUMENTS]

Learn and measure (a yaml file says with which model, environment and data)
  fit       --config FILE      train an agent; with --dry-run only say whether it fits the memory
  validate  --config FILE      play with a trained agent, and print how often it succeeds
  collect   --config FILE      play and record episodes, to learn from later

  report    RUN | STORE        see episodes as the critic does, turn by turn, on one page (HTML)
  play      RUN                watch a trained agent play: in this terminal, as a GIF or a page
  compare   RUN RUN ...        whether runs differ, with intervals over seeds
  rank      RUN RUN ...        which run is best, told from recorded episodes without playing
  export    RUN DIR            the trained agent as a plain Hugging Face model

Look around
  envs      [list]             the environments installed here
  envs      show ID            what one of them shows, rewards and needs
  envs      play ID            play it yourself, in this terminal
  serve     ID                 let agents elsewhere play it, as remote://HOST:PORT/ID
  configs   [list | show NAME] the configurations that ship with vlmq
  configs   copy NAME [DEST]   one of them, for you to edit
  data      info STORE         what a folder of recorded episodes holds (stats: in tables)
  data      lint PATH          every damage in recorded episodes, by name
  data      convert FROM TO    episodes of your own, of others and of other formats: in and out
  doctor                       what this machine and installation are, and what wants mending

Write an environment of your own
  new-env   NAME               a package that works, for you to put your rules in
  check     ID                 does it keep the contract? If not: what was seen, what to mend

  --version, --help            `vlmq VERB --help` explains one verb

The first thing to try, minutes on a laptop without a GPU:

  vlmq fit --config configs/quickstart.yaml
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 is done, 1 the machine (or vlmq) failed, 2 the user's input was wrong, 130 Ctrl-C, 143 SIGTERM.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # what an environment says, or a file is called, may hold what this terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stop:
        print("; ".join(["vlmq: stopped", *getattr(stop, "__notes__", [])]), file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:
        # The reader went away, as in `vlmq envs | head`; nothing is left to say, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Wrong as wrong:
        print(f"vlmq: {wrong}", file=sys.stderr)
        return 2
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
    return choose(VERBS, args, "vlmq", "`vlmq --help` explains all")


def _train(verb: str) -> Verb:
    def run(args: list[str]) -> int:
        from vlmq.train.cli import main as run_heavy

        return run_heavy([verb, *args])

    return run


VERBS: dict[str, Verb] = {
    "fit": _train("fit"),
    "validate": _train("validate"),
    "collect": _train("collect"),
    "report": runs.report,
    "play": watch.play,
    "compare": runs.compare,
    "rank": runs.rank,
    "export": runs.export,
    "envs": envs.envs,
    "serve": serve.serve,
    "configs": configs.configs,
    "data": data.data,
    "doctor": doctor.doctor,
    "new-env": author.new_env,
    "check": author.check,
}
