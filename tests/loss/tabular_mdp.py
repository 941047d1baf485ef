"""A language of a few tokens, small enough to solve exactly, that goes through the real batch and update.

Only the trunk and the critic are tables; layout, forward, targets, filter, losses and the Polyak copy are the
package's own. The trunk is one-hot in the prefix of its row, so with history "none" a state is an observation
and the tokens said since.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlmq.api import Observation, Turn
from vlmq.data.batch import Batch, Fragment
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.backbone import Backbone
from vlmq.model.heads import CriticConfig, CriticHead, Estimates
from vlmq.prompt.encode import Encoder, Row, Segment
from vlmq.train.module import VlmqModule
from vlmq.train.schedule import Phase

END, A, B = 0, 1, 2
WORDS = (END, A, B)
Reply = tuple[int, ...]
State = tuple[int, Reply]


@dataclass(frozen=True)
class Step:
    """What a reply leads to: a reward, and the next observation, None where the episode terminates."""

    reward: float
    following: int | None
    truncated: bool = False


@dataclass(frozen=True)
class Mdp:
    """Observations 0..num_observations-1; a reply ends with END, or is cut after `max_reply` tokens."""

    num_observations: int
    max_reply: int
    step: Callable[[int, Reply], Step]

    @property
    def vocabulary(self) -> int:
        """The words, then one token for each observation."""
        return len(WORDS) + self.num_observations

    def replies(self) -> Iterator[Reply]:
        """Every reply there is."""
        for length in range(1, self.max_reply + 1):
            for said in itertools.product(WORDS, repeat=length):
                if END not in said[:-1] and (said[-1] == END or length == self.max_reply):
                    yield said

    def prefixes(self) -> Iterator[Reply]:
        """Everything that may have been said when the next token is chosen."""
        for length in range(self.max_reply):
            yield from itertools.product((A, B), repeat=length)

    def states(self) -> list[State]:
        """Every observation with every prefix."""
        return [(o, prefix) for o in range(self.num_observations) for prefix in self.prefixes()]

    def exact_q(
        self, pi: Callable[[State], NDArray[np.float64]], gamma_turn: float, *, gamma_token: float = 1.0
    ) -> dict[tuple[State, int], float]:
        """Q^pi by iterating the Bellman equation."""
        q = {(state, word): 0.0 for state in self.states() for word in WORDS}
        for _ in range(400):
            value = {s: float(sum(pi(s)[w] * q[s, w] for w in WORDS)) for s in self.states()}
            q = {(s, w): self._backup(s, w, value, gamma_token, gamma_turn) for s, w in q}
        return q

    def _backup(
        self, state: State, word: int, value: dict[State, float], gamma_token: float, gamma_turn: float
    ) -> float:
        said = (*state[1], word)
        if word != END and len(said) < self.max_reply:
            return gamma_token * value[state[0], said]
        step = self.step(state[0], said)
        return step.reward + (0.0 if step.following is None else gamma_turn * value[step.following, ()])

    def best_return(self, observation: int) -> float:
        """The largest undiscounted return, by trying every reply; only for an MDP without loops."""
        returns = []
        for reply in self.replies():
            step = self.step(observation, reply)
            ends = step.following is None or step.truncated
            returns.append(step.reward + (0.0 if ends else self.best_return(step.following or 0)))
        return max(returns)

    def play(self, choose: Callable[[State], int], observation: int = 0) -> Fragment:
        """One episode from an observation."""
        turns: list[Turn] = []
        while True:
            said: list[int] = []
            while len(said) < self.max_reply and END not in said:
                said.append(choose((observation, tuple(said))))
            step = self.step(observation, tuple(said))
            turns.append(self.turn(observation, tuple(said), step.reward))
            if step.following is None or step.truncated:
                after = None if step.following is None else Observation(str(step.following))
                return Fragment(tuple(turns), 0, 0, after, step.following is None)
            observation = step.following

    def turn(self, observation: int, reply: Reply, reward: float) -> Turn:
        """A turn as it would be stored."""
        return Turn(
            Observation(str(observation)), "", "", reward, reply_ids=np.array(reply, np.int32), source="model"
        )

    def every_episode(self, weights: tuple[int, ...], observation: int = 0) -> list[Fragment]:
        """Each episode as often as a policy with these integer weights on the words plays it."""
        draws = [word for word, weight in zip(WORDS, weights, strict=True) for _ in range(weight)]
        unfinished: list[list[tuple[int, Reply, Step]]] = [[]]
        fragments: list[Fragment] = []
        while unfinished:
            longer: list[list[tuple[int, Reply, Step]]] = []
            for episode in unfinished:
                now = observation if not episode else episode[-1][2].following
                assert now is not None
                for drawn in itertools.product(draws, repeat=self.max_reply):
                    reply = drawn[: drawn.index(END) + 1] if END in drawn else drawn
                    longer.append([*episode, (now, reply, self.step(now, reply))])
            unfinished = [e for e in longer if e[-1][2].following is not None and not e[-1][2].truncated]
            finished = [e for e in longer if e[-1][2].following is None or e[-1][2].truncated]
            for episode in finished:
                # The longest episodes count once for each draw, shorter ones once for each they stand for.
                share = len(draws) ** (self.max_reply * (_longest(self, observation) - len(episode)))
                turns = tuple(self.turn(o, reply, step.reward) for o, reply, step in episode)
                after = episode[-1][2].following
                following = None if after is None else Observation(str(after))
                fragments += [Fragment(turns, 0, 0, following, after is None)] * share
        return fragments


def _longest(mdp: Mdp, observation: int) -> int:
    longest = 0
    for reply in mdp.replies():
        step = mdp.step(observation, reply)
        ends = step.following is None or step.truncated
        longest = max(longest, 1 + (0 if ends else _longest(mdp, step.following or 0)))
    return longest


class TableEncoder:
    """What `build_batch` needs of an encoder: a prompt is one token, the observation's own."""

    prompts = Encoder.prompts

    def prompt(self, observation: Observation, *, first: bool) -> Segment:
        """One token."""
        return Segment(np.array([len(WORDS) + int(observation.text)], np.int32), None, 0)

    def thoughts(self, ids: np.ndarray) -> np.ndarray:
        """Nothing here is a thought."""
        return np.zeros(len(ids), bool)

    def collate(self, rows: list[Row], *, left: bool) -> dict[str, Tensor]:
        """Pad on the right."""
        ids = torch.zeros((len(rows), max(len(row.ids) for row in rows)), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row.ids)] = torch.from_numpy(row.ids)
        return {"input_ids": ids}


