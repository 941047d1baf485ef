"""Random fragments of stored episodes as arrays: our store against Minari, Hugging Face `datasets` and TorchRL.

    python benchmarks/replay.py [--sizes 64 720] [--rounds 7] [--seconds 3] [--folder DIR] [--quick]

The same episodes for everybody: 10,000 of five turns with 64 x 64 pictures, 500 of two turns with 1280 x 720 ones,
all different, flat areas and text-like strokes like those of a screen, one part with the noise of a photograph. Our
own `vlmq.data.convert` writes Minari's and `datasets`' sets; 12 GB of disk are needed for the larger size. A fragment
is a whole episode, pictures before and after every turn, rewards and replies: Minari and `datasets` read whole
episodes whatever is wanted of them, so anything shorter would be to our advantage alone. Everybody runs in one thread
of this process, in rounds that alternate, from a warm page cache as far as memory holds it; before that, each one's
pictures are compared with what was stored.

Contestants and their settings (a peer counts at the best of its own in the same run):

    ours                `EpisodeStore.read`, lossless
    minari item         `dataset[i]`; jpeg_encoding=False: lossless, and not Minari's default
    minari batch        `dataset.storage.get_episodes` of a whole batch, one opening of the file; lossless
    minari jpeg         as `minari batch`, jpeg_encoding=True: Minari's default, NOT lossless, kept out of "the best"
    datasets item       `dataset[i]` of the columns that hold what ours gives, PNG decoded by Pillow; lossless
    datasets batch      `dataset[[i, ...]]` of the same
    torchrl slices      LazyMemmapStorage and SliceSampler with cached trajectory ends; raw, so lossless; one row an
                        observation, the last one's too, so that no picture is stored twice
    torchrl one slice   the same, one slice a call

Memory is measured in a process each (peak while it draws for as long as in a round): PSS, which counts pages of
mapped files while they are mapped, and what no file backs. Bytes on disk are those of allocated blocks; `datasets`
reads from a copy in Arrow's format that it makes at the first loading, told apart from the Parquet files.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from side_by_side import Peak, alternate, best, child, memory_mb, ratio, table

from vlmq.api import Episode, Observation, Turn
from vlmq.data.convert import convert
from vlmq.data.store import EpisodeStore

Picture = NDArray[np.uint8]
Fragments = list[tuple[int, Picture]]
"""Index of each drawn episode, and its pictures (K + 1, H, W, 3)."""

SETS = {"64": (64, 64, 5, 10_000), "720": (720, 1280, 2, 500)}
"""Height, width, turns and episodes."""
QUICK = {"64": 200, "720": 6}
MINARI = ("minari item", "minari batch")
DATASETS = ("datasets item", "datasets batch")
TORCHRL = ("torchrl slices", "torchrl one slice")
NAMES = ("ours", *MINARI, "minari jpeg", *DATASETS, *TORCHRL)
BATCH = 8


def main() -> None:
    """Write the sets, compare what is read, measure, and print the ratios last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=tuple(SETS), default=list(SETS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each contestant each round")
    parser.add_argument("--episodes", type=int, help="of each size, in place of 10,000 and 500")
    parser.add_argument("--folder", type=Path, help="where the sets are made and kept; else they are deleted")
    parser.add_argument("--quick", action="store_true", help="few episodes, two short rounds")
    parser.add_argument("--memory-of", choices=NAMES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = min(arguments.rounds, 2), min(arguments.seconds, 0.3)
    if arguments.memory_of:
        print(json.dumps(memory(arguments.memory_of, arguments.folder, arguments.seconds)))
        return
    with tempfile.TemporaryDirectory(prefix="vlmq-replay-") as temporary:
        told = [line for size in arguments.sizes for line in measure(size, arguments, Path(temporary))]
    print("\n" + "\n".join(told))


def measure(size: str, arguments: argparse.Namespace, temporary: Path) -> list[str]:
    """The lines with the ratios of one size of pictures."""
    height, width, turns, count = SETS[size]
    count = arguments.episodes or (QUICK[size] if arguments.quick else count)
    folder = (arguments.folder or temporary) / f"{size}-{count}"
    print(f"\n{count:,} episodes of {turns} turns, {width} x {height}", flush=True)
    make(folder, height, width, turns, count)
    draws = {name: OPENERS[name](folder) for name in NAMES}
    for name, draw in draws.items():
        compare(name, draw, folder)
    rates = alternate(
        {
            name: lambda number, draw=draw: rate(draw, number, arguments.seconds)
            for name, draw in draws.items()
        },
        arguments.rounds,
        "episodes/s",
    )
    print(table(rates, "episodes/s"))
    told_all = ("--folder", folder, "--seconds", arguments.seconds)
    used = {name: child(__file__, "--memory-of", name, *told_all) for name in NAMES}
    for name, told in used.items():
        print(
            f"{name:28} peak PSS {told['pss']:.0f} MB, of it without a file {told['anonymous']:.0f} MB; more "
            f"than after its imports: {told['pss_more']:.0f} and {told['anonymous_more']:.0f} MB"
        )
    disk = {part: bytes_in(folder / part) for part in ("store", "minari", "jpeg", "hf", "cache", "memmap")}
    print("on disk, MB:", ", ".join(f"{part} {size_b / 1e6:,.1f}" for part, size_b in disk.items()))
    lines = [
        f"{size}: sampling, ours over {peer}: {ratio(rates, 'ours', peer)}"
        for peer in (best(rates, list(group)) for group in (MINARI, DATASETS, TORCHRL))
    ]
    lines.append(f"{size}: sampling, ours over minari jpeg (lossy): {ratio(rates, 'ours', 'minari jpeg')}")
    lossless = [name for name in NAMES if name not in ("ours", "minari jpeg")]
    for kind, what in (("pss", "PSS"), ("anonymous", "memory that no file backs")):
        leanest = min(lossless, key=lambda name: float(used[name][kind]))
        share = used["ours"][kind] / used[leanest][kind]
        lines.append(f"{size}: {what}, ours over the leanest peer ({leanest}): {share:.2f}")
    parts = ("hf", "minari", "memmap")
    lines += [f"{size}: bytes on disk, ours over {part}: {disk['store'] / disk[part]:.2f}" for part in parts]
    return lines


# ---- the sets


def make(folder: Path, height: int, width: int, turns: int, count: int) -> None:
    """All the sets, where they are not there yet; what was interrupted is begun again under another name."""
    if (folder / "made").exists():
        return
    folder.mkdir(parents=True)
    with EpisodeStore.create(folder / "store", {}) as store:
        for index in range(count):
            store.append(episode(index, height, width, turns))
    convert(folder / "store", folder / "hf", target_format="hf")
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
    (folder / "minari").mkdir()
    convert(folder / "store", "replay/lossless-v0", target_format="minari")
    make_jpeg(folder)
    make_memmap(folder, height, width, turns, count)
    (folder / "made").touch()


def episode(index: int, height: int, width: int, turns: int) -> Episode:
    """A screen on which a part changes from turn to turn: a pure function of the arguments."""
    rng = np.random.default_rng(index)
    screen = np.empty((height, width, 3), np.uint8)
    screen[:] = rng.integers(200, 256, 3)
    for _ in range(12):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        tall, wide = int(rng.integers(2, height // 3)), int(rng.integers(2, width // 2))
        screen[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
    strokes = rng.random((height // 4, width // 2)) < 0.4
    text = screen[height // 2 : height // 2 + strokes.shape[0], : strokes.shape[1]]
    text[strokes] = rng.integers(0, 80, 3)
    photo = screen[: height // 4, : width // 4]
    ramp = np.linspace(40, 200, photo.shape[1])[None, :, None]
    photo[:] = ramp + rng.normal(0, 3, photo.shape)
    pictures = []
    for _ in range(turns + 1):
        top, left = int(rng.integers(height - height // 8)), int(rng.integers(width - width // 8))
        screen = screen.copy()
        screen[top : top + height // 8, left : left + width // 8] = rng.integers(0, 256, 3)
        pictures.append(screen)
    played = tuple(
        Turn(
            Observation(f"task {index}, turn {k}", pictures[k]), '{"action": "click"}', "click", float(k == turns - 1),
            reply_ids=rng.integers(0, 1000, 12).astype(np.int32),
            logprobs=-rng.random(12).astype(np.float32), source="random",
        )
        for k in range(turns)
    )  # fmt: skip
    last = Observation("done", pictures[turns])
    return Episode(
        "bench/Screen-v0", index, played, last, True, False, True, "random", index, tokenizer="bench"
    )


def make_jpeg(folder: Path) -> None:
    """The Minari set again with Minari's default for pictures, read and written by Minari alone."""
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    lossless = minari.load_dataset("replay/lossless-v0").storage
    storage = MinariStorage.new(
        folder / "jpeg", lossless.observation_space, lossless.action_space, data_format="hdf5"
    )

    def buffers() -> Iterator[Any]:
        for number in range(int(lossless.total_episodes)):
            (content,) = lossless.get_episodes([number])
            content = {**content, "infos": None}
            yield EpisodeBuffer(**content)

    storage.update_metadata({"dataset_id": "replay/jpeg-v0", "minari_version": minari.__version__})
    storage.update_episodes(buffers())


def make_memmap(folder: Path, height: int, width: int, turns: int, count: int) -> None:
    """One row an observation in TorchRL's memory-mapped storage."""
    storage = memmap(folder, count * (turns + 1))
    store = EpisodeStore.open(folder / "store")
    for number in range(count):
        storage.set(range(number * (turns + 1), (number + 1) * (turns + 1)), rows(store[number]))
    storage.dumps(folder / "memmap" / "state")


def rows(played: Episode) -> Any:
    """An episode as TorchRL keeps it."""
    import torch
    from tensordict import TensorDict

    count = played.num_turns + 1
    last = played.turns[-1]
    shown = [*played.turns, last]
    return TensorDict(
        {
            "episode": torch.full((count,), played.index),
            "image": torch.from_numpy(
                np.stack([o.image for o in played.observations if o.image is not None])
            ),
            "reward": torch.tensor([turn.reward for turn in shown]),
            "reply_ids": torch.from_numpy(np.stack([turn.reply_ids for turn in shown])),
            "logprobs": torch.from_numpy(np.stack([turn.logprobs for turn in shown])),
        },
        batch_size=[count],
    )


def memmap(folder: Path, size: int) -> Any:
    """An empty storage in the folder."""
    from torchrl.data import LazyMemmapStorage

    return LazyMemmapStorage(size, scratch_dir=str(folder / "memmap"), existsok=True)


def bytes_in(folder: Path) -> int:
    """Allocated on disk."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


# ---- the contestants: each opens its set and gives a function that draws that many episodes at random

Draw = Callable[[np.random.Generator], Fragments]


def ours(folder: Path) -> Draw:
    """The episode store."""
    store = EpisodeStore.open(folder / "store")
    lengths = store.table["num_turns"].tolist()

    def draw(rng: np.random.Generator) -> Fragments:
        found = []
        for number in rng.integers(len(store), size=BATCH).tolist():
            turns, following = store.read(number, 0, lengths[number])
            assert following is not None
            shown = [*(turn.observation for turn in turns), following]
            found.append((number, np.stack([o.image for o in shown if o.image is not None])))
        return found

    return draw


def minari_set(folder: Path, jpeg: bool, batched: bool) -> Draw:
    """Minari's own reading."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
    import minari
    from minari.dataset.minari_storage import MinariStorage

    dataset = None if jpeg else minari.load_dataset("replay/lossless-v0")
    storage = MinariStorage.read(folder / "jpeg") if dataset is None else dataset.storage
    count = int(storage.total_episodes)

    def draw(rng: np.random.Generator) -> Fragments:
        drawn = rng.integers(count, size=BATCH).tolist()
        if batched or dataset is None:
            return [(e["id"], e["observations"]["image"]) for e in storage.get_episodes(drawn)]
        return [(number, dataset[number].observations["image"]) for number in drawn]

    return draw


def datasets_set(folder: Path, batched: bool) -> Draw:
    """Hugging Face's own reading of the Parquet files."""
    import datasets

    datasets.disable_progress_bars()
    wanted = ["index", "images", "final_image", "turns"]
    found = datasets.load_dataset(str(folder / "hf"), split="train", cache_dir=str(folder / "cache"))
    dataset = found.select_columns(wanted)

    def draw(rng: np.random.Generator) -> Fragments:
        drawn = rng.integers(len(dataset), size=BATCH).tolist()
        if batched:
            table = dataset[drawn]
            rows_of = [
                dict(zip(wanted, row, strict=True)) for row in zip(*(table[n] for n in wanted), strict=True)
            ]
        else:
            rows_of = [dataset[number] for number in drawn]
        return [
            (row["index"], np.stack([np.asarray(image) for image in (*row["images"], row["final_image"])]))
            for row in rows_of
        ]

    return draw


def torchrl_set(folder: Path, slices: int) -> Draw:
    """Slices of TorchRL's storage; it draws them with its own generator."""
    import torch
    from torchrl.data import TensorDictReplayBuffer
    from torchrl.data.replay_buffers.samplers import SliceSampler

    store = EpisodeStore.open(folder / "store")
    length, size = int(store.table["num_turns"][0]) + 1, len(store)
    store.close()
    storage = memmap(folder / "opened", size * length)
    storage.loads(folder / "memmap" / "state")
    sampler = SliceSampler(
        num_slices=slices, traj_key="episode", strict_length=True, cache_values=True, use_gpu=False
    )
    buffer = TensorDictReplayBuffer(storage=storage, sampler=sampler, batch_size=slices * length)

    def draw(rng: np.random.Generator) -> Fragments:
        torch.manual_seed(int(rng.integers(2**31)))
        found: Fragments = []
        for _ in range(BATCH // slices):
            drawn = buffer.sample().reshape(slices, length)
            pictures, numbers = drawn["image"].numpy(), drawn["episode"][:, 0].tolist()
            found += list(zip(numbers, pictures, strict=True))
        return found

    return draw


OPENERS: dict[str, Callable[[Path], Draw]] = {
    "ours": ours,
    "minari item": lambda folder: minari_set(folder, jpeg=False, batched=False),
    "minari batch": lambda folder: minari_set(folder, jpeg=False, batched=True),
    "minari jpeg": lambda folder: minari_set(folder, jpeg=True, batched=True),
    "datasets item": lambda folder: datasets_set(folder, batched=False),
    "datasets batch": lambda folder: datasets_set(folder, batched=True),
    "torchrl slices": lambda folder: torchrl_set(folder, BATCH),
    "torchrl one slice": lambda folder: torchrl_set(folder, 1),
}


# ---- measuring


def compare(name: str, draw: Draw, folder: Path) -> None:
    """Whether one draw's pictures are those that were stored; the lossy set's must be near them."""
    store = EpisodeStore.open(folder / "store")
    for number, pictures in draw(np.random.default_rng(0)):
        stored = np.stack([o.image for o in store[number].observations if o.image is not None])
        same = np.array_equal(stored, pictures)
        if name == "minari jpeg":
            same = stored.shape == pictures.shape and np.abs(stored.astype(int) - pictures).mean() < 20
        if not same:
            raise SystemExit(f"{name}: episode {number} does not come back as it was stored")


def rate(draw: Draw, number: int, seconds: float) -> float:
    """Episodes a second."""
    rng = np.random.default_rng(number)
    done, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        done += len(draw(rng))
    return done / taken


def memory(name: str, folder: Path, seconds: float) -> dict[str, float]:
    """Peak memory of drawing for so long, and how much more that is than right after the imports."""
    IMPORTS.get(name.split()[0], lambda: None)()
    before = memory_mb()
    with Peak() as peak:
        rate(OPENERS[name](folder), 1, seconds)
    more = {"pss_more": peak.pss - before[0], "anonymous_more": peak.anonymous - before[1]}
    return {"pss": peak.pss, "anonymous": peak.anonymous, **more}


def _import_minari() -> None:
    import h5py  # noqa: F401
    import minari  # noqa: F401


def _import_datasets() -> None:
    import datasets  # noqa: F401


def _import_torchrl() -> None:
    import torchrl.data  # noqa: F401


IMPORTS = {"minari": _import_minari, "datasets": _import_datasets, "torchrl": _import_torchrl}


if __name__ == "__main__":
    main()
