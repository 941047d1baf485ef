"""The tokenizer: byte-level BPE over questions, everyday English and punctuation, with single digits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from vlmq_model_tiny import lexicon, phrases, wording

SIZES = {1: 1024, 2: 2048}
"""Entries of the vocabulary, by version of the model."""
END, USER, ASSISTANT, PAD = "<|end|>", "<|user|>", "<|assistant|>", "<|pad|>"
IMAGE_TOKENS = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
SPECIAL_TOKENS = (PAD, END, USER, ASSISTANT, *IMAGE_TOKENS)
"""Their ids are 0, 1, 2, ... in this order; only the processor needs `<end_of_utterance>`."""

_ENGLISH = (
    "a about above across act action actions add after again all allowed also an and answer any are "
    "around as ask at away back be before behind below between big black blue both bottom box but "
    "button by can card cards change check choose click close cold colour come cook cool correct count "
    "current cut day down drag draw drop each east empty end enter equal equals every examine face far "
    "field fill find first five floor for forward found four from game get give go goal green hand has "
    "have heat help here hit hold hot how if in inside into inventory is it item items key kitchen know "
    "large last leave left legal less letter light line link list look low make may message mode more "
    "move must name near need new next nine no north not nothing now number numbers object of off on "
    "one only open or order other out over page pass pick picture place play player please point points "
    "press previous put read reach red reply report room row same say scroll see select seven shape "
    "shelf should show shown side shapes six small south stand start state stay step stop submit symbol "
    "table take target task tell ten text than that the them then there these thing this three time to "
    "toggle top total turn two type under until up use value wait wall was west what when where which "
    "white who will win with word write wrong yellow yes you your zero"
)
_PUNCTUATION = (
    '{"a": "b"}',
    '{"c": "d", "e": "f"}',
    '{"g": 1, "h": 2}',
    '{"i": ["j", "k"]}',
    "l('m')",
    "n('o', 'p')",
    "q(1, 2)",
    "r: s or t.",
    "u, v, w and x.",
    "(y) [z] <a> 'b' \"c\"",
    "d = e + f - g * h / i",
    "j; k: l\nm\n\nn",
    "o? p! q...",
    '"+" "-" "*" "/" "="',
    "one of: a, b, c.",
)
_NOUNS = (*lexicon.THINGS, *lexicon.PLACES)
_COLOURS = (*lexicon.GRID_COLOURS, "orange", "pink", "brown", "black", "white")
_VERBS = (
    *(
        "go",
        "open",
        "close",
        "take",
        "move",
        "put",
        "use",
        "clean",
        "heat",
        "cool",
        "examine",
        "inventory",
        "look",
    ),
    *("turn", "pick", "drop", "toggle", "click", "fill", "press", "scroll", "select", "hit", "stand", "noop"),
)
_ANSWERS = (
    *(
        "yes",
        "no",
        "nothing",
        "wall",
        "hand",
        "top",
        "bottom",
        "left",
        "right",
        "same",
        "larger",
        "smaller",
        "equal",
    ),
    *("plain", "hidden", "unseen", "closed", "locked", "ahead", "behind", "button", "box", "field", "ok"),
    *("circle", "square", "triangle", "star", "cross", "diamond", "J", "Q", "K", "A"),
)
_HEADINGS = ("Task", "Actions", "Elements", "Reply")
_GLUE = (
    *(
        "forward",
        "up",
        "to",
        "from",
        "with",
        "in",
        "on",
        "of",
        "at",
        "the",
        "a",
        "middle",
        "row",
        "column",
        "slot",
    ),
    *("ticked", "link", "checkbox", "textbox", "option", "tab", "bid", "mouse", "empty"),
)
COMMON_WORDS = tuple(
    dict.fromkeys(
        (
            *(*_NOUNS, *_COLOURS, *_VERBS, *_ANSWERS, *_HEADINGS, *_GLUE),
            *(*lexicon.MARKS, *lexicon.ROOMS, *lexicon.GRID_KINDS, *lexicon.DOOR_STATES),
            *(*lexicon.SUITS, *lexicon.LABELS),
        )
    )
)
"""Each is one token after a space."""
LEADING_WORDS = tuple(
    dict.fromkeys(
        (
            *(*_NOUNS, *_COLOURS, *_VERBS, *_ANSWERS, *_HEADINGS, *lexicon.LABELS, *lexicon.SUITS),
            *("action", "thoughts", "mouse"),
        )
    )
)
"""Each is one token where an answer, a line or a quoted text begins."""
_FRAMING = (
    '{"action": "go"}',
    '{"thoughts": "so", "action": "go"}',
    "click('ok')",
    "fill('ok','no')",
    "[a] button 'ok'",
    '{"action": "click(\'ok\')"}',
    "Task: a\nActions: b, c",
)


def build_tokenizer(version: int = 1) -> PreTrainedTokenizerFast:
    """Train the tokenizer of a version of the model; the result is always the same."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZES[version],
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus() if version == 1 else _corpus_2(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT, *IMAGE_TOKENS],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def _corpus() -> Iterator[str]:
    """Question forms as they stand, words with and without a space before them, punctuation.

    It does not sample the curriculum, so that a change of its shares leaves every token id where it was.
    """
    for form in _forms(phrases):
        yield from (re.sub(r" ?\{\w+\}", "", form),) * 3
    words = sorted({*_ENGLISH.split(), *phrases.ECHO_WORDS})
    for word in words:
        yield from (*(word,) * 5, *(f" {word}",) * 9)
    for word in words:
        yield from (*(word.capitalize(),) * 3, *(f" {word.capitalize()}",) * 3)
        yield from (f'"{word}": "{word}"', f"{word}s")
    for line in _PUNCTUATION:
        yield from (line,) * 60


def _corpus_2() -> Iterator[str]:
    """What the first version learns from, and the words of household, grid, cards and web pages, much more often.

    A word that occurs so often becomes one token, with a space before it and, for `LEADING_WORDS`, without.
    """
    yield from _corpus()
    for form in _forms(wording):
        yield from (re.sub(r" ?\{\w+\}", "", form),) * 3
    for word in COMMON_WORDS:
        yield from (f" {word}",) * 60
    for word in LEADING_WORDS:
        yield from (word,) * 60
    for line in _FRAMING:
        yield from (line,) * 60


def _forms(module: ModuleType) -> list[str]:
    """The texts of a module's constants, in the order of their names."""
    return [form for name in sorted(vars(module)) if name.isupper() for form in _texts(getattr(module, name))]


def _texts(value: str | tuple[str, ...] | dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    if isinstance(value, dict):
        return tuple(form for forms in value.values() for form in forms)
    return (value,) if isinstance(value, str) else value