class TableBackbone(Backbone):
    """A trunk that is one-hot in the prefix, and a language head that is a table over it."""

    def __init__(self, mdp: Mdp, *, weights: tuple[float, ...] = (1, 1, 1), learn: bool = False) -> None:
        nn.Module.__init__(self)
        self.vocabulary = mdp.vocabulary
        self.hidden_size = len(mdp.states()) + 1
        # A prefix, read as a number, gives the state; the last one stands for whatever is no state.
        numbers = torch.full((self.vocabulary ** (mdp.max_reply + 1),), self.hidden_size - 1)
        for index, (observation, said) in enumerate(mdp.states()):
            number = len(WORDS) + observation
            for token in said:
                number = number * self.vocabulary + token
            numbers[number] = index
        self.numbers = numbers
        logits = torch.full((self.hidden_size, mdp.vocabulary), -40.0)
        logits[:, : len(WORDS)] = torch.tensor(weights).log()
        self.table = nn.Parameter(logits, requires_grad=learn)

    def hidden(self, inputs: dict[str, Tensor]) -> Tensor:
        """One-hot of the state at each position."""
        number = torch.zeros_like(inputs["input_ids"][:, 0])
        states = []
        for ids in inputs["input_ids"].unbind(1):
            number = (number * self.vocabulary + ids) % len(self.numbers)
            states.append(self.numbers[number])
        return nn.functional.one_hot(torch.stack(states, 1), self.hidden_size).float()

    def logits(self, hidden: Tensor) -> Tensor:
        """A row of the table."""
        return hidden @ self.table


