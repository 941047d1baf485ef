"""Sampling replies: batched, with a key-value cache, and with noise that belongs to (episode, turn, token).

A token is drawn by inverting the cumulative distribution at one counter-based uniform number, so a reply does not
depend on which other replies share its batch. Log-probabilities are those of the model itself (temperature 1, whole
vocabulary); the ban on image tokens and the temperature change what is drawn, not what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq import counter
from vlmq.model.backbone import Backbone


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn.

    Args:
        max_tokens: longest reply, end token included.
        temperature: 0 is greedy.
        end_id: token that ends a reply.
        pad_id: fed to rows that have ended; masked.
        banned_ids: tokens never drawn.
    """

    max_tokens: int
    temperature: float
    end_id: int
    pad_id: int
    banned_ids: tuple[int, ...] = ()


@torch.no_grad()
def sample_replies(
    backbone: Backbone,
    inputs: dict[str, Tensor],
    noise_keys: NDArray[np.int64],
    sampling: Sampling,
    *,
    anyone: Callable[[bool], bool] = bool,
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.float32]]]:
    """Draw one reply for each row.

    Args:
        backbone: trunk and language head.
        inputs: left-padded batch of R prompts.
        noise_keys: (R, K) counters that name each row's noise.
        sampling: how to draw.
        anyone: whether the flag is set on any process; makes sharded ranks run the same number of forwards.

    Returns:
        For each row its token ids (n,), end token included where it was drawn, and their log-probabilities.
    """
    mask = inputs["attention_mask"]
    rows = mask.shape[0]
    device = mask.device
    uniforms = counter.uniform(*noise_keys.T[..., None], np.arange(sampling.max_tokens)[None, :])
    uniforms_t = torch.from_numpy(uniforms).to(device)
    ids = torch.full((rows, sampling.max_tokens), sampling.pad_id, dtype=torch.long, device=device)
    log_probs = torch.zeros((rows, sampling.max_tokens), device=device)
    lengths = torch.zeros(rows, dtype=torch.long, device=device)
    alive = torch.ones(rows, dtype=torch.bool, device=device)
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    step = {**inputs, "position_ids": positions}
    cache = None
    banned = torch.tensor(sampling.banned_ids, dtype=torch.long, device=device)
    for index in range(sampling.max_tokens):
        hidden, cache = backbone.extend(step, cache)
        all_log_probs = backbone.logits(hidden).float().log_softmax(-1)
        token = _draw(all_log_probs, uniforms_t[:, index], sampling.temperature, banned)
        ids[:, index] = torch.where(alive, token, ids[:, index])
        log_probs[:, index] = all_log_probs.gather(-1, token[:, None]).squeeze(-1)
        lengths += alive
        alive = alive & (token != sampling.end_id)
        if not anyone(bool(alive.any())):
            break
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], -1)
        positions = positions[:, -1:] + 1
        step = {"input_ids": ids[:, index : index + 1], "attention_mask": mask, "position_ids": positions}
    counts = lengths.tolist()
    all_ids, all_probs = ids.int().cpu().numpy(), log_probs.cpu().numpy()
    return (
        [all_ids[row, :count].copy() for row, count in enumerate(counts)],
        [all_probs[row, :count].copy() for row, count in enumerate(counts)],
    )


def _draw(log_probs: Tensor, uniform: Tensor, temperature: float, banned: Tensor) -> Tensor:
    log_probs = log_probs.index_fill(-1, banned, float("-inf")) if len(banned) else log_probs
    if temperature == 0.0:
        return log_probs.argmax(-1)
    # float64: in float32 the cumulative sum of a large vocabulary may end below the uniform number.
    cumulative = (log_probs.double() / temperature).softmax(-1).cumsum(-1)
    draw = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True).squeeze(-1)
    return draw.clamp_max(log_probs.shape[-1] - 1)
