"""AgentGym's trajectories: AgentTraj-L, and what its evaluation scripts write, failed attempts included.

The shape was read in WooooDyy/AgentGym, README.md (AgentTraj) and agentenv/examples/basic/base_eval.py:

    [{"item_id": "webshop_6", "conversations": [
        {"from": "human", "loss": null, "value": "You are web shopping. ..."},
        {"from": "gpt", "loss": false, "value": "Ok."},
        {"from": "human", "loss": null, "value": "WebShop [SEP] Instruction: ..."},
        {"from": "gpt", "loss": true, "value": "Thought:\\n...\\n\\nAction:\\nsearch[...]"}],
      "reward": 1.0, "success": 1}, ...]

as a JSON array or one object a line; `reward` and `success` are there after an evaluation only. A message of the
assistant with `loss` false ("Ok.") is none of the agent's: what stands before it joins the next observation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlmq.api import Episode
from vlmq.data.foreign.chat import ASSISTANT, Message, Outcome, episode, flag_or_none, number_or_none
from vlmq.data.foreign.llava import conversation
from vlmq.data.foreign.stream import objects
from vlmq.data.foreign.tally import Choices, LeftOut, Tally


def read_agentgym(path: Path, choices: Choices, tally: Tally) -> Iterator[Episode]:
    """The trajectories of a file as episodes; what cannot be used is counted in the tally."""
    for where, row in objects(path):
        try:
            task, seed = _task(row.get("item_id"))
            texts = conversation(row.get("conversations"), where)
            made = []
            for (role, text), message in zip(texts, row["conversations"], strict=True):
                if role == ASSISTANT and message.get("loss") is False:
                    tally.notes["replies left out that are marked as not the agent's"] += 1
                    continue
                made.append(Message(role, text))
            yield episode(
                made, Outcome(flag_or_none(row.get("success")), number_or_none(row.get("reward"))),
                choices, tally, where,
                env_id=f"agentgym/{task}", source="agentgym", folder=path.parent, action="react", seed=seed,
            )  # fmt: skip
        except LeftOut as why:
            tally.leave_out(why)


def _task(item_id: object) -> tuple[str, int]:
    """ "webshop_6" is task 6 of webshop; ids of other forms are a task's name."""
    name, _, number = str(item_id or "unknown").rpartition("_")
    if name and number.isascii() and number.isdigit() and len(number) < 18:
        return name, int(number)
    return str(item_id or "unknown"), 0
