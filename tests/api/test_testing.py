"""Each check of the conformance kit fires on the environment that breaks it, and on no other."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from gymnasium.envs.registration import EnvSpec

from vlmq.api import PluginError
from vlmq.api.testing import CHECKS, EnvContract, Report, check_env, deadline
from vlmq.api.testing.about_declaration import DECLARATIONS
from vlmq.api.testing.deadline import Hung, time_limit
from vlmq.api.testing.fuzz import fuzz
from vlmq.api.testing.play import Player

HERE = Path(__file__).parent

IN_FRESH_PROCESS = {
    "the_seed_decides_in_a_fresh_process",
    "no_process_outlives_close",
    "no_thread_outlives_close",
    "no_file_stays_open",
    "memory_does_not_grow",
    "sync_vectors_agree",
    "async_vectors_agree",
}
ELSEWHERE = {"import_is_light", "throughput"}
"""One has tests of its own below; the other only informs."""

MENDS = {
    "can_be_made": "a loom: `apt-get install loom`",
    "spec_pickles": "plain values as kwargs",
    "metadata_is_complete": "'licence'",
    "spaces_are_those_of_the_contract": "vlmq.api.action_space()",
    "modalities_work": "'text'",
    "plays": "the code that raised",
    "observations_lie_in_their_space": "observation_space",
    "action_ok_is_always_told": "info['action_ok']",
    "legal_actions_are_texts_or_none": "info['legal_actions']",
    "legal_actions_can_be_written": "another spelling",
    "episodes_end": "truncate",
    "success_is_told_at_the_end": "info['success']",
    "infos_pickle": "'draw'",
    "the_id_that_is_played_plays_the_same": "reset the task with the seed",
    "rewards_lie_in_their_range": "reward_range",
    "an_ended_episode_stays_ended": "ResetNeeded",
    "reset_begins_anew": "set in reset",
    "the_seed_decides": "self.np_random",
    "the_seed_decides_in_a_fresh_process": "hash()",
    "seeds_differ": "super().reset(seed=seed)",
    "global_generators_are_left_alone": "random",
    "the_picture_follows_the_state": "draw the present state",
    "the_text_leaves_the_picture_its_part": "leave the state out of the text",
    "legal_actions_are_accepted": "list only what step accepts",
    "no_text_raises": "match the text strictly",
    "only_legal_texts_are_accepted": "strip",
    "refused_texts_change_nothing": "before anything of the state is touched",
    "refused_texts_leave_no_trace": "hidden state",
    "refused_texts_count_a_turn": "count a refused text as a turn",
    "refused_texts_pay_no_more": "penalty",
    "no_text_is_slow_to_read": "regular expression",
    "expert_acts_legally": "expert_action()",
    "expert_solves": "expert_success",
    "expert_beats_chance": "chance_level",
    "secrets_are_kept": "'goal_name'",
    "close_can_be_repeated": "forget it",
    "no_process_outlives_close": "process",
    "no_thread_outlives_close": "join",
    "no_file_stays_open": "close every file",
    "memory_does_not_grow": "cache",
    "sync_vectors_agree": "class attribute",
    "async_vectors_agree": "share nothing",
    "gymnasium_finds_no_fault": "gymnasium.utils.env_checker",
}
"""What the mend of each check must name."""


@pytest.fixture(autouse=True)
def _toys_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(HERE))
    yield
    sys.modules.pop("contract_toys", None)


def spec(name: str, module: str = "contract_toys", **kwargs: Any) -> EnvSpec:
    return EnvSpec(id=f"toys/{name}-v0", entry_point=f"{module}:{name}", kwargs=kwargs)


def failures(report: Report) -> dict[str, str]:
    return {check.name: check.explanation() for check in report.failed}


def left_over(mark: str) -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if mark in line]


def test_a_text_that_is_acted_on_is_tried_once_however_long_it_takes() -> None:
    from contract_toys import Walk

    class Slow(Walk):
        tried: ClassVar[Counter[str]] = Counter()

        def understands(self, action: str) -> bool:
            self.tried[action] += 1
            time.sleep(0.002)
            return action.strip() in self.legal_actions

        def move(self, action: str) -> None:
            super().move(action.strip())

    replies = fuzz(Player(Slow()), [0]).replies
    acted_on = Counter(reply.text for reply in replies if reply.accepted)
    assert {" left", "right\n"} <= set(acted_on)
    assert {text: Slow.tried[text] for text in acted_on} == acted_on
    refused = next(reply.text for reply in replies if not reply.accepted)
    assert Slow.tried[refused] > 1  # its time is of interest, so it is measured again


def test_every_check_has_a_broken_toy_or_tests_of_its_own() -> None:
    assert set(MENDS) | ELSEWHERE == set(CHECKS)
    assert all(claim.endswith((".", ":")) for claim in CHECKS.values())


def test_the_correct_toy_passes_every_check() -> None:
    report = check_env(spec("Walk"))
    assert report.ok, report.as_text()
    assert [check.name for check in report.checks] == list(CHECKS)
    skipped = {check.name: check.seen for check in report.checks if check.status == "skipped"}
    assert skipped == {
        "import_is_light": "it was given as a class or a spec, and no installed distribution offers it"
    }


@pytest.mark.parametrize("name", [name for name in MENDS if name not in IN_FRESH_PROCESS])
def test_a_broken_toy_fails_its_check_and_no_other(name: str) -> None:
    asked = [check for check in CHECKS if check not in IN_FRESH_PROCESS]
    extra = {"extra": lambda: None} if name == "spec_pickles" else {}
    report = check_env(spec(name, **extra), only=asked, here=True)
    assert list(failures(report)) == [name], report.as_text()
    (check,) = report.failed
    assert MENDS[name] in check.mend
    assert check.seen
    assert check.expected


@pytest.mark.parametrize("name", [name for name in MENDS if name in IN_FRESH_PROCESS])
def test_a_toy_that_breaks_where_only_a_fresh_process_sees_it_fails_just_that_check(name: str) -> None:
    report = check_env(spec(name), cycles=24 if name == "memory_does_not_grow" else 6)
    assert list(failures(report)) == [name], report.as_text()
    assert MENDS[name] in report.failed[0].mend
    assert left_over("sleep 86399") == []


@pytest.mark.parametrize("num_seeds", range(2, 12))
def test_an_expert_that_never_fails_solves_it_however_few_the_episodes(num_seeds: int) -> None:
    # Wilson's upper end of n of n is 1 but for rounding, which falls on either side
    report = check_env(spec("Walk"), seeds=range(num_seeds), only=["expert_solves"])
    assert report.ok, report.as_text()


def test_skill_that_a_few_episodes_do_not_show_is_looked_for_in_more() -> None:
    (check,) = check_env(spec("Walk"), seeds=range(2), only=["expert_beats_chance"]).checks
    assert (check.status, check.seen.rpartition(", ")[2]) == ("passed", "8 episodes each")
    (check,) = check_env(spec("expert_beats_chance"), seeds=range(2), only=["expert_beats_chance"]).checks
    assert check.status == "failed"
    assert "16 episodes each" in check.seen


def test_an_episode_that_breaks_off_in_the_further_search_for_skill_is_a_fault() -> None:
    toy = spec("exits_at_a_later_seed")
    report = check_env(toy, seeds=range(2), only=["expert_beats_chance"], here=True)
    assert "reset raises SystemExit: 0" in failures(report)["expert_beats_chance"]


def test_declared_chance_is_checked_and_not_only_believed() -> None:
    report = check_env(spec("chance_is_as_declared"), only=["expert_beats_chance"])
    assert "as metadata['vlmq']['chance_level'] says" in failures(report)["expert_beats_chance"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import contract_toys", "imports contract_toys, the module of the environment"),
        ("import PIL", "imports PIL"),
        (
            "import socket\nwith socket.socket() as s:\n    s.bind(('127.0.0.1', 0))",
            "opens a connection: socket.bind",
        ),
        ("ENTRY = print", "the entry point of 'plant/Walk-v0' is <built-in function print>"),
        ("import sys\nif 'pytest' not in sys.modules:\n    raise KeyError('pen')", "KeyError: 'pen'"),
        ("import PIL\nclass Tea:\n    pass\nKWARGS = {'extra': Tea}", "imports PIL"),
        ("", None),
    ],
    ids=["environment", "heavy", "network", "callable", "here-only", "kwargs-of-its-own", "light"],
)
def test_the_import_of_a_spec_module_is_watched_in_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str | None
) -> None:
    module = f"plant_specs_{abs(hash(source))}"
    entry = "contract_toys:Walk"
    (tmp_path / f"{module}.py").write_text(
        f"from gymnasium.envs.registration import EnvSpec\nENTRY = {entry!r}\nKWARGS = {{}}\n{source}\n"
        "SPECS = (EnvSpec(id='plant/Walk-v0', entry_point=ENTRY, kwargs=KWARGS),)\n"
    )
    metadata = tmp_path / "vlmq_env_plant-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: vlmq-env-plant\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[vlmq.envs]\nplant = {module}:SPECS\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    report = check_env("plant/Walk-v0", only=["import_is_light"])
    assert (said is None) == report.ok, report.as_text()
    assert said is None or said in failures(report)["import_is_light"]
    sys.modules.pop(module, None)


def test_an_id_that_nobody_offers_is_one_sentence() -> None:
    with pytest.raises(PluginError, match="no installed plugin offers 'nobody/Has-v0'; `vlmq envs` lists"):
        check_env("nobody/Has-v0")
    with pytest.raises(ValueError, match="no check is called speed;"):
        check_env(spec("Walk"), only=["speed"])
    with pytest.raises(ValueError, match="seeds has 1 of them"):
        check_env(spec("Walk"), seeds=[1])


def test_a_class_that_no_other_process_can_import_is_checked_as_far_as_that_goes() -> None:
    import contract_toys

    class Local(contract_toys.Walk):
        pass

    report = check_env(Local, modality="both", cycles=4)
    assert report.ok, report.as_text()
    skipped = {check.name for check in report.checks if check.status == "skipped"}
    assert {
        "the_seed_decides_in_a_fresh_process",
        "sync_vectors_agree",
        "no_process_outlives_close",
    } <= skipped
    assert "spec_pickles" in skipped


def test_a_process_that_dies_is_told_of_in_its_own_words() -> None:
    report = check_env(spec("dies_elsewhere"), only=["the_seed_decides_in_a_fresh_process"], here=True)
    said = failures(report)["the_seed_decides_in_a_fresh_process"]
    assert "a fresh process ended before it could tell: out of yarn" in said


def test_what_waits_for_one_check_shares_a_line() -> None:
    report = check_env(spec("can_be_made"), cycles=4)
    lines = report.as_text().splitlines()
    assert len(report.checks) == len(CHECKS)
    assert f"skipped {len(CHECKS) - 4} checks: asked once 'can be made' passes" in lines
    assert len(lines) < 14


def test_the_arguments_of_the_environment_are_passed_on() -> None:
    report = check_env(spec("Walk"), only=["spaces_are_those_of_the_contract"], modality="text")
    assert report.checks[0].seen == "text alone"


def test_a_report_is_text_for_people_and_plain_data_for_programs() -> None:
    report = check_env(
        spec("only_legal_texts_are_accepted"), only=["spec_pickles", "only_legal_texts_are_accepted"]
    )
    lines = report.as_text().splitlines()
    assert lines[0] == "toys/only_legal_texts_are_accepted-v0"
    assert lines[2] == "ok      spec pickles"
    assert lines[3] == "FAILED  only legal texts are accepted"
    assert [line.split()[0] for line in lines[4:7]] == ["seen:", "expected:", "mend:"]
    assert "1 of 2 checks failed (only_legal_texts_are_accepted)" in lines[-1]
    data = json.loads(json.dumps(report.as_json()))
    assert data["ok"] is report.ok is False
    assert [check["status"] for check in data["checks"]] == ["passed", "failed"]
    assert data["checks"][1]["mend"] == report.failed[0].mend


def test_outcomes_are_told_as_they_come() -> None:
    told: list[str] = []
    report = check_env(
        spec("Walk"), only=["plays", "spec_pickles"], tell=lambda check: told.append(check.name)
    )
    assert told == [check.name for check in report.checks] == ["spec_pickles", "plays"]


def test_the_kit_works_without_pytest_and_stays_light() -> None:
    code = f"""
