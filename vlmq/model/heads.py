"""The critic head: Q of every token of the vocabulary, without ever building a states x vocabulary tensor of Q.

Q_c(h, v) = u_c(h) . E_c,v + e_c,v + b_c(h), with u_c a small network. One row of E gives Q of the token taken;
the policy's mean embedding pi E gives V. Deviation from the plainest form, ours: the shared term b_c(h) (a duelling
baseline, arXiv 1511.06581). Rows of tokens that were never taken would keep their initial zero and, where returns
are negative, look better than everything that was tried; with b_c they sit at the state's own level instead. It
cancels in every advantage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vlmq import ranges
from vlmq.api import UserError
from vlmq.loss import bins as binned
from vlmq.loss.critic import Reduction


@dataclass(frozen=True)
class CriticConfig:
    """What the critic is made of, and what it estimates.

    Args:
        members: critics in the ensemble.
        width: hidden units of each member's network.
        dim: size of the vocabulary's embedding in each member.
        rows: `free` gives every token a row of its own, `tied` derives them from the model's input embedding.
        value: what V stands for. `policy`: the policy's mean of Q over all tokens; `topk`: over its likeliest
            ones; `expectile`: a head of its own, regressed on the Q of the data's tokens (ILQL); `turn`: V at the
            start of each reply and no Q of tokens, as in PPO with turn-level values.
        top_k: tokens of `topk`.
        expectile: of `expectile`; 0.5 is the mean of the data's actions.
        loss: `mse`, or `two_hot` and `hl_gauss`, for which Q is a distribution over bins.
        bins: how many.
        support: lowest and highest return that the bins cover, in the environment's units; null takes the data's.
        reduction: of the ensemble in targets, over `subset` members drawn at each update, or all.
        subset: how many.
        conservative: weight of CQL's term, which pulls Q of the token taken up against that of others.
        conservative_over: against which: the log-sum-exp over the whole `vocabulary`, or what the `policy` would say
            in the mean, V; the second meets the tokens that could lead astray, and costs no Q of the vocabulary.
    """

    members: int = 2
    width: int = 256
    dim: int = 64
    rows: Literal["free", "tied"] = "free"
    value: Literal["policy", "topk", "expectile", "turn"] = "policy"
    top_k: int = 16
    expectile: float = 0.7
    loss: Literal["mse", "two_hot", "hl_gauss"] = "mse"
    bins: int = 51
    support: tuple[float, float] | None = None
    reduction: Reduction = "mean"
    subset: int | None = None
    conservative: float = 0.0
    conservative_over: Literal["vocabulary", "policy"] = "vocabulary"

    def __post_init__(self) -> None:
        ranges.at_least(
            1,
            **{f"critic.{name}": getattr(self, name) for name in ("members", "width", "dim", "top_k")},
        )
        if not 0.0 < self.expectile < 1.0:
            raise UserError(f"critic.expectile is {self.expectile}; it must lie between 0 and 1.")
        if self.subset is not None and not 1 <= self.subset <= self.members:
            raise UserError(f"critic.subset is {self.subset}; it is a number of the {self.members} members.")
        ranges.at_least(0, **{"critic.conservative": self.conservative})
        if self.distributional and self.value in ("policy", "turn"):
            raise UserError(
                f"critic.loss '{self.loss}' keeps a distribution for each token, too many for critic.value "
                f"'{self.value}'; choose topk or expectile."
            )
        if self.distributional and self.bins < 2 * binned.PADDING + 2:
            raise UserError(f"critic.bins is {self.bins}; give at least {2 * binned.PADDING + 2}.")
        if self.conservative and (self.distributional or self.value == "turn"):
            raise UserError(
                "critic.conservative needs Q as a number for every token: loss mse, and not value turn."
            )
        if self.conservative_over == "policy" and self.value not in ("policy", "topk"):
            raise UserError(
                f"critic.conservative_over 'policy' needs V as the policy's mean of Q, not critic.value '{self.value}'."
            )
        if self.support is not None and not self.support[0] < self.support[1]:
            raise UserError(
                f"critic.support is {list(self.support)}; give the lowest return, then the highest."
            )

    @property
    def held_to_policy(self) -> bool:
        """Whether CQL's term sets Q of the token taken against V, which then carries a gradient."""
        return self.conservative > 0.0 and self.conservative_over == "policy"

    @property
    def distributional(self) -> bool:
        """Whether Q is a distribution over bins."""
        return self.loss != "mse"

    def support_over(self, low: float, high: float) -> tuple[float, float]:
        """What the bins cover: the support that is set, or else the data's returns.

        Args:
            low: smallest discounted return of the data.
            high: largest.

        Raises:
            UserError: the support does not reach as far as the data.
        """
        if self.support is None:
            return low, high
        if low < self.support[0] or high > self.support[1]:
            raise UserError(
                f"critic.support is {list(self.support)}, but the data's discounted returns reach from {low:g} to "
                f"{high:g}; widen it, or give null to take them."
            )
        return self.support


