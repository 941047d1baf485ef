"""The claims of README.md, one test each: copy these with the template."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vlmq_env_example.memory import ANSWERS, MemoryEnv

from vlmq.api import expert_action


def play(env: MemoryEnv, seed: int, actions: list[str] | None = None) -> list[tuple[Any, ...]]:
    """Play these actions, or the expert's: (picture, text, reward, terminated, truncated, info) a turn."""
    observation, info = env.reset(seed=seed)
    turns: list[tuple[Any, ...]] = [
        (observation["image"].tobytes(), observation["text"], 0.0, False, False, info)
    ]
    script = iter(actions or [])
    while not (turns[-1][3] or turns[-1][4]):
        action = next(script, None) if actions is not None else env.expert_action()
        if action is None:
            break
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation in env.observation_space
        turns.append(
            (observation["image"].tobytes(), observation["text"], reward, terminated, truncated, info)
        )
    return turns


def test_the_expert_succeeds_with_return_one() -> None:
    env = MemoryEnv()
    for seed in range(20):
        turns = play(env, seed)
        assert len(turns) == 1 + 4  # cue, two distractors, question
        assert sum(turn[2] for turn in turns) == 1.0
        assert turns[-1][3]
        assert turns[-1][5]["success"] is True


@pytest.mark.parametrize("delay", [0, 1, 5])
def test_the_delay_is_the_number_of_distracting_turns(delay: int) -> None:
    turns = play(MemoryEnv(delay=delay), seed=0)
    assert [turn[1].split()[0] for turn in turns[:-1]] == ["Remember", *["Nothing"] * delay, "Which"]


def test_only_the_first_picture_tells_the_answer() -> None:
    env = MemoryEnv()
    texts: dict[str, set[str]] = {}
    for seed in range(40):
        turns = play(env, seed)
        answer = str(env._colour)
        texts.setdefault(answer, set()).add("|".join(turn[1] for turn in turns))
        later = b"".join(turn[0] for turn in turns[1:])
        assert len(set(zip(*[iter(later)] * 3, strict=True))) > 1
        assert all(red == green == blue for red, green, blue in zip(*[iter(later)] * 3, strict=True)), "grey"
        cue = np.frombuffer(turns[0][0], np.uint8).reshape(-1, 3).astype(int)
        # among the pixels that are no shade of grey the cue's own colour is the commonest
        coloured = cue[np.ptp(cue, axis=1) > 60]
        nearest = min(ANSWERS, key=lambda name: _distance(name, np.median(coloured, axis=0)))
        assert nearest == answer
    assert set(texts) == set(ANSWERS)
    assert len(set.union(*texts.values())) == 1, "the texts are the same whatever the answer"


def _distance(name: str, pixel: Any) -> float:
    from vlmq_env_example.picture import COLOURS

    return float(np.linalg.norm(np.array(COLOURS[name]) - pixel))


def test_the_same_seed_gives_the_same_episode_and_another_seed_another() -> None:
    assert play(MemoryEnv(), 3) == play(MemoryEnv(), 3)
    assert len({play(MemoryEnv(), seed)[0][0] for seed in range(20)}) == 20


@pytest.mark.parametrize(
    "text", ["", " ", "WAIT", "wait ", "wait wait", "red", "wai", "{", "é" * 5000, "\ud800"]
)
def test_illegal_text_is_penalised_and_leaves_the_state(text: str) -> None:
    env = MemoryEnv()
    before = play(env, 0, actions=[])[0]
    after = play(env, 0, actions=[text])[1]
    assert after[:2] == before[:2]
    assert after[2:5] == (-1.0, False, False)
    assert after[5]["action_ok"] is False
    assert after[5]["state_key"] == before[5]["state_key"]


def test_the_turn_limit_cuts_the_episode_as_no_success() -> None:
    turns = play(MemoryEnv(delay=2), 0, actions=["nonsense"] * 99)
    assert len(turns) == 1 + 7
    assert turns[-1][3:5] == (False, True)
    assert turns[-1][5]["success"] is False
    short = play(MemoryEnv(delay=0, max_turns=2), 0, actions=["x", "wait", "red"])
    assert short[-1][3:5] == (False, True)


def test_a_wrong_colour_ends_the_episode_without_success() -> None:
    env = MemoryEnv()
    env.reset(seed=0)
    wrong = next(colour for colour in ANSWERS if colour != env._colour)
    last = play(env, 0, actions=["wait", "wait", "wait", wrong])[-1]
    assert last[2:5] == (-1.0, True, False)
    assert last[5]["success"] is False


def test_every_legal_action_is_accepted() -> None:
    for path in (["wait"], ["wait"] * 3):
        legal = play(MemoryEnv(), 0, actions=path)[-1][5]["legal_actions"]
        for action in legal:
            assert play(MemoryEnv(), 0, actions=[*path, action])[-1][5]["action_ok"] is True


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="delay is -1"):
        MemoryEnv(delay=-1)
    with pytest.raises(ValueError, match="with delay=3 an episode needs 5"):
        MemoryEnv(delay=3, max_turns=4)


def test_the_framework_finds_the_expert() -> None:
    env = MemoryEnv(delay=0)
    env.reset(seed=0)
    assert expert_action(env) == "wait"
