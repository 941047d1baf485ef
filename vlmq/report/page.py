"""The episode page: one self-contained HTML file that shows what the agent saw, said and was worth, token by token.

Everything that comes from an episode is escaped; nothing is fetched from anywhere; no script is needed to read it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmq.report.results import Row, percent

FULL_COLOUR = 0.25
"""Advantage, as a fraction of the return range, at which a token's colour is at its strongest."""


@dataclass(frozen=True)
class Token:
    """One token of a reply.

    Attributes:
        text: what it spells.
        advantage: A, as a fraction of the return range.
        q: Q of the token, likewise.
        value: V of the state in which it was said.
        log_prob: of the present policy.
        slack: factor on the filter's margin for this token.
    """

    text: str
    advantage: float
    q: float
    value: float
    log_prob: float
    slack: float = 1.0


@dataclass(frozen=True, eq=False)
class SeenTurn:
    """One turn as the page shows it.

    Attributes:
        image: uint8 (H, W, 3), or None.
        prompt: the observation's text.
        tokens: of the reply.
        action: what was executed; "" where the reply held none.
        reward: of the turn.
        valid: whether the reply parsed and its action was legal.
        source: who replied.
    """

    image: NDArray[np.uint8] | None
    prompt: str
    tokens: Sequence[Token]
    action: str
    reward: float
    valid: bool
    source: str


@dataclass(frozen=True)
class SeenEpisode:
    """One episode as the page shows it.

    Attributes:
        origin: where it comes from, "own play" for instance.
        index: of the episode in its store.
        success: whether it succeeded.
        episode_return: undiscounted.
        turns: in order.
    """

    origin: str
    index: int
    success: bool
    episode_return: float
    turns: Sequence[SeenTurn]


def page(
    title: str,
    episodes: Sequence[SeenEpisode],
    *,
    margin: float,
    rows: Sequence[Row] = (),
    curve: Path | None = None,
) -> str:
    """The whole page.

    Args:
        title: of the page.
        episodes: in the order in which they are shown.
        margin: the filter's threshold; tokens whose advantage is at most this, times their slack, are struck out.
        rows: the run's results.
        curve: a PNG of its learning curve.
    """
    parts = [f"<h1>{escape(title)}</h1>"]
    if rows:
        parts.append(_results(rows))
    if curve is not None and curve.is_file():
        parts.append(f'<img class="curve" alt="learning curve" src="{_data_uri(curve.read_bytes())}">')
    parts.append(_LEGEND.format(margin=margin))
    shown = _first_of_each_origin(episodes)
    parts += [_episode(one, margin, shown=place in shown) for place, one in enumerate(episodes)]
    if not episodes:
        parts.append("<p>There are no episodes to show.</p>")
    return _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(parts), script=_SCRIPT)


def _results(rows: Sequence[Row]) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("", "success", "95 % interval", "return", "syntax", "episodes")
    )
    lines = [
        f"<tr><th>{escape(row.name)}</th><td>{percent(row.success)}</td>"
        f"<td>{100 * row.low:.1f} to {100 * row.high:.1f}</td><td>{row.episode_return:.2f}</td>"
        f"<td>{percent(row.syntax)}</td><td>{row.episodes:,}</td></tr>"
        for row in rows
    ]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _first_of_each_origin(episodes: Sequence[SeenEpisode]) -> list[int]:
    """Where the episodes begin that are shown open."""
    origins = [episode.origin for episode in episodes]
    return [origins.index(origin) for origin in dict.fromkeys(origins)]


def _episode(episode: SeenEpisode, margin: float, *, shown: bool) -> str:
    outcome = "success" if episode.success else "failure"
    head = (
        f"{escape(episode.origin)}, episode {episode.index}: <b>{outcome}</b>, return {episode.episode_return:.2f}, "
        f"{len(episode.turns)} turns"
    )
    turns = "".join(_turn(number, turn, margin) for number, turn in enumerate(episode.turns))
    opened = " open" if shown else ""
    return f'<details class="episode {outcome}"{opened}><summary>{head}</summary>{turns}</details>'


