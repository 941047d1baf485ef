"""`vlmq report`, `vlmq compare`, `vlmq rank` and `vlmq export`: what became of runs."""

from __future__ import annotations

from pathlib import Path

from vlmq.cli.words import FLAG, VALUE, Wrong, asks_for_help, one_word, read

REPORT_HELP = """\
usage: vlmq report WHAT [--checkpoint NAME] [--episodes N] [--episode I ...] [--against OTHER] [--out FILE] [--open]

Writes one HTML page that needs no network: results, curves, and episodes turn by turn, every token coloured by its
advantage, Q or V. What it can be made of:

  RUN, CHECKPOINT    a run's folder or a checkpoint file: its latest play and its dataset, as the critic sees them
  STORE, FILE.jsonl  recorded episodes as they are; with --checkpoint FILE as that checkpoint sees them

  --checkpoint NAME  last (the default), best, or a file: whose critic judges
  --episodes N       how many of each: 50 of a run, 1000 of a store by default
  --episode I        the one of index I alone; may be given several times
  --against OTHER    another run, checkpoint, or best: both play the same held-out episodes (12, or N), side by side;
                     with a store another store, whose episodes of the same seeds are shown beside
  --out FILE         where to; report.html in the folder by default
  --open             show the page in the browser
"""

COMPARE_HELP = """\
usage: vlmq compare RUN RUN ... [--against ROW] [--threshold S] [--markdown FILE] [--png FILE]

Whether runs differ, in success, return and syntax, with 95 % intervals over seeds, over all tasks and for each. Runs
that differ in nothing but the seed and folders are put together, and each row of their results is compared with one of
them. Only what was judged alike is compared.

  RUN              a run's folder
  --against ROW    the row to compare with; the first one by default
  --threshold S    success whose cost in updates, turns, tokens and minutes is told; 0.9 by default
  --markdown FILE  write the table there, too
  --png FILE       draw the rows' success with its intervals
"""

RANK_HELP = """\
usage: vlmq rank RUN [RUN ...] [--data STORE] [--episodes N] [--temperature T]

Estimates each run's expected return by fitted Q evaluation on recorded episodes, without playing, and sorts them.

  RUN              a run's folder (its last checkpoint), or a checkpoint file
  --data STORE     the recorded episodes; by default those that the first run learnt from
  --episodes N     how many of them, 300 by default
  --temperature T  of the policies that are evaluated; 0, greedy, by default
"""

EXPORT_HELP = """\
usage: vlmq export RUN DIR [--checkpoint NAME]

Writes a run's agent to DIR as a plain Hugging Face model: adapters merged, processor, a model card with the lines of
Python that run it, and beside them the critic with its Polyak copy. DIR is new or empty.

  RUN                a run's folder, or a checkpoint file
  --checkpoint NAME  last (the default) or best, where a folder is given
"""

_COMPARE_TAKES = "runs' folders, --against ROW, --threshold S, --markdown FILE and --png FILE"
_REPORT_TAKES = (
    "one run's folder, checkpoint or store, --checkpoint NAME, --episodes N, --episode I, --against OTHER, "
    "--out FILE and --open"
)
_REPORT_OPTIONS = {
    "--checkpoint": VALUE,
    "--episodes": VALUE,
    "--episode": VALUE,
    "--against": VALUE,
    "--out": VALUE,
    "--open": FLAG,
}
_MOST_RECORDED = 1000
_EXPORT_TAKES = "a run's folder or checkpoint, a folder to write, and --checkpoint NAME"
_RANK_TAKES = "runs, --data STORE, --episodes N and --temperature T"


