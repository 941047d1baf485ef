"""The objective of the real update: with f = 1 it is plain fine-tuning, and the critic stays in its place."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vlmq.api import Turn, UserError
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.model.actor_critic import Output
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.train import objective
from vlmq.train.module import VlmqModule
from vlmq.train.schedule import ObservedUntil, Phase, Schedule

Turns = tuple[Turn, ...]
SFT = Phase("sft", 9, filter="always", critic=False)
WARM_UP = Phase("warm-up", 9, filter="always")


class Module(VlmqModule):
    """The module without a trainer: no learning rates to set, nothing to log to."""

    def _set_learning_rates(self, phase: Phase) -> None: ...

    def _log(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def pristine(tiny_directory: Path) -> Module:
    torch.manual_seed(0)
    module = Module(str(tiny_directory), [WARM_UP], critic=CriticConfig(2, 16, 8))
    module.configure_model()
    return module.eval()


@pytest.fixture
def module(pristine: Module) -> Module:
    return copy.deepcopy(pristine)


def _at(module: Module, phase: Phase) -> Module:
    module.schedule = Schedule([phase])
    return module


def _batch(encoder: Encoder, turns: Turns, *, terminated: bool = True) -> Batch:
    return build_batch([Fragment(turns, 0, 0, turns[0].observation, terminated)], encoder, History())


def _hugging_face_loss(module: Module, batch: Batch, row: int | None = None) -> Tensor:
    """The model's own loss, with every position that is no reply's labelled as ignored.

    Rows are told from the padding mask and the replies' lengths alone: each row ends with its reply.
    """
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    lengths = torch.bincount(batch.reply)
    labels = torch.full_like(ids, -100)
    for place, length in enumerate(lengths.tolist()):
        reply = slice(int(mask[place].sum()) - length, int(mask[place].sum()))
        labels[place, reply] = ids[place, reply]
    inputs = batch.inputs
    if row is not None:
        inputs, labels = {name: value[[row]] for name, value in inputs.items()}, labels[[row]]
    loss: Tensor = module.agent.backbone.model(**inputs, labels=labels).loss
    return loss


def _gradients(module: Module) -> dict[str, Tensor]:
    named = module.agent.backbone.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def test_unfiltered_the_loss_is_hugging_faces_own(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    turns = tuple(replace(turn, reply_ids=turn.reply_ids[-6:]) for turn in tiny_turns[:4])
    batch = _batch(tiny_encoder, turns)
    assert torch.bincount(batch.reply).tolist() == [6, 6, 6, 6]
    ours, theirs = _at(module, SFT).training_step(batch, 0), _hugging_face_loss(module, batch)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)


def test_with_unequal_replies_it_is_the_mean_of_their_own_losses(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = _batch(tiny_encoder, tiny_turns)
    assert len(set(torch.bincount(batch.reply).tolist())) > 2
    ours = _at(module, SFT).training_step(batch, 0)
    each = [float(_hugging_face_loss(module, batch, row).detach()) for row in range(len(tiny_turns))]
    assert float(ours.detach()) == pytest.approx(sum(each) / len(each), abs=1e-5)


def test_gradients_are_hugging_faces_own(module: Module, tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    batch = _batch(tiny_encoder, tuple(replace(t, reply_ids=t.reply_ids[-6:]) for t in tiny_turns[:3]))
    _at(module, SFT).training_step(batch, 0).backward()  # type: ignore[no-untyped-call]
    ours = _gradients(module)
    module.zero_grad()
    _hugging_face_loss(module, batch).backward()  # type: ignore[no-untyped-call]
    theirs = _gradients(module)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-5, rtol=1e-3)


def test_a_detached_critic_leaves_the_trunks_gradients_those_of_fine_tuning(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = _batch(tiny_encoder, tiny_turns, terminated=False)
    found = {}
    for name, phase, factor in (("sft", SFT, 0.0), ("detached", WARM_UP, 0.0), ("attached", WARM_UP, 1.0)):
        module.zero_grad()
        module.agent.trunk_gradient = factor
        _at(module, phase).training_step(batch, 0).backward()  # type: ignore[no-untyped-call]
        found[name] = _gradients(module)
        learns = any(p.grad is not None and p.grad.abs().max() > 0 for p in module.agent.critic.parameters())
        assert learns == (phase is WARM_UP)
    for name, gradient in found["sft"].items():
        torch.testing.assert_close(found["detached"][name], gradient, atol=1e-7, rtol=1e-5)
    assert any(not torch.allclose(found["attached"][n], g, atol=1e-5) for n, g in found["sft"].items())


def test_held_to_the_policy_the_critic_comes_to_prefer_what_the_data_say(
    tiny_directory: Path, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    """Twenty updates of the critic alone on one batch: Q(s, a) - V rises with the term, and hardly without."""
    batch = _batch(tiny_encoder, tiny_turns)
    rise = {}
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        config = CriticConfig(2, 16, 8, conservative=weight, conservative_over="policy")
        module = Module(str(tiny_directory), [WARM_UP], critic=config, trunk_gradient=0.0)
        module.configure_model()
        _at(module.eval(), WARM_UP)
        optimizer = torch.optim.Adam(module.agent.critic.parameters(), lr=1e-3)
        for _ in range(20):
            optimizer.zero_grad()
            module.training_step(batch, 0).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            output = module.agent(batch.inputs, batch.state_row, batch.state_position, batch.tokens)
        rise[weight] = float((output.q - output.value[:, : len(batch.tokens)]).mean())
    assert rise[0.5] > abs(rise[0.0]) + 0.1, rise


def test_behind_a_closed_gate_every_token_passes(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = _batch(tiny_encoder, tiny_turns)
    waiting = Phase("waiting", 9, filter="binary", margin=1e9, gate=0.5)
    losses = []
    for gate_open in (False, True):
        _at(module, waiting).schedule.gate_open = gate_open
        losses.append(float(module.training_step(batch, 0).detach()))
    plain = float(_at(module, WARM_UP).training_step(batch, 0).detach())
    assert losses[0] == plain
    assert losses[1] < plain - 1.0, "an open gate lets the filter drop everything; the critic's loss remains"


def test_tokens_that_the_filter_drops_pull_at_nothing(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = _batch(tiny_encoder, tiny_turns)
    module.agent.trunk_gradient = 0.0
    nobody = Phase("nobody", 1, filter="binary", margin=1e9)
    _at(module, nobody).training_step(batch, 0).backward()  # type: ignore[no-untyped-call]
    assert all(float(gradient.abs().max()) == 0.0 for gradient in _gradients(module).values())


def _targets(
    module: Module, batch: Batch, value: float = 2.0, **settings: float
) -> tuple[list[float], list[bool]]:
    """Targets where every state and every token is worth `value`, in units of the return range."""
    module.horizon = replace(module.horizon, **settings)
    states = torch.full((2, len(batch.state_row)), value)
    count = len(batch.tokens)
    nought, q = torch.zeros(count), states[:, :count]
    output = Output(nought, nought, q, states, states, target_q=q)
    targets, known = module.targets(batch, output)
    return targets.tolist(), known.tolist()


def test_termination_pays_nothing_after_it_and_truncation_does(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    turns = tiny_turns[3:4]  # reward 0.5
    for lam in (0.0, 1.0):
        settings = {"gamma_turn": 0.5, "lambda_token": lam, "lambda_turn": lam}
        ended, known = _targets(module, _batch(tiny_encoder, turns), **settings)
        assert ended[-1] == 0.5
        assert all(known)
        cut, known = _targets(module, _batch(tiny_encoder, turns, terminated=False), **settings)
        assert cut[-1] == 0.5 + 0.5 * 2.0
        assert all(known)


def test_rewards_are_divided_by_the_return_range(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    module.return_range.fill_(4.0)
    ended, _ = _targets(module, _batch(tiny_encoder, tiny_turns[3:4]))
    assert ended[-1] == 0.5 / 4.0


def test_discounts_apply_inside_a_reply_and_at_its_end(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = _batch(tiny_encoder, tiny_turns[:2])
    # One-step targets of states worth 2: gamma_token * 2 inside, reward + gamma_turn * 2 at a reply's end.
    found, _ = _targets(module, batch, gamma_token=0.75, gamma_turn=0.5, lambda_token=0.0, lambda_turn=0.0)
    first = len(tiny_turns[0].reply_ids)
    assert found[: first - 1] == [1.5] * (first - 1)
    assert found[first - 1] == tiny_turns[0].reward + 1.0
    assert found[-1] == tiny_turns[1].reward


def test_zero_rewards_keep_the_boundary_between_turns(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    silent = (
        replace(tiny_turns[0], reward=0.0),
        replace(tiny_turns[1], reward=0.0),
        replace(tiny_turns[2], reward=8.0),
    )
    found, _ = _targets(
        module,
        _batch(tiny_encoder, silent),
        gamma_token=1.0,
        gamma_turn=0.5,
        lambda_token=1.0,
        lambda_turn=1.0,
    )
    lengths = [len(turn.reply_ids) for turn in silent]
    assert found == [2.0] * lengths[0] + [4.0] * lengths[1] + [8.0] * lengths[2]


def test_with_gamma_token_one_the_value_of_a_turn_does_not_depend_on_its_reply_length(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    starts = set()
    for length in (1, 3, 7):
        turn = replace(tiny_turns[1], reply_ids=tiny_turns[1].reply_ids[-length:])
        batch = _batch(tiny_encoder, (turn, tiny_turns[3]))
        found, _ = _targets(module, batch, gamma_token=1.0, gamma_turn=0.5, lambda_token=1.0, lambda_turn=1.0)
        starts.add(found[0])
    assert starts == {tiny_turns[1].reward + 0.5 * tiny_turns[3].reward}


def test_targets_that_rest_on_a_state_nobody_saw_are_left_out(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    cut = build_batch([Fragment(tiny_turns[:2], 0, 0, None, False)], tiny_encoder, History())
    lengths = [len(turn.reply_ids) for turn in tiny_turns[:2]]
    for lambda_token, lambda_turn, unknown in (
        (1.0, 1.0, sum(lengths)),
        (1.0, 0.0, lengths[1]),
        (0.0, 1.0, 1),
    ):
        _, known = _targets(module, cut, lambda_token=lambda_token, lambda_turn=lambda_turn)
        assert known == [True] * (sum(lengths) - unknown) + [False] * unknown
    _at(module, WARM_UP).horizon = replace(module.horizon, lambda_token=1.0, lambda_turn=1.0)
    module.training_step(cut, 0).backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in module.agent.critic.parameters() if p.grad is not None]
    assert all(float(gradient.abs().max()) == 0.0 for gradient in gradients)


def test_replies_drawn_by_priority_do_not_teach_the_critic(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = _batch(tiny_encoder, tiny_turns[:2])
    found = {}
    for uniform in ((True, True), (True, False), (False, False)):
        module.zero_grad()
        _at(module, WARM_UP)
        module.training_step(replace(batch, uniform=torch.tensor(uniform)), 0).backward()  # type: ignore[no-untyped-call]
        bias = module.agent.critic.members[0].bias.grad
        assert bias is not None
        found[uniform] = set(bias.nonzero().flatten().tolist())
    ids = [set(turn.reply_ids.tolist()) for turn in tiny_turns[:2]]
    assert found == {(True, True): ids[0] | ids[1], (True, False): ids[0], (False, False): set()}


def test_observed_outcomes_stand_for_q_as_far_as_asked_and_known(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = _batch(tiny_encoder, tiny_turns[:2])
    with torch.no_grad():
        output = module.agent(batch.inputs, batch.state_row, batch.state_position, batch.tokens)
    count = len(batch.tokens)
    value, config = output.value[:, :count].mean(0), module.agent.critic.config
    wanted, known = torch.arange(count) + 0.5, torch.arange(count) != 2
    plain = objective.advantages(batch, output, config, wanted, known)
    unknown = torch.where(known, wanted, math.nan)
    for share in (0.0, 0.25, 1.0):
        found = objective.lean_on_returns(plain, batch, output, config, unknown, known, share)
        expected = torch.where(known, (1 - share) * plain + share * (wanted - value), plain)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cut", range(1, 6))
def test_what_an_episode_earned_does_not_depend_on_where_a_fragment_of_it_ends(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns, cut: int
) -> None:
    horizon = replace(module.horizon, gamma_token=0.9, gamma_turn=0.7, syntax_penalty=0.25)
    expected: list[float] = []
    after = 0.0
    for turn in reversed(tiny_turns):
        for place in range(len(turn.reply_ids)):
            if place == 0:
                after = (turn.reward - 0.25 * (not turn.valid)) + 0.7 * after
            else:
                after *= 0.9
            expected.insert(0, after / 4.0)
    neighbour = Fragment(tiny_turns[3:4], 3, 0, None, True)
    fragment = Fragment(tiny_turns[:cut], 0, 0, tiny_turns[cut].observation, False, later=tiny_turns[cut:])
    for skip in range(cut):
        batch = build_batch([neighbour, replace(fragment, skip=skip)], tiny_encoder, History())
        found = objective.outcomes(batch, horizon, 4.0)[batch.reply > 0].tolist()
        start = sum(len(turn.reply_ids) for turn in tiny_turns[:skip])
        assert found == pytest.approx(expected[start : start + len(found)], abs=1e-5)


@pytest.mark.parametrize(("until", "learns"), [("episode", [True, False]), ("fragment", [True, True])])
def test_what_came_after_the_drawn_turns_decides_only_where_the_episode_is_observed(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns, until: ObservedUntil, learns: list[bool]
) -> None:
    phase = Phase("p", 9, margin=0.0, observed=1.0, observed_until=until, critic_weight=0.0)
    _at(module, phase)
    module.horizon = replace(module.horizon, gamma_turn=0.5)
    good = replace(tiny_turns[0], reward=9.0)
    for reward, expected in zip((9.0, -99.0), learns, strict=True):
        later = (replace(tiny_turns[1], reward=reward),)
        fragment = Fragment((good,), 0, 0, tiny_turns[1].observation, False, later=later)
        module.zero_grad()
        batch = build_batch([fragment], tiny_encoder, History())
        module.training_step(batch, 0).backward()  # type: ignore[no-untyped-call]
        moved = any(float(gradient.abs().max()) > 0.0 for gradient in _gradients(module).values())
        assert moved == expected


@pytest.fixture(scope="module")
def of_turns(tiny_directory: Path) -> Module:
    """A module whose critic knows turns only."""
    torch.manual_seed(0)
    module = Module(str(tiny_directory), [WARM_UP], critic=CriticConfig(2, 16, 8, value="turn"))
    module.configure_model()
    return module.eval()


def _cut_beside(neighbour: Turn, turn: Turn, encoder: Encoder) -> Batch:
    """One whole episode and one that broke off before anyone saw what followed."""
    whole = Fragment((neighbour,), 0, 0, None, True)
    return build_batch([whole, Fragment((turn,), 0, 0, None, False)], encoder, History())


@torch.no_grad()
def _forward(module: Module, batch: Batch) -> Output:
    output: Output = module.agent(batch.inputs, batch.state_row, batch.state_position, batch.tokens)
    return output


def test_a_reply_whose_target_nobody_saw_has_no_advantage_whatever_stands_beside_it(
    of_turns: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    config = of_turns.agent.critic.config
    for neighbour in tiny_turns[:2]:
        batch = _cut_beside(neighbour, tiny_turns[2], tiny_encoder)
        output = _forward(of_turns, batch)
        targets, known = of_turns.targets(batch, output)
        found = objective.advantages(batch, output, config, targets, known)
        cut = batch.reply == 1
        assert (found[cut] == 0.0).all()
        assert (found[~cut] != 0.0).all()
        assert objective.rated(batch, config, known).tolist() == (~cut).tolist()


@pytest.mark.parametrize(
    "phase", [Phase("p", 1, filter="exp"), Phase("p", 1, filter="always", objective="ppo_reply", online=1.0)]
)
def test_a_reply_without_an_advantage_teaches_the_actor_nothing(
    of_turns: Module, tiny_encoder: Encoder, tiny_turns: Turns, phase: Phase
) -> None:
    cut = build_batch([Fragment(tiny_turns[2:3], 0, 0, None, False)], tiny_encoder, History())
    cut = replace(cut, behaviour=torch.zeros_like(cut.behaviour))
    module = _at(copy.deepcopy(of_turns), phase)
    module.training_step(cut, 0).backward()  # type: ignore[no-untyped-call]
    assert all(float(gradient.abs().max()) == 0.0 for gradient in _gradients(module).values())


def test_with_a_critic_of_turns_what_was_observed_is_one_number_a_reply(
    of_turns: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = build_batch([Fragment(tiny_turns[:2], 0, 0, None, True)], tiny_encoder, History())
    output, config = _forward(of_turns, batch), of_turns.agent.critic.config
    returns, known = of_turns.targets(batch, output, of_turns.horizon.observed)
    plain = torch.zeros(len(batch.tokens))
    found = objective.lean_on_returns(plain, batch, output, config, returns, known, 1.0)
    assert output.value is not None
    gain = returns - output.value[:, : len(returns)].mean(0)
    for reply in range(batch.num_replies):
        own = batch.reply == reply
        assert found[own].tolist() == pytest.approx([float(gain[own][0])] * int(own.sum()))


def test_a_reply_that_is_not_valid_costs_the_syntax_penalty(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    batch = _batch(tiny_encoder, (tiny_turns[0],))
    for valid, cost in ((True, 0.0), (False, 0.25)):
        seen = replace(batch, valid=torch.tensor([valid]))
        plain, _ = _targets(module, seen, syntax_penalty=0.0)
        found, _ = _targets(module, seen, syntax_penalty=0.25)
        assert found == pytest.approx([value - cost for value in plain])


def test_padding_never_changes_the_loss(module: Module, tiny_encoder: Encoder, tiny_turns: Turns) -> None:
    batch = _batch(tiny_encoder, tiny_turns[:3], terminated=False)
    wide = copy.deepcopy(batch)
    extra = torch.full((len(batch.inputs["input_ids"]), 5), 77)
    wide.inputs["input_ids"] = torch.cat([batch.inputs["input_ids"], extra], 1)
    wide.inputs["attention_mask"] = torch.cat([batch.inputs["attention_mask"], torch.zeros_like(extra)], 1)
    _at(module, WARM_UP)
    one, other = (float(module.training_step(b, 0).detach()) for b in (batch, wide))
    assert one == pytest.approx(other, abs=1e-5)


def test_each_update_is_counted_and_moves_the_polyak_copy_if_the_critic_learns(module: Module) -> None:
    module.tau = 0.25
    idle = torch.optim.SGD(module.agent.critic.parameters(), lr=0.0)
    for phase, share in ((SFT, 0.0), (WARM_UP, 0.25)):
        _at(module, phase)
        with torch.no_grad():
            for online in module.agent.critic.parameters():
                online.fill_(1.0)
            for target in module.agent.target_critic.parameters():
                target.fill_(0.0)
        module.optimizer_step(0, 0, idle, lambda: torch.zeros(()))
        for target in module.agent.target_critic.parameters():
            torch.testing.assert_close(target, torch.full_like(target, share))
        assert (module.schedule.made, module.schedule.in_phase, module.schedule.line) == (1, 1, 1)


def test_a_loss_that_is_not_finite_stops_training(
    module: Module, tiny_encoder: Encoder, tiny_turns: Turns
) -> None:
    broken = (replace(tiny_turns[0], reward=float("nan")),)
    with pytest.raises(UserError, match="the loss is nan at update 0; lower model.learning_rate"):
        _at(module, WARM_UP).training_step(_batch(tiny_encoder, broken), 0)


@pytest.mark.parametrize("settings", [{"n_turns": 1}, {"critic": CriticConfig(value="turn")}])
def test_tree_backup_is_refused_where_q_of_tokens_is_not_asked(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="choose traces: lambda"):
        VlmqModule("pkg:none", [WARM_UP], traces="tree_backup", **settings)
