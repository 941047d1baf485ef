"""`vlmq envs play`: a person sees and types what an agent would."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlmq.cli import terminal
from vlmq.cli.play import listed
from vlmq.env import registry

Vlmq = Callable[..., Any]
RECALL = ("envs", "play", "line/Recall-v0", "--set", "delay=1")


def test_an_episode_is_played_with_hints_numbers_and_words(vlmq: Vlmq) -> None:
    env = registry.make("line/Recall-v0", delay=1)
    env.reset(seed=4)
    colour = env.unwrapped.colour  # type: ignore[attr-defined]
    place = ["red", "green", "blue"].index(colour) + 1
    done = vlmq(*RECALL, "--seed", "4", typed=f"?\nwait\n\n 1 \nmauve\n?\n{place}\nleft over\n")
    assert (done.code, done.err) == (0, "")
    turns = done.out.split("\n--- ")
    assert turns[0] == "line/Recall-v0, seed 4: type an action, '?' for a hint, 'q' to quit\n"
    assert [turn.partition(" ---")[0] for turn in turns[1:]] == [
        "turn 1",
        "turn 2",
        "turn 3",
        "turn 4",
        "the end",
    ]
    assert "Remember it. Answer: wait.\n" in turns[1]
    assert "\nlegal: 1) wait\n> ?\nthe expert would say: wait\n> wait\nreward 0\n" in turns[1]
    assert "> \n>  1 \nreward 0\n" in turns[2]
    assert "\nlegal: 1) red   2) green   3) blue\n> mauve\nreward -1, refused: no legal action\n" in turns[3]
    assert f"> ?\nthe expert would say: {colour}\n> {place}\nreward 1\n" in turns[4]
    assert "> " not in turns[5]
    assert done.out.endswith(
        "\nsuccess; return 0; 4 turns\nAnother episode: vlmq envs play line/Recall-v0 --seed 5 --set delay=1\n"
    )


@pytest.mark.parametrize(
    "typed", ["wait\nq\n", "wait\n", "wait\nq"], ids=["q", "end of input", "q without newline"]
)
def test_a_player_may_leave(vlmq: Vlmq, typed: str) -> None:
    done = vlmq(*RECALL, typed=typed)
    assert (done.code, done.err) == (0, "")
    assert "\nleft before the end; return 0; 1 turn\n" in done.out


def test_an_episode_that_is_cut_or_lost_says_so(vlmq: Vlmq) -> None:
    assert "\nno success, cut; return -6; 6 turns\n" in vlmq(*RECALL, typed="nonsense\n" * 9).out
    done = vlmq(*RECALL, "--seed", "4", typed="1\n1\nred\n")
    assert re.search(r"\n(no success; return -1|success; return 1); 3 turns\n", done.out)


def test_each_picture_is_saved_as_the_agent_would_see_it(vlmq: Vlmq) -> None:
    done = vlmq(*RECALL, "--pictures", "seen/here", typed="wait\nwait\n")
    shown = [Path(name) for name in re.findall(r"^picture: (.*)$", done.out, re.M)]
    assert shown == [Path(f"seen/here/turn-{turn}.png") for turn in (1, 2, 3)]
    env = registry.make("line/Recall-v0", delay=1)
    observation, _ = env.reset(seed=0)
    for file in shown:
        assert np.array_equal(np.asarray(Image.open(file)), observation["image"])
        observation, *_ = env.step("wait")


def test_without_a_place_pictures_go_to_a_new_temporary_folder(vlmq: Vlmq) -> None:
    first, second = (
        re.findall(r"^picture: (.*)$", vlmq(*RECALL, typed="wait\n").out, re.M) for _ in range(2)
    )
    assert all(Path(name).is_file() for name in first + second)
    assert not {Path(name).parent for name in first} & {Path(name).parent for name in second}
    assert list(Path().iterdir()) == [], "and none to where the player stands"


def test_a_drawn_picture_is_not_saved_unless_a_place_is_given(vlmq: Vlmq) -> None:
    done = vlmq(*RECALL, "--draw")
    assert terminal.HALF_BLOCK in done.out
    assert "picture: " not in done.out
    both = vlmq(*RECALL, "--draw", "--pictures", "seen")
    assert terminal.HALF_BLOCK in both.out
    assert "picture: seen/turn-1.png" in both.out
    assert terminal.HALF_BLOCK not in vlmq(*RECALL).out, "a pipe is no terminal"


@pytest.mark.usefixtures("oak")
def test_a_legal_action_is_an_action_even_where_it_is_a_key_of_ours(vlmq: Vlmq) -> None:
    done = vlmq("envs", "play", "oak/Tree-v0", typed="1\nq\n")
    assert "success; return 1; 2 turns" in done.out
    assert "no success, cut; return 0.5; 1 turn" in vlmq("envs", "play", "oak/Tree-v0", typed="?\n").out


@pytest.mark.usefixtures("oak")
def test_actions_that_are_numbers_are_not_numbered(vlmq: Vlmq) -> None:
    done = vlmq("envs", "play", "oak/Tree-v0", "--set", "legal=('7','1')", typed="1\n2\n")
    assert "\nlegal: 7   1\n> 1\nreward 0.5\n" in done.out


@pytest.mark.usefixtures("oak")
def test_what_is_not_listed_is_told_and_typed_freely(vlmq: Vlmq) -> None:
    done = vlmq("envs", "play", "oak/Tree-v0", "--set", "legal=None", typed="?\ndown\n")
    assert (
        "\nlegal: not listed here; the text says what to type\n> ?\nthere is no expert to ask\n" in done.out
    )
    assert "reward 0.5, refused: no legal action (you are on the ground)" in done.out


@pytest.mark.usefixtures("oak")
def test_bytes_that_are_no_text_are_played_like_any_other(vlmq: Vlmq) -> None:
    done = vlmq("envs", "play", "oak/Tree-v0", typed=b"\xff\xfe\nup\n")
    assert (done.code, done.err) == (0, "")
    assert "left before the end; return 1; 2 turns" in done.out


@pytest.mark.usefixtures("oak")
def test_an_expert_that_breaks_does_not_end_the_game(vlmq: Vlmq) -> None:
    done = vlmq(
        "envs", "play", "oak/Old-v0", "--set", "fault=expert", "--set", "legal=('up',)", typed="?\n1\n"
    )
    assert "broke in expert_action(): ValueError: lost (oak_env.py:" in done.out
    assert "left before the end; return 0.5; 1 turn" in done.out


@pytest.mark.usefixtures("oak")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("nobody/A-v0", "no installed plugin offers 'nobody/A-v0'"),
        ("oak/Tree-v0 oak/Old-v0", "takes one environment's ID, and got"),
        ("oak/Tree-v0 --seed one", "--seed is 'one'; give a whole number."),
        ("oak/Tree-v0 --draw --no-draw", "--draw and --no-draw are opposites"),
        ("oak/Tree-v0 --drwa", "did you mean --draw?"),
        ("oak/Tree-v0 --set sdie=3", "did you mean 'side'?"),
        ("oak/Tree-v0 --set fault=init", "OSError: no acorn"),
        ("oak/Tree-v0 --set fault=reset", "broke in reset(): RuntimeError: no roots (oak_env.py:"),
        ("oak/Tree-v0 --set fault=text", "text is int; expected str."),
        ("oak/Old-v0 --pictures a-file/b", "the picture 'a-file/b/turn-1.png' cannot be written"),
        ("oak/Tree-v0", "broke in step(): ValueError: felled (oak_env.py:"),
    ],
)
def test_wrong_input_and_a_broken_environment_are_one_sentence(vlmq: Vlmq, args: str, said: str) -> None:
    Path("a-file").write_text("\n")
    assert said in vlmq("envs", "play", *args.split(), typed="axe\n").wrong


def test_an_action_is_never_broken_over_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    actions = [f"take the red key {number} from the shelf" for number in range(70)]
    lines = listed(actions).splitlines()
    assert len(lines) == 61
    assert [line.strip() for line in lines[1:-1]] == actions[1:60]
    assert lines[0] == f"legal: {actions[0]}"
    assert lines[-1].strip() == "... and 10 more"
