"""Checks of what an episode is worth: the expert solves the task, chance does not, and nothing gives it away."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from vlmq.api.testing.deadline import time_limit
from vlmq.api.testing.play import Record
from vlmq.api.testing.question import Fault, Skip, question, shown
from vlmq.api.testing.subject import Subject

_PLAYED = ("can_be_made", "spaces_are_those_of_the_contract", "plays", "episodes_end")
_SURE = 0.999
"""A declared rate is called wrong only where this share of its interval would have held it."""
_DOUBLINGS, _LONGEST_S = 3, 20.0
"""How often, and for how long, more episodes are played to tell skill from luck."""


@question(*_PLAYED)
def expert_acts_legally(subject: Subject) -> str:
    """The expert plays every episode to its end, with actions that are accepted as legal."""
    for record in _expert_play(subject):
        if record.error is not None:
            raise Fault(
                f"{record.error}, with seed {record.seed}",
                "an action of the expert in every state of its episodes",
                "see the code that raised it.",
            )
        for before, after in zip(record.moments, record.moments[1:], strict=False):
            unlisted = bool(before.legal) and not subject.open_actions and after.action not in before.legal
            if unlisted or not after.info.get("action_ok"):
                what = "is not among the legal actions" if unlisted else "is refused"
                raise Fault(
                    f"the expert's action {shown(after.action)} {what}, with seed {record.seed}",
                    "a legal action, in its canonical spelling",
                    "return from expert_action() one of the texts in info['legal_actions'].",
                )
        if not record.ended:
            raise Fault(
                f"the expert gives up after {len(record.actions)} turns, with seed {record.seed}",
                "an action until the episode ends",
                "return None from expert_action() only where there is no expert at all.",
            )
    return f"{sum(len(record.actions) for record in subject.expert_play)} actions"


@question(*_PLAYED, "metadata_is_complete", "expert_acts_legally")
def expert_solves(subject: Subject) -> str:
    """The expert succeeds in every episode, or as often as metadata["vlmq"]["expert_success"] says."""
    records = _expert_play(subject)
    wins = sum(record.success for record in records)
    declared = float(subject.declared.get("expert_success", 1.0))
    said = f"success in {wins} of {len(records)} episodes"
    always = declared == 1.0
    if wins < len(records) if always else wilson(wins, len(records))[1] < declared:
        lost = next(record.seed for record in records if not record.success)
        raise Fault(
            f"the expert's {said}; not with seed {lost}",
            f"success in {declared:.0%} of them",
            "mend the expert; let reset deal only what can be solved; or, in a game of chance, declare"
            " metadata['vlmq']['expert_success'].",
        )
    return said


@question(*_PLAYED, "metadata_is_complete", "rewards_lie_in_their_range", "expert_acts_legally")
def expert_beats_chance(subject: Subject) -> str:
    """The expert's mean return is above random legal play's, 95 % intervals apart; or chance is as declared.

    With metadata["vlmq"]["chance_level"] the task is one where luck goes far: then random play must succeed as
    often as declared, and the expert at least as often. Where the seeds are too few to tell, twice as many are
    played, and again, three times at most.
    """
    records, chance = _expert_play(subject), subject.random_play
    if "chance_level" in subject.declared:
        return _as_declared(float(subject.declared["chance_level"]), records, chance)
    skilled, lucky = _returns(records), _returns(chance)
    started = time.perf_counter()
    for _ in range(_DOUBLINGS):
        late = time.perf_counter() - started > _LONGEST_S
        if late or mean_interval(skilled)[1] > mean_interval(lucky)[2]:
            break
        with_expert, at_random = subject.further_play(len(lucky))
        for record in [*with_expert, *at_random]:
            if record.error is not None:
                raise Fault(
                    f"{record.error}, with seed {record.seed}",
                    "episodes of every seed, not of the first ones alone",
                    "see the code that raised it.",
                )
        skilled += _returns(with_expert)
        lucky += _returns(at_random)
    expert, random = mean_interval(skilled), mean_interval(lucky)
    said = f"mean return {expert[0]:.2f} against {random[0]:.2f} of random play, {len(lucky)} episodes each"
    if not expert[1] > random[2]:
        raise Fault(
            f"{said}; the 95 % intervals reach down to {expert[1]:.2f} and up to {random[2]:.2f}",
            "intervals apart: a task in which skill shows",
            "make the task harder to solve by chance, or declare its success rate under random legal play as"
            " metadata['vlmq']['chance_level']; more seeds narrow the intervals.",
        )
    return said


@question(*_PLAYED)
def secrets_are_kept(subject: Subject) -> str:
    """What metadata["vlmq"]["secrets"] names is told by no text and no info before the end.

    Each name is an attribute of the unwrapped environment (a method without arguments is called). A value leaks
    if it occurs, as a whole word, in the text or in any info but `state_key` and `legal_actions` of its own
    episode more often than the values of other episodes do: so a text that lists all possible answers tells
    nothing, and one that lists them and names the right one besides tells it.
    """
    names = subject.declared.get("secrets") or ()
    if not names:
        raise Skip("it declares no secrets")
    for name in names:
        values = {seed: _secret(subject, name, seed) for seed in subject.seeds}
        told = dict.fromkeys(subject.seeds, "")
        for record in [*subject.random_play, *subject.mixed_play]:
            told[record.seed] += _words(record)
        _demand_silence(name, list(values.values()), list(told.values()))
    return ", ".join(names)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Lower and upper end of Wilson's interval of a success rate, at the level `_SURE`."""
    z, rate = NormalDist().inv_cdf(0.5 + _SURE / 2), successes / trials
    shrink = 1 + z * z / trials
    half = z / shrink * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    centre = (rate + z * z / (2 * trials)) / shrink
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean with the ends of its 95 % interval, by Student's t.

    The quantile is the Cornish-Fisher expansion to the second order (Abramowitz and Stegun 26.7.5): within 1 %
    from four degrees of freedom on.
    """
    mean, count = fmean(values), len(values)
    if count < 2:
        return mean, -math.inf, math.inf
    z, df = NormalDist().inv_cdf(0.975), count - 1
    t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    half = t * stdev(values) / math.sqrt(count)
    return mean, mean - half, mean + half


def _as_declared(level: float, records: Sequence[Record], chance: Sequence[Record]) -> str:
    wins = sum(record.success for record in chance)
    low, high = wilson(wins, len(chance))
    said = f"random legal play succeeds in {wins} of {len(chance)} episodes"
    if not low <= level <= high:
        raise Fault(
            said,
            f"{level:.0%}, as metadata['vlmq']['chance_level'] says",
            "correct the declared chance_level.",
        )
    best = sum(record.success for record in records)
    if wilson(best, len(records))[1] < low:
        raise Fault(
            f"{said}, the expert in {best} of {len(records)}",
            "an expert that is no worse than chance",
            "mend the expert.",
        )
    return f"{said}; declared {level:.0%}"


def _expert_play(subject: Subject) -> list[Record]:
    if not subject.expert_play:
        raise Skip("it offers no expert")
    return subject.expert_play


def _returns(records: Sequence[Record]) -> list[float]:
    return [record.episode_return for record in records]


def _secret(subject: Subject, name: str, seed: int) -> str:
    """The secret of an episode."""
    subject.player.reset(Record(seed))
    inner = subject.env.unwrapped
    with time_limit():
        if not hasattr(inner, name):
            raise Fault(
                f"the environment has no attribute '{name}'",
                "the names of attributes in metadata['vlmq']['secrets']",
                f"correct '{name}' there.",
            )
        secret = getattr(inner, name)
        return str(secret() if callable(secret) else secret)


def _words(record: Record) -> str:
    """All that an episode tells before its end, but for what says the state and what may be done in it."""
    words = []
    for moment in record.moments:
        if not moment.ended:
            words.append(str(moment.text))
            words += [
                str(item) for key, item in moment.info.items() if key not in ("state_key", "legal_actions")
            ]
    return "".join(f"{word}\n" for word in words)


def _demand_silence(name: str, values: Sequence[str], told: Sequence[str]) -> None:
    possible = sorted(set(values))
    own: list[bool] = []
    others: list[bool] = []
    for secret, words in zip(values, told, strict=True):
        counts = [_count(value, words) for value in possible]
        for value, count in zip(possible, counts, strict=True):
            # more often than the rest do on average
            stands_out = count * len(counts) > sum(counts)
            (own if value == secret else others).append(stands_out)
    if not others:
        raise Fault(
            f"the attribute '{name}' is {shown(values[0])} in every episode",
            "a secret that the seed decides",
            f"leave '{name}' out of metadata['vlmq']['secrets'].",
        )
    rate, hits = fmean(others), sum(own)
    luck = sum(
        math.comb(len(own), k) * rate**k * (1 - rate) ** (len(own) - k) for k in range(hits, len(own) + 1)
    )
    if hits and luck < 1 - _SURE:
        index = own.index(True)
        raise Fault(
            f"the text or info of {hits} in {len(own)} episodes names '{name}', {shown(values[index])} for instance,"
            " more often than other values of it",
            "nothing that tells it before the end",
            f"leave '{name}' out of the text and of every info but state_key, or declare it no secret.",
        )


def _count(value: str, words: str) -> int:
    """How often the value occurs as a whole word."""
    count, at = 0, words.find(value) if value else -1
    while at >= 0:
        before, after = words[at - 1 : at] if at else "", words[at + len(value) : at + len(value) + 1]
        if not (before.isalnum() and value[0].isalnum()) and not (after.isalnum() and value[-1].isalnum()):
            count += 1
        at = words.find(value, at + 1)
    return count


QUESTIONS = (expert_acts_legally, expert_solves, expert_beats_chance, secrets_are_kept)
