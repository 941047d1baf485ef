"""Actor losses: the negative log-likelihood of each agent token, weighted by its filter; PPO's for comparison."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_FURTHEST = 20.0
"""A ratio is at most exp of this: where a bad reply has become that likely, its loss says no more, but stays finite."""


def log_likelihood(logits: Float[Tensor, "A V"], tokens: Int[Tensor, " A"]) -> Float[Tensor, " A"]:
    """log pi(a_i | h_i), in float32 whatever the trunk's precision."""
    return -torch.nn.functional.cross_entropy(logits.float(), tokens, reduction="none")


def filtered_nll(log_probs: Float[Tensor, " A"], weights: Float[Tensor, " A"]) -> Float[Tensor, " A"]:
    """-f(A_i) log pi(a_i | h_i); with f = 1 this is the loss of supervised fine-tuning."""
    return -weights.detach() * log_probs


def kl_to_reference(log_probs: Float[Tensor, "A V"], reference: Float[Tensor, "A V"]) -> Float[Tensor, " A"]:
    """KL(pi || pi_ref) in each state, exact over the vocabulary, with gradient through pi.

    Args:
        log_probs: log pi(. | h_i), normalised.
        reference: the same of the reference policy.
    """
    return (log_probs.exp() * (log_probs - reference.detach())).sum(-1)


def clipped_surrogate(
    log_ratio: Float[Tensor, " A"], advantage: Float[Tensor, " A"], clip: float
) -> Float[Tensor, " A"]:
    """-min(r A, clip(r, 1 - clip, 1 + clip) A) with r = exp(log_ratio) (PPO, arXiv 1707.06347).

    Args:
        log_ratio: log pi / pi_behaviour, with gradient; NaN where the behaviour's is unknown: nothing is learnt there.
        advantage: without gradient.
        clip: how far the ratio may move from 1.
    """
    known = log_ratio.isfinite()
    ratio = torch.where(known, log_ratio, 0.0).clamp(-_FURTHEST, _FURTHEST).exp()
    worse = torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
    return torch.where(known, -worse, 0.0)


def of_replies(
    log_ratio: Float[Tensor, " A"], weights: Float[Tensor, " A"], reply: Int[Tensor, " A"], num_replies: int
) -> Float[Tensor, " A"]:
    """The log-ratio of each token's whole reply: the weighted sum of its tokens' (RL4VLM, arXiv 2405.10292).

    Args:
        log_ratio: of each token.
        weights: 1, or less for thoughts.
        reply: index in [0, num_replies) of the reply a token belongs to.
        num_replies: replies in this batch on this process.
    """
    return log_ratio.new_zeros(num_replies).index_add(0, reply, weights * log_ratio)[reply]


def standardised(advantage: Float[Tensor, " A"], everywhere: Float[Tensor, " B"]) -> Float[Tensor, " A"]:
    """Advantages of mean 0 and spread 1 over the batch, as PPO is used.

    Args:
        advantage: of this process's tokens.
        everywhere: of the whole batch's tokens that learn, which other processes may hold in part.
    """
    if not len(everywhere):
        return torch.zeros_like(advantage)
    return (advantage - everywhere.mean()) / everywhere.std(correction=0).clamp_min(1e-6)
