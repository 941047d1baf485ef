"""`new_env` writes the template under another name: all of it, nowhere else, and in the same style."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vlmq.api import UserError
from vlmq.env import scaffold

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "plugins" / "example_env"


def test_the_template_is_the_plugin_that_the_project_keeps() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=TEMPLATE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(scaffold.template()) == set(listed.stdout.split())


def test_names_are_replaced_everywhere_and_nothing_else_changes() -> None:
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (old,) = project["entry-points"]["vlmq.envs"]
    (old_class,) = re.findall(rf"{old}/(\w+)-v0", (TEMPLATE / f"vlmq_env_{old}" / "__init__.py").read_text())
    template, made = scaffold.template(), scaffold.render("tea_house")
    assert not any(re.search(rf"\b{old}\b|_{old}\b|{old_class}", path + text) for path, text in made.items())
    back = {
        "vlmq-env-tea-house": f"vlmq-env-{old}",
        "tea_house": old,
        "TeaHouse": old_class,
    }
    for new, before in back.items():
        made = {path.replace(new, before): text.replace(new, before) for path, text in made.items()}
    assert made == template


def test_the_namespace_of_the_template_is_no_word_of_its_prose() -> None:
    # else `new_env` would replace it in the middle of a sentence
    made = scaffold.render("zyx")
    around = {found for text in made.values() for found in re.findall(r"(?<![\w-])zyx\b.{0,4}", text)}
    assert around == {"zyx/Zyx", 'zyx = "'}


@pytest.mark.parametrize("name", ["a", "x2", "a" * scaffold.LONGEST_NAME, "abcdefg_ijklmno_qrstuvw_yz12"])
def test_a_new_package_keeps_its_own_style_whatever_its_name(name: str, tmp_path: Path) -> None:
    folder = scaffold.new_env(name, tmp_path / "new")
    assert scaffold.id_of(name).startswith(f"{name}/")
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
        done = subprocess.run(ruff, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    longest = max(len(line) for path in folder.rglob("*.md") for line in path.read_text().splitlines())
    assert longest <= 120 + 2 * len(name)


def test_the_package_goes_where_it_is_told_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert scaffold.new_env("tea_house") == Path("vlmq-env-tea-house")
    assert scaffold.new_env("tea_house", tmp_path / "deep" / "down") == tmp_path / "deep" / "down"
    assert (tmp_path / "deep" / "down" / "vlmq_env_tea_house" / "env.py").is_file()


@pytest.mark.parametrize(
    "name", ["", "Tea", "tea-house", "tea__house", "_tea", "2tea", "té", "tea\n", "a" * 29]
)
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no name for an environment; give at most 28 lower-case letters"):
        scaffold.new_env(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_taken_is_refused_with_its_owner(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the name 'line' is taken by the installed vlmq-env-line"):
        scaffold.new_env("line", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").write_text("precious")
    for taken in ("mine", "file"):
        with pytest.raises(UserError, match=f"{taken}' exists already and is left as it is"):
            scaffold.new_env("tea", tmp_path / taken)
    assert list((tmp_path / "mine").iterdir()) == []
    with pytest.raises(UserError, match="cannot be written"):
        scaffold.new_env("tea", tmp_path / "file" / "new")
    assert (tmp_path / "file").read_text() == "precious"


def test_the_new_package_passes_its_own_tests_untouched(tmp_path: Path) -> None:
    """Its tests ask the whole conformance kit, in fresh processes, too."""
    folder = scaffold.new_env("tea_house", tmp_path / "new")
    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["vlmq.envs"]
    info = folder / "vlmq_env_tea_house-0.1.0.dist-info"  # as if installed
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vlmq-env-tea-house\nVersion: 0.1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[vlmq.envs]\n{lines}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\b\d\d passed, 1 skipped in", done.stdout), done.stdout[-300:]
