"""The agent's own play: when a round of it is due, how much it explores, and which rounds batches are drawn from."""

from __future__ import annotations

from collections.abc import Callable

from vlmq.data.replay import TurnReplay
from vlmq.train.settings import Online

Explore = tuple[float, float]
"""Lowest and highest exploration rate; each episode has its own between them."""


class OwnPlay:
    """Rounds of own play in one store.

    What is visible at an update is a function of where the run stands, never of when it was interrupted: after an
    interrupt the store may hold more than the checkpoint knows of, which is then used and not played again.

    Args:
        settings: of the rounds.
        replay: of the store they are played into.
        play: plays the episodes with these indices into the store, exploring so much.
    """

    def __init__(
        self, settings: Online, replay: TurnReplay, play: Callable[[list[int], Explore], None]
    ) -> None:
        self.replay = replay
        self._settings, self._play = settings, play
        self._rounds = 0

    def collect(self, due: int, trained: int) -> None:
        """Play the rounds that are due and not stored yet, and show those that batches are drawn from.

        Args:
            due: rounds due by the count of updates; ignored where a replay ratio decides.
            trained: fragments of own play that all updates so far were made of.
        """
        settings = self._settings
        while self._is_due(due, trained):
            first = self._rounds * settings.episodes
            wanted = range(first, first + settings.episodes)
            self.replay.store.refresh()
            missing = [index for index in wanted if self.replay.store.position_of(index) is None]
            if missing:
                self._play(missing, exploration(settings, self._rounds))
                self.replay.store.refresh()
            self._rounds += 1
        kept = self._rounds if settings.rounds is None else settings.rounds
        self.replay.show(self._rounds * settings.episodes, max(0, self._rounds - kept) * settings.episodes)

    def _is_due(self, due: int, trained: int) -> bool:
        if self._settings.replay_ratio is None:
            return self._rounds < due
        return trained >= self._settings.replay_ratio * self._turns()

    def _turns(self) -> int:
        """Turns of the rounds so far."""
        table = self.replay.store.table
        known = table["index"] < self._rounds * self._settings.episodes
        return int(table["num_turns"][known].sum())


def exploration(settings: Online, number: int) -> Explore:
    """Between which rates the episodes of a round explore: the upper one falls to the final rate over the rounds."""
    if settings.explore_start is None:
        return settings.explore, settings.explore
    left = max(0.0, 1.0 - number / settings.explore_rounds)
    return settings.explore, settings.explore + left * (settings.explore_start - settings.explore)
