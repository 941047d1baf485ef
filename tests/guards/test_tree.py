"""The checkout holds what belongs to it: no machine's paths, no registries, no dead links, no big files."""

from __future__ import annotations

import re
from pathlib import Path

HOSTS = (
    "pypi.org",
    "pythonhosted.org",
    "huggingface.co",
    "hf.co",
    "hf-mirror.com",
    "download.pytorch.org",
    "anaconda.org",
    "ghcr.io",
    "docker.io",
)
HOMES = ("home", "Users", "root", "work", "workspace", "farm", "opt", "mnt", "tmp", "scratch")
MAX_BYTES = 6 * 2**20


def test_no_file_points_at_a_hub_or_a_package_registry(texts: dict[Path, str]) -> None:
    wanted = re.compile("https?://(?:[a-z0-9-]+[.])*(?:" + "|".join(map(re.escape, HOSTS)) + ")")
    assert _found(texts, wanted) == []


def test_no_file_names_a_path_of_one_machine(texts: dict[Path, str]) -> None:
    wanted = re.compile(r"(?<![\w./~$}<>)-])/(?:" + "|".join(HOMES) + r")/\w")
    assert _found(texts, wanted) == []


def test_no_file_is_large(root: Path, files: list[Path]) -> None:
    assert [f"{path}" for path in files if (root / path).stat().st_size > MAX_BYTES] == []


def test_no_module_is_called_utils(files: list[Path]) -> None:
    vague = {"utils", "util", "helpers", "misc", "common"}
    assert [str(path) for path in files if path.suffix == ".py" and path.stem in vague] == []


def test_environments_and_plugins_are_separate_distributions(root: Path, files: list[Path]) -> None:
    """`envs/` and `plugins/` are folders of projects, never Python packages themselves."""
    inside = [path for path in files if path.parts[0] in ("envs", "plugins") and len(path.parts) > 2]
    for project in sorted({Path(*path.parts[:2]) for path in inside}):
        assert not (root / project / "__init__.py").exists(), project
        assert (root / project / "pyproject.toml").is_file(), f"{project} has no pyproject.toml"
        assert (root / project / "README.md").is_file(), f"{project} has no README.md"
    assert not (root / "envs" / "__init__.py").exists()
    assert not (root / "plugins" / "__init__.py").exists()


def test_every_module_says_in_its_first_line_why_it_exists(texts: dict[Path, str]) -> None:
    code = {path: re.sub(r"\A#!.*\n", "", text) for path, text in texts.items() if path.suffix == ".py"}
    assert [str(path) for path, text in code.items() if text and not text.startswith(('"""', 'r"""'))] == []


def test_every_link_between_documents_leads_somewhere(root: Path, texts: dict[Path, str]) -> None:
    dead = []
    for path, text in texts.items():
        if path.suffix != ".md":
            continue
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
        for target in re.findall(r"\[[^\]]*\]\(\s*<?([^)>\s]+)", prose):
            file = target.partition("#")[0]
            inside = file and "://" not in file and not file.startswith("mailto:")
            if inside and not (root / path.parent / file).exists():
                dead.append(f"{path}: {target}")
    assert dead == []


def _found(texts: dict[Path, str], wanted: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path, text in texts.items()
        for match in wanted.finditer(text)
    ]
