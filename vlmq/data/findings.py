"""What a look at recorded episodes found wrong, by kind, and what only several episodes together show."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from vlmq.api import Episode
from vlmq.data.damage import Kind
from vlmq.data.texts import counted

_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its kind, and a sentence with its place and the mend."""

    kind: Kind
    sentence: str


@dataclass
class Findings:
    """What `lint` found.

    Attributes:
        path: what was looked at.
        format: what it is.
        episodes: number of episodes that are sound.
        problems: what is wrong.
        notes: what is worth knowing, and not wrong.
    """

    path: str
    format: str
    episodes: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: Kind, sentence: str) -> None:
        """Note one more problem."""
        self.problems.append(Problem(kind, sentence))

    def lines(self) -> list[str]:
        """For a person: the problems, at most 20 of a kind, and a count of each kind at the end."""
        counts = Counter(problem.kind for problem in self.problems)
        shown: Counter[Kind] = Counter()
        found = []
        for problem in self.problems:
            shown[problem.kind] += 1
            if shown[problem.kind] <= _SHOWN:
                found.append(f"{problem.kind}: {problem.sentence}")
        found += [f"{kind}: ... and {n - _SHOWN:,} more" for kind, n in counts.items() if n > _SHOWN]
        found += [f"note: {note}" for note in self.notes]
        total = ", ".join(f"{n:,} {kind}" for kind, n in counts.most_common()) or "nothing is wrong"
        return [*found, f"{self.path} ({self.format}): {counted(self.episodes, 'sound episode')}; {total}"]


class Across:
    """What only several episodes together show: indices used twice, several tokenizers."""

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._indices: dict[int, str] = {}
        self.tokenizers: Counter[str] = Counter()

    def see(self, episode: Episode, where: str) -> None:
        """Look at a sound episode."""
        self._found.episodes += 1
        for k, turn in enumerate(episode.turns):
            if not math.isfinite(turn.reward):
                self._found.add(
                    Kind.NUMBER,
                    f"{where}, turns[{k}]: the reward is {turn.reward}; mend the environment that gave it",
                )
        if any(len(turn.reply_ids) for turn in episode.turns):
            self.tokenizers[episode.tokenizer] += 1
        if episode.index < 0:
            return
        first = self._indices.setdefault(episode.index, where)
        if first != where:
            self._found.add(
                Kind.DUPLICATE,
                f"{where}: index {episode.index} was used at {first}; number each episode once",
            )

    def conclude(self) -> None:
        """Say what only the end shows."""
        if len(self.tokenizers) > 1:
            names = ", ".join(
                f"{name or '(none)'} in {n:,} episodes" for name, n in self.tokenizers.most_common()
            )
            self._found.add(
                Kind.TOKENIZERS,
                f"{self._found.path}: the recorded tokens are of several tokenizers ({names}); split it, or forget them"
                " with `vlmq data convert --drop-tokens`",
            )
