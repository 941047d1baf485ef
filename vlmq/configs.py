"""The configurations that ship with vlmq: list them, read them, copy them, find one by a short name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from vlmq.api.errors import UserError


def folder() -> Path:
    """Where the shipped files lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_configs"
    return installed if installed.is_dir() else package.parent / "configs"


def names() -> tuple[str, ...]:
    """Names of the shipped configurations, without suffix; those of subfolders, which go on top of another, last."""
    top = folder()
    found = [path.relative_to(top).with_suffix("").as_posix() for path in top.rglob("*.yaml")]
    return tuple(sorted(found, key=lambda name: ("/" in name, name)))


def resolve(path: str) -> Path:
    """The file that `path` means: an existing file, else the shipped one of that name.

    `configs/quickstart.yaml`, `quickstart.yaml` and `quickstart` all mean the shipped file where no such
    file exists here.

    Raises:
        UserError: neither exists; the message names the nearest shipped ones.
    """
    given = Path(path)
    if given.is_file():
        return given
    name = given.as_posix().removeprefix("configs/").removesuffix(".yaml")
    if name in names():
        return folder() / f"{name}.yaml"
    raise UserError(f"there is no configuration '{path}'{_suggestion(name)}")


def read(name: str) -> str:
    """The text of a configuration, found as `resolve` finds it."""
    return resolve(name).read_text(encoding="utf-8")


def copy(name: str, dest: str | os.PathLike[str] | None = None) -> Path:
    """Copy a configuration to `dest` (a file, or an existing folder) for you to edit; returns the new file.

    Without `dest` it becomes `configs/<name>.yaml` below the current folder.

    Raises:
        UserError: the configuration is unknown, or the new file exists already.
    """
    source = resolve(name)
    target = Path("configs", source.name) if dest is None else Path(dest)
    if target.is_dir():
        target = target / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise UserError(
            f"'{target}' exists already; name another file: vlmq configs copy {name} FILE."
        ) from None
    return target


def summary(name: str) -> str:
    """The first sentence of a configuration's header: what it is for."""
    first = read(name).splitlines()[:1]
    return first[0].removeprefix("#").strip() if first and first[0].startswith("#") else ""


def _suggestion(name: str) -> str:
    near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(repr(other) for other in near)}? `vlmq configs` lists all."
    return "; `vlmq configs` lists those that ship with vlmq."
