"""Before anything of ours is imported: one thread a process, shapes in signatures are checked, `line/*` installed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from vlmq.api import Turn
    from vlmq.model.backbone import Backbone
    from vlmq.prompt.encode import Encoder

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# The games that these tests play: a plugin like any other, for this process and for those that it starts.
GAMES = str(Path(__file__).with_name("games"))
sys.path.insert(0, GAMES)
os.environ["PYTHONPATH"] = os.pathsep.join([GAMES, *filter(None, [os.environ.get("PYTHONPATH")])])

from jaxtyping import install_import_hook  # noqa: E402

# The hook rewrites modules as they are imported: every annotated call in these packages, and every array
# shape, is then checked by beartype. It stays for the whole test session.
install_import_hook(["vlmq.loss", "vlmq.model"], "beartype.beartype")


Install = Callable[..., None]
_PLACES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")


@contextmanager
def _installing(folder: Path) -> Iterator[Install]:
    before = set(sys.modules)

    def write(
        namespace: str, source: str, *, value: str = "SPECS", distribution: str = "", **modules: str
    ) -> None:
        name = distribution or f"vlmq-env-{namespace}"
        (folder / f"{namespace}_specs.py").write_text(source)
        for module, text in modules.items():
            (folder / f"{module}.py").write_text(text)
        metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        points = f"[vlmq.envs]\n{namespace} = {namespace}_specs:{value}\n"
        (metadata / "entry_points.txt").write_text(points)

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.delenv("VLMQ_PLUGINS", raising=False)
        yield write
    for module in set(sys.modules) - before:
        if module.endswith(("_specs", "_env")):
            del sys.modules[module]


@pytest.fixture(scope="session")
def installing() -> Callable[[Path], AbstractContextManager[Install]]:
    """Installs throwaway plugins, real modules and distribution metadata, in a folder on `sys.path`.

    `with installing(folder) as install` gives install(namespace, source of its spec module, **sources of others).
    """
    return _installing


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """The same for one test."""
    with _installing(tmp_path) as write:
        yield write


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model and its processor, as Hugging Face loads them. Nobody writes into it."""
    from vlmq_model_tiny.build import build

    directory = tmp_path_factory.mktemp("tiny") / "untrained"
    build(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_encoder(tiny_directory: Path) -> Encoder:
    """The encoder of the tiny model, replies in JSON."""
    from vlmq.prompt.encode import Encoder

    return Encoder.load(tiny_directory)


@pytest.fixture(scope="session")
def tiny_backbone(tiny_directory: Path) -> Backbone:
    """The tiny model, for reading only: a test that trains it takes a deep copy."""
    from vlmq.model.backbone import load_backbone

    return load_backbone(str(tiny_directory)).eval()


@pytest.fixture(scope="session")
def tiny_turns(tiny_encoder: Encoder) -> tuple[Turn, ...]:
    """Six turns with their own pictures and texts, and replies of different lengths."""
    from vlmq.api import Observation, Turn

    rng = np.random.default_rng(0)
    said = ("+", "go to shelf 1", "-", "take the red key", "", "open door")
    turns = []
    for index, action in enumerate(said):
        reply = f'{{"action": "{action}"}}'
        turns.append(
            Turn(
                Observation(f"turn {index}: " + "look " * index, rng.integers(0, 256, (64, 64, 3), np.uint8)),
                reply,
                action,
                reward=index - 2.5,
                action_ok=index != 4,
                reply_ids=tiny_encoder.reply(reply),
                source="model" if index % 2 else "random",
            )
        )
    return tuple(turns)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser, as playwright has it."""
    found = next(filter(None, map(shutil.which, _PLACES)), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have Chromium")
        pytest.skip("no Chromium; provide it with `apt-get install -y chromium`")
    from playwright.sync_api import sync_playwright

    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # as root it cannot confine its pages
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=sandbox)
        yield browser
        browser.close()