class TableCritic(CriticHead):
    """Q as a table, with the package's contract: Q of the tokens, and V without gradient."""

    def __init__(self, size: int, vocabulary: int) -> None:
        nn.Module.__init__(self)
        self.config = CriticConfig(2, 1, 1)
        self.table = nn.Parameter(torch.zeros(2, size, vocabulary))

    def forward(self, hidden: Tensor, tokens: Tensor, probs: Tensor) -> Estimates:
        """Two members."""
        q = hidden @ self.table
        taken = q[:, : len(tokens)].gather(-1, tokens.expand(2, -1)[..., None]).squeeze(-1)
        return Estimates(taken, (q * probs).sum(-1).detach(), None)


class TableModule(VlmqModule):
    """The module without a trainer: its learning rate and its log are the caller's affair."""

    def __init__(
        self,
        mdp: Mdp,
        backbone: TableBackbone,
        phases: list[Phase],
        *,
        head: CriticConfig | None = None,
        **settings: Any,
    ) -> None:
        """With `head`, the package's own critic over the one-hot states in place of a table."""
        config = head or CriticConfig(1, 1, 1)
        super().__init__("a table", phases, critic=config, **settings)
        self.actor_critic = ActorCritic(backbone, config, trunk_gradient=0.0)
        if head is not None:
            return
        self.actor_critic.critic = TableCritic(backbone.hidden_size, backbone.vocabulary)
        self.actor_critic.target_critic = TableCritic(backbone.hidden_size, backbone.vocabulary)
        self.actor_critic.target_critic.requires_grad_(False)

    def _set_learning_rates(self, phase: Phase) -> None: ...

    def _log(self, *_: Any) -> None: ...

    def q_table(self, mdp: Mdp) -> dict[tuple[State, int], float]:
        """The critic's Q, averaged over its members."""
        critic, backbone = self.agent.critic, self.agent.backbone
        if isinstance(critic, TableCritic):
            table = critic.table.detach().mean(0)
        else:
            states = torch.eye(backbone.hidden_size)
            probs = backbone.logits(states).softmax(-1)
            columns = [critic(states, torch.full((len(states),), w), probs).q for w in range(mdp.vocabulary)]
            table = torch.stack(columns, -1).detach().mean(0)
        return {(s, w): float(table[i, w]) for i, s in enumerate(mdp.states()) for w in WORDS}

    def greedy(self, mdp: Mdp) -> Callable[[State], int]:
        """The policy's likeliest token."""
        assert isinstance(self.agent.backbone, TableBackbone)
        table = self.agent.backbone.table.detach()
        best = dict(zip(mdp.states(), table.argmax(-1).tolist(), strict=False))
        return lambda state: best[state]


def train(module: TableModule, batch: Batch, *, rate: float, settle: float = 0.0) -> None:
    """All phases on one batch: `training_step` inside `optimizer_step`, as Lightning calls them, with Adam.

    Over the last `settle` of the updates the rate falls to a hundredth, so that the tables come to rest.
    """
    parameters = [p for p in module.agent.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.8, 0.95), eps=1e-12)
    total = module.schedule.total
    for update in range(total):
        if module.schedule.at_end_of_phase:
            module.schedule.finish_phase()
        left = (total - update) / max(1.0, settle * total)
        optimizer.param_groups[0]["lr"] = rate * min(1.0, 0.01 ** (1.0 - min(1.0, left)))
        module.optimizer_step(0, update, optimizer, _closure(module, batch, optimizer))


def _closure(module: TableModule, batch: Batch, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return closure
