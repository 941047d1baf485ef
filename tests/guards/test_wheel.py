"""The wheel that a user installs holds everything that the checkout promises, and works where nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

TEMPLATE = Path("plugins", "example_env")

LIGHT = (
    "gymnasium",
    "numpy",
    "pillow",
    "packaging",
    "cloudpickle",
    "farama-notifications",
    "typing-extensions",
)
"""All that an environment's worker and the commands about environments need; no torch."""

TOOLS = ("pip", "setuptools", "wheel", "build", "pyproject-hooks")


@pytest.fixture(scope="module")
def wheel(root: Path, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy: a build writes into the folder that it builds.
    source = tmp_path_factory.mktemp("source")
    for path in files:
        if path.parts[0] in ("vlmq", "configs") or len(path.parts) == 1 or path.is_relative_to(TEMPLATE):
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, source / path)
    return _built(source, tmp_path_factory.mktemp("out"))


def _built(source: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (built,) = out.glob("*.whl")
    return built


class Machine:
    """A fresh virtual environment that holds the light libraries (linked, as nothing is downloaded), and no torch."""

    listed_at_first: str

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv")
        self.bin, self.here = folder / "venv" / "bin", folder / "here"
        self.here.mkdir()
        (site,) = folder.glob("venv/lib/*/site-packages")
        for name in (*LIGHT, *TOOLS):
            owner = distribution(name)
            for top in {path.parts[0] for path in owner.files or ()} - {"..", "__pycache__"}:
                (site / top).symlink_to(Path(str(owner.locate_file(top))))

    def run(self, program: str, *args: str) -> str:
        """What a program of this machine prints; it succeeds."""
        # neither the checkout nor the tests' own plugins are on its path
        kept = {
            name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VLMQ_PLUGINS")
        }
        command = [str(self.bin / program), *args]
        done = subprocess.run(command, cwd=self.here, env=kept, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def install(self, wheel: Path) -> None:
        self.run("python", "-m", "pip", "install", "-q", "--no-index", "--no-deps", str(wheel))


@pytest.fixture(scope="module")
def machine(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """With two wheels: that of vlmq, and that of an environment which `vlmq new-env` wrote there."""
    made = Machine(tmp_path_factory.mktemp("machine"))
    made.install(wheel)
    made.listed_at_first = made.run("vlmq", "envs")
    made.run("vlmq", "new-env", "tea_house")
    made.install(_built(made.here / "vlmq-env-tea-house", made.here / "dist"))
    shutil.rmtree(made.here / "vlmq-env-tea-house")
    return made


def test_the_wheel_holds_every_module_every_configuration_and_the_template(
    wheel: Path, files: list[Path]
) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.as_posix() for path in files if path.parts[0] == "vlmq"}
    configs = {path.relative_to("configs") for path in files if path.parts[0] == "configs"}
    template = {path.relative_to(TEMPLATE) for path in files if path.is_relative_to(TEMPLATE)}
    assert any(len(path.parts) > 1 for path in configs)
    assert Path("pyproject.toml") in template
    wanted = modules | {f"vlmq/_configs/{path.as_posix()}" for path in configs}
    wanted |= {f"vlmq/_template/{path.as_posix()}" for path in template}
    assert sorted(wanted - inside) == []
    assert {name for name in inside if name.startswith("vlmq/_template/")} <= wanted, (
        "and nothing that tools left"
    )
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


def test_a_bare_installation_says_where_environments_come_from(machine: Machine) -> None:
    first, second = machine.listed_at_first.splitlines()
    assert first == "No environment is installed here. They come with packages: pip install vlmq-env-<name>"
    assert second == "Or write your own: vlmq new-env NAME"


def test_wheels_alone_suffice_to_list_and_check_an_environment(machine: Machine) -> None:
    listing = machine.run("vlmq", "envs")
    assert listing.splitlines()[1].split() == ["tea_house/TeaHouse-v0", "vlmq-env-tea-house", "0.1.0"]
    assert "Cannot" not in listing
    report = json.loads(machine.run("vlmq", "check", "tea_house/TeaHouse-v0", "--json"))
    assert report["ok"] is True
    unasked = [check["name"] for check in report["checks"] if check["status"] != "passed"]
    assert unasked == ["the_text_leaves_the_picture_its_part"], "it shows its state in one way alone"
    assert "wrote tea_house-TeaHouse-v0.png" in machine.run(
        "vlmq", "envs", "show", "tea_house/TeaHouse-v0", "--png"
    )
    assert (machine.here / "tea_house-TeaHouse-v0.png").read_bytes().startswith(b"\x89PNG")


PLAY = """
import importlib.util
from vlmq.env.pool import make_pool

if __name__ == "__main__":
    print(importlib.util.find_spec("torch"))
    with make_pool("tea_house/TeaHouse-v0", 2, workers=True, expert=True) as pool:
        steps = pool.reset({0: 1, 1: 2})
        while not any(step.ended for step in steps.values()):
            steps = pool.step({slot: step.expert for slot, step in steps.items()})
        print(*(step.success for step in steps.values()))
"""


def test_workers_play_where_there_is_no_torch(machine: Machine) -> None:
    assert machine.run("python", "-c", PLAY).splitlines() == ["None", "True True"]
