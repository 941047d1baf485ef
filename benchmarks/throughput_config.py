"""What the configurations of ours share, in every benchmark that trains: the trainer, and the phases side by side."""

from __future__ import annotations

TRAINER = """\
seed_everything: 1
trainer:
  accelerator: {accelerator}
  devices: 1
  max_steps: -1
  enable_progress_bar: false
  enable_model_summary: false
  callbacks: [{{class_path: throughput_watch.Watch}}]
"""
PHASES = {
    "ours sft": "{{name: sft, updates: {updates}, filter: always, critic: false}}",
    "ours afsft": "{{name: afsft, updates: {updates}}}",
}
"""To be filled in by `format`, as the rest is."""
