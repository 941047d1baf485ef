"""Useful reply tokens a second and memory: `vlmq fit` against `transformers.Trainer` and TRL's SFTTrainer.

    python benchmarks/throughput.py [--vocabularies 1024 32768] [--rounds 5] [--updates 30] [--quick]
    python benchmarks/throughput.py --grid

Everybody trains the same small weights (their vocabulary widened where 32,768 is asked for) on the same replies in
the same order, in float32 on one thread, with the same batch, AdamW and clipping, and the vision tower frozen. Each
run is a process of its own; the contestants take turns within every round. What is timed is the updates after the
first few, from the end of one to the end of the last, loading included; memory is the peak of PSS over the whole
training.

    ours sft      `vlmq fit`, filter `always`, no critic: everything is read from the store and encoded as it comes
    ours afsft    `vlmq fit` with critic, targets and filter: the whole update of the method
    trainer       `transformers.Trainer`
    trl           TRL's `SFTTrainer`; it refuses packing and padding-free batches on vision data

The peers get more than they would have by themselves: rows that are already encoded, in memory, padded by a collator
that only stacks. Labels are -100 everywhere but on the replies; that is counted. Before any figure the loss curves of
`ours sft` and of both peers are compared, update by update. The peers stand at one point, `BEST`, of a grid of
attention implementations and loading workers; `--grid` times them all: run it on a quiet machine, and set `BEST` to
what it says, before a figure is quoted. Our tower's features of a picture that was seen before are looked up, as they
are in any run with a frozen tower; `--train-vision` trains the tower on all sides.

Every example is one turn, and all rows have the same length, so nobody pads: "equal padded work". Ragged trajectories
of many turns, with packing on our side and length grouping on theirs, are `throughput_ragged.py`'s.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Figures, Peak, alternate, best, child, ratio, table
from throughput_config import PHASES, TRAINER

OURS = ("ours sft", "ours afsft")
PEERS = ("trainer", "trl")
GRID = tuple((attention, workers) for attention in ("sdpa", "eager") for workers in (0, 2))
BEST: dict[str, tuple[str, int]] = {"trainer": ("sdpa", 0), "trl": ("sdpa", 0)}
"""Attention implementation and loading workers of each peer."""
AS_IT_IS = {
    "max_length": None,
    "gradient_checkpointing": False,
    "dataset_kwargs": {"skip_prepare_dataset": True},
}
"""TRL's settings for rows that need nothing done to them."""
EPISODES = 512
CLOSE = 2e-3
"""How far losses of the same update may lie apart, relative to their size."""

CONFIG = (
    TRAINER
    + """\
model:
  backbone: {model}
  freeze_vision: {frozen}
  max_reply: 16
  learning_rate: 1.0e-4
  weight_decay: 0.0
  warmup_updates: 0
  phases: [{phase}]
data:
  env: null/Null-v0
  env_args: {{turns: 1, varied: true}}
  batch_size: {batch}
  dataset: {dataset}
  collect: {{policy: random, episodes: {episodes}}}
  evaluation: {{episodes: 16, final_episodes: 16}}
"""
)


def main() -> None:
    """Compare the losses, time the rounds, print the ratios last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vocabularies", nargs="+", type=int, default=[1024, 32768])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=30)
    parser.add_argument("--skip", type=int, default=5, help="first updates that are not timed")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--train-vision", action="store_true")
    parser.add_argument("--grid", action="store_true", help="time the peers' grid and nothing else")
    parser.add_argument("--quick", action="store_true", help="one short round with the small vocabulary")
    parser.add_argument("--run", choices=(*OURS, *PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--attention", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.vocabularies, arguments.rounds = arguments.vocabularies[:1], 1
        arguments.updates, arguments.skip, arguments.batch = 8, 2, 16
    if arguments.run:
        print(json.dumps(run_ours(arguments) if arguments.run in OURS else run_peer(arguments)))
        return
    lines = []
    for vocabulary in arguments.vocabularies:
        with tempfile.TemporaryDirectory(prefix="vlmq-throughput-") as folder:
            arguments.folder = Path(folder)
            make_model(arguments.folder / "model", vocabulary)
            lines += grid(arguments) if arguments.grid else measure(arguments, vocabulary)
    print("\n" + "\n".join(lines))


def measure(arguments: argparse.Namespace, vocabulary: int) -> list[str]:
    """The lines with the ratios of one vocabulary."""
    print(f"\nvocabulary {vocabulary}, {arguments.batch} replies an update", flush=True)
    first = start(arguments, "ours sft")
    (arguments.folder / "places.json").write_text(json.dumps(first["places"]))
    for peer in PEERS:
        compare(first, start(arguments, peer), peer)
    rates, memory = take_turns((*OURS, *PEERS), partial(start, arguments), arguments.rounds)
    faster, leaner = best(rates, list(PEERS)), best(memory, list(PEERS), higher=False)
    return [
        line
        for ours in OURS
        for line in (
            f"|V| {vocabulary}: tokens/s, {ours} over {faster} (the faster): {ratio(rates, ours, faster)}",
            f"|V| {vocabulary}: PSS, {ours} over {leaner} (the leaner): {ratio(memory, ours, leaner)}",
        )
    ]


def take_turns(
    names: Sequence[str], start: Callable[[str], dict[str, Any]], rounds: int
) -> tuple[Figures, Figures]:
    """Reply tokens a second and peak memory of everybody's runs, one a round; shown as tables, too."""
    memory: Figures = {name: [] for name in names}

    def timed(name: str) -> float:
        told = start(name)
        memory[name].append(told["pss"])
        return float(told["tokens_per_s"])

    rates = alternate({name: lambda _, name=name: timed(name) for name in names}, rounds, "tokens/s")
    print(table(rates, "reply tokens/s"))
    print(table(memory, "MB peak PSS"))
    return rates, memory


