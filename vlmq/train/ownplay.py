"""The agent's own play: when a round of it is due, how much it explores, and which rounds batches are drawn from."""

from __future__ import annotations

from collections.abc import Callable

from vlmq.data.replay import TurnReplay
from vlmq.data.store import EpisodeStore
from vlmq.train.settings import Online

GIVEN_UP = "given_up"
"""In the store's provenance."""

Explore = tuple[float, float]
"""Lowest and highest exploration rate; each episode has its own between them."""


class OwnPlay:
    """Rounds of own play in one store.

    What is visible at an update is a function of where the run stands, never of when it was interrupted: after an
    interrupt the store may hold more than the checkpoint knows of. Whole rounds of that are used and not played
    again. Of a round that was interrupted, the stored episodes are used too where `whole` is false; else they are
    forgotten and the round is played anew, with the same replies in one batch as ever: so it comes out the same to
    the last digit.

    Args:
        settings: of the rounds.
        replay: of the store they are played into.
        play: plays the episodes of a round into the store: its number, their indices, how much they explore.
        forget: drops the stored episodes from an index on.
        whole: tells whether a round is played from its beginning or not at all.
        begin: has a round played from now on, of which `play` then awaits the end; told what `play` is told.
        ahead: rounds that are begun before they are due.
        known: rounds that the checkpoint knows of: what is missing of them, the store has lost, and it is played
            by the present policy.

    Attributes:
        replay: as given.
        rounds: how many there are.
    """

    def __init__(
        self,
        settings: Online,
        replay: TurnReplay,
        play: Callable[[int, list[int], Explore], None],
        *,
        begin: Callable[[int, list[int], Explore], None] = lambda number, indices, explore: None,
        ahead: int = 0,
        forget: Callable[[int], None] = lambda first: None,
        whole: Callable[[], bool] = lambda: False,
        known: int = 0,
    ) -> None:
        self.replay = replay
        self.rounds = 0
        self._settings, self._play, self._forget, self._whole = settings, play, forget, whole
        self._known = known
        self._begin, self._ahead = begin, ahead
        self._begun: dict[int, list[int]] = {}

    @property
    def given_up(self) -> int:
        """Episodes of the rounds so far whose environment kept breaking."""
        return sum(index < self.rounds * self._settings.episodes for index in given_up(self.replay.store))

    @property
    def turns(self) -> int:
        """Turns of the rounds so far."""
        table = self.replay.store.table
        return int(table["num_turns"][table["index"] < self.rounds * self._settings.episodes].sum())

    def collect(self, due: int, trained: int) -> None:
        """Play the rounds that are due and not stored yet, and show those that batches are drawn from.

        Args:
            due: rounds due by the count of updates; ignored where a replay ratio decides.
            trained: fragments of own play that all updates so far were made of.
        """
        settings = self._settings
        while self._is_due(due, trained):
            for number in range(self.rounds, self.rounds + 1 + self._ahead):
                if number not in self._begun:
                    self._begun[number] = self._begin_round(number)
            missing = self._begun.pop(self.rounds)
            if missing:
                self._play(self.rounds, missing, exploration(settings, self.rounds))
                self.replay.store.refresh()
            self.rounds += 1
        kept = self.rounds if settings.rounds is None else settings.rounds
        self.replay.show(self.rounds * settings.episodes, max(0, self.rounds - kept) * settings.episodes)

    def drop(self) -> None:
        """Forget the rounds that were begun and are not due yet: they will be begun anew."""
        self._begun.clear()

    def _begin_round(self, number: int) -> list[int]:
        """Have what is missing of a round played from now on; gives its indices."""
        first = number * self._settings.episodes
        wanted = range(first, first + self._settings.episodes)
        missing = self._missing(wanted)
        if 0 < len(missing) < len(wanted) and number >= self._known and self._whole():
            self._forget(first)
            missing = self._missing(wanted)
        if missing:
            self._begin(number, missing, exploration(self._settings, number))
        return missing

    def _missing(self, wanted: range) -> list[int]:
        self.replay.store.refresh()
        settled = given_up(self.replay.store)
        return [i for i in wanted if self.replay.store.position_of(i) is None and i not in settled]

    def _is_due(self, due: int, trained: int) -> bool:
        if self._settings.replay_ratio is None:
            return self.rounds < due
        return trained >= self._settings.replay_ratio * self._turns()

    def _turns(self) -> int:
        """Turns of the rounds so far."""
        table = self.replay.store.table
        known = table["index"] < self.rounds * self._settings.episodes
        return int(table["num_turns"][known].sum())


def given_up(store: EpisodeStore) -> frozenset[int]:
    """Indices of the episodes that this store will never hold, because their environment kept breaking."""
    return frozenset(store.provenance.get(GIVEN_UP, ()))


def exploration(settings: Online, number: int) -> Explore:
    """Between which rates the episodes of a round explore: the upper one falls to the final rate over the rounds."""
    if settings.explore_start is None:
        return settings.explore, settings.explore
    left = max(0.0, 1.0 - number / settings.explore_rounds)
    return settings.explore, settings.explore + left * (settings.explore_start - settings.explore)
