"""A model's chat template: what it writes around prompts and replies, and which tokens those are."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
from jinja2 import TemplateError

from vlmq.api import ModelError, Observation
from vlmq.prompt import chat

_MARK = "\u241f"  # a character that no template contains


class Template:
    """The text that a processor's chat template makes of messages.

    Args:
        processor: a Hugging Face processor with a chat template and a tokenizer.

    Attributes:
        end_id: the token that ends a reply.
        banned_ids: special tokens that a reply may not contain (image tokens among them).
        lead: special tokens that the processor itself puts in front of a conversation, such as a beginning of sequence.
        fingerprint: identifies tokenizer and template.
        prefix_stable: whether a prompt is rendered the same when turns follow it.

    Raises:
        ModelError: there is no template, it cannot be rendered, or it leaves replies out.
    """

    def __init__(self, processor: Any) -> None:
        self._processor, self._tokenizer = processor, processor.tokenizer
        if not getattr(processor, "chat_template", None) and not getattr(
            self._tokenizer, "chat_template", None
        ):
            raise ModelError(
                "the model's processor has no chat template; add a chat_template.jinja to its directory."
            )
        self.end_id = self._find_end()
        self.banned_ids = self._find_banned()
        tokens = self._tokens()
        self.lead = self._find_lead()
        self.fingerprint = self._fingerprint(tokens)
        names = self._tokenizer.convert_ids_to_tokens([*self.banned_ids, self.end_id])
        self._special = re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)))
        self.prefix_stable = self._is_prefix_stable()

    def render(self, messages: list[chat.Message], *, generate: bool) -> str:
        """The text of a conversation.

        Args:
            messages: of it.
            generate: whether it ends where a reply is to begin.

        Raises:
            ModelError: the template has a mistake in it, or refuses such a conversation.
        """
        try:
            return str(
                self._processor.apply_chat_template(messages, add_generation_prompt=generate, tokenize=False)
            )
        except (TemplateError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(
                f"the chat template of '{self._tokenizer.name_or_path}' fails ({reason}); mend it "
                "(chat_template.jinja) so that it takes user and assistant turns whose content is a list of parts of "
                "type 'image' and 'text'."
            ) from error

    def continuation(self, message: chat.Message) -> str:
        """What the template adds after a reply's end token when one more turn follows."""
        before = [chat.user_message(Observation(" ")), chat.assistant_message(_MARK)]
        text = self.render([*before, message], generate=True).split(_MARK, 1)[1]
        end = self._tokenizer.decode([self.end_id])
        return text.removeprefix(end)

    def disarm(self, text: str) -> str:
        """A text that spells a special token does not become one: `<image>` reads `< image>`."""
        return self._special.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def demand_a_place(self, message: chat.Message) -> None:
        """A picture must leave a mark in the prompt, or nobody would notice that the model never sees it."""
        texts = [part for part in message["content"] if part["type"] != "image"]
        if self.render([message], generate=False) == self.render(
            [{**message, "content": texts}], generate=False
        ):
            raise ModelError(
                "the model's chat template leaves pictures out; give it one that writes the image token where a part "
                "of type 'image' stands."
            )

    def _find_end(self) -> int:
        """The token that the template puts right after a reply."""
        messages = [chat.user_message(Observation(" ")), chat.assistant_message(_MARK)]
        rendered = self.render(messages, generate=False)
        if _MARK not in rendered:
            raise ModelError(
                "the model's chat template leaves replies out; give it one with an assistant turn."
            )
        after = self._tokenizer(rendered.split(_MARK, 1)[1], add_special_tokens=False)["input_ids"]
        special = set(self._tokenizer.all_special_ids)
        if after and after[0] in special:
            return int(after[0])
        if self._tokenizer.eos_token_id is None:
            raise ModelError("the model's tokenizer has no token that ends a reply; set its eos_token.")
        return int(self._tokenizer.eos_token_id)

    def _find_lead(self) -> tuple[int, ...]:
        """By transformers' own rule (processing_utils.py, `ProcessorMixin.apply_chat_template`)."""
        image = np.zeros((64, 64, 3), np.uint8)
        text = self.render([chat.user_message(Observation("a", image))], generate=False)
        begin, pictures = self._tokenizer.bos_token, [[chat.as_picture(image)]]
        if begin is not None and text.startswith(begin):
            return ()
        try:
            made, bare = (
                list(self._processor(text=[text], images=pictures, **options)["input_ids"][0])
                for options in ({}, {"add_special_tokens": False})
            )
        except (LookupError, ValueError):  # a template without a place for pictures: the first one is refused
            return ()
        count = next((n for n in range(len(made)) if made[n : n + len(bare)] == bare), 0)
        return tuple(int(i) for i in made[:count])

    def _find_banned(self) -> tuple[int, ...]:
        special = {int(i) for i in self._tokenizer.all_special_ids}
        special |= {int(i) for i, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        image_id = getattr(self._processor, "image_token_id", None)
        return tuple(sorted((special | ({int(image_id)} if image_id is not None else set())) - {self.end_id}))

    def _is_prefix_stable(self) -> bool:
        first = chat.user_message(Observation("a"))
        turns = [first, chat.assistant_message(_MARK), chat.user_message(Observation("b"))]
        return self.render(turns, generate=True).startswith(self.render([first], generate=True))

    def _tokens(self) -> str:
        """All that the tokenizer knows, and how it was last called: so it is read before the processor calls it."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        return backend.to_str() if backend is not None else repr(sorted(self._tokenizer.get_vocab().items()))

    def _fingerprint(self, tokens: str) -> str:
        template = str(getattr(self._processor, "chat_template", "") or self._tokenizer.chat_template)
        lead = repr(self.lead) if self.lead else ""
        return hashlib.blake2b((tokens + template + lead).encode(), digest_size=8).hexdigest()
