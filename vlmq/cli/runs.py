"""`vlmq report`, `vlmq compare` and `vlmq rank`: what became of runs."""

from __future__ import annotations

from pathlib import Path

from vlmq.cli.words import FLAG, VALUE, Wrong, asks_for_help, one_word, read

REPORT_HELP = """\
usage: vlmq report RUN [--checkpoint NAME] [--episodes N] [--open]

Writes RUN/report.html: results, learning curve, and episodes with every token coloured by its advantage.

  --checkpoint NAME  last (the default), best, or a file: whose critic judges
  --episodes N       how many of the agent's own play and of the dataset, 12 each by default
  --open             show the page in the browser
"""

COMPARE_HELP = """\
usage: vlmq compare RUN RUN ... [--against ROW] [--markdown FILE] [--png FILE]

Whether runs differ, in success, return and syntax, with 95 % intervals over seeds, over all tasks and for each. Runs
that differ in nothing but the seed and folders are put together, and each row of their results is compared with one of
them. Only what was judged alike is compared.

  RUN              a run's folder
  --against ROW    the row to compare with; the first one by default
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

_COMPARE_TAKES = "runs' folders, --against ROW, --markdown FILE and --png FILE"
_REPORT_TAKES = "one run's folder, --checkpoint NAME, --episodes N, --open"
_RANK_TAKES = "runs, --data STORE, --episodes N and --temperature T"


def report(args: list[str]) -> int:
    """Write a run's page."""
    if not args or asks_for_help(args):
        print(REPORT_HELP, end="")
        return 0
    options = {"--checkpoint": VALUE, "--episodes": VALUE, "--open": FLAG}
    given = read(args, "vlmq report", _REPORT_TAKES, options)
    run = one_word(given, "vlmq report", _REPORT_TAKES, "see `vlmq report --help`")
    episodes = given.number("--episodes", 12)
    from vlmq.train.look import write_page

    path = write_page(run, checkpoint_name=given.text("--checkpoint", "last"), episodes=episodes)
    print(f"wrote {path}")
    if given.has("--open"):
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return 0


def compare(args: list[str]) -> int:
    """Put runs side by side."""
    if not args or asks_for_help(args):
        print(COMPARE_HELP, end="")
        return 0
    given = read(
        args, "vlmq compare", _COMPARE_TAKES, {"--against": VALUE, "--markdown": VALUE, "--png": VALUE}
    )
    if not given.words:
        raise Wrong(f"`vlmq compare` takes {_COMPARE_TAKES}; see `vlmq compare --help`.")
    from vlmq.report import compare as report
    from vlmq.report.results import aligned

    arms = report.compare(given.words)
    against = given.text("--against", arms[0].name)
    table = report.table(arms, against)
    tables = [found for found in (table, report.task_table(arms)) if found]
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
    from vlmq.train.rank import rank as rank_runs
    from vlmq.train.rank import table

    found = rank_runs(
        given.words, dataset=given.text("--data", "") or None, episodes=episodes, temperature=temperature
    )
    print(table(found))
    print(f"\nLook at the best: vlmq report {found[0].name}")
    return 0
