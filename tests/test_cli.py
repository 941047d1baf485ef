"""The light command line: quick, helpful, and clear about whose fault it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vlmq import cli, configs

COMMAND = [sys.executable, "-m", "vlmq.cli"]

SPECS = """
from gymnasium.envs.registration import EnvSpec
SPECS = (EnvSpec("oak/Tree-v0", entry_point="oak_specs:Tree"),)
class Tree:
    metadata = {"vlmq": {"reward_range": (0.0, 1.0), "success": "The tree stands.", "requirements": ()}}
"""


def _vlmq(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **env}
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def plugins(tmp_path: Path) -> str:
    """A folder with two installed distributions: one that works, one that cannot be imported."""
    for name, code in (("oak", SPECS), ("elm", "raise OSError('no bark')\n")):
        (tmp_path / f"{name}_specs.py").write_text(code)
        info = tmp_path / f"vlmq_env_{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vlmq-env-{name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[vlmq.envs]\n{name} = {name}_specs:SPECS\n")
    return str(tmp_path)


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["envs"], ["configs"], ["data"], ["envs", "-h"]])
def test_light_verbs_never_import_torch(args: list[str]) -> None:
    code = (
        f"import sys; from vlmq.cli import main; code = main({args}); "
        "heavy = ('torch', 'lightning', 'transformers', 'matplotlib'); "
        "print([name for name in heavy if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert done.stdout.strip()


def test_help_names_every_verb_and_a_first_command_that_exists() -> None:
    done = _vlmq("--help")
    assert done.returncode == 0
    assert _vlmq().stdout == done.stdout
    for verb in cli._VERBS:
        assert f"\n  {verb} " in done.stdout
    first = done.stdout.strip().splitlines()[-1].split()
    assert first[:3] == ["vlmq", "fit", "--config"]
    assert configs.resolve(first[3]).is_file()


def test_version_is_that_of_the_installed_distribution() -> None:
    from importlib.metadata import version

    assert _vlmq("--version").stdout == f"vlmq {version('vlmq')}\n"


@pytest.mark.parametrize(
    ("args", "near"),
    [(["fti"], "`vlmq fit`"), (["colect"], "`vlmq collect`"), (["envs", "lst"], "`vlmq envs list`")],
)
def test_an_unknown_verb_is_answered_with_the_nearest(args: list[str], near: str) -> None:
    done = _vlmq(*args)
    assert done.returncode == 2
    assert near in done.stderr
    assert done.stdout == ""


def test_a_verb_like_nothing_we_know_is_answered_with_all_of_them() -> None:
    done = _vlmq("zzzzzz")
    assert done.returncode == 2
    assert "fit, validate, collect, report, rank, envs, configs, data" in done.stderr


def test_envs_lists_ids_with_their_distribution_and_the_broken_with_their_reason(plugins: str) -> None:
    done = _vlmq("envs", PYTHONPATH=plugins, VLMQ_PLUGINS="oak,elm")
    assert done.returncode == 0, done.stderr
    assert "oak/Tree-v0" in done.stdout
    assert "vlmq-env-oak 1.2" in done.stdout
    broken = done.stdout.partition("Cannot be used:")[2]
    assert "'elm'" in broken
    assert "no bark" in broken


def test_envs_show_tells_what_the_environment_declares(plugins: str) -> None:
    done = _vlmq("envs", "show", "oak/Tree-v0", PYTHONPATH=plugins)
    assert done.returncode == 0, done.stderr
    assert "The tree stands." in done.stdout
    assert "0.0, 1.0" in done.stdout


def test_wrong_input_is_one_sentence_without_a_traceback_and_code_2(plugins: str, tmp_path: Path) -> None:
    for args in (
        ["envs", "show", "oak/Tre-v0"],
        ["envs", "show", "elm/X-v0"],
        ["envs", "show"],
        ["configs", "show", "no-such-thing"],
        ["configs", "copy"],
        ["data", "info", str(tmp_path / "nowhere")],
        ["data", "import", "only-one"],
    ):
        done = _vlmq(*args, PYTHONPATH=plugins)
        assert done.returncode == 2, args
        assert done.stderr.startswith("vlmq: "), args
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_failure_that_is_not_the_users_has_code_1_and_a_traceback(tmp_path: Path) -> None:
    # A distribution whose entry points cannot be read: nothing that was typed is wrong.
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(b"\xff\xfe not text")
    done = _vlmq("envs", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("vlmq: ")


def test_ctrl_c_ends_with_130_and_without_a_traceback(tmp_path: Path) -> None:
    # A plugin that never finishes importing stands for any long work.
    code = "import pathlib, time\npathlib.Path(__file__).with_name('started').touch()\ntime.sleep(60)\n"
    (tmp_path / "slow_specs.py").write_text(code)
    info = tmp_path / "slow-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vlmq.envs]\nslow = slow_specs:SPECS\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([*COMMAND, "envs"], stderr=subprocess.PIPE, text=True, env=environment) as process:
        while not (tmp_path / "started").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_a_closed_pipe_is_no_error() -> None:
    with subprocess.Popen([*COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_data_import_makes_a_store_that_data_info_describes(tmp_path: Path) -> None:
    episode = {
        "env": "oak/Tree-v0",
        "success": True,
        "turns": [{"text": "Climb.", "reply": "up", "action": "up", "reward": 0.5}],
    }
    failed = {**episode, "success": False}
    lines = "".join(json.dumps(line) + "\n" for line in (episode, episode, failed, failed))
    (tmp_path / "own.jsonl").write_text(lines)
    done = _vlmq("data", "import", str(tmp_path / "own.jsonl"), str(tmp_path / "store"))
    assert done.returncode == 0, done.stderr
    described = _vlmq("data", "info", str(tmp_path / "store")).stdout
    assert described in done.stdout + "\n"
    facts = dict(line.split(maxsplit=1) for line in described.splitlines()[2:])
    assert facts["episodes"] == "4"
    assert facts["success"].startswith("50.0 % [15.0 - 85.0]")
    assert facts["return"] == "0.50"


def test_a_broken_line_of_the_users_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("{not json}\n")
    done = _vlmq("data", "import", str(tmp_path / "own.jsonl"), str(tmp_path / "store"))
    assert done.returncode == 2
    assert done.stderr.startswith("vlmq: ")
    assert "own.jsonl" in done.stderr
    assert not (tmp_path / "store").exists()


def test_configs_are_listed_shown_and_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = configs.names()[0]
    assert f"\n{name} " in _vlmq("configs").stdout
    assert _vlmq("configs", "show", name).stdout == configs.read(name)
    done = _vlmq("configs", "copy", name, "mine.yaml")
    assert "wrote mine.yaml" in done.stdout
    assert (tmp_path / "mine.yaml").read_text(encoding="utf-8") == configs.read(name)
