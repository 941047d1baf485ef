"""Whatever a user gets wrong is answered by one sentence that names it, exit code 2 and no traceback."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_run import SmallRun

Say = Callable[..., str]

SPECS = """
from gymnasium.envs.registration import EnvSpec
NAMES = ("Float", "Long", "Plain", "Breaks")
SPECS = tuple(EnvSpec(id=f"wrong/{name}-v0", entry_point=f"wrong_env:{name}") for name in NAMES)
"""

ENVIRONMENTS = """
import gymnasium, numpy as np
from vlmq.api import action_space, observation_space

class Plain(gymnasium.Env):
    metadata = {"render_modes": [], "vlmq": {}}
    def __init__(self):
        self.observation_space = observation_space(64, 64, text_bytes=100)
        self.action_space = action_space()
    def show(self):
        return {"image": np.zeros((64, 64, 3), np.uint8), "text": "look"}
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.show(), {"action_ok": True, "legal_actions": ("go",)}
    def step(self, action):
        return self.show(), 1.0, True, False, {"action_ok": True, "legal_actions": ("go",), "success": True}

class Breaks(Plain):
    def step(self, action):
        raise SystemExit(0)

class Float(Plain):
    def show(self):
        return {"image": np.zeros((64, 64, 3)), "text": "look"}

class Long(Plain):
    def show(self):
        return {"image": np.zeros((64, 64, 3), np.uint8), "text": "look " * 30}
"""


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two installed distributions: one of misbehaving environments, one that fails to import."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "wrong_specs.py").write_text(SPECS)
    (folder / "wrong_env.py").write_text(ENVIRONMENTS)
    (folder / "absent_specs.py").write_text("import a_module_that_nobody_installed\nSPECS = ()\n")
    for name in ("wrong", "absent"):
        metadata = folder / f"vlmq_env_{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vlmq-env-{name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[vlmq.envs]\n{name} = {name}_specs:SPECS\n")
    return folder


@pytest.fixture
def say(
    small: SmallRun,
    wrong: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Say:
    """Run a verb that must fail for the user's reason; gives the one sentence."""
    monkeypatch.syspath_prepend(str(wrong))

    def run(*options: object, verb: str = "fit", run_dir: Path | None = None) -> str:
        capsys.readouterr()
        code = small.vlmq(verb, run_dir or tmp_path / "run", *map(str, options))
        shown = capsys.readouterr()
        ours = [line for line in shown.err.splitlines() if line.startswith("vlmq: ")]
        assert code == 2, shown.err
        assert len(ours) == 1, shown.err
        assert shown.err.splitlines()[-1] == ours[0], "the sentence is the last that is said"
        assert "Traceback" not in shown.err + shown.out
        assert 20 < len(ours[0]) < 700
        return ours[0]

    return run


# -- environments --------------------------------------------------------------------------------------------


def _fresh(tmp_path: Path) -> tuple[str, ...]:
    return ("--data.dataset", str(tmp_path / "fresh"), "--data.env_args", "null")


def test_an_unknown_environment_is_answered_with_the_nearest(say: Say, tmp_path: Path) -> None:
    said = say("--data.env", "line/Wal-v0", *_fresh(tmp_path))
    assert "line/Wal-v0" in said
    assert "line/Walk-v0" in said


def test_no_environment_is_told_where_they_are_listed(say: Say, tmp_path: Path) -> None:
    said = say("--data.env", "null", *_fresh(tmp_path), verb="collect")
    assert "data.env is not set" in said
    assert "vlmq envs" in said


def test_a_plugin_that_fails_to_import_is_named_with_its_reason(say: Say, tmp_path: Path) -> None:
    said = say("--data.env", "absent/Thing-v0", *_fresh(tmp_path))
    assert "vlmq-env-absent" in said
    assert "a_module_that_nobody_installed" in said


def test_an_argument_that_the_environment_does_not_take_is_named(say: Say, tmp_path: Path) -> None:
    said = say("--data.env_args", "{colour: red}", "--data.dataset", tmp_path / "fresh")
    assert "colour" in said
    assert "line/Walk-v0" in said


