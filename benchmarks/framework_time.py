"""Time of the framework itself a turn: neither environment nor model, at 16 environments.

    python benchmarks/framework_time.py [--workers]

A null environment (one picture, one text, nothing computed) is played by a policy that reads every context and
replies a constant. What remains is the pool, the bridge, TorchRL's collector, encoding, parsing and assembly.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from null_env import install

from vlmq.model.backbone import locate
from vlmq.prompt.encode import Encoder
from vlmq.rollout.collector import Player
from vlmq.rollout.policies import Context, Reply, scripted_reply


class Constant:
    """Replies the same to every context."""

    reads_context = True

    def __init__(self, encoder: Encoder) -> None:
        self._reply = scripted_reply(encoder.reply('{"action": "a"}'), "model")

    def replies(self, contexts: list[Context]) -> list[Reply]:
        return [self._reply for _ in contexts]


def main() -> None:
    """Print microseconds a turn: median and range over rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", action="store_true", help="one process an environment")
    parser.add_argument("--model", default="pkg:vlmq_model_tiny")
    parser.add_argument("--rounds", type=int, default=12)
    arguments = parser.parse_args()
    folder = tempfile.TemporaryDirectory()
    install(Path(folder.name))
    encoder = Encoder.load(locate(arguments.model))
    times: list[float] = []
    with Player("null/Null-v0", 16, encoder, workers=arguments.workers, max_reply=16) as player:
        for number in range(arguments.rounds + 2):
            started = time.perf_counter()
            episodes = range(number * 64, (number + 1) * 64)
            played = list(player.play(Constant(encoder), episodes, lambda index: index, source="null"))
            turns = sum(episode.num_turns for episode in played)
            times.append(1e6 * (time.perf_counter() - started) / turns)
    times = times[2:]
    where = "over workers" if arguments.workers else "in process"
    print(
        f"framework time {where}, 16 environments: {statistics.median(times):.0f} us a turn "
        f"(range {min(times):.0f} to {max(times):.0f} over {len(times)} rounds of 640 turns)"
    )


if __name__ == "__main__":
    main()
