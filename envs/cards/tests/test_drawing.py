"""The pictures: legible, varied from episode to episode, fixed within one, and drawn whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from vlmq_env_cards.drawing import Canvas, glyph, pip, rgb
from vlmq_env_cards.ezpoints import EZPoints
from vlmq_env_cards.formula_game import Look as CardLook
from vlmq_env_cards.game import Game
from vlmq_env_cards.numberline import Look, NumberLine


def luminance(colour: NDArray[np.float32]) -> float:
    """Relative luminance as web accessibility guidelines define it, in [0, 1]."""
    linear = np.where(colour / 255 <= 0.04045, colour / 255 / 12.92, ((colour / 255 + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Contrast ratio, 1 to 21; 3 is the guideline for large letters."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("size", [32, 64, 100, 224])
@pytest.mark.parametrize("variation", [True, False])
def test_no_picture_is_one_flat_colour(game: type[Game], size: int, variation: bool) -> None:
    env = game(size=size, variation=variation)
    for seed in range(10):
        image = env.reset(seed=seed)[0]["image"]
        assert image.shape == (size, size, 3)
        assert image.std() > 10


def test_every_seed_has_its_own_picture(game: type[Game]) -> None:
    env = game()
    assert len({env.reset(seed=seed)[0]["image"].tobytes() for seed in range(60)}) == 60


def test_the_same_state_looks_different_in_another_episode() -> None:
    env = NumberLine()
    pictures: dict[object, set[bytes]] = {}
    for seed in range(200):
        observation, info = env.reset(seed=seed)
        pictures.setdefault(info["state_key"], set()).add(observation["image"].tobytes())
    assert sum(len(looks) for looks in pictures.values()) == 200
    assert max(len(looks) for looks in pictures.values()) > 5


def test_without_variation_a_state_has_one_picture() -> None:
    env = NumberLine(variation=False)
    pictures: dict[object, set[bytes]] = {}
    for seed in range(200):
        observation, info = env.reset(seed=seed)
        pictures.setdefault(info["state_key"], set()).add(observation["image"].tobytes())
    assert all(len(looks) == 1 for looks in pictures.values())
    assert len({look for looks in pictures.values() for look in looks}) == len(pictures) == 30


def test_within_an_episode_only_the_state_changes_the_picture() -> None:
    env = NumberLine()
    for seed in range(20):
        start, info = env.reset(seed=seed)
        away = "+" if info["state_key"][1] < 5 and env.expert_action() == "-" else "-"
        moved, _, terminated, _, after = env.step(away)
        if terminated or after["state_key"] == info["state_key"]:
            continue
        assert (moved["image"] != start["image"]).any()
        np.testing.assert_array_equal(moved["image"][:30], start["image"][:30])  # the target's half
        back = env.step("+" if away == "-" else "-")[0]
        np.testing.assert_array_equal(back["image"], start["image"])


def test_every_symbol_written_shows() -> None:
    env = EZPoints()
    for seed in range(20):
        frames = [env.reset(seed=seed)[0]["image"]]
        frames += [env.step(env.expert_action())[0]["image"] for _ in range(3)]
        for before, after in pairwise(frames):
            np.testing.assert_array_equal(before[:44], after[:44])  # the cards stay
            assert (np.abs(before[44:].astype(int) - after[44:]).max(axis=-1) > 60).sum() > 8


def test_a_shown_picture_never_changes_afterwards() -> None:
    env = NumberLine()
    first = env.reset(seed=0)[0]["image"]
    kept = first.copy()
    env.step(env.expert_action())
    env.reset(seed=1)
    np.testing.assert_array_equal(first, kept)


def test_ink_reads_well_on_its_background_in_every_look() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        look = Look.draw(rng, 8)
        assert contrast(look.target_ink, look.background) > 3
        assert contrast(look.current_ink, look.background) > 3
        cards = CardLook.draw(rng, EZPoints.layout, 2, 8)
        assert contrast(cards.formula_ink, cards.tray) > 3
        assert contrast(cards.black, cards.card) > 3
        assert contrast(cards.red, cards.card) > 3


def test_digits_are_20_to_24_pixels_tall_at_64() -> None:
    for height in range(20, 25):
        for weight in (0.0, 0.7):
            assert height - 1 <= glyph("4", height, weight).shape[0] <= height + 4
    rng = np.random.default_rng(0)
    assert {Look.draw(rng, 8).height for _ in range(200)} == {20.0, 21.0, 22.0, 23.0, 24.0}


def test_the_digits_differ_from_each_other() -> None:
    masks = [np.zeros((30, 30), np.float32) for _ in range(10)]
    for digit, room in enumerate(masks):
        mask = glyph(str(digit), 22, 0.35)
        room[: mask.shape[0], : mask.shape[1]] = mask
    for one in range(10):
        for other in range(one):
            assert np.abs(masks[one] - masks[other]).sum() > 30


def test_the_suits_differ_from_each_other() -> None:
    shapes = {suit: pip(suit, 10) for suit in "SHDC"}
    assert len({mask.tobytes() for mask in shapes.values()}) == 4
    assert all(6 <= side <= 10 for mask in shapes.values() for side in mask.shape)


@pytest.mark.parametrize("size", [32, 64, 224])
def test_the_longest_formula_fits_the_picture(size: int) -> None:
    # The original draws what does not fit off the canvas. A 10, a 2 and three signs are the widest row.
    env = EZPoints(size=size, variation=False)
    seed = next(s for s in range(500) if env.reset(seed=s)[1]["state_key"][0] in (("10", "2"), ("K", "2")))
    env.reset(seed=seed)
    frames = [env.step(action)[0]["image"].astype(int) for action in ("10", "*", "2", "*", "*")]
    last = np.abs(frames[-1] - frames[-2]).max(axis=-1) > 60
    assert last.sum() > 3
    assert not last[:, -1].any()


def test_ink_pushed_over_the_edge_is_moved_back_inside() -> None:
    mask = glyph("8", 20, 0.0)
    canvas = Canvas(64, rgb(0, 0, 0))
    canvas.stamp(mask, 70, -5, rgb(255, 255, 255))
    drawn = canvas._pixels[: mask.shape[0], 64 - mask.shape[1] :, 0]
    np.testing.assert_allclose(drawn, mask * 255, atol=1e-3)


def test_the_font_is_found_from_any_directory(fresh_python: Callable[[str], str]) -> None:
    # The original opens its font by a relative path.
    here = NumberLine().reset(seed=4)[0]["image"]
    program = (
        "from vlmq_env_cards.numberline import NumberLine; import hashlib; "
        "print(hashlib.sha256(NumberLine().reset(seed=4)[0]['image'].tobytes()).hexdigest())"
    )
    assert fresh_python(program) == hashlib.sha256(here.tobytes()).hexdigest()
