"""Writes the package of a new environment: the template, a plugin that works, under another name.

The template ships with vlmq (`vlmq/_template` of an installation). It is no copy with holes but the very plugin that
the project keeps and tests; only its names are replaced, each wherever it occurs, and nothing else.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

from vlmq.api import UserError
from vlmq.api.contract import ENTRY_POINT_GROUP

LONGEST_NAME = 28
"""Letters of a name: with a longer one the lines of the new package outgrow what its style allows."""

# What belongs to the template; its folder in a checkout also holds what tools leave there.
_PATTERNS = ("pyproject.toml", "README.md", "vlmq_env_*/*.py", "vlmq_env_*/py.typed", "tests/*.py")

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new_env(name: str, into: Path | None = None) -> Path:
    """Write the package of an environment; returns its folder.

    Args:
        name: namespace of the ids; the package becomes `vlmq-env-<name>`.
        into: the folder to make; None means `vlmq-env-<name>` in the current one.

    Raises:
        UserError: the name is none or taken, or the folder exists or cannot be written.
    """
    files = render(name)
    owners = sorted(
        point.dist.name for point in entry_points(group=ENTRY_POINT_GROUP, name=name) if point.dist
    )
    if owners:
        raise UserError(f"the name '{name}' is taken by the installed {owners[0]}; choose another one.")
    folder = Path(distribution_of(name)) if into is None else into
    try:
        folder.mkdir(parents=True)
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise UserError(
            f"'{folder}' exists already and is left as it is; name a new folder: vlmq new-env {name} --into FOLDER."
        ) from None
    except OSError as error:
        raise UserError(
            f"'{folder}' cannot be written ({error.strerror}); name another one with --into."
        ) from None
    return folder


def render(name: str) -> dict[str, str]:
    """Every file of the new package: its text by its path.

    Raises:
        UserError: the name is no lower-case identifier, or too long.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UserError(
            f"'{name}' is no name for an environment; give at most {LONGEST_NAME} lower-case letters, digits and"
            " single underscores, a letter first, such as grid_world."
        )

    files = template()
    old, environment = _names_of(files)
    # The namespace, its module and its distribution; the environment as class, as id and as test.
    known = re.compile(
        rf"(?P<distribution>vlmq-env-{old}\b)|(?P<module>vlmq_env_{old}\b)|(?P<namespace>\b{old}\b)"
        rf"|(?P<environment>\b(?:Test)?{environment}(?:Env)?\b)"
    )

    def new(found: re.Match[str]) -> str:
        if found["distribution"]:
            return distribution_of(name)
        return (
            found.group().replace(environment, class_of(name))
            if found["environment"]
            else (found.group().removesuffix(old) + name)
        )

    return {known.sub(new, path): known.sub(new, text) for path, text in files.items()}


def id_of(name: str) -> str:
    """Id of the environment that `new_env` writes."""
    return f"{name}/{class_of(name)}-v0"


def distribution_of(name: str) -> str:
    """What the new package is called where packages are published."""
    return f"vlmq-env-{name.replace('_', '-')}"


def class_of(name: str) -> str:
    """`grid_world` as a class would be called: `GridWorld`."""
    return "".join(part.capitalize() for part in name.split("_"))


def template() -> dict[str, str]:
    """The files of the template: the text of each by its path."""
    top = _folder()
    files = sorted(path for pattern in _PATTERNS for path in top.glob(pattern))
    if not files:
        raise RuntimeError(f"this installation holds no template in {top}")
    return {path.relative_to(top).as_posix(): path.read_text(encoding="utf-8") for path in files}


def _names_of(files: dict[str, str]) -> tuple[str, str]:
    """What the template calls itself: its namespace, and its environment. It says so in its own files alone."""
    (namespace,) = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"][ENTRY_POINT_GROUP]
    (environment,) = re.findall(rf'"{namespace}/(\w+)-v0"', files[f"vlmq_env_{namespace}/__init__.py"])
    return namespace, environment


def _folder() -> Path:
    """Where the template lies: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_template"
    return installed if installed.is_dir() else package.parent / "plugins" / "example_env"
