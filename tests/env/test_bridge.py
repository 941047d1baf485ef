"""The batched TorchRL environment: its specs hold, slots are independent, and a broken one harms no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from torchrl.envs.utils import check_env_specs

from vlmq import keys
from vlmq.api import ContractError, Episode, PluginError, UserError
from vlmq.env.bridge import PoolEnv
from vlmq.env.pool import make_pool
from vlmq.model.backbone import Backbone
from vlmq.model.generate import Sampling
from vlmq.prompt.encode import Encoder
from vlmq.rollout.collector import Player, episode_seed
from vlmq.rollout.policies import Context, ModelPolicy, Policy, Reply, ScriptedPolicy, scripted_reply
from vlmq.train.judge import Outcome, judge

# Tells seeds apart and fails on demand (see conftest.py): an episode of seed 666 cannot even be reset.
MAX_REPLY = 8


def _bridge(env_id: str, num_envs: int, episodes: Sequence[int], seeds: Callable[[int], int]) -> PoolEnv:
    bridge = PoolEnv(make_pool(env_id, num_envs, workers=False, expert=True), seeds, max_reply=MAX_REPLY)
    bridge.enqueue(episodes)
    return bridge


def _act(bridge: PoolEnv, now: TensorDict, *actions: str) -> TensorDict:
    """Say one action in each slot; gives what came of it."""
    for slot, action in enumerate(actions):
        data = np.frombuffer(action.encode(), np.uint8)
        now[keys.ACTION][slot, : len(data)] = torch.from_numpy(data.copy())
        now[keys.REPLY_INFO][slot, keys.COLUMNS[keys.REPLY_INFO].index(keys.ACTION_LENGTH)] = len(data)
    return bridge.step(now)["next"]


def _column(tensordict: TensorDict, leaf: str, name: str) -> NDArray[Any]:
    return keys.read(tensordict, [leaf])[name]


def _start(bridge: PoolEnv) -> TensorDict:
    return bridge.reset().update(bridge.action_spec.zero())


@pytest.fixture
def bridge(trouble: str) -> Iterator[PoolEnv]:
    bridge = _bridge(trouble, 3, range(2), lambda index: 10 + index)
    yield bridge
    bridge.close()


@pytest.mark.parametrize("episodes", [100, 1], ids=["all slots busy", "most slots idle"])
def test_what_it_gives_is_what_its_specs_promise(trouble: str, episodes: int) -> None:
    bridge = _bridge(trouble, 3, range(episodes), lambda index: index)
    check_env_specs(bridge, seed=0)
    bridge.close()


def test_what_it_gives_while_environments_work_is_what_its_specs_promise(trouble: str) -> None:
    bridge = PoolEnv(make_pool(trouble, 3), lambda index: index, max_reply=MAX_REPLY, asynchronous=True)
    bridge.enqueue(range(100))
    check_env_specs(bridge, seed=0)
    bridge.close()


def test_a_slot_without_an_episode_idles_and_ends_at_once(bridge: PoolEnv) -> None:
    now = _start(bridge)
    assert _column(now, keys.STATE, keys.EPISODE).tolist() == [0, 1, -1]
    assert not now["done"].any(), "a reset never ends an episode"
    after = _act(bridge, now, "go", "go", "go")
    assert after["done"].flatten().tolist() == [False, False, True]
    assert after["reward"].flatten().tolist() == [1.0, 1.0, 0.0]


def test_a_partial_reset_touches_only_the_slots_that_ended(bridge: PoolEnv) -> None:
    bridge.enqueue([7])
    now = _start(bridge)
    assert _column(now, keys.STATE, keys.EPISODE).tolist() == [0, 1, 7]
    after = _act(bridge, now, "go", "win", "go")
    assert _column(after, keys.STATE, keys.SUCCESS).tolist() == [False, True, False]
    assert after["terminated"].flatten().tolist() == [False, True, False]
    bridge.enqueue([8])
    reset = bridge.reset(after.clone().set("_reset", after["done"]))
    assert _column(reset, keys.STATE, keys.EPISODE).tolist() == [0, 8, 7]
    assert _column(reset, keys.STATE, keys.TURN).tolist() == [1, 0, 1]
    assert reset[keys.IMAGE][:, 0, 0, 0].tolist() == [10, 18, 17], "the picture is the seed"


def test_truncation_is_not_termination(bridge: PoolEnv) -> None:
    after = _act(bridge, _start(bridge), "cut", "win", "")
    assert after["truncated"].flatten().tolist() == [True, False, True]
    assert after["terminated"].flatten().tolist() == [False, True, False]
    assert after["done"].all()


def test_a_text_longer_than_its_capacity_is_one_clear_error(bridge: PoolEnv) -> None:
    with pytest.raises(ContractError, match=r"text is 300 bytes; its space allows 200"):
        _act(bridge, _start(bridge), "long", "go", "go")


class Says:
    """A policy that says what a function of episode and turn tells it; nothing is sampled."""

    reads_context = False

    def __init__(self, encoder: Encoder, action: Callable[[int, int], str]) -> None:
        self._encoder, self._action = encoder, action

    def replies(self, contexts: list[Context]) -> list[Reply]:
        texts = [f'{{"action": "{self._action(c.episode, c.turn)}"}}' for c in contexts]
        return [scripted_reply(self._encoder.reply(text), "random") for text in texts]


def _play(
    env_id: str, encoder: Encoder, policy: Policy, episodes: Sequence[int], *, num_envs: int = 2
) -> tuple[list[Episode], list[tuple[int, str]]]:
    with Player(env_id, num_envs, encoder, max_reply=32, workers=False) as player:
        played = list(player.play(policy, episodes, episode_seed(1, "test"), source="test"))
        return sorted(played, key=lambda episode: episode.index), player.discarded


def test_a_player_plays_exactly_the_episodes_asked_for_with_the_seeds_of_their_indices(
    trouble: str, tiny_encoder: Encoder
) -> None:
    policy = Says(tiny_encoder, lambda episode, turn: "win" if turn == episode % 4 else "go")
    asked = [3, 11, 2, 30, 7]
    with Player(trouble, 2, tiny_encoder, max_reply=32, workers=False) as player:
        seeds = episode_seed(1, "test")
        first = list(player.play(policy, asked, seeds, source="test"))
        second = list(player.play(policy, [5], episode_seed(2, "test"), source="test"))
    assert sorted(episode.index for episode in first) == sorted(asked)
    for episode in first:
        assert episode.seed == seeds(episode.index)
        assert episode.num_turns == episode.index % 4 + 1
        assert len(episode.observations) == episode.num_turns + 1
        shown = [observation.text.split()[1:3] for observation in episode.observations]
        assert shown == [[str(episode.seed), str(turn)] for turn in range(episode.num_turns + 1)]
        assert episode.terminated
        assert episode.success
    assert [(episode.index, episode.seed) for episode in second] == [(5, episode_seed(2, "test")(5))]


def test_an_environment_that_breaks_once_is_played_again(trouble: str, tiny_encoder: Encoder) -> None:
    broken: list[int] = []

    def action(episode: int, turn: int) -> str:
        if episode == 2 and turn == 1 and not broken:
            broken.append(episode)
            return "raise"
        return "win" if turn == 2 else "go"

    episodes, discarded = _play(trouble, tiny_encoder, Says(tiny_encoder, action), range(5))
    assert broken == [2]
    assert discarded == []
    assert [(e.index, e.num_turns) for e in episodes] == [(index, 3) for index in range(5)]


def test_one_that_keeps_breaking_is_given_up_and_counted_and_others_are_unaffected(
    trouble: str, tiny_encoder: Encoder
) -> None:
    policy = Says(
        tiny_encoder, lambda episode, turn: "raise" if (episode, turn) == (2, 1) else ("go", "win")[turn]
    )
    episodes, discarded = _play(trouble, tiny_encoder, policy, range(5))
    assert [index for index, _ in discarded] == [2]
    assert "wheel came off" in discarded[0][1]
    whole, _ = _play(trouble, tiny_encoder, Says(tiny_encoder, lambda e, t: ("go", "win")[t]), [0, 1, 3, 4])
    assert [_facts(episode) for episode in episodes] == [_facts(episode) for episode in whole]


def test_an_environment_that_breaks_in_every_episode_is_soon_given_up_for_good(
    trouble: str, tiny_encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    with Player(trouble, 2, tiny_encoder, max_reply=32, workers=False) as player:
        policy = Says(tiny_encoder, lambda episode, turn: "raise")
        with pytest.raises(PluginError) as caught:
            list(player.play(policy, range(100), episode_seed(1, "test"), source="test"))
        assert 8 <= len(player.discarded) < 12
    said = str(caught.value)
    assert said.startswith(
        "no episode of 'trouble/Do-v0' could be played to the end: ValueError: wheel came off (trouble_env.py:"
    )
    assert said.endswith("); `vlmq check trouble/Do-v0` tells more.")
    (told,) = caplog.records
    assert told.getMessage().startswith("env 'trouble/Do-v0' broke: ValueError: wheel came off (")
    assert told.exc_info is None


@pytest.mark.parametrize("works", [True, False], ids=["known to work", "works once"])
def test_one_that_works_may_break_as_often_as_it_likes(
    trouble: str, tiny_encoder: Encoder, works: bool
) -> None:
    with Player(trouble, 2, tiny_encoder, max_reply=32, workers=False) as player:
        policy = Says(tiny_encoder, lambda episode, turn: "raise" if episode or works else "win")
        played = player.play(policy, range(12), episode_seed(1, "test"), source="test", works=works)
        assert [episode.index for episode in played] == ([] if works else [0])
        assert len(player.discarded) == (12 if works else 11)


def test_an_experts_action_that_does_not_fit_a_reply_is_refused(tiny_encoder: Encoder) -> None:
    said = r"the action 'wait' takes \d+ tokens as a reply, and model\.max_reply is 3; raise it\."
    with Player("line/Recall-v0", 1, tiny_encoder, max_reply=3, workers=False) as player:
        policy = ScriptedPolicy(tiny_encoder, seed=1, expert=1.0)
        with pytest.raises(UserError, match=said):
            list(player.play(policy, [0], episode_seed(1, "test"), source="test"))


def test_random_actions_that_do_not_fit_are_cut_and_told_once(
    tiny_encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    with Player("line/Recall-v0", 1, tiny_encoder, max_reply=3, workers=False) as player:
        policy = ScriptedPolicy(tiny_encoder, seed=1)
        played = list(player.play(policy, [0, 1], episode_seed(1, "test"), source="test"))
    assert {len(turn.reply_ids) for episode in played for turn in episode.turns} == {3}
    (said,) = caplog.messages
    assert "and model.max_reply is 3: random replies like it are cut" in said


def test_a_garbled_reply_that_does_not_fit_is_cut(tiny_encoder: Encoder) -> None:
    with Player("line/Recall-v0", 1, tiny_encoder, max_reply=3, workers=False) as player:
        policy = ScriptedPolicy(tiny_encoder, seed=1, corruption=1.0)
        (episode,) = player.play(policy, [0], episode_seed(1, "test"), source="test")
    assert max(len(turn.reply_ids) for turn in episode.turns) == 3


def test_it_is_played_again_where_the_fresh_environment_is(trouble: str) -> None:
    bridge = _bridge(trouble, 2, range(4), lambda index: index)
    now = _act(bridge, _start(bridge), "win", "raise")
    assert _column(now, keys.STATE, "failed").tolist() == [0, 1]
    assert _column(bridge.reset(), keys.STATE, "episode").tolist() == [2, 1]
    assert bridge.discarded == []
    bridge.close()


def test_what_broke_in_one_stream_of_episodes_is_not_held_against_another(
    trouble: str, tiny_encoder: Encoder
) -> None:
    with Player(trouble, 2, tiny_encoder, max_reply=32, workers=False) as player:
        for seed in 1, 2, 3:
            broken: list[int] = []

            def action(episode: int, turn: int, broken: list[int] = broken) -> str:
                if episode == 1 and not broken:
                    broken.append(episode)
                    return "raise"
                return "win"

            played = player.play(
                Says(tiny_encoder, action), range(3), episode_seed(seed, "test"), source="test"
            )
            assert sorted(episode.index for episode in played) == [0, 1, 2]
        assert player.discarded == []


def test_an_episode_that_cannot_even_be_reset_is_given_up_whoever_plays(
    trouble: str, tiny_encoder: Encoder
) -> None:
    with Player(trouble, 2, tiny_encoder, max_reply=32, workers=False) as player:
        policy = ScriptedPolicy(tiny_encoder, seed=1, expert=1.0)
        played = player.play(policy, range(4), lambda index: 666 if index == 1 else index, source="expert")
        assert sorted(episode.index for episode in played) == [0, 2, 3]
        assert [index for index, _ in player.discarded] == [1]
        assert "no such seed" in player.discarded[0][1]


@pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "sampled"])
def test_episodes_do_not_depend_on_how_many_environments_play(
    tiny_encoder: Encoder, tiny_backbone: Backbone, temperature: float
) -> None:
    sampling = Sampling(6, temperature, tiny_encoder.end_id, tiny_encoder.pad_id, tiny_encoder.banned_ids)
    policy = ModelPolicy(tiny_backbone, tiny_encoder, sampling, seed=3, explore=(0.3, 0.3))
    two, _ = _play("line/Recall-v0", tiny_encoder, policy, range(7), num_envs=2)
    five, _ = _play("line/Recall-v0", tiny_encoder, policy, range(7), num_envs=5)
    assert [_facts(episode) for episode in two] == [_facts(episode) for episode in five]
    assert len({bytes(turn.reply_ids) for episode in two for turn in episode.turns}) > 3


def _facts(episode: Episode) -> object:
    """What an episode was, its turns included; the process that played it left out."""
    shown = [
        (observation.text.split()[1:], None if observation.image is None else observation.image.tobytes())
        for observation in episode.observations
    ]
    turns = [(turn.action, turn.reply_ids.tolist(), turn.reward, turn.digest) for turn in episode.turns]
    return episode.index, episode.seed, shown, turns, episode.terminated, episode.truncated, episode.success


def test_a_worker_that_dies_costs_one_try_of_one_episode(
    trouble: str, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    flag = tmp_path / "died"

    def action(episode: int, turn: int) -> str:
        if episode == 1 and turn == 1 and not flag.exists():
            flag.touch()
            return "die"
        return "win" if turn == 1 else "go"

    with Player(trouble, 2, tiny_encoder, max_reply=32, workers=True) as player:
        played = player.play(Says(tiny_encoder, action), range(3), lambda index: index, source="test")
        assert sorted((episode.index, episode.num_turns) for episode in played) == [(0, 2), (1, 2), (2, 2)]
        assert player.discarded == []
    assert flag.exists()


def _asynchronous(
    env_id: str, encoder: Encoder, action: Callable[[int, int], str], count: int, *, asynchronous: bool = True
) -> tuple[list[Episode], list[tuple[int, str]]]:
    """Episodes in the order in which they ended, each environment in a process of its own."""
    with Player(
        env_id, 2, encoder, max_reply=32, workers=True, timeout_s=3.0, asynchronous=asynchronous
    ) as player:
        policy, seeds = Says(encoder, action), episode_seed(1, "test")
        return list(player.play(policy, range(count), seeds, source="test")), player.discarded


def test_a_slow_environment_holds_up_nobody_else(trouble: str, tiny_encoder: Encoder) -> None:
    def action(episode: int, turn: int) -> str:
        return "sleep 2" if (episode, turn) == (0, 0) else ("go", "go", "win")[turn]

    held_up, _ = _asynchronous(trouble, tiny_encoder, action, 6, asynchronous=False)
    free, _ = _asynchronous(trouble, tiny_encoder, action, 6)
    assert [episode.index for episode in held_up][:2] == [0, 1]
    assert [episode.index for episode in free] == [1, 2, 3, 4, 5, 0]
    by_index = sorted(free, key=lambda episode: episode.index)
    assert [_facts(episode) for episode in by_index] == [
        _facts(episode) for episode in sorted(held_up, key=lambda episode: episode.index)
    ]


@pytest.mark.parametrize("trouble_made", ["raise", "die", "hang"])
def test_an_environment_that_keeps_breaking_harms_no_other_asynchronously_either(
    trouble: str, tiny_encoder: Encoder, trouble_made: str
) -> None:
    def action(episode: int, turn: int) -> str:
        return trouble_made if (episode, turn) == (2, 1) else ("go", "win")[turn]

    episodes, discarded = _asynchronous(trouble, tiny_encoder, action, 5)
    assert [index for index, _ in discarded] == [2]
    assert sorted((episode.index, episode.num_turns) for episode in episodes) == [
        (0, 2), (1, 2), (3, 2), (4, 2),
    ]  # fmt: skip


def test_an_episode_that_cannot_be_reset_is_given_up_asynchronously_too(
    trouble: str, tiny_encoder: Encoder
) -> None:
    with Player(trouble, 2, tiny_encoder, max_reply=32, workers=True) as player:
        policy = Says(tiny_encoder, lambda episode, turn: "win")
        played = player.play(policy, range(4), lambda index: 666 if index == 1 else index, source="test")
        assert sorted(episode.index for episode in played) == [0, 2, 3]
        assert [index for index, _ in player.discarded] == [1]


def test_one_batch_of_replies_answers_all_environments_that_are_as_quick_as_each_other(
    trouble: str, tiny_encoder: Encoder
) -> None:
    asked: list[int] = []

    class Slow(Says):
        def replies(self, contexts: list[Context]) -> list[Reply]:
            asked.append(len(contexts))
            time.sleep(0.6)
            return super().replies(contexts)

    with Player(trouble, 4, tiny_encoder, max_reply=32, workers=True) as player:
        policy = Slow(tiny_encoder, lambda episode, turn: "win" if turn == 8 else "go")
        assert len(list(player.play(policy, range(4), lambda index: index, source="test"))) == 4
    # Eight turns each. The workers do not start together, and who starts sooner ends sooner; those between are shared.
    assert asked.count(4) >= 5, asked
    assert len(asked) <= 11, asked


def test_an_episode_of_several_tasks_goes_under_its_own_id(tiny_encoder: Encoder) -> None:
    policy = ScriptedPolicy(tiny_encoder, seed=1, expert=1.0)
    whole = _play("line/Either-v0", tiny_encoder, policy, range(12))[0]
    assert {episode.env_id for episode in whole} == {"line/Walk-v0", "line/Recall-v0"}
    for episode in whole:
        asks = episode.turns[0].observation.text.split()[0]
        assert episode.env_id == {"Move": "line/Walk-v0", "Remember": "line/Recall-v0"}[asks]
    with Player("line/Either-v0", 2, tiny_encoder, max_reply=32, workers=True) as player:
        elsewhere = list(player.play(policy, range(12), episode_seed(1, "test"), source="test"))
    assert {episode.index: episode.env_id for episode in elsewhere} == {e.index: e.env_id for e in whole}
    row = judge("expert", [Outcome.of(e) for e in whole], 1)
    assert sum(task["episodes"] for task in row.extras["tasks"]) == 12
    assert [task["env_id"] for task in row.extras["tasks"]] == ["line/Recall-v0", "line/Walk-v0"]
    only = [episode for episode in whole if episode.env_id == "line/Walk-v0"]
    assert "tasks" not in judge("expert", [Outcome.of(e) for e in only], 1).extras
