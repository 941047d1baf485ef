"""A trained agent from Python acts as the command line judged it; its exported model is a plain one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import SmallRun

import vlmq
from vlmq.api import Episode, ModelError
from vlmq.data.store import EpisodeStore
from vlmq.env.registry import make
from vlmq.trained.agent import Agent, load

MEMORY = """\
seed_everything: 1
trainer: {{accelerator: cpu, devices: 1, val_check_interval: 4, enable_progress_bar: false}}
model:
  backbone: {model}
  history: {history}
  max_reply: 8
  learning_rate: 3.0e-3
  warmup_updates: 1
  critic: {{members: 1, width: 8, dim: 4}}
  phases: [{{name: warmup, updates: 4, filter: always}}]
data:
  env: line/Recall-v0
  num_envs: 3
  batch_size: 8
  fragment_turns: null
  dataset: {dataset}
  collect: {{policy: random, episodes: 8}}
  evaluation: {{episodes: 2, final_episodes: 3}}
"""


def _run(folder: Path, model: Path, history: str, *options: str) -> tuple[SmallRun, Path]:
    config = folder / "config.yaml"
    config.write_text(MEMORY.format(model=model, history=history, dataset=folder / "dataset"))
    run = SmallRun(config, folder)
    assert run.vlmq("fit", folder / "run", *options) == 0
    return run, folder / "run"


def _greedy_play(run: SmallRun, run_dir: Path, folder: Path, *options: str) -> list[Episode]:
    """The greedy model's own episodes, recorded by `vlmq collect`."""
    played = ("--data.dataset", str(folder / "played"), "--data.collect.policy", "model")
    how = ("--data.collect.temperature", "0", "--data.collect.episodes", "3", "--ckpt_path", "last")
    assert run.vlmq("collect", run_dir, *played, *how, *options) == 0
    return list(EpisodeStore.open(folder / "played"))


def _follow(agent: Agent, episodes: list[Episode]) -> None:
    for episode in episodes:
        agent.reset()
        for turn in episode.turns:
            action = agent.act(turn.observation.image, turn.observation.text)
            assert agent.reply == turn.reply
            assert action == turn.action


@pytest.mark.parametrize("history", ["none", "1", "2\n  history_pictures: 0", "all"])
def test_the_agent_says_what_the_greedy_policy_said_to_the_same_observations(
    tiny_directory: Path, tmp_path: Path, history: str
) -> None:
    # Hardly trained, it says something else to everything it sees.
    run, run_dir = _run(tmp_path, tiny_directory, history, "--model.learning_rate", "1.0e-6")
    episodes = _greedy_play(run, run_dir, tmp_path)
    replies = [turn.reply for episode in episodes for turn in episode.turns]
    assert len(replies) >= 12
    assert len(set(replies)) >= 3
    _follow(vlmq.load(run_dir), episodes)


def test_a_checkpoint_of_random_weights_holds_what_was_never_trained_too(
    tiny_directory: Path, tmp_path: Path
) -> None:
    drawn = (
        "--model.weights",
        "random",
        "--model.freeze_vision",
        "true",
        "--model.critic.rows",
        "tied",
    )
    run, run_dir = _run(tmp_path, tiny_directory, "none", "--model.learning_rate", "1.0e-6", *drawn)
    torch.manual_seed(99)
    _follow(vlmq.load(run_dir), _greedy_play(run, run_dir, tmp_path, *drawn))
    first, second = vlmq.load(run_dir).model.state_dict(), vlmq.load(run_dir).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_agent_reaches_the_success_that_validate_reports(small: SmallRun, tmp_path: Path) -> None:
    from vlmq.report.results import read_results
    from vlmq.rollout.collector import episode_seed

    run_dir = tmp_path / "run"
    assert small.vlmq("fit", run_dir, "--trainer.max_steps", "4") == 0
    assert small.vlmq("validate", run_dir, "--ckpt_path", "last") == 0
    row = read_results(run_dir / "validate.json")[0]
    agent, env = load(run_dir), make("line/Walk-v0", variation=False, turns=6)
    seed_of = episode_seed(1, "evaluation 0")
    returns, turns, valid = [], 0, 0
    for index in range(row.episodes):
        agent.reset()
        observation, info = env.reset(seed=seed_of(index))
        total, ended = 0.0, False
        while not ended:
            action = agent.act(observation["image"], observation["text"])
            observation, reward, terminated, truncated, info = env.step(action)
            total, ended, turns = total + float(reward), terminated or truncated, turns + 1
            valid += action != "" and info["action_ok"]
        returns.append(total)
    assert np.mean(returns) == pytest.approx(row.episode_return)
    assert valid / turns == pytest.approx(row.syntax)
    assert turns / row.episodes == pytest.approx(row.extras["turns"])


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapters"])
def test_an_exported_model_is_a_plain_one_with_the_same_logits(
    tiny_directory: Path, tmp_path: Path, lora: bool
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    adapters = ("--model.lora.rank", "4", "--model.learning_rate", "3.0e-2") if lora else ()
    _, run_dir = _run(tmp_path, tiny_directory, "none", *adapters)
    agent = load(run_dir)
    episode = EpisodeStore.open(tmp_path / "dataset")[0]
    segment = agent.encoder.prompt(episode.turns[0].observation, first=True)
    from vlmq.data.batch import context_row

    inputs = agent.encoder.collate([context_row([segment], [])], left=False)
    with torch.no_grad():
        before = agent.model.backbone.model(**inputs).logits
        agent.export(tmp_path / "exported")
        merged = agent.model.backbone.model(**inputs).logits
        plain, report = AutoModelForImageTextToText.from_pretrained(
            tmp_path / "exported", output_loading_info=True
        )
        after = plain(**inputs).logits
        base = AutoModelForImageTextToText.from_pretrained(tiny_directory)(**inputs).logits
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    torch.testing.assert_close(merged, before, atol=1e-4, rtol=0)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=0)
    assert (before - base).abs().max() > 1e-2, "training changed nothing, so nothing was compared"
    assert "lora" not in json.dumps(list(plain.state_dict()))
    processor = AutoProcessor.from_pretrained(tmp_path / "exported")
    assert processor.tokenizer.get_vocab() == agent.encoder.tokenizer.get_vocab()
    # The exported directory is a model like any other: it can be trained again.
    assert agent.encoder.load(tmp_path / "exported").fingerprint == agent.encoder.fingerprint


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="train first with `vlmq fit`"):
        vlmq.load(tmp_path)