def _turn(number: int, turn: SeenTurn, margin: float) -> str:
    picture = ""
    if turn.image is not None:
        picture = (
            f'<img class="seen" alt="what the agent saw" loading="lazy" src="{_data_uri(_png(turn.image))}">'
        )
    tokens = "".join(_token(token, margin) for token in turn.tokens)
    done = escape(turn.action) if turn.action else "nothing"
    validity = "" if turn.valid else ' <b class="bad">invalid</b>'
    return (
        f'<div class="turn">{picture}<div><p class="prompt">{escape(turn.prompt)}</p>'
        f'<p class="reply">{tokens}</p>'
        f"<p>turn {number}, by {escape(turn.source)}; executed: <code>{done}</code>{validity}; "
        f"reward {turn.reward:g}</p></div></div>"
    )


def _token(token: Token, margin: float) -> str:
    strength = min(1.0, abs(token.advantage) / FULL_COLOUR)
    hue = "good" if token.advantage > 0 else "poor"
    out = " out" if token.advantage <= margin * token.slack else ""
    told = f"A {token.advantage:+.3f}   Q {token.q:.3f}   V {token.value:.3f}   log-probability {token.log_prob:.2f}"
    return (
        f'<span class="token {hue}{out}" style="--strength:{strength:.2f}" data-a="{token.advantage:.4f}" '
        f'data-slack="{token.slack:.4f}" title="{told}">{escape(token.text)}</span>'
    )


def _png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head>
<body>{body}<script>{script}</script></body></html>
"""

_LEGEND = """<p class="legend">Each reply is coloured by advantage:
<span class="token good" style="--strength:1">better</span> or
<span class="token poor" style="--strength:1">worse</span> than what the policy does on average, in fractions of the
return range. Struck-out tokens are those the filter leaves out at a margin of
<input id="margin" type="range" min="-0.3" max="0.1" step="0.005" value="{margin}">
<output id="told">{margin}</output>: <span id="count"></span>. Hover over a token for A, Q, V and its
log-probability. Show <select id="which"><option value="">all episodes</option>
<option>success</option><option>failure</option></select>.</p>"""

_STYLE = """
:root { color-scheme: light dark; --good: 40 160 70; --poor: 215 60 60; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; text-align: right; } tr th:first-child { text-align: left; }
.curve { max-width: 100%; background: white; }
details { border-top: 1px solid #8884; padding: .4rem 0; } summary { cursor: pointer; }
.success summary b { color: rgb(var(--good)); } .failure summary b, .bad { color: rgb(var(--poor)); }
.turn { display: flex; gap: 1rem; margin: .8rem 0 .8rem 1rem; }
.turn > div { min-width: 0; } .turn p { margin: .2rem 0; overflow-wrap: anywhere; }
.seen { width: 10rem; height: 10rem; object-fit: contain; image-rendering: pixelated; flex: none; }
.prompt { opacity: .75; white-space: pre-wrap; }
.reply { font-family: ui-monospace, monospace; white-space: pre-wrap; }
.token { border-radius: .15rem; padding: .05rem 0; box-shadow: inset 0 0 0 .5px #8886; }
.token.good { background: rgb(var(--good) / calc(var(--strength) * .6)); }
.token.poor { background: rgb(var(--poor) / calc(var(--strength) * .6)); }
.token.out { text-decoration: line-through; text-decoration-thickness: .12em; }
"""

_SCRIPT = """
const margin = document.getElementById('margin'), tokens = document.querySelectorAll('[data-a]');
function filter() {
  let out = 0;
  for (const token of tokens) {
    const left = Number(token.dataset.a) <= Number(margin.value) * Number(token.dataset.slack);
    token.classList.toggle('out', left); out += left;
  }
  document.getElementById('told').textContent = margin.value;
  document.getElementById('count').textContent = `${out} of ${tokens.length} tokens`;
}
margin.addEventListener('input', filter); filter();
document.getElementById('which').addEventListener('change', event => {
  for (const episode of document.querySelectorAll('.episode'))
    episode.hidden = event.target.value && !episode.classList.contains(event.target.value);
});
"""
