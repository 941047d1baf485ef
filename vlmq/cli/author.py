"""`vlmq new-env` and `vlmq check`: for those who write an environment."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmq.cli.words import FLAG, VALUE, Wrong, asks_for_help, one_word, read

if TYPE_CHECKING:
    from vlmq.api.testing import Check, Report

NEW_ENV_HELP = """\
usage: vlmq new-env NAME [--into FOLDER]

Writes the package of a new environment, complete and working: entry point, environment, pictures, expert, README,
tests. Until you put your own rules in, it plays a small memory task.

  NAME           lower-case, such as grid_world: ids will begin with grid_world/
  --into FOLDER  the folder to make; vlmq-env-NAME below this one by default

What exists is never overwritten. docs/environments.md leads on from there.
"""

CHECK_HELP = """\
usage: vlmq check ID [--json] [--seeds N] [--set NAME=VALUE ...]

Plays an environment in many ways and tells where it breaks the contract: what was seen, what was expected, how to
mend it. Some of it runs in fresh processes; a small environment takes seconds.

  ID                an installed environment, such as foo/Bar-v0; `vlmq envs` lists them
  --json            the report as JSON, for programs
  --seeds N         play the episodes of seeds 0 to N - 1, 20 by default, at least 2
  --set NAME=VALUE  an argument of the environment, as often as you like

Exit code 0 means that no check failed, 2 that at least one did. The same checks for pytest: EnvContract in
vlmq.api.testing; docs/conformance.md lists them all.
"""


def new_env(args: list[str]) -> int:
    """Write a package, and say what comes next."""
    if not args or asks_for_help(args):
        print(NEW_ENV_HELP, end="")
        return 0
    given = read(args, "vlmq new-env", "one NAME and --into FOLDER", {"--into": VALUE})
    name = one_word(given, "vlmq new-env", "one NAME and --into FOLDER", "see `vlmq new-env --help`")
    from vlmq.env import scaffold

    into = Path(given.text("--into", "")) if given.has("--into") else None
    folder = scaffold.new_env(name, into)
    env_id = scaffold.id_of(name)
    print(f"wrote {folder}: {env_id}, a memory task until you put your own rules in\n")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"  {path}")
    place = str(folder) if folder.is_absolute() or "/" in str(folder) else f"./{folder}"
    print("\nNext:\n")
    print(f"  pip install -e {shlex.quote(f'{place}[test]')}")
    print(f"  vlmq check {env_id}")
    print(f"  vlmq envs play {env_id}")
    print(f"  pytest {shlex.quote(str(folder))}")
    return 0


def check(args: list[str]) -> int:
    """Ask an environment everything that the contract demands."""
    if not args or asks_for_help(args):
        print(CHECK_HELP, end="")
        return 0
    takes = "one environment's ID, --json, --seeds N and --set NAME=VALUE"
    given = read(args, "vlmq check", takes, {"--json": FLAG, "--seeds": VALUE, "--set": VALUE})
    env_id = one_word(given, "vlmq check", "one environment's ID", "`vlmq envs` lists them")
    seeds, settings = range(given.number("--seeds", 20, least=2)), given.settings()
    from inspect import Parameter, signature

    from vlmq.api.testing import check_env

    parameters = signature(check_env).parameters.values()
    own = {parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY}
    if own & set(settings):
        taken = ", ".join(sorted(own & set(settings)))
        raise Wrong(f"--set cannot set {taken}: the check has settings of these names itself.")
    report = (_as_json if given.has("--json") else _as_text)(env_id, seeds, settings)
    return 0 if report.ok else 2


def _as_json(env_id: str, seeds: range, settings: Mapping[str, Any]) -> Report:
    import json
    from contextlib import redirect_stdout

    from vlmq.env.check import check

    # an environment that prints must not spoil what a program reads
    with redirect_stdout(sys.stderr):
        report = check(env_id, seeds=seeds, **settings)
    print(json.dumps(report.as_json(), indent=2))
    return report


def _as_text(env_id: str, seeds: range, settings: Mapping[str, Any]) -> Report:
    """A line for each check as soon as it is answered; those that could not be asked come last, by reason."""
    from vlmq.env.check import check

    skipped: dict[str, list[Check]] = {}

    def tell(found: Check) -> None:
        if found.status == "skipped":
            skipped.setdefault(found.seen, []).append(found)
        else:
            print(found.as_text(), flush=True)

    report = check(env_id, seeds=seeds, tell=tell, **settings)
    for reason, checks in skipped.items():
        print(checks[0].as_text() if len(checks) == 1 else f"skipped {len(checks)} checks: {reason}")
    print(f"\n{report.summary()}")
    if report.ok:
        print(f"Play it yourself: vlmq envs play {env_id}")
    return report
