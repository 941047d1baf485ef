"""The numbers of recorded episodes, by environment and by source, as tables for a terminal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmq.api import DataError, Episode
from vlmq.data.store import EpisodeStore
from vlmq.report.results import aligned, percent
from vlmq.report.stats import wilson

_ACTIONS = 8
_ACTION_WIDTH = 40


@dataclass
class _Group:
    """Counts over some of the episodes."""

    episodes: int = 0
    successes: int = 0
    turns: int = 0
    valid: int = 0
    returns: list[float] = field(default_factory=list)

    def add(self, episode: Episode) -> None:
        self.episodes += 1
        self.successes += episode.success
        self.turns += episode.num_turns
        self.valid += sum(turn.valid for turn in episode.turns)
        self.returns.append(episode.episode_return)


def statistics(path: str | Path) -> str:
    """Success, return and syntax by environment and source; spreads of lengths; pictures, tokens and actions.

    Pictures are counted, not read. Raises DataError where there is no readable store, or an empty one.
    """
    by_env: dict[str, _Group] = defaultdict(_Group)
    by_source: dict[str, _Group] = defaultdict(_Group)
    spreads: dict[str, list[float]] = defaultdict(list)
    sizes: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    tokenizers: Counter[str] = Counter()
    tokens = known = 0
    with EpisodeStore.open(path) as store:
        if not len(store):
            raise DataError(f"{path}: the store holds no episodes; collect some with `vlmq collect`")
        for position in range(len(store)):
            episode = store.outline(position)
            by_env[episode.env_id].add(episode)
            by_source[episode.source].add(episode)
            spreads["turns an episode"].append(episode.num_turns)
            spreads["return"].append(episode.episode_return)
            for observation in episode.observations:
                spreads["characters shown"].append(len(observation.text))
                sizes[_size(observation.image)] += 1
            for turn in episode.turns:
                spreads["reward"].append(turn.reward)
                spreads["characters of a reply"].append(len(turn.reply))
                actions[turn.action if turn.parsed else "(no action was found)"] += 1
                if len(turn.reply_ids):
                    spreads["tokens of a reply"].append(len(turn.reply_ids))
                    tokenizers[episode.tokenizer or "(not named)"] += 1
                    tokens += len(turn.reply_ids)
                    known += int(np.sum(~np.isnan(turn.logprobs)))
    parts = [
        str(path),
        _groups("environment", by_env),
        _groups("source", by_source),
        _spreads(spreads),
        _counts("pictures", sizes.most_common()),
        _counts("most frequent actions", _most_frequent(actions)),
    ]
    if tokens:
        named = ", ".join(f"{name} in {n:,} replies" for name, n in tokenizers.most_common())
        parts.append(
            f"tokens: {tokens:,}, log-probability known of {percent(known / tokens)}; tokenizer {named}"
        )
    else:
        parts.append("tokens: none recorded; the trainer tokenises the replies")
    return "\n\n".join(parts)


def _groups(name: str, groups: dict[str, _Group]) -> str:
    rows: list[tuple[str, ...]] = [
        (name, "episodes", "turns", "success", "95 % interval", "return", "syntax")
    ]
    for label, group in sorted(groups.items(), key=lambda item: -item[1].episodes):
        rate = wilson(group.successes, group.episodes)
        rows.append(
            (
                label or "(none)",
                f"{group.episodes:,}",
                f"{group.turns:,}",
                percent(rate.value),
                f"{100 * rate.low:.1f} - {100 * rate.high:.1f}",
                f"{np.mean(group.returns):.2f}",
                percent(group.valid / group.turns),
            )
        )
    return aligned(rows)


def _spreads(spreads: dict[str, list[float]]) -> str:
    rows: list[tuple[str, ...]] = [("", "least", "5 %", "half", "95 %", "most")]
    for name, values in spreads.items():
        finite = np.array(values)[np.isfinite(values)]
        if len(finite):
            rows.append((name, *(f"{q:.4g}" for q in np.quantile(finite, (0, 0.05, 0.5, 0.95, 1)))))
    return aligned(rows)


def _counts(name: str, counts: Sequence[tuple[str, int]]) -> str:
    total = sum(n for _, n in counts)
    return aligned([(name, "times", ""), *((label, f"{n:,}", percent(n / total)) for label, n in counts)])


def _most_frequent(actions: Counter[str]) -> list[tuple[str, int]]:
    found = [(_shown(action), n) for action, n in actions.most_common(_ACTIONS)]
    rest = sum(actions.values()) - sum(n for _, n in found)
    return [*found, (f"({len(actions) - len(found):,} others)", rest)] if rest else found


def _shown(action: str) -> str:
    text = repr(action)[1:-1]
    return text if len(text) <= _ACTION_WIDTH else text[: _ACTION_WIDTH - 3] + "..."


def _size(image: NDArray[Any] | None) -> str:
    return "none" if image is None else f"{image.shape[1]} x {image.shape[0]}"