import sys
sys.path[:] = {[str(HERE), *sys.path]!r}
sys.modules["pytest"] = None
from gymnasium.envs.registration import EnvSpec
from vlmq.api.testing import check_env
report = check_env(EnvSpec(id="toys/Walk-v0", entry_point="contract_toys:Walk"), only=["plays"])
print(report.ok, sorted({{"torch", "PIL", "transformers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True []", done.stderr


def test_the_test_class_has_a_test_for_each_check() -> None:
    assert {f"test_{name}" for name in CHECKS} == {
        name for name in dir(EnvContract) if name.startswith("test_")
    }


def test_an_environment_that_hangs_ends_its_check_and_not_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "CALL_LIMIT_S", 0.3)
    report = check_env(spec("hangs"), only=["plays", "no_text_raises", "expert_solves"], here=True)
    assert list(failures(report)) == ["no_text_raises"]
    assert "raises Hung: no answer within 0.3 s" in report.failed[0].seen


def test_an_environment_that_hangs_when_it_is_made_fails_to_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "MAKING_LIMIT_S", 0.3)
    report = check_env(spec("hangs_when_made"), only=["can_be_made"], here=True)
    assert "making it raises Hung: no answer within 0.3 s" in failures(report)["can_be_made"]


@pytest.mark.parametrize(
    ("name", "failed", "said"),
    [
        ("in_the_expert", "expert_acts_legally", "Hung: no answer within 0.3 s"),
        ("in_a_secret", "secrets_are_kept", "Hung: no answer within 0.3 s"),
        ("in_close", "close_can_be_repeated", "raises Hung: no answer within 0.3 s"),
        ("in_a_turn_that_catches_exceptions", "plays", "raises Hung: no answer within 0.3 s"),
        ("in_a_turn_that_catches_all_once", "plays", "raises Hung: no answer within 0.3 s"),
        ("in_a_turn_that_catches_all", "plays", "a call does not come back, and cannot be interrupted"),
    ],
)
def test_whichever_call_hangs_the_report_names_it(name: str, failed: str, said: str) -> None:
    asked = ["can_be_made", "plays", "expert_acts_legally", "secrets_are_kept", "close_can_be_repeated"]
    report = check_env(spec(name, "hasty_toys"), only=asked, seeds=range(3))
    assert list(failures(report)) == [failed], report.as_text()
    assert said in report.failed[0].seen


@pytest.mark.parametrize(
    ("name", "failed", "said"),
    [
        ("exits_when_made", "can_be_made", "making it raises SystemExit: 0"),
        ("exits_at_reset", "plays", "reset raises SystemExit: 0"),
        ("exits_in_a_turn", "plays", "raises SystemExit: 0"),
        ("ends_the_process", "plays", "the process that plays it was ended with exit code 0"),
        ("kills_the_process", "plays", "the process that plays it was ended by SIGKILL"),
    ],
)
def test_an_environment_that_ends_its_process_fails_and_the_report_is_whole(
    name: str, failed: str, said: str
) -> None:
    asked = ["can_be_made", "plays", "expert_solves", "throughput"]
    report = check_env(spec(name), only=asked, seeds=range(2))
    assert [check.name for check in report.checks] == asked
    assert list(failures(report)) == [failed], report.as_text()
    assert said in report.failed[0].seen
    assert [check.status for check in report.checks][-2:] == ["skipped", "skipped"]


def test_a_process_exit_is_a_fault_in_the_test_class_too() -> None:
    class TestExits(EnvContract):
        env_id = spec("exits_in_a_turn")
        seeds = range(2)

    try:
        with pytest.raises(AssertionError, match="raises SystemExit: 0"):
            TestExits.ask("plays")
    finally:
        TestExits.teardown_class()


@pytest.mark.parametrize("name", ["cannot_be_made_often", "ends_the_process_when_closed_often"])
def test_cycles_that_break_off_are_a_fault(name: str) -> None:
    report = check_env(
        spec(name), only=["plays", "no_process_outlives_close", "memory_does_not_grow"], cycles=20
    )
    assert list(failures(report)) == ["no_process_outlives_close"], report.as_text()


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ("", "'' is empty"),
        ("<right>", "'<right>' holds < or >"),
        ("r" * 300, "takes 300 bytes; the action space allows 256"),
        ("left", "'left' is listed twice"),
        ("\ud800", "'\\ud800' cannot be encoded in UTF-8"),
    ],
    ids=["empty", "tag", "long", "twice", "surrogate"],
)
def test_what_no_agent_can_write_is_no_legal_action(right: str, said: str) -> None:
    toy = spec("legal_actions_can_be_written", right=right)
    report = check_env(toy, only=["legal_actions_can_be_written"], seeds=range(4), here=True)
    assert said in failures(report)["legal_actions_can_be_written"]


