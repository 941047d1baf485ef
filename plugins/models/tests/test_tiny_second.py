"""What the scenes of the second version promise: right answers, legible pictures, dialogues about one of them."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import yaml
from vlmq_model_tiny import (
    card_scenes,
    copy_scenes,
    grid_scenes,
    page_scenes,
    panel_scenes,
    plan_scenes,
    recall_scenes,
    seek_scenes,
    widget_scenes,
    wording,
)
from vlmq_model_tiny.card_scenes import Table
from vlmq_model_tiny.curriculum import SKILLS, SKILLS_OF, Curriculum, CurriculumError
from vlmq_model_tiny.draw import SIDE
from vlmq_model_tiny.grid_scenes import Grid
from vlmq_model_tiny.icon_shapes import SHAPES
from vlmq_model_tiny.icons import VARIANTS, icon
from vlmq_model_tiny.lexicon import GRID_KINDS, MARKS, PLACES, THINGS, made_up
from vlmq_model_tiny.plan_scenes import Plan, Thing, Tile
from vlmq_model_tiny.scene import Family, Scene
from vlmq_model_tiny.vocabulary import COMMON_WORDS, LEADING_WORDS, SPECIAL_TOKENS, build_tokenizer

from vlmq.api import Episode

COUNT = 2000
NEW = tuple(skill for skill in SKILLS_OF[2] if skill not in SKILLS)
FAMILIES: tuple[Family[Any], ...] = (
    card_scenes.FAMILY,
    grid_scenes.FAMILY,
    plan_scenes.FAMILY,
    panel_scenes.FAMILY,
    widget_scenes.FAMILY,
    seek_scenes.FAMILY,
)
WORDS = (
    *("copying", "picking", "composing", "framing", "matching", "locating"),
    *("pages", "browsing", "reciting", "spelling", "seeking", "codes"),
)
LONG = WORDS[5:]
TURNS = ("memory", "browsing", "seeking", "locating")
TALKS = {skill: number for number, family in enumerate(FAMILIES) for skill in family.askers}


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    curriculum = Curriculum(version=2)
    return [curriculum.episode(index) for index in range(COUNT)]


def _answers(asker: Callable[[Random, Any], tuple[str, str] | None], sight: Any) -> dict[str, str]:
    """Every question that the asker may ask of this picture, with its answer."""
    return dict(pair for seed in range(120) if (pair := asker(Random(seed), sight)) is not None)


def test_the_first_versions_stream_is_as_it_was() -> None:
    """A checksum of its questions and answers, taken before there was a second version."""
    curriculum, crc = Curriculum(), 0
    for index in range(200):
        for turn in curriculum.episode(index).turns:
            crc = zlib.crc32(f"{turn.observation.text}|{turn.reply}".encode(), crc)
    assert crc == 3699933189


def test_every_skill_is_drawn_old_and_new(episodes: list[Episode]) -> None:
    shares = Counter(episode.source for episode in episodes)
    assert set(shares) == set(SKILLS_OF[2])
    assert set(SKILLS) < set(SKILLS_OF[2])
    assert 0.4 * COUNT < sum(shares[skill] for skill in NEW) < 0.8 * COUNT


def test_episodes_are_complete(episodes: list[Episode]) -> None:
    for episode in episodes:
        assert episode.num_turns == 1 or episode.source in TURNS
        for turn in episode.turns:
            image, text = turn.observation.image, turn.observation.text
            if image is None:
                assert episode.source in WORDS
            else:
                assert (image.shape, image.dtype) == ((SIDE, SIDE, 3), np.uint8)
            assert 0 < len(turn.reply) <= 120
            assert turn.reply == turn.reply.strip()
            assert 0 < len(text) <= (900 if episode.source in LONG else 300)
            assert "{" not in text.replace('{"action": "..."}', "")  # every placeholder was filled in


def test_words_alone_and_a_picture_that_does_not_matter_both_occur(episodes: list[Episode]) -> None:
    shown = [e.turns[0].observation.image is not None for e in episodes if e.source == "composing"]
    assert 0.2 < np.mean(shown) < 0.6


def test_an_episode_depends_on_seed_split_and_index_alone(episodes: list[Episode]) -> None:
    other = Curriculum(version=2)
    for index in (1100, 3, 700, 3, 0):
        first, second = other.episode(index), episodes[index]
        assert [t.observation.text + t.reply for t in first.turns] == [
            t.observation.text + t.reply for t in second.turns
        ]
        for one, two in zip(first.turns, second.turns, strict=True):
            np.testing.assert_array_equal(one.observation.image, two.observation.image)


@pytest.mark.parametrize(
    "skill", [skill for skill in NEW if skill not in ("copying", "picking", "composing", "matching")]
)
def test_no_picture_of_training_is_asked_about_in_the_test(skill: str) -> None:
    seen: dict[bytes, str] = {}
    for split in ("train", "test"):
        curriculum = Curriculum(split=split, skills=(skill,), version=2)
        for index in range(20):
            image = curriculum.episode(index).turns[0].observation.image
            if image is not None:
                assert seen.setdefault(image.tobytes(), split) == split


@pytest.mark.parametrize("skill", NEW)
def test_no_answer_is_nearly_always_right(skill: str) -> None:
    curriculum = Curriculum(skills=(skill,), version=2)
    answers = Counter(curriculum.episode(index).turns[0].reply for index in range(80))
    assert len(answers) >= 2
    assert answers.most_common(1)[0][1] <= 56


def test_an_unknown_version_is_refused_in_one_sentence() -> None:
    with pytest.raises(CurriculumError, match="version 3 is unknown: choose one of 1, 2"):
        Curriculum(version=3)
    with pytest.raises(CurriculumError, match="skill 'icons' is unknown"):
        Curriculum(skills=("icons",))


def test_a_block_holds_dialogues_of_one_kind_and_one_picture_each() -> None:
    curriculum = Curriculum(version=2, dialogues=True, block=6)
    pairs = {"stacked", "read_pair", "compare", "arithmetic"}
    kinds = Counter[str]()
    for start in range(0, 360, 6):
        block = [curriculum.episode(index) for index in range(start, start + 6)]
        sources = {episode.source for episode in block}
        kind = "pairs" if sources <= pairs else "talks" if sources <= set(TALKS) else "single"
        kinds[kind] += 1
        if kind == "single":
            assert not sources & (pairs | set(TALKS))
        for episode in block if kind == "talks" else []:
            shown = [turn.observation.image is not None for turn in episode.turns]
            assert shown == [True] + [False] * (episode.num_turns - 1)
            questions = [turn.observation.text for turn in episode.turns]
            assert len(set(questions)) == len(questions) <= 4
    assert min(kinds["pairs"], kinds["talks"], kinds["single"]) >= 5


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "stages").glob("*.yaml")), ids=lambda p: p.stem
)
def test_a_stage_of_the_training_draws_from_every_kind_of_skill(path: Path) -> None:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    chosen = settings["data"]["stream"]["init_args"]
    curriculum = Curriculum(**chosen | {"narrow": 0, "widen": 0})
    drawn = {curriculum.episode(index).source for index in range(600)}
    if "skills" in chosen:
        assert drawn == set(chosen["skills"])
    else:
        assert drawn > {"stacked", "icons", "copying", "pages", "grid_way", "plan_command"}


def test_matching_starts_with_one_form() -> None:
    """The list, then the question: the only form at variation 0, and half of them or more in the end."""
    plain = re.compile(r"Here: [\w, ]+\.\nYes or no after each: [\w, ]+\.")
    for variation, least, most in ((0.0, 1.0, 1.0), (1.0, 0.4, 0.7)):
        asked = [seek_scenes.matching(Random(seed), variation)[0].question for seed in range(400)]
        assert least <= np.mean([plain.fullmatch(text) is not None for text in asked]) <= most


def test_a_narrow_start_holds_plain_digits_and_lists_alone() -> None:
    curriculum = Curriculum(version=2, dialogues=True, block=4, narrow=200, widen=200)
    early = {curriculum.episode(index).source for index in range(200)}
    assert early <= {"stacked", "read_digit", "read_pair", "compare", "arithmetic", "matching", "locating"}
    assert len({curriculum.episode(index).source for index in range(400, 700)}) > 20


# -- icons -------------------------------------------------------------------------------------------------


def test_there_is_an_icon_for_every_thing_place_and_mark() -> None:
    assert set(THINGS) | set(PLACES) | set(MARKS) | {"hand", "person", "padlock"} == set(SHAPES)
    assert len(THINGS) + len(PLACES) >= 60


def test_no_two_icons_look_alike() -> None:
    """At ten pixels, on white, in black outlines: the nearest two differ by 16 grey levels on average."""
    pictures = {name: icon(name, 10, 10).ink + 255 * icon(name, 10, 10).rest for name in (*THINGS, *PLACES)}
    names = sorted(pictures)
    nearest = min(
        (float(np.abs(pictures[one] - pictures[two]).mean()), one, two)
        for place, one in enumerate(names)
        for two in names[:place]
    )
    assert nearest[0] > 16, nearest


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_every_icon_stands_out_from_light_ground(variant: int) -> None:
    for name in (*THINGS, *PLACES):
        for mirrored in (False, True):
            sprite = icon(name, 12, 12, variant, mirrored)
            shown = sprite.ink + np.float32(230) * sprite.rest
            assert (np.abs(shown - 230).max(axis=2) > 60).mean() > 0.1, name
    assert not np.array_equal(icon("mug", 12, 12).ink, icon("mug", 12, 12, mirrored=True).ink)


# -- cards -------------------------------------------------------------------------------------------------

TWO_ROWS = Table(((("J", "hearts"), ("A", "spades")), (("4", "clubs"), ("5", "clubs"), ("Q", "diamonds"))))


def test_cards_are_read_added_and_compared() -> None:
    rows = dict.fromkeys(_answers(card_scenes.ask_rank, TWO_ROWS).values())
    assert set(rows) == {"J A", "4 5 Q"}
    # J + A = 10 + 1 = 11; 4 + 5 + Q = 4 + 5 + 10 = 19
    sums = _answers(card_scenes.ask_sum, TWO_ROWS)
    assert {("top row" in question, answer) for question, answer in sums.items()} == {
        (True, "11"),
        (False, "19"),
    }
    assert set(_answers(card_scenes.ask_best, TWO_ROWS).values()) == {"bottom"}
    pair = Table(((("10", "spades"), ("K", "hearts")),), "10+")
    assert set(_answers(card_scenes.ask_best, pair).values()) == {"right", "K"}
    suits = _answers(card_scenes.ask_suit, pair)
    assert suits["What suit is the left card?"] == "spades"
    assert suits["Is the right card red or black?"] == "red"
    assert set(_answers(card_scenes.ask_writing, pair).values()) == {"10+"}


def test_a_card_face_down_is_told_as_hidden_and_never_added() -> None:
    table = Table(((("7", "clubs"), ("", "")), (("2", "clubs"), ("3", "hearts"))))
    assert "7 hidden" in _answers(card_scenes.ask_rank, table).values()
    assert set(_answers(card_scenes.ask_sum, table).values()) == {"5"}
    assert _answers(card_scenes.ask_best, table) == {}


# -- grids -------------------------------------------------------------------------------------------------


def _grid() -> Grid:
    """Row 2: an arrow at column 2 that looks right, a blue key at column 4; a red ball in row 1, column 4."""
    cells = {(row, column): "nothing" for row in range(1, 4) for column in range(1, 5)}
    cells |= {(0, column): "wall" for column in range(6)} | {(row, 5): "wall" for row in range(4)}
    return Grid(6, (2, 2), 1, cells | {(1, 4): "red ball", (2, 4): "blue key", (2, 5): "open green door"})


def test_grids_are_told_as_the_arrow_sees_them() -> None:
    grid = _grid()
    where = _answers(grid_scenes.ask_where, grid)
    # looking right, two columns on is 2 ahead; the row above is to the left
    assert where["Where is the red ball, seen from the arrow?"] == "2 ahead 1 left"
    assert where["Where is the blue key, seen from the arrow?"] == "2 ahead"
    way = _answers(grid_scenes.ask_way, grid)
    assert way["Face the red ball: turn left, turn right or go forward?"] == "turn left"
    assert way["Face the blue key: turn left, turn right or go forward?"] == "go forward"
    assert way["Is the green door ahead, behind, left or right?"] == "ahead"
    assert set(_answers(grid_scenes.ask_front, grid).values()) == {"nothing", "no"}
    cells = _answers(grid_scenes.ask_cell, grid)
    assert cells["What is 3 ahead of the arrow?"] == "open green door"
    assert cells["What is in row 2, column 5?"] == "red ball"
    seen = _answers(grid_scenes.ask_seen, grid)
    assert seen["Is there a red ball?"] == "yes"
    assert seen["What colour is the key?"] == "blue"


@pytest.mark.parametrize("heading", range(4))
def test_a_cell_is_found_again_from_where_the_arrow_sees_it(heading: int) -> None:
    grid = _grid()
    turned = Grid(grid.side, grid.arrow, heading, grid.cells)
    for cell, content in turned.cells.items():
        assert turned.at(*turned.seen_from(cell)) == content


def test_what_lies_in_a_grid_is_drawn_there_in_its_colour() -> None:
    """The middle of every ball is nearer to the colour it is called by than to any other."""
    checked = 0
    for seed in range(150):
        grid, image = grid_scenes.draw_grid(Random(seed))
        cell = SIDE // grid.side
        if cell * grid.side < SIDE - 1:  # it may stand in the middle or at the edge
            continue
        for (row, column), content in grid.cells.items():
            if content.endswith("ball") and (row, column) != grid.arrow:
                shown = image[cell * row + cell // 2, cell * column + cell // 2].astype(float)
                off = {name: np.abs(shown - colour).sum() for name, colour in grid_scenes.COLOURS.items()}
                assert f"{min(off, key=lambda name: off[name])} ball" == content
                checked += 1
    assert checked >= 5


def test_the_things_of_a_grid_differ_in_shape() -> None:
    kinds = [*GRID_KINDS[:3], "open door", "closed door", "locked door", *(f"arrow {n}" for n in range(4))]
    for side in (7, 9):
        masks = [grid_scenes.mask(kind, side).astype(float) for kind in kinds]
        for place, one in enumerate(masks):
            for two in masks[:place]:
                assert np.abs(one - two).mean() > 15


# -- plans and panels ----------------------------------------------------------------------------------------

PLAN = Plan(
    (
        Tile("fridge", 1, "open", (Thing("apple", 2, ("cool",)), Thing("mug", 1))),
        Tile("cabinet", 1, "closed"),
        Tile("cabinet", 2, "unseen"),
    ),
    (Thing("bread", 1),),
    2,
)


def test_plans_are_told_as_they_are_drawn() -> None:
    assert set(_answers(plan_scenes.ask_frame, PLAN).values()) == {"cabinet 2"}
    assert set(_answers(plan_scenes.ask_content, PLAN).values()) == {"apple 2, mug 1"}
    covers = _answers(plan_scenes.ask_cover, PLAN)
    assert covers["Is cabinet 1 open, closed or unseen?"] == "closed"
    assert covers["Is cabinet 2 open, closed or unseen?"] == "unseen"
    found = _answers(plan_scenes.ask_find, PLAN)
    assert (found["Where is the mug?"], found["Where is the bread?"]) == ("fridge 1", "hand")
    assert _answers(plan_scenes.ask_name, PLAN)["What stands at the bottom left?"] == "cabinet 2"


def test_commands_name_the_thing_the_place_and_their_numbers() -> None:
    commands = _answers(plan_scenes.ask_command, PLAN)
    assert commands["Take the apple."] == "take apple 2 from fridge 1"
    assert commands["Put it in the fridge."] == "move bread 1 to fridge 1"
    framed = {q: a for q, a in commands.items() if "action" in q}
    assert framed
    for question, answer in framed.items():
        assert json.loads(answer)["action"].split()[0] in ("take", "move", "go", "open"), question
    assert not any("the cabinet." in question for question in commands)  # there are two


def test_the_hand_is_the_brightest_slot_of_a_panel() -> None:
    checked = 0
    for seed in range(80):
        panel, image = panel_scenes.draw_panel(Random(seed))
        if len(panel.slots) == 4:
            corners = [image[32 * (n // 2) + 2, 32 * (n % 2) + 26 : 32 * (n % 2) + 30] for n in range(4)]
            assert int(np.argmax([corner.mean() for corner in corners])) == panel.hand
            checked += 1
    assert checked > 10


def test_a_plan_is_asked_for_what_it_may_not_hold() -> None:
    framed = Plan(PLAN.tiles, PLAN.hand, 0)
    there = _answers(seek_scenes.ask_plan_there, framed)
    assert (there["Is there a mug?"], there["Is there a bread?"]) == ("yes", "yes")
    missing = {
        question: answer for question, answer in there.items() if not re.search("mug|apple|bread", question)
    }
    assert set(missing.values()) == {"no"}
    where = _answers(seek_scenes.ask_plan_where, framed)
    assert where["Find the bread, or say nowhere."] == "hand"
    assert {a for q, a in where.items() if not re.search("mug|apple|bread", q)} == {"nowhere"}
    taken = _answers(seek_scenes.ask_plan_take, framed)
    assert {a for q, a in taken.items() if "apple" in q} == {"take apple 2 from fridge 1"}
    assert {a for q, a in taken.items() if "bread" in q} == {"no"}  # it is in hand already
    moved = _answers(seek_scenes.ask_plan_move, framed)
    assert {a for q, a in moved.items() if "fridge" in q} == {"move bread 1 to fridge 1"}
    assert {a for q, a in moved.items() if "cabinet" in q} == {"no"}
    covered = _answers(seek_scenes.ask_plan_covered, framed)
    assert covered["Which places are closed?"] == "cabinet 1"
    assert covered["Which places are empty?"] == "none"
    away = Plan(PLAN.tiles, PLAN.hand, 3)  # the frame is at the hand: nothing is here
    assert set(_answers(seek_scenes.ask_plan_framed, away).values()) == {"no"}


# -- widgets ---------------------------------------------------------------------------------------------------


def test_widgets_are_told_as_they_are_drawn() -> None:
    form = widget_scenes.Form(
        (
            widget_scenes.Widget("button", "ok", 37),
            widget_scenes.Widget("box", "mail", 5, ticked=True),
            widget_scenes.Widget("field", "name", 62, value=""),
        ),
        numbered=True,
    )
    assert _answers(widget_scenes.ask_where, form)["Find mail: top, middle or bottom?"] == "middle"
    assert _answers(widget_scenes.ask_number, form)["What is written at number 62?"] == "name"
    assert set(_answers(widget_scenes.ask_tick, form).values()) == {"yes"}
    assert set(_answers(widget_scenes.ask_field, form).values()) == {wording.NOTHING}
    clicks = _answers(widget_scenes.ask_click, form)
    assert clicks["Click ok."] == "click('37')"
    assert {json.loads(a)["action"] for q, a in clicks.items() if "action" in q} == {
        "click('37')",
        "click('5')",
        "click('62')",
    }


def test_no_label_or_number_of_a_form_occurs_twice() -> None:
    for seed in range(200):
        form, _ = widget_scenes.draw_form(Random(seed))
        texts = [widget.label for widget in form.widgets]
        assert len(set(texts)) == len(texts)
        assert not {widget.value for widget in form.widgets} & set(texts)
        assert len({widget.bid for widget in form.widgets}) == len(texts)


# -- words alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", [copy_scenes.copying, copy_scenes.picking])
def test_what_is_copied_or_picked_stands_in_the_question(scene: Scene) -> None:
    for seed in range(300):
        (exchange,) = scene(Random(seed))
        assert exchange.answer in exchange.question


def test_every_name_in_a_composed_command_stands_in_what_was_told() -> None:
    verbs, told = Counter[str](), 0
    for seed in range(500):
        (exchange,) = copy_scenes.composing(Random(seed))
        verb = exchange.answer.split("(")[0].split()[0]
        verbs[verb] += 1
        if verb in ("take", "move", "clean", "heat", "cool"):
            _, thing, number, _, place, other = exchange.answer.split()
            assert f"{thing} {number}" in exchange.question
            assert f"{place} {other}" in exchange.question
            told += 1
    assert told > 200
    assert {"take", "move", "clean", "heat", "cool", "go", "open", "turn", "pick", "click"} <= set(verbs)


def test_a_framed_answer_is_one_json_object_with_one_action() -> None:
    for seed in range(300):
        (exchange,) = copy_scenes.framing(Random(seed))
        assert exchange.question.endswith(wording.FRAMES)
        assert list(json.loads(exchange.answer)) == ["action"]
    assert json.loads(wording.framed('say "a\\b"')) == {"action": 'say "a\\b"'}


def test_made_up_words_hardly_ever_repeat_and_are_no_words_of_the_lists() -> None:
    words = {made_up(Random(seed)) for seed in range(500)}
    assert len(words) > 480
    assert not words & {*THINGS, *PLACES}


def _told(text: str) -> tuple[dict[str, str], str, str]:
    """Where each thing lies by what a text tells, where one stands, what is in hand."""
    things: dict[str, str] = {}
    for line in text.split("\n"):
        found = re.fullmatch(r"(?:At )?(\w+ \d+)(?:,? now)?: (.*?)\.?", line)
        if found and re.match(r"\w+ \d", found[2]):
            things |= dict.fromkeys(found[2].split(", "), found[1])
    at = re.search(r"(?:at: |You are at )(\w+(?: \d+)?)", text)
    held = re.search(r"[Ii]n hand: (\w+(?: \d+)?)", text)
    assert at is not None
    assert held is not None
    return things, at[1], held[1]


def test_what_is_sought_is_answered_as_it_was_told() -> None:
    """Answers worked out anew, from the text alone."""
    checked = Counter[str]()
    for seed in range(400):
        exchanges = seek_scenes.seeking(Random(seed))
        things, at, held = _told(exchanges[0].question)
        for exchange in exchanges:
            orders = [line.removeprefix("Task: ") for line in exchange.question.split("\n")]
            for order in (orders[0], orders[-1]):
                if found := re.fullmatch(r"Is the (\w+) (here|where you are|in hand)\?", order):
                    there = (
                        [n for n, where in things.items() if where == at] if found[2] != "in hand" else [held]
                    )
                    expected = "yes" if any(n.split()[0] == found[1] for n in there) else "no"
                elif found := re.fullmatch(r"Find the (\w+), or say nowhere\.", order):
                    places = [w for n, w in (things | {held: "hand"}).items() if n.split()[0] == found[1]]
                    expected = places[0] if places else "nowhere"
                elif found := re.fullmatch(r"Get the (\w+) if you stand at it, or say no\.", order):
                    here = [n for n, where in things.items() if where == at and n.split()[0] == found[1]]
                    expected = f"take {here[0]} from {at}" if here else "no"
                elif found := re.fullmatch(r"Say each with yes or no: (.*)\.", order):
                    nouns = {n.split()[0] for n in (*things, held)}
                    expected = ", ".join(f"{n} {'yes' if n in nouns else 'no'}" for n in found[1].split(", "))
                else:
                    continue
                assert exchange.answer == expected, exchange.question
                checked[expected if expected in ("yes", "no", "nowhere") else expected.split()[0]] += 1
                break
    assert min(checked[answer] for answer in ("yes", "no", "nowhere", "take")) > 15, checked


def test_words_are_matched_with_the_list() -> None:
    for seed in range(200):
        (exchange,) = seek_scenes.matching(Random(seed))
        lines = exchange.question.split("\n")
        start = next(i for i, line in enumerate(lines) if re.match("Here|There is|Words", line))
        asked = lines.pop(-1 if start == 0 else 0)
        listed = {
            word.split()[0] for word in re.split(r", |\n", "\n".join(lines).partition(": ")[2].rstrip("."))
        }
        for part in exchange.answer.split(", "):
            noun, *said = part.split()
            assert noun in asked
            assert (noun in listed) == (said != ["no"]), exchange.question


# -- tokenizer ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer(2)


def test_each_common_word_is_one_token(tokenizer: Any) -> None:
    assert len(tokenizer) == 2048
    for words, before in ((COMMON_WORDS, " "), (LEADING_WORDS, "")):
        cut = [w for w in words if len(tokenizer.encode(before + w, add_special_tokens=False)) != 1]
        assert cut == []
    assert {*THINGS, *PLACES, "turn", "click", "red", "J"} <= set(COMMON_WORDS)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ('{"action": "take mug 1 from cabinet 2"}', 13),
        ('{"action": "turn left"}', 7),
        ("click('95')", 5),
        ("fill('23','ok')", 8),
        ("Task: put a hot apple on a countertop.", 10),
    ],
)
def test_commands_take_few_tokens(tokenizer: Any, text: str, most: int) -> None:
    assert len(tokenizer.encode(text, add_special_tokens=False)) <= most


def test_every_text_of_the_curriculum_survives(tokenizer: Any, episodes: list[Episode]) -> None:
    for episode in episodes[:400]:
        for turn in episode.turns:
            for text in (turn.reply, turn.observation.text):
                ids = tokenizer.encode(text, add_special_tokens=False)
                assert tokenizer.decode(ids) == text
                assert min(ids) >= len(SPECIAL_TOKENS)
            assert len(tokenizer.encode(turn.reply, add_special_tokens=False)) <= 80


# -- lists -------------------------------------------------------------------------------------------------


def _before(text: str) -> str:
    """A page's question with every element's number before it."""
    return re.sub(r"^(\w+ '[^']*') (\[\d+\])", r"\2 \1", text, flags=re.M)


def _elements(text: str) -> dict[str, str]:
    """Numbers of a page's elements, by name."""
    return {name: bid for bid, name in re.findall(r"^\[(\d+)\] \w+ '([^']+)'", _before(text), re.M)}


