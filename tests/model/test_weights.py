"""A checkpoint is loaded whole, or refused in a sentence that names what is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from vlmq.api import ModelError
from vlmq.model.backbone import load_backbone


def _config(folder: Path, **text: int) -> None:
    file = folder / "config.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "text_config": {**said["text_config"], **text}}))


def _without_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "text_model.layers.1." not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _cut(folder: Path, size: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"half")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_without_a_layer, r"lacks \d+ of the weights .* asks for, \S*layers\.1\.\S+ first; download or copy it"),
        (lambda folder: _config(folder, num_hidden_layers=9), r"asks for, \S*layers\.\d\.\S+ first; .* configuration"),
        (lambda folder: _config(folder, vocab_size=9), r"another size than its .* says: \S+ is \(\d+, \d+\), not \(9,"),
        (lambda folder: _cut(folder, 0), r"model\.safetensors is truncated or damaged; download or copy"),
        (lambda folder: _cut(folder, 100), r"model\.safetensors is truncated or damaged"),
        (lambda folder: _cut(folder, -1000), r"model\.safetensors is truncated or damaged"),
        (_pickled, r"pytorch_model\.bin is truncated or damaged"),
    ],
    ids=["a layer is missing", "layers too many", "another size", "empty", "header", "truncated", "pickled"],
)  # fmt: skip
def test_a_checkpoint_whose_weights_are_not_all_there_is_refused(
    tiny_directory: Path, tmp_path: Path, damage: Callable[[Path], None], expected: str
) -> None:
    shutil.copytree(tiny_directory, tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ModelError, match=expected):
        load_backbone(str(tmp_path / "model"))
