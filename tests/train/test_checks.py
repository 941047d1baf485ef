"""A difference between acting and learning, planted anywhere, stops the run before its first update."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vlmq.api import Episode, ModelError, Observation, UserError
from vlmq.cli import main
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import Backbone
from vlmq.model.generate import Sampling
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder, Segment
from vlmq.prompt.pixels import Pixels
from vlmq.prompt.window import History
from vlmq.rollout.collector import Player, episode_seed
from vlmq.rollout.policies import ModelPolicy
from vlmq.train import cli as _heavy  # noqa: F401  # imported here: its loggers keep the stream they find
from vlmq.train.checks import check_acting, check_encoding, check_kept, check_log_probs, check_phases
from vlmq.train.datamodule import VlmqDataModule
from vlmq.train.schedule import Phase

CPU = torch.device("cpu")
WHOLE = History("all")
HISTORIES = (History(), History(1), History(2, 0), WHOLE)


@pytest.fixture(scope="module")
def model(tiny_backbone: Backbone) -> ActorCritic:
    return ActorCritic(copy.deepcopy(tiny_backbone), CriticConfig(1, 8, 4), trunk_gradient=1.0).eval()


@pytest.fixture(scope="module")
def played(tiny_encoder: Encoder, tiny_backbone: Backbone) -> dict[History, list[Episode]]:
    """Three episodes of the model's own play, for each length of history."""
    sampling = Sampling(6, 1.0, tiny_encoder.end_id, tiny_encoder.pad_id, tiny_encoder.banned_ids)
    policy = ModelPolicy(tiny_backbone, tiny_encoder, sampling, seed=2)
    episodes = {}
    for history in HISTORIES:
        with Player("line/Recall-v0", 3, tiny_encoder, history=history, max_reply=6) as player:
            episodes[history] = list(player.play(policy, range(3), episode_seed(2, "test"), source="model"))
    return episodes


def _with_turn(episode: Episode, place: int, **changes: object) -> Episode:
    turns = list(episode.turns)
    turns[place] = replace(turns[place], **changes)  # type: ignore[arg-type]
    return replace(episode, turns=tuple(turns))


