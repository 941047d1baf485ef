"""What the critic learns, and what it says of the agent's tokens: the losses' functions put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from vlmq import counter
from vlmq.api import UserError
from vlmq.data.batch import Batch
from vlmq.loss import actor, bins, critic, masked, returns
from vlmq.model.actor_critic import Output
from vlmq.model.heads import CriticConfig, CriticHead
from vlmq.rollout import sync
from vlmq.train.schedule import ObservedUntil, Phase

Traces = Literal["lambda", "tree_backup"]
_SUBSET = counter.purpose("critics of a target")


@dataclass(frozen=True)
class Horizon:
    """How far the critic's targets reach.

    Attributes:
        gamma_token: discount from token to token inside a reply.
        gamma_turn: discount from turn to turn.
        lambda_token: lambda inside a reply.
        lambda_turn: lambda from turn to turn.
        n_turns: this many turns' rewards, then V, in place of lambda-returns; None for those.
        traces: `lambda`-returns follow what was done, `tree_backup` as far as the policy would have done it too.
        syntax_penalty: taken off the reward of a reply that was not valid, in the environment's units.
    """

    gamma_token: float
    gamma_turn: float
    lambda_token: float
    lambda_turn: float
    n_turns: int | None = None
    traces: Traces = "lambda"
    syntax_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name in ("gamma_token", "gamma_turn", "lambda_token", "lambda_turn"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise UserError(f"model.{name} is {value}; it must lie between 0 and 1.")
        if self.n_turns is not None and self.n_turns < 1:
            raise UserError(f"model.n_turns is {self.n_turns}; give at least 1, or null for lambda-returns.")

    @property
    def observed(self) -> Horizon:
        """Rewards alone to the end of the fragment, then the critic's V of the state after it, if there is one."""
        return replace(self, lambda_token=1.0, lambda_turn=1.0, n_turns=None, traces="lambda")


def targets(
    batch: Batch, output: Output, config: CriticConfig, horizon: Horizon, return_range: float, update: int
) -> tuple[Tensor, Tensor]:
    """Targets of the critic at each of the agent's tokens.

    Args:
        batch: this process's part.
        output: of its forward, critic included.
        config: of the critic.
        horizon: how far they reach.
        return_range: what rewards are divided by.
        update: chooses the ensemble's members where only some are asked.

    Returns:
        Targets (A,) in units of the return range, and whether each rests on observed states and is wanted.
    """
    reward, discount = _earned(batch, horizon, return_range)
    next_value = _reduced(_there(output.target_value), config, update)[batch.next_state]
    if horizon.n_turns is not None:
        chain = batch.last, batch.next_token, horizon.n_turns
        found = returns.n_step_returns(reward, discount, next_value, *chain)
        known = returns.known_n_step(discount, batch.next_known, *chain)
    else:
        # A critic of turns knows no value inside a reply.
        inside = 1.0 if config.value == "turn" else horizon.lambda_token
        lam = torch.where(batch.last, horizon.lambda_turn, inside)
        next_q = None
        if horizon.traces == "tree_backup":
            successor = batch.next_token.clamp_min(0)
            next_q = _reduced(_there(output.target_q), config, update)[successor]
            lam = lam * output.log_probs.detach().exp()[successor]
        found = returns.lambda_returns(reward, discount, next_value, lam, batch.next_token, next_q)
        known = returns.known_targets(discount, batch.next_known, lam, batch.next_token)
    return found, known & masked.starts(batch.last) if config.value == "turn" else known


def observed(
    batch: Batch,
    output: Output,
    config: CriticConfig,
    horizon: Horizon,
    return_range: float,
    update: int,
    until: ObservedUntil = "fragment",
) -> tuple[Tensor, Tensor]:
    """What was earned after each of the agent's tokens.

    Args:
        batch: this process's part; until the episode's end, with the turns after each fragment.
        output: of its forward, critic included.
        config: of the critic.
        horizon: discounts, and what an invalid reply costs.
        return_range: what rewards are divided by.
        update: chooses the ensemble's members where only some are asked.
        until: how far it reaches.

    Returns:
        Returns (A,) in units of the return range, and whether each rests on observed states.
    """
    if until == "fragment":
        return targets(batch, output, config, horizon.observed, return_range, update)
    found = outcomes(batch, horizon, return_range)
    return found, torch.ones_like(found, dtype=torch.bool)


def outcomes(batch: Batch, horizon: Horizon, return_range: float) -> Tensor:
    """Discounted rewards (A,) after each of the agent's tokens to the end of its episode, in units of the return range.

    Args:
        batch: this process's part, with the turns after each fragment.
        horizon: discounts, and what an invalid reply costs.
        return_range: what rewards are divided by.
    """
    turns = torch.arange(batch.later_reward.shape[1], device=batch.later_reward.device)
    within = (batch.later_tokens - 1.0).cumsum(1)
    earned = batch.later_reward - horizon.syntax_penalty * ~batch.later_valid
    # From the end of the fragment: its last token's own discount comes on top.
    rest = earned * horizon.gamma_turn**turns * horizon.gamma_token**within
    after = torch.zeros_like(batch.reward).index_put((batch.end,), rest.sum(1) / return_range)
    reward, discount = _earned(batch, horizon, return_range)
    return returns.lambda_returns(reward, discount, after, torch.ones_like(reward), batch.next_token)


