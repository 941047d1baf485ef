"""The tokenizer: byte-level BPE over questions, everyday English and punctuation, with single digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from vlmq_model_tiny import phrases

VOCABULARY_SIZE = 1024
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


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer; the result is always the same."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
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
    forms = [
        form for name in sorted(vars(phrases)) if name.isupper() for form in _texts(getattr(phrases, name))
    ]
    for form in forms:
        yield from (re.sub(r" ?\{\w+\}", "", form),) * 3
    words = sorted({*_ENGLISH.split(), *phrases.ECHO_WORDS})
    for word in words:
        yield from (*(word,) * 5, *(f" {word}",) * 9)
    for word in words:
        yield from (*(word.capitalize(),) * 3, *(f" {word.capitalize()}",) * 3)
        yield from (f'"{word}": "{word}"', f"{word}s")
    for line in _PUNCTUATION:
        yield from (line,) * 60


def _texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
