"""The data of a run: the offline dataset, the agent's own play, and when to collect more of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
from tqdm.auto import tqdm

from vlmq.api import DataError, Episode, UserError
from vlmq.data.batch import Batch, Fragment, build_batch
from vlmq.data.replay import EpisodeSource, StreamReplay, TurnReplay
from vlmq.data.store import EpisodeStore
from vlmq.prompt.encode import Encoder
from vlmq.prompt.window import History
from vlmq.report.results import Row
from vlmq.rollout import sync
from vlmq.rollout.collector import Player, episode_seed
from vlmq.rollout.policies import Policy, ScriptedPolicy
from vlmq.train.judge import judge_data
from vlmq.train.schedule import Schedule

PolicyName = Literal["random", "expert", "mixture", "model"]


@dataclass(frozen=True)
class Collect:
    """How the offline dataset is made.

    Args:
        policy: `random` legal actions, the environment's `expert`, a `mixture` of both, or the `model`.
        episodes: how many.
        corruption: share of the random replies that are garbled.
        expert: share of a mixture's episodes that the expert plays.
        temperature: of the model.
    """

    policy: PolicyName = "random"
    episodes: int = 1000
    corruption: float = 0.0
    expert: float = 0.5
    temperature: float = 1.0


@dataclass(frozen=True)
class Online:
    """The agent's own play during phases with `online` above 0.

    Args:
        episodes: played at each round.
        every: updates between rounds.
        temperature: of the sampling.
        explore: probability that a turn is played by a random legal action.
    """

    episodes: int = 32
    every: int = 10
    temperature: float = 1.0
    explore: float = 0.05


@dataclass(frozen=True)
class Evaluation:
    """How checkpoints are judged.

    Args:
        episodes: at each evaluation during a phase.
        final_episodes: at the end of a phase, and in `vlmq validate`.
        seed: tells one set of held-out episodes from another.
        policies: what `vlmq validate` plays: model, sampled (the model at temperature 1), base, random, expert.
        blank_images: replace every picture by a blank one.
    """

    episodes: int = 100
    final_episodes: int = 300
    seed: int = 0
    policies: list[Literal["model", "sampled", "base", "random", "expert"]] = field(
        default_factory=lambda: ["model"]
    )
    blank_images: bool = False


class VlmqDataModule(L.LightningDataModule):
    """Environment, dataset, replay and evaluation of a run.

    Args:
        env: id of an environment that an installed plugin provides; `vlmq envs` lists them.
        env_args: keyword arguments of the environment.
        num_envs: environments played at once.
        workers: one process an environment; by default whatever the environment asks for.
        timeout_s: longest wait for an environment.
        batch_size: fragments of one update, over all processes.
        fragment_turns: turns of one fragment; null takes the rest of the episode.
        dataset: folder of the offline episodes; `dataset` in the run's folder by default.
        collect: how to make the dataset where it is missing; null to require it.
        stream: episodes made on demand in place of a dataset.
        online: the agent's own play.
        evaluation: how checkpoints are judged.
        seed: of episodes, sampling and replay; the command line sets it from `seed_everything`.
    """

    def __init__(
        self,
        env: str | None = None,
        env_args: dict[str, Any] | None = None,
        num_envs: int = 16,
        workers: bool | None = None,
        timeout_s: float = 60.0,
        batch_size: int = 64,
        fragment_turns: int | None = 1,
        dataset: str | None = None,
        collect: Collect | None = None,
        stream: EpisodeSource | None = None,
        online: Online = Online(),
        evaluation: Evaluation = Evaluation(),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or num_envs < 1:
            raise UserError("data.batch_size and data.num_envs must each be at least 1.")
        if fragment_turns is not None and fragment_turns < 1:
            raise UserError(
                f"data.fragment_turns is {fragment_turns}; give at least 1, or null for whole episodes."
            )
        self.env, self.env_args = env, env_args or {}
        self.num_envs, self.workers, self.timeout_s = num_envs, workers, timeout_s
        self.batch_size, self.fragment_turns = batch_size, fragment_turns
        self.dataset, self.collect, self.stream = dataset, collect, stream
        self.online, self.evaluation, self.seed = online, evaluation, seed
        self.discarded = 0
        self._players: dict[bool, Player] = {}
        self._offline: TurnReplay | StreamReplay | None = None
        self._own: TurnReplay | None = None
        self._writer: EpisodeStore | None = None

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
        """Earlier turns the agent sees."""
        history: History = self._learner.history
        return history

    # -- datasets --------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Make or open the offline data."""
        if stage != "fit" or self._offline is not None:
            return
        if self.stream is not None:
            self._offline = StreamReplay(self.stream, self.history)
            return
        if self.collect is not None:
            self.collect_dataset(None)
        store = EpisodeStore.open(self.dataset_dir)
        self.check_dataset(store)
        self._offline = self._replay(store, stream=0)
        self._offline.show()

    def check_dataset(self, store: EpisodeStore) -> None:
        """Refuse a dataset that is empty or was made for another model or environment."""
        if len(store) == 0:
            raise DataError(
                f"the dataset {self.dataset_dir} is empty; fill it with `vlmq collect` or remove it."
            )
        made_by = store.provenance.get("tokenizer")
        if made_by not in (None, "", self.encoder.fingerprint):
            raise DataError(
                f"the dataset {self.dataset_dir} holds replies of another tokenizer than "
                f"{self._learner.settings['backbone']}'s; collect it again, or choose the model it was made with."
            )
        env = store.provenance.get("env")
        if env is not None and self.env is not None and env != self.env:
            raise DataError(
                f"the dataset {self.dataset_dir} was made in {env}, but data.env is {self.env}; set data.dataset to "
                "another folder."
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
            "env": self.env, "env_args": self.env_args, "seed": self.seed, "tokenizer": self.encoder.fingerprint,
            "reply_format": self.encoder.reply_format, "collect": asdict(settings),
        }  # fmt: skip
        self._make_store(self.dataset_dir, provenance)
        store = EpisodeStore.open(self.dataset_dir)
        if len(store) >= settings.episodes:
            return store
        if store.provenance.get("collect") is None or store.provenance != json.loads(json.dumps(provenance)):
            raise DataError(
                f"the dataset {self.dataset_dir} holds {len(store)} episodes made with other settings than this "
                "config's; set data.dataset to another folder, or data.collect to null to use it as it is."
            )
        missing = [index for index in range(settings.episodes) if store.position_of(index) is None]
        shares = {"expert": 1.0, "mixture": settings.expert}
        if policy is None:
            policy = ScriptedPolicy(
                self.encoder,
                seed=self.seed,
                expert=shares.get(settings.policy, 0.0),
                corruption=0.0 if settings.policy == "expert" else settings.corruption,
            )
        # Its own seeds: what the dataset shows is neither replayed online nor evaluated.
        self._play_into(self.dataset_dir, policy, missing, "dataset", settings.policy, "collecting")
        store.refresh()
        return store

    def _play_into(
        self, folder: Path, policy: Policy, indices: list[int], stream: str, source: str, title: str
    ) -> None:
        """Play episodes and append them to a store as they finish; every process plays its share."""
        writer = EpisodeStore.open_for_append(folder) if sync.rank() == 0 else None
        player = self.player()
        before = len(player.discarded)
        quiet = sync.rank() != 0 or len(indices) < 64
        version = self._learner.schedule.made
        try:
            # Several processes meet after each part; one process writes each episode as it ends.
            parts = [indices] if sync.world_size() == 1 else _parts(indices, 8 * self.num_envs)
            with tqdm(total=len(indices), desc=title, unit="episode", disable=quiet, leave=False) as bar:
                for part in parts:
                    played = player.play(
                        policy,
                        sync.my_share(part),
                        episode_seed(self.seed, stream),
                        source=source,
                        policy_version=version,
                    )
                    if sync.world_size() == 1 and writer is not None:
                        for episode in played:
                            writer.append(episode)
                            bar.update()
                        continue
                    for episode in sorted(sync.everyone(list(played)), key=lambda e: e.index):
                        if writer is not None:
                            writer.append(episode)
                        bar.update()
        finally:
            if writer is not None:
                writer.flush(fsync=True)
                writer.close()
        self.discarded += len(player.discarded) - before
        for index, reason in player.discarded[before:]:
            self.print_once(f"episode {index} was given up: {reason}")
        sync.barrier()

    def player(self, *, blank_images: bool = False) -> Player:
        """The environments, started when first needed."""
        if self.env is None:
            raise UserError("data.env is not set; give the id of an environment (`vlmq envs` lists them).")
        if blank_images not in self._players:
            self._players[blank_images] = Player(
                self.env,
                self.num_envs,
                self.encoder,
                env_args=self.env_args,
                history=self.history,
                max_reply=self._learner.max_reply,
                workers=self.workers,
                timeout_s=self.timeout_s,
                blank_images=blank_images,
                anyone=sync.anyone,
            )
        return self._players[blank_images]

    # -- training --------------------------------------------------------------------------------------------

    def train_dataloader(self) -> _Updates:
        return _Updates(self._learner.schedule, self._next_batch)

    def _next_batch(self) -> Batch | None:
        """The batch of the next update; None when the run is over."""
        phase = self._learner.enter_phase()
        if phase is None:
            return None
        schedule: Schedule = self._learner.schedule
        own = round(self.batch_size * phase.online)
        if own:
            self._collect_round(schedule.round(self.online.every))
        if max(own, self.batch_size - own) < sync.world_size():
            raise UserError(
                f"a batch of {self.batch_size} fragments over {sync.world_size()} processes leaves some without; "
                "raise data.batch_size."
            )
        fragments = self._draw(self._offline, schedule.line, self.batch_size - own)
        fragments += self._draw(self._own, schedule.line, own)
        if not phase.critic:
            # Nothing is bootstrapped, so no following prompt needs to be encoded.
            fragments = [replace(fragment, following=None) for fragment in fragments]
        return build_batch(fragments, self.encoder, self.history)

    def _draw(self, replay: TurnReplay | StreamReplay | None, update: int, count: int) -> list[Fragment]:
        if count == 0:
            return []
        assert replay is not None
        return replay.sample(update, count, sync.my_share(range(count)))

    def _collect_round(self, number: int) -> None:
        """Make the rounds of own play up to `number` visible, playing what the store does not hold yet.

        After an interrupt the store may hold more than the checkpoint knows of: it is used, not played again.
        """
        folder = self.run_dir / "replay"
        self._make_store(folder, {"env": self.env, "tokenizer": self.encoder.fingerprint})
        if self._own is None:
            self._own = self._replay(EpisodeStore.open(folder), stream=1)
        store, size = self._own.store, self.online.episodes
        store.refresh()
        wanted = range(number * size, (number + 1) * size)
        missing = [index for index in wanted if store.position_of(index) is None]
        if missing:
            policy = self._learner.policy(
                temperature=self.online.temperature, seed=self.seed, explore=self.online.explore
            )
            self._play_into(folder, policy, missing, "own play", "model", "playing")
            store.refresh()
        self._own.show((number + 1) * size)

    def _make_store(self, folder: Path, provenance: dict[str, Any]) -> None:
        if sync.rank() == 0 and not (folder / "meta.json").is_file():
            EpisodeStore.create(folder, provenance).close()
        sync.barrier()

    def _replay(self, store: EpisodeStore, *, stream: int) -> TurnReplay:
        return TurnReplay(
            store, seed=self.seed, stream=stream, history=self.history, fragment_turns=self.fragment_turns
        )

    def return_range(self, gamma: float) -> float:
        """The data's return range; 1 where there is no dataset to read it from."""
        return return_scale(self._offline.store, gamma) if isinstance(self._offline, TurnReplay) else 1.0

    def first_rows(self) -> list[Row]:
        """What the offline data themselves achieved."""
        return [judge_data(self._offline.store)] if isinstance(self._offline, TurnReplay) else []

    # -- evaluation ------------------------------------------------------------------------------------------

    def val_dataloader(self) -> list[int]:
        """One item: what to play is decided by the module. Nothing, where there is no environment."""
        return [0] if self.env is not None else []

    def evaluate(self, policy: Policy, count: int, *, blank_images: bool = False) -> list[Episode]:
        """Play held-out episodes; every process gets all of them, in order of index."""
        player = self.player(blank_images=blank_images)
        stream = f"evaluation {self.evaluation.seed}"
        played = player.play(
            policy, sync.my_share(range(count)), episode_seed(self.seed, stream), source="evaluation"
        )
        return sorted(sync.everyone(list(played)), key=lambda episode: episode.index)

    # -- the rest --------------------------------------------------------------------------------------------

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch.to(device) if isinstance(batch, Batch) else batch

    def teardown(self, stage: str) -> None:
        """Stop the environments."""
        for player in self._players.values():
            player.close()
        self._players.clear()

    def state_dict(self) -> dict[str, Any]:
        return {"discarded": self.discarded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.discarded = state_dict["discarded"]

    def print_once(self, text: str) -> None:
        """Say something on one process."""
        if sync.rank() == 0:
            tqdm.write(text)


class _Updates:
    """The batches of the updates that are left; its length is the run's, so that Lightning prefetches nothing."""

    def __init__(self, schedule: Schedule, next_batch: Callable[[], Batch | None]) -> None:
        self._schedule, self._next_batch = schedule, next_batch

    def __len__(self) -> int:
        return self._schedule.total

    def __iter__(self) -> Iterator[Batch]:
        while (batch := self._next_batch()) is not None:
            yield batch


def _parts(items: list[int], size: int) -> list[list[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def return_scale(store: EpisodeStore, gamma: float, most: int = 512) -> float:
    """The spread of discounted returns from any turn of the data: 99th minus 1st percentile, or 1 if there is none.

    Args:
        store: offline episodes.
        gamma: discount from turn to turn.
        most: episodes looked at, spread evenly over the store.
    """
    values: list[float] = []
    for position in np.unique(np.linspace(0, len(store) - 1, min(most, len(store))).astype(int)):
        value = 0.0
        for reward in reversed([turn.reward for turn in store[int(position)].turns]):
            value = reward + gamma * value
            values.append(value)
    low, high = np.percentile(values, [1, 99])
    return float(high - low) if high - low > 1e-6 else 1.0
