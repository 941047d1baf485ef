"""What the critic costs: an update with it against the SFT update on the same batch, paired in one run.

    OMP_NUM_THREADS=2 python benchmarks/critic_cost.py
    python benchmarks/critic_cost.py --vocabulary 49280 --width 576 --layers 30 --heads 9   # SmolVLM-256M's text model
    python benchmarks/critic_cost.py --wide [--vocabulary 151936] [--quick]

A text trunk built from config, as wide and deep as asked; rows of text alone (a vision tower would make both updates
dearer and the ratio smaller), of which 5 % of the positions are the agent's. Updates alternate, so that both meet the
same machine; the ratio is the median over pairs. Peak memory is the proportional set size of a process for each.

`--wide` times the critic's own update at a large vocabulary, from hidden states and the policy's probabilities on, in
three ways that make the same loss and the same gradient (compared first), on the same head and with the same optimizer
and Polyak step, which each way ends with:

    ours        one row of the table for Q(s, a), the policy's mean row for V(s), at the agent's tokens alone
    positions   Q of the whole vocabulary at the agent's tokens alone, from which Q(s, a) and V(s) are taken
    naive       Q of the whole vocabulary at every position of the row, as an ILQL head computes it
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import numpy as np
import torch
from side_by_side import Peak, alternate, ratio, table
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from vlmq.loss import actor, critic, returns
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import Backbone
from vlmq.model.heads import CriticConfig, CriticHead


class TextBackbone(Backbone):
    """A causal language model in the place of a vision-language model."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        nn.Module.__init__(self)
        self.model = model
        self.vocabulary, self.hidden_size = model.config.vocab_size, model.config.hidden_size

    def hidden(self, inputs: dict[str, Tensor]) -> Tensor:
        """(R, L, D)."""
        found: Tensor = self.model.model(**inputs).last_hidden_state
        return found

    def logits(self, hidden: Tensor) -> Tensor:
        """(S, V)."""
        found: Tensor = self.model.lm_head(hidden)
        return found


def main() -> None:
    """Time both updates in pairs, then measure each one's peak memory in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocabulary", type=int, help="32,768, or 151,936 with --wide, where it is left out")
    parser.add_argument("--width", type=int, help="384, or 512 with --wide, where it is left out")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--share", type=float, default=0.05, help="of the positions that are the agent's")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--memory-of", choices=("sft", "critic"), help=argparse.SUPPRESS)
    parser.add_argument("--wide", action="store_true", help="the critic's own update at a large vocabulary")
    parser.add_argument("--rounds", type=int, default=5, help="of --wide")
    parser.add_argument("--positions", type=int, default=1024, help="of --wide's one row")
    parser.add_argument("--tokens", type=int, default=64, help="of the agent, of --wide's one row")
    parser.add_argument("--quick", action="store_true", help="--wide in one round of a small size")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.vocabulary, arguments.positions, arguments.rounds = 8192, 256, 1
    arguments.vocabulary = arguments.vocabulary or (151936 if arguments.wide else 32768)
    arguments.width = arguments.width or (512 if arguments.wide else 384)
    if arguments.wide:
        print("\n" + "\n".join(wide(arguments)))
        return
    update = Update(arguments)
    if arguments.memory_of:
        print(peak(update, arguments.memory_of == "critic"))
        return
    size = sum(p.numel() for p in update.agent.backbone.parameters()) / 1e6
    print(
        f"trunk {size:.1f} M, vocabulary {arguments.vocabulary}, {arguments.rows} x {arguments.length} positions"
        f", {len(update.tokens)} of the agent's, {torch.get_num_threads()} threads"
    )
    for with_critic in (False, True):
        update(with_critic)
    seconds = np.array([[timed(update, False), timed(update, True)] for _ in range(arguments.pairs)])
    ratio = seconds[:, 1] / seconds[:, 0]
    low, high = np.percentile(ratio, [10, 90])
    print(f"sft {np.median(seconds[:, 0]):.3f} s, with critic {np.median(seconds[:, 1]):.3f} s an update")
    print(
        f"ratio {np.median(ratio):.3f} (10th to 90th percentile of {len(ratio)} pairs {low:.3f} to {high:.3f})"
    )
    used = {
        name: float(
            subprocess.run(
                [sys.executable, *sys.argv, "--memory-of", name], capture_output=True, text=True, check=True
            ).stdout
        )
        for name in ("sft", "critic")
    }
    print(
        f"peak PSS: sft {used['sft']:.0f} MB, with critic {used['critic']:.0f} MB, "
        f"ratio {used['critic'] / used['sft']:.3f}"
    )


def wide(arguments: argparse.Namespace) -> list[str]:
    """The lines with the ratios of three ways to update the critic at a large vocabulary."""
    update = CriticUpdate(arguments)
    ways = {"ours": update.ours, "positions": update.positions, "naive": update.naive}
    print(
        f"vocabulary {arguments.vocabulary:,}, {arguments.positions} positions, {arguments.tokens} of the agent's, "
        f"width {arguments.width}, {torch.get_num_threads()} threads",
        flush=True,
    )
    update.compare(ways)
    rates = alternate(
        {name: lambda _, way=way: update.rate(way) for name, way in ways.items()},
        arguments.rounds,
        "updates/s",
    )
    print(table(rates, "updates/s"))
    return [
        f"updates/s, ours over {other}: {ratio(rates, 'ours', other)}" for other in ("positions", "naive")
    ]


Way = Callable[[CriticHead], tuple[Tensor, Tensor]]
"""Q (C, A) of the agent's tokens and V (C, A) of their states, of one head."""


