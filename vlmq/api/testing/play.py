"""Plays episodes and keeps what every turn brought: the picture as a digest, the rest as it came."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import gymnasium
import numpy as np

from vlmq.api.contract import check_observation
from vlmq.api.env import expert_action
from vlmq.api.errors import ContractError
from vlmq.api.testing.deadline import FAILURES, time_limit
from vlmq.api.testing.question import raised, shown

DEFAULT_TURN_LIMIT = 1000
"""Turns in which every episode must end, where neither the metadata nor the spec declares a limit."""

CONTRACT_KEYS = ("action_ok", "legal_actions", "success", "progress", "state_key", "error")


@dataclass(frozen=True)
class Moment:
    """What one reset or one turn brought.

    Attributes:
        action: what was played; None at a reset.
        picture: digest of the image, or None where there is none.
        fault: what is wrong with the observation, or None.
    """

    action: str | None
    text: Any
    picture: str | None
    reward: Any
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]
    fault: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated

    @property
    def legal(self) -> tuple[str, ...]:
        """The legal actions, where they are listed and are a tuple of texts."""
        listed = self.info.get("legal_actions")
        return listed if isinstance(listed, tuple) and all(isinstance(a, str) for a in listed) else ()

    def fingerprint(self) -> list[str]:
        """Everything it holds, comparable across processes, in the order of `PARTS`."""
        info = {key: self.info[key] for key in CONTRACT_KEYS if key in self.info}
        values = (self.action, self.text, self.picture, self.reward, (self.terminated, self.truncated), info)
        return [digest(canonical(value).encode("utf-8", "surrogatepass")) for value in values]


PARTS = ("the choice of action", "the text", "the picture", "the reward", "the ending", "info")


@dataclass
class Record:
    """One episode as far as it went.

    Attributes:
        moments: the reset, then one for each turn.
        error: what the environment raised or returned amiss, which ended it; None if nothing.
        seconds: time spent in the environment.
    """

    seed: int
    moments: list[Moment] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0

    @property
    def actions(self) -> list[str]:
        """What was played."""
        return [moment.action for moment in self.moments if moment.action is not None]

    @property
    def ended(self) -> bool:
        """Whether it came to its end."""
        return bool(self.moments) and self.moments[-1].ended

    @property
    def episode_return(self) -> float:
        """Sum of the rewards."""
        return sum(float(moment.reward) for moment in self.moments[1:])

    @property
    def success(self) -> bool:
        """Whether it ended with success."""
        return self.ended and self.moments[-1].info.get("success") in (True, np.True_)

    def fingerprints(self) -> list[list[str]]:
        """Of every moment."""
        return [moment.fingerprint() for moment in self.moments]


Policy = Callable[[gymnasium.Env[Any, Any], Moment, np.random.Generator], str | None]
"""Chooses an action; None ends the recording."""


class Player:
    """Plays one environment and never raises what it raises."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = env

    def play(self, seed: int, policy: Policy, limit: int, salt: int = 0) -> Record:
        """One episode of this seed, of at most `limit` turns; the policy's chances depend on seed and salt."""
        rng = generator(seed, salt)
        record = Record(seed)
        if self.reset(record):
            for _ in range(limit):
                try:
                    with time_limit():
                        action = policy(self.env, record.moments[-1], rng)
                except FAILURES as error:
                    record.error = raised(error)
                    break
                if action is None or not self.turn(record, action) or record.ended:
                    break
        return record

    def replay(self, seed: int, actions: Sequence[str]) -> Record:
        """The episode of this seed under these actions, as far as it lasts."""
        record = Record(seed)
        if self.reset(record):
            for action in actions:
                if not self.turn(record, action) or record.ended:
                    break
        return record

    def reset(self, record: Record) -> bool:
        """Begin the record's episode; false where that raises."""
        return self._note(record, None, lambda: self._reset(record.seed))

    def turn(self, record: Record, action: str) -> bool:
        """Play a turn; false where that raises."""
        return self._note(record, action, lambda: self.env.step(action))

    def _reset(self, seed: int) -> tuple[Any, ...]:
        observation, info = self.env.reset(seed=seed)
        return observation, 0.0, False, False, info

    def _note(self, record: Record, action: str | None, call: Callable[[], tuple[Any, ...]]) -> bool:
        start = time.perf_counter()
        try:
            with time_limit():
                observation, reward, terminated, truncated, info = call()
        except FAILURES as error:
            where = "reset" if action is None else f"step({shown(action)})"
            record.error = f"{where} raises {raised(error)}"
            return False
        record.seconds += time.perf_counter() - start
        if not isinstance(info, Mapping):
            record.error = f"info is {type(info).__name__}; it must be a dict"
            return False
        text, picture, fault = self._look(observation)
        moment = Moment(action, text, picture, reward, bool(terminated), bool(truncated), dict(info), fault)
        record.moments.append(moment)
        return True

    def _look(self, observation: Any) -> tuple[Any, str | None, str | None]:
        text = observation.get("text") if isinstance(observation, Mapping) else None
        try:
            seen = check_observation("env", observation, self.env.observation_space)  # type: ignore[arg-type]
        except ContractError as error:
            return text, None, str(error).removeprefix("env 'env': ")
        fault = None if observation in self.env.observation_space else "the observation is outside its space"
        if not _encodable(seen.text):
            fault = f"the text holds {shown(seen.text)}; expected a text that can be encoded in UTF-8"
        return text, None if seen.image is None else digest(seen.image.tobytes()), fault


