"""What is exported to Hugging Face's format trains with TRL as it is: pictures, several turns, extra columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_played import played

from vlmq.data.parquet import write_parquet
from vlmq.model.backbone import locate
from vlmq.prompt.processor import load


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_trls_sft_trainer_trains_an_epoch_on_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoModelForImageTextToText

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_parquet(played(8), tmp_path / "set", {})
    rows = datasets.load_dataset(str(tmp_path / "set"), split="train", cache_dir=str(tmp_path / "cache"))
    weights = locate("pkg:vlmq_model_tiny")
    model = AutoModelForImageTextToText.from_pretrained(weights)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = trl.SFTConfig(
        output_dir=str(tmp_path / "out"), num_train_epochs=1, per_device_train_batch_size=4, learning_rate=1e-3,
        report_to=[], use_cpu=True, bf16=False, max_length=None, logging_steps=1, save_strategy="no",
    )  # fmt: skip
    trainer = trl.SFTTrainer(model=model, args=settings, train_dataset=rows, processing_class=load(weights))
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    moved = {name for name, value in model.named_parameters() if (value != before[name]).any()}
    assert any("vision" in name for name in moved)  # the pictures arrived
    assert moved == set(before)
