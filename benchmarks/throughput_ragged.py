"""Reply tokens a second on ragged trajectories of 2 to 20 turns: `vlmq fit`, packed, against the peers' ways with them.

    python benchmarks/throughput_ragged.py [--vocabularies 32768 1024] [--rounds 5] [--updates 24] [--quick]
    python benchmarks/throughput_ragged.py --grid
    python benchmarks/throughput_ragged.py --curve [--quick]

Weights, optimizer, frozen tower, processes and rounds are those of `throughput.py`; every reply has as many tokens,
every turn its own picture, every prompt the whole episode so far. Useful is what is learnt from: the tokens of replies,
each counted once, however often it was read. An update is `--batch` whole episodes, but for the last contestant.

    ours sft         `vlmq fit`: an episode is one sequence, and sequences share rows (`data.packed`)
    ours afsft       the same with critic, targets and filter
    trainer          `transformers.Trainer`: an episode is one sequence with labels on all its replies; batches grouped
                     by length (`train_sampling_strategy: group_by_length`)
    trl              TRL's `SFTTrainer`, likewise; it refuses packing and padding-free batches on vision data, of which
                     it is asked each time the losses are compared
    trainer, turns   the common recipe, one sample a turn: the episode up to the turn, with labels on its last reply;
                     batches of `--batch` samples, grouped by length

The peers' rows are encoded before the clock starts; ours are encoded as they come. Before any figure the loss curves of
`ours sft` and of both peers are compared, update by update, on the same batches in the same order; then the peers may
put their batches together as they like. They stand at one point, `BEST`, of a grid of attention implementations and,
for one sample a turn, batches; `--grid` times them all: set `BEST` to what it says before a figure is quoted. (The
other trainers' batch is our update's, and their rows lie in memory, so that loading workers have nothing to do.)

`--curve` is ours alone: an SFT update on episodes of T turns laid out as trajectories that share rows, and as one
sample a turn, for T from 2 to 30. Same code, same weights, same replies; the two take turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import alternate, best, child, ratio, table
from throughput import AS_IT_IS, compare, fit, freeze, make_model, rate, settings_of, take_turns, train
from throughput_config import PHASES, TRAINER

from vlmq.api import Episode, Observation, Turn

OURS = ("ours sft", "ours afsft")
PEERS = ("trainer", "trl")
TURNS = "trainer, turns"
GRID = {name: [(attention, 1) for attention in ("sdpa", "eager")] for name in PEERS}
GRID[TURNS] = [(attention, factor) for attention in ("sdpa", "eager") for factor in (1, 4, 16)]
BEST = dict.fromkeys(GRID, ("sdpa", 1))
"""Attention implementation of each peer, and the factor on `--batch`."""
LEAST, MOST = 2, 20
CURVE = (2, 3, 5, 10, 20, 30)

CONFIG = (
    TRAINER
    + """\
model:
  backbone: {model}
  freeze_vision: true
  history: all
  max_reply: 16
  learning_rate: 1.0e-4
  weight_decay: 0.0
  warmup_updates: 0
  phases: [{phase}]
data:
  batch_size: {batch}
  packed: true
  stream: {{class_path: throughput_ragged.Ragged}}