def test_what_is_spelt_stands_in_the_question_word_for_word() -> None:
    asked = [exchange for seed in range(200) for exchange in recall_scenes.spelling(Random(seed))]
    assert all(exchange.answer in exchange.question for exchange in asked)
    assert sum(len(exchange.answer) > 20 for exchange in asked) > 60


def test_a_task_on_a_page_names_the_element_that_the_answer_acts_on() -> None:
    for seed in range(100):
        first, *others = recall_scenes.browsing(Random(seed))
        elements = _elements(first.question)
        for exchange in (first, *others):
            named = {name for name in elements if name in exchange.question.partition("\n")[0]}
            assert re.findall(r"^(?:click|fill)\('(\d+)'", exchange.answer)[0] in {elements[n] for n in named}
        answers = [exchange.answer for exchange in (first, *others)]
        assert len(set(answers)) == len(answers)


def test_a_number_stands_before_or_after_what_it_is_the_number_of() -> None:
    pages = [page_scenes.codes(Random(seed))[0].question for seed in range(100)]
    after = [page for page in pages if "Elements (role 'name' [bid]):" in page]
    assert 30 < len(after) < 70
    assert all(len(_elements(page)) >= 2 for page in pages)
    assert all(re.search(r"^\w+ '[^']+' \[\d+\](, checked)?$", page, re.M) for page in after)
    assert all("Elements ([bid] role 'name'):" in page for page in pages if page not in after)


