"""What people will copy that trains, collects or evaluates does so: each command is run, with small numbers."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from families import save
from shown import HEAVY, ROOT, SHOWN, parsed, with_our_files

from vlmq.cli import main
from vlmq.data.store import EpisodeStore
from vlmq.env.serve import Server
from vlmq.report.results import read_results

pytestmark = pytest.mark.slow

ELSEWHERE = {
    "pretrain_tiny": "the tiny model's own tests pretrain it",
    "trust_remote_code": "the adapter distributions' own tests run them",
    "10.99.0.1": "test_two_hosts.py has two hosts",
    "vllm": "test_vllm.py runs it where it is installed",
}
HERE = [
    pytest.param(list(words), id=name)
    for words, name in SHOWN.items()
    if words[0] in HEAVY and not any(key in word for word in words for key in ELSEWHERE)
]
REMOTE = re.compile(r"remote://[\w.-]+:\d+/(.+)")


def _small(config: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """The same with little of everything."""
    config["trainer"] |= {
        "default_root_dir": str(run_dir), "val_check_interval": 2, "checkpoint_every": 2, "enable_progress_bar": False,
    }  # fmt: skip
    config["model"]["phases"] = [phase | {"updates": 2} for phase in config["model"]["phases"]]
    data = config["data"]
    data |= {"num_envs": 2, "batch_size": 4}
    data["collect"]["episodes"] = 8
    data["online"] |= {"episodes": 2, "every": 1}
    data["evaluation"] |= {"episodes": 2, "final_episodes": 2}
    return config


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the environment of a `remote://` command is played, in its place; "" where there is none."""
    asked = [match[1] for word in request.node.callspec.params["words"] if (match := REMOTE.fullmatch(word))]
    if not asked:
        yield ""
        return
    with Server(asked, host="127.0.0.1", port=0, token="", settings={}, most=16, timeout_s=60) as server:
        threading.Thread(target=server.run, daemon=True).start()
        yield f"remote://127.0.0.1:{server.port}/{asked[0]}"


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of it, which `--ckpt_path` is about."""
    folder = tmp_path_factory.mktemp("quickstart")
    config = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    (folder / "small.yaml").write_text(yaml.safe_dump(_small(config, folder / "run")))
    assert main(["fit", "--config", str(folder / "small.yaml")]) == 0
    return folder / "run"


@pytest.mark.parametrize("words", HERE)
def test_a_command_shown_to_people_runs(
    words: list[str],
    server: str,
    quickstart: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(ROOT)
    verb, *rest = with_our_files(words)
    stand_ins = {"OWNER/NAME": str(save("smolvlm", tmp_path / "model")), "lamps/Lamps-v0": "line/Walk-v0"}
    rest = [server if REMOTE.fullmatch(word) else stand_ins.get(word, word) for word in rest]
    dry = "--dry-run" in rest
    rest = [word for word in rest if word != "--dry-run"]
    more: list[str] = []
    run_dir = tmp_path / "run"
    if "--ckpt_path" in rest:
        place = rest.index("--ckpt_path")
        more, rest = rest[place : place + 2], rest[:place] + rest[place + 2 :]
        shutil.copytree(quickstart, run_dir)
    config = _small(yaml.safe_load(parsed([verb, *rest], capsys, monkeypatch)), run_dir)
    dataset = config["data"].get("dataset")
    if verb == "collect" and dataset:
        config["data"]["dataset"] = dataset = str(tmp_path / "named")
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    code = main([verb, "--config", str(tmp_path / "small.yaml"), *more, *["--dry-run"] * dry])
    said = capsys.readouterr()
    assert code == 0, said.err
    if dry:
        assert "GB" in said.out
    elif verb == "collect":
        assert len(EpisodeStore.open(dataset or run_dir / "dataset")) == 8
    else:
        results = "results.json" if verb == "fit" else "validate.json"
        rows = [row.name for row in read_results(run_dir / results)]
        ends = config["model"]["phases"][-1]["name"]
        expected = config["data"]["evaluation"]["policies"] if verb == "validate" else [ends]
        assert rows[-len(expected) :] == expected
