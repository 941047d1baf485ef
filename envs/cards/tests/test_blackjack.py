"""The rules of Blackjack, its exact chances, and the oddities of the original that it must not have."""

from __future__ import annotations

import numpy as np
import pytest
from vlmq_env_cards.blackjack import DEALER_CARDS, MOST_TURNS, Blackjack
from vlmq_env_cards.playing_cards import Card
from vlmq_env_cards.strategy import CHANCE, add, chances, dealer_totals, hand, standing, wise_to_hit

WON, DRAWN, LOST, GOING = (1.0, True, False), (0.0, True, False), (-1.0, True, False), (0.0, False, False)


def cards(ranks: str) -> list[Card]:
    return [(rank, "S") for rank in ranks.split()]


def dealt(player: str, dealer: str, stock: str = "") -> Blackjack:
    """A game with these cards; the dealer's first one shows."""
    env = Blackjack(modality="both")
    env.reset(seed=0)
    env._player, env._dealer = cards(player), [*cards(dealer), *env._dealer]
    env._stock = [*cards(stock), *env._stock]
    return env


@pytest.mark.parametrize(
    ("player", "dealer", "result"),
    [
        ("K Q", "K 9", WON),
        ("K 8", "K 8", DRAWN),
        ("K 7", "K 8", LOST),
        ("2 3", "K 6 K", WON),  # the dealer draws at 16 and goes over
        ("K 8", "A 6", WON),  # the dealer stands on a soft 17
        ("A K", "A K", DRAWN),  # a natural is 21 like any other
        ("K 9 2", "K A", DRAWN),
        ("K Q", "A 2 3 5", LOST),  # drawn at soft 13 and soft 16
    ],
)
def test_standing_compares_with_what_the_dealer_draws(
    player: str, dealer: str, result: tuple[float, ...]
) -> None:
    _, reward, terminated, truncated, info = dealt(player, dealer).step("stand")
    assert (reward, terminated, truncated) == result
    assert info["success"] == (result == WON)


def test_hitting_adds_a_card_and_over_21_loses() -> None:
    env = dealt("K 5", "K 7", stock="A 6")
    assert env.step("hit")[1:4] == GOING
    assert env.step("hit")[1:4] == LOST


def test_an_ace_counts_11_while_that_is_no_bust() -> None:
    assert hand([1, 6]) == (17, True)
    assert hand([1, 6, 10]) == (17, False)
    assert hand([1, 1]) == (12, True)
    assert hand([10, 1]) == (21, True)


def test_nothing_shows_the_hidden_card_before_the_end() -> None:
    one, other = dealt("K 5", "9 2"), dealt("K 5", "9 K")
    (seen, *_, info), (also_seen, *_, also) = one.step("?"), other.step("?")
    assert np.array_equal(seen["image"], also_seen["image"])
    assert seen["text"] == also_seen["text"]
    assert info["state_key"] == also["state_key"]
    ended, *_ = one.step("stand")
    assert "Dealer: 9 2" in ended["text"]


def test_the_same_seed_and_play_give_the_same_game() -> None:
    def played(seed: int) -> list[object]:
        env = Blackjack(modality="text")
        env.reset(seed=seed)
        return [env.step("hit")[0]["text"], env._dealer]

    assert played(5) == played(5)
    assert played(5) != played(6)


@pytest.mark.parametrize("text", ["understand", "Hit", "hit stand", "stand.", " hit"])
def test_text_that_contains_an_action_is_no_action(text: str) -> None:
    _, reward, terminated, _, info = dealt("K 5", "K 7").step(text)
    assert (reward, terminated, info["action_ok"]) == (-1.0, False, False)


def test_every_card_is_drawn_whole_and_inside_however_many() -> None:
    for count in range(2, 2 + MOST_TURNS + 1):
        env = Blackjack(variation=False)
        env.reset(seed=0)
        env._player = []
        empty = env._draw()
        shown: list[int] = []
        for number in range(1, count + 1):
            env._player = cards(" ".join(["A"] * number))
            changed = (env._draw() != empty).any(-1)
            shown.append(int(changed.sum()))
        # Each layout shows each of its cards: with one card less, fewer pixels differ from the empty table.
        env._player = cards(" ".join(["A"] * count))
        whole = env._draw()
        env._player = [*env._player[:-1], ("A", "H")]
        assert (env._draw() != whole).any(), "the last card is in the picture"


def test_the_dealer_never_runs_out_of_cards() -> None:
    def longest(total: int, soft: bool) -> int:
        return 0 if total >= 17 else 1 + max(longest(*add(total, soft, worth)) for worth in CHANCE)

    assert 1 + max(longest(*hand([shows])) for shows in CHANCE) <= DEALER_CARDS


def test_the_exact_chances() -> None:
    assert sum(CHANCE.values()) == pytest.approx(1.0)
    assert sum(dealer_totals(*hand([10])).values()) == pytest.approx(1.0)
    random = chances(lambda total, soft, shows: 0.5)
    seventeen = chances(lambda total, soft, shows: float(total < 17))
    best = chances(lambda total, soft, shows: float(wise_to_hit(total, soft, shows)))
    assert [round(100 * won, 1) for won, _ in (random, seventeen, best)] == [28.1, 40.8, 42.9]
    assert best[0] - best[1] > seventeen[0] - seventeen[1]
    assert standing(21, 10)[1] == 0.0


def test_the_expert_plays_the_known_strategy() -> None:
    # Hard 12 stands against 4 to 6, 13 to 16 against 2 to 6, 17 and more always; soft 18 hits against 9, 10, ace.
    for shows in CHANCE:
        assert wise_to_hit(11, False, shows)
        assert wise_to_hit(12, False, shows) == (shows not in (4, 5, 6))
        assert wise_to_hit(16, False, shows) == (shows not in (2, 3, 4, 5, 6))
        assert not wise_to_hit(17, False, shows)
        assert wise_to_hit(17, True, shows)
        assert not wise_to_hit(19, True, shows)


def test_play_reaches_the_chances() -> None:
    env = Blackjack(modality="text")
    env.reset(seed=1)
    won = 0
    for _ in range(4000):
        env.reset()
        over = False
        while not over:
            _, reward, over, _, _ = env.step(env.expert_action())
        won += reward > 0
    assert won / 4000 == pytest.approx(0.4295, abs=3 * (0.43 * 0.57 / 4000) ** 0.5)