def _without_positions(module: torch.nn.Module, _: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The leak: sequences joined as if they were one."""
    return (), {name: value for name, value in inputs.items() if name != "position_ids"}


@pytest.mark.parametrize("history", HISTORIES)
def test_untouched_play_passes_both_checks(
    played: dict[History, list[Episode]], model: ActorCritic, tiny_encoder: Encoder, history: History
) -> None:
    check_encoding(played[history], tiny_encoder, history)
    assert check_log_probs(played[history], model, tiny_encoder, history, CPU) < 1e-4


def test_packed_windows_of_unequal_length_pass_too(
    played: dict[History, list[Episode]], model: ActorCritic, tiny_encoder: Encoder
) -> None:
    # A window of nine turns holds all that an episode of seven has seen.
    assert check_log_probs(played[WHOLE], model, tiny_encoder, History(9), CPU, packed=True) < 1e-4


def test_a_model_family_that_cannot_pack_is_caught(
    played: dict[History, list[Episode]], model: ActorCritic, tiny_encoder: Encoder
) -> None:
    other = copy.deepcopy(model)
    other.backbone.model.model.register_forward_pre_hook(_without_positions, with_kwargs=True)
    with pytest.raises(ModelError, match="try data.packed false"):
        check_log_probs(played[WHOLE], other, tiny_encoder, History(9), CPU, packed=True)


def test_sequences_that_see_one_another_are_caught_where_whole_episodes_never_share_a_row(
    played: dict[History, list[Episode]], model: ActorCritic, tiny_encoder: Encoder
) -> None:
    other = copy.deepcopy(model)
    other.backbone.model.model.register_forward_pre_hook(_without_positions, with_kwargs=True)
    two = played[WHOLE][:2]
    assert check_log_probs(two, other, tiny_encoder, WHOLE, CPU, packed=True) < 1e-4, "no row is shared"
    options = {"packed": True, "sharded": False}
    check_acting(two, model, tiny_encoder, WHOLE, CPU, **options)
    with pytest.raises(
        ModelError, match="sequences of .* that share a row see one another: .* set data.packed false"
    ):
        check_acting(two, other, tiny_encoder, WHOLE, CPU, **options)


class AltersIds(Encoder):
    """Encodes every prompt with one more token in front."""

    def _prompt_ids(self, observation: Observation, first: bool) -> NDArray[np.int32]:
        return np.concatenate([[self.end_id], super()._prompt_ids(observation, first)]).astype(np.int32)


class AltersPixels(Encoder):
    """Shows one pixel of every picture a little brighter."""

    def pixels(self, image: NDArray[np.uint8]) -> Pixels:
        brighter = image.copy()
        brighter[0, 0, 0] ^= 1
        return super().pixels(brighter)


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("kind", [AltersIds, AltersPixels])
def test_an_encoder_that_alters_ids_or_pixels_is_caught(
    played: dict[History, list[Episode]], tiny_encoder: Encoder, history: History, kind: type[Encoder]
) -> None:
    with pytest.raises(ModelError, match="episode 0, turn 0: encoding .* no training was started"):
        check_encoding(sorted(played[history], key=lambda e: e.index), kind(tiny_encoder.processor), history)


def test_a_picture_that_changed_between_acting_and_learning_is_caught_at_its_turn(
    played: dict[History, list[Episode]], tiny_encoder: Encoder
) -> None:
    episode = played[History()][0]
    image = episode.turns[2].observation.image
    assert image is not None
    changed = image.copy()
    changed[5, 5] ^= 0x10
    turn = episode.turns[2].observation
    altered = _with_turn(episode, 2, observation=Observation(turn.text, changed))
    with pytest.raises(ModelError, match=f"episode {episode.index}, turn 2:"):
        check_encoding([altered], tiny_encoder, History())


def test_an_earlier_reply_that_changed_is_caught_where_it_is_context(
    played: dict[History, list[Episode]], tiny_encoder: Encoder
) -> None:
    episode = played[WHOLE][0]
    ids = episode.turns[0].reply_ids.copy()
    ids[0] += 1
    altered = _with_turn(episode, 0, reply_ids=ids)
    with pytest.raises(ModelError, match="turn 1:"):
        check_encoding([altered], tiny_encoder, WHOLE)


def test_a_reply_tokenised_anew_is_caught_where_it_was_not_canonical(
    played: dict[History, list[Episode]], tiny_encoder: Encoder
) -> None:
    def anew(episode: Episode) -> Episode:
        turns = [replace(turn, reply_ids=tiny_encoder.reply(turn.reply)) for turn in episode.turns]
        return replace(episode, turns=tuple(turns))

    with pytest.raises(ModelError, match="encoding the stored observation"):
        check_encoding([anew(episode) for episode in played[WHOLE]], tiny_encoder, WHOLE)


@pytest.mark.parametrize("history", HISTORIES)
def test_a_model_whose_log_probs_differ_is_caught(
    played: dict[History, list[Episode]], model: ActorCritic, tiny_encoder: Encoder, history: History
) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.backbone.parameters():
            parameter.mul_(1.01)
    with pytest.raises(ModelError, match="log-probabilities differ .* no training was started"):
        check_log_probs(played[history], other, tiny_encoder, history, CPU)


def test_a_log_prob_that_is_no_number_is_not_taken_for_equal(
    played: dict[History, list[Episode]], model: ActorCritic, tiny_encoder: Encoder
) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(other.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="differ"):
        check_log_probs(played[History()], other, tiny_encoder, History(), CPU)


def test_wrong_positions_are_caught(
    played: dict[History, list[Episode]], model: ActorCritic, tiny_encoder: Encoder
) -> None:
    short = [_with_turn(e, 0, reply_ids=e.turns[0].reply_ids[::-1].copy()) for e in played[History()]]
    with pytest.raises(ModelError, match="log-probabilities differ"):
        check_log_probs(short, model, tiny_encoder, History(), CPU)


CONFIG = """\
trainer: {{accelerator: cpu, devices: 1, default_root_dir: {run}, val_check_interval: 2, enable_progress_bar: false}}
model:
  backbone: {model}
  max_reply: 4
  critic: {{members: 1, width: 8, dim: 4}}
  phases: [{{name: warmup, updates: 2, filter: always}}]
data:
  env: line/Walk-v0
  num_envs: 2
  batch_size: 4
  collect: {{policy: random, episodes: 4}}
  evaluation: {{episodes: 2, final_episodes: 2}}
"""


@pytest.mark.parametrize("planted", ["ids", "pixels", "nothing"])
def test_a_difference_planted_between_acting_and_learning_stops_vlmq_fit(
    tiny_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    planted: str,
) -> None:
    """The actor's prompts are altered on their way out; the learner encodes the stored observations."""
    from vlmq.rollout import actor

    class Altered(actor._Memory):
        def segment(self, turn: int, first: bool, shown: bool, encoder: Encoder) -> Segment:
            observation = self._observations[turn]
            if planted == "ids":
                return encoder.prompt(Observation(f"{observation.text} ", observation.image), first=first)
            if planted == "pixels":
                assert observation.image is not None
                return encoder.prompt(Observation(observation.text, 255 - observation.image), first=first)
            return super().segment(turn, first, shown, encoder)

    monkeypatch.setattr(actor, "_Memory", Altered)
    monkeypatch.setattr("sys.argv", ["vlmq"])
    (tmp_path / "config.yaml").write_text(CONFIG.format(run=tmp_path / "run", model=tiny_directory))
    code = main(["fit", "--config", str(tmp_path / "config.yaml")])
    said = capsys.readouterr().err
    if planted == "nothing":
        assert code == 0, said
        return
    assert code == 2
    assert "encoding the stored observation does not give the ids and pixels that the actor saw" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("run/checkpoints/*.ckpt"))


