"""`vlmq report` and `vlmq rank`: what became of runs."""

from __future__ import annotations

from vlmq.cli.words import FLAG, VALUE, Wrong, asks_for_help, one_word, read

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
