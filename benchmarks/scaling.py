"""Where collection is held up, from 8 to 10,000 environments: a simulation, and one point of it measured.

    python benchmarks/scaling.py               # the study: benchmarks/results/scaling.csv, docs/scaling.png
    python benchmarks/scaling.py --quick       # a corner of it, printed only
    python benchmarks/scaling.py --calibrate   # the pool of this project, with environments that sleep, beside it

A share of a round is simulated event by event: each environment works on its turn, then waits for a reply; the
generator of its collector takes whoever waits, up to a largest batch, and answers them together. Rounds follow from the
shares: weights go out over the trainer's link, one collector after the other, episodes come back over it, and a round
is begun `lag` rounds before it is due. What holds a point up is whichever of environments, generation, link and
training brings most turns a second by being twice as fast. What is assumed stands in `ASSUMED`: nobody measured it.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
CSV, PNG = ROOT / "benchmarks" / "results" / "scaling.csv", ROOT / "docs" / "scaling.png"
LIMITS = ("environments", "generation", "link", "training")


@dataclass(frozen=True)
class Generator:
    """A batch of b replies takes `batch_s` + b `reply_s`; at most `most` are in one."""

    batch_s: float
    reply_s: float
    most: int = 10**9

    def seconds(self, batch: int) -> float:
        """Of one batch."""
        return self.batch_s + batch * self.reply_s

    def capacity(self, waiting: int) -> float:
        """Most replies a second where never more than so many wait."""
        batch = min(waiting, self.most)
        return batch / self.seconds(batch)


@dataclass(frozen=True)
class Setting:
    """One point of the study.

    Attributes:
        environments: over all collectors.
        collectors: each with a generator of its own.
        latency_s: mean of an environment's turn; each takes half of it, and the other half times an exponential draw.
        weights_mb: sent to each collector, once a round.
        link_mb_s: of the trainer.
        lag: as `data.collectors.lag`.
    """

    environments: int
    collectors: int
    latency_s: float
    weights_mb: float
    link_mb_s: float
    lag: int


@dataclass(frozen=True)
class Assumed:
    """What the study takes as given: about a model of two billion parameters on one GPU for each collector.

    Attributes:
        generator: of a collector.
        turns: of an episode.
        turn_mb: of a stored turn: a picture as PNG.
        updates_s: of training between two rounds.
        rounds: that are simulated.
    """

    generator: Generator = Generator(batch_s=0.6, reply_s=0.01, most=256)
    turns: int = 10
    turn_mb: float = 0.1
    updates_s: float = 10.0
    rounds: int = 4


ASSUMED = Assumed()
WEIGHTS = {"adapters": 40.0, "everything": 4000.0}
"""In MB, of two billion parameters in bfloat16."""
LINKS = {1: 125.0, 10: 1250.0}
"""In MB/s, by Gbit/s."""


@dataclass(frozen=True)
class Share:
    """What one collector's share of a round took: seconds in all, of them with the generator at work; turns."""

    seconds: float
    generating_s: float
    turns: int


def latencies(mean_s: float, seed: int) -> Iterator[float]:
    """What one environment's turn after the other takes."""
    rng = np.random.default_rng(seed)
    while True:
        draws: NDArray[np.float64] = mean_s * (0.5 + 0.5 * rng.exponential(size=4096))
        yield from draws.tolist()


