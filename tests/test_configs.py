"""A configuration is found by path or by name, and a wrong name is answered with a near one."""

from __future__ import annotations

from pathlib import Path

import pytest

from vlmq import configs
from vlmq.api import UserError


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_short_name_a_file_name_and_a_path_find_the_shipped_file(elsewhere: Path) -> None:
    name = configs.names()[0]
    shipped = configs.folder() / f"{name}.yaml"
    assert shipped.is_file()
    for given in (name, f"{name}.yaml", f"configs/{name}.yaml", f"configs/{name}"):
        assert configs.resolve(given) == shipped


def test_a_file_of_ones_own_wins_over_the_shipped_one(elsewhere: Path) -> None:
    name = configs.names()[0]
    own = elsewhere / "configs" / f"{name}.yaml"
    own.parent.mkdir()
    own.write_text("mine: 1\n")
    assert configs.resolve(f"configs/{name}.yaml").resolve() == own
    assert configs.read(f"configs/{name}.yaml") == "mine: 1\n"


def test_another_folder_never_falls_back_to_the_shipped_file(elsewhere: Path) -> None:
    with pytest.raises(UserError, match="no configuration 'mine/"):
        configs.resolve(f"mine/{configs.names()[0]}.yaml")


def test_a_misspelt_name_is_answered_with_the_nearest(elsewhere: Path) -> None:
    name = configs.names()[0]
    with pytest.raises(UserError) as caught:
        configs.resolve(f"configs/{name[:-1]}x{name[-1:]}.yaml")
    assert f"'{name}'" in str(caught.value)


def test_a_copy_is_the_same_text_and_never_overwrites(elsewhere: Path) -> None:
    name = configs.names()[0]
    target = configs.copy(name, "mine.yaml")
    assert target.read_text(encoding="utf-8") == configs.read(name)
    target.write_text("edited: 1\n")
    with pytest.raises(UserError, match="exists already"):
        configs.copy(name, "mine.yaml")
    assert target.read_text() == "edited: 1\n"


def test_a_copy_goes_to_configs_below_here_or_into_a_folder(elsewhere: Path) -> None:
    name = configs.names()[0]
    assert configs.copy(name) == Path("configs", f"{name}.yaml")
    (elsewhere / "box").mkdir()
    assert configs.copy(name, "box") == Path("box", f"{name}.yaml")
    assert (elsewhere / "box" / f"{name}.yaml").is_file()


def test_every_shipped_configuration_says_in_one_line_what_it_is_for() -> None:
    assert configs.names()
    for name in configs.names():
        assert len(configs.summary(name)) > 10, name
