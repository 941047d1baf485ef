"""A large model on a GPU: fine-tuning against TRL, how much of the GPU it uses, and decoding against `generate`.

    python benchmarks/accelerator.py --peak-tflops 989          # an H100 or H200, bfloat16 without sparsity
    python benchmarks/accelerator.py --quick                    # on a CPU, in the small: its figures mean nothing

The model has the shape of Qwen2.5-VL-3B (or the one that `--shape` names) and untrained weights in bfloat16, written to
a folder and loaded as a checkpoint is. Everybody trains adapters of one rank on the same layers with the same pictures,
texts and replies, batch, AdamW and clipping; the vision tower is frozen. Each run is a process of its own, the
contestants take turns within every round, and what is timed is the updates after the first few.

    ours sft      `vlmq fit`, filter `always`, no critic
    ours afsft    `vlmq fit` with critic, targets and filter
    trl           TRL's `SFTTrainer` with PEFT, on rows that are already encoded; gradient checkpointing off, as ours

Model FLOPs utilisation counts, for each position, 2 FLOPs for each weight of the language model in the forward pass and
2 in the backward pass, which passes gradients on and makes none for frozen weights; for each patch 2 for each weight of
the tower, which runs anew on a GPU. Attention's own products, adapters and heads are left out, so it errs on the low
side. Decoding is 16 prompts of one picture each, greedily, with no token that ends a reply, prefill included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Figures, alternate, child, ratio, table
from throughput_config import PHASES, TRAINER

RUNS = ("ours sft", "ours afsft", "trl")
DECODERS = ("ours", "generate")
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "3b": {
        "text": {
            "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        },
        "vision": {
            "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
            "out_hidden_size": 2048, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
        },
    },
    "tiny": {
        "text": {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 2048, "max_position_embeddings": 4096,
            "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
        },
        "vision": {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "patch_size": 14,
            "out_hidden_size": 32, "window_size": 112, "fullatt_block_indexes": [1],
        },
    },
}  # fmt: skip
"""3b: the published configuration of Qwen2.5-VL-3B (arXiv 2502.13923), whose token embeddings are tied."""
EPISODES = 256
NUM_PROMPTS = 16
CLOSE = 0.02
"""How far the first losses may lie apart, relative to their size: bfloat16 in another order of sums."""
TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|assistant|>' if message['role'] == 'assistant' else '<|user|>' -}}"
    "{%- for part in message['content'] -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' if part['type'] == 'image' else part['text'] -}}"
    "{%- endfor -%}{{- '<|end|>' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
CONFIG = (
    TRAINER
    + """\
model:
  backbone: {model}
  dtype: bfloat16
  lora: {{rank: {rank}, alpha: {alpha}}}
  freeze_vision: true
  max_reply: 16
  learning_rate: 1.0e-4
  weight_decay: 0.0
  warmup_updates: 0
  phases: [{phase}]
data:
  env: null/Null-v0
  env_args: {{turns: 1, varied: true, side: {side}}}
  batch_size: {batch}
  dataset: {dataset}
  collect: {{policy: random, episodes: {episodes}}}
  evaluation: {{episodes: 4, final_episodes: 4}}