def play(slots: int, episodes: int, turns: int, latency: Iterator[float], generator: Generator) -> Share:
    """One share, event by event: from its first reset to its last reply.

    Args:
        slots: environments.
        episodes: of the share; a slot that is through with one begins the next.
        turns: of an episode.
        latency: of each reset or turn, drawn in the order in which they begin.
        generator: answers those that wait.
    """
    left, now, free_at, generating = episodes, 0.0, 0.0, 0.0
    played = 0
    ready: list[tuple[float, int, int]] = []  # when its environment is through, slot, turns left to it
    for slot in range(min(slots, episodes)):
        ready.append((next(latency), slot, turns))
        left -= 1
    heapq.heapify(ready)
    waiting: deque[tuple[int, int]] = deque()
    while ready or waiting:
        now = free_at if waiting else max(free_at, ready[0][0])
        while ready and ready[0][0] <= now:
            _, slot, to_go = heapq.heappop(ready)
            waiting.append((slot, to_go))
        batch = [waiting.popleft() for _ in range(min(len(waiting), generator.most))]
        taken = generator.seconds(len(batch))
        free_at = now + taken
        generating += taken
        played += len(batch)
        for slot, to_go in batch:
            # a reply to the last turn ends the episode; the next one begins with a reset, which takes a turn's time
            if to_go > 1:
                heapq.heappush(ready, (free_at + next(latency), slot, to_go - 1))
            elif left:
                left -= 1
                heapq.heappush(ready, (free_at + next(latency), slot, turns))
    return Share(free_at, generating, played)


def shares(setting: Setting, assumed: Assumed) -> list[list[Share]]:
    """What every collector's share of every round takes; a round has an episode for each environment."""
    own = setting.environments // setting.collectors
    return [
        [
            play(
                own, own, assumed.turns, latencies(setting.latency_s, seed=number * setting.collectors + host),
                assumed.generator,
            )
            for host in range(setting.collectors)
        ]
        for number in range(assumed.rounds)
    ]  # fmt: skip


def rate(setting: Setting, assumed: Assumed, played: list[list[Share]]) -> float:
    """Turns a second of a run's rounds, given the shares by round and collector."""
    count = len(played)
    out_s = setting.weights_mb / setting.link_mb_s
    free = [0.0] * setting.collectors  # when each collector is through with what it was asked before
    link_out, link_back = 0.0, 0.0  # when each direction of the link is free
    finished: list[float] = []
    trained = 0.0  # when the updates before the present round are done
    for number in range(count):
        for begun in range(len(finished), min(count, number + 1 + setting.lag)):
            came = []
            for host, share in enumerate(played[begun]):
                link_out = max(link_out, trained) + out_s
                free[host] = max(free[host], link_out) + share.seconds
                came.append((free[host], share.turns * assumed.turn_mb / setting.link_mb_s))
            for through, back_s in sorted(came):
                link_back = max(link_back, through) + back_s
            finished.append(link_back)
        trained = max(trained, finished[number]) + assumed.updates_s
    return sum(share.turns for one in played for share in one) / trained


def bound(environments: int, collectors: int, latency_s: float, generator: Generator) -> float:
    """Turns a second that no run exceeds: every environment answered at once and alone, or every generator full."""
    own = environments // collectors
    alone = own / (latency_s + generator.seconds(1))
    return collectors * min(alone, generator.capacity(own))


def study(assumed: Assumed, counts: tuple[int, ...], collectors: tuple[int, ...]) -> list[dict[str, Any]]:
    """Every point; shares are simulated once for all that differs beside them."""
    rows = []
    generator = assumed.generator
    swift = replace(generator, batch_s=generator.batch_s / 2, reply_s=generator.reply_s / 2)
    for environments, hosts, latency_s in itertools.product(counts, collectors, (0.01, 0.3, 3.0)):
        if environments < 4 * hosts:
            continue
        base = Setting(environments, hosts, latency_s, 0.0, 1.0, 0)
        played = shares(base, assumed)
        others = {
            "environments": shares(replace(base, latency_s=latency_s / 2), assumed),
            "generation": shares(base, replace(assumed, generator=swift)),
        }
        for (what, weights_mb), (gbit, link_mb_s), lag in itertools.product(
            WEIGHTS.items(), LINKS.items(), (0, 1)
        ):
            setting = Setting(environments, hosts, latency_s, weights_mb, link_mb_s, lag)
            now = rate(setting, assumed, played)
            swifter = {name: rate(setting, assumed, other) for name, other in others.items()}
            swifter["link"] = rate(replace(setting, link_mb_s=2 * link_mb_s), assumed, played)
            swifter["training"] = rate(setting, replace(assumed, updates_s=assumed.updates_s / 2), played)
            rows.append(
                {
                    **asdict(setting), "trained": what, "link_gbit": gbit, "turns_per_s": now,
                    **{f"gain_{name}": swifter[name] / now for name in LIMITS},
                    "bottleneck": max(LIMITS, key=swifter.__getitem__),
                    "bound": bound(environments, hosts, latency_s, generator),
                }
            )  # fmt: skip
    return rows