@pytest.mark.parametrize("verb", ["fit", "collect"])
def test_an_environment_that_shows_a_float_image_is_told_to_cast_it(
    say: Say, tmp_path: Path, verb: str
) -> None:
    said = say("--data.env", "wrong/Float-v0", *_fresh(tmp_path), verb=verb)
    assert "wrong/Float-v0" in said
    assert "float64 (64, 64, 3)" in said
    assert "uint8" in said


@pytest.mark.parametrize("verb", ["collect", "validate"])
def test_an_environment_that_always_breaks_ends_the_run_with_the_reason(
    say: Say, tmp_path: Path, verb: str
) -> None:
    said = say(
        "--data.env",
        "wrong/Breaks-v0",
        *_fresh(tmp_path),
        "--data.evaluation.policies",
        "[random]",
        verb=verb,
    )
    assert "no episode of 'wrong/Breaks-v0' could be played to the end: SystemExit: 0 (wrong_env.py:" in said
    assert "`vlmq check wrong/Breaks-v0` tells more." in said


def test_an_observation_longer_than_its_capacity_is_measured(say: Say, tmp_path: Path) -> None:
    said = say("--data.env", "wrong/Long-v0", *_fresh(tmp_path))
    assert "150 bytes" in said
    assert "100" in said


def test_an_expert_where_there_is_none_is_refused(say: Say, tmp_path: Path) -> None:
    said = say(
        "--data.env", "wrong/Plain-v0", *_fresh(tmp_path), "--data.collect.policy", "expert", verb="collect"
    )
    assert "no expert" in said
    assert "random" in said


