"""`vlmq data`: recorded episodes, what they hold, whether they are sound, and the way in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlmq.cli.words import FLAG, VALUE, Given, Wrong, asks_for_help, choose, one_word, read

HELP = """\
usage: vlmq data info STORE
       vlmq data stats STORE
       vlmq data lint PATH
       vlmq data convert SOURCE TARGET [--from FORMAT] [--to FORMAT] [options]

  info     what a folder of recorded episodes holds: how many, from where, how good
  stats    the same by environment and source, with lengths, rewards, pictures and actions
  lint     every damage in a store, JSONL file, dataset or archive, by name; exit code 2 where there is one
  convert  bring episodes in from other formats, or out to them; nothing is overwritten

A run keeps its episodes in RUN/dataset and RUN/replay: vlmq data info runs/quickstart/dataset
`vlmq data import JSONL STORE` is `vlmq data convert JSONL STORE`, and goes on working.
"""

CONVERT_HELP = """\
usage: vlmq data convert SOURCE TARGET [--from FORMAT] [--to FORMAT] [options]

Formats that are written, and come back bit for bit
  store      a folder of vlmq's own, which training reads (the default)
  jsonl      one episode a line, pictures beside it (the default where TARGET ends in .jsonl)
  hf         a Hugging Face dataset in Parquet: TRL trains on its `messages` and `images`
  minari     TARGET is a new Minari dataset id, such as vlmq/cards-v0

Formats that are only read
  llava      LLaVA's and RL4VLM's fine-tuning .json
  messages   `messages` and `images` as JSON lines or Parquet: ms-swift, TRL
  agentgym   AgentGym's trajectories and evaluation files
  agentlab   BrowserGym and AgentLab traces as JSON; those that are pickles are never opened

  --from FORMAT     what SOURCE is, where it does not show
  --to FORMAT       what to write
  --drop-tokens     forget recorded tokens, which are another model's: the trainer tokenises the replies
  --skip-damaged    leave out and count damaged episodes, rather than refuse the source

For formats that are only read
  --success yes|no  whether trajectories succeeded that do not say so: demonstrations, or failed attempts
  --env ID          the environment they were played in
  --images FOLDER   what paths of pictures are relative to, where that is not the file's folder
  --action WHERE    where a reply has its action: json ("action": ...), react (Action: ...), plain (all), auto
  --rewrite FORM    give replies the form that your agent uses (model.reply_format): json, tagged or plain

vlmq data convert traj.json runs/traj --success no --rewrite json
"""


def data(args: list[str]) -> int:
    """Describe, check or convert recorded episodes."""
    if args and args[0] == "convert" and asks_for_help(args):
        print(CONVERT_HELP, end="")
        return 0
    if not args or asks_for_help(args):
        print(HELP, end="")
        return 0
    verbs = {"info": _info, "stats": _stats, "lint": _lint, "convert": _convert, "import": _import}
    return choose(verbs, args, "vlmq data", "see `vlmq data --help`")


def _info(args: list[str]) -> int:
    if len(args) != 1:
        raise Wrong("`vlmq data info` takes one folder of recorded episodes.")
    from vlmq.report.describe import describe

    print(describe(args[0]))
    return 0


def _stats(args: list[str]) -> int:
    if len(args) != 1:
        raise Wrong("`vlmq data stats` takes one folder of recorded episodes.")
    from vlmq.report.datastats import statistics

    print(statistics(args[0]))
    return 0


def _lint(args: list[str]) -> int:
    given = read(args, "vlmq data lint", "one store, file or dataset", {"--from": VALUE})
    path = one_word(given, "vlmq data lint", "one store, file or dataset", "see `vlmq data --help`")
    from vlmq.data.lint import lint

    found = lint(path, given.text("--from", "") or None)
    print("\n".join(found.lines()))
    return 2 if found.problems else 0


def _import(args: list[str]) -> int:
    if len(args) != 2:
        raise Wrong("`vlmq data import` takes a JSONL file and the folder to make: import JSONL STORE.")
    return _run(args[0], args[1], Given(), {"source_format": "jsonl", "target_format": "store"})


def _convert(args: list[str]) -> int:
    options = {
        "--from": VALUE,
        "--to": VALUE,
        "--drop-tokens": FLAG,
        "--skip-damaged": FLAG,
        "--success": VALUE,
        "--env": VALUE,
    }
    options |= {"--images": VALUE, "--action": VALUE, "--rewrite": VALUE}
    given = read(args, "vlmq data convert", "a source and a target", options)
    if len(given.words) != 2:
        raise Wrong(
            "`vlmq data convert` takes a source and a target: convert SOURCE TARGET; see `vlmq data convert --help`."
        )
    formats = {
        "source_format": given.text("--from", "") or None,
        "target_format": given.text("--to", "") or None,
    }
    return _run(given.words[0], given.words[1], given, formats)


def _run(source: str, target: str, given: Given, formats: dict[str, Any]) -> int:
    from vlmq.data.convert import convert
    from vlmq.data.foreign.tally import Choices
    from vlmq.report.describe import describe

    among = {"json": "json", "tagged": "tagged", "plain": "plain"}
    choices: dict[str, Any] = {
        "success": _one_of(given, "--success", {"yes": True, "no": False}),
        "action": _one_of(given, "--action", {n: n for n in ("auto", "json", "react", "plain")}),
        "rewrite": _one_of(given, "--rewrite", among),
        "env": given.text("--env", "") or None,
        "pictures": Path(given.text("--images", "")) if given.has("--images") else None,
    }
    report = convert(
        source,
        target,
        **formats,
        choices=Choices(**choices),
        drop_tokens=given.has("--drop-tokens"),
        skip_damaged=given.has("--skip-damaged"),
        progress=True,
    )
    print(f"{report.source_format} -> {report.target_format}: {report.lines()[0]}")
    for line in report.lines()[1:]:
        print(f"  {line}")
    if report.target_format == "store":
        print(f"\n{describe(target)}\n\nLook at it again: vlmq data info {target}")
    elif report.target_format == "hf":
        print(f"\nTrain on it elsewhere: datasets.load_dataset({str(target)!r})")
    elif report.target_format == "minari":
        print(f"\nOpen it elsewhere: minari.load_dataset({str(target)!r})")
    return 0


def _one_of(given: Given, name: str, values: dict[str, Any]) -> Any:
    if not given.has(name):
        return None
    text = given.text(name, "")
    if text not in values:
        raise Wrong(f"{name} is '{text}'; give one of {', '.join(values)}.")
    return values[text]
