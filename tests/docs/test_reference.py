"""The pages of commands and settings say what the code says, and no setting is left out."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from vlmq.train import cli as heavy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/reference.py, which is a script and not part of a package."""
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_reference"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["commands", "settings"])
def test_a_page_of_reference_is_what_the_code_says_now(page: str, reference: ModuleType) -> None:
    written = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert getattr(reference, page)() == written, (
        f"run `python docs/reference.py` to write docs/{page}.md anew"
    )


def test_a_setting_without_a_description_has_no_page(reference: ModuleType) -> None:
    class Half:
        """Told in part.

        Args:
            told: what it is.
        """

        def __init__(self, told: int, untold: int = 1) -> None: ...

    with pytest.raises(SystemExit, match="Half: 'untold' is not described"):
        list(reference.rows(Half))


def test_every_setting_that_the_command_line_takes_is_on_the_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["vlmq"])
    adapters = ["--model.lora.rank", "8", "--print_config"]
    with pytest.raises(SystemExit):
        heavy.main(["fit", "--config", "configs/quickstart.yaml", *adapters])
    taken = yaml.safe_load(capsys.readouterr().out)
    told = _told((ROOT / "docs" / "settings.md").read_text(encoding="utf-8"))
    for section in ("model", "data"):
        assert set(taken[section]) | {"seed"} == told[section] | {"seed"}  # data.seed follows seed_everything
    assert set(taken["model"]["phases"][0]) == told["model.phases[]"]
    for section, within in {"critic": "model", "lora": "model", "collect": "data", "online": "data"}.items():
        assert set(taken[within][section]) == told[f"{within}.{section}"]
    assert set(taken["data"]["evaluation"]) == told["data.evaluation"]
    assert told["trainer"] < set(taken["trainer"])
    # A mapping of settings that has no section would be named here.
    ours = {
        f"{s}.{key}" for s in ("model", "data") for key, value in taken[s].items() if isinstance(value, dict)
    }
    assert ours - {"data.env_args"} <= set(told)


def _told(page: str) -> dict[str, set[str]]:
    """The keys of each section."""
    parts = re.split(r"^## (.+)$", page, flags=re.M)
    return {
        name: set(re.findall(r"^\| `(\w+)` \|", text, re.M))
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }
