"""A checkpoint that reads recorded episodes: what each token was worth, and what else might have been said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmq.api import Episode, Turn
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.model.actor_critic import Output
from vlmq.report.seen import Alternative, SeenEpisode, SeenTurn, Token, as_recorded
from vlmq.train import checkpoint, objective
from vlmq.train.objective import Horizon
from vlmq.train.schedule import ObservedUntil
from vlmq.trained.agent import Agent

END = "⏎"
"""How a reply's end token is shown."""
_TURNS_AT_ONCE = 32
"""That go through the model together, where episodes are shorter."""


class Reader:
    """Reads episodes token by token, as the filter would ask about them.

    Args:
        path: of the checkpoint.
        device: where the model shall live.
        observed: share of the observed return in the advantage's Q.
        until: how far that return reaches.
        scaled: whether the margin is scaled by likelihood.
        alternatives: of the policy's likeliest tokens, how many are told at each place.

    Attributes:
        agent: the checkpoint as an agent.
        return_range: reward that stands for 1 of Q, V and advantage.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "cpu",
        observed: float = 0.0,
        until: ObservedUntil = "fragment",
        scaled: bool = False,
        alternatives: int = 5,
    ) -> None:
        content = checkpoint.read(path)
        self.agent = Agent(path, device=device)
        self.return_range = float(content["state_dict"].get("return_range", 1.0))
        self._horizon = Horizon(**content["vlmq"]["horizon"])
        self._observed, self._until = observed, until
        self._scaled, self._alternatives = scaled, alternatives
        self._spelt: dict[int, str] = {}

    def can_read(self, episode: Episode) -> bool:
        """Whether the episode's replies are tokens of this model."""
        return bool(episode.turns) and episode.tokenizer in ("", None, self.agent.encoder.fingerprint)

    def see(self, episodes: Iterable[tuple[Episode, str]]) -> Iterator[SeenEpisode]:
        """Episodes, each with where it comes from; those that it cannot read come back as they were recorded."""
        waiting: list[tuple[Episode, str]] = []
        for pair in episodes:
            waiting.append(pair)
            if sum(len(episode.turns) for episode, _ in waiting) >= _TURNS_AT_ONCE:
                yield from self._seen(waiting)
                waiting = []
        yield from self._seen(waiting)

    def tokens(self, turns: Sequence[Turn]) -> list[Token]:
        """The last turn's reply alone, while its episode goes on: no return has been observed yet."""
        fragment = Fragment(tuple(turns), 0, len(turns) - 1, None, False)
        batch, output, sampled = self._forward([fragment])
        columns = self._columns(batch, output, leaning=False)
        return [self._token(batch, columns, sampled, place) for place in range(len(batch.tokens))]

    def _seen(self, pairs: Sequence[tuple[Episode, str]]) -> Iterator[SeenEpisode]:
        readable = [episode for episode, _ in pairs if self.can_read(episode)]
        turns = iter(self._turns(readable) if readable else ())
        for episode, origin in pairs:
            yield as_recorded(episode, origin, next(turns) if self.can_read(episode) else None)

    def _turns(self, episodes: Sequence[Episode]) -> Iterator[list[SeenTurn]]:
        batch, output, sampled = self._forward(
            [Fragment(e.turns, 0, 0, e.final_observation, e.terminated) for e in episodes]
        )
        columns = self._columns(batch, output, leaning=True)
        returns, known = self._targets(batch, output, self._horizon.observed)
        places: list[list[int]] = [[] for _ in range(batch.num_replies)]
        for place, number in enumerate(batch.reply.tolist()):
            places[number].append(place)
        replies = iter(places)
        for episode in episodes:
            turns = []
            for turn in episode.turns:
                at = next(replies)
                observed = float(returns[at[-1]]) if at and bool(known[at[-1]]) else None
                tokens = [self._token(batch, columns, sampled, place) for place in at]
                turns.append(
                    SeenTurn(
                        turn.observation.image, turn.observation.text, turn.reply, turn.action, turn.reward,
                        turn.parsed, turn.action_ok, turn.source or "unknown", tokens, observed,
                    )
                )  # fmt: skip
            yield turns

    @torch.no_grad()
    def _forward(self, fragments: list[Fragment]) -> tuple[Batch, Output, list[list[Alternative]]]:
        """A batch, what the model says of it, and at each of its tokens what else it might have said."""
        model = self.agent.model
        batch = build_batch(fragments, self.agent.encoder, self.agent.history)
        batch = batch.to(next(model.parameters()).device)
        hidden: list[Tensor] = []
        # The trunk is most of the work, and the states that the critic is shown are all that is wanted of it.
        hook = model.critic.register_forward_pre_hook(lambda _, given: hidden.append(given[0]))
        try:
            output = model(batch.inputs, batch.state_row, batch.state_position, batch.tokens)
        finally:
            hook.remove()
        return batch, output, self._likeliest(torch.cat(hidden)[: len(batch.tokens)])

    def _likeliest(self, hidden: Tensor) -> list[list[Alternative]]:
        if not self._alternatives:
            return [[] for _ in hidden]
        model = self.agent.model
        log_probs = model.backbone.logits(hidden).float().log_softmax(-1)
        likely, tokens = log_probs.topk(min(self._alternatives, log_probs.shape[-1]), -1)
        knows = model.critic.config.value != "turn"  # a critic of turns knows no Q of tokens
        q = (
            model.critic.of_candidates(hidden, tokens).tolist()
            if knows
            else [[None] * tokens.shape[1]] * len(hidden)
        )
        return [
            [Alternative(self._text(one), *numbers) for one, *numbers in zip(*row, strict=True)]
            for row in zip(tokens.tolist(), likely.tolist(), q, strict=True)
        ]

    def _columns(self, batch: Batch, output: Output, *, leaning: bool) -> list[list[float]]:
        """A, Q, V, log-probability, slack and log-probability of who acted, at each token."""
        config = self.agent.model.critic.config
        advantages = objective.advantages(batch, output, config, *self._targets(batch, output, self._horizon))
        if self._observed and leaning:
            returns, known = objective.observed(
                batch, output, config, self._horizon, self.return_range, 0, self._until
            )
            advantages = objective.lean_on_returns(
                advantages, batch, output, config, returns, known, self._observed
            )
        assert output.q is not None, "the critic took part in the forward"
        assert output.value is not None, "the critic took part in the forward"
        q, value = output.q.mean(0), output.value[:, : len(batch.tokens)].mean(0)
        slack = output.log_probs.exp() if self._scaled else torch.ones_like(value)
        table = torch.stack([advantages, q, value, output.log_probs, slack, batch.behaviour.float()], -1)
        found: list[list[float]] = table.tolist()
        return found

    def _targets(self, batch: Batch, output: Output, horizon: Horizon) -> tuple[Tensor, Tensor]:
        return objective.targets(batch, output, self.agent.model.critic.config, horizon, self.return_range, 0)

    def _token(self, batch: Batch, columns: list[Any], sampled: list[list[Alternative]], place: int) -> Token:
        advantage, q, value, log_prob, slack, behaviour = columns[place]
        text, known = self._text(int(batch.tokens[place])), None if np.isnan(behaviour) else behaviour
        return Token(text, advantage, q, value, log_prob, slack, known, sampled[place])

    def _text(self, token: int) -> str:
        if token not in self._spelt:
            encoder = self.agent.encoder
            self._spelt[token] = (
                END if token == encoder.end_id else encoder.decode(np.array([token], np.int32))
            )
        return self._spelt[token]
