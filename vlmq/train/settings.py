"""Settings of a run's data: how to collect, how to play online, how to judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from vlmq import ranges
from vlmq.api import UserError

PolicyName = Literal["random", "expert", "mixture", "model"]
EngineName = Literal["transformers", "vllm"]


@dataclass(frozen=True)
class Collect:
    """How the offline dataset is made.

    Args:
        policy: `random` legal actions, the environment's `expert`, a `mixture` of both, or the `model`.
        episodes: how many.
        corruption: share of the random replies that are garbled.
        expert: share of a mixture that the expert plays.
        expert_by: what that is a share of: whole episodes, or turns, drawn one by one: an expert that errs, and is
            asked again where that has led.
        temperature: of the model.
    """

    policy: PolicyName = "random"
    episodes: int = 1000
    corruption: float = 0.0
    expert: float = 0.5
    expert_by: Literal["episode", "turn"] = "episode"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        ranges.at_least(1, **{"collect.episodes": self.episodes})
        ranges.share(**{"collect.corruption": self.corruption, "collect.expert": self.expert})
        ranges.at_least(0, **{"collect.temperature": self.temperature})


@dataclass(frozen=True)
class Online:
    """The agent's own play during phases with `online` above 0.

    Args:
        episodes: played at each round.
        every: updates between rounds.
        replay_ratio: fragments of own play trained for each turn played, which then says when a round is due in
            place of `every`; null leaves it to `every`.
        temperature: of the sampling.
        explore: probability that a turn is played by a random legal action.
        explore_start: each episode explores at a rate of its own, drawn between `explore` and a bound that falls
            from this to `explore` over `explore_rounds`; null plays every episode at `explore`.
        explore_rounds: rounds over which that bound falls.
        rounds: latest rounds of own play that batches are drawn from; null for all, 1 for PPO.
    """

    episodes: int = 32
    every: int = 10
    replay_ratio: float | None = None
    temperature: float = 1.0
    explore: float = 0.05
    explore_start: float | None = None
    explore_rounds: int = 20
    rounds: int | None = None

    def __post_init__(self) -> None:
        counts = "rounds", "episodes", "every", "explore_rounds"
        ranges.at_least(1, **{f"online.{name}": getattr(self, name) for name in counts})
        ranges.above(0, **{"online.replay_ratio": self.replay_ratio})
        ranges.at_least(0, **{"online.temperature": self.temperature})
        start = self.explore if self.explore_start is None else self.explore_start
        if not 0.0 <= self.explore <= start <= 1.0:
            raise UserError(
                f"online.explore is {self.explore} and explore_start {start}; both are probabilities, and exploration "
                "may only fall."
            )


@dataclass(frozen=True)
class Collectors:
    """Who plays the agent's own episodes beside the trainer, each with environments and a copy of the model of its own.

    Args:
        backend: `process`: on this machine; `ray`: wherever a Ray cluster has room (`pip install 'vlmq[ray]'`).
        count: how many collectors; each plays `num_envs` environments at once.
        lag: rounds of own play that are begun before they are due, and so are played while the model is trained: with
            weights that are `lag` rounds old, and no older. 0: the trainer waits, and a run repeats itself.
        device: where a collector's copy of the model is: cpu or cuda.
        address: of the Ray cluster, or `auto` for the one of this machine; null starts one here.
        cpus: that a collector reserves of the cluster.
        gpus: likewise.
    """

    backend: Literal["process", "ray"] = "process"
    count: int = 2
    lag: int = 0
    device: str = "cpu"
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0

    def check(self) -> None:
        """Refuse what cannot be. Called by who takes the settings: where null is an alternative, errors do not show."""
        if self.count < 1 or self.lag < 0:
            raise UserError("collectors.count must be at least 1, and collectors.lag 0 or more.")
        if self.cpus < 0.0 or self.gpus < 0.0:
            raise UserError("collectors.cpus and collectors.gpus must each be 0 or more.")
        if self.address is not None and self.backend != "ray":
            raise UserError(
                f"collectors.address is {self.address}, but processes need none; set collectors.backend to ray."
            )


@dataclass(frozen=True)
class Vllm:
    """How vLLM is set up, where `data.engine` is vllm.

    Args:
        memory: share of its device's memory that it may take, for a copy of the weights and for what it has read.
        eager: whether it runs without compiling and without CUDA graphs: it starts sooner, and samples slower.
    """

    memory: float = 0.4
    eager: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.memory < 1.0:
            raise UserError(f"vllm.memory is {self.memory}; it is a share of the memory, between 0 and 1.")


@dataclass(frozen=True)
class Evaluation:
    """How checkpoints are judged.

    Args:
        episodes: at each evaluation during a phase.
        final_episodes: at the end of a phase, and in `vlmq validate`.
        seed: tells one set of held-out episodes from another.
        policies: what `vlmq validate` plays: model, sampled (the model at temperature 1), best_of (of several
            sampled replies the one that the critic finds worth most), shifted (the critic's Q added to the
            logits), base, random, expert.
        temperature: of the sampling of model, shifted and base; 0 is greedy. What is greedy and remembers nothing
            repeats itself for ever where a reply changes nothing that it sees.
        best_of: replies that `best_of` draws.
        q_shift: what `shifted` adds to a log-probability for each return range of Q.
        blank_images: replace every picture by a blank one.
        env_args: arguments of the environment that differ from those of training: a split that is held out, say.
        show: episodes of each evaluation, the same ones every time, that go to the loggers as pictures and text; 0 for
            none.
    """

    episodes: int = 100
    final_episodes: int = 300
    seed: int = 0
    policies: list[Literal["model", "sampled", "best_of", "shifted", "base", "random", "expert"]] = field(
        default_factory=lambda: ["model"]
    )
    temperature: float = 0.0
    best_of: int = 8
    q_shift: float = 10.0
    blank_images: bool = False
    env_args: dict[str, Any] = field(default_factory=dict)
    show: int = 2

    def __post_init__(self) -> None:
        ranges.at_least(0, **{"evaluation.show": self.show})
        counts = "episodes", "final_episodes"
        ranges.at_least(1, **{f"evaluation.{name}": getattr(self, name) for name in counts})
        if self.best_of < 2:
            raise UserError(f"evaluation.best_of is {self.best_of}; give at least 2 replies to choose from.")
        ranges.above(0, **{"evaluation.q_shift": self.q_shift})
        ranges.at_least(0, **{"evaluation.temperature": self.temperature})
