"""The commands that people will copy exist: README, documentation and headers of the configurations."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import vlmq
from vlmq.cli import main
from vlmq.train import cli as heavy
from vlmq.trained.agent import Agent

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
# These change another configuration, after which they are named on the command line.
ON_TOP = [path for path in SHIPPED if "model" not in yaml.safe_load(path.read_text(encoding="utf-8"))]
CONFIGS = [path for path in SHIPPED if path not in ON_TOP]
BASELINES = sorted((ROOT / "configs" / "baselines").glob("*.yaml"))
PROSE = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(ROOT.glob("envs/*/README.md")),
]
HEAVY = ("fit", "validate", "collect")
ENV_ID = re.compile(r"(remote://[\w.:-]+/)?\w+/[\w-]+-v\d+")


def _blocks(path: Path, *languages: str) -> Iterator[str]:
    """What stands between a fence that opens with one of these words and the fence that closes it."""
    opened, lines = None, []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("```"):
            lines.append(line)
        elif opened is None:
            opened, lines = line.removeprefix("```").strip(), []
        else:
            if opened in languages:
                yield "\n".join(lines)
            opened = None


def _indented(path: Path) -> str:
    """The commands of blocks that are set off by four spaces rather than by fences."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return "\n".join(re.findall(r"^    (vlmq (?:.*\\\n)*.*)$", prose, re.M))


def _commands(text: str) -> Iterator[list[str]]:
    """Each `vlmq ...` of a text, joined where it is broken over lines, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words[:1] == ["vlmq"]:
                yield words[1:]


# A command that several pages show is asked about once.
SHOWN = {
    tuple(words): f"{path.parent.name}/{path.name}: {' '.join(words)}"[:90]
    for path in reversed(PROSE)
    for block in (*_blocks(path, "", "bash", "sh", "console"), _indented(path))
    for words in _commands(block)
}
COMMANDS = [pytest.param(list(words), id=name) for words, name in SHOWN.items()]


def test_the_readme_shows_commands() -> None:
    verbs = {words[0] for words in _commands("\n".join(_blocks(ROOT / "README.md", "")))}
    assert verbs >= {"fit", "validate", "collect", "envs", "configs", "data"}


def _parsed(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The configuration that the real command line makes of it; nothing is run."""
    monkeypatch.setattr(sys, "argv", ["vlmq"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        heavy.main([*arguments, "--print_config"])
    assert left.value.code in (0, None), capsys.readouterr().err
    return capsys.readouterr().out


def _made_up(word: str) -> bool:
    return word in ("OWNER/NAME",) or word.startswith(("my.", "mine.", "runs/mine", "RUN/"))


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_shown_to_people_exists(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    verb, *rest = words
    if verb in HEAVY:
        # A file of the reader's own is played by one of ours; a checkpoint is of a run that nobody has made here.
        ours = [(_made_up(word) and word.endswith(".yaml")) or word == "..." for word in rest]
        rest = [str(CONFIGS[0]) if made_up else word for word, made_up in zip(rest, ours, strict=True)]
        if "--ckpt_path" in rest:
            place = rest.index("--ckpt_path")
            assert rest[place + 1] in ("last", "best") or rest[place + 1].endswith(".ckpt")
            del rest[place : place + 2]
        if "--dry-run" in rest:
            rest[rest.index("--dry-run")] = "--trainer.dry_run=true"
        assert "--config" in rest
        config = yaml.safe_load(_parsed([verb, *rest], capsys, monkeypatch))
        assert config["model"]["backbone"]
        return
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    for place, word in enumerate(rest):
        if place == 0 or word.startswith("--") or ENV_ID.fullmatch(word):
            kind = _kind(verb, word)
            assert re.search(rf"(?<![\w-]){re.escape(kind)}\b", shown), f"`vlmq {verb}` knows no {word}"


def _kind(verb: str, word: str) -> str:
    """How the help calls what a reader puts in; a word that is part of the command stands for itself."""
    if word.startswith("runs/"):
        return "RUN"
    if ENV_ID.fullmatch(word):
        return "ID"
    return "NAME" if verb == "new-env" else word


def _own_command(path: Path) -> list[str]:
    """The command that the header of a configuration shows."""
    (line,) = (line for line in path.read_text(encoding="utf-8").splitlines() if "Command:" in line)
    return next(_commands(line.partition("Command:")[2]))


@pytest.mark.parametrize("path", ON_TOP, ids=lambda path: path.stem)
def test_a_configuration_that_goes_on_top_of_another_changes_what_it_says_alone(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command = _own_command(path)
    config = yaml.safe_load(_parsed(command, capsys, monkeypatch))
    place = command.index(f"configs/{path.name}")
    without = yaml.safe_load(_parsed(command[: place - 1] + command[place + 1 :], capsys, monkeypatch))
    for section, changes in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        for name, value in changes.items():
            found = config[section].pop(name)
            without[section].pop(name)
            if isinstance(value, dict):
                assert found.items() >= value.items()
            else:
                assert found == value
    assert config == without


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_baseline_changes_what_it_says_and_keeps_the_data(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    told = path.read_text(encoding="utf-8")
    config = yaml.safe_load(_parsed(_own_command(path), capsys, monkeypatch))
    base = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    assert config["data"]["collect"].items() >= base["data"]["collect"].items()
    assert config["data"]["evaluation"]["final_episodes"] == base["data"]["evaluation"]["final_episodes"]
    assert config["model"]["phases"][1]["name"] == path.stem
    for name, value in yaml.safe_load(told)["model"].get("critic", {}).items():
        assert config["model"]["critic"][name] == value
    assert config["model"]["critic"]["width"] == base["model"]["critic"]["width"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_what_the_command_line_understands(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load(_parsed(["fit", "--config", str(path)], capsys, monkeypatch))
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = [phase["name"] for phase in given["model"]["phases"]]
    assert [phase["name"] for phase in config["model"]["phases"]] == names
    assert (
        config["trainer"]["default_root_dir"] == given["trainer"]["default_root_dir"] == f"runs/{path.stem}"
    )
    for section in ("model", "data"):
        for name, value in given[section].items():
            if not isinstance(value, (dict, list)):
                assert config[section][name] == value, f"{section}.{name}"
    interval = given["trainer"].get("val_check_interval")
    if given["data"].get("env") is not None:
        assert all(phase["updates"] % interval == 0 for phase in given["model"]["phases"])


def test_the_python_that_the_readme_shows_names_what_exists() -> None:
    (block,) = _blocks(ROOT / "README.md", "python")
    tree = ast.parse(block)
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert ("vlmq", "load") in used
    owners = {"vlmq": vlmq, "agent": Agent}
    for owner, name in used:
        assert hasattr(owners[owner], name), f"{owner}.{name}"
    call = next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "agent.act")
    assert [ast.unparse(argument) for argument in call.args] == ["image", "text"]


def test_every_file_that_the_readme_links_to_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    # The picture is written by the run that the page shows.
    missing = [t for t in targets if not (ROOT / t).exists() and not t.endswith(".png")]
    assert targets
    assert missing == []
