"""`vlmq doctor`: what this machine and installation are, in one block for a bug report, and what wants mending."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from vlmq.cli.words import Wrong, asks_for_help

HELP = """\
usage: vlmq doctor

Says what runs here: versions, devices, threads, disk, plugins. Paste it into a bug report. What wants mending is
listed below it, each with its mend; the exit code is 1 if anything is.
"""

ROOM_GB = 2.0
"""Free disk below which runs are likely to die of a full one."""


def doctor(args: list[str]) -> int:
    """Print the block; 0 where nothing wants mending, else 1."""
    if asks_for_help(args):
        print(HELP, end="")
        return 0
    if args:
        raise Wrong("`vlmq doctor` takes no argument; see `vlmq doctor --help`.")
    troubles: list[str] = []
    facts = [*_machine(troubles), *_packages(troubles), *_torch(troubles), *_plugins(troubles)]
    width = max(len(name) for name, _ in facts)
    for name, fact in facts:
        print(f"{name.ljust(width)}  {fact}")
    print("\nTo mend:" if troubles else "\nNothing wants mending.")
    for trouble in troubles:
        print(f"- {trouble}")
    return 1 if troubles else 0


def _machine(troubles: list[str]) -> Iterator[tuple[str, str]]:
    yield "system", f"{platform.platform()}, Python {platform.python_version()} in {sys.prefix}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS")
    yield "cores", f"{cores}, OMP_NUM_THREADS {'is not set' if threads is None else f'= {threads}'}"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield "memory", f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB"
    places = {
        "here": Path.cwd(),
        "temporary files": Path(tempfile.gettempdir()),
        "shared memory": Path("/dev/shm"),
    }
    for name, place in places.items():
        if not place.is_dir():
            continue
        free = shutil.disk_usage(place).free / 1e9
        yield f"free, {name}", f"{free:.1f} GB in {place}"
        if name != "shared memory" and free < ROOM_GB:
            troubles.append(f"{place} has {free:.1f} GB left: free some, a run stops when the disk is full.")


def _packages(troubles: list[str]) -> Iterator[tuple[str, str]]:
    from packaging.requirements import Requirement

    yield "vlmq", version("vlmq")
    found, wrong = [], []
    for line in requires("vlmq") or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(wanted.name)
        except PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        found.append(f"{wanted.name} {there}")
        if not wanted.specifier.contains(there, prereleases=True):
            wrong.append(f"{wanted.name} is {there}, and vlmq needs {wanted.specifier}")
    yield "packages", ", ".join(found)
    if wrong:
        troubles.append(f"{'; '.join(wrong)}: run `pip install --upgrade vlmq` in this environment.")


def _torch(troubles: list[str]) -> Iterator[tuple[str, str]]:
    try:
        import torch
    except Exception as error:  # whatever a broken build raises, the rest of the block is still wanted
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        yield "torch", f"does not import ({said[:200]})"
        troubles.append(
            "torch does not import: install it anew for this machine, as pytorch.org's selector says."
        )
        return
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    yield "torch", f"{built}, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(number)
            yield f"GPU {number}", f"{device.name}, {device.total_memory / 1e9:.0f} GB"
    else:
        yield "GPU", "Apple MPS" if torch.backends.mps.is_available() else "none that torch can use"
        if not torch.version.cuda and shutil.which("nvidia-smi"):
            troubles.append(
                "there is an NVIDIA driver, but this torch is built for the CPU: install the CUDA build, as "
                "pytorch.org's selector says."
            )
    yield "torchrl", _torchrl_extension()


def _torchrl_extension() -> str:
    """Whether TorchRL's compiled part loads: it fits one version of torch each. Nothing here needs it."""
    try:
        from torchrl import _torchrl  # noqa: F401
    except Exception:
        return "without its compiled extension, which is not needed here"
    return "with its compiled extension"


def _plugins(troubles: list[str]) -> Iterator[tuple[str, str]]:
    from vlmq.env.registry import discover

    plugins = discover().plugins
    if not plugins:
        troubles.append("no environment is installed: `pip install vlmq-env-<name>`.")
    for plugin in plugins:
        state = f"{len(plugin.specs)} ids" if plugin.reason is None else "set aside"
        yield f"plugin {plugin.name}", f"{plugin.distribution}, {state}"
        said = (plugin.reason, plugin.unavailable, *plugin.warnings)
        troubles.extend(f"plugin '{plugin.name}': {one}" for one in said if one is not None)
