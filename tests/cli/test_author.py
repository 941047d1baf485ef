"""`vlmq new-env` and `vlmq check`: from nothing to an environment that keeps the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlmq.api.testing import CHECKS

Vlmq = Callable[..., Any]
Install = Callable[..., None]


def test_new_env_says_what_it_wrote_and_what_comes_next(vlmq: Vlmq) -> None:
    done = vlmq("new-env", "tea_house")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("wrote vlmq-env-tea-house: tea_house/TeaHouse-v0,")
    listing, _, following = done.out.partition("\nNext:\n\n")
    wrote = {line.strip() for line in listing.splitlines() if line.startswith("  ")}
    assert wrote == {str(path) for path in Path().rglob("*") if path.is_file()}
    assert "vlmq-env-tea-house/vlmq_env_tea_house/env.py" in wrote
    assert [line.strip() for line in following.splitlines()] == [
        "pip install -e './vlmq-env-tea-house[test]'",
        "vlmq check tea_house/TeaHouse-v0",
        "vlmq envs play tea_house/TeaHouse-v0",
        "pytest vlmq-env-tea-house",
    ]


def test_a_folder_whose_name_has_blanks_is_quoted_for_the_shell(vlmq: Vlmq) -> None:
    done = vlmq("new-env", "tea", "--into", "my work/tea")
    assert "  pip install -e 'my work/tea[test]'\n" in done.out
    assert done.out.endswith("  pytest 'my work/tea'\n")
    assert Path("my work/tea/pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("Tea", "'Tea' is no name for an environment"),
        ("line", "the name 'line' is taken by the installed vlmq-env-line"),
        ("tea house", "takes one NAME and --into FOLDER, and got 'tea' and 'house'"),
        ("--into x", "takes one NAME and --into FOLDER;"),
        ("tea --into", "--into needs a value"),
        ("tea --inot x", "did you mean --into?"),
        ("tea --into taken", "'taken' exists already and is left as it is"),
        ("tea --into taken/x", "'taken/x' cannot be written (Not a directory)"),
    ],
)
def test_what_new_env_cannot_do_is_one_sentence(vlmq: Vlmq, args: str, said: str) -> None:
    Path("taken").write_text("")
    assert said in vlmq("new-env", *args.split()).wrong
    assert [str(path) for path in Path().iterdir()] == ["taken"]


def test_check_of_a_sound_environment_ends_with_code_0(vlmq: Vlmq) -> None:
    done = vlmq("check", "line/Walk-v0", "--seeds", "8")
    assert (done.code, done.err) == (0, "")
    assert "\nok      expert solves: success in 8 of 8 episodes\n" in done.out
    assert "\nline/Walk-v0 keeps the contract: " in done.out
    assert done.out.endswith("\nPlay it yourself: vlmq envs play line/Walk-v0\n")


CLUMSY = """
from line_games import Walk
class Clumsy(Walk):
    def __init__(self, size=64):
        print("here I am")
        super().__init__(size=size)
    def step(self, action):
        return self.lost
"""
CLUMSY_SPECS = """
from gymnasium.envs.registration import EnvSpec
SPECS = (EnvSpec(id="clumsy/Walk-v0", entry_point="clumsy_env:Clumsy"),)
"""


def test_check_of_a_broken_one_explains_and_ends_with_code_2(vlmq: Vlmq, install: Install) -> None:
    install("clumsy", CLUMSY_SPECS, clumsy_env=CLUMSY)
    done = vlmq("check", "clumsy/Walk-v0", "--seeds", "2")
    assert done.code == 2
    _, _, explained = done.out.partition("FAILED  plays\n")
    seen, expected, mend = (line.split(maxsplit=1) for line in explained.splitlines()[:3])
    assert (seen[0], expected[0], mend[0]) == ("seen:", "expected:", "mend:")
    assert "AttributeError" in seen[1]
    assert "clumsy/Walk-v0 breaks the contract: " in done.out.splitlines()[-1]
    assert "(plays" in done.out.splitlines()[-1]


def test_the_report_for_programs_is_json_whatever_the_environment_prints(
    vlmq: Vlmq, install: Install
) -> None:
    install("clumsy", CLUMSY_SPECS, clumsy_env=CLUMSY)
    done = vlmq("check", "clumsy/Walk-v0", "--json", "--seeds=2", "--set", "size=-1")
    assert done.code == 2
    assert "here I am" in done.err
    report = json.loads(done.out)
    assert (report["env_id"], report["ok"]) == ("clumsy/Walk-v0", False)
    assert [check["name"] for check in report["checks"]] == list(CHECKS)
    (failed,) = (check for check in report["checks"] if check["status"] == "failed")
    assert failed["name"] == "can_be_made"
    assert failed["seen"]
    assert failed["expected"]
    assert failed["mend"]


def test_an_environment_that_cannot_be_made_is_told_in_few_lines(vlmq: Vlmq) -> None:
    done = vlmq("check", "line/Walk-v0", "--set", "size=-1")
    assert done.code == 2
    assert done.out.startswith("FAILED  can be made\n")
    assert len(done.out.splitlines()) < 12
    assert f"\nskipped {len(CHECKS) - 4} checks: asked once 'can be made' passes\n" in done.out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("line/Wakl-v0", "did you mean 'line/Walk-v0'"),
        ("nobody/A-v0", "no installed plugin offers 'nobody/A-v0'"),
        ("line", "'line' is not an environment id"),
        ("line/Walk-v0 line/Recall-v0", "takes one environment's ID, and got"),
        ("--json", "takes one environment's ID;"),
        ("line/Walk-v0 --json=yes", "--json takes no value"),
        ("line/Walk-v0 --sees 3", "did you mean --seeds?"),
        ("line/Walk-v0 --seeds 1", "--seeds is '1'; give a whole number of at least 2."),
        ("line/Walk-v0 --set sise=3", "has no argument 'sise'; did you mean 'size'?"),
        ("line/Walk-v0 --set size", "--set is 'size'; give name=value"),
        ("line/Walk-v0 --set only=3", "--set cannot set only: the check has settings of these names itself."),
        ("line/Walk-v0 --set seeds=3 --set cycles=1", "--set cannot set cycles, seeds:"),
    ],
)
def test_what_check_cannot_do_is_one_sentence(vlmq: Vlmq, args: str, said: str) -> None:
    done = vlmq("check", *args.split())
    assert said in done.wrong
    assert done.out == ""