class CriticUpdate:
    """One row of hidden states with the policy's probabilities, and an update of the critic on it in any way."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(0)
        length, count, vocabulary = arguments.positions, arguments.tokens, arguments.vocabulary
        self._head = CriticHead(arguments.width, vocabulary, CriticConfig())
        self._target = CriticHead(arguments.width, vocabulary, CriticConfig()).requires_grad_(False)
        self._target.load_state_dict(self._head.state_dict())
        self._hidden = torch.randn(length, arguments.width)
        self._probs = torch.randn(length, vocabulary).mul_(2.0).softmax(-1)
        self._place = torch.arange(length - count, length)
        self._tokens = torch.randint(vocabulary, (count,))
        self._optimizer = torch.optim.AdamW(self._head.parameters(), lr=1e-3)

    def ours(self, head: CriticHead) -> tuple[Tensor, Tensor]:
        """A row of the table for each token, and the policy's mean row."""
        found = head(self._hidden[self._place], self._tokens, self._probs[self._place])
        return found.q, found.value

    def positions(self, head: CriticHead) -> tuple[Tensor, Tensor]:
        """The whole vocabulary at the agent's tokens."""
        every = head.every(self._hidden[self._place])
        value = (every.detach() * self._probs[self._place]).sum(-1)
        return self._taken(every), value

    def naive(self, head: CriticHead) -> tuple[Tensor, Tensor]:
        """The whole vocabulary everywhere."""
        every = head.every(self._hidden)
        value = (every.detach() * self._probs).sum(-1)
        return self._taken(every[:, self._place]), value[:, self._place]

    def compare(self, ways: Mapping[str, Way]) -> None:
        """Whether all ways make the same loss and gradient; no update is made."""
        found = {}
        for name, way in ways.items():
            self._optimizer.zero_grad()
            loss = self._backward(way)
            found[name] = loss, [p.grad.clone() for p in self._head.parameters() if p.grad is not None]
        self._optimizer.zero_grad()
        loss, gradients = found["ours"]
        for name, (other, theirs) in found.items():
            apart = max(
                float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))
                for a, b in zip(gradients, theirs, strict=True)
            )
            if not (abs(loss - other) < 1e-4 * abs(loss) and apart < 1e-3):
                raise SystemExit(
                    f"{name}: its loss is {other} against {loss}, its gradient {apart:.1e} apart"
                )
        print("all ways make the same loss and gradient", flush=True)

    def rate(self, way: Way) -> float:
        """Updates a second, of one."""
        started = time.perf_counter()
        self._optimizer.zero_grad()
        self._backward(way)
        self._optimizer.step()
        with torch.no_grad():
            for target, source in zip(self._target.parameters(), self._head.parameters(), strict=True):
                target.lerp_(source, 0.005)
        return 1.0 / (time.perf_counter() - started)

    def _backward(self, way: Way) -> float:
        q, value = way(self._head)
        with torch.no_grad():
            _, following = way(self._target)
        # The last token of a reply is rewarded, every other is worth what follows it.
        ahead = torch.cat([following[:, 1:].mean(0), torch.ones(1)])
        loss = critic.squared_error(q, ahead).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        # The filter of the fine-tuning loss needs the advantage, whoever computes it.
        critic.advantage(q.detach(), value)
        return float(loss.detach())

    def _taken(self, every: Tensor) -> Tensor:
        return every.gather(-1, self._tokens.expand(len(every), -1)[..., None]).squeeze(-1)


