"""The curriculum: questions about freshly drawn pictures, a pure function of (seed, split, index)."""

from __future__ import annotations

import hashlib
from itertools import accumulate
from random import Random

from vlmq.api import Episode, Observation, Turn, UserError
from vlmq_model_tiny import number_scenes, shape_scenes, symbol_scenes
from vlmq_model_tiny.scene import Exchange, Scene

SPLITS = ("train", "validation", "test")

_SHARES: dict[str, tuple[Scene, float]] = {
    "plain_digits": (number_scenes.plain_digits, 10.0),
    "read_digit": (number_scenes.read_digit, 8.0),
    "read_number": (number_scenes.read_number, 10.0),
    "read_pair": (number_scenes.read_pair, 26.0),
    "compare": (number_scenes.compare, 24.0),
    "arithmetic": (number_scenes.arithmetic, 9.0),
    "cards": (symbol_scenes.cards, 8.0),
    "words": (symbol_scenes.words, 4.0),
    "colours": (shape_scenes.colours, 3.0),
    "shapes": (shape_scenes.shapes, 2.0),
    "count": (shape_scenes.count, 3.0),
    "place": (shape_scenes.place, 3.0),
    "echo": (symbol_scenes.echo, 1.0),
    "memory": (shape_scenes.memory, 4.0),
}
SKILLS = tuple(_SHARES)
"""Names of the skills; an episode's `source` is one of them."""


class CurriculumError(UserError):
    """The curriculum was asked for a split or a skill that it does not have."""


class Curriculum:
    """Endless questions and answers; every index gives another picture, and the same one each time.

    Args:
        seed: selects one of many independent streams.
        split: "train", "validation" or "test": streams that share no draw.
        skills: the skills to draw from, in the proportions of the whole; None means all of them.
    """

    def __init__(self, seed: int = 0, split: str = "train", skills: tuple[str, ...] | None = None) -> None:
        if split not in SPLITS:
            raise CurriculumError(f"split {split!r} is unknown: choose one of {', '.join(SPLITS)}")
        chosen = SKILLS if skills is None else tuple(skills)
        unknown = [name for name in chosen if name not in _SHARES]
        if unknown or not chosen:
            wrong = f"skill {unknown[0]!r} is unknown" if unknown else "no skill is named"
            raise CurriculumError(f"{wrong}: choose from {', '.join(SKILLS)}")
        self.seed = seed
        self.split = split
        self.skills = chosen
        self._bounds = list(accumulate(_SHARES[name][1] for name in chosen))

    def episode(self, index: int) -> Episode:
        """The episode with this index; most have one turn, "memory" has two to four."""
        rng = self._stream(index)
        skill = rng.choices(self.skills, cum_weights=self._bounds)[0]
        exchanges = _SHARES[skill][0](rng)
        return Episode(
            env_id=f"curriculum/{skill}",
            seed=index,
            turns=tuple(_turn(exchange, skill) for exchange in exchanges),
            final_observation=None,
            terminated=True,
            truncated=False,
            success=True,
            source=skill,
            index=index,
        )

    def _stream(self, index: int) -> Random:
        digest = hashlib.blake2b(f"{self.seed}/{self.split}/{index}".encode(), digest_size=8).digest()
        return Random(int.from_bytes(digest, "little"))


def _turn(exchange: Exchange, skill: str) -> Turn:
    return Turn(
        observation=Observation(text=exchange.question, image=exchange.image),
        reply=exchange.answer,
        action=exchange.answer,
        reward=1.0,
        source=skill,
    )