def start(arguments: argparse.Namespace, name: str, point: tuple[str, int] | None = None) -> dict[str, Any]:
    """One run in a process of its own."""
    attention, workers = point or BEST.get(name, ("sdpa", 0))
    vision = ["--train-vision"] if arguments.train_vision else []
    return child(
        __file__, "--run", name, "--folder", arguments.folder, "--updates", arguments.updates,
        "--skip", arguments.skip, "--batch", arguments.batch, "--attention", attention, "--workers", workers,
        *vision,
    )  # fmt: skip


def compare(ours: dict[str, Any], theirs: dict[str, Any], name: str) -> None:
    """Whether a peer learns from as many tokens at the same losses."""
    if ours["tokens"] != theirs["tokens"]:
        raise SystemExit(
            f"{name}: its labels are not the replies: {theirs['tokens']} against {ours['tokens']}"
        )
    one, other = np.array(ours["losses"]), np.array(theirs["losses"])
    apart = float((np.abs(one - other) / np.abs(one).clip(0.05)).max())
    if len(one) != len(other) or not apart < CLOSE:
        raise SystemExit(f"{name}: its losses are not ours:\n{other}\n{one}")
    print(f"{name}: the losses of {len(one)} updates are ours, at most {apart:.1e} apart", flush=True)


def grid(arguments: argparse.Namespace) -> list[str]:
    """Tokens a second of the peers at every point of the grid."""
    first = start(arguments, "ours sft")
    (arguments.folder / "places.json").write_text(json.dumps(first["places"]))
    lines = []
    for peer in PEERS:
        names = {str(point): point for point in GRID}
        rates: Figures = {name: [] for name in names}
        for _ in range(arguments.rounds):
            for name, point in names.items():
                rates[name].append(start(arguments, peer, point)["tokens_per_s"])
        print(table(rates, f"tokens/s of {peer}"), flush=True)
        lines.append(f"{peer}: best {best(rates, list(names))}")
    return lines


def make_model(folder: Path, vocabulary: int) -> None:
    """The small model's weights, with new rows where a larger vocabulary is wanted."""
    import torch
    from transformers import AutoModelForImageTextToText

    from vlmq.model.backbone import locate
    from vlmq.prompt.encode import Encoder

    torch.manual_seed(0)
    source = locate("pkg:vlmq_model_tiny")
    model = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
    if vocabulary != model.config.get_text_config().vocab_size:
        model.resize_token_embeddings(vocabulary)
    model.save_pretrained(folder)
    Encoder.load(source).save(folder, source)


# ---- in a process of its own


def run_ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """`vlmq fit`, as a person runs it."""
    folder: Path = arguments.folder
    text = CONFIG.format(
        accelerator="cpu",
        model=folder / "model", frozen=str(not arguments.train_vision).lower(), batch=arguments.batch,
        dataset=folder / "dataset", episodes=EPISODES,
        phase=PHASES[arguments.run].format(updates=arguments.updates),
    )  # fmt: skip
    return fit_null(folder, text, arguments.skip)


def fit_null(folder: Path, text: str, skip: int) -> dict[str, Any]:
    """`fit` on the null environment, in a folder that is removed; what was drawn is told, too."""
    from null_env import install
    from throughput_watch import Watch

    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as run:
        plugin = Path(run, "plugin")
        plugin.mkdir()
        install(plugin)
        told = fit(Path(run), text, skip)
    return {"places": Watch.places, **told}


def fit(folder: Path, text: str, skip: int) -> dict[str, Any]:
    """`vlmq fit` with a configuration, in this process and one thread: losses, tokens, memory and tokens a second."""
    import contextlib

    import torch
    from throughput_watch import Watch

    from vlmq.cli import main as vlmq

    torch.set_num_threads(1)
    config = folder / "config.yaml"
    config.write_text(text)
    with Peak(0.1) as peak, contextlib.redirect_stdout(sys.stderr):
        code = vlmq(["fit", "--config", str(config), "--trainer.default_root_dir", str(folder / "run")])
    if code:
        raise SystemExit(f"vlmq fit ended with {code}")
    told = {"losses": Watch.losses, "tokens": Watch.tokens, "pss": peak.pss}
    return {**told, "tokens_per_s": rate(Watch.ended, Watch.tokens, skip)}


