"""The adapter against a stand-in of the interface that it was written for; xGen-MM itself was not run."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, dynamic_module_utils
from vlmq_model_xgenmm import prompt

from vlmq.api import ModelError, Observation
from vlmq.data.batch import context_row
from vlmq.model.actor_critic import ActorCritic
from vlmq.model.attention import check_packable
from vlmq.model.backbone import Backbone, LoraSettings, load_backbone
from vlmq.model.generate import Sampling, sample_replies
from vlmq.model.heads import CriticConfig
from vlmq.prompt.encode import Encoder, Row

STANDIN = Path(__file__).with_name("standin_xgenmm.py")
PER_PICTURE, SIDE = 6, 42
LAYERS = r".*lang_model.*\.(qkv_proj|o_proj)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with the stand-in's code in it, as a checkpoint with code of its own is laid out."""
    folder = tmp_path_factory.mktemp("xgenmm")
    spec = importlib.util.spec_from_file_location("standin_xgenmm", STANDIN)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules["standin_xgenmm"] = code
    spec.loader.exec_module(code)
    letters = {chr(code): place for place, code in enumerate(range(32, 127))}
    marks = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"]
    known = {**letters, "\n": 95} | {mark: 96 + place for place, mark in enumerate(marks)}
    words = Tokenizer(models.WordLevel(known, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|endoftext|>", additional_special_tokens=marks[:4]
    )
    text = {
        "vocab_size": 128, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "pad_token_id": 0,
        "num_attention_heads": 2, "num_key_value_heads": 2, "initial_tokenizer_len": len(tokenizer),
    }  # fmt: skip
    torch.manual_seed(0)
    config = code.XGenMMConfig({"num_vis_tokens": PER_PICTURE}, text)
    code.XGenMMModelForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": [SIDE, SIDE]}))
    shutil.copy(STANDIN, folder)
    said = json.loads((folder / "config.json").read_text())
    said["auto_map"] = {
        "AutoConfig": "standin_xgenmm.XGenMMConfig",
        "AutoModelForVision2Seq": "standin_xgenmm.XGenMMModelForConditionalGeneration",
    }
    (folder / "config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def loaded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Encoder and backbone; the copies that transformers makes of code go into a folder of this test's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        encoder = Encoder.load(folder, trust_remote_code=True)
        yield encoder, load_backbone(str(folder), trust_remote_code=True).eval()


@pytest.fixture
def encoder(loaded: Any) -> Encoder:
    return loaded[0]


@pytest.fixture
def backbone(loaded: Any) -> Backbone:
    return loaded[1]


def _observation(seed: int = 0) -> Observation:
    return Observation("go left", np.random.default_rng(seed).integers(0, 256, (40, 60, 3)).astype(np.uint8))


@torch.no_grad()
def _log_probs(backbone: Backbone, encoder: Encoder, row: Row) -> torch.Tensor:
    return backbone.logits(backbone.hidden(encoder.collate([row], left=False))).log_softmax(-1)[0]


def test_a_prompt_is_the_stream_of_embeddings_that_the_source_makes(
    encoder: Encoder, backbone: Backbone
) -> None:
    observation = _observation()
    assert observation.image is not None
    segment = encoder.prompt(observation, first=True)
    asked = (
        f"<|system|>\n{prompt.SYSTEM}<|end|>\n<|user|>\n<image>\n{observation.text}\n{encoder.instruction}<|end|>\n"
        "<|assistant|>\n"
    )
    ids = encoder.tokenizer(asked, return_tensors="pt", add_special_tokens=False)["input_ids"]
    pixels = torch.from_numpy(prompt.pixels({"size": [SIDE, SIDE]})(Image.fromarray(observation.image)))
    with torch.no_grad():
        expected = backbone.model.model.xgenmm.forward_of_one(pixels[None, None, None], ids)
    said = _log_probs(backbone, encoder, context_row([segment], []))
    assert said.shape == expected.shape[1:]
    torch.testing.assert_close(said, expected.log_softmax(-1)[0], atol=1e-5, rtol=0)
    assert encoder.tokenizer.convert_ids_to_tokens(encoder.end_id) == "<|end|>"


def test_what_acting_recorded_is_what_learning_computes(encoder: Encoder, backbone: Backbone) -> None:
    first, second = (encoder.prompt(_observation(seed), first=seed == 0) for seed in (0, 1))
    talk = context_row([first, second], [encoder.reply("up")])
    contexts = [context_row([first], []), talk]
    sampling = Sampling(5, 1.0, encoder.end_id, encoder.pad_id, encoder.banned_ids)
    drawn = sample_replies(backbone, encoder.collate(contexts, left=True), np.arange(2)[:, None], sampling)
    for context, ids, recorded in zip(contexts, drawn.ids, drawn.log_probs, strict=True):
        whole = Row(np.concatenate([context.ids, ids]), context.pixels)
        learnt = _log_probs(backbone, encoder, whole)[len(context.ids) - 1 : -1]
        taken = learnt.gather(-1, torch.from_numpy(ids).long()[:, None])[:, 0]
        np.testing.assert_allclose(taken.numpy(), recorded, atol=1e-5)


def test_the_critic_knows_the_tokens_that_the_head_does(encoder: Encoder, backbone: Backbone) -> None:
    model = ActorCritic(backbone, CriticConfig(members=1, width=8, dim=4), trunk_gradient=0.1)
    prompt_, reply = encoder.prompt(_observation(), first=True), encoder.reply("up")
    inputs = encoder.collate([context_row([prompt_], [reply])], left=False)
    position = torch.arange(len(prompt_.ids) - 1, len(prompt_.ids) + len(reply) - 1)
    output = model(inputs, torch.zeros_like(position), position, torch.from_numpy(reply.astype(np.int64)))
    assert backbone.vocabulary == len(encoder.tokenizer)
    assert output.q is not None
    output.q.sum().backward()
    assert prompt_.pixels is not None
    place = prompt_.ids.tolist().index(encoder.processor.image_token_id)
    one_short = Row(np.delete(prompt_.ids, place), (prompt_.pixels,))
    with pytest.raises(ModelError, match="another number of image tokens"):
        _log_probs(backbone, encoder, one_short)


def test_its_code_runs_for_those_alone_who_asked_for_it(folder: Path) -> None:
    for load in (lambda: Encoder.load(folder), lambda: load_backbone(str(folder))):
        with pytest.raises(
            ModelError, match="is a xgenmm model, whose code comes with it and was not run.*trust_remote_code"
        ):
            load()
    with pytest.raises(ModelError, match="xgenmm models are loaded by an adapter.*set data.packed false"):
        check_packable("xgenmm")


def test_adapters_and_a_frozen_tower_leave_only_the_language_model_to_learn(
    folder: Path, loaded: Any
) -> None:
    lora = LoraSettings(rank=2, target_modules=LAYERS)
    backbone = load_backbone(str(folder), lora=lora, freeze_vision=True, trust_remote_code=True)
    learns = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    assert learns
    assert all("lora_" in name and "lang_model" in name for name in learns)
    other = load_backbone(str(folder), weights="random", trust_remote_code=True)
    assert other.vocabulary == backbone.vocabulary