def random_legal(env: gymnasium.Env[Any, Any], moment: Moment, rng: np.random.Generator) -> str:
    """Any legal action; where none are listed, the expert's in half the turns and any text in the others."""
    if moment.legal:
        return moment.legal[int(rng.integers(len(moment.legal)))]
    advice = expert_action(env) if rng.random() < 0.5 else None
    return advice if advice is not None else _any_text(rng)


def mostly_legal(env: gymnasium.Env[Any, Any], moment: Moment, rng: np.random.Generator) -> str:
    """As `random_legal`, with nonsense in one turn of four."""
    return _any_text(rng) if rng.random() < 0.25 else random_legal(env, moment, rng)


def expert(env: gymnasium.Env[Any, Any], moment: Moment, rng: np.random.Generator) -> str | None:
    """The environment's own expert."""
    return expert_action(env)


def difference(one: Sequence[Sequence[str]], other: Sequence[Sequence[str]]) -> str | None:
    """Where two sequences of fingerprints part, in words; None where they are equal."""
    for turn, (here, there) in enumerate(zip(one, other, strict=False)):
        parts = [part for part, a, b in zip(PARTS, here, there, strict=True) if a != b]
        if parts:
            return f"{' and '.join(parts)} at {f'turn {turn}' if turn else 'reset'}"
    return None if len(one) == len(other) else f"the length: {len(one) - 1} turns and {len(other) - 1}"


def generator(*counters: int) -> np.random.Generator:
    """Chance of the kit's own, as a function of counters."""
    # The constant keeps it off the environment's: numpy takes [seed, 0] and seed for the same entropy.
    return np.random.default_rng([0x76_6C_6D_71, *counters])


def canonical(value: Any) -> str:
    """A value as text that is equal where the value is: no order of a set, no address, no kind of number."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{digest(value.tobytes())}"
    if isinstance(value, np.generic):
        return canonical(value.item())
    if isinstance(value, (int, float)):
        return repr(float(value)) if abs(value) < 2**53 else repr(value)
    if isinstance(value, (set, frozenset)):
        return f"{{{','.join(sorted(map(canonical, value)))}}}"
    if isinstance(value, Mapping):
        items = sorted(f"{canonical(key)}:{canonical(item)}" for key, item in value.items())
        return f"{{{','.join(items)}}}"
    if isinstance(value, (list, tuple)):
        return f"({','.join(map(canonical, value))})"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def digest(data: bytes) -> str:
    """Sixteen characters that differ where the bytes do."""
    return blake2b(data, digest_size=8).hexdigest()


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _any_text(rng: np.random.Generator) -> str:
    return bytes(rng.integers(32, 127, size=int(rng.integers(1, 20)), dtype=np.uint8)).decode("ascii")
