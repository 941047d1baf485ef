"""What an update shows of filter, policy and critic, over the whole batch."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlmq.data.batch import Batch
from vlmq.loss import masked
from vlmq.model.actor_critic import Output
from vlmq.rollout import sync

_TURNS = ((0, 1), (1, 2), (2, 5), (5, math.inf))
"""First turn of each group of turns, and the one after its last."""
_SURENESS = ((0, 0.1), (0.1, 0.9), (0.9, 1))
"""Probabilities of the token taken that bound each group; a syntax token's is near 1."""


def of_update(
    batch: Batch,
    output: Output,
    weights: Float[Tensor, " A"],
    advantages: Float[Tensor, " A"],
    targets: Float[Tensor, " A"] | None,
    return_range: float,
    *,
    of_turns: bool = False,
) -> dict[str, float]:
    """Pass rates (all, by source, by turn, by how sure the policy was), its entropy, and how good the critic is.

    Every process gives its part of the batch, and all get the same figures.

    Args:
        batch: this process's part.
        output: of its forward.
        weights: f(A_i).
        advantages: A_i.
        targets: of Q, in units of the return range, NaN where there is none; None without a critic.
        return_range: in the environment's units; `critic/q_max` is said in these.
        of_turns: whether the critic is asked only where a reply begins.
    """
    device = weights.device
    sources = sorted(set(sync.everyone(list(batch.sources))))
    codes = torch.tensor([sources.index(name) for name in batch.sources], device=device)
    source = codes[batch.source][batch.reply]
    columns = {
        "kept": weights.clamp_max(1.0), "entropy": output.entropy, "source": source,
        "turn": batch.turn[batch.reply], "pi": output.log_probs.detach().exp(),
    }  # fmt: skip
    if output.q is not None and targets is not None:
        q = output.q.detach()
        asked = masked.starts(batch.last) if of_turns else torch.ones_like(batch.last)
        columns |= {"q": q.mean(0), "spread": q.std(0, correction=0), "asked": asked}
        columns |= {"target": targets, "advantage": advantages, "success": batch.success[batch.reply]}
    rows = sync.joined(torch.stack([column.float() for column in columns.values()], -1))
    token = dict(zip(columns, rows.unbind(-1), strict=True))
    values = {"pass_rate": token["kept"].mean(), "entropy": token["entropy"].mean()}
    values["reply_length"] = torch.tensor(len(rows) / sync.total(batch.num_replies))
    groups = {f"pass_rate/{name}": token["source"] == code for code, name in enumerate(sources)}
    for low, high in _TURNS:
        ends = f"{low}" if high == low + 1 else f"{low}_up" if math.isinf(high) else f"{low}_to_{high - 1}"
        groups[f"pass_rate_at_turn/{ends}"] = (token["turn"] >= low) & (token["turn"] < high)
    for least, most in _SURENESS:
        groups[f"pass_rate_at_pi/{least}_to_{most}"] = (token["pi"] > least) & (token["pi"] <= most)
    values |= {name: token["kept"][chosen].mean() for name, chosen in groups.items() if chosen.any()}
    if "q" in token:
        with_target, asked = token["target"].isfinite(), token["asked"] > 0
        values |= {
            "critic/explained_variance": _explained(token["q"][with_target], token["target"][with_target]),
            "critic/q_max": token["q"][asked].max() * return_range,
            "critic/advantage_mean": token["advantage"].mean(),
            "critic/advantage_std": token["advantage"].std(correction=0),
            "critic/spread": token["spread"][asked].mean(),
        }
        success = token["success"] > 0
        if success.any() and not success.all():
            values["critic/auroc"] = _auroc(token["advantage"], success)
    return {name: float(value) for name, value in values.items()}


def explained_variance(pairs: Float[Tensor, "N 2"]) -> float:
    """Share of the returns' variance that a critic explains, over all processes' tokens.

    Args:
        pairs: of each token taken, the ensemble's mean Q and the return that was observed.
    """
    return float(_explained(*sync.joined(pairs.detach()).unbind(-1)))


def _auroc(scores: Float[Tensor, " A"], positive: Bool[Tensor, " A"]) -> Tensor:
    """How often a positive one scores above a negative one; ties count half."""
    ordered, places = torch.unique(scores, return_inverse=True)
    counts = torch.bincount(places, minlength=len(ordered)).double()
    below = counts.cumsum(0) - counts
    rank = (below + (counts + 1) / 2)[places]
    above, rest = positive.sum().double(), (~positive).sum().double()
    return (rank[positive].sum() - above * (above + 1) / 2) / (above * rest)


def _explained(q: Tensor, target: Tensor) -> Tensor:
    if not len(target):
        return target.new_tensor(math.nan)
    return 1.0 - (target - q).var(correction=0) / target.var(correction=0).clamp_min(1e-8)
