"""`vlmq envs play`: a person plays one episode in the terminal, seeing and typing what an agent would."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmq.cli.words import FLAG, VALUE, Given, Wrong, asks_for_help, one_word, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vlmq.env.by_hand import ByHand, Moment

HELP = """\
usage: vlmq envs play ID [--seed N] [--set NAME=VALUE ...] [--draw | --no-draw] [--pictures FOLDER]

Play one episode by hand. Each turn shows the text, the picture and the legal actions. Answer with an action's text,
as an agent would, or with its number; anything else is played, too, and the environment refuses it.

  ?  the expert's hint          q  quit (the end of the input does the same)

  --seed N           which episode, 0 by default
  --set NAME=VALUE   an argument of the environment, as often as you like: vlmq envs show ID lists them
  --draw, --no-draw  the picture in the terminal itself, or as a PNG file; a terminal that can is drawn in
  --pictures FOLDER  write the pictures there as turn-1.png, turn-2.png ...; without it, and where none is drawn, to
                     a new folder among the system's temporary ones

Works with a pipe as well: printf 'wait\\nq\\n' | vlmq envs play ID
"""

_TAKES = "one environment's ID, --seed N, --set NAME=VALUE, --draw, --no-draw and --pictures FOLDER"
_OPTIONS = {"--seed": VALUE, "--set": VALUE, "--draw": FLAG, "--no-draw": FLAG, "--pictures": VALUE}
_MOST_LISTED = 60
_LINES_BESIDE_PICTURE = 6
_ASK, _QUIT = "?", "q"


def play(args: list[str]) -> int:
    """Play one episode; how it went stands at the end."""
    if not args or asks_for_help(args):
        print(HELP, end="")
        return 0
    given = read(args, "vlmq envs play", _TAKES, _OPTIONS)
    env_id = one_word(given, "vlmq envs play", "one environment's ID", "`vlmq envs` lists them")
    seed, settings = given.number("--seed", 0), given.settings()
    if given.has("--draw") and given.has("--no-draw"):
        raise Wrong("--draw and --no-draw are opposites; give one of them.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        # whatever is typed, half a character included, must not end the game
        sys.stdin.reconfigure(errors="surrogateescape")
    from vlmq.env.by_hand import ByHand

    with ByHand(env_id, settings) as env:
        print(f"{env_id}, seed {seed}: type an action, '?' for a hint, 'q' to quit")
        turns, total, last = _episode(env, seed, Pictures(given))
    _sum_up(turns, total, last)
    again = [f"--set {shlex.quote(word)}" for word in given.options.get("--set", [])]
    print(" ".join([f"Another episode: vlmq envs play {env_id} --seed {seed + 1}", *again]))
    return 0


def _episode(env: ByHand, seed: int, pictures: Pictures) -> tuple[int, float, Moment]:
    moment, turns, total = env.reset(seed), 0, 0.0
    while True:
        print(f"\n--- turn {turns + 1} ---" if not moment.ended else "\n--- the end ---")
        print(moment.observation.text)
        if moment.observation.image is not None:
            pictures.show(moment.observation.image, turns + 1)
        if moment.ended:
            break
        print(_choices(moment.legal_actions))
        action = _answer(env, moment.legal_actions)
        if action is None:
            break
        moment = env.step(action)
        turns, total = turns + 1, total + moment.reward
        refused = "" if moment.action_ok else ", refused: no legal action"
        print(f"reward {moment.reward:g}{refused}{f' ({moment.error})' if moment.error else ''}")
    return turns, total, moment


def _answer(env: ByHand, legal: tuple[str, ...] | None) -> str | None:
    """The text of the next action; None where the player leaves. What is legal is always an action."""
    while True:
        print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not sys.stdin.isatty():
            print(line.rstrip("\n"))
        typed = line.rstrip("\r\n")
        if not line:
            return None
        if typed in (legal or ()):
            return typed
        word = typed.strip()
        if word == _QUIT:
            return None
        if word == _ASK:
            print(_hint(env))
        elif _numbered(legal) and word.isascii() and word.isdigit() and 1 <= int(word) <= len(legal or ()):
            return (legal or ())[int(word) - 1]
        elif word:
            return typed


def _hint(env: ByHand) -> str:
    from vlmq.api import PluginError

    try:
        hint = env.hint()
    except PluginError as error:
        return str(error)
    return "there is no expert to ask" if hint is None else f"the expert would say: {hint}"


def _numbered(legal: tuple[str, ...] | None) -> bool:
    """Whether actions may be named by number: not where an action is itself one."""
    return bool(legal) and not any(action.isdigit() for action in legal or ())


def listed(actions: Sequence[str]) -> str:
    """Actions in lines that fit the terminal, each action in one piece."""
    more = [f"... and {len(actions) - _MOST_LISTED} more"] if len(actions) > _MOST_LISTED else []
    # an action keeps its own blanks together when the line is broken
    words = "   ".join(part.replace(" ", "\0") for part in [*actions[:_MOST_LISTED], *more])
    width = max(40, shutil.get_terminal_size().columns)
    rows = textwrap.wrap(f"legal: {words}", width, subsequent_indent=" " * 7, break_long_words=False)
    return "\n".join(rows).replace("\0", " ")


def _choices(legal: tuple[str, ...] | None) -> str:
    if legal is None:
        return "legal: not listed here; the text says what to type"
    return listed([f"{n}) {action}" for n, action in enumerate(legal, 1)] if _numbered(legal) else legal)


def _sum_up(turns: int, total: float, last: Moment) -> None:
    if not last.ended:
        outcome = "left before the end"
    else:
        outcome = ("success" if last.success else "no success") + (", cut" if last.truncated else "")
    print(f"\n{outcome}; return {total:g}; {turns} turn{'' if turns == 1 else 's'}")


class Pictures:
    """Shows pictures as the options say: in the terminal, or as files."""

    def __init__(self, given: Given) -> None:
        from vlmq.cli import terminal

        able = terminal.can_draw(sys.stdout)
        self._draw = given.has("--draw") or (able and not given.has("--no-draw"))
        self._depth = terminal.colours(os.environ) or terminal.PALETTE
        self._folder = Path(given.text("--pictures", "")) if given.has("--pictures") else None

    def show(self, image: NDArray[np.uint8], turn: int) -> None:
        """The picture of a turn."""
        from vlmq.cli import terminal

        if self._draw:
            size = shutil.get_terminal_size()
            lines = max(8, size.lines - _LINES_BESIDE_PICTURE)
            print(terminal.drawn(image, size.columns, lines, self._depth))
        if self._folder is None and not self._draw:
            self._folder = Path(tempfile.mkdtemp(prefix="vlmq-play-"))
        if self._folder is not None:
            print(f"picture: {_save(image, self._folder / f'turn-{turn}.png')}")


def _save(image: NDArray[np.uint8], file: Path) -> Path:
    from vlmq.data.pictures import save_png

    try:
        save_png(file, image)
    except OSError as error:
        raise Wrong(
            f"the picture '{file}' cannot be written ({error.strerror}); name another place."
        ) from error
    return file
