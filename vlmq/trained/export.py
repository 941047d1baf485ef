"""`vlmq export RUN DIR`: a trained agent as a plain Hugging Face model, with its critic and a card beside it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vlmq.api import UserError
from vlmq.model import critic_file
from vlmq.report.results import Row, format_table
from vlmq.trained.agent import Agent, load

CARD = "README.md"


def export(run: str | Path, folder: str | Path, *, checkpoint_name: str = "last") -> Path:
    """Write the model with its adapters merged, its processor, its critic and a model card.

    Args:
        run: a run's folder, or a checkpoint file.
        folder: where to; it must not hold anything yet, and appears only when it is complete.
        checkpoint_name: `last` or `best`, where a run's folder is given.

    Raises:
        UserError: the folder is taken, or the run holds no such checkpoint.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} exists and is not an empty folder; give another one to export to.")
    agent = load(run, checkpoint_name)
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    agent.export(part)
    critic_file.write(part, agent.model, return_range=agent.return_range)
    (part / CARD).write_text(card(agent), encoding="utf-8")
    if target.exists():
        target.rmdir()
    os.replace(part, target)
    return target


def card(agent: Agent) -> str:
    """The model card: what it is, how it is asked, how well it did, and what lies beside it."""
    settings, encoder = agent.settings, agent.encoder
    backbone = str(settings["backbone"])
    named = backbone if backbone.startswith("pkg:") or _on_the_hub(backbone) else Path(backbone).name
    base = f"base_model: {backbone}\n" if _on_the_hub(backbone) else ""
    asked = f"text + {chr(10) + encoder.instruction!r}" if encoder.instruction else "text"
    rows = [Row(**row) for row in agent.rows]
    lora = settings["lora"]
    how = "all weights" if lora is None else f"adapters of rank {lora['rank']}, merged here"
    if lora is not None and lora.get("quantize"):
        how += f"; they were trained on the language model in {lora['quantize']}, and merged into its own precision"
    return _CARD.format(
        base=base,
        named=named,
        how=how,
        history=settings["history"],
        asked=asked,
        max_reply=settings["max_reply"],
        reply_format=settings["reply_format"],
        rows=f"```\n{format_table(rows)}\n```" if rows else "The checkpoint holds no evaluation.",
        weights=critic_file.WEIGHTS,
        critic_settings=critic_file.SETTINGS,
    )


def _on_the_hub(name: str) -> bool:
    return not name.startswith("pkg:") and name.count("/") == 1 and not Path(name).exists()


_CARD = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
{base}tags: [vlmq, agent, reinforcement-learning]
---

# A vision-language agent

Trained with `vlmq` (VLM Q-Learning, arXiv 2505.03181) from `{named}`: {how}.

It is shown a picture and a text each turn, and replies with one action: reply format {reply_format}, at most
{max_reply} tokens, earlier turns in its context: {history}. Plain transformers runs it:

```python
import sys

from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder, picture, text = sys.argv[1:]
model = AutoModelForImageTextToText.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder, backend="pil")
content = [{{"type": "image", "image": Image.open(picture)}}, {{"type": "text", "text": {asked}}}]
inputs = processor.apply_chat_template(
    [{{"role": "user", "content": content}}],
    add_generation_prompt=True,
    tokenize=True,
    return_dict=True,
    return_tensors="pt",
)
reply = model.generate(**inputs)
print(processor.tokenizer.decode(reply[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```

## Results

{rows}

## Files

Beside the model and its processor, `{weights}` holds the critic (`critic.*`) and its Polyak copy
(`target_critic.*`), `{critic_settings}` their sizes and the return range that is Q's unit;
`vlmq.model.critic_file.read` puts them back.
"""
