"""The VLM actor-critic: one trunk, a language head and a critic head, one forward for everything."""

from __future__ import annotations

import copy
import sys
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from vlmq.loss.actor import kl_to_reference
from vlmq.model.backbone import Backbone
from vlmq.model.heads import COPIES, CriticConfig, CriticHead

HEADS_BYTES = 10**9
"""Of what the heads keep at once of states x vocabulary; more states are read in chunks, and again for gradients."""
HEAD_COPIES = 4
"""Float32 tensors of states x vocabulary that they keep: logits, log-probabilities, probabilities, gradient."""


class Output(NamedTuple):
    """What one forward gives. A agent tokens, S >= A states, C critics.

    Attributes:
        log_probs: (A,) log pi(a_i | h_i), with gradient.
        entropy: (A,) of the policy where the token was chosen, without gradient.
        q: (C, A) Q_c(s_i, a_i), with gradient; None without a critic.
        value: (C, S) V_c of every state; with gradient where it is a head of its own.
        target_value: (C, S) the same from the Polyak copy of the critic, without gradient.
        target_q: (C, A) Q_c(s_i, a_i) of the Polyak copy.
        q_logits: (C, A, B) of Q's distribution over bins, where it is one.
        every_q: (C, A, V) Q of the whole vocabulary, where the critic's loss needs it.
        kl: (A,) KL divergence of the policy from its reference where the token was chosen, with gradient; None
            without a reference.
    """

    log_probs: Tensor
    entropy: Tensor
    q: Tensor | None
    value: Tensor | None
    target_value: Tensor | None
    target_q: Tensor | None = None
    q_logits: Tensor | None = None
    every_q: Tensor | None = None
    kl: Tensor | None = None


