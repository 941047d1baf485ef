"""Sampling replies: batched, with a key-value cache, and with noise that belongs to (episode, turn, token).

A token is drawn by inverting the cumulative distribution at one counter-based uniform number, so a reply does not
depend on which other replies share its batch. Log-probabilities are those of the model itself (temperature 1, whole
vocabulary); the ban on image tokens and the temperature change what is drawn, not what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq import counter
from vlmq.model.backbone import Backbone
from vlmq.model.reuse import Before, Read


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


@dataclass(frozen=True)
class Guide:
    """The critic beside the sampling.

    Args:
        q: of hidden states (R, D) and K tokens in each of them (R, K), their Q (R, K) in units of the return range.
        shift: added to a token's log-probability for each unit of its Q, before it is drawn.
        candidates: how many of the likeliest tokens V is taken over, and with a shift are considered: the others are
            never drawn then, for the critic knows least of what the policy hardly ever says.
    """

    q: Callable[[Tensor, Tensor], Tensor]
    shift: float = 0.0
    candidates: int = 16

    def shifted(self, hidden: Tensor, log_probs: Tensor) -> Tensor:
        """Q-shifted logits (R, V): log pi + shift * Q. V(s), the same for every token of a state, may be left out."""
        likely, tokens = log_probs.topk(min(self.candidates, log_probs.shape[-1]), -1)
        logits = likely + self.shift * self.q(hidden, tokens)
        return torch.full_like(log_probs, -torch.inf).scatter(-1, tokens, logits)

    def gain(self, hidden: Tensor, log_probs: Tensor, token: Tensor) -> Tensor:
        """Advantage (R,) of a token of each state. What the critic adds to all tokens of a state cancels."""
        likely, tokens = log_probs.topk(min(self.candidates, log_probs.shape[-1]), -1)
        q = self.q(hidden, torch.cat([tokens, token[:, None]], -1))
        return q[:, -1] - (q[:, :-1] * likely.softmax(-1)).sum(-1)


class Sampled(NamedTuple):
    """One reply for each of R rows.

    Attributes:
        ids: for each row its token ids (n,), end token included where it was drawn.
        log_probs: for each row the model's own log-probabilities of them (n,).
        worth: (R,) sum of the advantages of each reply's tokens, in units of the return range: with gamma_token 1, how
            much better the reply is than the policy's average; zeros without a critic.
    """

    ids: list[NDArray[np.int32]]
    log_probs: list[NDArray[np.float32]]
    worth: NDArray[np.float32]


def sample_replies(
    backbone: Backbone,
    inputs: dict[str, Tensor],
    noise_keys: NDArray[np.int64],
    sampling: Sampling,
    *,
    guide: Guide | None = None,
    anyone: Callable[[bool], bool] = bool,
) -> Sampled:
    """Draw one reply for each row; the arguments are those of `sample_after`, with nothing read before."""
    return sample_after(backbone, inputs, noise_keys, sampling, None, guide=guide, anyone=anyone)[0]


@torch.no_grad()
def sample_after(
    backbone: Backbone,
    inputs: dict[str, Tensor],
    noise_keys: NDArray[np.int64],
    sampling: Sampling,
    before: Before | None,
    *,
    guide: Guide | None = None,
    anyone: Callable[[bool], bool] = bool,
) -> tuple[Sampled, Read]:
    """Draw one reply for each row, to a prompt whose beginning may have been read; gives what is read then, too.

    Args:
        backbone: trunk and language head.
        inputs: left-padded batch of what is left to read of R prompts: one token at least.
        noise_keys: (R, K) counters that name each row's noise.
        sampling: how to draw.
        before: what was read before.
        guide: the critic, where it shall have a say or judge the replies.
        anyone: whether the flag is set on any process; makes sharded ranks run the same number of forwards.
    """
    mask = inputs["attention_mask"]
    rows = mask.shape[0]
    device = mask.device
    uniforms = counter.uniform(*noise_keys.T[..., None], np.arange(sampling.max_tokens)[None, :])
    uniforms_t = torch.from_numpy(uniforms).to(device)
    ids = torch.full((rows, sampling.max_tokens), sampling.pad_id, dtype=torch.long, device=device)
    log_probs = torch.zeros((rows, sampling.max_tokens), device=device)
    lengths = torch.zeros(rows, dtype=torch.long, device=device)
    worth = torch.zeros(rows, device=device)
    alive = torch.ones(rows, dtype=torch.bool, device=device)
    positions = backbone.positions(inputs)
    cache = None
    if before is not None:
        # A position is a count, or begins with one, whatever stands before it.
        positions = positions + before.position[:, None]
        cache, mask = before.cache, torch.cat([before.mask, mask], -1)
    read = positions
    step = {**inputs, "attention_mask": mask, "position_ids": positions}
    # A token that only stands for pictures may have no row in the language head.
    spoken = [token for token in sampling.banned_ids if token < backbone.vocabulary]
    banned = torch.tensor(spoken, dtype=torch.long, device=device)
    for index in range(sampling.max_tokens):
        hidden, cache = backbone.extend(step, cache)
        all_log_probs = backbone.logits(hidden).float().log_softmax(-1)
        offered = all_log_probs.index_fill(-1, banned, -torch.inf) if len(banned) else all_log_probs
        if guide is not None and guide.shift:
            offered = guide.shifted(hidden, offered)
        token = _draw(offered, uniforms_t[:, index], sampling.temperature)
        if guide is not None:
            worth += torch.where(alive, guide.gain(hidden, all_log_probs, token), 0.0)
        ids[:, index] = torch.where(alive, token, ids[:, index])
        log_probs[:, index] = all_log_probs.gather(-1, token[:, None]).squeeze(-1)
        lengths += alive
        alive = alive & (token != sampling.end_id)
        if not anyone(bool(alive.any())):
            break
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], -1)
        # A prompt ends with text, whose axes agree; what follows counts on from there.
        positions = positions[..., -1:] + 1
        step = {"input_ids": ids[:, index : index + 1], "attention_mask": mask, "position_ids": positions}
    counts = lengths.tolist()
    all_ids, all_probs = ids.int().cpu().numpy(), log_probs.cpu().numpy()
    sampled = Sampled(
        [all_ids[row, :count].copy() for row, count in enumerate(counts)],
        [all_probs[row, :count].copy() for row, count in enumerate(counts)],
        worth.cpu().numpy(),
    )
    return sampled, Read(cache, inputs["attention_mask"], read, before)


def _draw(log_probs: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    if temperature == 0.0:
        return log_probs.argmax(-1)
    # float64: in float32 the cumulative sum of a large vocabulary may end below the uniform number.
    cumulative = (log_probs.double() / temperature).softmax(-1).cumsum(-1)
    draw = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True).squeeze(-1)
    return draw.clamp_max(log_probs.shape[-1] - 1)
