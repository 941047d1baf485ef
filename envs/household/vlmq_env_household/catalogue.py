"""What there is in a home: kinds of receptacles, of things, of rooms, and what appliances do to things."""

from __future__ import annotations

from typing import NamedTuple

LAMP = "desklamp"
"""The one kind of thing that can be used, and cannot be taken."""

LIT = "lit"
"""The mark of a lamp that is on."""

ROOMY = 3
"""How many things a receptacle holds at most: so many can be drawn in it and still be told apart."""


class Treatment(NamedTuple):
    """What an appliance does to the thing in hand.

    Attributes:
        mark: what the thing is afterwards.
        undoes: the mark that it then loses, or "".
        appliance: the kind of receptacle that does it.
    """

    mark: str
    undoes: str
    appliance: str


TREATMENTS = {
    "clean": Treatment("clean", "", "sinkbasin"),
    "heat": Treatment("hot", "cool", "microwave"),
    "cool": Treatment("cool", "hot", "fridge"),
}
"""By verb. A thing is hot or cool, never both; clean it stays."""

MARKS = ("clean", "hot", "cool", LIT)
"""Every mark, in the order in which they are told."""


class ReceptacleKind(NamedTuple):
    """A kind of place where things lie.

    Attributes:
        openable: it starts closed, and hides what it holds while it is closed.
        preposition: "in" or "on".
    """

    openable: bool = False
    preposition: str = "on"


RECEPTACLES = {
    "armchair": ReceptacleKind(),
    "bathtub": ReceptacleKind(preposition="in"),
    "bed": ReceptacleKind(),
    "cabinet": ReceptacleKind(openable=True, preposition="in"),
    "coffeetable": ReceptacleKind(),
    "countertop": ReceptacleKind(),
    "desk": ReceptacleKind(),
    "diningtable": ReceptacleKind(),
    "drawer": ReceptacleKind(openable=True, preposition="in"),
    "dresser": ReceptacleKind(),
    "fridge": ReceptacleKind(openable=True, preposition="in"),
    "garbagecan": ReceptacleKind(preposition="in"),
    "microwave": ReceptacleKind(openable=True, preposition="in"),
    "safe": ReceptacleKind(openable=True, preposition="in"),
    "shelf": ReceptacleKind(),
    "sidetable": ReceptacleKind(),
    "sinkbasin": ReceptacleKind(preposition="in"),
    "sofa": ReceptacleKind(),
    "stoveburner": ReceptacleKind(),
    "toilet": ReceptacleKind(),
    "tvstand": ReceptacleKind(),
}

ROOMS = {
    "kitchen": {
        "cabinet": 5,
        "countertop": 3,
        "diningtable": 1,
        "drawer": 4,
        "fridge": 1,
        "garbagecan": 1,
        "microwave": 1,
        "shelf": 2,
        "sinkbasin": 1,
        "stoveburner": 2,
    },
    "bedroom": {
        "armchair": 1,
        "bed": 1,
        "desk": 2,
        "drawer": 5,
        "dresser": 1,
        "garbagecan": 1,
        "safe": 1,
        "shelf": 3,
        "sidetable": 2,
    },
    "bathroom": {
        "bathtub": 1,
        "cabinet": 4,
        "countertop": 2,
        "drawer": 3,
        "garbagecan": 1,
        "shelf": 2,
        "sinkbasin": 2,
        "toilet": 1,
    },
    "livingroom": {
        "armchair": 2,
        "cabinet": 3,
        "coffeetable": 2,
        "drawer": 3,
        "dresser": 1,
        "garbagecan": 1,
        "safe": 1,
        "shelf": 3,
        "sidetable": 2,
        "sofa": 1,
        "tvstand": 1,
    },
}
"""For each kind of room, the receptacles that may stand there and how many of each at most."""


class ThingKind(NamedTuple):
    """A kind of thing.

    Attributes:
        homes: the receptacles where it is found, and where a task may want it.
        rooms: the kinds of rooms where that holds.
        verbs: those of `TREATMENTS` that work on it.
        lookable: a task may ask to look at it in the light.
        plural: its plural, where "s" does not make it.
    """

    homes: tuple[str, ...]
    rooms: tuple[str, ...]
    verbs: tuple[str, ...] = ()
    lookable: bool = False
    plural: str = ""


_TABLES = ("countertop", "diningtable")
_FOOD = (*_TABLES, "fridge", "garbagecan", "microwave", "sinkbasin")
_CUTLERY = (*_TABLES, "drawer", "sinkbasin")
_DISHES = (*_TABLES, "cabinet", "fridge", "microwave", "shelf", "sinkbasin")
_COOKWARE = (*_TABLES, "cabinet", "sinkbasin", "stoveburner")
_WASHING = ("bathtub", "cabinet", "countertop", "drawer", "garbagecan", "shelf", "sinkbasin", "toilet")
_PAPERS = ("armchair", "bed", "coffeetable", "desk", "drawer", "dresser", "shelf", "sidetable", "sofa")
_SMALL = ("coffeetable", "desk", "drawer", "dresser", "safe", "shelf", "sidetable", "sofa", "tvstand")
_ORNAMENTS = ("coffeetable", "desk", "dresser", "safe", "shelf", "sidetable", "tvstand")

