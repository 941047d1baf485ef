"""`vlmq play`: a trained agent plays, and somebody looks on: in the terminal, as a GIF or as a page."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmq.cli.play import Pictures
from vlmq.cli.words import FLAG, VALUE, Given, Wrong, asks_for_help, one_word, read

if TYPE_CHECKING:
    from vlmq.api import Episode, Turn
    from vlmq.report.seen import Token
    from vlmq.trained.reader import Reader
    from vlmq.trained.watch import Task

HELP = """\
usage: vlmq play RUN [--checkpoint NAME] [--env ID] [--set NAME=VALUE ...] [--episodes N] [--seed N]
                 [--temperature T] [--tokens] [--draw | --no-draw] [--pictures FOLDER] [--gif FILE] [--html FILE]

Watch a trained agent play, turn by turn: what it sees, what it replies, what its critic thinks of that, what it earns.

  RUN                a run's folder, or a checkpoint file
  --checkpoint NAME  last (the default) or best, of a run's folder
  --env ID           another environment than the run's own
  --set NAME=VALUE   an argument of the environment, as often as you like: vlmq envs show ID lists them
  --episodes N       how many, 1 by default
  --seed N           the environment's seed of the first one, N + 1 of the second ...; without it the held-out episodes
                     that the run's evaluations play
  --temperature T    of the sampling; 0, greedy, by default
  --tokens           Q, advantage and probability of each token
  --draw, --no-draw  the picture in the terminal itself, or as a PNG file; a terminal that can is drawn in
  --pictures FOLDER  write the pictures there, too
  --gif FILE         an animated picture of it all
  --html FILE        a page of it all, as `vlmq report` makes them

Play the same episode yourself: vlmq envs play ID --seed N
"""

_TAKES = "one run's folder or checkpoint and options"
_OPTIONS = {
    "--checkpoint": VALUE, "--env": VALUE, "--set": VALUE, "--episodes": VALUE, "--seed": VALUE,
    "--temperature": VALUE, "--tokens": FLAG, "--draw": FLAG, "--no-draw": FLAG, "--pictures": VALUE,
    "--gif": VALUE, "--html": VALUE,
}  # fmt: skip


def play(args: list[str]) -> int:
    """Let a checkpoint play; how it went stands at the end."""
    if not args or asks_for_help(args):
        print(HELP, end="")
        return 0
    given = read(args, "vlmq play", _TAKES, _OPTIONS)
    run = one_word(given, "vlmq play", _TAKES, "see `vlmq play --help`")
    count, temperature = given.number("--episodes", 1, least=1), _temperature(given)
    if given.has("--draw") and given.has("--no-draw"):
        raise Wrong("--draw and --no-draw are opposites; give one of them.")
    seed = given.number("--seed", 0) if given.has("--seed") else None
    from vlmq.api import Episode
    from vlmq.env.by_hand import ByHand
    from vlmq.trained import watch
    from vlmq.trained.look import reader_of

    path = watch.resolve(run, given.text("--checkpoint", "last"))
    task = _task(given, watch.task_of(watch.config_of(watch.run_of(path))), path)
    reader, played = reader_of(path), list[Episode]()
    watcher = _Watcher(reader, Pictures(given), tokens=given.has("--tokens"))
    with ByHand(task.env_id, task.env_args) as env:
        for number in range(count):
            where = task.held_out_seed(number) if seed is None else seed + number
            print(f"{'' if number == 0 else chr(10)}{task.env_id}, seed {where}, played by {path}")
            played.append(
                watch.play(
                    reader.agent, env, task, where, index=number, temperature=temperature, watcher=watcher
                )
            )
            print(f"\n{_outcome(played[-1])}")
    if count > 1:
        won = sum(episode.success for episode in played)
        mean = sum(episode.episode_return for episode in played) / count
        print(f"\n{won} of {count} episodes succeeded; mean return {mean:g}")
    _write(given, reader, played, path)
    print(f"\nThe same by hand: vlmq envs play {task.env_id} --seed {played[0].seed}")
    return 0


def _temperature(given: Given) -> float:
    try:
        value = float(given.text("--temperature", "0"))
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise Wrong(f"--temperature is '{given.text('--temperature', '')}'; give a number of at least 0.")
    return value


def _task(given: Given, own: Task | None, path: Path) -> Task:
    """The run's task with what was typed in its place."""
    from vlmq.trained.watch import Task

    env_id = given.text("--env", own.env_id if own is not None else "")
    if not env_id:
        raise Wrong(
            f"{path} does not say which environment it learnt in; name one with --env (`vlmq envs` lists them)."
        )
    if own is None or env_id != own.env_id:
        own = Task(env_id)
    return Task(env_id, {**own.env_args, **given.settings()}, own.run_seed, own.evaluation_seed)


class _Watcher:
    """Tells of each turn in the terminal."""

    def __init__(self, reader: Reader, pictures: Pictures, *, tokens: bool) -> None:
        self._reader, self._pictures, self._tokens = reader, pictures, tokens
        self._seen = 0
        from vlmq.cli import terminal

        self._coloured = sys.stdout.isatty() and terminal.colours(os.environ) > 0

    def __call__(self, turns: Sequence[Turn]) -> None:
        turn, tokens = turns[-1], self._reader.tokens(turns)
        self._seen += 1
        print(f"\n--- turn {len(turns)} ---")
        print(turn.observation.text)
        if turn.observation.image is not None:
            self._pictures.show(turn.observation.image, self._seen)
        print(f"reply: {self._spelt(turn, tokens)}")
        if tokens:
            print(f"critic: Q {tokens[-1].q:.3f} of the reply, V {tokens[0].value:.3f} before it")
        if self._tokens:
            for one in tokens:
                print(
                    f"  {one.text!r:16} Q {one.q:7.3f}  A {one.advantage:+7.3f}  p {100 * _chance(one):5.1f} %"
                )
        done = f"executed: {turn.action}" if turn.parsed else "nothing executed: the reply did not parse"
        refused = "" if turn.action_ok or not turn.parsed else ", refused: no legal action"
        print(f"{done}{refused}; reward {turn.reward:g}", flush=True)

    def _spelt(self, turn: Turn, tokens: Sequence[Token]) -> str:
        """The reply; where the terminal has colours, green where better and red where worse than the policy's mean."""
        if not self._coloured or not tokens:
            return turn.reply
        strong = 0.05  # in return ranges: less is not worth a colour
        codes = [32 if one.advantage > strong else 31 if one.advantage < -strong else 0 for one in tokens]
        return "".join(
            f"\x1b[{code}m{one.text}\x1b[0m" if code else one.text
            for code, one in zip(codes, tokens, strict=True)
        )


def _chance(token: Token) -> float:
    import math

    return math.exp(token.log_prob)


def _outcome(episode: Episode) -> str:
    outcome = ("success" if episode.success else "no success") + (", cut" if episode.truncated else "")
    turns = episode.num_turns
    return f"{outcome}; return {episode.episode_return:g}; {turns} turn{'' if turns == 1 else 's'}"


def _write(given: Given, reader: Reader, played: Sequence[Episode], path: Path) -> None:
    """The GIF and the page that were asked for."""
    if given.has("--gif"):
        from vlmq.report.film import write_gif

        target = Path(given.text("--gif", ""))
        frames = write_gif(target, played)
        print(f"wrote {target}, {frames} frames")
    if given.has("--html"):
        from vlmq.trained.look import write_played

        target = Path(given.text("--html", ""))
        write_played(target, path, reader, played)
        print(f"wrote {target}")
