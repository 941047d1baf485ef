"""What a checkpoint costs beside a large replay: seconds a write, as a share of a minute of training.

    python benchmarks/checkpoint_cost.py --gigabytes 5
    python benchmarks/checkpoint_cost.py --quick

The small VLM learns from a store of noise, 256 x 256 pixels a picture, with the critic and priorities, and writes a
checkpoint every ten updates. Each write is timed inside a real `vlmq fit`, once with the large store and once with a
hundredth of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from side_by_side import child
from tqdm.auto import tqdm

from vlmq.api import Episode, Observation, Turn
from vlmq.data.store import EpisodeStore

ROOT = Path(__file__).resolve().parent.parent
SIDE_PX, TURNS = 256, 10
EPISODE_BYTES = SIDE_PX * SIDE_PX * 3 * (TURNS + 1)
EVERY_UPDATES = 10
INTERVAL_S = 60.0


def main() -> None:
    """Make the stores, train from each in a process of its own, print what a write costs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where stores and runs are kept; else they are deleted")
    parser.add_argument("--quick", action="store_true", help="50 MB, 20 updates")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.gigabytes, arguments.updates = 0.05, 20
    if arguments.of:
        print(json.dumps({"seconds": seconds(arguments.of, arguments.updates)}))
        return
    with tempfile.TemporaryDirectory(prefix="vlmq-checkpoint-") as temporary:
        folder = arguments.folder or Path(temporary)
        lines = []
        for gigabytes in (arguments.gigabytes / 100, arguments.gigabytes):
            store = folder / f"{gigabytes:g}GB"
            count = max(8, round(gigabytes * 1e9 / EPISODE_BYTES))
            if not store.is_dir():
                make(store, count)
            found = child(__file__, "--of", store, "--updates", arguments.updates)["seconds"]
            median = float(np.median(found))
            lines.append(
                f"{gigabytes:g} GB, {count:,} episodes: a write takes {1e3 * median:.1f} ms (longest "
                f"{1e3 * max(found):.1f} of {len(found)}): {100 * median / INTERVAL_S:.3f} % of a minute"
            )
    print("\n".join(lines))


def make(folder: Path, count: int) -> None:
    """Write a store of episodes whose pictures are noise."""
    rng = np.random.default_rng(0)
    with EpisodeStore.create(folder, {"reply_format": "json"}) as store:
        for index in tqdm(range(count), unit="episode", disable=None):
            pictures = rng.integers(0, 256, (TURNS + 1, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
            actions = rng.choice(["+", "-"], TURNS)
            store.append(
                Episode(
                    env_id="cards/NumberLine-v0",
                    seed=index,
                    index=index,
                    turns=tuple(
                        Turn(
                            observation=Observation("Move C to T.", picture),
                            reply=json.dumps({"action": str(action)}),
                            action=str(action),
                            reward=float(rng.random() < 0.1),
                        )
                        for picture, action in zip(pictures, actions, strict=False)
                    ),
                    final_observation=Observation("Move C to T.", pictures[-1]),
                    terminated=False,
                    truncated=True,
                    success=bool(rng.random() < 0.5),
                    source="random",
                )
            )


def seconds(store: Path, updates: int) -> list[float]:
    """How long each write of a run took that learns from a store."""
    import lightning

    from vlmq.train.cli import main as run

    found: list[float] = []
    write = lightning.Trainer.save_checkpoint

    def timed(trainer: Any, *arguments: Any, **named: Any) -> None:
        started = time.perf_counter()
        write(trainer, *arguments, **named)
        found.append(time.perf_counter() - started)

    lightning.Trainer.save_checkpoint = timed  # type: ignore[method-assign]
    config = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    phases = {phase["name"]: phase for phase in config["model"]["phases"]}
    config["model"]["phases"] = [
        {**phases["warmup"], "updates": updates // 2},
        {**phases["afsft_offline"], "updates": updates // 2, "priority": 0.5},
    ]
    folder = store.with_name(f"{store.name}-run-{time.time_ns()}")
    config["trainer"] |= {
        "default_root_dir": str(folder), "checkpoint_every": EVERY_UPDATES, "val_check_interval": updates // 2,
        "enable_progress_bar": False,
    }  # fmt: skip
    config["data"] |= {"dataset": str(store), "collect": None}
    config["data"]["evaluation"] |= {"episodes": 8, "final_episodes": 8}
    folder.mkdir()
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    run(["fit", "--config", str(path)])
    return found


if __name__ == "__main__":
    main()
