"""The front door: quick, helpful, and clear about whose fault it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from vlmq import cli, configs

COMMAND = [sys.executable, "-m", "vlmq.cli"]


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["envs"],
        ["configs"],
        ["data"],
        ["envs", "show", "line/Walk-v0", "--png"],
        ["check"],
    ],
    ids=" ".join,
)
def test_light_verbs_never_import_torch(args: list[str], tmp_path: Path) -> None:
    code = (
        f"import sys; from vlmq.cli import main; code = main({args}); "
        "heavy = ('torch', 'lightning', 'transformers', 'matplotlib'); "
        "print([name for name in heavy if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert done.stdout.strip()


def test_help_names_every_verb_and_a_first_command_that_exists(vlmq: Callable[..., Any]) -> None:
    done = vlmq("--help")
    assert done.code == 0
    assert vlmq().out == vlmq("help").out == done.out
    for verb in cli.VERBS:
        assert f"\n  {verb} " in done.out
    first = done.out.strip().splitlines()[-1].split()
    assert first[:3] == ["vlmq", "fit", "--config"]
    assert configs.resolve(first[3]).is_file()


@pytest.mark.parametrize(
    "verb",
    [
        "report",
        "play",
        "rank",
        "export",
        "envs",
        "envs show",
        "envs play",
        "configs",
        "data",
        "new-env",
        "check",
    ],
)
def test_each_light_verb_explains_itself_wherever_help_is_asked_for(
    vlmq: Callable[..., Any], verb: str
) -> None:
    for args in (
        ["--help"],
        ["-h"],
        ["something", "--help"] if verb not in ("envs",) else ["list", "--help"],
    ):
        done = vlmq(*verb.split(), *args)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"usage: vlmq {verb}")
        assert max(map(len, done.out.splitlines())) <= 120


def test_version_is_that_of_the_installed_distribution(vlmq: Callable[..., Any]) -> None:
    assert vlmq("--version").out == vlmq("-V").out == f"vlmq {version('vlmq')}\n"


@pytest.mark.parametrize(
    ("args", "near"),
    [
        (["fti"], "`vlmq fit`"),
        (["colect"], "`vlmq collect`"),
        (["chekc"], "`vlmq check`"),
        (["newenv"], "`vlmq new-env`"),
        (["envs", "lst"], "`vlmq envs list`"),
        (["envs", "ply", "a/B-v0"], "`vlmq envs play`"),
    ],
)
def test_an_unknown_verb_is_answered_with_the_nearest(
    vlmq: Callable[..., Any], args: list[str], near: str
) -> None:
    done = vlmq(*args)
    assert f"did you mean {near}?" in done.wrong
    assert done.out == ""


def test_a_verb_like_nothing_we_know_is_answered_with_all_of_them(vlmq: Callable[..., Any]) -> None:
    assert f"it knows {', '.join(cli.VERBS)};" in vlmq("zzzzzz").wrong


def test_a_failure_that_is_not_the_users_has_code_1_and_a_traceback(
    vlmq: Callable[..., Any], tmp_path: Path
) -> None:
    # A distribution whose entry points cannot be read: nothing that was typed is wrong.
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(b"\xff\xfe not text")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        done = vlmq("envs")
    assert done.code == 1
    assert "Traceback" in done.err
    assert done.err.strip().splitlines()[-1].startswith("vlmq: ")


def test_ctrl_c_ends_with_130_and_without_a_traceback(tmp_path: Path) -> None:
    # A plugin that never finishes importing stands for any long work.
    code = "import pathlib, time\npathlib.Path(__file__).with_name('started').touch()\ntime.sleep(60)\n"
    (tmp_path / "slow_specs.py").write_text(code)
    info = tmp_path / "slow-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vlmq.envs]\nslow = slow_specs:SPECS\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [*COMMAND, "envs"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # a shell's background jobs ignore Ctrl-C, and what they start does too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # type: ignore[arg-type,return-value]
    ) as process:
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


def test_what_a_terminal_cannot_show_is_spelt_out(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*COMMAND, "configs", "copy", "quickstart", "größer.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"wrote gr\\xf6\\xdfer.yaml\n" in done.stdout