"""
)


class Ragged:
    """Episodes of 2 to 20 turns, every turn with a picture and a text of its own: a function of the index.

    Args:
        turns: of every episode, where they shall be equal.
    """

    def __init__(self, turns: int | None = None) -> None:
        self._turns = turns
        self._image = np.arange(64 * 64 * 3, dtype=np.int64).astype(np.uint8).reshape(64, 64, 3)

    def episode(self, index: int) -> Episode:
        """The episode with this index."""
        rng = np.random.default_rng(index)
        count = self._turns or int(rng.integers(LEAST, MOST + 1))
        turns = tuple(self._turn(int(rng.integers(4096)), "ab"[int(rng.integers(2))]) for _ in range(count))
        return Episode(
            "null/Null-v0", index, turns, None, terminated=True, truncated=False, success=True,
            source="random", index=index,
        )  # fmt: skip

    def _turn(self, number: int, action: str) -> Turn:
        shown = Observation(f"go {number % 10}", np.roll(self._image, number, (0, 1)))
        return Turn(shown, f'{{"action": "{action}"}}', action, 0.0, source="random")


def main() -> None:
    """Compare the losses, time the rounds, print the ratios last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocabularies", nargs="+", type=int, default=[32768, 1024])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=24)
    parser.add_argument("--skip", type=int, default=4, help="first updates that are not timed")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--curve", action="store_true", help="trajectories against one sample a turn, and nothing else"
    )
    parser.add_argument("--grid", action="store_true", help="time the peers' grid and nothing else")
    parser.add_argument("--quick", action="store_true", help="one short round with the small vocabulary")
    parser.add_argument("--run", choices=(*OURS, *PEERS, TURNS), help=argparse.SUPPRESS)
    parser.add_argument("--attention", default="sdpa", help=argparse.SUPPRESS)
    parser.add_argument("--in-order", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.vocabularies, arguments.rounds = arguments.vocabularies[-1:], 1
        arguments.updates, arguments.skip, arguments.batch = 5, 1, 4
    if arguments.run:
        print(json.dumps(run_ours(arguments) if arguments.run in OURS else run_peer(arguments)))
        return
    lines = []
    what = curve if arguments.curve else grid if arguments.grid else measure
    for vocabulary in arguments.vocabularies:
        with tempfile.TemporaryDirectory(prefix="vlmq-ragged-") as folder:
            arguments.folder = Path(folder)
            make_model(arguments.folder / "model", vocabulary)
            lines += what(arguments, vocabulary)
    print("\n" + "\n".join(lines))


def measure(arguments: argparse.Namespace, vocabulary: int) -> list[str]:
    """The lines with the ratios of one vocabulary."""
    print(f"\nvocabulary {vocabulary}, {arguments.batch} episodes an update", flush=True)
    first = start(arguments, "ours sft")
    for peer in PEERS:
        compare(first, start(arguments, peer, "--in-order"), peer)
    rates, memory = take_turns((*OURS, *PEERS, TURNS), partial(start, arguments), arguments.rounds)
    faster, leaner = best(rates, list(PEERS)), best(memory, list(PEERS), higher=False)
    lines = []
    for ours in OURS:
        lines += [
            f"|V| {vocabulary}: tokens/s, {ours} over {peer}: {ratio(rates, ours, peer)}"
            for peer in dict.fromkeys((faster, "trainer", TURNS))
        ]
        lines.append(
            f"|V| {vocabulary}: PSS, {ours} over {leaner} (the leaner): {ratio(memory, ours, leaner)}"
        )
    return lines


def start(arguments: argparse.Namespace, name: str, *more: str) -> dict[str, Any]:
    """One run in a process of its own; a peer's at its best."""
    attention, factor = BEST.get(name, ("sdpa", 1))
    return at(arguments, name, attention, factor, *more)


def at(arguments: argparse.Namespace, name: str, attention: str, factor: int, *more: str) -> dict[str, Any]:
    """One run in a process of its own, at a point of the grid."""
    return child(
        __file__, "--run", name, "--folder", arguments.folder, "--updates", arguments.updates,
        "--skip", arguments.skip, "--batch", factor * arguments.batch, "--attention", attention, *more,
    )  # fmt: skip


def grid(arguments: argparse.Namespace, vocabulary: int) -> list[str]:
    """The best point of each peer, by tokens a second."""
    print(f"\nvocabulary {vocabulary}, {arguments.batch} episodes an update", flush=True)
    lines = []
    for peer, points in GRID.items():
        names = {f"{attention}, batch x {factor}": (attention, factor) for attention, factor in points}
        turns = {
            name: lambda _, peer=peer, point=point: float(at(arguments, peer, *point)["tokens_per_s"])
            for name, point in names.items()
        }
        rates = alternate(turns, arguments.rounds, f"tokens/s of {peer}")
        print(table(rates, f"tokens/s of {peer}"), flush=True)
        lines.append(f"|V| {vocabulary}: {peer}: best {best(rates, list(names))}")
    return lines


def curve(arguments: argparse.Namespace, vocabulary: int) -> list[str]:
    """The lines with the ratios of trajectories over one sample a turn."""
    import torch

    torch.set_num_threads(1)
    print(f"\nvocabulary {vocabulary}, {arguments.batch} episodes an update", flush=True)
    lines = []
    for turns in CURVE:
        update = Update(arguments.folder / "model", turns, arguments.batch)
        one, other = update(packed=True), update(packed=False)
        if abs(one - other) > 1e-3 * abs(other):
            raise SystemExit(f"{turns} turns: the losses {one} and {other} differ")
        rates = alternate(
            {
                "trajectories": lambda _, u=update: u.rate(packed=True),
                "one sample a turn": lambda _, u=update: u.rate(packed=False),
            },
            arguments.rounds,
            f"reply tokens/s, {turns} turns",
        )
        found = ratio(rates, "trajectories", "one sample a turn")
        lines.append(
            f"|V| {vocabulary}, {turns} turns: tokens/s, trajectories over one sample a turn: {found}"
        )
    return lines


class Update:
    """One batch of episodes of so many turns, and SFT's forward and backward on it in either layout."""

    def __init__(self, folder: Path, turns: int, count: int) -> None:
        from vlmq.data.batch import Fragment, build_batch
        from vlmq.model.actor_critic import ActorCritic
        from vlmq.model.backbone import load_backbone
        from vlmq.model.heads import CriticConfig
        from vlmq.prompt.encode import Encoder
        from vlmq.prompt.window import History

        backbone = load_backbone(str(folder), freeze_vision=True)
        self._agent = ActorCritic(backbone, CriticConfig(1, 4, 4), trunk_gradient=0.0)
        encoder, source = Encoder.load(folder), Ragged(turns)
        fragments = [Fragment(source.episode(index).turns, 0, 0, None, True) for index in range(count)]
        self._batches = {
            packed: build_batch(fragments, encoder, History("all", per_reply=not packed), packed=packed)
            for packed in (True, False)
        }

    def __call__(self, *, packed: bool) -> float:
        """The loss."""
        batch = self._batches[packed]
        output = self._agent(
            batch.inputs, batch.state_row, batch.state_position, batch.tokens, with_critic=False
        )
        loss = -output.log_probs.mean()
        self._agent.zero_grad()
        loss.backward()
        return float(loss.detach())

    def rate(self, *, packed: bool) -> float:
        """Reply tokens a second of one forward and backward."""
        started = time.perf_counter()
        self(packed=packed)
        return len(self._batches[packed].tokens) / (time.perf_counter() - started)


# ---- in a process of its own


def run_ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """`vlmq fit`, as a person runs it."""
    sys.path.insert(0, str(Path(__file__).parent))
    phase = PHASES[arguments.run].format(updates=arguments.updates)
    text = CONFIG.format(
        accelerator="cpu", model=arguments.folder / "model", batch=arguments.batch, phase=phase
    )
    with tempfile.TemporaryDirectory(prefix="run-", dir=arguments.folder) as run:
        return fit(Path(run), text, arguments.skip)


def run_peer(arguments: argparse.Namespace) -> dict[str, Any]:
    """A peer's trainer on the episodes that ours learns from."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText

    from vlmq.data.batch import context_row, reply_ids
    from vlmq.prompt.encode import Encoder

    torch.set_num_threads(1)
    encoder = Encoder.load(arguments.folder / "model")
    rows, spans = [], []
    # One sample a turn makes many samples of an episode, of which no more are encoded than will be read.
    wanted = arguments.updates * arguments.batch
    for index in range(wanted):
        turns = Ragged().episode(index).turns
        segments = [encoder.prompt(turn.observation, first=place == 0) for place, turn in enumerate(turns)]
        replies = [reply_ids(turn, encoder) for turn in turns]
        ends = np.cumsum([len(s.ids) + len(r) for s, r in zip(segments, replies, strict=True)])
        own = [(int(end) - len(reply), int(end)) for end, reply in zip(ends, replies, strict=True)]
        if arguments.run != TURNS:
            rows.append(context_row(segments, replies))
            spans.append(own)
            continue
        for place, span in enumerate(own):
            rows.append(context_row(segments[: place + 1], replies[: place + 1]))
            spans.append([span])
        if len(rows) > 4 * wanted:
            break
    tokens: list[int] = []

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        places = [int(example["place"]) for example in examples]
        batch = encoder.collate([rows[place] for place in places], left=False)
        labels = torch.full_like(batch["input_ids"], -100)
        for row, place in enumerate(places):
            for begin, end in spans[place]:
                labels[row, begin:end] = batch["input_ids"][row, begin:end]
        tokens.append(int((labels >= 0).sum()))
        return {**batch, "labels": labels}

    model = AutoModelForImageTextToText.from_pretrained(
        arguments.folder / "model", dtype=torch.float32, attn_implementation=arguments.attention
    )
    freeze(model)
    examples = Dataset.from_dict({"place": list(range(len(rows))), "length": [len(row.ids) for row in rows]})
    losses, ended, pss = train(_trainer(arguments, model, examples, collate, encoder))
    told = {"losses": losses, "tokens": tokens[: len(ended)], "pss": pss}
    return {**told, "tokens_per_s": rate(ended, tokens, arguments.skip)}


def _trainer(arguments: argparse.Namespace, model: Any, examples: Any, collate: Any, encoder: Any) -> Any:
    """The peer's own trainer: grouped by length, or in order to be compared."""
    settings = settings_of(arguments) | {
        "max_steps": arguments.updates, "dataloader_num_workers": 0,
        "train_sampling_strategy": "sequential" if arguments.in_order else "group_by_length",
    }  # fmt: skip
    if arguments.run != "trl":
        from transformers import Trainer, TrainingArguments

        return Trainer(
            model=model, args=TrainingArguments(**settings), train_dataset=examples, data_collator=collate
        )
    from trl import SFTConfig, SFTTrainer

    def made(data: Any, **more: Any) -> Any:
        config = SFTConfig(
            **settings, **AS_IT_IS, **more,
        )  # fmt: skip
        return SFTTrainer(
            model=model, args=config, train_dataset=data, data_collator=collate,
            processing_class=encoder.processor,
        )  # fmt: skip

    if arguments.in_order:
        refused(made, examples)
    return made(examples)


def refused(made: Callable[..., Any], examples: Any) -> None:
    """TRL packs no pictures; if a later version does, it must be given that."""
    pictures = examples.select([0]).add_column("images", [["a picture"]])
    for way in ("packing", "padding_free"):
        try:
            made(pictures, **{way: True})
        except ValueError as error:
            print(f"trl: {error}", file=sys.stderr)
        else:
            raise SystemExit(f"trl: it has learnt {way} with pictures, and must be measured with it")


if __name__ == "__main__":
    main()
