"""Checks of modalities: each works, the picture follows the state, the text does not tell what it shows."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from vlmq.api.testing.deadline import FAILURES
from vlmq.api.testing.play import Moment, Player, Record, canonical, random_legal
from vlmq.api.testing.question import Fault, Skip, question, raised
from vlmq.api.testing.subject import Subject

_PLAYED = ("can_be_made", "spaces_are_those_of_the_contract", "plays")


@question(*_PLAYED, "metadata_is_complete", "observations_lie_in_their_space")
def modalities_work(subject: Subject) -> str:
    """Each declared modality can be made and shows what its name says: "text" has no image, "image" has one."""
    modalities: tuple[str, ...] = tuple(subject.declared["modalities"])
    takes = _takes_modality(subject)
    if not takes and len(modalities) > 1:
        raise Fault(
            f"{len(modalities)} modalities are declared, and the constructor takes no 'modality'",
            "an argument that chooses between them",
            "add the argument 'modality', or declare the only one.",
        )
    for modality in modalities:
        try:
            if not takes or getattr(subject.env.unwrapped, "modality", None) == modality:
                fault = _modality_fault(subject, subject.player, modality)
            else:
                with subject.made(modality=modality) as player:
                    fault = _modality_fault(subject, player, modality)
        except FAILURES as error:
            fault = f"making it raises {raised(error)}"
        if fault is not None:
            raise Fault(
                f"in modality '{modality}' {fault}",
                "observations in the space, with an image unless the modality is 'text'",
                f"mend modality '{modality}', or declare it no more.",
            )
    return ", ".join(modalities)


@question(*_PLAYED)
def the_picture_follows_the_state(subject: Subject) -> str:
    """Some change of state within an episode changes the picture."""
    if subject.shape.image is None:
        raise Skip("it has no picture")
    changes = list(_changes(subject))
    if not changes:
        raise Skip("the state never changed within an episode")
    shown = sum(before.picture != after.picture for before, after in changes)
    if not shown:
        raise Fault(
            f"{len(changes)} changes of state leave every picture as it was",
            "a picture that shows the state",
            "draw the present state in every observation, not that of the reset.",
        )
    return f"in {shown} of {len(changes)} changes"


@question(*_PLAYED, "modalities_work", "reset_begins_anew")
def the_text_leaves_the_picture_its_part(subject: Subject) -> str:
    """In modality "image" the text does not say all that it says in modality "text"."""
    if not {"image", "text"} <= set(subject.declared["modalities"]) or not _takes_modality(subject):
        raise Skip("it offers no choice between the modalities 'image' and 'text'")
    turns = withheld = 0
    with subject.made(modality="text") as told, subject.made(modality="image") as shown:
        for record in subject.random_play[:5]:
            texts = told.replay(record.seed, record.actions).moments
            pictures = shown.replay(record.seed, record.actions).moments
            for in_words, in_picture in zip(texts, pictures, strict=False):
                turns += 1
                withheld += bool(_lines(in_words) - _lines(in_picture))
    if not withheld:
        raise Fault(
            f"in {turns} turns the text of modality 'image' holds every line of modality 'text'",
            "a picture that tells something which the text does not",
            "leave the state out of the text where modality is 'image'; 'both' is for telling it twice.",
        )
    return f"{withheld} of {turns} turns leave something to the picture"


def _changes(subject: Subject) -> Iterator[tuple[Moment, Moment]]:
    """Neighbouring moments between which the state changed, as far as one can tell."""
    for record in subject.records:
        for before, after in pairwise(record.moments):
            keys = [moment.info.get("state_key") for moment in (before, after)]
            if None in keys:
                # nobody says what the state is; an action that was accepted may have changed it
                if after.info.get("action_ok"):
                    yield before, after
            elif canonical(keys[0]) != canonical(keys[1]):
                yield before, after


def _lines(moment: Moment) -> set[str]:
    return set(str(moment.text).splitlines())


def _takes_modality(subject: Subject) -> bool:
    """Whether what makes the environment has an argument `modality`, of its own or of a base class."""
    entry = subject.target.spec.entry_point
    creator = entry if callable(entry) else load_env_creator(str(entry))
    classes = creator.__mro__ if isinstance(creator, type) else ()
    makers = [vars(cls)["__init__"] for cls in classes if "__init__" in vars(cls)] or [creator]
    return any("modality" in inspect.signature(maker).parameters for maker in makers)


def _modality_fault(subject: Subject, player: Player, modality: str) -> str | None:
    record = player.play(subject.seeds[0], random_legal, subject.turn_limit)
    fault = record.error or next((moment.fault for moment in record.moments if moment.fault), None)
    if fault is not None:
        return fault
    has_image = _has_image(record, player.env)
    if modality == "text" and has_image:
        return "there is an image"
    return "there is no image" if modality in ("image", "both") and not has_image else None


def _has_image(record: Record, env: gymnasium.Env[Any, Any]) -> bool:
    return "image" in env.observation_space.spaces or any(  # type: ignore[attr-defined]
        moment.picture is not None for moment in record.moments
    )


QUESTIONS = (modalities_work, the_picture_follows_the_state, the_text_leaves_the_picture_its_part)
