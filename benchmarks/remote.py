"""What the network costs: environments of a server on this machine against local worker processes, side by side.

    python benchmarks/remote.py [--env cards/NumberLine-v0] [--envs 16] [--rounds 6] [--seconds 5] [--quick]

Both pools play random legal actions in lock-step, in rounds that alternate; the ratio of each pair of rounds is that of
their turns a second, and the median over the pairs is what counts. Every turn of the server's environments goes through
JSON and, where the picture changed, PNG, over the loopback interface.
"""

from __future__ import annotations

import argparse
import threading
import time
from statistics import median

import numpy as np

from vlmq.env.pool import Pool, make_pool
from vlmq.env.serve import Server


def main() -> None:
    """Print turns a second both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", default="cards/NumberLine-v0")
    parser.add_argument("--envs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round, each way")
    parser.add_argument("--quick", action="store_true", help="two rounds of a second: does it run?")
    arguments = parser.parse_args()
    rounds, seconds = (2, 1.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    server = Server(
        [arguments.env], host="127.0.0.1", port=0, token="", settings={}, most=arguments.envs, timeout_s=60
    )
    threading.Thread(target=server.run, daemon=True).start()
    there = f"remote://127.0.0.1:{server.port}/{arguments.env}"
    with (
        server,
        make_pool(arguments.env, arguments.envs, workers=True) as local,
        make_pool(there, arguments.envs) as remote,
    ):
        ratios = []
        for number in range(rounds):
            first, second = (local, remote) if number % 2 == 0 else (remote, local)
            turns = {pool: turns_a_second(pool, number, seconds) for pool in (first, second)}
            ratios.append(turns[remote] / turns[local])
            print(
                f"round {number + 1}: local {turns[local]:,.0f}, remote {turns[remote]:,.0f} turns/s",
                flush=True,
            )
    print(
        f"\n{arguments.envs} environments of {arguments.env}: remote over local, median of {rounds} rounds:"
    )
    print(f"{median(ratios):.2f} (lowest {min(ratios):.2f}, highest {max(ratios):.2f}; floor 0.70)")


def turns_a_second(pool: Pool, number: int, seconds: float) -> float:
    """Random legal play in every slot for so long."""
    rng = np.random.default_rng(number)
    steps = pool.reset({slot: 1000 * number + slot for slot in range(pool.num_envs)})
    turns, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        ended = {slot: int(rng.integers(2**31)) for slot, step in steps.items() if step.ended}
        going = {
            slot: str(rng.choice(step.legal_actions or ("",)))
            for slot, step in steps.items()
            if not step.ended
        }
        steps = {**pool.reset(ended), **pool.step(going)}
        turns += len(going)
    return turns / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