@pytest.mark.parametrize(
    ("name", "failed", "said"),
    [
        ("a_text_is_no_utf8", "observations_lie_in_their_space", "'Walk to the marked tree."),
        ("a_reward_is_a_text", "rewards_lie_in_their_range", "the reward is '-0.1'"),
        (
            "a_refused_text_turns_the_walker_round",
            "refused_texts_leave_no_trace",
            "the picture and state_key",
        ),
        ("a_listed_answer_is_told", "secrets_are_kept", "names 'goal_name'"),
    ],
)
def test_a_fault_that_looks_well_at_first_sight_is_found(name: str, failed: str, said: str) -> None:
    report = check_env(spec(name), only=[failed], here=True)
    assert said in failures(report)[failed]


def test_a_text_that_lists_all_answers_tells_no_secret() -> None:
    report = check_env(spec("answers_are_listed"), only=["secrets_are_kept"], here=True)
    assert report.ok, report.as_text()


def test_a_time_limit_leaves_the_alarm_of_others_as_it_was() -> None:
    def other(*_: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGALRM, other)
    signal.setitimer(signal.ITIMER_REAL, 1000.0)
    try:
        with pytest.raises(Hung, match="no answer within 0.01 s"), time_limit(0.01):
            time.sleep(10)
        assert signal.getsignal(signal.SIGALRM) is other
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_three_lines_make_a_test_class_whose_failures_name_the_mend(tmp_path: Path) -> None:
    (tmp_path / "test_walk.py").write_text(
        f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from gymnasium.envs.registration import EnvSpec
from vlmq.api.testing import EnvContract

class TestWalk(EnvContract):
    env_id = EnvSpec(id="toys/Walk-v0", entry_point="contract_toys:Walk")
    env_kwargs = {{"modality": "both"}}
    cycles = 4

class TestBroken(EnvContract):
    env_id = EnvSpec(id="toys/Broken-v0", entry_point="contract_toys:rewards_lie_in_their_range")
    cycles = 4
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfs", "-c", os.devnull]
    command += ["-k", "spec_pickles or import_is_light or rewards_lie"]
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert [line.split()[1] for line in failed] == [
        "test_walk.py::TestBroken::test_rewards_lie_in_their_range"
    ]
    assert "seen:     a reward of 10" in done.stdout
    assert "mend:     correct the reward, or the reward_range." in done.stdout
    count = {word: int(n) for n, word in re.findall(r"(\d+) (passed|skipped|failed)", done.stdout)}
    assert count == {"passed": 3, "skipped": 2, "failed": 1}
    assert "it was given as a class or a spec" in done.stdout
    assert done.returncode == 1


def test_the_page_about_the_kit_lists_every_check_with_its_claim() -> None:
    page = (HERE.parents[1] / "docs" / "conformance.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^[|] `(\w+)` [|] (.*) [|]$", page, re.MULTILINE))
    assert {name: claim for name, claim in rows.items() if name in CHECKS} == CHECKS
    assert set(DECLARATIONS) <= set(rows)
