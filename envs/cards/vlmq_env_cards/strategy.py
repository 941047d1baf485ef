"""Blackjack worked out exactly: chances against an infinite deck, and when to hit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

CHANCE = dict.fromkeys(range(1, 10), 1 / 13) | {10: 4 / 13}
"""How likely each worth is to be dealt; the ace counts 1 here."""

Outcome = tuple[float, float]
"""Chances of a win and of a loss."""

Hits = Callable[[int, bool, int], float]
"""How likely a player is to hit, from total, soft, and the worth of the dealer's card."""


def hand(worths: Sequence[int]) -> tuple[int, bool]:
    """Total of a hand, and whether it is soft: an ace in it counts 11."""
    total = sum(worths)
    soft = 1 in worths and total + 10 <= 21
    return total + 10 * soft, soft


def add(total: int, soft: bool, worth: int) -> tuple[int, bool]:
    """The hand with one more card."""
    hard = total - 10 * soft + worth
    ace = soft or worth == 1
    return (hard + 10, True) if ace and hard + 10 <= 21 else (hard, False)


@cache
def dealer_totals(total: int, soft: bool) -> dict[int, float]:
    """How likely the dealer is to end at each total from 17 to 21; 22 stands for more."""
    if total >= 17:
        return {min(total, 22): 1.0}
    ends: dict[int, float] = {}
    for worth, chance in CHANCE.items():
        for end, share in dealer_totals(*add(total, soft, worth)).items():
            ends[end] = ends.get(end, 0.0) + chance * share
    return ends


@cache
def standing(total: int, shows: int) -> Outcome:
    """Chances of a win and of a loss for who stands at `total`, the dealer showing a card of this worth."""
    ends = dealer_totals(*hand([shows]))
    won = sum(chance for end, chance in ends.items() if end > 21 or end < total)
    return won, sum(chance for end, chance in ends.items() if total < end <= 21)


@cache
def best(total: int, soft: bool, shows: int) -> float:
    """Mean reward of the best play from here."""
    won, lost = standing(total, shows)
    return max(won - lost, hitting(total, soft, shows))


@cache
def hitting(total: int, soft: bool, shows: int) -> float:
    """Mean reward of one more card and the best play after it."""
    reward = 0.0
    for worth, chance in CHANCE.items():
        after = add(total, soft, worth)
        reward += chance * (-1.0 if after[0] > 21 else best(*after, shows))
    return reward


def wise_to_hit(total: int, soft: bool, shows: int) -> bool:
    """Whether one more card earns more than standing, on average."""
    won, lost = standing(total, shows)
    return hitting(total, soft, shows) > won - lost


def chances(hits: Hits) -> Outcome:
    """Chances of a win and of a loss over all deals, for a player who hits with these probabilities."""

    @cache
    def from_here(total: int, soft: bool, shows: int) -> Outcome:
        if total > 21:
            return 0.0, 1.0
        hit = hits(total, soft, shows)
        won, lost = (0.0, 0.0) if hit == 1.0 else standing(total, shows)
        won, lost = (1 - hit) * won, (1 - hit) * lost
        if hit > 0.0:
            for worth, chance in CHANCE.items():
                after = from_here(*add(total, soft, worth), shows)
                won, lost = won + hit * chance * after[0], lost + hit * chance * after[1]
        return won, lost

    won = lost = 0.0
    for shows, shown in CHANCE.items():
        for first, one in CHANCE.items():
            for second, two in CHANCE.items():
                outcome = from_here(*hand([first, second]), shows)
                won, lost = won + shown * one * two * outcome[0], lost + shown * one * two * outcome[1]
    return won, lost
