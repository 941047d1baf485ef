"""Whether this machine has what the games need: TextWorld, and for ALFWorld a planner and the data."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from vlmq.api import PluginError

DATA_VARIABLE = "ALFWORLD_DATA"
"""Environment variable that names ALFWorld's data folder, as ALFWorld itself has it."""

SYSTEMS = "TextWorld runs on Linux and macOS only"
INSTALL_COMMAND = "pip install textworld==1.7.0"
INSTALL_PLANNER = "pip install fast-downward-textworld==20.6.4"
GET_DATA = (
    "`pip install alfworld && alfworld-download` fetches ALFWorld's games into a folder;"
    f" name that folder by the environment variable {DATA_VARIABLE}"
)


def missing() -> str | None:
    """What the games of TextWorld lack here, with the mend; it looks for files and imports nothing."""
    if sys.platform == "win32":
        return f"{SYSTEMS}: use one of them, or Windows' subsystem for Linux."
    if find_spec("textworld") is None:
        return f"TextWorld is not installed: `{INSTALL_COMMAND}` ({SYSTEMS}; a C compiler is needed)."
    jericho = find_spec("jericho")
    if jericho is None or jericho.origin is None:
        return f"jericho, which TextWorld imports, is not installed: `{INSTALL_COMMAND}`."
    if not Path(jericho.origin).with_name("libfrotz.so").is_file():
        return "jericho was installed without its library: `pip install --force-reinstall jericho==3.3.1`."
    return None


def demand_textworld() -> None:
    """Import TextWorld, or say why that cannot be done.

    Raises:
        PluginError: it is missing, or its import fails.
    """
    reason = missing()
    if reason is not None:
        raise PluginError(reason)
    try:
        importlib.import_module("textworld")
    except Exception as error:  # a library of C code may fail in many ways
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise PluginError(
            f"TextWorld does not import ({said}): reinstall it with"
            f" `pip install --force-reinstall --no-deps textworld==1.7.0 jericho==3.3.1`."
        ) from error


def demand_alfworld(folder: str | None) -> Path:
    """ALFWorld's data folder.

    Args:
        folder: where it is; None: where `DATA_VARIABLE` says.

    Raises:
        PluginError: it is not named or not there, or the planner is not installed.
    """
    named = folder if folder is not None else os.environ.get(DATA_VARIABLE, "")
    if not named:
        raise PluginError(
            f"ALFWorld's games are not in this package, and {DATA_VARIABLE} is not set: {GET_DATA}."
        )
    if not Path(named).expanduser().is_dir():
        raise PluginError(f"ALFWorld's data folder {named!r} does not exist: {GET_DATA}.")
    if find_spec("fast_downward") is None:
        raise PluginError(f"ALFWorld's games need a planner that is not installed: `{INSTALL_PLANNER}`.")
    return Path(named).expanduser()