class ActorCritic(nn.Module):
    """Language head and critic head on one trunk; both read the hidden state that predicts a token.

    Args:
        backbone: trunk and language head.
        critic: size of the critic.
        trunk_gradient: factor on the critic's gradient into the trunk: 1 full, 0 detached.
        heads_bytes: see `HEADS_BYTES`. Q of every token (`Output.every_q`) is kept whole in any case, and so is all of
            it where weights are sharded: there all processes must run the same forwards.
    """

    def __init__(
        self,
        backbone: Backbone,
        critic: CriticConfig,
        *,
        trunk_gradient: float,
        heads_bytes: int = HEADS_BYTES,
    ) -> None:
        super().__init__()
        self.heads_bytes = heads_bytes
        self.backbone = backbone
        tied = backbone.input_embedding() if critic.rows == "tied" else None
        self.critic = CriticHead(backbone.hidden_size, backbone.vocabulary, critic, tied)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.trunk_gradient = trunk_gradient
        self.reference: Backbone | None = None
        self._has_reference = False

    def keep_reference(self) -> None:
        """From now on tell how far the policy has moved from the present one.

        With adapters the reference is the model without them; else a copy is kept.
        """
        self._has_reference = True
        if not self.backbone.adapters:
            self.reference = copy.deepcopy(self.backbone).requires_grad_(False)

    def train(self, mode: bool = True) -> ActorCritic:
        """The reference stays in evaluation mode: it must say the same at every update."""
        super().train(mode)
        if self.reference is not None:
            self.reference.eval()
        return self

    def forward(
        self,
        inputs: dict[str, Tensor],
        state_row: Int[Tensor, " S"],
        state_position: Int[Tensor, " S"],
        tokens: Int[Tensor, " A"],
        *,
        with_critic: bool = True,
    ) -> Output:
        """Run the trunk once and read every head at the agent's positions only.

        Args:
            inputs: the encoder's batch of R rows.
            state_row: row of each state.
            state_position: position whose hidden state stands for the state: for an agent token at position p
                of its row this is p - 1, the one that predicts it. The first A states belong to the tokens.
            tokens: the agent's tokens.
            with_critic: whether to read the critic.
        """
        hidden = self.backbone.hidden(inputs)[state_row, state_position]
        # States that only bootstrap a value need no language gradient.
        hidden = hidden if with_critic else hidden[: len(tokens)]
        place = state_row[: len(tokens)], state_position[: len(tokens)]
        reference = self._reference_hidden(inputs)[place] if self._has_reference else None
        size = self._at_once()
        if len(hidden) <= size:
            return self._read(hidden, tokens, reference, with_critic)
        chunks = [slice(start, start + size) for start in range(0, len(hidden), size)]
        return _joined(
            [
                checkpoint(
                    self._read,
                    hidden[chunk],
                    tokens[chunk],
                    None if reference is None else reference[chunk],
                    with_critic,
                    use_reentrant=False,
                )
                for chunk in chunks
            ]
        )

    def _at_once(self) -> int:
        """So many states are read together."""
        if isinstance(next(self.critic.parameters()), DTensor):
            return sys.maxsize
        return max(1, self.heads_bytes // (HEAD_COPIES * 4 * self.backbone.vocabulary))

    def _read(self, hidden: Tensor, tokens: Tensor, reference: Tensor | None, with_critic: bool) -> Output:
        """What the heads say of some states.

        Args:
            hidden: (S, D) of the states.
            tokens: (A,) taken in the first of them.
            reference: (A, D) hidden states of the reference, where there is one.
            with_critic: whether to read the critic.
        """
        count = len(tokens)
        all_log_probs = self.backbone.logits(hidden).float().log_softmax(-1)
        taken = all_log_probs[:count]
        log_probs = taken.gather(-1, tokens[:, None]).squeeze(-1)
        probs = all_log_probs.detach().exp()
        entropy = -(probs[:count] * taken.detach()).sum(-1)
        kl = None if reference is None else kl_to_reference(taken, self._reference_log_probs(reference))
        if not with_critic:
            return Output(log_probs, entropy, None, None, None, kl=kl)
        seen = scale_gradient(hidden, self.trunk_gradient)
        estimates = self.critic(seen, tokens, probs)
        config = self.critic.config
        wants_every = config.conservative and not config.held_to_policy
        every = self.critic.every(seen[:count]) if wants_every else None
        with torch.no_grad():
            target = self.target_critic(hidden, tokens, probs)
        return Output(
            log_probs,
            entropy,
            estimates.q,
            estimates.value,
            target.value,
            target.q,
            estimates.logits,
            every,
            kl,
        )

    @torch.no_grad()
    def _reference_hidden(self, inputs: dict[str, Tensor]) -> Tensor:
        if self.reference is not None:
            return self.reference.hidden(inputs)
        with self.backbone.without_adapters():
            return self.backbone.hidden(inputs)

    @torch.no_grad()
    def _reference_log_probs(self, hidden: Tensor) -> Tensor:
        if self.reference is not None:
            return self.reference.logits(hidden).float().log_softmax(-1)
        with self.backbone.without_adapters():
            return self.backbone.logits(hidden).float().log_softmax(-1)

    def given(self) -> set[str]:
        """Names in the state that come from the backbone as it was loaded: frozen weights, the reference's, copies."""
        named = self.backbone.named_parameters(
            remove_duplicate=False
        )  # a head may be the embeddings' own table
        kept = {f"backbone.{name}" for name, p in named if not p.requires_grad}
        kept |= {f"backbone.{name}" for name in self.backbone.quantised()}
        copies = {f"{head}.{copy}" for head in ("critic", "target_critic") for copy in COPIES}
        return kept | {n for n in self.state_dict() if n.startswith("reference.") or n in copies}

    def set_support(self, low: float, high: float) -> None:
        """Say which values the critic's bins cover, in units of the return range."""
        for head in (self.critic, self.target_critic):
            head.set_support(low, high)

    @torch.no_grad()
    def start_at(self, level: float) -> None:
        """Let every estimate of an untrained critic begin here, in units of the return range.

        The data's mean return would else be the first thing that the critic learns, and its gradient into the trunk
        would be all that the trunk hears of meanwhile.
        """
        for head in (self.critic, self.target_critic):
            for bias in head.levels():
                own_part(bias).fill_(level)

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """target <- (1 - tau) target + tau critic."""
        online = list(self.critic.parameters())
        for target, source in zip(self.target_critic.parameters(), online, strict=True):
            own_part(target).lerp_(own_part(source), tau)


def _joined(parts: list[Output]) -> Output:
    """What was said of all states, chunk by chunk; the critics come first where there are several."""
    fields: dict[str, Any] = {}
    for name, first in parts[0]._asdict().items():
        along = 0 if name in ("log_probs", "entropy", "kl") else 1
        fields[name] = None if first is None else torch.cat([getattr(part, name) for part in parts], along)
    return Output(**fields)


def own_part(value: Tensor) -> Tensor:
    """What this process holds of a sharded tensor; any other tensor as it is. Gradients flow through."""
    return value.to_local() if isinstance(value, DTensor) else value


def scale_gradient(values: Float[Tensor, "*any"], factor: float) -> Float[Tensor, "*any"]:
    """The same values; the gradient that flows back through them is multiplied by `factor`."""
    if factor == 1.0:
        return values
    detached = values.detach()
    return detached if factor == 0.0 else detached + factor * (values - detached)
