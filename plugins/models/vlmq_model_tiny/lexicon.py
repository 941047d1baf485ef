"""The words of the second version: names, colours, verbs, and made-up nouns so that copying is no list to learn."""

from __future__ import annotations

from random import Random

THINGS = (
    *(
        "alarmclock",
        "apple",
        "banana",
        "book",
        "bottle",
        "bowl",
        "bread",
        "candle",
        "cd",
        "cellphone",
        "cloth",
    ),
    *(
        "creditcard",
        "cup",
        "desklamp",
        "egg",
        "flower",
        "fork",
        "glasses",
        "hammer",
        "hat",
        "keychain",
        "knife",
    ),
    *("laptop", "lettuce", "mug", "newspaper", "pan", "pen", "pencil", "pillow", "plate", "pot", "potato"),
    *("remotecontrol", "scissors", "shoe", "soapbar", "soapbottle", "spatula", "spoon", "statue"),
    *("toiletpaper", "tomato", "umbrella", "vase", "watch"),
)
"""What can be carried."""

PLACES = (
    *(
        "armchair",
        "bathtub",
        "bed",
        "bookcase",
        "cabinet",
        "coffeetable",
        "countertop",
        "desk",
        "diningtable",
    ),
    *(
        "drawer",
        "dresser",
        "fridge",
        "garbagecan",
        "microwave",
        "oven",
        "safe",
        "shelf",
        "sidetable",
        "sinkbasin",
    ),
    *("sofa", "stool", "stoveburner", "toilet", "tvstand"),
)
"""Where things lie."""

MARKS = ("clean", "hot", "cool", "lit")
ROOMS = ("kitchen", "bedroom", "bathroom", "livingroom", "hall", "garage")

GRID_KINDS = ("ball", "key", "box", "door")
GRID_COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
DOOR_STATES = ("open", "closed", "locked")

RANKS = ("A", "2", "3", "4", "5", "6", "7", "8", "9", "10", "J", "Q", "K")
SUITS = ("spades", "hearts", "diamonds", "clubs")

LABELS = (
    *("ok", "yes", "no", "cancel", "submit", "next", "back", "open", "close", "save", "send", "menu", "home"),
    *(
        "help",
        "search",
        "login",
        "name",
        "date",
        "mail",
        "list",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
    ),
    *(
        "stop",
        "start",
        "reset",
        "play",
        "done",
        "more",
        "less",
        "on",
        "off",
        "new",
        "old",
        "edit",
        "buy",
        "sell",
    ),
    *("ONE", "TWO", "OK", "Yes", "No", "Next", "Send", "Login", "Cancel", "Submit", "Help", "Menu"),
)
"""What stands on buttons, beside boxes and in fields."""

_STARTS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "st", "tr", "pl", "sh")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "oo", "ee")
_ENDS = ("", "b", "d", "g", "k", "l", "m", "n", "p", "r", "s", "t", "x", "nt", "st")


def made_up(rng: Random, syllables: int = 2) -> str:
    """A pronounceable word that means nothing: "brusoot", "fain"."""
    start = "".join(rng.choice(_STARTS) + rng.choice(_VOWELS) for _ in range(syllables))
    return start + rng.choice(_ENDS)


def thing(rng: Random, strange: float = 0.2) -> str:
    """A thing, or with probability `strange` a made-up one."""
    return made_up(rng) if rng.random() < strange else rng.choice(THINGS)


def place(rng: Random, strange: float = 0.15) -> str:
    """A place where things lie, or with probability `strange` a made-up one."""
    return made_up(rng) if rng.random() < strange else rng.choice(PLACES)


def number(rng: Random) -> int:
    """What tells things of a kind apart: mostly 1 to 3, now and then up to 20."""
    return rng.randrange(1, 4) if rng.random() < 0.8 else rng.randrange(1, 21)


def numbered(rng: Random, noun: str) -> str:
    """The noun with such a number."""
    return f"{noun} {number(rng)}"
