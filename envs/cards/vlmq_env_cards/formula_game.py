"""What EZPoints and Points24 share: cards on a table, and a formula of them written symbol by symbol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq_env_cards.arithmetic import evaluate, is_number, uses_exactly
from vlmq_env_cards.drawing import WEIGHTS, Canvas, Colour, Grain, dark, jitter, light, rgb
from vlmq_env_cards.game import Game
from vlmq_env_cards.playing_cards import RANKS, RED_SUITS, SUITS, WORTH, draw_card
from vlmq_env_cards.solver import Formula, formulas


@dataclass(frozen=True)
class Layout:
    """Where things are, in layout pixels.

    Attributes:
        card: width and height of a card.
        left: of the first card.
        step: from card to card.
        shift: how far a card may be moved, across and down.
        digit: height of a rank in the plain look, and its range in varied ones.
        tray: top of the tray that holds the formula.
        pen: centre of the formula's first character.
        character: height of a character, the step to the next one, and to the next line.
        line: characters in a line.
    """

    card: tuple[float, float]
    left: float
    step: float
    shift: tuple[int, int]
    digit: tuple[int, int, int]
    tray: float
    pen: tuple[float, float]
    character: tuple[float, float, float]
    line: int


@dataclass(frozen=True, eq=False)
class Look:
    """How one episode looks; lengths in layout pixels."""

    table: Colour
    tray: Colour
    formula_ink: Colour
    card: Colour
    black: Colour
    red: Colour
    digit: float
    weight: float
    shifts: tuple[tuple[int, int], ...]
    formula_shift: tuple[int, int]
    grain: Grain

    @classmethod
    def plain(cls, layout: Layout, cards: int) -> Look:
        """White cards on a green table, clean."""
        return cls(
            table=rgb(53, 101, 77),
            tray=rgb(25, 55, 40),
            formula_ink=rgb(255, 255, 255),
            card=rgb(255, 255, 255),
            black=rgb(0, 0, 0),
            red=rgb(190, 0, 20),
            digit=layout.digit[0],
            weight=WEIGHTS[1],
            shifts=((0, 0),) * cards,
            formula_shift=(0, 0),
            grain=Grain(),
        )

    @classmethod
    def draw(cls, rng: np.random.Generator, layout: Layout, cards: int, size: int) -> Look:
        """A look that no other episode has."""
        paper, ink = (dark, light) if rng.integers(2) else (light, dark)
        return cls(
            table=rng.integers(60, 171, size=3).astype(np.float32),
            tray=paper(rng),
            formula_ink=ink(rng),
            card=rng.integers(215, 256, size=3).astype(np.float32),
            black=rng.integers(0, 61, size=3).astype(np.float32),
            red=rgb(*rng.integers((150, 0, 0), (211, 41, 61))),
            digit=float(rng.integers(layout.digit[1], layout.digit[2] + 1)),
            weight=WEIGHTS[int(rng.integers(len(WEIGHTS)))],
            shifts=tuple(jitter(rng, *layout.shift) for _ in range(cards)),
            formula_shift=jitter(rng, 1),
            grain=Grain.draw(rng, size),
        )


class FormulaGame(Game):
    """Write a formula that makes `goal` of all the cards, each used once; "=" closes it and ends the episode.

    Every action is legal at every turn; whether it is wise is the game. Reward: 10 for a formula that makes the
    goal, -1 for one that does not, -1 for a number that no unused card is worth, -1 when the turns run out, else 0.
    """

    goal: int
    most_symbols: int
    layout: Layout

    def expert_action(self) -> str:
        """The next symbol of the shortest winning formula that goes on from here; where there is none, "="."""
        written = len(self._formula)
        for winning in self._solutions():
            if self._formula == winning[:written]:
                return (*winning, "=")[written]
        return "="

    def _solutions(self) -> list[Formula]:
        found = formulas(tuple(sorted(self._numbers())), self.goal)
        return [formula for formula in found if set(formula) <= set(self.legal_actions)]

    def _draw_ranks(self, rng: np.random.Generator) -> tuple[str, ...]:
        """The ranks of a new deal."""
        raise NotImplementedError

    def _deal(self, rng: np.random.Generator) -> None:
        self._ranks = self._draw_ranks(rng)
        self._suits = tuple(SUITS[int(suit)] for suit in rng.integers(len(SUITS), size=len(self._ranks)))
        self._formula: Formula = ()

    def _play(self, action: str) -> tuple[float, bool, bool, str]:
        if action == "=":
            won = evaluate(self._formula) == self.goal and uses_exactly(self._formula, self._numbers())
            return (10.0 if won else -1.0), True, won, ""
        if is_number(action) and action not in self._unused():
            return -1.0, False, False, "no unused card is worth that number"
        if len(self._formula) == self.most_symbols:
            return -1.0, False, False, f"a formula has at most {self.most_symbols} symbols"
        self._formula += (action,)
        return 0.0, False, False, ""

    def _truncation_reward(self, reward: float) -> float:
        return -1.0

    def _numbers(self) -> tuple[int, ...]:
        return tuple(WORTH[rank] for rank in self._ranks)

    def _unused(self) -> list[str]:
        left = [str(number) for number in self._numbers()]
        for symbol in self._formula:
            if symbol in left:
                left.remove(symbol)
        return left

    def _state_key(self) -> tuple[Any, ...]:
        return self._ranks, self._suits, self._formula

    def _state_text(self) -> str:
        return f"Cards: {' '.join(self._ranks)}\nFormula: {' '.join(self._formula)}".rstrip()

    def _choose_look(self, rng: np.random.Generator | None) -> None:
        layout, cards = self.layout, len(self._ranks)
        self._look = look = (
            Look.plain(layout, cards) if rng is None else Look.draw(rng, layout, cards, self.size)
        )
        self._backdrop = canvas = Canvas(self.size, look.table)
        canvas.fill(0, layout.tray, 64, 64 - layout.tray, look.tray)
        for column, card in enumerate(zip(self._ranks, self._suits, strict=True)):
            x, y = look.shifts[column]
            ink = look.red if card[1] in RED_SUITS else look.black
            place = layout.left + layout.step * column + x, 3.0 + y, *layout.card
            draw_card(canvas, card, place, look.card, ink, look.digit, look.weight)

    def _draw(self) -> NDArray[np.uint8]:
        canvas, look, layout = self._backdrop.copy(), self._look, self.layout
        height, across, down = layout.character
        left, top = layout.pen[0] + look.formula_shift[0], layout.pen[1] + look.formula_shift[1]
        for place, character in enumerate("".join(self._formula)):
            line, column = divmod(place, layout.line)
            x, y = left + across * column, top + down * line
            canvas.write(character, x, y, height, look.formula_ink, look.weight)
        return canvas.finish(look.grain)


def any_ranks(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """Ranks from an infinite deck."""
    return tuple(RANKS[int(rank)] for rank in rng.integers(len(RANKS), size=count))