def run_peer(arguments: argparse.Namespace) -> dict[str, Any]:
    """A peer's trainer on the replies that ours drew."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText

    torch.set_num_threads(1)
    folder: Path = arguments.folder
    encoder, rows = encoded(folder)
    places = json.loads((folder / "places.json").read_text())

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        return labelled(encoder, rows, examples)

    model = AutoModelForImageTextToText.from_pretrained(
        folder / "model", dtype=torch.float32, attn_implementation=arguments.attention
    )
    if not arguments.train_vision:
        freeze(model)
    examples = Dataset.from_dict({"place": [place for update in places for place in update]})
    losses, ended, pss = train(_trainer(arguments, model, examples, collate, encoder))
    tokens = [sum(rows[place].reply for place in update) for update in places]
    labels = [int((collate([{"place": p} for p in update])["labels"] >= 0).sum()) for update in places]
    if labels != tokens:
        raise SystemExit("the labels are not the replies")
    told = {"losses": losses, "tokens": labels, "pss": pss}
    return {**told, "tokens_per_s": rate(ended, tokens, arguments.skip)}


def encoded(folder: Path) -> tuple[Any, list[Any]]:
    """The encoder, and the dataset's turns as rows in the order of their episodes."""
    from vlmq.data.batch import context_row, reply_ids
    from vlmq.data.store import EpisodeStore
    from vlmq.prompt.encode import Encoder

    encoder = Encoder.load(folder / "model")
    with EpisodeStore.open(folder / "dataset") as store:
        order = np.argsort(store.table["index"], kind="stable").tolist()
        turns = [store[position].turns[0] for position in order]
    replies = [reply_ids(turn, encoder) for turn in turns]
    return encoder, [
        context_row([encoder.prompt(turn.observation, first=True)], [reply], reply=len(reply))
        for turn, reply in zip(turns, replies, strict=True)
    ]


def labelled(encoder: Any, rows: list[Any], examples: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows as a peer's batch, labelled at the replies alone."""
    batch = encoder.collate([rows[int(example["place"])] for example in examples], left=False)
    mask = batch.pop("reply_mask").bool()
    return {**batch, "labels": batch["input_ids"].masked_fill(~mask, -100)}


def train(trainer: Any) -> tuple[list[float], list[float], float]:
    """Let a peer train: the loss of each update, when it ended, and the peak of PSS in MB."""
    from transformers import TrainerCallback

    ended: list[float] = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ended.append(time.perf_counter())

    trainer.add_callback(Watch())
    with Peak(0.1) as peak:
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], ended, peak.pss


def _trainer(arguments: argparse.Namespace, model: Any, examples: Any, collate: Any, encoder: Any) -> Any:
    """The peer's own trainer, told to keep the order of the examples."""
    from torch.utils.data import SequentialSampler

    settings = settings_of(arguments) | {"dataloader_num_workers": arguments.workers}

    def in_order(self: Any, *_: Any, **__: Any) -> Any:
        return SequentialSampler(examples)

    if arguments.run == "trainer":
        from transformers import Trainer, TrainingArguments

        kind = type("Ordered", (Trainer,), {"_get_train_sampler": in_order})
        return kind(
            model=model, args=TrainingArguments(**settings), train_dataset=examples, data_collator=collate
        )
    from trl import SFTConfig, SFTTrainer

    kind = type("Ordered", (SFTTrainer,), {"_get_train_sampler": in_order})
    config = SFTConfig(
        **settings,
        **AS_IT_IS,
    )
    return kind(
        model=model,
        args=config,
        train_dataset=examples,
        data_collator=collate,
        processing_class=encoder.processor,
    )


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What both peers' trainers are told."""
    return {
        "output_dir": tempfile.mkdtemp(dir=arguments.folder), "per_device_train_batch_size": arguments.batch,
        "num_train_epochs": 1, "learning_rate": 1e-4, "lr_scheduler_type": "constant", "weight_decay": 0.0,
        "adam_beta1": 0.9, "adam_beta2": 0.98, "max_grad_norm": 1.0, "logging_steps": 1, "save_strategy": "no",
        "report_to": [], "use_cpu": True, "bf16": False, "remove_unused_columns": False, "disable_tqdm": True,
        "dataloader_pin_memory": False, "seed": 1,
    }  # fmt: skip


def freeze(model: Any) -> None:
    """Keep the vision tower as it is."""
    from vlmq.model.backbone import VISION_NAMES

    for name, value in model.named_parameters():
        if any(part in VISION_NAMES for part in name.split(".")):
            value.requires_grad_(False)


def rate(ended: list[float], tokens: list[int], skip: int) -> float:
    """Reply tokens a second from the end of update `skip` to the end of the last."""
    return sum(tokens[skip + 1 : len(ended)]) / (ended[-1] - ended[skip])


if __name__ == "__main__":
    main()
