"""The wheel that a user installs holds everything that the checkout promises."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(root: Path, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy: a build writes into the folder that it builds.
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("out")
    for path in files:
        if path.parts[0] in ("vlmq", "configs") or len(path.parts) == 1:
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, source / path)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_every_configuration(wheel: Path, files: list[Path]) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path.as_posix() for path in files if path.parts[0] == "vlmq"}
    shipped = [path.relative_to("configs") for path in files if path.parts[0] == "configs"]
    wanted |= {f"vlmq/_configs/{path.as_posix()}" for path in shipped}
    assert any(len(path.parts) > 1 for path in shipped)
    assert any(name.startswith("vlmq/_configs/") for name in wanted)
    assert sorted(wanted - inside) == []
    assert {name.partition("/")[0] for name in inside if ".dist-info" not in name} == {"vlmq"}


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_an_installed_wheel_finds_its_configurations_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    # -I and one folder on the path first: the checkout and its editable install stay out of sight.
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import vlmq.configs as c; "
        "print(c.__file__); print(c.resolve('configs/' + c.names()[0] + '.yaml'))"
    )
    command = [sys.executable, "-I", "-c", code, str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    module, config = map(Path, done.stdout.split())
    assert module.is_relative_to(tmp_path / "site")
    assert config.is_file()
    assert config.parent == tmp_path / "site" / "vlmq" / "_configs"
