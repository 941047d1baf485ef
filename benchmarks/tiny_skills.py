"""Held-out accuracy of the tiny model, skill by skill: greedy generation, exact match.

    python benchmarks/tiny_skills.py runs/pretrain_tiny            # a run
    python benchmarks/tiny_skills.py pkg:vlmq_model_tiny           # shipped weights, or any model directory

Pictures are drawn from the curriculum's `test` split, which shares no draw with training. In dialogues the last
question counts; the answers before it are the true ones. The skills are those of the model's own version, which its
vocabulary tells. With `--export DIR` the model is also written as a plain Hugging Face directory, with `--half` its
numbers at half precision, which are loaded as whole ones again; it is that directory which is then judged.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from vlmq_model_tiny.curriculum import SKILLS_OF, Curriculum
from vlmq_model_tiny.vocabulary import SIZES

import vlmq
from vlmq.data.batch import context_row
from vlmq.model.backbone import Backbone, load_backbone, locate
from vlmq.model.generate import Sampling, sample_replies
from vlmq.prompt.encode import Encoder
from vlmq.report.stats import wilson

MAX_REPLY = 96
"""Tokens of the longest answer and some more."""
BATCH = 100


def main() -> None:
    """Print a table of accuracies."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a run's folder, a model directory, or pkg:module")
    parser.add_argument("--episodes", type=int, default=500, help="questions of each skill")
    parser.add_argument("--skills", nargs="+", help="some of the skills; all if none is named")
    parser.add_argument("--export", type=Path, help="write the model as a Hugging Face directory")
    parser.add_argument("--half", action="store_true", help="the exported numbers take half the room")
    parser.add_argument("--json", type=Path, help="write the accuracies here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    backbone, encoder = _load(arguments)
    version = next(version for version, size in SIZES.items() if size == len(encoder.tokenizer))
    results = {}
    for skill in arguments.skills or SKILLS_OF[version]:
        right = accuracy(backbone, encoder, skill, arguments.episodes, version)
        interval = wilson(right, arguments.episodes)
        results[skill] = interval.value
        print(
            f"{skill:14} {100 * interval.value:5.1f} %  [{100 * interval.low:5.1f}, {100 * interval.high:5.1f}]"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def accuracy(backbone: Backbone, encoder: Encoder, skill: str, episodes: int, version: int) -> int:
    """How many of a skill's test questions are answered word for word."""
    curriculum = Curriculum(split="test", skills=(skill,), version=version)
    sampling = Sampling(MAX_REPLY, 0.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    right = 0
    for start in range(0, episodes, BATCH):
        asked = [curriculum.episode(index) for index in range(start, min(episodes, start + BATCH))]
        rows = []
        for episode in asked:
            segments = [encoder.prompt(t.observation, first=i == 0) for i, t in enumerate(episode.turns)]
            rows.append(context_row(segments, [encoder.reply(t.reply) for t in episode.turns[:-1]]))
        inputs = encoder.collate(rows, left=True)
        replies, *_ = sample_replies(backbone, inputs, np.zeros((len(rows), 1), np.int64), sampling)
        right += sum(
            encoder.decode(ids) == episode.turns[-1].reply
            for ids, episode in zip(replies, asked, strict=True)
        )
    return right


def _load(arguments: argparse.Namespace) -> tuple[Backbone, Encoder]:
    if (Path(arguments.model) / "checkpoints").is_dir():
        agent = vlmq.load(arguments.model)
        if not arguments.export:
            return agent.model.backbone, agent.encoder
        agent.export(arguments.export)
        if arguments.half:
            _halve(arguments.export / "model.safetensors")
        arguments.model = str(arguments.export)
    backbone = load_backbone(arguments.model)
    return backbone.eval(), Encoder.load(locate(arguments.model), "plain")


def _halve(file: Path) -> None:
    """Keep the numbers at half precision; the configuration still says that they are loaded as whole ones."""
    tensors = {name: tensor.half() for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
