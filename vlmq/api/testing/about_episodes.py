"""Checks of episodes: observations, rewards and infos as promised, an end in time, and the same again for a seed."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vlmq.api.contract import check_info, check_reward
from vlmq.api.errors import ContractError
from vlmq.api.testing.deadline import FAILURES, close_quietly
from vlmq.api.testing.fresh import Unanswered, episode
from vlmq.api.testing.play import Moment, Player, Record, difference
from vlmq.api.testing.question import Fault, Skip, question, raised, shown
from vlmq.api.testing.subject import Subject
from vlmq.api.testing.target import find_target

_PLAYED = ("can_be_made", "spaces_are_those_of_the_contract", "plays")


@question("can_be_made", "spaces_are_those_of_the_contract")
def plays(subject: Subject) -> str:
    """Resets and turns of random legal play raise nothing and return what gymnasium says."""
    for record in subject.random_play:
        if record.error is not None:
            raise Fault(
                f"{record.error}, with seed {record.seed} after {shown(record.actions[-5:])}",
                "(observation, info) of a reset, and five values of a turn",
                "see the code that raised it.",
            )
    return f"{sum(len(record.actions) for record in subject.records)} turns"


@question(*_PLAYED)
def observations_lie_in_their_space(subject: Subject) -> str:
    """Every observation lies in the observation space, the terminal one included, and its text is UTF-8."""
    for record, turn, moment in _moments(subject):
        if moment.fault is not None:
            seen, _, rest = moment.fault.partition("; expected ")
            raise Fault(
                f"{seen.rstrip('.')}, {_where(record, turn, moment)}",
                rest or "an observation inside the space that the environment declares",
                "return what the observation_space declares, or declare what is returned.",
            )
    return ""


@question(*_PLAYED)
def action_ok_is_always_told(subject: Subject) -> str:
    """`info["action_ok"]` is a bool at every reset and turn."""
    _check_infos(subject, "action_ok")
    return ""


@question(*_PLAYED)
def legal_actions_are_texts_or_none(subject: Subject) -> str:
    """`info["legal_actions"]` is a tuple of texts, or None."""
    _check_infos(subject, "legal_actions")
    return ""


@question(*_PLAYED, "legal_actions_are_texts_or_none")
def legal_actions_can_be_written(subject: Subject) -> str:
    """A legal action is what an agent can write: not empty, no blanks at its ends, no < or >, listed once, in UTF-8."""
    capacity, seen = subject.shape.action_bytes, set[tuple[str, ...]]()
    for record, turn, moment in _moments(subject):
        if moment.legal not in seen:
            seen.add(moment.legal)
            for action in moment.legal:
                fault = _unwritable(action, moment.legal, capacity)
                if fault is not None:
                    raise Fault(
                        f"the legal action {shown(action)} {fault}, {_where(record, turn, moment)}",
                        "texts that a reply can carry, whatever its format, and that fit the action space",
                        "give the action another spelling, or raise action_bytes in the env's action_space.",
                    )
    return f"{len(set().union(*seen))} different ones" if any(seen) else ""


@question("can_be_made", "spaces_are_those_of_the_contract", "plays", "episodes_end")
def success_is_told_at_the_end(subject: Subject) -> str:
    """`info["success"]` is a bool at the end of an episode, and absent or false before."""
    _check_infos(subject, "success")
    for record, turn, moment in _moments(subject):
        if not moment.ended and moment.info.get("success") not in (None, False):
            raise Fault(
                f"info['success'] is {moment.info['success']!r} before the end, {_where(record, turn, moment)}",
                "no success, or False, while the episode goes on",
                "set info['success'] where the episode ends.",
            )
    return ""


@question(*_PLAYED)
def infos_pickle(subject: Subject) -> str:
    """Every value of `info` can be sent to another process, and a `state_key` can be hashed."""
    for record, turn, moment in _moments(subject):
        for key, value in moment.info.items():
            try:
                pickle.dumps(value)
                if key == "state_key":
                    hash(value)
            except Exception as error:
                raise Fault(
                    f"info['{key}'] gives {raised(error)}, {_where(record, turn, moment)}",
                    "plain values in info; a hashable one as state_key",
                    f"leave '{key}' out of info, or give it as plain data.",
                ) from error
    return ""


@question(*_PLAYED, "the_seed_decides")
def the_id_that_is_played_plays_the_same(subject: Subject) -> str:
    """`info["env_id"]`, where it is given, is a registered id that plays the very same episode from the same seed."""
    named = {
        str(r.moments[0].info["env_id"]): r for r in subject.random_play if r.moments[0].info.get("env_id")
    }
    if named and subject.target.kwargs:
        raise Skip("asked of the environment without arguments")
    for env_id, record in list(named.items())[:3]:
        try:
            env = find_target(env_id, {}).make()
        except FAILURES as error:
            raise Fault(
                f"info['env_id'] is {env_id!r} with seed {record.seed}, which cannot be made: {raised(error)}",
                "a registered id",
                "name an id of SPECS, or leave info['env_id'] out.",
            ) from error
        try:
            apart = difference(
                record.fingerprints(), Player(env).replay(record.seed, record.actions).fingerprints()
            )
        finally:
            close_quietly(env)
        if apart is not None:
            raise Fault(
                f"with seed {record.seed} {env_id} plays another episode: it differs in {apart}",
                "the same episode under the id that info['env_id'] names",
                "reset the task with the seed that was given, not with one drawn from it, or leave info['env_id'] out.",
            )
    return f"{len(named)} ids" if named else ""


@question(*_PLAYED, "metadata_is_complete")
def rewards_lie_in_their_range(subject: Subject) -> str:
    """Every reward is a finite number in the declared reward_range."""
    low, high = subject.declared["reward_range"]
    lowest, highest = float("inf"), float("-inf")
    for record, turn, moment in _moments(subject):
        try:
            reward = check_reward("env", moment.reward)
        except ContractError as error:
            raise Fault(
                f"the reward is {moment.reward!r}, {_where(record, turn, moment)}",
                "a finite number",
                "return a float as the reward.",
            ) from error
        if turn and not low <= reward <= high:
            raise Fault(
                f"a reward of {reward:g}, {_where(record, turn, moment)}",
                f"a reward from {low:g} to {high:g}, as metadata['vlmq']['reward_range'] says",
                "correct the reward, or the reward_range.",
            )
        lowest, highest = (min(lowest, reward), max(highest, reward)) if turn else (lowest, highest)
    return f"{lowest:g} to {highest:g}"


@question(*_PLAYED)
def episodes_end(subject: Subject) -> str:
    """Random legal play comes to its end within the turn limit."""
    for record in subject.random_play:
        if not record.ended:
            raise Fault(
                f"with seed {record.seed} random legal play goes on after {len(record.actions)} turns",
                f"an end within {subject.turn_limit} turns",
                "count the turns in the environment and truncate; a limit other than 1000 is declared as"
                " metadata['vlmq']['turn_limit'].",
            )
    longest = max(len(record.actions) for record in subject.random_play)
    return f"after {longest} turns at the most"


@question(*_PLAYED, "episodes_end")
def an_ended_episode_stays_ended(subject: Subject) -> str:
    """A turn after the end raises, or says again that the episode is over."""
    record = subject.player.replay(subject.seeds[0], subject.random_play[0].actions)
    if not record.ended:
        raise Skip("the episode could not be brought to its end again")
    action = record.actions[-1] if record.actions else ""
    if not subject.player.turn(record, action):
        return "it raises" if "ResetNeeded" in (record.error or "") else f"{record.error}"
    if not record.ended:
        raise Fault(
            f"step({shown(action)}) after the end goes on as if nothing had happened",
            "gymnasium.error.ResetNeeded, or terminated or truncated again",
            "remember that the episode is over, and raise ResetNeeded until reset is called.",
        )
    return "it says so again"


@question(*_PLAYED)
def reset_begins_anew(subject: Subject) -> str:
    """The same seed and actions give the same episode again in the same instance, whatever was played between."""
    player = subject.player
    for seed in subject.seeds[:3]:
        first = episode(player, seed)
        episode(player, subject.seeds[-1])
        again = player.replay(seed, first.actions)
        _agree(first, again, seed, "played again in one instance")
    return ""


@question(*_PLAYED, "reset_begins_anew")
def the_seed_decides(subject: Subject) -> str:
    """The same seed and actions give the same episode in two instances."""
    with subject.made() as other:
        for seed in subject.seeds[:3]:
            first = episode(subject.player, seed)
            _agree(first, other.replay(seed, first.actions), seed, "in two instances")
    return ""


@question(*_PLAYED, "the_seed_decides")
def the_seed_decides_in_a_fresh_process(subject: Subject) -> str:
    """The same seed and actions give the same episode in a fresh process with another PYTHONHASHSEED."""
    try:
        found = subject.fresh.part("episodes")
    except Unanswered as error:
        raise Fault(
            str(error), "the same episodes there", "see the error: the module must import anywhere."
        ) from error
    for seed, there in zip(subject.seeds, found, strict=False):
        apart = difference(episode(subject.player, seed).fingerprints(), there)
        if apart is not None:
            raise Fault(
                f"with seed {seed} a fresh process differs in {apart}",
                "the same episode in every process",
                "take nothing from the order of a set, hash(), id(), the clock or the process; draw from"
                " self.np_random alone.",
            )
    return ""


@question(*_PLAYED, "the_seed_decides")
def seeds_differ(subject: Subject) -> str:
    """Different seeds give different episodes under the same actions."""
    actions = subject.random_play[0].actions
    seen = {str(subject.player.replay(seed, actions).fingerprints()) for seed in subject.seeds[:10]}
    asked = len(set(subject.seeds[:10]))
    if len(seen) < 2:
        raise Fault(
            f"{asked} seeds give one and the same episode",
            "episodes that the seed decides",
            "call super().reset(seed=seed) and draw what varies from self.np_random.",
        )
    return f"{len(seen)} episodes of {asked} seeds"


@question(*_PLAYED)
def global_generators_are_left_alone(subject: Subject) -> str:
    """Making an instance and playing an episode move neither `random` nor `numpy.random`."""
    for name, state in _GENERATORS.items():
        before = state()
        with subject.made():
            episode(subject.player, subject.seeds[0])
        if state() != before:
            raise Fault(
                f"an episode draws from the global generator of {name}, or seeds it",
                "randomness from self.np_random alone",
                f"replace {name} by self.np_random.",
            )
    return ""


_SEEDING = (
    "call super().reset(seed=seed), draw from self.np_random alone, and set in reset all that play changes."
)

_GENERATORS: dict[str, Callable[[], str]] = {
    "random": lambda: repr(random.getstate()),
    "numpy.random": lambda: repr([*map(repr, np.random.get_state()), np.random.get_state()[1].tobytes()]),  # type: ignore[index]
}


def _agree(first: Record, again: Record, seed: int, where: str) -> None:
    apart = difference(first.fingerprints(), again.fingerprints())
    if apart is not None:
        raise Fault(f"with seed {seed} the episode differs in {apart}, {where}", "the same episode", _SEEDING)


def _moments(subject: Subject) -> Iterator[tuple[Record, int, Moment]]:
    for record in subject.records:
        for turn, moment in enumerate(record.moments):
            yield record, turn, moment


def _where(record: Record, turn: int, moment: Moment) -> str:
    what = f"after {shown(moment.action)} at turn {turn}" if turn else "at reset"
    return f"{what} of seed {record.seed}"


def _unwritable(action: str, legal: Sequence[str], capacity: int) -> str | None:
    """Why no agent can play this action, in words."""
    try:
        num_bytes = len(action.encode())
    except UnicodeEncodeError:
        return "cannot be encoded in UTF-8"
    if not action:
        return "is empty"
    if action != action.strip():
        return "has blanks at an end, which are taken off a reply"
    if "<" in action or ">" in action:
        return "holds < or >, by which the format `tagged` finds the action"
    if num_bytes > capacity:
        return f"takes {num_bytes} bytes; the action space allows {capacity}"
    return "is listed twice" if legal.count(action) > 1 else None


def _check_infos(subject: Subject, key: str) -> None:
    """Ask the contract's own check of every info, and heed what it says of this key."""
    for record, turn, moment in _moments(subject):
        others: dict[str, Any] = {"action_ok": True, "success": False, "legal_actions": None}
        try:
            check_info("env", {**others, key: moment.info.get(key)}, moment.ended)
        except ContractError as error:
            seen, _, rest = str(error).removeprefix("env 'env': ").partition("; expected ")
            raise Fault(f"{seen}, {_where(record, turn, moment)}", rest, f"set info['{key}'].") from error


QUESTIONS = (
    plays,
    observations_lie_in_their_space,
    action_ok_is_always_told,
    legal_actions_are_texts_or_none,
    legal_actions_can_be_written,
    episodes_end,
    success_is_told_at_the_end,
    infos_pickle,
    the_id_that_is_played_plays_the_same,
    rewards_lie_in_their_range,
    an_ended_episode_stays_ended,
    reset_begins_anew,
    the_seed_decides,
    the_seed_decides_in_a_fresh_process,
    seeds_differ,
    global_generators_are_left_alone,
)
