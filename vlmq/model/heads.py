"""The critic head: Q of every token of the vocabulary, without ever building a states x vocabulary tensor of Q.

Q_c(h, v) = u_c(h) . E_c,v + e_c,v + b_c(h), with u_c a small network. One row of E gives Q of the token taken;
the policy's mean embedding pi E gives V. Deviation from the plainest form, ours: the shared term b_c(h) (a duelling
baseline, arXiv 1511.06581). Rows of tokens that were never taken would keep their initial zero and, where returns
are negative, look better than everything that was tried; with b_c they sit at the state's own level instead. It
cancels in every advantage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class CriticConfig:
    """Size of the critic.

    Args:
        members: critics in the ensemble.
        width: hidden units of each member's network.
        dim: size of the vocabulary's embedding in each member.
    """

    members: int = 2
    width: int = 256
    dim: int = 64

    def __post_init__(self) -> None:
        if min(self.members, self.width, self.dim) < 1:
            raise ValueError("critic.members, critic.width and critic.dim must each be at least 1")


class CriticHead(nn.Module):
    """An ensemble of C critics over a vocabulary of V tokens, in float32.

    Args:
        hidden_size: D, the trunk's width.
        vocabulary: V.
        config: sizes.
    """

    def __init__(self, hidden_size: int, vocabulary: int, config: CriticConfig) -> None:
        super().__init__()
        self.members = nn.ModuleList(_Member(hidden_size, vocabulary, config) for _ in range(config.members))

    def forward(
        self, hidden: Float[Tensor, "S D"], tokens: Int[Tensor, " A"], probs: Float[Tensor, "S V"]
    ) -> tuple[Float[Tensor, "C A"], Float[Tensor, "C S"]]:
        """Q of the tokens taken, and the policy's value of every state.

        Args:
            hidden: hidden states; the first A predict the agent's tokens.
            tokens: the token taken in each of the first A states.
            probs: the policy's distribution in each state, without gradient.

        Returns:
            Q_c(s_i, a_i) with gradient, and V_c(s) = sum_v pi(v|s) Q_c(s, v) without.
        """
        pairs = [member(hidden.float(), tokens, probs) for member in self.members]
        return torch.stack([q for q, _ in pairs]), torch.stack([value for _, value in pairs])


class _Member(nn.Module):
    def __init__(self, hidden_size: int, vocabulary: int, config: CriticConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_size)
        self.hidden = nn.Linear(hidden_size, config.width)
        self.query = nn.Linear(config.width, config.dim)
        self.baseline = nn.Linear(config.width, 1)
        self.rows = nn.Parameter(torch.empty(vocabulary, config.dim))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        # Nearly equal rows: before it has learnt anything, the critic prefers no token over another.
        nn.init.normal_(self.rows, std=0.1 / config.dim**0.5)
        nn.init.zeros_(self.baseline.weight)
        nn.init.zeros_(self.baseline.bias)

    def forward(
        self, hidden: Float[Tensor, "S D"], tokens: Int[Tensor, " A"], probs: Float[Tensor, "S V"]
    ) -> tuple[Float[Tensor, " A"], Float[Tensor, " S"]]:
        features = nn.functional.gelu(self.hidden(self.norm(hidden)))
        query, level = self.query(features), self.baseline(features).squeeze(-1)
        taken = query[: len(tokens)]
        q = (taken * self.rows[tokens]).sum(-1) + self.bias[tokens] + level[: len(tokens)]
        with torch.no_grad():
            value = (query * (probs @ self.rows)).sum(-1) + probs @ self.bias + level
        return q, value
