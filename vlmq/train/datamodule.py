"""The data of a run: the offline dataset, the agent's own play, and when to collect more of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmq.api import Episode, Turn, UserError
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.data.replay import EpisodeSource, StreamReplay, TurnReplay, held_out
from vlmq.data.store import EpisodeStore
from vlmq.env.address import local_id
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.report.results import Row
from vlmq.rollout import sync
from vlmq.rollout.collector import Player, episode_seed
from vlmq.rollout.policies import Policy, ScriptedPolicy
from vlmq.train import acting, stores
from vlmq.train.arena import Arena
from vlmq.train.judge import discounted_returns, judge_data
from vlmq.train.ownplay import Explore, OwnPlay
from vlmq.train.rounds import Beside, Here, Rounds
from vlmq.train.schedule import Schedule
from vlmq.train.settings import Collect, Collectors, EngineName, Evaluation, Online, Vllm

_OFFLINE, _OWN, _APART = range(3)
"""Streams of the replays' draws."""
_HELD_OUT_FRAGMENTS = 64
"""On which the critic is measured."""


class VlmqDataModule(L.LightningDataModule):
    """Environment, dataset, replay and evaluation of a run.

    Args:
        env: id of an environment that an installed plugin provides (`vlmq envs` lists them), or one of a server's:
            `remote://host:port/ID` (`vlmq serve`).
        env_args: keyword arguments of the environment.
        num_envs: environments played at once.
        workers: one process an environment; by default whatever the environment asks for.
        timeout_s: longest wait for an environment.
        asynchronous: whether environments that have answered are replied to while others are still at work; by default
            where each has its own process. What is sampled then differs in the last digits from run to run: false for
            runs that must repeat themselves.
        batch_size: fragments of one update, over all processes.
        fragment_turns: turns of one fragment; null takes the rest of the episode.
        packed: whether several sequences share a row of the model's input, where they do not see each other: less
            padding where turns or histories differ in length.
        dataset: folder of the offline episodes; `dataset` in the run's folder by default.
        collect: how to make the dataset where it is missing; null to require it.
        stream: episodes made on demand in place of a dataset.
        held_out: share of the dataset's episodes that is never trained on: on them the critic is measured.
        online: the agent's own play.
        collectors: who plays it beside the trainer, in processes or on other machines; null: the trainer itself does.
        evaluation: how checkpoints are judged.
        engine: what samples the model's replies: transformers, or vllm (`pip install 'vlmq[vllm]'`) with a copy of the
            weights of its own; where the critic has a say, it is transformers in any case.
        vllm: how vLLM is set up.
        seed: of episodes, sampling and replay; the command line sets it from `seed_everything`.
    """

    def __init__(
        self,
        env: str | None = None,
        env_args: dict[str, Any] | None = None,
        num_envs: int = 16,
        workers: bool | None = None,
        timeout_s: float = 60.0,
        asynchronous: bool | None = None,
        batch_size: int = 64,
        fragment_turns: int | None = 1,
        packed: bool = False,
        dataset: str | None = None,
        collect: Collect | None = None,
        stream: EpisodeSource | None = None,
        held_out: float = 0.0,
        online: Online = Online(),
        collectors: Collectors | None = None,
        evaluation: Evaluation = Evaluation(),
        engine: EngineName = "transformers",
        vllm: Vllm = Vllm(),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_envs < 1:
            raise UserError("data.batch_size and data.num_envs must each be at least 1.")
        if fragment_turns is not None and fragment_turns < 1:
            raise UserError(
                f"data.fragment_turns is {fragment_turns}; give at least 1, or null for whole episodes."
            )
        if not 0.0 <= held_out < 1.0:
            raise UserError(f"data.held_out is {held_out}; it is a share of the episodes, from 0 to below 1.")
        if held_out and stream is not None:
            raise UserError(
                "data.held_out keeps part of a dataset apart; a stream of fresh episodes needs none."
            )
        if collectors is not None:
            collectors.check()
        self.held_out = held_out
        self.env, self.env_args = env, env_args or {}
        self.num_envs, self.workers, self.timeout_s = num_envs, workers, timeout_s
        self.asynchronous = asynchronous
        self.batch_size, self.fragment_turns, self.packed = batch_size, fragment_turns, packed
        self.dataset, self.collect, self.stream = dataset, collect, stream
        self.online, self.evaluation, self.seed = online, evaluation, seed
        self.collectors = collectors
        self.engine, self.vllm = engine, vllm
        self._rounds: Rounds | None = None
        self._in_phase: str | None = None
        self._arena = Arena(self._make_player, part=8 * num_envs)
        self._offline: TurnReplay | StreamReplay | None = None
        self._own: OwnPlay | None = None
        self._own_priorities: dict[str, Any] | None = None
        # Of the dataset; and what a checkpoint says of own play, for a run that has not come to that yet.
        self._given_up, self._own_given_up, self._own_rounds = 0, 0, 0
        self._judged: list[Batch] | None = None
        self.seconds: dict[str, float] = {}
        self.measured: dict[str, float] = {}

    @property
    def discarded(self) -> int:
        """Episodes given up so far because their environment kept breaking."""
        return self._given_up + (self._own.given_up if self._own else self._own_given_up)

    # -- places ----------------------------------------------------------------------------------------------

    @property
    def run_dir(self) -> Path:
        """Everything a run writes lies under it."""
        assert self.trainer is not None
        return Path(self.trainer.default_root_dir)

    @property
    def dataset_dir(self) -> Path:
        """Where the offline episodes lie."""
        return Path(self.dataset) if self.dataset else self.run_dir / "dataset"

    # -- the learner's side, as far as data needs it ----------------------------------------------------------

    @property
    def _learner(self) -> Any:
        assert self.trainer is not None
        return self.trainer.lightning_module

    @property
    def encoder(self) -> Encoder:
        """The learner's encoder: acting and learning share one."""
        encoder: Encoder = self._learner.encoder
        return encoder

    @property
    def history(self) -> History:
        """What the agent remembers of its episode."""
        history: History = self._learner.history
        return history

    # -- datasets --------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Make or open the offline data."""
        acting.check(self._learner)
        if stage != "fit" or self._offline is not None:
            return
        if self.packed:
            self._learner.check_packable()
        heat = self.online.temperature
        self._rounds = (
            Here(self._learner, self._arena, temperature=heat, seed=self.seed)
            if self.collectors is None
            else Beside(self._learner, self._player_of({}), self.collectors, temperature=heat, seed=self.seed)
        )
        if self.stream is not None:
            self._offline = StreamReplay(self.stream)
            return
        if self.collect is not None:
            self.collect_dataset(None)
        store = EpisodeStore.open(self.dataset_dir)
        stores.check_dataset(
            store,
            self.dataset_dir,
            encoder=self.encoder,
            backbone=self._learner.settings["backbone"],
            env=self.env,
        )
        trained = (lambda index: ~held_out(self.seed, self.held_out, index)) if self.held_out else None
        self._offline = self._replay(
            store, stream=_OFFLINE, fragment_turns=self.fragment_turns, among=trained
        )
        self._offline.show()
        if self._offline.num_episodes == 0 and len(store):
            raise UserError(
                f"data.held_out is {self.held_out}, which keeps all of the {len(store)} episodes apart; lower it, or "
                "collect more."
            )

    def collect_dataset(self, policy: Policy | None) -> EpisodeStore:
        """Play whatever episodes of `collect` the dataset does not hold yet.

        Args:
            policy: who plays; None builds the scripted policy that `collect` names.
        """
        settings = self.collect
        if settings is None:
            raise UserError("data.collect is null; say how to collect: a policy and a number of episodes.")
        if policy is None and settings.policy == "model":
            raise UserError(
                f"the dataset {self.dataset_dir} is to be played by the model; make it first with `vlmq collect`."
            )
        provenance = {
            "env": self.env and local_id(self.env), "env_args": self.env_args, "seed": self.seed,
            "tokenizer": self.encoder.fingerprint, "reply_format": self.encoder.reply_format,
            "collect": asdict(settings),
        }  # fmt: skip
        stores.make(self.dataset_dir, provenance)
        if self._resumes and self.dataset is None:
            stores.mend_own(self.dataset_dir)
        store = EpisodeStore.open(self.dataset_dir)
        missing = stores.missing(store, self.dataset_dir, provenance, settings.episodes)
        if not missing:
            return store
        shares = {"expert": 1.0, "mixture": settings.expert}
        if policy is None:
            policy = ScriptedPolicy(
                self.encoder,
                seed=self.seed,
                expert=shares.get(settings.policy, 0.0),
                by_turn=settings.expert_by == "turn",
                corruption=0.0 if settings.policy == "expert" else settings.corruption,
            )
        # Its own seeds: what the dataset shows is neither replayed online nor evaluated.
        lost = self._arena.play_into(
            self.dataset_dir, policy, missing, episode_seed(self.seed, "dataset"), title="collecting",
            source=settings.policy, policy_version=self._learner.schedule.made,
        )  # fmt: skip
        self._given_up += len(lost)
        store.refresh()
        return store

    def _make_player(self, more_args: dict[str, Any], blank_images: bool) -> Player:
        make = self._player_of(more_args, blank_images=blank_images, anyone=sync.anyone)
        return make(encoder=self.encoder)

    def _player_of(self, more_args: dict[str, Any], **options: Any) -> Callable[..., Player]:
        """What makes the environments, once it has an encoder; it travels to other processes."""
        if self.env is None:
            raise UserError("data.env is not set; give the id of an environment (`vlmq envs` lists them).")
        return partial(
            Player,
            self.env,
            self.num_envs,
            env_args={**self.env_args, **more_args},
            history=self.history,
            max_reply=self._learner.max_reply,
            workers=self.workers,
            timeout_s=self.timeout_s,
            asynchronous=self.asynchronous,
            **options,
        )

    # -- training --------------------------------------------------------------------------------------------

    def train_dataloader(self) -> _Updates:
        return _Updates(self._learner.schedule, self._next_batch)

    def _next_batch(self) -> Batch | None:
        """The batch of the next update; None when the run is over."""
        phase = self._learner.enter_phase()
        if phase is None:
            return None
        schedule: Schedule = self._learner.schedule
        if self._own is not None and phase.name != self._in_phase:
            self._own.drop()  # what plays ahead has the weights of another phase
        self._in_phase = phase.name
        begun = time.perf_counter()
        own = phase.own_fragments(self.batch_size)
        if own:
            trained = schedule.trained_on_own(self.batch_size)
            self._own_play().collect(schedule.round(self.online.every) + 1, trained)
        played = time.perf_counter()
        if max(own, self.batch_size - own) < sync.world_size():
            raise UserError(
                f"a batch of {self.batch_size} fragments over {sync.world_size()} processes leaves some without; "
                "raise data.batch_size."
            )
        later = phase.observed > 0.0 and phase.observed_until == "episode"
        asked = {"priority": phase.priority, "later": later}
        fragments = self._draw(self._offline, schedule.line, self.batch_size - own, **asked)
        fragments += self._draw(self._own.replay if self._own else None, schedule.line, own, **asked)
        if not phase.critic:
            # Nothing is bootstrapped, so no following prompt needs to be encoded.
            fragments = [replace(fragment, following=None) for fragment in fragments]
        batch = self._batch(fragments)
        self.seconds = {"seconds/play": played - begun, "seconds/batch": time.perf_counter() - played}
        self.measured = self._rounds.measured if own and self._rounds else {}
        return batch

    def _draw(
        self, replay: TurnReplay | StreamReplay | None, update: int, count: int, *, priority: float = 0.0,
        later: bool = False,
    ) -> list[Fragment]:  # fmt: skip
        if count == 0:
            return []
        assert replay is not None
        return replay.sample(update, count, sync.my_share(range(count)), round(count * priority), later)

    def rate(self, batch: Batch, advantages: Tensor) -> float:
        """Note how much the actor may still gain from a batch's replies.

        Args:
            batch: this process's part.
            advantages: (P,) of its replies; their positive part counts.

        Returns:
            The share of the rated turns with a priority above zero.
        """
        rows = torch.stack([batch.replay.double(), batch.place.double(), advantages.double()], -1)
        replay, place, advantage = sync.joined(rows.cpu()).numpy().T
        shown = [r for r in (self._offline, self._own and self._own.replay) if isinstance(r, TurnReplay)]
        for one in shown:
            drawn = replay == one.stream
            one.priorities.rate(place[drawn].astype(np.int64), advantage[drawn].astype(np.float32))
        return float(np.mean([one.priorities.positive for one in shown]))

    def _own_play(self) -> OwnPlay:
        if self._own is None:
            assert self._rounds is not None, "setup has not run"
            rounds, folder = self._rounds, self.run_dir / "replay"
            if self._resumes:
                stores.mend_own(folder)
            stores.make(
                folder, {"env": self.env and local_id(self.env), "tokenizer": self.encoder.fingerprint}
            )

            def play(number: int, missing: list[int], explore: Explore) -> None:
                stores.give_up(folder, rounds.play(folder, number, missing, explore))

            replay = self._replay(EpisodeStore.open(folder), stream=_OWN, fragment_turns=self.fragment_turns)
            if self._own_priorities is not None:
                replay.priorities.load_state_dict(self._own_priorities)
            self._own = OwnPlay(
                self.online, replay, play, forget=partial(stores.forget_from, folder), whole=rounds.repeats,
                known=self._own_rounds, begin=rounds.begin,
                ahead=0 if self.collectors is None else self.collectors.lag,
            )  # fmt: skip
        return self._own

    @property
    def _resumes(self) -> bool:
        return self.trainer is not None and self.trainer.ckpt_path is not None

    def held_out_batches(self) -> list[Batch]:
        """Turns of episodes that are never trained on, each with all that follows it, the same ones at every call.

        No batch is much larger than those that are learnt from.
        """
        if self._judged is None:
            assert isinstance(self._offline, TurnReplay), "there is no dataset to hold anything out of"
            apart = self._replay(
                self._offline.store,
                stream=_APART,
                among=lambda index: held_out(self.seed, self.held_out, index),
                fragment_turns=None,
            )
            apart.show()
            if apart.num_episodes == 0:
                raise UserError(
                    f"data.held_out is {self.held_out}, but that keeps none of the {len(apart.store)} episodes "
                    "apart; raise it."
                )
            fragments = self._draw(apart, 0, max(_HELD_OUT_FRAGMENTS, sync.world_size()))
            self._judged = [self._batch(part) for part in self._parts(fragments)]
        return self._judged

    def _parts(self, fragments: list[Fragment]) -> list[list[Fragment]]:
        """As many on every process, since a sharded model runs on all of them at once."""
        turns = sum(len(fragment.turns) for fragment in fragments)
        many = max(sync.everyone([-(-turns // (self.batch_size * (self.fragment_turns or 1)))]))
        count = max(1, min(many, *sync.everyone([len(fragments)])))
        return [fragments[number::count] for number in range(count)]

    def _batch(self, fragments: list[Fragment]) -> Batch:
        many = sync.world_size() > 1
        return build_batch(fragments, self.encoder, self.history, packed=self.packed, pictured=many)

    def _replay(
        self,
        store: EpisodeStore,
        *,
        stream: int,
        fragment_turns: int | None,
        among: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
    ) -> TurnReplay:
        return TurnReplay(
            store,
            seed=self.seed,
            stream=stream,
            history=self.history,
            fragment_turns=fragment_turns,
            among=among,
        )

    def first_turn(self) -> Turn:
        """A turn of the offline data, on every process the same."""
        assert self._offline is not None, "setup has not run"
        (fragment,) = self._offline.sample(0, 1, [0])
        return fragment.turns[fragment.skip]

    def returns(self, gamma: float) -> NDArray[np.float64]:
        """Discounted returns from the turns of the offline data; 0 and 1 where there is no dataset."""
        if not isinstance(self._offline, TurnReplay):
            return np.array([0.0, 1.0])
        return discounted_returns(self._offline.store, gamma)

    def episodes(self) -> NDArray[Any] | None:
        """The table of the offline episodes; None where there is no dataset."""
        return self._offline.store.table if isinstance(self._offline, TurnReplay) else None

    def return_median(self) -> float:
        """Median return of the offline episodes; 0 where there is no dataset."""
        episodes = self.episodes()
        return 0.0 if episodes is None else float(np.median(episodes["episode_return"]))

    def first_rows(self) -> list[Row]:
        """What the offline data themselves achieved."""
        return [judge_data(self._offline.store)] if isinstance(self._offline, TurnReplay) else []

    # -- evaluation ------------------------------------------------------------------------------------------

    def val_dataloader(self) -> list[int]:
        """One item: what to play is decided by the module. Nothing, where there is no environment."""
        return [0] if self.env is not None else []

    @property
    def own_turns(self) -> int:
        """Turns of own play so far; 0 before there is any."""
        return self._own.turns if self._own else 0

    def evaluate(
        self, policy: Policy, indices: Sequence[int], *, blank_images: bool = False, title: str | None = None
    ) -> Iterator[list[Episode]]:
        """Play held-out episodes, some at a time as they end; every process gets all of them."""
        apart = self.evaluation
        seed_of = episode_seed(self.seed, f"evaluation {apart.seed}")
        return self._arena.play(
            policy, indices, seed_of, env_args=apart.env_args, blank_images=blank_images, title=title
        )

    # -- the rest --------------------------------------------------------------------------------------------

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch.to(device) if isinstance(batch, Batch) else batch

    def teardown(self, stage: str) -> None:
        """Stop the environments."""
        self._arena.close()
        if self._rounds is not None:
            self._rounds.close()

    def state_dict(self) -> dict[str, Any]:
        kept = {"offline": self._offline, "own": self._own and self._own.replay}
        priorities = {
            name: replay.priorities.state_dict()
            for name, replay in kept.items()
            if isinstance(replay, TurnReplay)
        }
        own = {"rounds": self._own.rounds, "given_up": self._own.given_up} if self._own else {}
        return {"discarded": self._given_up, "own": own, "priorities": priorities}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._given_up, own = state_dict["discarded"], state_dict.get("own", {})
        self._own_rounds, self._own_given_up = own.get("rounds", 0), own.get("given_up", 0)
        priorities = state_dict["priorities"]
        if isinstance(self._offline, TurnReplay) and "offline" in priorities:
            self._offline.priorities.load_state_dict(priorities["offline"])
        self._own_priorities = priorities.get("own")


class _Updates:
    """The batches of the updates that are left; its length is the run's, so that Lightning prefetches nothing."""

    def __init__(self, schedule: Schedule, next_batch: Callable[[], Batch | None]) -> None:
        self._schedule, self._next_batch = schedule, next_batch

    def __len__(self) -> int:
        return self._schedule.total

    def __iter__(self) -> Iterator[Batch]:
        while (batch := self._next_batch()) is not None:
            yield batch
