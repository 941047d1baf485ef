"""Draw episodes of a dataset as one picture: a row each, its turns from left to right, the actions beneath.

python benchmarks/episode_pictures.py runs/miniwob/replay --out docs/miniwob.png --envs miniwob/login-user-v1 ...
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from vlmq.api import Episode
from vlmq.data.store import EpisodeStore

_MOST = 4
"""Turns drawn of one episode, the last ones left out."""


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


def draw(episodes: list[Episode], out: Path) -> None:
    """Write the picture."""
    columns = max(min(_MOST, episode.num_turns) + 1 for episode in episodes)
    figure, axes = plt.subplots(
        len(episodes), columns, figsize=(2.2 * columns, 3.1 * len(episodes)), squeeze=False
    )
    for row, episode in zip(axes, episodes, strict=True):
        for place, axis in enumerate(row):
            axis.set_axis_off()
            if place > min(_MOST, episode.num_turns):
                continue
            image = episode.observations[place].image
            if image is not None:
                axis.imshow(image, interpolation="nearest")
            if place < episode.num_turns:
                axis.set_title("\n".join(textwrap.wrap(episode.turns[place].action, 26)), fontsize=8, y=-0.16)
            else:
                axis.set_title(f"reward {episode.episode_return:g}", fontsize=8, y=-0.16)
        row[0].text(0, -6, f"{episode.env_id}, seed {episode.seed}", fontsize=7, color="0.4")
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    print(f"{len(episodes)} episodes drawn in {out}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--envs", nargs="+", required=True)
    parser.add_argument("--last", action="store_true", help="the last episode of each rather than the first")
    arguments = parser.parse_args()
    draw(choose(EpisodeStore.open(arguments.dataset), arguments.envs, last=arguments.last), arguments.out)


if __name__ == "__main__":
    main()
