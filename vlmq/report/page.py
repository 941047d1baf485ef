"""The page of `vlmq report`: one HTML file with results, curves and every episode, token by token.

Nothing is fetched: style, script and pictures lie inside, and the page's own policy (CSP) forbids any connection and
any script but ours. What an episode says is embedded as JSON that cannot end its element, and shown as text, never as
HTML.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from vlmq.api import UserError
from vlmq.report.charts import Calibration, Chart
from vlmq.report.embed import LARGEST_SIDE_PX, MAX_PICTURE_BYTES, Pictures, safe_json
from vlmq.report.results import Row
from vlmq.report.seen import SeenEpisode, SeenTurn, Token

_SCRIPTS = ("dom.js", "charts.js", "tokens.js", "episode.js", "browser.js", "main.js")


@dataclass(frozen=True)
class Head:
    """What stands above the episodes.

    Attributes:
        title: of the page.
        subtitle: what is shown, in a line.
        margin: the filter's threshold; tokens whose advantage is at most this, times their slack, are struck out. None
            where no critic looked on.
        return_range: reward that stands for 1 of Q, V and advantage.
        rows: results.
        charts: curves.
        notes: sentences that the reader must know.
        paired: whether episodes of the same seed are shown side by side at first.
    """

    title: str
    subtitle: str = ""
    margin: float | None = None
    return_range: float = 1.0
    rows: Sequence[Row] = ()
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()
    paired: bool = False


def write_page(
    path: Path, head: Head, episodes: Iterable[SeenEpisode], *, picture_bytes: int = MAX_PICTURE_BYTES
) -> int:
    """Write the page, whole or not at all; gives the number of episodes on it.

    Args:
        path: the file.
        head: what stands above the episodes.
        episodes: in the order in which they are listed; taken one by one, so that their pictures need not be in memory
            together.
        picture_bytes: room for pictures; those beyond it are left out, and a note says so.

    Raises:
        UserError: the file cannot be written there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            count = _write(file, head, episodes, picture_bytes)
        part.replace(path)
    except OSError as error:
        raise UserError(
            f"the page '{path}' cannot be written ({error.strerror or error}); name another place with --out."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _write(file: TextIO, head: Head, episodes: Iterable[SeenEpisode], picture_bytes: int) -> int:
    style = _static("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_static(name) for name in _SCRIPTS) + "\n})();\n"
    above, below = _static("page.html").split("<!-- data -->\n")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # One replacement after another would look into what was just put in.
    for piece in above.split("{{"):
        name, closes, rest = piece.partition("}}")
        known = {"title": escape(head.title), "policy": policy, "style": style}
        file.write(known[name] + rest if closes else piece)
    pictures, calibration, span = Pictures(file.write, picture_bytes), Calibration(), _Span()
    index = []
    for number, episode in enumerate(episodes):
        turns = [_turn(turn, pictures) for turn in episode.turns]
        final = None
        if episode.final_text is not None:
            final = {"image": pictures.number(episode.final_image), "prompt": episode.final_text}
        _put(file, f"e{number}", {"turns": turns, "final": final})
        calibration.see(episode)
        span.see(episode)
        index.append(_listed(episode, turns))
    calibrated = calibration.chart()
    charts = [*head.charts, *([] if calibrated is None else [calibrated])]
    notes = [*head.notes, *_about(pictures)]
    summary = {
        "title": head.title, "subtitle": head.subtitle, "margin": head.margin, "range": head.return_range,
        "rows": [_row(row) for row in head.rows], "charts": [asdict(chart) for chart in charts], "notes": notes,
        "episodes": index, "span": [span.low, span.high], "gap": _usual_gap(index), "paired": head.paired,
    }  # fmt: skip
    _put(file, "summary", summary)
    file.write(f"<script>{script}</script>\n{below}")
    return len(index)


class _Span:
    """Lowest and highest Q and V of a page: the ends of their scale."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf

    def see(self, episode: SeenEpisode) -> None:
        for turn in episode.turns:
            for token in turn.tokens:
                for value in (token.q, token.value):
                    if math.isfinite(value):
                        self.low, self.high = min(self.low, value), max(self.high, value)


def _usual_gap(index: Sequence[dict[str, Any]]) -> float:
    """Median distance of critic and outcome: what is further apart counts as disagreement."""
    gaps = [row["gap"] for row in index if row["gap"] is not None]
    return median(gaps) if gaps else 0.0


def _about(pictures: Pictures) -> list[str]:
    notes = []
    if pictures.left_out:
        notes.append(
            f"{pictures.left_out:,} pictures are left out: with them the page would be too large for a browser. Fewer "
            "episodes have room for theirs."
        )
    if pictures.shrunk:
        notes.append(f"{pictures.shrunk:,} pictures are shrunk to {LARGEST_SIDE_PX} pixels.")
    return notes


def _put(file: TextIO, name: str, value: Any) -> None:
    file.write(f'<script type="application/json" id="{name}">{safe_json(value)}</script>\n')


def _listed(episode: SeenEpisode, turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the list shows and filters, without the episode's own data."""
    return {
        "origin": episode.origin, "index": episode.index, "env": episode.env_id, "seed": episode.seed,
        "args": episode.env_args, "success": episode.success, "truncated": episode.truncated,
        "return": episode.episode_return, "turns": len(turns), "unparsed": episode.unparsed,
        "refused": episode.refused, "advantage": episode.largest_advantage, "gap": episode.disagreement,
        "version": episode.policy_version, "picture": turns[0]["image"] if turns else -1,
        "sources": sorted({turn.source for turn in episode.turns}),
    }  # fmt: skip


def _turn(turn: SeenTurn, pictures: Pictures) -> dict[str, Any]:
    return {
        "image": pictures.number(turn.image), "prompt": turn.prompt, "reply": turn.reply, "action": turn.action,
        "reward": turn.reward, "parsed": turn.parsed, "ok": turn.action_ok, "source": turn.source,
        "observed": turn.observed, "tokens": [_token(token) for token in turn.tokens],
    }  # fmt: skip


def _token(token: Token) -> list[Any]:
    """As `tokens.js` reads it: lists, for there are many."""
    return [
        token.text, token.advantage, token.q, token.value, token.log_prob, token.slack, token.behaviour,
        [[one.text, one.log_prob, one.q] for one in token.alternatives],
    ]  # fmt: skip


def _row(row: Row) -> dict[str, Any]:
    shown = {"name": row.name, "success": row.success, "low": row.low, "high": row.high}
    return {
        **shown,
        "return": row.episode_return,
        "syntax": row.syntax,
        "episodes": row.episodes,
        "seed": row.seed,
    }


def _static(name: str) -> str:
    return (files("vlmq.report") / "static" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
