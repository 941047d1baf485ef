"""The curriculum: questions about freshly drawn pictures, a pure function of (seed, split, index)."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

from vlmq.api import Episode, Observation, Turn, UserError
from vlmq_model_tiny import (
    card_scenes,
    copy_scenes,
    grid_scenes,
    number_scenes,
    page_scenes,
    panel_scenes,
    plan_scenes,
    recall_scenes,
    seek_scenes,
    shape_scenes,
    symbol_scenes,
    widget_scenes,
)
from vlmq_model_tiny.scene import Exchange, Family, NumberScene, Scene

SPLITS = ("train", "validation", "test")

_NUMBERS: dict[str, tuple[NumberScene, float]] = {
    "stacked": (number_scenes.stacked, 20.0),
    "read_digit": (number_scenes.read_digit, 5.0),
    "read_number": (number_scenes.read_number, 8.0),
    "read_pair": (number_scenes.read_pair, 13.0),
    "compare": (number_scenes.compare, 25.0),
    "arithmetic": (number_scenes.arithmetic, 5.0),
}
_OTHERS: dict[str, tuple[Scene, float]] = {
    "cards": (symbol_scenes.cards, 6.0),
    "words": (symbol_scenes.words, 3.0),
    "colours": (shape_scenes.colours, 5.0),
    "shapes": (shape_scenes.shapes, 2.0),
    "count": (shape_scenes.count, 2.0),
    "place": (shape_scenes.place, 3.0),
    "echo": (symbol_scenes.echo, 1.0),
    "memory": (shape_scenes.memory, 3.0),
}
_WORDS: dict[str, tuple[Scene, float]] = {
    "icons": (panel_scenes.icons, 14.0),
    "copying": (copy_scenes.copying, 8.0),
    "picking": (copy_scenes.picking, 8.0),
    "composing": (copy_scenes.composing, 10.0),
    "framing": (copy_scenes.framing, 8.0),
}
"""Of the second version, asked one question at a time."""
_LISTS: dict[str, tuple[NumberScene, float]] = {
    "matching": (seek_scenes.matching, 8.0),
    "locating": (recall_scenes.locating, 8.0),
}
"""The same, and plain at first, as the numbers are."""
_PAGES: dict[str, tuple[Scene, float]] = {
    "pages": (page_scenes.pages, 24.0),
    "browsing": (recall_scenes.browsing, 24.0),
    "reciting": (recall_scenes.reciting, 24.0),
    "spelling": (recall_scenes.spelling, 24.0),
    "seeking": (seek_scenes.seeking, 24.0),
    "codes": (page_scenes.codes, 10.0),
}
"""Of the second version, and longer than the others: with dialogues they have blocks of their own."""
_TALKS: tuple[tuple[Family[Any], dict[str, float]], ...] = (
    (
        card_scenes.FAMILY,
        {"card_rank": 7.0, "card_suit": 4.0, "card_sum": 5.0, "card_best": 5.0, "card_writing": 3.0},
    ),
    (
        grid_scenes.FAMILY,
        {"grid_cell": 6.0, "grid_where": 7.0, "grid_front": 5.0, "grid_way": 7.0, "grid_seen": 4.0},
    ),
    (
        plan_scenes.FAMILY,
        {
            "plan_frame": 6.0,
            "plan_name": 6.0,
            "plan_cover": 4.0,
            "plan_content": 6.0,
            "plan_find": 5.0,
            "plan_command": 7.0,
        },
    ),
    (panel_scenes.FAMILY, {"panel_hand": 5.0, "panel_badge": 5.0}),
    (
        widget_scenes.FAMILY,
        {
            "widget_where": 4.0,
            "widget_number": 5.0,
            "widget_tick": 3.0,
            "widget_field": 3.0,
            "widget_click": 5.0,
        },
    ),
    (seek_scenes.FAMILY, dict.fromkeys(seek_scenes.FAMILY.askers, 4.0)),
)
"""Of the second version: with dialogues, several questions about each picture."""
_FAMILIES = {name: family for family, shares in _TALKS for name in shares}
_SCENES = _OTHERS | _WORDS | _PAGES
_VARIED = _NUMBERS | _LISTS
_SHARES = {name: share for name, (_, share) in (_VARIED | _SCENES).items()}
_SHARES |= {name: share for _, shares in _TALKS for name, share in shares.items()}
_QUESTIONS = 4
"""Questions about one picture of a family, where dialogues are wanted."""
_PAIRS = ("stacked", "read_pair", "compare", "arithmetic")
"""Skills that a dialogue about one picture of two numbers teaches together."""
_FIRST = ("read_digit", *_PAIRS, *_LISTS)
"""Skills that can be plain, with one-digit numbers or one form of words, and so start the curriculum."""

SKILLS = (*_NUMBERS, *_OTHERS)
"""Names of the first version's skills; an episode's `source` is one of them."""

SKILLS_OF = {1: SKILLS, 2: (*SKILLS, *_WORDS, *_LISTS, *_PAGES, *_FAMILIES)}
"""Names of the skills by version of the curriculum; the second one's contain the first one's."""


class CurriculumError(UserError):
    """The curriculum was asked for a version, a split or a skill that it does not have."""


class Curriculum:
    """Endless questions and answers; every index gives another picture, and the same one each time.

    Args:
        seed: selects one of many independent streams.
        split: "train", "validation" or "test": streams that share no draw.
        skills: the skills to draw from, in the proportions of the whole; None means all of them.
        shares: how often these are drawn, in place of the curriculum's own shares, which add up to about 360.
        dialogues: ask several questions about each picture of two numbers, cards, a grid, a plan, a panel or
            widgets: more to learn from one look.
        block: with dialogues, this many consecutive episodes are all dialogues of one kind or none is, so that
            a batch of them wastes little on padding.
        narrow: the first so many episodes show plain digits near the middle, or plain lists, and nothing else.
        widen: over the next so many, these come to vary in everything, and the other skills enter.
        version: of the curriculum, a key of `SKILLS_OF`.
    """

    def __init__(
        self,
        seed: int = 0,
        split: str = "train",
        skills: tuple[str, ...] | None = None,
        dialogues: bool = False,
        block: int = 48,
        narrow: int = 0,
        widen: int = 0,
        version: int = 1,
        shares: dict[str, float] | None = None,
    ) -> None:
        if version not in SKILLS_OF:
            raise CurriculumError(
                f"version {version} is unknown: choose one of {', '.join(map(str, SKILLS_OF))}"
            )
        if split not in SPLITS:
            raise CurriculumError(f"split {split!r} is unknown: choose one of {', '.join(SPLITS)}")
        known = SKILLS_OF[version]
        chosen = known if skills is None else tuple(skills)
        unknown = [name for name in (*chosen, *(shares or ())) if name not in known]
        if unknown or not chosen:
            wrong = f"skill {unknown[0]!r} is unknown" if unknown else "no skill is named"
            raise CurriculumError(f"{wrong}: choose from {', '.join(known)}")
        if min((shares or {"": 0.0}).values()) < 0.0:
            raise CurriculumError("a share is below 0: give each skill 0 or more")
        self.seed = seed
        self.split = split
        self.skills = chosen
        self.dialogues = dialogues
        self.block = block
        self.narrow = narrow
        self.widen = widen
        self.shares = _SHARES | (shares or {})

    def episode(self, index: int) -> Episode:
        """The episode with this index; most have one turn, "memory" and "browsing" several, a dialogue up to six."""
        rng = self._stream(str(index))
        variation = min(1.0, max(0.0, (index - self.narrow) / self.widen)) if self.widen else 1.0
        skill, exchanges = self._draw(index, rng, variation)
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

    def _draw(self, index: int, rng: Random, variation: float) -> tuple[str, list[Exchange]]:
        skills = self.skills
        if self.dialogues:
            first = self._choose(self._stream(f"block {index // self.block}"), skills, variation)
            if first in _PAIRS:
                return first, number_scenes.pair_dialogue(rng, variation)
            kind = _length(first)
            skills = tuple(name for name in skills if name not in _PAIRS and _length(name) == kind)
        skill = self._choose(rng, skills, variation)
        if skill in _VARIED:
            return skill, _VARIED[skill][0](rng, variation)
        if skill in _FAMILIES:
            return skill, _FAMILIES[skill].dialogue(rng, skill, _QUESTIONS if self.dialogues else 1)
        return skill, _SCENES[skill][0](rng)

    def _choose(self, rng: Random, skills: tuple[str, ...], variation: float) -> str:
        """One of the skills; those that need the whole variation are rarer without it."""
        shares = [self.shares[name] * (1.0 if name in _FIRST else variation) for name in skills]
        return rng.choices(skills, shares if any(shares) else None)[0]

    def _stream(self, name: str) -> Random:
        digest = hashlib.blake2b(f"{self.seed}/{self.split}/{name}".encode(), digest_size=8).digest()
        return Random(int.from_bytes(digest, "little"))


def _length(skill: str) -> int:
    """What its episodes are like: one question, a dialogue, or a page."""
    return 1 if skill in _FAMILIES else 2 if skill in _PAGES else 0


def _turn(exchange: Exchange, skill: str) -> Turn:
    return Turn(
        observation=Observation(text=exchange.question, image=exchange.image),
        reply=exchange.answer,
        action=exchange.answer,
        reward=1.0,
        source=skill,
    )