def report(args: list[str]) -> int:
    """Write the page of a run or of recorded episodes."""
    if not args or asks_for_help(args):
        print(REPORT_HELP, end="")
        return 0
    given = read(args, "vlmq report", _REPORT_TAKES, _REPORT_OPTIONS)
    what = Path(one_word(given, "vlmq report", _REPORT_TAKES, "see `vlmq report --help`"))
    episodes = given.number("--episodes", 0, least=1) if given.has("--episodes") else None
    indices = [_index(text) for text in given.options.get("--episode", [])]
    against = given.text("--against", "") or None
    out = Path(given.text("--out", "")) if given.has("--out") else None
    from vlmq.report.source import is_store

    judge = given.text("--checkpoint", "")
    if not judge and is_store(what / "dataset") and not (what / "checkpoints").is_dir():
        what /= "dataset"  # a run that has only collected so far
    recorded = is_store(what) or (what.is_file() and what.suffix == ".jsonl")
    if recorded and not judge:
        from vlmq.report.browse import write_recorded

        other = Path(against) if against is not None else None
        path = write_recorded(
            what, episodes=episodes or _MOST_RECORDED, indices=indices, against=other, out=out
        )
    else:
        from vlmq.trained.look import Wanted, write_page

        if recorded and (not is_store(what) or not Path(judge).is_file() or against):
            raise Wrong(
                "recorded episodes are judged by a checkpoint file, on their own: vlmq report STORE --checkpoint FILE; "
                "of a JSONL file `vlmq data import` makes a store."
            )
        store = what if recorded else None
        wanted = Wanted(judge or "last", episodes, indices, against, store, out)
        path = write_page(judge if recorded else what, wanted)
    print(f"wrote {path}")
    if given.has("--open"):
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return 0


def _index(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise Wrong(f"--episode is '{text}'; give an episode's index, a whole number.")
    return int(text)


def compare(args: list[str]) -> int:
    """Put runs side by side."""
    if not args or asks_for_help(args):
        print(COMPARE_HELP, end="")
        return 0
    options = dict.fromkeys(("--against", "--threshold", "--markdown", "--png"), VALUE)
    given = read(args, "vlmq compare", _COMPARE_TAKES, options)
    if not given.words:
        raise Wrong(f"`vlmq compare` takes {_COMPARE_TAKES}; see `vlmq compare --help`.")
    try:
        threshold = float(given.text("--threshold", "0.9"))
    except ValueError:
        threshold = -1.0
    if not 0.0 <= threshold <= 1.0:
        raise Wrong("--threshold is a success rate between 0 and 1, 0.9 for instance.")
    from vlmq.report import compare as report
    from vlmq.report.results import aligned

    arms = report.compare(given.words)
    against = given.text("--against", arms[0].name)
    table = report.table(arms, against)
    costs = report.cost_table(arms, threshold)
    tables = [found for found in (table, report.task_table(arms), costs) if found]
    print("\n\n".join(aligned(found) for found in tables))
    if given.has("--markdown"):
        text = "\n".join(report.as_markdown(found) for found in tables)
        Path(given.text("--markdown", "")).write_text(text, encoding="utf-8")
        print(f"\nwrote {given.text('--markdown', '')}")
    if given.has("--png"):
        report.draw(arms, given.text("--png", ""))
        print(f"\nwrote {given.text('--png', '')}")
    print(f"\nLook into one: vlmq report {given.words[0]}")
    return 0


def rank(args: list[str]) -> int:
    """Sort runs by their estimated return."""
    if not args or asks_for_help(args):
        print(RANK_HELP, end="")
        return 0
    options = {"--data": VALUE, "--episodes": VALUE, "--temperature": VALUE}
    given = read(args, "vlmq rank", _RANK_TAKES, options)
    if not given.words:
        raise Wrong(f"`vlmq rank` takes {_RANK_TAKES}; see `vlmq rank --help`.")
    try:
        episodes, temperature = int(given.text("--episodes", "300")), float(given.text("--temperature", "0"))
    except ValueError:
        episodes, temperature = 0, -1.0
    if episodes < 1 or not temperature >= 0.0:
        raise Wrong("--episodes must be a whole number of at least 1, --temperature a number of at least 0.")
    from vlmq.trained.rank import rank as rank_runs
    from vlmq.trained.rank import table

    found = rank_runs(
        given.words, dataset=given.text("--data", "") or None, episodes=episodes, temperature=temperature
    )
    print(table(found))
    print(f"\nLook at the best: vlmq report {found[0].name}")
    return 0


def export(args: list[str]) -> int:
    """Write a run's agent as a plain model."""
    if not args or asks_for_help(args):
        print(EXPORT_HELP, end="")
        return 0
    given = read(args, "vlmq export", _EXPORT_TAKES, {"--checkpoint": VALUE})
    if len(given.words) != 2:
        raise Wrong(f"`vlmq export` takes {_EXPORT_TAKES}; see `vlmq export --help`.")
    from vlmq.trained.export import export as write

    folder = write(given.words[0], given.words[1], checkpoint_name=given.text("--checkpoint", "last"))
    print(f"wrote {folder}; its README.md says how plain transformers runs it")
    print(f"Train it on: vlmq fit --config configs/quickstart.yaml --model.backbone {folder}")
    return 0