class Update:
    """One batch, and one optimizer step on it with or without the critic."""

    def __init__(self, arguments: argparse.Namespace | SimpleNamespace) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=arguments.vocabulary,
            hidden_size=arguments.width,
            intermediate_size=4 * arguments.width,
            num_hidden_layers=arguments.layers,
            num_attention_heads=arguments.heads,
            num_key_value_heads=arguments.heads,
            tie_word_embeddings=True,
        )
        self.agent = ActorCritic(TextBackbone(LlamaForCausalLM(config)), CriticConfig(), trunk_gradient=0.1)
        rows, length = arguments.rows, arguments.length
        ids = torch.randint(arguments.vocabulary, (rows, length))
        self.inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        each = max(1, round(arguments.share * length))
        # A reply stands at the end of each row.
        self.row = torch.arange(rows).repeat_interleave(each)
        place = torch.arange(length - each, length).repeat(rows)
        self.tokens, self.position = ids[self.row, place], place - 1
        count = len(self.tokens)
        self.last = place == length - 1
        self.next_token = torch.where(self.last, -1, torch.arange(1, count + 1))
        self.trunk = torch.optim.AdamW(self.agent.backbone.parameters(), lr=1e-5)
        self.heads = torch.optim.AdamW(self.agent.critic.parameters(), lr=1e-3)

    def __call__(self, with_critic: bool) -> None:
        """Forward, losses, backward, step, and with a critic its Polyak copy."""
        output = self.agent(self.inputs, self.row, self.position, self.tokens, with_critic=with_critic)
        weights = torch.ones_like(output.log_probs)
        optimizers = [self.trunk]
        critic_loss: Tensor | float = 0.0
        if with_critic:
            assert output.q is not None
            assert output.value is not None
            assert output.target_value is not None
            reward, discount = self.last.float(), (~self.last).float()
            target = returns.lambda_returns(
                reward, discount, output.target_value.mean(0), torch.ones_like(reward), self.next_token
            )
            critic_loss = critic.squared_error(output.q, target).mean()
            weights = (critic.advantage(output.q, output.value) > -0.03).float()
            optimizers.append(self.heads)
        loss = actor.filtered_nll(output.log_probs, weights).mean() + critic_loss
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if with_critic:
            self.agent.update_target(0.005)


def timed(update: Update, with_critic: bool) -> float:
    """Seconds of one update."""
    started = time.perf_counter()
    update(with_critic)
    return time.perf_counter() - started


def peak(update: Update, with_critic: bool) -> float:
    """Largest proportional set size in MB over four updates."""
    with Peak() as seen:
        for _ in range(4):
            update(with_critic)
    return seen.pss


if __name__ == "__main__":
    main()
