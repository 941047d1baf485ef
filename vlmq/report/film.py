"""Episodes as film: each turn's picture with what was replied, executed and earned below it, one after another."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vlmq.api import Episode, UserError

_LEAST_PX, _MOST_PX, _MARGIN_PX = 320, 720, 14
_LINE_PX, _TEXT_PX = 20, 15
_MOST_LINES = 6
_TURN_MS, _END_MS = 1100, 2400
_PAPER, _INK, _SOFT, _GOOD, _BAD = "#fbfaf8", "#23262a", "#62676d", "#0f846e", "#d05226"


def write_gif(path: Path, episodes: Sequence[Episode]) -> int:
    """Write the episodes one after the other; gives the number of frames.

    Raises:
        UserError: the file cannot be written there.
    """
    shown = [frame for episode in episodes for frame in _frames(episode)]
    width = max(picture.width for picture, _ in shown)
    height = max(picture.height for picture, _ in shown)
    frames = [_on_paper(picture, width, height) for picture, _ in shown]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        frames[0].save(
            part, "GIF", save_all=True, append_images=frames[1:], duration=[ms for _, ms in shown], loop=0
        )
        part.replace(path)
    except OSError as error:
        raise UserError(
            f"the picture '{path}' cannot be written ({error.strerror or error}); name another place."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return len(frames)


def strip(episode: Episode, most: int = 8) -> NDArray[np.uint8]:
    """The episode's frames side by side, uint8 (H, W, 3): the first ones and the end, at most so many."""
    frames = [frame for frame, _ in _frames(episode)]
    frames = frames if len(frames) <= most else [*frames[: most - 1], frames[-1]]
    height = max(frame.height for frame in frames)
    paper = Image.new("RGB", (sum(frame.width for frame in frames), height), _PAPER)
    left = 0
    for frame in frames:
        paper.paste(frame, (left, 0))
        left += frame.width
    return np.asarray(paper)


def _frames(episode: Episode) -> Iterator[tuple[Image.Image, int]]:
    for number, turn in enumerate(episode.turns):
        done = f"executed {turn.action}" if turn.parsed else "did not parse, nothing executed"
        refused = "" if turn.action_ok or not turn.parsed else " (illegal)"
        lines = [
            (f"turn {number + 1}", _SOFT), (turn.reply or "(an empty reply)", _INK),
            (f"{done}{refused}; reward {turn.reward:g}", _INK if turn.valid else _BAD),
        ]  # fmt: skip
        yield _frame(turn.observation.image, turn.observation.text, lines), _TURN_MS
    final = episode.final_observation
    outcome = "success" if episode.success else "no success" + (", cut" if episode.truncated else "")
    lines = [
        (f"after {episode.num_turns} turns", _SOFT), (outcome, _GOOD if episode.success else _BAD),
        (f"return {episode.episode_return:g}", _INK),
    ]  # fmt: skip
    image, text = (None, "") if final is None else (final.image, final.text)
    yield _frame(image, text, lines), _END_MS


def _frame(image: NDArray[np.uint8] | None, text: str, lines: Sequence[tuple[str, str]]) -> Image.Image:
    """The picture, or the text where there is none, and lines below it."""
    font = ImageFont.load_default(_TEXT_PX)
    picture = None if image is None else _sized(Image.fromarray(np.ascontiguousarray(image)))
    width = max(_LEAST_PX, picture.width if picture else _LEAST_PX) + 2 * _MARGIN_PX
    letters = max(20, int((width - 2 * _MARGIN_PX) / (0.56 * _TEXT_PX)))
    above = [] if picture else [(line, _SOFT) for line in _wrapped(text, letters, 14)]
    told = [
        *above,
        *((line, colour) for said, colour in lines for line in _wrapped(said, letters, _MOST_LINES)),
    ]
    top = 0 if picture is None else picture.height + _MARGIN_PX
    frame = Image.new("RGB", (width, top + _LINE_PX * len(told) + 2 * _MARGIN_PX), _PAPER)
    if picture:
        frame.paste(picture, ((width - picture.width) // 2, _MARGIN_PX))
    pen = ImageDraw.Draw(frame)
    for number, (line, colour) in enumerate(told):
        pen.text((_MARGIN_PX, top + _MARGIN_PX + number * _LINE_PX), line, colour, font)
    return frame


def _sized(picture: Image.Image) -> Image.Image:
    """Small pictures grow by whole factors, so that their pixels stay square; large ones shrink."""
    longest = max(picture.size)
    if longest > _MOST_PX:
        factor = _MOST_PX / longest
        size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
        return picture.resize(size, Image.Resampling.BOX)
    factor = max(1, _LEAST_PX // longest)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _wrapped(text: str, letters: int, most: int) -> list[str]:
    """At most so many lines, without what cannot be drawn."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    lines = [line for part in plain.splitlines() for line in textwrap.wrap(part, letters) or [""]]
    return lines if len(lines) <= most else [*lines[: most - 1], "..."]


def _on_paper(picture: Image.Image, width: int, height: int) -> Image.Image:
    paper = Image.new("RGB", (width, height), _PAPER)
    paper.paste(picture, ((width - picture.width) // 2, 0))
    return paper.quantize(256, method=Image.Quantize.MEDIANCUT)