def test_own_play_with_nowhere_to_play_is_refused_before_the_first_update() -> None:
    offline, online = Phase("offline", 5), Phase("online", 10, online=0.5)
    check_phases([offline], 4, VlmqDataModule())  # nothing is played, so nothing need fit the evaluations
    check_phases([online], 5, VlmqDataModule("line/Walk-v0"))
    with pytest.raises(UserError, match="phase 'online' learns from own play .* data.env is not set; name"):
        check_phases([offline, online], 5, VlmqDataModule())


@pytest.mark.parametrize("interval", [0.01, 0, None])
def test_evaluations_come_after_a_number_of_updates(interval: Any) -> None:
    with pytest.raises(
        UserError, match=f"val_check_interval is {interval}; give a number of updates, .* 5 or a"
    ):
        check_phases([Phase("a", 5), Phase("b", 10)], interval, VlmqDataModule("line/Walk-v0"))


def test_evaluations_after_a_share_of_the_run_must_come_at_the_end_of_every_phase_too() -> None:
    data = VlmqDataModule("line/Walk-v0")
    check_phases([Phase("a", 5)], 1.0, data)  # Lightning's default: once, at the end
    check_phases([Phase("a", 5), Phase("b", 10)], 1 / 3, data)
    with pytest.raises(UserError, match=r"\(1.0, which is 15 updates\); .* set it to 5 or a divisor of it"):
        check_phases([Phase("a", 5), Phase("b", 10)], 1.0, data)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"online": 0.01}, "online is 0.01, which is no fragment of a batch of 4"),
        ({"priority": 0.1}, "priority is 0.1, which is no fragment of a batch of 4"),
    ],
)
def test_a_share_that_is_no_fragment_is_refused(settings: dict[str, float], said: str) -> None:
    data = VlmqDataModule("line/Walk-v0", batch_size=4)
    check_phases([Phase("p", 1, **dict.fromkeys(settings, 0.5))], 1, data)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=said):
        check_phases([Phase("p", 1, **settings)], 1, data)  # type: ignore[arg-type]


def test_a_stream_has_no_priorities() -> None:
    stream: Any = object()
    with pytest.raises(UserError, match="draws by priority, but data.stream shows every episode once"):
        check_phases([Phase("p", 1, priority=0.5)], 1, VlmqDataModule(stream=stream))


def test_a_filter_of_episodes_that_keeps_none_of_the_data_is_refused() -> None:
    won, lost = np.array([True, False, False]), np.zeros(3, bool)
    good, best = Phase("good", 1, filter="success"), Phase("best", 1, filter="above_median")
    check_kept([good, best], won, np.array([1.0, 0.0, 0.0]))
    with pytest.raises(UserError, match="'good' has nothing to learn: of the 3 episodes .* none succeeds"):
        check_kept([good], lost, np.zeros(3))
    check_kept([Phase("good", 1, filter="success", online=0.5)], lost, np.zeros(3))  # own play may succeed
    with pytest.raises(UserError, match="'best' has nothing to learn: .* none has a return above the median"):
        check_kept([best], won, np.array([1.0, 1.0, 0.0]))