COPIES = ("embedding",)
"""Buffers of a `CriticHead` that repeat weights of the model it stands on."""


class Estimates(NamedTuple):
    """What the ensemble says. C members, A agent tokens, S states, B bins.

    Attributes:
        q: (C, A) Q_c(s_i, a_i) with gradient; for `turn`, V_c of the same states.
        value: (C, S) V_c; with gradient where it is a head of its own, or CQL's term needs it.
        logits: (C, A, B) of Q's distribution, None where Q is a number.
    """

    q: Tensor
    value: Tensor
    logits: Tensor | None


class CriticHead(nn.Module):
    """An ensemble of C critics over a vocabulary of V tokens, in float32.

    Args:
        hidden_size: D, the trunk's width.
        vocabulary: V.
        config: what it is made of.
        embedding: (V, E) the model's input embedding, for tied rows; it is copied, never trained.
    """

    centres: Tensor

    def __init__(
        self,
        hidden_size: int,
        vocabulary: int,
        config: CriticConfig,
        embedding: Float[Tensor, "V E"] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        if config.distributional:
            self.register_buffer("centres", binned.centres(-1.0, 1.0, config.bins))
        if config.rows == "tied":
            assert embedding is not None, "tied rows need the model's embedding"
            self.register_buffer("embedding", embedding.detach().float().clone())
        tied = None if config.rows == "free" or embedding is None else embedding.shape[1]
        self.members = nn.ModuleList(
            _Member(hidden_size, vocabulary, config, tied) for _ in range(config.members)
        )

    def set_support(self, low: float, high: float) -> None:
        """Say which values the bins cover, in units of the return range."""
        self.centres.copy_(binned.centres(low, high, self.config.bins))

    def levels(self) -> list[Tensor]:
        """The parameters that shift every estimate alike; a distribution has none: its bins lie where they must."""
        return [
            layer.bias
            for member in self._ensemble()
            for layer in (getattr(member, "scalar", None), getattr(member, "baseline", None))
            if layer is not None and layer.out_features == 1
        ]

    def forward(
        self, hidden: Float[Tensor, "S D"], tokens: Int[Tensor, " A"], probs: Float[Tensor, "S V"]
    ) -> Estimates:
        """Q of the tokens taken, and the value of every state.

        Args:
            hidden: hidden states; the first A predict the agent's tokens.
            tokens: the token taken in each of the first A states.
            probs: the policy's distribution in each state, without gradient.
        """
        said = [self._of_member(member, hidden.float(), tokens, probs) for member in self._ensemble()]
        logits = [one.logits for one in said if one.logits is not None]
        return Estimates(
            torch.stack([one.q for one in said]),
            torch.stack([one.value for one in said]),
            torch.stack(logits) if logits else None,
        )

    def every(self, hidden: Float[Tensor, "A D"]) -> Float[Tensor, "C A V"]:
        """Q of the whole vocabulary, with gradient: as large as it looks."""
        return torch.stack([member.every(hidden.float(), self._rows(member)) for member in self._ensemble()])

    @torch.no_grad()
    def of_candidates(self, hidden: Float[Tensor, "S D"], tokens: Int[Tensor, "S N"]) -> Float[Tensor, "S N"]:
        """Q of N tokens of each state, averaged over the ensemble."""
        found = []
        for member in self._ensemble():
            features = member.features(hidden.float())
            rows = self._rows(member)
            found.append(member.of_tokens(features, member.query(features), rows, tokens, self._bins)[0])
        return torch.stack(found).mean(0)

    def _ensemble(self) -> list[_Member]:
        return cast("list[_Member]", list(self.members))

    def _rows(self, member: _Member) -> Tensor:
        """(V, dim) of a member; tied ones are (V, E), and are projected by it."""
        return cast(Tensor, self.embedding) if self.config.rows == "tied" else member.rows

    def _of_member(self, member: _Member, hidden: Tensor, tokens: Tensor, probs: Tensor) -> Estimates:
        config = self.config
        features, count = member.features(hidden), len(tokens)
        if config.value == "turn":
            value = member.scalar(features).squeeze(-1)
            return Estimates(value[:count], value, None)
        query = member.query(features)
        rows = self._rows(member)
        q, logits = member.of_tokens(features[:count], query[:count], rows, tokens[:, None], self._bins)
        if config.value == "expectile":
            value = member.scalar(features).squeeze(-1)
        else:
            with torch.set_grad_enabled(config.held_to_policy and torch.is_grad_enabled()):
                value = self._policy_mean(member, features, query, rows, probs)
        return Estimates(q.squeeze(-1), value, None if logits is None else logits.squeeze(1))

    def _policy_mean(
        self, member: _Member, features: Tensor, query: Tensor, rows: Tensor, probs: Tensor
    ) -> Tensor:
        if self.config.value == "policy":
            return member.mean(features, query, rows, probs)
        top, ids = probs.topk(min(self.config.top_k, probs.shape[-1]), -1)
        likely, _ = member.of_tokens(features, query, rows, ids, self._bins)
        return (likely * top).sum(-1) / top.sum(-1)

    @property
    def _bins(self) -> Tensor | None:
        return self.centres if self.config.distributional else None


class _Member(nn.Module):
    def __init__(self, hidden_size: int, vocabulary: int, config: CriticConfig, tied: int | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.hidden = nn.Linear(hidden_size, config.width)
        if config.value in ("expectile", "turn"):
            self.scalar = nn.Linear(config.width, 1)
            nn.init.zeros_(self.scalar.weight)
            nn.init.zeros_(self.scalar.bias)
        if config.value == "turn":
            return
        self.query = nn.Linear(config.width, config.dim)
        self.baseline = nn.Linear(config.width, config.bins if config.distributional else 1)
        nn.init.zeros_(self.baseline.weight)
        nn.init.zeros_(self.baseline.bias)
        # Nearly equal rows: before it has learnt anything, the critic prefers no token over another.
        if tied is None:
            self.rows = nn.Parameter(torch.empty(vocabulary, config.dim))
            nn.init.normal_(self.rows, std=0.1 / config.dim**0.5)
        else:
            self.project = nn.Linear(tied, config.dim, bias=False)
            nn.init.normal_(self.project.weight, std=0.1 / (config.dim * tied) ** 0.5)
        if config.distributional:
            self.spread = nn.Linear(config.dim, config.bins, bias=False)
        else:
            self.bias = nn.Parameter(torch.zeros(vocabulary))

    def features(self, hidden: Float[Tensor, "S D"]) -> Float[Tensor, "S W"]:
        return nn.functional.gelu(self.hidden(self.norm(hidden)))

    def of_tokens(
        self,
        features: Float[Tensor, "S W"],
        query: Float[Tensor, "S K"],
        rows: Float[Tensor, "V E"],
        tokens: Int[Tensor, "S N"],
        bins: Float[Tensor, " B"] | None,
    ) -> tuple[Float[Tensor, "S N"], Float[Tensor, "S N B"] | None]:
        """Q of some tokens of each state, and the logits of their distributions."""
        joint = query[:, None] * self._embedded(rows[tokens])
        level = self.baseline(features)
        if bins is None:
            return joint.sum(-1) + self.bias[tokens] + level, None
        logits = self.spread(joint) + level[:, None]
        return binned.mean(logits, bins), logits

    def mean(
        self,
        features: Float[Tensor, "S W"],
        query: Float[Tensor, "S K"],
        rows: Float[Tensor, "V E"],
        probs: Float[Tensor, "S V"],
    ) -> Float[Tensor, " S"]:
        """The policy's mean of Q."""
        level = self.baseline(features).squeeze(-1)
        value: Tensor = (query * self._embedded(probs @ rows)).sum(-1) + probs @ self.bias + level
        return value

    def every(self, hidden: Float[Tensor, "A D"], rows: Float[Tensor, "V E"]) -> Float[Tensor, "A V"]:
        features = self.features(hidden)
        every: Tensor = self.query(features) @ self._embedded(rows).T + self.bias + self.baseline(features)
        return every

    def _embedded(self, rows: Tensor) -> Tensor:
        return self.project(rows) if hasattr(self, "project") else rows
