"""What is known is drawn and told, and what nobody saw is neither."""

from __future__ import annotations

import numpy as np
import pytest
from vlmq_env_textworld import words
from vlmq_env_textworld.drawing import COLOURS, Look, Picture, glyphs, smallest
from vlmq_env_textworld.env import TextWorld
from vlmq_env_textworld.levels import LEVELS
from vlmq_env_textworld.sight import Exit, Item, Place, Sight, fog_around, lay_out

LABELS = {"coin": "C", "chest": "H", "key": "K", "door": "D", "table": "T", "apple": "A"}


def draw(sight: Sight, reach: int = 1, size: int = 64) -> np.ndarray:
    return Picture(reach, size, Look.plain(), LABELS).draw(sight)


def room(*items: Item, **exits: Exit) -> Sight:
    return Sight("hall", (Place("hall", (0, 0), exits, items),), (), ())


@pytest.mark.parametrize(
    ("challenge", "level"), [("CoinCollector", 2), ("House", 3), ("TreasureHunter", 1), ("Simple", 1)]
)
def test_the_picture_changes_exactly_with_what_the_words_tell(challenge: str, level: int) -> None:
    env = TextWorld(challenge, level=level, games=2, modality="both", max_turns=150, variation=False)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        observation, info = env.reset(seed=seed)
        told: dict[bytes, set[str]] = {}
        shown: dict[str, set[bytes]] = {}
        over = False
        while not over:
            text = "\n".join(sorted(observation["text"].split("\n")[4:]))
            pixels = observation["image"].tobytes()
            told.setdefault(pixels, set()).add(text)
            shown.setdefault(text, set()).add(pixels)
            legal = info["legal_actions"]
            observation, _, over, truncated, info = env.step(legal[int(rng.integers(len(legal)))])
            over = over or truncated
        assert {len(pictures) for pictures in shown.values()} == {1}
        # two states that read differently may look alike only beyond the map's edge or in a crowded room
        assert sum(len(texts) > 1 for texts in told.values()) <= 0.2 * len(told)


def test_what_nobody_saw_changes_neither_picture_nor_words() -> None:
    env = TextWorld("House", level=3, games=1, modality="both", variation=False)
    env.reset(seed=0)
    tale = env._tale
    before = (env._frame.copy(), env._words)
    for holder in list(tale._inside):  # empty all rooms and boxes that are out of sight
        kind = tale._infos[holder].type
        if (kind == "r" and holder != tale._here) or tale._states.get(holder) in ("closed", "locked"):
            tale._inside[holder].clear()
    env._note()
    np.testing.assert_array_equal(env._frame, before[0])
    assert env._words == before[1]


def test_a_closed_box_hides_what_an_open_one_shows() -> None:
    env = TextWorld("Simple", games=1, modality="both")
    env.reset(seed=0)
    assert "key" not in env._words
    action = env.expert_action()
    assert action is not None
    text = env.step(action)[0]["text"]
    assert f"{action.removeprefix('open ')} (open: old key)" in text
    text = env.step(action.replace("open ", "close "))[0]["text"]
    assert "old key" not in text.split("\n", 3)[3]


def test_rooms_that_were_left_stay_on_the_map() -> None:
    ways = {"a": {"north": "b", "east": "c"}, "b": {"south": "a", "west": "d"}, "d": {"east": "b"}}
    assert lay_out("a", ways, {"a", "b"}) == {"a": (0, 0), "b": (0, -1)}
    assert fog_around({"a": (0, 0), "b": (0, -1)}, ways) == ((-1, -1), (1, 0))
    assert lay_out("d", ways, {"a", "b", "d"}) == {"d": (0, 0), "b": (1, 0), "a": (1, 1)}


def test_of_two_rooms_that_claim_a_cell_the_nearer_is_drawn() -> None:
    # north, east, south, west: back on the first cell, and yet in another room
    ways = {
        "a": {"north": "b"},
        "b": {"south": "a", "east": "c"},
        "c": {"west": "b", "south": "d"},
        "d": {"north": "c", "west": "e"},
        "e": {"east": "d"},
    }
    cells = lay_out("a", ways, set(ways))
    assert cells == {"a": (0, 0), "b": (0, -1), "c": (1, -1), "d": (1, 0)}
    assert (0, 0) not in fog_around(cells, ways)


