"""Actor loss: the negative log-likelihood of each agent token, weighted by its filter."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