_KITCHEN, _BATH, _LIVING = ("kitchen",), ("bathroom",), ("bedroom", "livingroom")
_ANY_VERB = ("clean", "heat", "cool")

THINGS = {
    "alarmclock": ThingKind(
        ("bed", "desk", "drawer", "dresser", "shelf", "sidetable"), ("bedroom",), lookable=True
    ),
    "apple": ThingKind(_FOOD, _KITCHEN, _ANY_VERB),
    "book": ThingKind(_PAPERS, _LIVING, lookable=True),
    "bowl": ThingKind(
        (*_DISHES, "coffeetable", "desk", "dresser"), (*_KITCHEN, *_LIVING), ("clean", "cool"), lookable=True
    ),
    "bread": ThingKind(
        (*_TABLES, "cabinet", "fridge", "garbagecan", "microwave"), _KITCHEN, ("heat", "cool")
    ),
    "candle": ThingKind(
        ("bathtub", "cabinet", "coffeetable", "countertop", "drawer", "shelf", "toilet"),
        ("bathroom", "livingroom"),
    ),
    "cd": ThingKind((*_SMALL, "garbagecan"), _LIVING, lookable=True),
    "cellphone": ThingKind((*_SMALL, "armchair", "bed"), _LIVING, lookable=True),
    "cloth": ThingKind(_WASHING, _BATH, ("clean",)),
    "creditcard": ThingKind((*_SMALL, "armchair"), _LIVING, lookable=True),
    "cup": ThingKind(_DISHES, _KITCHEN, _ANY_VERB),
    LAMP: ThingKind(("desk", "dresser", "shelf", "sidetable", "tvstand"), _LIVING),
    "egg": ThingKind(_FOOD, _KITCHEN, _ANY_VERB),
    "fork": ThingKind(_CUTLERY, _KITCHEN, ("clean",)),
    "keychain": ThingKind((*_SMALL, "armchair"), _LIVING, lookable=True),
    "knife": ThingKind(_CUTLERY, _KITCHEN, ("clean",), plural="knives"),
    "laptop": ThingKind(
        ("armchair", "bed", "coffeetable", "desk", "dresser", "sofa"), _LIVING, lookable=True
    ),
    "lettuce": ThingKind((*_TABLES, "fridge", "garbagecan", "sinkbasin"), _KITCHEN, ("clean", "cool")),
    "mug": ThingKind(
        (*_DISHES, "coffeetable", "desk", "sidetable"), (*_KITCHEN, *_LIVING), _ANY_VERB, lookable=True
    ),
    "newspaper": ThingKind((*_PAPERS, "garbagecan", "toilet"), (*_BATH, *_LIVING), lookable=True),
    "pan": ThingKind(_COOKWARE, _KITCHEN, ("clean", "cool")),
    "pen": ThingKind((*_SMALL, "bed", "garbagecan"), _LIVING, lookable=True),
    "pencil": ThingKind((*_SMALL, "bed", "garbagecan"), _LIVING, lookable=True),
    "pillow": ThingKind(("armchair", "bed", "sofa"), _LIVING, lookable=True),
    "plate": ThingKind(_DISHES, _KITCHEN, _ANY_VERB),
    "pot": ThingKind((*_COOKWARE, "fridge"), _KITCHEN, ("clean", "cool")),
    "potato": ThingKind(_FOOD, _KITCHEN, _ANY_VERB, plural="potatoes"),
    "remotecontrol": ThingKind((*_SMALL, "armchair"), ("livingroom",), lookable=True),
    "soapbar": ThingKind(_WASHING, _BATH, ("clean",)),
    "soapbottle": ThingKind((*_WASHING, "diningtable"), (*_BATH, *_KITCHEN)),
    "spatula": ThingKind((*_CUTLERY, "stoveburner"), _KITCHEN, ("clean",)),
    "spoon": ThingKind(_CUTLERY, _KITCHEN, ("clean",)),
    "statue": ThingKind(_ORNAMENTS, _LIVING, lookable=True),
    "toiletpaper": ThingKind(
        ("bathtub", "cabinet", "countertop", "drawer", "garbagecan", "shelf", "toilet"), _BATH
    ),
    "tomato": ThingKind(_FOOD, _KITCHEN, _ANY_VERB, plural="tomatoes"),
    "vase": ThingKind((*_ORNAMENTS, "diningtable"), (*_KITCHEN, *_LIVING), lookable=True),
    "watch": ThingKind((*_SMALL, "bed"), _LIVING, lookable=True, plural="watches"),
}
