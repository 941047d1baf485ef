"""What the curriculum promises: determinism, separate splits, right answers, no action syntax."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections import Counter
from random import Random

import numpy as np
import pytest
from vlmq_model_tiny import number_scenes, phrases
from vlmq_model_tiny.curriculum import SKILLS, Curriculum, CurriculumError
from vlmq_model_tiny.draw import Canvas, contrasting, glyphs, luminance

from vlmq.api import Episode

COUNT = 1500


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    curriculum = Curriculum()
    return [curriculum.episode(index) for index in range(COUNT)]


def _fingerprint(episode: Episode) -> tuple[object, ...]:
    parts: list[object] = [episode.source, episode.seed]
    for turn in episode.turns:
        assert turn.observation.image is not None
        parts += [turn.observation.text, turn.observation.image.tobytes(), turn.reply]
    return tuple(parts)


def test_an_episode_depends_on_seed_split_and_index_alone(episodes: list[Episode]) -> None:
    other = Curriculum()
    for index in (700, 3, 1499, 3, 0):  # any order, asked twice
        assert _fingerprint(other.episode(index)) == _fingerprint(episodes[index])
    assert _fingerprint(Curriculum(seed=1).episode(3)) != _fingerprint(episodes[3])


def test_another_process_draws_the_same_episode(episodes: list[Episode]) -> None:
    code = (
        "import zlib; from vlmq_model_tiny.curriculum import Curriculum; e = Curriculum().episode(11);"
        "t = e.turns[-1]; crc = zlib.crc32(t.observation.image.tobytes());"
        "print(crc, t.observation.text, t.reply, sep='|')"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    turn = episodes[11].turns[-1]
    assert turn.observation.image is not None
    crc = zlib.crc32(turn.observation.image.tobytes())
    assert printed.strip() == f"{crc}|{turn.observation.text}|{turn.reply}"


def test_no_picture_of_one_split_occurs_in_another() -> None:
    seen: dict[bytes, str] = {}
    for split in ("train", "validation", "test"):
        curriculum = Curriculum(split=split)
        for index in range(600):
            for turn in curriculum.episode(index).turns:
                assert turn.observation.image is not None
                assert seen.setdefault(turn.observation.image.tobytes(), split) == split


def test_every_skill_is_drawn_and_numbers_dominate(episodes: list[Episode]) -> None:
    shares = Counter(episode.source for episode in episodes)
    assert set(shares) == set(SKILLS)
    assert shares["stacked"] + shares["read_pair"] + shares["compare"] > 0.5 * COUNT


def test_episodes_are_complete(episodes: list[Episode]) -> None:
    for episode in episodes:
        assert (episode.terminated, episode.truncated, episode.success) == (True, False, True)
        assert episode.final_observation is None
        assert (2 <= episode.num_turns <= 4) if episode.source == "memory" else episode.num_turns == 1
        for turn in episode.turns:
            image = turn.observation.image
            assert image is not None
            assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
            assert (turn.action, turn.reward, turn.reply_ids.size) == (turn.reply, 1.0, 0)
            assert 0 < len(turn.reply) <= 16
            assert 0 < len(turn.observation.text) <= 120
            assert "{" not in turn.observation.text  # every placeholder was filled in


def test_answers_hold_no_action_syntax(episodes: list[Episode]) -> None:
    forbidden = set("+-*/={}[]()<>\"'_:")
    for episode in episodes:
        for turn in episode.turns:
            assert not forbidden & set(turn.reply), turn.reply
            assert not forbidden - set(":") & set(turn.observation.text), turn.observation.text
            assert not {"click", "hit", "stand"} & set(turn.reply.split())


def test_comparisons_are_answered_from_the_numbers_that_are_read() -> None:
    """The same draw asked to read and to compare must agree: both use the one pair of numbers."""
    checked = 0
    for seed in range(400):
        first, second = number_scenes.two_numbers(Random(seed))
        rng = Random(seed)
        (exchange,) = number_scenes.compare(rng)
        largest, smallest = str(max(first, second)), str(min(first, second))
        if exchange.question in phrases.LARGEST:
            assert exchange.answer == largest
            checked += 1
        elif exchange.question in phrases.SMALLEST:
            assert exchange.answer == smallest
            checked += 1
        elif exchange.question in phrases.EQUAL_YES:
            assert exchange.answer == ("yes" if first == second else "no")
            checked += 1
        elif exchange.question.startswith("Is the top number larger than the bottom"):
            assert exchange.answer == ("yes" if first > second else "no")
            checked += 1
        elif exchange.question == "Which number is larger, top or bottom?":
            assert exchange.answer == ("top" if first > second else "bottom" if second > first else "same")
            checked += 1
    assert checked > 60


def test_ink_stands_out_from_its_ground() -> None:
    rng = Random(5)
    for _ in range(500):
        ground = Canvas(rng).ground
        assert abs(luminance(contrasting(rng, ground)) - luminance(ground)) >= 85


def test_every_digit_has_its_own_glyph_at_every_size() -> None:
    for size in range(13, 41):
        drawn = {glyphs(str(digit), size).tobytes() for digit in range(10)}
        assert len(drawn) == 10


def test_chosen_skills_are_the_only_ones_drawn() -> None:
    curriculum = Curriculum(skills=("compare", "count"))
    assert {curriculum.episode(index).source for index in range(60)} == {"compare", "count"}


def test_unknown_names_are_refused_in_one_sentence() -> None:
    with pytest.raises(CurriculumError, match="skill 'acting' is unknown: choose from stacked"):
        Curriculum(skills=("acting",))
    with pytest.raises(CurriculumError, match="split 'dev' is unknown: choose one of train"):
        Curriculum(split="dev")
    with pytest.raises(CurriculumError, match="no skill is named"):
        Curriculum(skills=())
    with pytest.raises(CurriculumError, match="skill 'acting' is unknown: choose from stacked"):
        Curriculum(shares={"acting": 1.0})
    with pytest.raises(CurriculumError, match="a share is below 0"):
        Curriculum(shares={"words": -1.0})


def test_shares_of_ones_own_take_the_place_of_the_curriculums() -> None:
    curriculum = Curriculum(
        skills=("words", "colours", "count"), shares={"words": 2.0, "colours": 0.0, "count": 8.0}
    )
    drawn = Counter(curriculum.episode(index).source for index in range(300))
    assert set(drawn) == {"words", "count"}
    assert 0.1 < drawn["words"] / 300 < 0.3


def test_the_curriculum_starts_narrow_and_widens() -> None:
    curriculum = Curriculum(dialogues=True, block=1, narrow=200, widen=200)
    digits = {"stacked", "read_digit", "read_pair", "compare", "arithmetic"}
    early = [curriculum.episode(index) for index in range(200)]
    assert {episode.source for episode in early} <= digits
    for episode in early:
        image = episode.turns[0].observation.image
        assert image is not None
        assert (image == image[..., :1]).all()  # no colour
        assert all(int(number) < 20 for number in episode.turns[-1].reply.split() if number.isdigit())
    late = [curriculum.episode(index) for index in range(400, 600)]
    assert len({episode.source for episode in late}) > 9
    plain = Curriculum(dialogues=True, block=1)
    assert _fingerprint_of_dialogue(plain.episode(450)) == _fingerprint_of_dialogue(late[50])


@pytest.mark.parametrize(("variation", "questions"), [(0.0, 6), (0.5, 4), (1.0, 3)])
def test_a_dialogue_asks_about_one_picture_and_often_compares_first(variation: float, questions: int) -> None:
    readings = (*phrases.READ_OF_TWO, *phrases.READ_BOTH)
    starts = tuple(form.split("{")[0] for form in readings if not form.startswith("{"))
    first_reads, kinds = 0, set()
    for seed in range(300):
        dialogue = number_scenes.pair_dialogue(Random(seed), variation)
        assert questions - 2 <= len(dialogue) <= questions  # the same question is not asked twice
        assert len({exchange.question for exchange in dialogue}) == len(dialogue)
        assert [exchange.image is None for exchange in dialogue] == [False] + [True] * (len(dialogue) - 1)
        first_reads += dialogue[0].question.startswith(starts)
        kinds |= {exchange.answer for exchange in dialogue}
    assert 20 < first_reads < 150
    assert {"larger", "smaller", "equal", "top", "bottom", "same"} <= kinds


def _fingerprint_of_dialogue(episode: Episode) -> tuple[str, ...]:
    return tuple(turn.observation.text + turn.reply for turn in episode.turns)