def test_a_box_a_door_and_a_mark_look_different_in_each_state() -> None:
    pictures = [draw(room(Item("chest", "container", state))) for state in ("open", "closed", "locked")]
    pictures += [
        draw(room(north=Exit(None, Item("door", "door", state)))) for state in ("open", "closed", "locked")
    ]
    pictures += [draw(room(north=Exit())), draw(room()), draw(room(east=Exit())), draw(room(south=Exit()))]
    pictures += [
        draw(room(Item("apple", "food", "", marks))) for marks in ((), ("fried",), ("sliced",), ("diced",))
    ]
    inside, beside = (
        Item("chest", "container", "open", (), (Item("coin"),)),
        Item("chest", "container", "open"),
    )
    pictures += [draw(room(inside)), draw(room(beside, Item("coin")))]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_ways_open_on_their_own_side() -> None:
    middle = {"north": (16, 24), "south": (31, 24), "west": (24, 16), "east": (24, 31)}
    for direction in middle:
        picture = draw(room(**{direction: Exit()}))
        lit = {name for name, (y, x) in middle.items() if tuple(picture[y, x]) == COLOURS["floor"]}
        assert lit == {direction}


def test_a_crowded_room_says_that_there_is_more() -> None:
    many = [Item(f"thing {index}") for index in range(40)]
    picture, fewer = draw(room(*many)), draw(room(*many[:39]))
    np.testing.assert_array_equal(picture, fewer)
    assert (picture != draw(room(*many[:5]))).any()


@pytest.mark.parametrize("size", [64, 65, 100, 200])
def test_a_larger_picture_repeats_each_dot(size: int) -> None:
    small, large = draw(room(Item("coin"))), draw(room(Item("coin")), size=size)
    times, margin = size // 64, (size - size // 64 * 64) // 2
    inner = large[margin : margin + 64 * times : times, margin : margin + 64 * times : times]
    assert large.shape == (size, size, 3)
    np.testing.assert_array_equal(inner, small)


def test_an_episode_has_a_look_of_its_own_and_keeps_it() -> None:
    env, plain = TextWorld(games=1), TextWorld(games=1, variation=False)
    looks = [env.reset(seed=seed)[0]["image"] for seed in (0, 1, 0)]
    assert (looks[0] != looks[1]).any()
    np.testing.assert_array_equal(looks[0], looks[2])
    np.testing.assert_array_equal(plain.reset(seed=0)[0]["image"], plain.reset(seed=1)[0]["image"])
    np.testing.assert_array_equal(env.step("nonsense")[0]["image"], looks[2])


def test_each_name_has_a_label_of_its_own() -> None:
    assert words.labels(["coin", "chest", "key"]) == {"chest": "C", "coin": "O", "key": "K"}
    many = words.labels(
        [f"{kind} {number}" for kind in ("cabinet", "drawer", "mug", "cup") for number in range(1, 13)]
    )
    assert len(set(many.values())) == 48
    assert (many["mug 2"], many["drawer 3"]) == ("M2", "D3")
    assert set("".join(many.values())) <= set(glyphs())


def test_every_level_has_room_for_its_map_and_every_sign_its_shape() -> None:
    assert {smallest(level.reach) for levels in LEVELS.values() for level in levels} == {64, 96, 128}
    shapes = [glyphs()[sign] for sign in words.SIGNS]
    assert {shape.shape for shape in shapes} == {(5, 3)}
    assert len({shape.tobytes() for shape in shapes}) == 36


def test_the_words_say_where_what_and_how() -> None:
    chest = Item("chest", "container", "open", (), (Item("coin"), Item("key", "key")))
    door = Item("door", "door", "locked")
    hall = Place(
        "hall",
        (0, 0),
        {"north": Exit("attic"), "east": Exit(None, door)},
        (chest, Item("table", "supporter")),
    )
    attic = Place("attic", (0, -1), {"south": Exit("hall")})
    sight = Sight("hall", (hall, attic), ((1, 0),), (Item("apple", "food", "", ("fried", "diced")),))
    assert words.describe(sight).splitlines() == [
        "At: hall; ways: north to attic, east to ? by door (locked); things: chest (open: coin, key), table",
        "Hold: apple (fried, diced)",
        "Known: attic; ways: south to hall; things: none",
    ]


def test_a_text_that_is_too_long_loses_its_last_lines() -> None:
    assert words.fitting("a\nb", 3) == "a\nb"
    assert words.fitting("first\nsecond\nthird", 14) == "first\n(more)"
