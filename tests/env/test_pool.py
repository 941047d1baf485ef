"""A pool plays N environments; what breaks in one of them stays in its slot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import eventually, gone

from vlmq.api import ContractError, PluginError, UserError
from vlmq.env.pool import Pool, Step, make_pool

RECALL = "line/Recall-v0"
both = pytest.mark.parametrize("workers", [False, True], ids=["local", "workers"])


@pytest.fixture(scope="module", params=[False, True], ids=["local", "workers"])
def pool(trouble: str, request: pytest.FixtureRequest) -> Iterator[Pool]:
    """One pool for many tests: whatever one of them does to a slot, the next reset mends it."""
    with make_pool(trouble, 3, workers=request.param, expert=True) as made:
        yield made


def text_of(step: Step) -> list[str]:
    return step.observation.text.split()


def play(pool: Pool, seeds: dict[int, int]) -> list[tuple[Any, ...]]:
    """Follow the expert to the end of every episode; everything that was seen."""
    seen: list[tuple[Any, ...]] = []
    steps = pool.reset(seeds)
    while steps:
        for slot, step in steps.items():
            image = step.observation.image
            assert image is not None
            outcome = (step.reward, step.terminated, step.truncated, step.action_ok, step.success)
            seen.append((slot, step.observation.text, image.tobytes(), *outcome, step.legal_actions))
        steps = pool.step({slot: step.expert or "" for slot, step in steps.items() if not step.ended})
    return seen


def test_workers_and_local_play_the_very_same_episodes() -> None:
    with (
        make_pool(RECALL, 2, expert=True, workers=False) as local,
        make_pool(RECALL, 2, expert=True, workers=True) as apart,
    ):
        assert local.image_shape == apart.image_shape == (64, 64, 3)
        assert (local.text_bytes, local.action_bytes) == (apart.text_bytes, apart.action_bytes) == (1024, 256)
        seen = play(local, {0: 5, 1: 6})
        assert seen == play(apart, {0: 5, 1: 6})
    last = seen[-1]
    assert last[3:8] == (1.0, True, False, True, True)


def test_only_the_named_slots_move(pool: Pool) -> None:
    assert sorted(pool.reset({0: 10, 2: 12})) == [0, 2]
    assert list(pool.step({2: "go"})) == [2]
    steps = pool.step({2: "go", 0: "go"})
    assert list(steps) == [2, 0]
    assert [text_of(steps[slot])[1:3] for slot in (0, 2)] == [["10", "1"], ["12", "2"]]
    image = steps[2].observation.image
    assert image is not None
    assert (image == 12).all()
    image[:] = 0  # the framework may write into what it was given


def test_an_illegal_action_and_an_ended_episode_are_told_as_the_env_tells_them(pool: Pool) -> None:
    first = pool.reset({0: 1})[0]
    assert (first.reward, first.ended, first.expert) == (0.0, False, "win")
    assert not pool.step({0: "bad"})[0].action_ok
    end = pool.step({0: "win"})[0]
    assert (end.reward, end.terminated, end.truncated, end.success, end.expert) == (
        1.0,
        True,
        False,
        True,
        None,
    )
    with pytest.raises(RuntimeError, match="reset it first"):
        pool.step({0: "go"})
    pool.reset({0: 1})
    cut = pool.step({0: "cut"})[0]
    assert (cut.terminated, cut.truncated, cut.success, cut.failure) == (False, True, False, None)


def test_an_exception_ends_one_episode_and_the_next_reset_is_fresh(pool: Pool) -> None:
    pool.reset({0: 1, 1: 2})
    pool.step({0: "go", 1: "go"})
    steps = pool.step({0: "raise", 1: "go"})
    broken, other = steps[0], steps[1]
    assert broken.failure is not None
    assert broken.failure.startswith("ValueError: wheel came off (trouble_env.py:")
    assert (broken.truncated, broken.terminated, broken.success, broken.reward) == (
        True,
        False,
        False,
        0.0,
    )
    assert text_of(broken)[1:3] == ["1", "1"], "the last good observation"
    assert (other.failure, text_of(other)[2]) == (None, "2")
    assert text_of(pool.reset({0: 3})[0])[1:3] == ["3", "0"]


def test_a_reset_that_always_fails_is_a_failure_with_a_blank_observation(pool: Pool) -> None:
    step = pool.reset({0: 666})[0]
    assert step.failure is not None
    assert "no such seed" in step.failure
    assert step.truncated
    image = step.observation.image
    assert image is not None
    assert image.shape == (8, 8, 3)
    assert pool.reset({0: 1})[0].failure is None


def test_an_environment_that_asks_to_end_the_process_has_broken(pool: Pool) -> None:
    pool.reset({0: 1})
    step = pool.step({0: "exit"})[0]
    assert step.failure is not None
    assert step.failure.startswith("SystemExit: 0 (trouble_env.py:")
    step = pool.reset({0: 667})[0]
    assert step.failure is not None
    assert step.failure.startswith("SystemExit: 0 (trouble_env.py:")


def test_a_killed_worker_is_replaced_and_the_others_go_on(trouble: str) -> None:
    with make_pool(trouble, 2) as pool:  # workers: as its metadata asks
        first = pool.reset({0: 1, 1: 2})
        steps = pool.step({0: "die", 1: "go"})
        assert steps[0].failure == "the environment's process died of signal 9 (SIGKILL)"
        assert steps[0].truncated
        assert text_of(steps[1])[2] == "1"
        again = pool.reset({0: 4})[0]
        assert again.failure is None
        assert text_of(again)[0] != text_of(first[0])[0]
        assert text_of(pool.step({0: "go", 1: "go"})[1])[0] == text_of(first[1])[0]


def test_a_worker_that_hangs_or_is_stopped_is_killed_after_its_time(trouble: str) -> None:
    with make_pool(trouble, 3, timeout_s=3) as pool:
        first = pool.reset({0: 1, 1: 2, 2: 3})
        os.kill(int(text_of(first[1])[0]), signal.SIGSTOP)
        steps = pool.step({0: "hang", 1: "go", 2: "go"})
        expected = "no answer within 3 s: the environment hangs"
        assert [steps[slot].failure for slot in (0, 1, 2)] == [expected, expected, None]
        assert eventually(lambda: gone(int(text_of(first[0])[0])))
        assert eventually(lambda: gone(int(text_of(first[1])[0])))


def test_a_reset_is_tried_again_on_a_fresh_worker(trouble: str, tmp_path: Path) -> None:
    with make_pool(trouble, 1, env_args={"fail_reset_once": str(tmp_path / "failed")}) as pool:
        step = pool.reset({0: 7})[0]
        assert (step.failure, text_of(step)[1:3]) == (None, ["7", "0"])
        assert (tmp_path / "failed").exists()


def test_a_broken_contract_is_raised_with_the_same_sentence(pool: Pool) -> None:
    sentences = {
        "float": "image is float64 (8, 8, 3); expected uint8 (8, 8, 3). Cast it in the env.",
        "long": "text is 300 bytes; its space allows 200.",
        "nan": "reward is nan; expected a finite number.",
        "silent": "info['action_ok'] is missing; expected bool at every reset and step.",
        "numbers": "info['legal_actions'] holds the int 1; expected a tuple of str, or None.",
        "four": "step() returns 4 values; expected 5: observation, reward, terminated, truncated, info.",
    }
    for action, said in sentences.items():
        pool.reset({0: 1, 1: 2})
        with pytest.raises(ContractError) as caught:
            pool.step({1: "go", 0: action})
        assert str(caught.value).startswith(f"env 'trouble/Do-v0': {said}")
    # the other slot goes on where it was
    assert text_of(pool.step({1: "go"})[1])[1:3] == ["2", "2"]


def test_every_answer_is_taken_in_before_an_error_is_raised(trouble: str) -> None:
    with make_pool(trouble, 2) as pool:
        pool.reset({0: 1, 1: 2})
        with pytest.raises(ContractError):
            pool.step({0: "nan", 1: "go"})
        assert text_of(pool.step({1: "go"})[1])[2] == "2"


@both
def test_a_wrong_argument_is_named(trouble: str, workers: bool) -> None:
    with pytest.raises(PluginError, match="'trouble/Do-v0' has no argument 'sise'; did you mean 'size'"):
        make_pool(trouble, 2, env_args={"sise": 3}, workers=workers)


def test_metadata_of_another_shape_ask_for_no_workers(trouble: str, install: Callable[..., None]) -> None:
    specs = "from gymnasium.envs.registration import EnvSpec\nSPECS = (EnvSpec('odd/Do-v0', 'odd_env:Odd'),)"
    odd = "from trouble_env import Trouble\nclass Odd(Trouble):\n    metadata = {'render_modes': [], 'vlmq': 'yes'}\n"
    install("odd", specs, odd_env=odd)
    with make_pool("odd/Do-v0", 1) as pool:
        assert not pool.concurrent


def test_a_pool_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="num_envs is 0"):
        make_pool(RECALL, 0)
    with pytest.raises(UserError, match="timeout_s is 0"):
        make_pool(RECALL, 1, timeout_s=0)


def test_what_an_environment_prints_never_reaches_the_pipe(
    trouble: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with make_pool(trouble, 1, env_args={"loud": True}) as pool:
        pool.reset({0: 1})
        assert text_of(pool.step({0: "print"})[0])[1:3] == ["1", "1"]
    out, err = capfd.readouterr()
    assert out == ""
    assert "noise noise" in err


def test_workers_hold_no_torch_even_where_the_parent_does(trouble: str) -> None:
    pytest.importorskip("torch")
    with make_pool(trouble, 1) as pool:
        assert text_of(pool.reset({0: 1})[0])[3] == "False"


def test_the_workers_of_one_call_work_at_the_same_time(trouble: str, tmp_path: Path) -> None:
    # each waits for the other: asked one after another, the first would never answer
    with make_pool(trouble, 2) as pool:
        pool.reset({0: 0, 1: 1})
        steps = pool.step(dict.fromkeys((0, 1), f"meet {tmp_path}"))
        assert [step.failure for step in steps.values()] == [None, None]


def test_answers_come_as_they_are_ready(trouble: str) -> None:
    with make_pool(trouble, 3) as pool:
        assert pool.answers() == {}, "nothing was asked"
        pool.reset({0: 1, 1: 2, 2: 3})
        pool.act({0: "sleep 2", 1: "go"})
        first = pool.answers()
        assert list(first) == [1]
        assert pool.answers(timeout_s=0.05) == {}
        pool.act({1: "go"})
        pool.begin({2: 4})
        others = pool.answers()
        while len(others) < 2:
            others |= pool.answers()
        assert {slot: text_of(step)[1:3] for slot, step in others.items()} == {1: ["2", "2"], 2: ["4", "0"]}
        assert list(pool.answers()) == [0]
        assert pool.answers() == {}


def test_a_worker_that_hangs_is_given_up_while_others_answer(trouble: str) -> None:
    with make_pool(trouble, 2, timeout_s=2) as pool:
        first = pool.reset({0: 1, 1: 2})
        pool.act({0: "hang", 1: "go"})
        assert list(pool.answers()) == [1]
        late = pool.answers()
        assert late[0].failure == "no answer within 2 s: the environment hangs"
        assert eventually(lambda: gone(int(text_of(first[0])[0])))
        pool.begin({0: 5})
        assert pool.answers()[0].failure is None


def test_blank_images_hide_every_picture() -> None:
    with make_pool(RECALL, 1, blank_images=True, expert=True) as pool:
        seen = play(pool, {0: 3})
    assert len({image for _, _, image, *_ in seen}) == 1
    assert set(np.frombuffer(seen[0][2], np.uint8)).isdisjoint({0, 127, 128})
    assert seen[-1][7], "the expert still knows"


def test_close_ends_every_worker_and_may_be_called_twice(trouble: str) -> None:
    pool = make_pool(trouble, 2)
    pids = [int(text_of(step)[0]) for step in pool.reset({0: 1, 1: 2}).values()]
    pool.close()
    pool.close()
    assert all(gone(pid) for pid in pids)


def test_a_forgotten_pool_ends_its_workers(trouble: str) -> None:
    pool = make_pool(trouble, 1)
    pid = int(text_of(pool.reset({0: 1})[0])[0])
    del pool
    assert eventually(lambda: gone(pid))


PARENT = """
import sys
sys.path[:] = {path!r}
from vlmq.env.pool import make_pool
if __name__ == "__main__":
    pool = make_pool("trouble/Do-v0", 2)
    for step in pool.reset({{0: 1, 1: 2}}).values():
        print(step.observation.text.split()[0], flush=True)
    pool.step({{0: {action!r}, 1: "go"}})
"""


@pytest.mark.parametrize(("how", "action"), [(signal.SIGKILL, "hang"), (signal.SIGINT, "sleep 1")])
def test_no_worker_outlives_its_parent_even_one_that_hangs(
    trouble: str, how: signal.Signals, action: str
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(path=sys.path, action=action)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    assert not any(gone(pid) for pid in pids)
    parent.send_signal(how)
    parent.wait(timeout=30)
    parent.stdout.close()
    assert eventually(lambda: all(gone(pid) for pid in pids))


def test_ctrl_c_is_the_parents_alone(trouble: str) -> None:
    with make_pool(trouble, 1) as pool:
        pid = int(text_of(pool.reset({0: 1})[0])[0])
        os.kill(pid, signal.SIGINT)
        assert text_of(pool.step({0: "go"})[0])[:3] == [str(pid), "1", "1"]
        assert os.getpgid(pid) != os.getpgid(0)
