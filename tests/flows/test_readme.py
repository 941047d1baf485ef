"""What people will copy from README, documentation and headers of the configurations exists, and works."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from shown import HEAVY, ROOT, SHOWN, blocks, commands, parsed, with_our_files
from small_run import SmallRun

from vlmq.cli import main
from vlmq.data.store import EpisodeStore
from vlmq.report.results import read_results, write_results
from vlmq.trained import fqe
from vlmq.trained.agent import load

SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
# These change another configuration, after which they are named on the command line.
ON_TOP = [path for path in SHIPPED if "model" not in yaml.safe_load(path.read_text(encoding="utf-8"))]
CONFIGS = [path for path in SHIPPED if path not in ON_TOP]
BASELINES = sorted((ROOT / "configs" / "baselines").glob("*.yaml"))
ENV_ID = re.compile(r"(remote://[\w.:-]+/)?\w+/[\w-]+-v\d+")
COMMANDS = [pytest.param(list(words), id=name) for words, name in SHOWN.items()]


def test_the_readme_shows_commands() -> None:
    verbs = {words[0] for words in commands("\n".join(blocks(ROOT / "README.md", "")))}
    assert verbs >= {"fit", "validate", "collect", "envs", "configs", "data"}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_shown_to_people_exists(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    verb, *rest = words
    if verb in HEAVY:
        # A checkpoint is of a run that nobody has made here.
        rest = with_our_files(rest)
        if "--ckpt_path" in rest:
            place = rest.index("--ckpt_path")
            assert rest[place + 1] in ("last", "best") or rest[place + 1].endswith(".ckpt")
            del rest[place : place + 2]
        if "--dry-run" in rest:
            rest[rest.index("--dry-run")] = "--trainer.dry_run=true"
        assert "--config" in rest
        config = yaml.safe_load(parsed([verb, *rest], capsys, monkeypatch))
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
    return next(commands(line.partition("Command:")[2]))


@pytest.mark.parametrize("path", ON_TOP, ids=lambda path: path.stem)
def test_a_configuration_that_goes_on_top_of_another_changes_what_it_says_alone(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command = _own_command(path)
    config = yaml.safe_load(parsed(command, capsys, monkeypatch))
    place = command.index(f"configs/{path.name}")
    without = yaml.safe_load(parsed(command[: place - 1] + command[place + 1 :], capsys, monkeypatch))
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
    config = yaml.safe_load(parsed(_own_command(path), capsys, monkeypatch))
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
    config = yaml.safe_load(parsed(["fit", "--config", str(path)], capsys, monkeypatch))
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


RUNS = ("quickstart", "other", "a", "b", "c", "a1", "a2")
"""What the pages call their runs; one small run stands for all of them."""
WITH_A_RUN = ("report", "play", "export", "compare", "rank")
DONE_HERE = [
    pytest.param(list(words), id=name)
    for words, name in SHOWN.items()
    if words[0] in (*WITH_A_RUN, "doctor", "configs") or words == ("envs",)
]
"""Commands that take no longer than a moment, and need nothing but a run."""


@pytest.fixture(scope="module")
def here(small: SmallRun, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands who has followed the pages: the runs that they name are below it."""
    folder = tmp_path_factory.mktemp("reader")
    for seed, name in enumerate(RUNS):
        run = folder / "runs" / name
        shutil.copytree(trained, run)
        shutil.copytree(small.folder / "dataset", run / "dataset")
        rows = [replace(row, seed=seed) for row in read_results(run / "results.json")]
        write_results(run / "results.json", rows)
    return folder


def test_every_verb_that_is_for_a_run_is_done_here() -> None:
    done = {words.values[0][0] for words in DONE_HERE}  # type: ignore[index]
    assert done == {*WITH_A_RUN, "doctor", "configs", "envs"}


@pytest.mark.parametrize("words", DONE_HERE)
def test_a_command_shown_to_people_does_what_it_is_for(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    monkeypatch.setattr(fqe, "Fit", partial(fqe.Fit, updates=20))  # `rank` takes a minute a run
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.is_file()}
    code = main(words)
    said = capsys.readouterr()
    assert code == 0, said.err
    written = [
        path for path in here.rglob("*") if path.is_file() and path.stat().st_mtime_ns != before.get(path)
    ]
    assert written or said.out.strip()
    for word in words:
        if word.endswith((".png", ".gif", ".html", ".md")):
            assert here / word in written, word


def test_the_python_that_the_readme_shows_acts(
    small: SmallRun, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = blocks(ROOT / "README.md", "python")
    seen = EpisodeStore.open(small.folder / "dataset")[0].turns[0].observation
    monkeypatch.chdir(here)
    names: dict[str, Any] = {"image": seen.image, "text": seen.text}
    exec(compile(block, "README.md", "exec"), names)
    again = load("runs/quickstart").answer(seen.image, seen.text)
    assert (names["agent"].reply, names["action"]) == (again.text, again.action)
    assert again.text


def test_every_file_that_the_readme_links_to_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    # The picture is written by the run that the page shows.
    missing = [t for t in targets if not (ROOT / t).exists() and not t.endswith(".png")]
    assert targets
    assert missing == []
