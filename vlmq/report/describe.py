"""What a folder of recorded episodes holds, as a few lines for a terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlmq.data.store import EpisodeStore
from vlmq.report.results import percent
from vlmq.report.stats import bootstrap, wilson


def describe(path: str | Path) -> str:
    """Count, origin and quality of the stored episodes; rates and returns with 95 % intervals.

    Raises:
        DataError: there is no readable store at `path`.
    """
    store = EpisodeStore.open(path)
    try:
        table, provenance = store.table, dict(store.provenance)
    finally:
        store.close()
    facts = {"episodes": f"{len(table):,}"}
    if len(table):
        success = wilson(int(table["success"].sum()), len(table))
        turns, valid = int(table["num_turns"].sum()), int(table["num_valid"].sum())
        truncated = float(np.mean(table["truncated"]))
        facts |= {
            "turns": f"{turns:,} ({turns / len(table):.1f} an episode)",
            "success": f"{percent(success.value)} [{100 * success.low:.1f} - {100 * success.high:.1f}]",
            "return": _mean_return(table["episode_return"]),
            "syntax": f"{percent(valid / max(turns, 1))} of the replies parsed and were legal",
            "cut short": percent(truncated),
            "reply tokens": f"{int(table['num_tokens'].sum()):,}",
        }
    facts |= {name: str(value) for name, value in provenance.items()}
    width = max(map(len, facts))
    return "\n".join([str(path), "", *(f"  {name.ljust(width)}  {value}" for name, value in facts.items())])


def _mean_return(returns: NDArray[np.float64]) -> str:
    if len(returns) < 10:  # a bootstrap of a handful says less doubt than there is
        return f"{returns.mean():.2f}"
    value, low, high = bootstrap(returns, resamples=1000)
    return f"{value:.2f} [{low:.2f} - {high:.2f}]"
