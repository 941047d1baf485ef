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
    "stacked": (number_scenes.stacked, 110.0),
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
_DIALOGUES: dict[str, Scene] = dict.fromkeys(
    ("read_pair", "compare", "arithmetic"), number_scenes.pair_dialogue
)
"""Scenes that ask several questions about one picture, in place of the skill's one."""

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
        dialogues: ask several questions about each picture of two numbers: more to learn from one look.
        block: with dialogues, this many consecutive episodes are all dialogues or none is, so that a batch
            of them wastes little on padding.
        easy: with dialogues, the first so many episodes are plain black-and-white digits, which over the next so
            many give way to the whole curriculum.
    """

    def __init__(
        self,
        seed: int = 0,
        split: str = "train",
        skills: tuple[str, ...] | None = None,
        dialogues: bool = False,
        block: int = 48,
        easy: int = 0,
    ) -> None:
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
        self.dialogues = dialogues
        self.block = block
        self.easy = easy
        self._bounds = list(accumulate(_SHARES[name][1] for name in chosen))

    def episode(self, index: int) -> Episode:
        """The episode with this index; most have one turn, "memory" has two to four, a dialogue six."""
        rng = self._stream(str(index))
        skill, scene = self._choose(index, rng)
        exchanges = scene(rng)
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

    def _choose(self, index: int, rng: Random) -> tuple[str, Scene]:
        if not self.dialogues:
            skill = rng.choices(self.skills, cum_weights=self._bounds)[0]
            return skill, _SHARES[skill][0]
        if rng.random() < 2.0 - index / max(1, self.easy):
            return "plain_digits", number_scenes.plain_dialogue
        block = self._stream(f"block {index // self.block}")
        skill = block.choices(self.skills, cum_weights=self._bounds)[0]
        if skill not in _DIALOGUES:
            others = [name for name in self.skills if name not in _DIALOGUES]
            skill = rng.choices(others, [_SHARES[name][1] for name in others])[0]
            return skill, _SHARES[skill][0]
        return skill, _DIALOGUES[skill]

    def _stream(self, name: str) -> Random:
        digest = hashlib.blake2b(f"{self.seed}/{self.split}/{name}".encode(), digest_size=8).digest()
        return Random(int.from_bytes(digest, "little"))


def _turn(exchange: Exchange, skill: str) -> Turn:
    return Turn(
        observation=Observation(text=exchange.question, image=exchange.image),
        reply=exchange.answer,
        action=exchange.answer,
        reward=1.0,
        source=skill,
    )
