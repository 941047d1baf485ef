"""BrowserGym and AgentLab traces that are JSON; those that are pickles are refused, never opened.

AgentLab writes each step of a trace as `step_N.pkl.gz` (ServiceNow/BrowserGym, browsergym/experiments/src/browsergym/
experiments/loop.py, `save_step_info`; its `steps_info.json` holds the last step only). Unpickling runs whatever code
the file's maker put there, so whoever trusts a trace turns it into JSON where AgentLab is installed. AgentRewardBench
does so for its public set (McGill-NLP/agent-reward-bench, scripts/convert_trajectories_to_json.py and
agent_reward_bench/trajectories.py, `Trajectory.to_dict`, `Step.to_dict`), one file a trajectory:

    {"benchmark": "webarena", "agent": ..., "model": ..., "goal": "...", "seed": 0,
     "summary_info": {"cum_reward": 1.0, "terminated": true, "truncated": false, ...},
     "steps": [{"num": 0, "action": "click('12')", "reasoning": "...", "screenshot_path": "screenshot_step_0.png",
                "axtree_pruned": "...", "url": "...", "last_action_error": "", "chat_messages": [...]}, ...]}

An observation is the goal, the page's accessibility tree and the last error; the reply is the model's own message
where `chat_messages` ends with one, else the action. Success is a return of at least 1, BrowserGym's own measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmq.api import Episode
from vlmq.data.damage import Damage, Kind
from vlmq.data.foreign.chat import (
    ASSISTANT,
    USER,
    Message,
    Outcome,
    episode,
    number_or_none,
    wrong_fields,
)
from vlmq.data.foreign.stream import objects
from vlmq.data.foreign.tally import Choices, LeftOut, Tally


def read_agentlab(path: Path, choices: Choices, tally: Tally) -> Iterator[Episode]:
    """The traces of a file, or of all JSON files below a folder, as episodes; the rest is counted.

    Raises DataError where there are only pickles.
    """
    files = sorted(p for p in path.rglob("*.json") if p.name not in _BESIDE) if path.is_dir() else [path]
    if not files:
        refuse_pickles(path)
        raise wrong_fields(str(path), "there is no .json file of a trace in this folder")
    for file in files:
        for where, row in objects(file):
            try:
                yield _episode(row, file, path if path.is_dir() else path.parent, choices, tally, where)
            except LeftOut as why:
                tally.leave_out(why)


_BESIDE = {"summary_info.json", "steps_info.json"}


def refuse_pickles(path: Path) -> None:
    """Raise DataError where a folder holds AgentLab's pickled steps."""
    found = next(iter(sorted(path.rglob("step_*.pkl.gz"))), None) or next(
        iter(sorted(path.rglob("*.pkl"))), None
    )
    if found is not None:
        raise Damage(
            Kind.PICKLE,
            f"{found}: this trace is a pickle, which runs whatever its maker wrote, so vlmq never opens one; where you"
            " trust it, turn it into JSON with AgentLab's own tools (AgentRewardBench's script does) and convert that",
        )


def _episode(
    row: Mapping[str, Any], file: Path, root: Path, choices: Choices, tally: Tally, where: str
) -> Episode:
    steps, summary = row.get("steps"), row.get("summary_info")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise LeftOut("no steps", f"{where}: 'steps' is empty or missing")
    summary = summary if isinstance(summary, dict) else {}
    total = number_or_none(summary.get("cum_reward"))
    goal = str(row.get("goal") or "").strip()
    pictures = choices.pictures or root
    messages = []
    for step in steps:
        shown = _shown(step, file, pictures)
        messages.append(Message(USER, _text(goal, step), shown))
        if isinstance(step.get("action"), str):
            messages.append(Message(ASSISTANT, _reply(step, tally), action=step["action"]))
        elif step is not steps[-1]:
            raise LeftOut("a step without an action", f"{where}: step {step.get('num')} has no action")
    return episode(
        messages,
        Outcome(None if total is None else total >= 1, total, summary.get("truncated") is True),
        choices, tally, where,
        env_id=f"browsergym/{row.get('task_id') or file.stem}", source=str(row.get("model") or "agentlab"),
        folder=pictures, action="auto", seed=row["seed"] if isinstance(row.get("seed"), int) else 0,
    )  # fmt: skip


def _text(goal: str, step: Mapping[str, Any]) -> str:
    tree = step.get("axtree_pruned") or step.get("axtree") or ""
    error = step.get("last_action_error") or ""
    parts = [
        goal,
        f"Page: {step['url']}" if step.get("url") else "",
        str(tree),
        f"Error: {error}" if error else "",
    ]
    return "\n".join(part for part in parts if part)


def _reply(step: Mapping[str, Any], tally: Tally) -> str:
    messages = step.get("chat_messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, dict) and last.get("role") == "assistant" and isinstance(last.get("content"), str):
        return str(last["content"])
    tally.notes["replies not recorded, for which the action stands"] += 1
    return str(step["action"])


def _shown(step: Mapping[str, Any], file: Path, root: Path) -> tuple[str, ...]:
    """The screenshot: at its path below the root, or beside the trace under the same name."""
    name = step.get("screenshot_path")
    if not isinstance(name, str) or name in ("", "None"):
        return ()
    beside = file.parent / Path(name).name
    if "\0" not in name and not (root / name).is_file() and beside.is_file():
        return (str(beside.resolve()),)
    return (name,)