def test_codes_are_located_by_name_in_both_kinds_of_answer() -> None:
    kinds = Counter[str]()
    for seed in range(200):
        first, *others = recall_scenes.locating(Random(seed))
        elements = _elements(first.question)
        if "Say after each" in first.question:
            named = re.findall(r"(?:^|, )(.+?) (\d+)(?=, |$)", first.answer)
            assert named
            assert all(elements[name] == bid for name, bid in named)
            kinds["named"] += 1
            continue
        for exchange in (first, *others):
            task = exchange.question.partition("\n")[0]
            (bid,) = re.findall(r"^click\('(\d+)'\)$", exchange.answer)
            assert bid in {elements[name] for name in elements if name in task}
        assert len(others) < max(2, len(elements) - 1)  # what is left over tells nothing
        kinds["clicked"] += 1
    assert min(kinds.values()) > 30
    plain = [recall_scenes.locating(Random(seed), 0.0)[0].question for seed in range(50)]
    assert all("Say after each" in question for question in plain)


def test_a_code_is_clicked_where_it_stands_and_the_button_when_nothing_is_left() -> None:
    seen = Counter[str]()
    for seed in range(400):
        (exchange,) = page_scenes.codes(Random(seed))
        shown = _before(exchange.question)
        task, elements = shown.partition("\n")[0], _elements(shown)
        ticked = set(re.findall(r"^\[(\d+)\].*, checked$", shown, re.M))
        said = task
        wanted = []
        for name in sorted(elements, key=lambda name: -len(name)):  # one code may be part of another
            if name in said:
                said = said.replace(name, "")
                wanted.append(elements[name])
        (clicked,) = re.findall(r"^click\('(\d+)'\)$", exchange.answer)
        assert clicked in wanted
        if "radio" in shown or ("checkbox" in shown and ("nothing" in task or len(wanted) > 1)):
            (button,) = (bid for bid in wanted if f"[{bid}] button" in shown)
            left = [bid for bid in elements.values() if bid in wanted and bid not in ticked and bid != button]
            assert clicked == (left[0] if left else button)
            seen["next" if left else "sent"] += 1
        else:
            seen["clicked"] += 1
    assert min(seen[kind] for kind in ("next", "sent", "clicked")) > 50, seen


def test_numbers_and_places_are_recited_in_the_order_that_they_are_asked_in() -> None:
    kinds = Counter[str]()
    for seed in range(400):
        (exchange,) = recall_scenes.reciting(Random(seed))
        *told, question = exchange.question.split("\n")
        if (elements := _elements(exchange.question)) and exchange.answer[0].isdigit():
            names = sorted((name for name in elements if name in question), key=lambda name: -len(name))
            for name in names:
                question = question.replace(name, f"<{elements[name]}>")
            assert re.findall(r"<(\d+)>", question) == exchange.answer.split(", ")
            kinds["numbers"] += 1
        elif "here" in question and told:
            for place in exchange.answer.split(", "):
                assert any(line.removeprefix("At ").startswith(place) for line in told), exchange.question
            kinds["places"] += 1
    assert min(kinds["numbers"], kinds["places"]) > 30
