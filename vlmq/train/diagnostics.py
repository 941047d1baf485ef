"""What an update shows of filter, policy and critic, over the whole batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vlmq.data.batch import Batch
from vlmq.model.actor_critic import Output
from vlmq.rollout import sync


def of_update(
    batch: Batch,
    output: Output,
    weights: Float[Tensor, " A"],
    advantages: Float[Tensor, " A"],
    targets: Float[Tensor, " A"] | None,
    return_range: float,
) -> dict[str, float]:
    """Pass rates (all, and by source), the policy's entropy, and how good the critic is.

    Every process gives its part of the batch, and all get the same figures.

    Args:
        batch: this process's part.
        output: of its forward.
        weights: f(A_i).
        advantages: A_i.
        targets: of Q, in units of the return range, NaN where there is none; None without a critic.
        return_range: in the environment's units; `critic/q_max` is said in these.
    """
    device = weights.device
    sources = sorted(set(sync.everyone(list(batch.sources))))
    codes = torch.tensor([sources.index(name) for name in batch.sources], device=device)
    source = codes[batch.source][batch.reply]
    columns = {"kept": weights.clamp_max(1.0), "entropy": output.entropy, "source": source}
    if output.q is not None and targets is not None:
        q = output.q.detach()
        columns |= {"q": q.mean(0), "spread": q.std(0, correction=0)}
        columns |= {"target": targets, "advantage": advantages}
    rows = sync.joined(torch.stack([column.float() for column in columns.values()], -1))
    token = dict(zip(columns, rows.unbind(-1), strict=True))
    values = {"pass_rate": token["kept"].mean(), "entropy": token["entropy"].mean()}
    for code, name in enumerate(sources):
        chosen = token["source"] == code
        if chosen.any():
            values[f"pass_rate/{name}"] = token["kept"][chosen].mean()
    if "q" in token:
        with_target = token["target"].isfinite()
        values |= {
            "critic/explained_variance": _explained(token["q"][with_target], token["target"][with_target]),
            "critic/q_max": token["q"].max() * return_range,
            "critic/advantage_mean": token["advantage"].mean(),
            "critic/advantage_std": token["advantage"].std(correction=0),
            "critic/spread": token["spread"].mean(),
        }
    return {name: float(value) for name, value in values.items()}


def explained_variance(
    q: Float[Tensor, "C A"], targets: Float[Tensor, " A"], known: Bool[Tensor, " A"]
) -> float:
    """Share of the targets' variance that the ensemble's mean explains, over all processes' tokens.

    Args:
        q: of the tokens taken.
        targets: returns that were observed.
        known: where there is one.
    """
    rows = sync.joined(torch.stack([q.detach().mean(0)[known], targets[known]], -1))
    return float(_explained(rows[:, 0], rows[:, 1]))


def _explained(q: Tensor, target: Tensor) -> Tensor:
    return 1.0 - (target - q).var(correction=0) / target.var(correction=0).clamp_min(1e-8)