def write(rows: list[dict[str, Any]]) -> None:
    """The CSV."""
    with CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )


def table(rows: list[dict[str, Any]], *, latency_s: float, trained: str, gbit: int, lag: int) -> str:
    """Markdown: turns a second and the bottleneck, environments down, collectors across."""
    chosen = {
        (row["environments"], row["collectors"]): row for row in rows
        if (row["latency_s"], row["trained"], row["link_gbit"], row["lag"]) == (latency_s, trained, gbit, lag)
    }  # fmt: skip
    hosts = sorted({host for _, host in chosen})
    lines = [
        "| environments | " + " | ".join(f"{host} collector{'s' * (host > 1)}" for host in hosts) + " |",
        "|---" * (len(hosts) + 1) + "|",
    ]
    for environments in sorted({count for count, _ in chosen}):
        cells = []
        for host in hosts:
            row = chosen.get((environments, host))
            cells.append(_cell(row) if row else "")
        lines.append(f"| {environments:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    turns = row["turns_per_s"]
    return f"{turns:,.{0 if turns >= 10 else 1}f} {row['bottleneck']}"


def draw(rows: list[dict[str, Any]], lag: int = 1) -> None:
    """The picture: turns a second by environments, a panel for each latency and kind of training."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = dict(zip(LIMITS, ("#4477aa", "#228833", "#cc6677", "#bbbbbb"), strict=True))
    columns, lines = sorted({row["latency_s"] for row in rows}), list(WEIGHTS)
    figure, grid = plt.subplots(
        2, len(columns), figsize=(11, 6.2), sharex=True, sharey=True, layout="constrained"
    )
    for (y, trained), (x, latency_s) in itertools.product(enumerate(lines), enumerate(columns)):
        axes = grid[y, x]
        for hosts, style in zip(
            sorted({row["collectors"] for row in rows}), ("-", "--", "-.", ":"), strict=False
        ):
            chosen = [
                row for row in rows
                if (row["latency_s"], row["trained"], row["link_gbit"], row["lag"], row["collectors"])
                == (latency_s, trained, 10, lag, hosts)
            ]  # fmt: skip
            counts, rates = [row["environments"] for row in chosen], [row["turns_per_s"] for row in chosen]
            axes.plot(
                counts,
                rates,
                style,
                color="#555555",
                lw=1,
                label=f"{hosts} collectors" if hosts > 1 else "1 collector",
            )
            axes.scatter(counts, rates, c=[colours[row["bottleneck"]] for row in chosen], s=28, zorder=3)
        axes.set(xscale="log", yscale="log", title=f"{trained} trained, {latency_s:g} s a turn")
        axes.grid(alpha=0.25)
    for axes in grid[-1]:
        axes.set_xlabel("environments")
    for axes in grid[:, 0]:
        axes.set_ylabel("turns a second")
    lines_of, names = grid[0, 0].get_legend_handles_labels()
    dots = [plt.Line2D([], [], marker="o", ls="", color=colours[name]) for name in LIMITS]
    figure.legend(
        [*lines_of, *dots], [*names, *(f"held up by: {name}" for name in LIMITS)],
        loc="outside lower center", ncols=4, frameon=False,
    )  # fmt: skip
    figure.suptitle(f"Simulated, not run: 10 Gbit/s, lag {lag}")
    figure.savefig(PNG, dpi=110)


def calibrate(num_envs: int, turn_s: float, seconds: float) -> tuple[float, float]:
    """Turns a second of this project's pool with environments that sleep, and of the simulation of it.

    The generator's curve is fitted to the seconds of each batch in the measured run.
    """
    import tempfile
    import time

    import torch
    from asynchronous import Watched
    from null_env import TURNS, install

    from vlmq.model.backbone import load_backbone, locate
    from vlmq.model.generate import Sampling
    from vlmq.prompt.encode import Encoder
    from vlmq.rollout.collector import Player
    from vlmq.rollout.policies import ModelPolicy

    class Timed(Watched):
        """Each batch's size and seconds."""

        def replies(self, contexts: Any) -> Any:
            before = self.seconds
            replies = super().replies(contexts)
            if contexts:
                pairs.append((len(contexts), self.seconds - before))
            return replies

    pairs: list[tuple[int, float]] = []
    torch.set_num_threads(1)
    encoder = Encoder.load(locate("pkg:vlmq_model_tiny"))
    sampling = Sampling(16, 1.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    policy = Timed(ModelPolicy(load_backbone("pkg:vlmq_model_tiny").eval(), encoder, sampling, seed=1))
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder))
        with Player(
            "null/Null-v0", num_envs, encoder, env_args={"turn_s": turn_s}, workers=True, max_reply=16,
            asynchronous=True,
        ) as player:  # fmt: skip
            episodes = num_envs * max(2, round(seconds / (TURNS * (turn_s + 0.1))))
            started = time.perf_counter()
            list(player.play(policy, range(episodes), lambda index: index, source="null"))
            taken = time.perf_counter() - started
    sizes, times = np.array(pairs).T
    reply_s, batch_s = np.polyfit(sizes, times, 1) if len(set(sizes)) > 1 else (0.0, float(times.mean()))
    generator = Generator(max(0.0, float(batch_s)), max(0.0, float(reply_s)))
    share = play(num_envs, episodes, TURNS, itertools.repeat(turn_s), generator)
    print(
        f"{num_envs} environments, {turn_s:g} s a turn; a batch of b replies took {1e3 * generator.batch_s:.0f} + "
        f"{1e3 * generator.reply_s:.1f} b ms: measured {episodes * TURNS / taken:.1f} turns/s, simulated "
        f"{share.turns / share.seconds:.1f}"
    )
    return episodes * TURNS / taken, share.turns / share.seconds