def critic_loss(batch: Batch, output: Output, head: CriticHead, wanted: Tensor) -> Tensor:
    """Loss of the critic (A,) at each of the agent's tokens.

    Args:
        batch: this process's part.
        output: of its forward, critic included.
        head: the critic.
        wanted: its targets (A,), in units of the return range.
    """
    config, q = head.config, _there(output.q)
    value = _there(output.value)[:, : q.shape[1]]
    if config.distributional:
        encode = bins.two_hot if config.loss == "two_hot" else bins.hl_gauss
        loss = bins.cross_entropy(_there(output.q_logits), encode(wanted, head.centres))
    else:
        loss = critic.squared_error(q, wanted)
    if config.value == "expectile":
        loss = loss + critic.expectile_error(value, _there(output.target_q), config.expectile)
    if config.held_to_policy:
        loss = loss + config.conservative * critic.held_to_policy(q, value)
    elif config.conservative:
        loss = loss + config.conservative * critic.conservative(_there(output.every_q), batch.tokens)
    return loss


def actor_loss(phase: Phase, batch: Batch, output: Output, weights: Tensor, advantages: Tensor) -> Tensor:
    """Loss of the actor (A,) at each of the agent's tokens.

    Args:
        phase: names the objective.
        batch: this process's part.
        output: of its forward.
        weights: f(A_i).
        advantages: A_i.
    """
    if phase.objective == "filter":
        return actor.filtered_nll(output.log_probs, weights)
    standard = actor.standardised(advantages, sync.joined(advantages[weights > 0.0]))
    log_ratio = output.log_probs - batch.behaviour
    if phase.objective == "ppo_token":
        return weights * actor.clipped_surrogate(log_ratio, standard, phase.clip)
    whole = actor.of_replies(log_ratio, weights, batch.reply, batch.num_replies)
    return actor.clipped_surrogate(whole, standard, phase.clip)


def advantages(
    batch: Batch, output: Output, config: CriticConfig, wanted: Tensor | None, known: Tensor | None
) -> Tensor:
    """A_i (A,), without gradient; zeros without a critic, and where a critic of turns has no target.

    Args:
        batch: this process's part.
        output: of its forward.
        config: of the critic.
        wanted: its targets (A,); None without a critic.
        known: where there is one, likewise.
    """
    if output.q is None or wanted is None or known is None:
        return torch.zeros_like(output.log_probs)
    if config.value == "turn":
        # The reply's own return stands for its Q: every token shares what the whole reply was worth.
        return critic.of_turns(torch.where(known, wanted - output.q.mean(0), 0.0), batch.last)
    return critic.advantage(output.q, _there(output.value)[:, : output.q.shape[1]])


def rated(batch: Batch, config: CriticConfig, known: Tensor) -> Tensor:
    """Which tokens (A,) have an advantage: with a critic of turns, those of the replies whose target is known.

    Args:
        batch: this process's part.
        config: of the critic.
        known: where it has a target (A,).
    """
    if config.value == "turn":
        return critic.of_turns(known, batch.last)
    return torch.ones_like(known)


def lean_on_returns(
    advantages: Tensor,
    batch: Batch,
    output: Output,
    config: CriticConfig,
    returns: Tensor,
    known: Tensor,
    share: float,
) -> Tensor:
    """A_i (A,) in which the observed return stands for a share of Q.

    Args:
        advantages: Q - V.
        batch: this process's part.
        output: of the forward.
        config: of the critic.
        returns: observed (A,), in units of the return range.
        known: where they rest on observed states; elsewhere Q stands alone.
        share: of the return.
    """
    gain = returns - _there(output.value)[:, : len(returns)].detach().mean(0)
    if config.value == "turn":
        gain, known = critic.of_turns(gain, batch.last), critic.of_turns(known, batch.last)
    return torch.where(known, (1.0 - share) * advantages + share * gain, advantages)


def _earned(batch: Batch, horizon: Horizon, return_range: float) -> tuple[Tensor, Tensor]:
    """R_i, in units of the return range, and G_i."""
    discount = torch.where(batch.last, horizon.gamma_turn, horizon.gamma_token) * ~batch.terminal
    broken = batch.last & ~batch.valid[batch.reply]
    return (batch.reward - horizon.syntax_penalty * broken) / return_range, discount


def _reduced(estimates: Tensor, config: CriticConfig, update: int) -> Tensor:
    """What the ensemble's members say, as one."""
    members = None
    if config.subset is not None:
        members = counter.permutation(config.members, _SUBSET, update)[: config.subset].tolist()
    return critic.reduce(estimates, config.reduction, members)


def _there(values: Tensor | None) -> Tensor:
    assert values is not None, "the critic was left out of the forward"
    return values
