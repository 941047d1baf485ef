"""The environments of a run, started when first needed, and the episodes that all processes play in them together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from vlmq.api import Episode
from vlmq.data.store import EpisodeStore
from vlmq.env import failures
from vlmq.rollout import sync
from vlmq.rollout.collector import Player
from vlmq.rollout.policies import Policy

_TOO_MANY = 9
"""Episodes given up for each that was played: with so many, a dataset is not worth learning from."""
_MOST_NAMED = 5
"""Of the episodes that one reason cost, where they are listed."""


class Arena:
    """Plays episodes by index, each process its share, and gives or stores them in order.

    Args:
        make_player: starts the environments; told what to add to their arguments, and whether to blank every
            picture.
        part: episodes that several processes play before they meet.

    Attributes:
        asynchronous: whether who answers first is replied to first, so that episodes do not repeat themselves to the
            last digit.
    """

    def __init__(self, make_player: Callable[[dict[str, Any], bool], Player], *, part: int) -> None:
        self._make_player = make_player
        self._part = part
        self._players: dict[tuple[str, bool], Player] = {}

    def play(
        self,
        policy: Policy,
        indices: Sequence[int],
        seed_of: Callable[[int], int],
        *,
        env_args: dict[str, Any] | None = None,
        blank_images: bool = False,
        title: str | None = None,
    ) -> Iterator[list[Episode]]:
        """Episodes of these indices, some at a time as they end; every process gets all of them.

        Args:
            policy: who plays.
            indices: which episodes.
            seed_of: the seed of an index.
            env_args: added to the environments' arguments.
            blank_images: replace every picture by a blank one.
            title: of the progress bar; None for none.

        Raises:
            PluginError: the environment broke in every episode.
        """
        player = self._player(env_args or {}, blank_images)
        before = len(player.discarded)
        # of a set that does not begin with its first episodes, others have been played
        works = list(indices) != list(range(len(indices)))
        about = {"source": "evaluation", "works": works}
        quiet = title is None or sync.rank() != 0 or len(indices) < 64
        done = 0
        with tqdm(total=len(indices), desc=title, unit="episode", disable=quiet or None, leave=False) as bar:
            for part in self._played(player, policy, list(indices), seed_of, about):
                done += len(part)
                bar.update(len(part))
                yield part
        lost = sync.everyone(player.discarded[before:])
        if lost and not (done or works):
            raise failures.unplayable(player.address, lost)
        settle_lost(player.discarded[before:])

    def play_into(
        self, folder: Path, policy: Policy, indices: list[int], seed_of: Callable[[int], int], *, title: str,
        **about: Any,
    ) -> list[int]:  # fmt: skip
        """Play episodes and append them to a store as they finish; gives those whose environment kept breaking.

        Args:
            folder: the store's.
            policy: who plays.
            indices: which episodes.
            seed_of: the seed of an index.
            title: of the progress bar.
            about: `source` and `policy_version`, stored with each episode.

        Raises:
            PluginError: the environment broke in every episode of the store, or in nearly every one.
        """
        player = self._player({}, False)
        before = len(player.discarded)
        about["works"] = player.works or len(EpisodeStore.open(folder)) > 0
        store_parts(
            folder, self._played(player, policy, indices, seed_of, about), total=len(indices), title=title
        )
        lost = sync.everyone(player.discarded[before:])
        if lost and len(lost) >= _TOO_MANY * (done := len(EpisodeStore.open(folder))):
            raise failures.unplayable(player.address, lost, done)
        return settle_lost(player.discarded[before:])

    @property
    def asynchronous(self) -> bool:
        """See above; starts the environments."""
        return self._player({}, False).asynchronous

    def close(self) -> None:
        """Stop the environments."""
        for player in self._players.values():
            player.close()
        self._players.clear()

    def _played(
        self, player: Player, policy: Policy, indices: list[int], seed_of: Callable[[int], int],
        about: dict[str, Any],
    ) -> Iterator[list[Episode]]:  # fmt: skip
        """Episodes as they end; where there are several processes, part by part, after each of which they meet."""
        if sync.world_size() == 1:
            yield from ([episode] for episode in player.play(policy, indices, seed_of, **about))
            return
        for start in range(0, len(indices), self._part):
            mine = sync.my_share(indices[start : start + self._part])
            yield _in_order(sync.everyone(list(player.play(policy, mine, seed_of, **about))))

    def _player(self, env_args: dict[str, Any], blank_images: bool) -> Player:
        key = json.dumps(env_args, sort_keys=True), blank_images
        if key not in self._players:
            self._players[key] = self._make_player(env_args, blank_images)
        return self._players[key]


def store_parts(folder: Path, parts: Iterable[list[Episode]], *, total: int, title: str) -> None:
    """Append episodes to a store as they come, with a progress bar; one process writes.

    Args:
        folder: the store's.
        parts: some episodes at a time.
        total: how many there will be.
        title: of the bar.
    """
    writer = EpisodeStore.open_for_append(folder) if sync.rank() == 0 else None
    quiet = sync.rank() != 0 or total < 64
    try:
        with tqdm(total=total, desc=title, unit="episode", disable=quiet or None, leave=False) as bar:
            for part in parts:
                if writer is not None:
                    writer.append_many(part)
                bar.update(len(part))
    finally:
        if writer is not None:
            writer.flush(fsync=True)
            writer.close()


def settle_lost(lost: list[tuple[int, str]]) -> list[int]:
    """Say which episodes were given up, on every process, and why, a line for each reason; gives all their indices."""
    lost = sync.everyone(lost)
    if sync.rank() == 0:
        for reason, indices in failures.grouped(lost):
            many = "episodes were" if len(indices) > 1 else "episode was"
            named = ", ".join(map(str, sorted(indices)[:_MOST_NAMED])) + ", ..." * (
                len(indices) > _MOST_NAMED
            )
            tqdm.write(f"{len(indices)} {many} given up ({named}): {reason}")
    sync.barrier()
    return [index for index, _ in lost]


def _in_order(episodes: list[Episode]) -> list[Episode]:
    return sorted(episodes, key=lambda episode: episode.index)