def main() -> None:
    """Simulate, and write what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a corner of the study, printed only")
    parser.add_argument("--calibrate", action="store_true", help="measure one point, and simulate it")
    parser.add_argument("--environments", type=int, default=8, help="of --calibrate")
    parser.add_argument(
        "--turn", type=float, default=0.2, help="seconds an environment's turn takes, of --calibrate"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="about how long --calibrate plays")
    arguments = parser.parse_args()
    if arguments.calibrate:
        calibrate(arguments.environments, arguments.turn, arguments.seconds)
        return
    counts = (8, 64) if arguments.quick else (8, 32, 128, 512, 2048, 10_000)
    rows = study(ASSUMED, counts, (1, 4) if arguments.quick else (1, 4, 16, 64))
    for trained, gbit, latency_s in (("adapters", 10, 0.3), ("adapters", 10, 3.0), ("everything", 10, 0.3)):
        print(
            f"\n{trained} trained, {gbit} Gbit/s, {latency_s:g} s a turn, lag 1: turns a second, what holds it up\n"
        )
        print(table(rows, latency_s=latency_s, trained=trained, gbit=gbit, lag=1))
    if not arguments.quick:
        write(rows)
        draw(rows)
        print(f"\n{len(rows)} points: {CSV.relative_to(ROOT)}, {PNG.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
