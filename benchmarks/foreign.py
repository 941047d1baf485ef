"""Learning from another model's failures: its play, with tokens of its own, imported; then AFSFT beside SFT on it.

    python benchmarks/foreign.py --tasks numberline textworld --seeds 1 2 3 4 5

For each task a LLaVA is built from its configuration, with random weights and a byte-level BPE tokenizer of its own,
and fine-tuned without a critic on the task's own mixture of play. It then plays, at temperature 1, a dataset for each
seed; that goes out as JSON lines, without its tokens, and comes back as a store whose replies the small VLM tokenises
anew. Both methods learn from the same import, with the settings of `learning.py`. Each step is a command of `vlmq` in a
process of its own; a unit's row is appended to the CSV when it ends, and one that is in the CSV is not run again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from learning import (
    FIELDS,
    ROOT,
    TASKS,
    Changes,
    append,
    command,
    configuration,
    fit,
    read,
    results,
    table,
    vlmq,
)
from tqdm.auto import tqdm

from vlmq.env.registry import make

CSV = ROOT / "benchmarks" / "results" / "foreign.csv"
EXPERT = {"numberline": 0.0, "textworld": 0.2}
"""Tasks, and the expert's share in the play that the other model was fine-tuned on."""
UPDATES = {"numberline": 300, "textworld": 400}
"""Of that fine-tuning."""
METHODS = ("afsft", "sft")
SIDE_PX, PATCH_PX, WIDTH = 64, 8, 96


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=sorted(EXPERT), choices=sorted(EXPERT))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--quick", action="store_true", help="one seed, hardly any updates, nothing kept")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "foreign")
    parser.add_argument("--csv", type=Path, default=CSV)
    arguments = parser.parse_args()
    updates, episodes = None, None
    if arguments.quick:
        arguments.runs, arguments.csv = ROOT / "runs" / "foreign_quick", ROOT / "runs" / "foreign_quick.csv"
        arguments.seeds, updates, episodes = [1], 20, 64
    for task, seed, method in tqdm(
        list(product(arguments.tasks, arguments.seeds, METHODS)), unit="run", disable=None
    ):
        if (task, method, str(seed)) not in {
            (r["task"], r["method"], r["seed"]) for r in read(arguments.csv)
        }:
            dataset = attempts(task, seed, updates, episodes, arguments.runs)
            append(arguments.csv, learn(task, method, seed, updates, dataset, arguments.runs))
    print(table(read(arguments.csv)))


def attempts(task: str, seed: int, updates: int | None, episodes: int | None, runs: Path) -> Path:
    """The imported play of the other model, made where it is not there yet."""
    imported = runs / "datasets" / f"{task}-{seed}"
    if imported.is_dir():
        return imported
    folder = runs / f"{task}-model"
    config = configuration(task, EXPERT[task], "sft", 1, folder / "seen")
    warmup, _ = config["model"]["phases"]
    config["model"] |= {
        "backbone": str(folder / "weights"),
        "phases": [{**warmup, "updates": updates or UPDATES[task], "critic": False}],
        "freeze_vision": False,
    }
    config["trainer"]["val_check_interval"] = updates or 100
    if not (folder / "results.json").is_file():
        build(folder / "weights", task)
        fit(config, folder, seed=0)
    played = runs / f"{task}-played-{seed}"
    shutil.rmtree(played, ignore_errors=True)
    made = TASKS[task].episodes or config["data"]["collect"]["episodes"]
    config["data"]["collect"] = {"policy": "model", "temperature": 1.0, "episodes": episodes or made}
    config["data"]["dataset"] = str(played / "dataset")
    config["trainer"]["default_root_dir"] = str(played)
    config["seed_everything"] = seed
    played.mkdir(parents=True)
    path = played / "collect.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    vlmq("collect", path, played, "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"))
    lines = played / "episodes.jsonl"
    command(played, "data", "convert", str(played / "dataset"), str(lines), "--drop-tokens")
    imported.parent.mkdir(parents=True, exist_ok=True)
    command(played, "data", "convert", str(lines), str(imported))
    return imported


def learn(task: str, method: str, seed: int, updates: int | None, dataset: Path, runs: Path) -> Changes:
    """Train the small VLM on an import and give the unit's row."""
    folder = runs / f"{task}-{seed}-{method}"
    started = time.monotonic()
    config = configuration(task, EXPERT[task], method, updates, dataset)
    config["data"]["collect"] = None
    fit(config, folder, seed)
    rows = {row["name"]: row for row in results(folder / "results.json")}
    return {
        **{field: rows[method].get(field, "") for field in FIELDS},
        "task": task, "expert": "0", "method": method, "seed": seed, "data_success": rows["data"]["success"],
        "minutes": round((time.monotonic() - started) / 60, 2),
    }  # fmt: skip


def build(folder: Path, task: str) -> None:
    """Write a LLaVA with random weights whose tokenizer has learnt its pieces from what is said in the task."""
    import torch
    import transformers as hf
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    words = tokenizer(said(task))
    size = {"height": SIDE_PX, "width": SIDE_PX}
    layers = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4}
    processor = hf.LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": SIDE_PX}, crop_size=size),
        words,
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(
            image_size=SIDE_PX, patch_size=PATCH_PX, num_hidden_layers=2, **layers
        ),
        text_config=hf.LlamaConfig(
            vocab_size=len(words), num_hidden_layers=3, num_key_value_heads=4, max_position_embeddings=1024,
            bos_token_id=None, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id, **layers,
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )  # fmt: skip
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


TEMPLATE = (
    "{%- for message in messages -%}{{- '[' + message['role'] + ']' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{{- '<image>' if part['type'] == 'image' else part['text'] -}}{%- endfor -%}{%- endif -%}"
    "{{- '</s>' -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- '[assistant]' -}}{%- endif -%}"
)


def said(task: str) -> Iterator[str]:
    """What the task's observations say, and the replies that it takes, over some random play."""
    config = configuration(task, EXPERT[task], "sft", 1, Path("unused"))
    rng = np.random.default_rng(0)
    env = make(config["data"]["env"], **config["data"]["env_args"])
    for seed in range(50):
        observation, info = env.reset(seed=seed)
        over = False
        while not over:
            yield observation["text"]
            action = str(rng.choice(info["legal_actions"]))
            yield json.dumps({"action": action})
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
    env.close()


def tokenizer(texts: Iterator[str]) -> Any:
    """A byte-level BPE of 300 pieces and the special tokens."""
    import transformers as hf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    special = ["</s>", "<pad>", "<image>"]
    pieces.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=300 + len(special),
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=pieces, eos_token="</s>", pad_token="<pad>", additional_special_tokens=["<image>"]
    )


if __name__ == "__main__":
    main()
