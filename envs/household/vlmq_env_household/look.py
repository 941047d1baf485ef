"""How an episode looks: its inks, floors, colours and noise, all of them drawn from one generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlmq_env_household import sprites
from vlmq_env_household.catalogue import RECEPTACLES, ROOMS, THINGS

Colour = tuple[int, int, int]

FLOORS: dict[str, Colour] = dict(
    zip(ROOMS, ((200, 176, 130), (150, 158, 204), (140, 198, 202), (168, 198, 146)), strict=True)
)
COLOURS: dict[str, Colour] = {
    "card": (238, 236, 230),
    "paper": (222, 216, 200),
    "fog": (160, 163, 170),
    "door": (134, 92, 54),
    "knob": (246, 210, 80),
    "hand": (252, 224, 186),
    "wall": (64, 60, 62),
}
"""Of what is not a sprite: the card under a receptacle, the paper under its content, the fog over what nobody saw,
the door of what is closed, the place of what is in hand, the walls between rooms."""

_SPREAD = 12
"""How far, in grey levels, a colour may stray in one episode."""

_STRONGEST_GRAIN = 8


@dataclass(frozen=True, eq=False)
class Look:
    """How one episode looks.

    Attributes:
        inks: of the sprites.
        floors: colour of the floor by kind of room.
        colours: by the names in `COLOURS`.
        mirrored: the sprites of receptacles and things that are drawn the other way round.
        stripes: distance of the lines on the floor, across and down, in dots; 0 for none.
        grain: seed and amplitude of the noise.
    """

    inks: sprites.Palette
    floors: dict[str, Colour]
    colours: dict[str, Colour]
    mirrored: frozenset[str] = frozenset()
    stripes: tuple[int, int] = (0, 0)
    grain: tuple[int, int] = (0, 0)

    @classmethod
    def plain(cls) -> Look:
        """Nothing strays."""
        return cls(sprites.palette(None), FLOORS, COLOURS)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """A look that no other episode has."""
        names = [*RECEPTACLES, *THINGS]
        flips = rng.integers(2, size=len(names))
        return cls(
            inks=sprites.palette(rng),
            floors=_stray(rng, FLOORS),
            colours=_stray(rng, COLOURS),
            mirrored=frozenset(name for name, flip in zip(names, flips, strict=True) if flip),
            stripes=(4 * int(rng.integers(4)), 4 * int(rng.integers(4))),
            grain=(int(rng.integers(2**63)), int(rng.integers(2, _STRONGEST_GRAIN + 1))),
        )


def _stray(rng: np.random.Generator, colours: dict[str, Colour]) -> dict[str, Colour]:
    offsets = rng.integers(-_SPREAD, _SPREAD + 1, size=(len(colours), 3))
    strayed = (np.array(list(colours.values())) + offsets).clip(0, 255).tolist()
    return {name: (r, g, b) for name, (r, g, b) in zip(colours, strayed, strict=True)}
