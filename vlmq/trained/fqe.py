"""Fitted Q evaluation: what a policy would earn, from recorded episodes alone, without playing.

A fresh critic is fitted on the frozen hidden states of the policy's own trunk to the fixed point of

    Q(s, a) = r + gamma E_{a' ~ pi} Q(s', a')

over the data's tokens, whoever chose them (Le, Voloshin, Yue 2019, arXiv 1903.08738). The estimate is the mean of
E_pi Q over the episodes' first states. It is a ranking of policies more than a forecast: what the data never shows,
the critic guesses.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from vlmq import counter
from vlmq.api import Episode
from vlmq.data.batch import Fragment, build_batch
from vlmq.loss import critic as losses
from vlmq.loss import masked
from vlmq.model.backbone import Backbone
from vlmq.model.heads import CriticConfig, CriticHead
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.report.stats import Interval, bootstrap

_DRAW = counter.purpose("fitted Q evaluation")
_AT_ONCE = 8
"""Episodes encoded in one forward."""
_STATES_AT_ONCE = 1024
"""States whose logits exist at one time."""
_LIKELY = 64
"""Tokens of a policy that samples that are looked at; what lies beyond them is left out."""


@dataclass(frozen=True)
class Fit:
    """How the evaluation's critic is fitted.

    Attributes:
        gamma: discount from turn to turn.
        temperature: of the policy that is evaluated; 0 is greedy.
        updates: optimizer steps.
        batch_size: agent tokens of one step.
        learning_rate: falls to zero over the updates.
        tau: step of the Polyak copy that gives the targets.
        seed: of the critic's start and of the draws.
    """

    gamma: float = 0.95
    temperature: float = 0.0
    updates: int = 3000
    batch_size: int = 512
    learning_rate: float = 3e-3
    tau: float = 0.05
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Features:
    """A policy's view of recorded episodes: A agent tokens, S states, E episodes, D the trunk's width.

    Attributes:
        hidden: (S, D) hidden state of each state, float32; the first A belong to the tokens.
        tokens: (A,) the tokens taken.
        reward: (A,) on the last token of a reply.
        discounted: (A,) whether the state after the token is a new turn's.
        terminal: (A,) whether the episode terminated with the token.
        next_state: (A,) index of the state after the token.
        known: (A,) whether that state was observed, or none follows.
        first: (E,) index of each episode's first state.
    """

    hidden: Tensor
    tokens: Tensor
    reward: Tensor
    discounted: Tensor
    terminal: Tensor
    next_state: Tensor
    known: Tensor
    first: Tensor


@torch.no_grad()
def features(backbone: Backbone, encoder: Encoder, history: History, episodes: Sequence[Episode]) -> Features:
    """Run the trunk once over every episode."""
    device = next(backbone.parameters()).device
    taken: dict[str, list[Tensor]] = {}
    extra: list[Tensor] = []
    first: list[int] = []
    tokens = extras = 0
    for start in range(0, len(episodes), _AT_ONCE):
        some = episodes[start : start + _AT_ONCE]
        fragments = [Fragment(e.turns, 0, 0, e.final_observation, e.terminated) for e in some]
        batch = build_batch(fragments, encoder, history).to(device)
        hidden = backbone.hidden(batch.inputs)[batch.state_row, batch.state_position].float().cpu()
        count = len(batch.tokens)
        # A state that only bootstraps keeps a negative place until the number of all tokens is known.
        own = batch.next_state < count
        following = torch.where(own, batch.next_state + tokens, -1 - (batch.next_state - count + extras))
        columns = {
            "hidden": hidden[:count], "tokens": batch.tokens, "reward": batch.reward, "discounted": batch.last,
            "terminal": batch.terminal, "next_state": following, "known": batch.next_known | batch.terminal,
        }  # fmt: skip
        for name, column in columns.items():
            taken.setdefault(name, []).append(column.cpu())
        extra.append(hidden[count:])
        starts = masked.starts(batch.last) & (batch.turn[batch.reply] == 0)
        first += (starts.nonzero().squeeze(-1) + tokens).tolist()
        tokens, extras = tokens + count, extras + len(hidden) - count
    whole = {name: torch.cat(columns) for name, columns in taken.items()}
    place = whole["next_state"]
    whole["next_state"] = torch.where(place < 0, tokens - 1 - place, place)
    whole["hidden"] = torch.cat([whole["hidden"], *extra])
    return Features(**whole, first=torch.tensor(first))


def evaluate(backbone: Backbone, seen: Features, fit: Fit) -> Interval:
    """Expected discounted return of the policy from the episodes' first states, with an interval over episodes.

    Args:
        backbone: gives the policy's distribution in each state.
        seen: its features.
        fit: how to fit.
    """
    scale = float(seen.reward.abs().max().clamp_min(1e-6))
    torch.manual_seed(counter.seed(fit.seed, _DRAW))
    likely, share = _policy(backbone, seen.hidden, fit.temperature)
    # The head's own V is not asked for: the policy's tokens are known beforehand, and Q of those few is all it takes.
    head = CriticHead(seen.hidden.shape[1], backbone.vocabulary, CriticConfig(value="topk", top_k=1))
    unasked = torch.ones(fit.batch_size, 1)
    target = copy.deepcopy(head).requires_grad_(False)
    optimizer = torch.optim.AdamW(head.parameters(), lr=fit.learning_rate, weight_decay=0.0)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fit.updates)
    usable = seen.known.nonzero().squeeze(-1)
    gamma = torch.where(seen.discounted, fit.gamma, 1.0) * ~seen.terminal
    for update in tqdm(range(fit.updates), unit="update", leave=False, disable=None):
        draw = counter.uniform(fit.seed, _DRAW, update, np.arange(fit.batch_size))
        chosen = usable[torch.from_numpy((draw * len(usable)).astype(np.int64))]
        following = seen.next_state[chosen]
        after = (target.of_candidates(seen.hidden[following], likely[following]) * share[following]).sum(-1)
        wanted = seen.reward[chosen] / scale + gamma[chosen] * after
        said = head(seen.hidden[chosen], seen.tokens[chosen], unasked).q
        loss = losses.squared_error(said, wanted).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        decay.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), head.parameters(), strict=True):
                slow.lerp_(fast, fit.tau)
    first = seen.first
    value = (head.of_candidates(seen.hidden[first], likely[first]) * share[first]).sum(-1) * scale
    return bootstrap(value.double().numpy())


@torch.no_grad()
def _policy(backbone: Backbone, hidden: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The policy's likeliest tokens in each state (S, N), and the probability of each among them (S, N)."""
    parameter = next(backbone.parameters())
    kept = 1 if temperature == 0.0 else min(_LIKELY, backbone.vocabulary)
    found = []
    for some in torch.split(hidden, _STATES_AT_ONCE):
        logits = backbone.logits(some.to(parameter.device, parameter.dtype)).float().cpu()
        found.append(logits.topk(kept, -1))
    values, tokens = (torch.cat(column) for column in zip(*found, strict=True))
    return tokens, (values / (temperature or 1.0)).softmax(-1)
