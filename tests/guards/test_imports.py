"""The house has the walls that its drawing shows: who may import whom, and what stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest


def test_import_contracts_are_kept(root: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    "module",
    [
        "vlmq",
        "vlmq.api",
        "vlmq.api.contract",
        "vlmq.api.testing",
        "vlmq.cli",
        "vlmq.configs",
        "vlmq.keys",
        "vlmq.env.by_hand",
        "vlmq.env.check",
        "vlmq.env.facts",
        "vlmq.env.registry",
        "vlmq.env.pool",
        "vlmq.env.scaffold",
        "vlmq.env.wrappers",
        "vlmq.data.schema",
        "vlmq.data.store",
        "vlmq.data.jsonl",
        "vlmq.data.convert",
        "vlmq.data.lint",
        "vlmq.report.datastats",
        "vlmq.report.browse",
        "vlmq.report.film",
        "vlmq.report.stats",
        "vlmq.report.results",
        "vlmq.report.plots",
    ],
)
def test_light_modules_import_no_heavy_library(module: str) -> None:
    # In a process of its own: what runs beside this test has long imported torch.
    heavy = ("torch", "lightning", "transformers", "torchrl", "matplotlib")
    code = f"import {module}, sys; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_command_line_needs_only_the_standard_library_at_import() -> None:
    code = "import sys; before = set(sys.modules); import vlmq.cli; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    assert tops - set(sys.stdlib_module_names) == {"vlmq"}


def test_plugins_import_the_plugin_boundary_only(root: Path, files: list[Path]) -> None:
    packages = [path for path in files if _in_plugin_package(path)]
    assert packages
    crossed = [
        f"{path}: {name}"
        for path in packages
        for name in _imported(root / path)
        if name.partition(".")[0] == "vlmq" and name != "vlmq.api" and not name.startswith("vlmq.api.")
    ]
    assert crossed == []


def test_the_core_names_no_plugin(root: Path, files: list[Path]) -> None:
    """No plugin's package occurs in vlmq/, and no id of one; nor do those of our environments in the core's tests."""
    packages, ids = _environments(root, files)
    anyones = [r"\bvlmq_(?:env|model)_[a-z]\w*", r"\bvlmq-(?:env|model)-[a-z][\w-]*"]
    assert _named(root, files, "vlmq", [*anyones, *ids]) == []
    assert _named(root, files, "tests", [*packages, *ids]) == []


def _environments(root: Path, files: list[Path]) -> tuple[list[str], list[str]]:
    """Patterns of the packages of our environments, and of their ids."""
    patterns = ("envs/*/pyproject.toml", "plugins/*/pyproject.toml")
    packages, ids = [], []
    for path in [path for path in files if any(path.match(pattern) for pattern in patterns)]:
        project = tomllib.loads((root / path).read_text(encoding="utf-8"))["project"]
        for namespace, specs in project.get("entry-points", {}).get("vlmq.envs", {}).items():
            packages += [rf"\b{re.escape(name)}\b" for name in (project["name"], specs.partition(":")[0])]
            ids.append(rf"\b{re.escape(namespace)}/[A-Za-z]\w*")
    assert packages
    return packages, ids


def _named(root: Path, files: list[Path], folder: str, words: list[str]) -> list[str]:
    return [
        f"{path}: {found.group()}"
        for path in files
        if path.parts[0] == folder and path.suffix == ".py"
        for found in re.finditer("|".join(words), (root / path).read_text(encoding="utf-8"))
    ]


def test_every_imported_library_is_a_declared_dependency(root: Path, files: list[Path]) -> None:
    """A plain installation has what the code imports; a test environment would hide what is missing.

    What an extra brings may be imported inside a function, where its absence can be said in a sentence.
    """
    owners = packages_distributions()
    missing = []
    for project in [path for path in files if path.name == "pyproject.toml"]:
        declared, extras = _declared(root / project), _extras(root / project)
        if "vlmq" in declared:  # what vlmq brings along is there
            declared |= _declared(root / "pyproject.toml")
        own = [path for path in files if path.suffix == ".py" and _belongs(path, project.parent)]
        assert own, project
        for path in own:
            always = {name.partition(".")[0] for name in _imported(root / path, lazily=False)}
            for top in {name.partition(".")[0] for name in _imported(root / path)} - sys.stdlib_module_names:
                distributions = {_normal(name) for name in owners.get(top, [top])}
                allowed = declared if top in always else declared | extras
                if not top.startswith("vlmq") and not distributions & allowed:
                    missing.append(f"{path}: {top}")
    assert missing == []


def _declared(project: Path) -> set[str]:
    return _names(tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("dependencies", []))


def _extras(project: Path) -> set[str]:
    """What a user may add; `test` and `dev` are nobody's who uses it."""
    found = tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("optional-dependencies", {})
    return {name for extra, lines in found.items() if extra not in ("test", "dev") for name in _names(lines)}


def _names(lines: list[str]) -> set[str]:
    return {_normal(re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0]) for line in lines}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _belongs(path: Path, project: Path) -> bool:
    """Whether a module is part of what a project's distribution installs."""
    return path.is_relative_to(project) and path.relative_to(project).parts[0].startswith("vlmq")


def _in_plugin_package(path: Path) -> bool:
    return (
        path.suffix == ".py"
        and len(path.parts) > 3
        and path.parts[0] in ("envs", "plugins")
        and path.parts[2].startswith("vlmq_")
    )


def _imported(path: Path, *, lazily: bool = True) -> list[str]:
    """Absolute names a file imports, at any depth; `from a import b` counts as a.b where a is `vlmq`.

    Without `lazily` those that importing the file imports: not inside functions, nor for a type checker alone.
    """
    names = []
    rest: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while rest:
        node = rest.pop()
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not lazily and (
            for_types or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        ):
            continue
        rest += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            whole = [f"vlmq.{alias.name}" for alias in node.names]
            names += whole if node.module == "vlmq" else [node.module]
    return names
