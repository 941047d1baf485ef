"""`vlmq envs`: what is installed, what is wrong with it, and what one environment shows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlmq import api
from vlmq.env import registry

Vlmq = Callable[..., Any]
Install = Callable[..., None]

SPEC = "from gymnasium.envs.registration import EnvSpec\nSPECS = (EnvSpec('{0}/A-v0', 'm:A'),)\n"

PLUGINS = {
    "elm": "raise OSError('no bark')\n",
    "heavy": "import torch\n" + SPEC,
    "phone": "import socket\nsocket.getaddrinfo('localhost', 80)\n" + SPEC,
    "web": SPEC + "def unavailable():\n    return 'there is no browser: apt-get install chromium.'\n",
    "future": "REQUIRES_API = '>=2,<3'\n" + SPEC,
    "twin": SPEC,
}


def test_every_faulty_plugin_is_named_with_its_reason_and_harms_no_other(
    install: Install, tmp_path: Path
) -> None:
    for name, source in PLUGINS.items():
        install(name, source.format(name))
    install("twin", SPEC.format("twin"), distribution="vlmq-env-impostor")
    (tmp_path / "torch.py").write_text("")  # so that the real one need not be loaded to tell
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])}
    command = [sys.executable, "-m", "vlmq.cli", "envs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    listed, _, rest = done.stdout.partition("\n\n")
    absent, _, broken = rest.partition("Cannot be used:")
    for env_id in ("line/Walk-v0", "line/Recall-v0", "heavy/A-v0", "web/A-v0"):
        assert f"\n{env_id} " in listed
    assert "warning: plugin 'heavy': importing heavy_specs imports torch: keep it out" in absent
    assert "\n  web/...: there is no browser: apt-get install chromium.\n" in absent
    for said in (
        "plugin 'elm' (vlmq-env-elm 1.0) does not import: OSError: no bark",
        "plugin 'phone' (vlmq-env-phone 1.0) opens a connection while it is imported: socket.getaddrinfo",
        f"plugin 'future' needs vlmq.api >=2,<3, and this is {api.VERSION}",
        "plugin 'twin' is claimed by vlmq-env-impostor 1.0 and vlmq-env-twin 1.0: uninstall one of them.",
    ):
        assert f"\n  {said}" in broken
    for name in ("elm", "phone", "future", "twin"):
        assert f"\n{name}/" not in listed


def test_where_no_plugin_may_load_the_listing_says_so(vlmq: Vlmq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMQ_PLUGINS", "none")
    done = vlmq("envs", "list")
    assert done.code == 0
    assert done.out.startswith("Environments are installed here, and none can be used.\n")
    assert "plugin 'line' is kept from loading by VLMQ_PLUGINS=none" in done.out


def facts_of(out: str) -> dict[str, str]:
    """What `envs show` says by name; a value that is broken over lines in one piece."""
    facts: dict[str, str] = {}
    name = ""
    for line in out.split("\n\n")[1].splitlines():
        label, value = line[2:20].strip(), line[2:].split("  ", 1)[-1].strip()
        name = label.split("  ")[0] or name
        facts[name] = f"{facts.get(name, '')} {value}".strip()
    return facts


@pytest.mark.usefixtures("oak")
def test_show_tells_spaces_declarations_arguments_and_the_beginning(vlmq: Vlmq) -> None:
    done = vlmq("envs", "show", "oak/Old-v0")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("oak/Old-v0\nAn oak, to be climbed with care.\n\n")
    assert facts_of(done.out) == {
        "comes with": "vlmq-env-oak 1.0",
        "picture": "4 x 4 pixels (height x width)",
        "text": "at most 1,024 bytes",
        "action": "a text of at most 256 bytes",
        "reward of a turn": "0 to 1",
        "success": "the top is reached",
        "modalities": "text",
        "needs": "a ladder: `apt-get install ladder`",
        "licence": "MIT",
        "success by chance": "25 %",
        "a process each": "no",
        "grows in": "a wood, a park",
        "arguments": "fault='', legal=('up', '?', 'q'), side=4",
    }
    assert (
        "How the episode of seed 0 begins:\n\n  | A tall\n  | oak \\udc80.\n\n  legal: up   ?   q\n"
        in done.out
    )
    assert done.out.endswith("Play it yourself: vlmq envs play oak/Old-v0\n")


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ("--png", "line-Walk-v0.png"),
        ("--png first.png", "first.png"),
        ("--png=deep/down/a.png", "deep/down/a.png"),
    ],
)
def test_show_writes_the_very_first_picture(vlmq: Vlmq, args: str, name: str) -> None:
    done = vlmq("envs", "show", "line/Walk-v0", "--seed", "5", "--set", "size=48", *args.split())
    assert done.code == 0, done.err
    assert f"wrote {name}\n" in done.out
    observation, _ = registry.make("line/Walk-v0", size=48).reset(seed=5)
    assert np.array_equal(np.asarray(Image.open(name)), observation["image"])
    assert "size=48" not in done.out, "the arguments are shown with their defaults"


@pytest.mark.usefixtures("oak")
def test_what_cannot_be_played_here_is_shown_with_the_reason(vlmq: Vlmq, install: Install) -> None:
    install("ash", OAK_WITHOUT_ROOTS)
    done = vlmq("envs", "show", "ash/Tree-v0")
    assert done.code == 0
    assert facts_of(done.out)["licence"] == "MIT"
    assert "\nIt cannot run on this machine: no soil here.\n" in done.out
    assert (
        "\nNo picture and no text: env 'ash/Tree-v0' broke in reset(): RuntimeError: no roots (" in done.out
    )
    assert "\n  picture " in done.out, "its spaces are known all the same"


OAK_WITHOUT_ROOTS = """
from gymnasium.envs.registration import EnvSpec
SPECS = (EnvSpec(id="ash/Tree-v0", entry_point="oak_env:Tree", kwargs={"fault": "reset"}),)
def unavailable():
    return "no soil here."