# -- settings ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_told_with_another_choice(say: Say) -> None:
    said = say("--trainer.accelerator", "gpu")
    assert "gpu" in said
    assert "--trainer.accelerator cpu" in said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--trainer.strategy", "fsdp_cpu_offload"), "use fsdp2 to shard"),
        (("--trainer.strategy", "deepspeed_stage_2"), "use fsdp2 to shard"),
        (("--trainer.strategy", "nonsense"), "nonsense"),
        (("--trainer.accelerator", "abacus"), "abacus"),
        (("--trainer.devices", "0"), "devices"),
        (("--trainer.precision", "7"), "trainer.precision cannot be 7: it takes 64, 32, 16"),
        (("--data.batch_size", "few"), "data.batch_size cannot be few: it takes a whole number"),
        (("--data.collect.episodes", "few"), "data.collect.episodes cannot be few: it takes a whole number"),
        (("--model.lora.rank", "few"), "model.lora.rank cannot be few: it takes a whole number"),
        (("--model.lora.rank", "0"), "lora.rank is 0; give 1 or more"),
        (("--model.critic.members", "0"), "critic.members is 0; give 1 or more"),
        (("--model.max_reply", "0"), "model.max_reply is 0; give 1 or more"),
        (("--model.learning_rate", "-1"), "model.learning_rate is -1.0; give 0 or more"),
        (("--trainer.val_check_interval", "0"), "trainer.val_check_interval is 0; it must be above 0"),
        (("--trainer.devices", "x"), "devices"),
        (("--seed_everything", "-1"), "seed_everything is -1"),
        (("--model.tau", ".nan"), "model.tau is nan; it must lie between 0 and 1"),
        (("--data.evaluation.episodes", "0"), "evaluation.episodes is 0; give 1 or more"),
        (("--data.collect.corruption", "2"), "collect.corruption is 2.0; it must lie between 0 and 1"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_setting_that_cannot_be_is_one_sentence(say: Say, options: tuple[str, ...], told: str) -> None:
    assert told in say(*options)


def _edited(small: SmallRun, tmp_path: Path, old: str, new: str) -> SmallRun:
    text = small.config.read_text()
    assert old in text
    (tmp_path / "edited.yaml").write_text(text.replace(old, new))
    return SmallRun(tmp_path / "edited.yaml", small.folder)


@pytest.mark.parametrize(
    ("old", "new", "named", "near"),
    [
        ("num_envs:", "num_env:", "num_env", "num_envs"),
        ("max_reply:", "max_replies:", "max_replies", "max_reply"),
        ("filter: always, critic: false", "filtre: always, critic: false", "filtre", "filter"),
        ("every: 2, explore", "evry: 2, explore", "evry", "every"),
    ],
    ids=["of the data", "of the model", "of a phase", "of own play"],
)
def test_an_unknown_setting_in_the_file_is_answered_with_the_nearest(
    small: SmallRun,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    named: str,
    near: str,
) -> None:
    assert _edited(small, tmp_path, old, new).vlmq("fit", tmp_path / "run") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert named in said[0]
    assert "did you mean" in said[0]
    assert near in said[0].partition("did you mean")[2]


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--model.lerning_rate", "1", "model.learning_rate"),
        ("--data.online.episods", "3", "data.online.episodes"),
        ("--trainer.max_step", "3", "trainer.max_steps"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(
    say: Say, option: str, value: str, named: str
) -> None:
    said = say(option, value)
    assert option.removeprefix("--") in said
    assert named in said


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--model.max_reply", "many", "max_reply"),
        ("--data.batch_size", "2.5", "batch_size"),
        ("--data.collect.policy", "radnom", "policy"),
        ("--model.reply_format", "xml", "reply_format"),
        ("--data.evaluation.policies", "[models]", "policies"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_setting(
    say: Say, option: str, value: str, named: str
) -> None:
    said = say(option, value)
    assert named in said
    assert value.strip("[]") in said


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--model.gamma_turn", "1.5", "model.gamma_turn is 1.5"),
        ("--model.n_turns", "0", "model.n_turns is 0"),
        ("--data.num_envs", "0", "num_envs"),
        ("--data.fragment_turns", "0", "fragment_turns"),
        ("--trainer.val_check_interval", "3", "'warmup' has 4 updates"),
        ("--trainer.accumulate_grad_batches", "2", "accumulate_grad_batches"),
        ("--trainer.gradient_clip_val", "0.5", "trainer.gradient_clip_val is not used: .* set model.clip"),
        (
            "--trainer.val_check_interval",
            "0.5",
            "val_check_interval .0.5, which is 10 updates.; every phase ends",
        ),
        ("--model.lambda_turn", "0.5", "reach from turn to turn, but data.fragment_turns is 1"),
        ("--data.held_out", "0.999999", "keeps all of the .* episodes apart; lower it"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_setting(
    say: Say, option: str, value: str, named: str
) -> None:
    assert re.search(named, say(option, value))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("name: sft", "name: warmup", "two phases are named 'warmup'"),
        ("start_from: warmup, baseline", "start_from: cooldown, baseline", "'cooldown' is no earlier phase"),
        ("online: 0.5", "online: 1.5", "phase 'afsft_online': online is 1.5"),
        ("{name: warmup, updates: 4,", "{name: warmup, updates: 0,", "phase 'warmup': updates is 0"),
    ],
)
def test_phases_that_make_no_sense_are_named(
    small: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, named: str
) -> None:
    assert _edited(small, tmp_path, old, new).vlmq("fit", tmp_path / "run") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vlmq: ")]
    assert len(said) == 1
    assert named in said[0]


def test_a_configuration_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = SmallRun(tmp_path / "nope.yaml", tmp_path)
    assert missing.vlmq("fit", tmp_path / "run") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "nope.yaml" in said[0]


def test_a_configuration_that_is_no_yaml_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("model: [1, 2\n")
    assert SmallRun(tmp_path / "bad.yaml", tmp_path).vlmq("fit", tmp_path / "run") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "bad.yaml" in said[0]


# -- checkpoints ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(small: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of two updates. Nobody writes into its folder."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    assert small.vlmq("fit", run_dir, "--trainer.max_steps", "2") == 0
    return run_dir / "checkpoints" / "last.ckpt"


def test_the_last_checkpoint_of_no_run_is_said_to_be_missing(say: Say) -> None:
    said = say("--ckpt_path", "last")
    assert "last.ckpt" in said
    assert "train first" in said


@pytest.mark.parametrize("verb", ["fit", "validate", "collect"])
def test_a_missing_checkpoint_is_named(say: Say, verb: str) -> None:
    assert "nosuch.ckpt" in say("--ckpt_path", "nosuch.ckpt", verb=verb)


class _Code:
    """What a checkpoint from a stranger may hold."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_code_in_a_checkpoint_is_never_run(say: Say, trained: Path, tmp_path: Path, verb: str) -> None:
    content = torch.load(trained, weights_only=True)
    trace = tmp_path / "it ran"
    torch.save(content | {"callbacks": _Code(trace)}, tmp_path / "evil.ckpt")
    assert "damaged, or no checkpoint" in say("--ckpt_path", tmp_path / "evil.ckpt", verb=verb)
    assert not trace.exists()


@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_a_truncated_checkpoint_is_refused(say: Say, trained: Path, tmp_path: Path, verb: str) -> None:
    data = trained.read_bytes()
    for length in (0, 100, len(data) // 2):
        (tmp_path / "cut.ckpt").write_bytes(data[:length])
        assert "truncated or damaged" in say("--ckpt_path", tmp_path / "cut.ckpt", verb=verb)


def test_a_file_that_is_no_checkpoint_of_ours_is_refused(say: Say, tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert "no vlmq checkpoint" in say("--ckpt_path", tmp_path / "other.ckpt")


def test_a_checkpoint_of_another_critic_names_both_sizes(say: Say, trained: Path) -> None:
    said = say("--ckpt_path", trained, "--model.critic.width", "32")
    assert "another model" in said
    assert "'width': 16" in said


def test_a_checkpoint_of_another_tokenizer_names_the_model_it_was_made_with(
    say: Say, trained: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    other = _other_tokenizer(tiny_directory, tmp_path / "other")
    said = say("--ckpt_path", trained, "--model.backbone", other, *_fresh(tmp_path))
    assert "tokenizer" in said
    assert str(tiny_directory) in said


def test_a_checkpoint_of_other_phases_is_refused(
    small: SmallRun, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = _edited(small, tmp_path, ": warmup", ": warm_up")
    assert edited.vlmq("fit", tmp_path / "run", "--ckpt_path", str(trained)) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "stands in phase 'warmup'" in said
    assert "warm_up" in said


# -- data ----------------------------------------------------------------------------------------------------


def test_an_empty_dataset_is_refused(say: Say, tmp_path: Path) -> None:
    from vlmq.data.store import EpisodeStore

    EpisodeStore.create(tmp_path / "empty", {}).close()
    said = say("--data.dataset", tmp_path / "empty", "--data.collect", "null")
    assert "is empty" in said
    assert str(tmp_path / "empty") in said


def test_a_missing_dataset_is_named(say: Say, tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in say("--data.dataset", tmp_path / "nowhere", "--data.collect", "null")


def test_a_damaged_dataset_names_the_episode(say: Say, small: SmallRun, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(small.folder / "dataset", damaged)
    data = bytearray((damaged / "episodes.bin").read_bytes())
    for place in range(200, len(data), 400):
        data[place] ^= 0xFF
    (damaged / "episodes.bin").write_bytes(bytes(data))
    said = say("--data.dataset", damaged)
    assert "damaged" in said
    assert str(damaged) in said


def test_a_dataset_of_another_environment_is_refused(say: Say, small: SmallRun) -> None:
    said = say("--data.env", "line/Recall-v0", "--data.collect", "null")
    assert "line/Walk-v0" in said
    assert "line/Recall-v0" in said


def test_a_dataset_collected_with_other_settings_is_not_mixed_with_these(say: Say) -> None:
    assert "other settings" in say("--data.collect.episodes", "30", "--data.collect.corruption", "0.1")


def test_a_dataset_of_another_tokenizer_is_refused(say: Say, tiny_directory: Path, tmp_path: Path) -> None:
    other = _other_tokenizer(tiny_directory, tmp_path / "other")
    assert "another tokenizer" in say("--model.backbone", other)


# -- models --------------------------------------------------------------------------------------------------


def _other_tokenizer(model: Path, folder: Path) -> Path:
    """The same model with two words of its vocabulary exchanged."""
    shutil.copytree(model, folder)
    text = (folder / "tokenizer.json").read_text()
    marked = text.replace('"red"', '"\0"').replace('"green"', '"red"').replace('"\0"', '"green"')
    assert marked != text
    (folder / "tokenizer.json").write_text(marked)
    return folder


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nowhere", "no model directory './nowhere'"),
        ("pkg:vlmq_model_nowhere", "needs the package vlmq_model_nowhere"),
    ],
)
def test_a_model_that_is_not_there_is_named(say: Say, name: str, said: str) -> None:
    assert said in say("--model.backbone", name)


def test_a_directory_without_a_model_is_refused(say: Say, tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    assert str(tmp_path / "hollow") in say("--model.backbone", tmp_path / "hollow")


def test_a_model_without_eyes_is_refused(say: Say, tiny_directory: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_directory)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "blind")
    tokenizer.save_pretrained(tmp_path / "blind")
    said = say("--model.backbone", tmp_path / "blind")
    assert str(tmp_path / "blind") in said
    assert "vision-language model" in said


def test_a_text_model_with_the_processor_of_another_is_refused_by_its_own_name(
    say: Say, tiny_directory: Path, tmp_path: Path
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(tiny_directory, tmp_path / "blind")
    (tmp_path / "blind" / "model.safetensors").unlink()
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "blind")
    said = say("--model.backbone", tmp_path / "blind")
    assert "is a llama model, which reads text alone; choose a vision-language model" in said


@pytest.mark.parametrize("pattern", ["nothing_here", "(unbalanced"])
def test_adapters_that_match_no_layer_are_named(say: Say, pattern: str) -> None:
    said = say("--model.lora.target_modules", pattern, "--model.lora.rank", "4")
    assert pattern in said
    assert "give a regular expression over its module names" in said


def test_a_template_that_drops_pictures_is_named(say: Say, tiny_directory: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_directory, tmp_path / "blind")
    template = tmp_path / "blind" / "chat_template.jinja"
    blind = template.read_text().replace("<image>", "")
    assert blind != template.read_text()
    template.write_text(blind)
    said = say("--model.backbone", tmp_path / "blind", *_fresh(tmp_path))
    assert "chat template leaves pictures out; give it one that writes the image token" in said


def test_placeholders_that_are_not_as_many_as_features_are_told_with_both_numbers(
    say: Say, tiny_directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_directory, tmp_path / "odd")
    settings = tmp_path / "odd" / "processor_config.json"
    said = json.loads(settings.read_text())
    said["image_seq_len"] += 3
    settings.write_text(json.dumps(said))
    said = say("--model.backbone", tmp_path / "odd", *_fresh(tmp_path))
    assert "another number of image tokens into a prompt than the model makes features" in said
    assert "tokens: " in said
    assert "features: " in said
    assert "give the processor the picture and patch sizes of the model" in said


def test_a_model_too_large_for_the_memory_is_told_with_what_to_make_smaller(say: Say) -> None:
    said = say("--model.critic.width", str(10**12))
    assert "ran out of memory" in said
    assert "lower data.batch_size" in said
    assert "vlmq fit --dry-run" in said


CODE = """
from transformers import PretrainedConfig, ProcessorMixin
open("ran", "w").close()
class Config(PretrainedConfig):
    model_type = "strange"
class Processor(ProcessorMixin):
    pass
"""


def test_code_that_comes_with_a_model_is_not_run_unasked(
    say: Say, tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_directory, tmp_path / "strange")
    (tmp_path / "strange" / "strange_code.py").write_text(CODE)
    for name, entries in {
        "config.json": {"model_type": "strange", "auto_map": {"AutoConfig": "strange_code.Config"}},
        "processor_config.json": {"auto_map": {"AutoProcessor": "strange_code.Processor"}},
    }.items():
        file = tmp_path / "strange" / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    monkeypatch.chdir(tmp_path)
    said = say("--model.backbone", tmp_path / "strange", *_fresh(tmp_path))
    assert "if you have read and trust it, set model.trust_remote_code true" in said
    assert not (tmp_path / "ran").exists()


# -- and nothing else is said --------------------------------------------------------------------------------


@pytest.mark.slow
def test_in_a_process_of_its_own_hardly_anything_precedes_the_sentence(
    small: SmallRun, tmp_path: Path
) -> None:
    process = small.start("fit", tmp_path / "run", "--model.gamma_turn", "1.5")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert out == ""
    assert "site-packages" not in err
    lines = [line for line in err.splitlines() if line.strip()]
    assert lines[-1].startswith("vlmq: model.gamma_turn is 1.5")
    assert len(lines) <= 4, err
