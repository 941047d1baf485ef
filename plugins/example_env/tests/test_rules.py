"""The claims of README.md that are this task's own; what every environment owes is in test_contract.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from vlmq.api import PluginError

from vlmq_env_example import picture
from vlmq_env_example.env import ANSWERS, MemoryEnv


class Moment(NamedTuple):
    """What one reset or one turn brought."""

    image: np.ndarray
    text: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


def play(env: MemoryEnv, seed: int, actions: list[str] | None = None) -> list[Moment]:
    """Play these actions, or the expert's, until they or the episode end."""
    observation, info = env.reset(seed=seed)
    moments = [Moment(observation["image"], observation["text"], 0.0, False, False, info)]
    while not (moments[-1].terminated or moments[-1].truncated):
        turn = len(moments) - 1
        if actions is not None and turn == len(actions):
            break
        action = env.expert_action() if actions is None else actions[turn]
        observation, *rest = env.step(str(action))
        moments.append(Moment(observation["image"], observation["text"], *rest))
    return moments


def test_the_expert_succeeds_with_return_one() -> None:
    for seed in range(20):
        moments = play(MemoryEnv(), seed)
        assert len(moments) == 1 + 4  # the cue, two distractors, the question
        assert sum(moment.reward for moment in moments) == 1.0
        assert moments[-1].terminated
        assert moments[-1].info["success"] is True


@pytest.mark.parametrize("delay", [0, 1, 5])
def test_the_delay_is_the_number_of_distracting_turns(delay: int) -> None:
    texts = [moment.text.split()[0] for moment in play(MemoryEnv(delay=delay), seed=0)]
    assert texts[:-1] == ["Remember", *["Nothing"] * delay, "Which"]


def test_only_the_first_picture_tells_the_answer() -> None:
    answers, texts = set(), set()
    for seed in range(40):
        env = MemoryEnv()
        cue, *later = play(env, seed)
        answers.add(env._colour)
        texts.add("|".join(moment.text for moment in (cue, *later)))
        for moment in later:
            assert np.ptp(moment.image, axis=2).max() == 0, "shades of grey alone"
            assert np.ptp(moment.image) > 0, "and not one shade throughout"
        # of the pixels that are no shade of grey the most have the colour of the answer
        pixels = cue.image.reshape(-1, 3).astype(int)
        typical = np.median(pixels[np.ptp(pixels, axis=1) > 60], axis=0)
        distances = {name: np.linalg.norm(rgb - typical) for name, rgb in picture.COLOURS.items()}
        assert min(distances, key=distances.__getitem__) == env._colour
    assert answers == set(ANSWERS)
    assert len(texts) == 1, "the texts are the same whatever the answer"


def test_a_wrong_colour_ends_the_episode_without_success() -> None:
    env = MemoryEnv()
    play(env, seed=0, actions=["wait"] * 3)
    wrong = next(colour for colour in ANSWERS if colour != env._colour)
    last = play(env, seed=0, actions=["wait", "wait", "wait", wrong])[-1]
    assert (last.reward, last.terminated, last.truncated) == (-1.0, True, False)
    assert last.info["success"] is False


def test_the_turn_limit_cuts_the_episode_as_no_success() -> None:
    moments = play(MemoryEnv(delay=2), seed=0, actions=["nonsense"] * 99)
    assert len(moments) == 1 + 7
    assert (moments[-1].terminated, moments[-1].truncated) == (False, True)
    assert moments[-1].info["success"] is False
    short = play(MemoryEnv(delay=0, max_turns=2), seed=0, actions=["x", "wait", "red"])
    assert len(short) == 1 + 2
    assert short[-1].truncated


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(PluginError, match="delay=-1 will not do; give a whole number from 0"):
        MemoryEnv(delay=-1)
    with pytest.raises(PluginError, match="give a whole number from 5"):
        MemoryEnv(delay=3, max_turns=4)