"""
)
RANK, ALPHA = 16, 32


def main() -> None:
    """Compare the first losses and the replies, time the rounds, print the ratios last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="3b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--peak-tflops", type=float, help="of the device in bfloat16; without it, no utilisation is told"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=16)
    parser.add_argument("--skip", type=int, default=4, help="first updates that are not timed")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=448, help="of the pictures, in pixels")
    parser.add_argument("--tokens", type=int, default=32, help="of a reply that is decoded")
    parser.add_argument("--quick", action="store_true", help="a tiny shape on the CPU, one short round")
    parser.add_argument("--run", choices=(*RUNS, *DECODERS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.shape, arguments.device, arguments.side, arguments.tokens = "tiny", "cpu", 56, 8
        arguments.rounds, arguments.updates, arguments.skip, arguments.batch = 1, 6, 2, 4
    if arguments.run:
        run = run_ours if arguments.run in PHASES else run_trl if arguments.run == "trl" else decode
        print(json.dumps(run(arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="vlmq-accelerator-") as folder:
        arguments.folder = Path(folder)
        sizes = make_model(arguments.folder / "model", arguments.shape, arguments.side, arguments.device)
        lines = training(arguments, sizes) + decoding(arguments)
    print("\n" + "\n".join(lines))


def training(arguments: argparse.Namespace, sizes: dict[str, int]) -> list[str]:
    """The lines with the ratios of fine-tuning."""
    first = start(arguments, "ours sft")
    (arguments.folder / "places.json").write_text(json.dumps(first["places"]))
    theirs = start(arguments, "trl")
    one, other = first["losses"][0], theirs["losses"][0]
    if first["tokens"] != theirs["tokens"] or not abs(one - other) < CLOSE * max(abs(one), 0.05):
        raise SystemExit(f"trl learns something else: a first loss of {other:.4f}, ours {one:.4f}")
    print(f"trl: the first loss is ours, {other:.4f} and {one:.4f}", flush=True)
    memory: Figures = {name: [] for name in RUNS}
    busy: Figures = {name: [] for name in RUNS}

    def timed(name: str) -> float:
        told = start(arguments, name)
        memory[name].append(told["gpu_mb"])
        positions, patches = first["positions"][arguments.skip + 1 :], sizes["patches"] * arguments.batch
        each = 4 * sizes["language"] * np.mean(positions) + 2 * sizes["vision"] * patches
        busy[name].append(each * told["updates_per_s"] / 1e12)
        return float(told["tokens_per_s"])

    rates = alternate(
        {name: partial(lambda _, name: timed(name), name=name) for name in RUNS}, arguments.rounds, "tokens/s"
    )
    for figures, unit in ((rates, "reply tokens/s"), (memory, "MB peak on the device"), (busy, "TFLOP/s")):
        print(table(figures, unit))
    lines = [
        line
        for ours in PHASES
        for line in (
            f"tokens/s, {ours} over trl: {ratio(rates, ours, 'trl')}",
            f"memory, {ours} over trl: {ratio(memory, ours, 'trl')}" if arguments.device != "cpu" else "",
        )
    ]
    lines.append(f"tokens/s, ours afsft over ours sft: {ratio(rates, 'ours afsft', 'ours sft')}")
    if arguments.peak_tflops:
        lines += [
            f"model FLOPs utilisation, {name}: {100 * float(np.median(busy[name])) / arguments.peak_tflops:.1f} %"
            for name in RUNS
        ]
    return [line for line in lines if line]


def decoding(arguments: argparse.Namespace) -> list[str]:
    """The line with the ratio of decoding."""
    said = {name: start(arguments, name)["said"] for name in DECODERS}
    same = np.mean([a == b for a, b in zip(said["ours"], said["generate"], strict=True)])
    print(f"generate: {100 * same:.0f} % of the first tokens are ours (bfloat16 has ties)", flush=True)
    rates = alternate(
        {
            name: partial(lambda _, name: float(start(arguments, name)["tokens_per_s"]), name=name)
            for name in DECODERS
        },
        arguments.rounds,
        "tokens/s",
    )
    print(table(rates, "tokens/s decoded"))
    return [
        f"decoding {NUM_PROMPTS} prompts: tokens/s, ours over generate: {ratio(rates, 'ours', 'generate')}"
    ]


def start(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """One run in a process of its own."""
    return child(
        __file__, "--run", name, "--folder", arguments.folder, "--shape", arguments.shape, "--device", arguments.device,
        "--updates", arguments.updates, "--skip", arguments.skip, "--batch", arguments.batch, "--side", arguments.side,
        "--tokens", arguments.tokens,
    )  # fmt: skip


def make_model(folder: Path, shape: str, side: int, device: str) -> dict[str, int]:
    """Untrained weights of the shape, with a processor; weights of each part, and patches of a picture."""
    import torch
    import transformers as hf
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from vlmq_model_tiny.vocabulary import build_tokenizer

    from vlmq.prompt.processor import pictures_only

    base = build_tokenizer(1)
    marks = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    every = ["<|vision_start|>", "<|vision_end|>", *marks.values()]
    base.add_special_tokens({"additional_special_tokens": every})
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=base.backend_tokenizer, eos_token=base.eos_token, pad_token=base.pad_token,
        additional_special_tokens=every, extra_special_tokens=marks,
    )  # fmt: skip
    sizes = SHAPES[shape]
    patch = sizes["vision"]["patch_size"]
    area = {"shortest_edge": side * side, "longest_edge": side * side}
    processor = pictures_only(hf.Qwen2_5_VLProcessor)(
        Qwen2VLImageProcessorPil(patch_size=patch, merge_size=2, size=area),
        tokenizer,
        None,
        chat_template=TEMPLATE,
    )
    tokens = {
        "image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
    }  # fmt: skip
    config = hf.Qwen2_5_VLConfig(
        vision_config=sizes["vision"],
        text_config={
            **sizes["text"], "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        tie_word_embeddings=True,
        **{name: tokenizer.convert_tokens_to_ids(mark) for name, mark in tokens.items()},
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        model = hf.Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    vision = sum(value.numel() for name, value in model.named_parameters() if ".visual." in f".{name}")
    whole = sum(value.numel() for value in model.parameters())
    return {"vision": vision, "language": whole - vision, "patches": (side // patch) ** 2}


# ---- in a process of its own


def run_ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """`vlmq fit`, as a person runs it."""
    from throughput import fit_null
    from throughput_watch import Watch

    folder: Path = arguments.folder
    text = CONFIG.format(
        model=folder / "model", accelerator="cpu" if arguments.device == "cpu" else "gpu", batch=arguments.batch,
        side=arguments.side, dataset=folder / "dataset", episodes=EPISODES, rank=RANK, alpha=ALPHA,
        phase=PHASES[arguments.run].format(updates=arguments.updates),
    )  # fmt: skip
    told = fit_null(folder, text, arguments.skip)
    about = {"positions": Watch.positions, "gpu_mb": peak_mb(arguments.device)}
    return {**told, **about, "updates_per_s": updates_per_s(Watch.ended, arguments.skip)}


def run_trl(arguments: argparse.Namespace) -> dict[str, Any]:
    """TRL's trainer with PEFT's adapters on the layers that ours have them on."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from throughput import AS_IT_IS, encoded, labelled, rate, settings_of, train
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForImageTextToText
    from trl import SFTConfig, SFTTrainer

    from vlmq.model.backbone import LoraSettings

    torch.set_num_threads(1)
    encoder, rows = encoded(arguments.folder)
    places = json.loads((arguments.folder / "places.json").read_text())

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        return labelled(encoder, rows, examples)

    model = AutoModelForImageTextToText.from_pretrained(arguments.folder / "model", dtype=torch.bfloat16)
    own = LoraSettings()
    model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=own.target_modules))
    examples = Dataset.from_dict({"place": [place for update in places for place in update]})
    on_cpu = arguments.device == "cpu"
    settings = settings_of(arguments) | {"use_cpu": on_cpu, "bf16": not on_cpu}
    kind = type(
        "Ordered", (SFTTrainer,), {"_get_train_sampler": lambda *_, **__: SequentialSampler(examples)}
    )
    trainer = kind(
        model=model,
        args=SFTConfig(**settings, **AS_IT_IS),
        train_dataset=examples,
        data_collator=collate,
        processing_class=encoder.processor,
    )
    losses, ended, _ = train(trainer)
    tokens = [sum(rows[place].reply for place in update) for update in places]
    about = {"gpu_mb": peak_mb(arguments.device), "losses": losses, "tokens": tokens}
    return {
        **about,
        "tokens_per_s": rate(ended, tokens, arguments.skip),
        "updates_per_s": updates_per_s(ended, arguments.skip),
    }


def decode(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of one batch of prompts, and the first token of each reply."""
    import torch
    from transformers import AutoModelForImageTextToText

    from vlmq.data.batch import context_row
    from vlmq.data.store import EpisodeStore
    from vlmq.model.backbone import load_backbone
    from vlmq.model.generate import Sampling, sample_replies
    from vlmq.prompt.encode import Encoder

    torch.set_num_threads(1)
    encoder = Encoder.load(arguments.folder / "model")
    with EpisodeStore.open(arguments.folder / "dataset") as store:
        shown = [store[place].turns[0].observation for place in range(NUM_PROMPTS)]
    rows = [context_row([encoder.prompt(observation, first=True)], []) for observation in shown]
    inputs = {name: value.to(arguments.device) for name, value in encoder.collate(rows, left=True).items()}
    if arguments.run == "ours":
        backbone = (
            load_backbone(str(arguments.folder / "model"), dtype="bfloat16").to(arguments.device).eval()
        )
        sampling = Sampling(arguments.tokens, 0.0, -1, encoder.pad_id, encoder.banned_ids)

        def reply() -> list[list[int]]:
            ids = sample_replies(backbone, inputs, np.zeros((NUM_PROMPTS, 1), np.int64), sampling)[0]
            return [one.tolist() for one in ids]
    else:
        model = AutoModelForImageTextToText.from_pretrained(arguments.folder / "model", dtype=torch.bfloat16)
        model = model.to(arguments.device).eval()
        model.generation_config.eos_token_id = None
        theirs = {name: value for name, value in inputs.items() if name != "reply_mask"}

        def reply() -> list[list[int]]:
            made = model.generate(
                **theirs, max_new_tokens=arguments.tokens, do_sample=False, pad_token_id=encoder.pad_id,
                suppress_tokens=sorted(encoder.banned_ids),
            )  # fmt: skip
            found: list[list[int]] = made[:, theirs["input_ids"].shape[1] :].tolist()
            return found

    with torch.inference_mode():
        reply()
        started = time.perf_counter()
        said = reply()  # its ids are on the host, so the device is done
        taken = time.perf_counter() - started
    return {"said": [ids[0] for ids in said], "tokens_per_s": NUM_PROMPTS * arguments.tokens / taken}


def updates_per_s(ended: list[float], skip: int) -> float:
    """From the end of update `skip` to the end of the last."""
    return (len(ended) - 1 - skip) / (ended[-1] - ended[skip])


def peak_mb(device: str) -> float:
    """Of what this process has allocated on the device; nothing is counted on a CPU."""
    import torch

    return 0.0 if device == "cpu" else torch.cuda.max_memory_allocated() / 1e6


if __name__ == "__main__":
    main()
