"""Draw episodes of a dataset as one picture: a row each, its turns from left to right, the actions beneath.

python benchmarks/episode_pictures.py runs/miniwob/replay --out docs/miniwob.png --envs miniwob/login-user-v1 ...
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vlmq.api import Episode
from vlmq.data.store import EpisodeStore

_MOST = 4
"""Turns drawn of one episode, the last ones left out."""
_GAP_PX, _LINE_PX = 8, 18


def choose(store: EpisodeStore, env_ids: list[str], *, last: bool) -> list[Episode]:
    """One episode of each id, the first or the last stored, successful ones before others."""
    found: dict[str, Episode] = {}
    for episode in store:
        known = found.get(episode.env_id)
        better = (
            known is None or episode.success > known.success or (last and episode.success == known.success)
        )
        if episode.env_id in env_ids and better:
            found[episode.env_id] = episode
    return [found[env_id] for env_id in env_ids if env_id in found]


def draw(episodes: list[Episode], out: Path, scale: int) -> None:
    """Write the picture, every observation at a whole multiple of its own pixels."""
    font = ImageFont.load_default(size=12)
    strips = [strip(episode, scale, font) for episode in episodes]
    width = max(part.width for part in strips)
    sheet = Image.new("RGB", (width, sum(part.height for part in strips)), "white")
    top = 0
    for part in strips:
        sheet.paste(part, (0, top))
        top += part.height
    sheet.save(out, optimize=True)
    print(f"{len(episodes)} episodes drawn in {out}")


def strip(episode: Episode, scale: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    """One episode: a headline, its first turns, and how it ended."""
    shown = [observation.image for observation in episode.observations[: _MOST + 1]]
    height, width = (scale * side for side in next(image for image in shown if image is not None).shape[:2])
    part = Image.new("RGB", (len(shown) * (width + _GAP_PX) + _GAP_PX, height + 4 * _LINE_PX), "white")
    pen = ImageDraw.Draw(part)
    pen.text((_GAP_PX, 2), f"{episode.env_id}, seed {episode.seed}", fill="dimgrey", font=font)
    for place, image in enumerate(shown):
        left = _GAP_PX + place * (width + _GAP_PX)
        if image is not None:
            picture = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            part.paste(picture, (left, _LINE_PX))
        pen.rectangle((left - 1, _LINE_PX - 1, left + width, _LINE_PX + height), outline="lightgrey")
        ended = place == episode.num_turns
        said = f"reward {episode.episode_return:g}" if ended else episode.turns[place].action
        lines = textwrap.wrap(said, max(8, width // 7))[:2]
        pen.multiline_text((left, height + _LINE_PX + 3), "\n".join(lines), fill="black", font=font)
    return part


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--envs", nargs="+", required=True)
    parser.add_argument("--last", action="store_true", help="the last episode of each rather than the first")
    parser.add_argument("--scale", type=int, default=1, help="how many times the pictures are enlarged")
    arguments = parser.parse_args()
    draw(
        choose(EpisodeStore.open(arguments.dataset), arguments.envs, last=arguments.last),
        arguments.out,
        arguments.scale,
    )


if __name__ == "__main__":
    main()