"""


@pytest.mark.usefixtures("oak")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("list all", "`vlmq envs list` takes no argument"),
        ("show", "takes one environment's ID; `vlmq envs` lists them."),
        ("show oak/Tree-v0 a.jpg", "and got 'oak/Tree-v0' and 'a.jpg';"),
        ("show oak/Tre-v0", "did you mean 'oak/Tree-v0'"),
        ("show oak", "is not an environment id"),
        ("show nobody/A-v0", "try `pip install vlmq-env-nobody`."),
        ("show oak/Gone-v0", "oak_env:Gone gives AttributeError"),
        ("show oak/Tree-v0 --pgn", "did you mean --png?"),
        ("show oak/Tree-v0 --png=a.jpg", "which must end in .png"),
        ("show oak/Tree-v0 --png", "shows text alone with these arguments"),
        ("show oak/Old-v0 --png no-folder/a.png", "'no-folder/a.png' cannot be written"),
        ("show oak/Tree-v0 --seed -1", "--seed is '-1'; give a whole number."),
        ("show oak/Tree-v0 --set sdie=3", "has no argument 'sdie'; did you mean 'side'?"),
        ("show oak/Tree-v0 --set side", "--set is 'side'; give name=value"),
        ("show oak/Tree-v0 --set side=x", "cannot be built with side='x'"),
        ("show oak/Tree-v0 --set fault=init", "cannot be built with fault='init': OSError: no acorn"),
        ("show oak/Tree-v0 --set fault=reset", "broke in reset(): RuntimeError: no roots (oak_env.py:"),
        ("show oak/Tree-v0 --set fault=text", "text is int; expected str."),
        ("show oak/Tree-v0 --set fault=close", "broke in close(): OSError: stuck"),
        (
            "show oak/Old-v0 --png --set fault=reset",
            "no picture and no text: env 'oak/Old-v0' broke in reset()",
        ),
    ],
)
def test_wrong_input_is_one_sentence(vlmq: Vlmq, args: str, said: str) -> None:
    Path("no-folder").write_text("a file\n")
    assert said in vlmq("envs", *args.split()).wrong
