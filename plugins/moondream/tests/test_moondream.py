"""The adapter against a stand-in of the interface that it was written for; Moondream2 itself was not run."""

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
from vlmq_model_moondream import prompt

from vlmq.api import ModelError, Observation
from vlmq.data.batch import context_row
from vlmq.model.attention import check_packable
from vlmq.model.backbone import Backbone, LoraSettings, load_backbone
from vlmq.model.generate import Sampling, sample_replies
from vlmq.prompt.encode import Encoder, Row

STANDIN = Path(__file__).with_name("standin_moondream.py")
LAYERS = r".*text_model.*\.(q_proj|v_proj)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with the stand-in's code in it, as a checkpoint with code of its own is laid out."""
    folder = tmp_path_factory.mktemp("moondream")
    spec = importlib.util.spec_from_file_location("standin_moondream", STANDIN)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules["standin_moondream"] = code
    spec.loader.exec_module(code)
    letters = {chr(code): place for place, code in enumerate(range(32, 127))}
    words = Tokenizer(models.WordLevel({**letters, "\n": 95, "<|endoftext|>": 96}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    end = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token=end, eos_token=end)
    text = {
        "vocab_size": 97, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    code.Moondream(code.MoondreamConfig(text_config=text)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shutil.copy(STANDIN, folder)
    said = json.loads((folder / "config.json").read_text())
    said["auto_map"] = {
        "AutoConfig": "standin_moondream.MoondreamConfig",
        "AutoModelForCausalLM": "standin_moondream.Moondream",
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
    own = backbone.model.model.moondream
    asked = f"<image>\n\nQuestion: {observation.text}\n{encoder.instruction}\n\nAnswer:"
    pixels = torch.from_numpy(prompt.pixels(Image.fromarray(observation.image)))[None]
    with torch.no_grad():
        embeds = own.input_embeds(asked, own.vision_encoder(pixels), encoder.tokenizer)
        expected = own.text_model.lm_head(own.text_model.transformer(inputs_embeds=embeds).last_hidden_state)
    assert len(segment.ids) == embeds.shape[1]
    said = _log_probs(backbone, encoder, context_row([segment], []))
    torch.testing.assert_close(said, expected.log_softmax(-1)[0], atol=1e-5, rtol=0)


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


def test_its_code_runs_for_those_alone_who_asked_for_it(folder: Path) -> None:
    for load in (lambda: Encoder.load(folder), lambda: load_backbone(str(folder))):
        with pytest.raises(
            ModelError,
            match="is a moondream1 model, whose code comes with it and was not run.*trust_remote_code",
        ):
            load()


def test_sequences_are_not_packed() -> None:
    with pytest.raises(ModelError, match="moondream1 models are loaded by an adapter.*set data.packed false"):
        check_packable("moondream1")


def test_a_picture_without_its_places_is_told(encoder: Encoder, backbone: Backbone) -> None:
    segment = encoder.prompt(_observation(), first=True)
    assert segment.pixels is not None
    with pytest.raises(ModelError, match="another number of image tokens"):
        _log_probs(backbone, encoder, Row(np.delete(segment.ids, 5), (segment.pixels,)))


def test_adapters_and_a_frozen_tower_leave_only_the_language_model_to_learn(
    folder: Path, loaded: Any
) -> None:
    lora = LoraSettings(rank=2, target_modules=LAYERS)
    backbone = load_backbone(str(folder), lora=lora, freeze_vision=True, trust_remote_code=True)
    learns = [name for name, parameter in backbone.named_parameters() if parameter.requires_grad]
    assert learns
    assert all("lora_" in name and "text_model" in name for name in learns)


def test_weights_at_random_keep_the_architecture(folder: Path, loaded: Any, backbone: Backbone) -> None:
    torch.manual_seed(1)
    other = load_backbone(str(folder), weights="random", trust_remote_code=True)
    shapes = {name: value.shape for name, value in backbone.state_dict().items()}
    assert {name: value.shape for name, value in other.state_dict().items()} == shapes
    assert not torch.equal(other.input_embedding(), backbone.input_embedding())


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    # by hand: small ones are squares; 800 x 400 is 2 : 1, so 378 high and 756 wide; a large square takes the large one
    [
        (60, 40, (378, 378)), (511, 100, (378, 378)), (800, 400, (378, 756)), (400, 800, (756, 378)),
        (900, 900, (756, 756)),
    ],
)  # fmt: skip
def test_a_picture_takes_the_nearest_shape(width: int, height: int, expected: tuple[int, int]) -> None:
    assert prompt.size_for(width, height) == expected
    made = prompt.pixels(Image.new("RGB", (width, height), (255, 0, 0)))
    assert made.shape == (3, *expected)
    assert made[0].min() == 1.0
    assert made[1].max() == -1.0
