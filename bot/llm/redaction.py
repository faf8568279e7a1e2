"""Replaces keys, cards and addresses in requests with placeholders, and restores them in answers.

Invariants: no request contains a key. Requests with the same beginning are redacted the same way,
so that providers recognize this beginning. For any text, restoring the values in the redacted text
gives the original text. Values stay in the memory of a single request.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Sequence
from dataclasses import replace

from cachetools import LRUCache

from bot.common import sensitive
from bot.domain.conversations import Message
from bot.domain.errors import ModelError
from bot.domain.model import ChatRequest, Delta
from bot.domain.policy import Redaction
from bot.ports.model import ChatModel

NOTE = (
    "[Some private values in this conversation are replaced by placeholders such as {example}. "
    "Treat each as the value itself, and copy it unchanged wherever the value belongs.]"
)
"""Explains the placeholders. It follows the first one in the same message, so that later requests
begin in the same way."""

TEXT = "text"
"""The kind of a text that looks like a placeholder: it is replaced and restored, too."""

_NAMES = {kind: kind.value for kind in Redaction} | {Redaction.KEYS: "key"}
_PLACEHOLDER = re.compile(r"\[(?:key|email|phone|card|iban|text)-[0-9]{1,6}\]")
_JOINED = re.compile(rf"(?<=[A-Za-z0-9_]){_PLACEHOLDER.pattern}")
_BEGINNING = re.compile(r"\[[a-z]{0,5}(?:-[0-9]{0,6})?$")
_LONGEST = len("[email-999999]")

REMEMBERED_TEXTS = 20_000
"""The number of texts whose values' positions are remembered, so that a turn searches only what is
new in its conversation."""

_Found = Sequence[tuple[str, int, int]]


class Redactor:
    """Redacts requests. It remembers where texts contain values, but neither texts nor values."""

    def __init__(self) -> None:
        self._found: LRUCache[tuple[frozenset[Redaction], bytes], _Found] = LRUCache(
            REMEMBERED_TEXTS
        )

    def stream(self, model: ChatModel, request: ChatRequest) -> AsyncIterator[Delta]:
        """Like `ChatModel.stream`: redact the request, and restore the values in the answer."""
        redacted, values = self.redact(request)
        deltas = model.stream(redacted)
        return restore(deltas, values, _never_joined(redacted, values)) if values else deltas

    def redact(self, request: ChatRequest) -> tuple[ChatRequest, dict[str, str]]:
        """The request with placeholders, and the value of each placeholder."""
        placeholders = _Placeholders()
        kinds = frozenset((Redaction.KEYS, *request.redact))
        messages = tuple(
            self._redact_message(each, kinds, placeholders) for each in request.messages
        )
        if not placeholders.values:
            return request, {}
        return replace(request, messages=messages), placeholders.values

    def _redact_message(
        self, message: Message, kinds: frozenset[Redaction], placeholders: _Placeholders
    ) -> Message:
        found = self._find(message.content, kinds)
        if not found:
            return message
        is_first = not placeholders.values
        content = placeholders.replace(message.content, found)
        if is_first:
            content += f"\n\n{NOTE.format(example=next(iter(placeholders.values)))}"
        return replace(message, content=content)

    def _find(self, text: str, kinds: frozenset[Redaction]) -> _Found:
        key = kinds, hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = _find_all(text, kinds)
        return found


def _never_joined(request: ChatRequest, values: Collection[str]) -> frozenset[str]:
    """The placeholders that never directly follow a word in the request: in the answer,
    `heap[key-1]` is code that the model wrote rather than the value."""
    joined = {found[0] for each in request.messages for found in _JOINED.finditer(each.content)}
    return frozenset(values) - joined


def _find_all(text: str, kinds: Collection[Redaction]) -> _Found:
    found = [(_NAMES[each.kind], each.start, each.end) for each in sensitive.find(text, kinds)]
    taken = [(start, end) for _, start, end in found]
    for literal in _PLACEHOLDER.finditer(text):
        if not any(start < literal.end() and literal.start() < end for start, end in taken):
            found.append((TEXT, literal.start(), literal.end()))
    return sorted(found, key=lambda each: each[1])


class _Placeholders:
    """The placeholders of one request, numbered in text order."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._by_value: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def replace(self, text: str, found: _Found) -> str:
        """Replace each place in `found` with a placeholder."""
        parts, done = [], 0
        for kind, start, end in found:
            parts += [text[done:start], self._of(kind, text[start:end])]
            done = end
        return "".join([*parts, text[done:]])

    def _of(self, kind: str, value: str) -> str:
        name = self._by_value.get((kind, value))
        if name is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            name = self._by_value[kind, value] = f"[{kind}-{self._counts[kind]}]"
            self.values[name] = value
        return name


class Restorer:
    """Restores the values in a streamed text; a placeholder may be split between pieces.

    The cost of a piece is proportional to its length: only a possible start of a placeholder is
    held back.
    """

    def __init__(self, values: dict[str, str], never_joined: Collection[str] = frozenset()) -> None:
        """`never_joined`: the placeholders that stay unchanged when they directly follow a word."""
        self._values, self._never_joined = values, never_joined
        self._kept = self._before = ""

    def feed(self, piece: str) -> str:
        """Take a piece; return the text that is certain so far."""
        text = self._kept + piece
        start = text.rfind("[", max(0, len(text) - _LONGEST))
        is_open = start >= 0 and _BEGINNING.match(text, start) is not None
        cut = start if is_open else len(text)
        self._kept = text[cut:]
        restored = self._restore(text[:cut])
        self._before = text[cut - 1 : cut] or self._before
        return restored

    def flush(self) -> str:
        """Return the held-back rest, because nothing follows."""
        kept, self._kept = self._kept, ""
        return kept

    def _restore(self, text: str) -> str:
        if "[" not in text:
            return text
        return _PLACEHOLDER.sub(self._value, text)

    def _value(self, found: re.Match[str]) -> str:
        name, start = found[0], found.start()
        if name in self._never_joined:
            before = found.string[start - 1] if start else self._before
            if before.isascii() and (before.isalnum() or before == "_"):
                return name
        return self._values.get(name, name)


async def restore(
    deltas: AsyncIterator[Delta],
    values: dict[str, str],
    never_joined: Collection[str] = frozenset(),
) -> AsyncGenerator[Delta, None]:
    """Restore the values in the deltas' text and reasoning. See `Restorer`."""
    text, reasoning = Restorer(values, never_joined), Restorer(values, never_joined)
    try:
        async for delta in deltas:
            if delta.model:  # another model's attempt begins
                text, reasoning = Restorer(values, never_joined), Restorer(values, never_joined)
            for each in _restore(delta, text, reasoning):
                yield each
    except ModelError:
        for rest in _rest(text, reasoning):
            yield rest
        raise
    finally:
        if isinstance(deltas, AsyncGenerator):
            await deltas.aclose()
    for rest in _rest(text, reasoning):
        yield rest


def _restore(delta: Delta, text: Restorer, reasoning: Restorer) -> Iterator[Delta]:
    said, thought = delta.text, delta.reasoning
    if said and (kept := reasoning.flush()):  # reasoning comes before the text
        yield Delta(reasoning=kept)
    said, thought = text.feed(said) if said else "", reasoning.feed(thought) if thought else ""
    if delta.finish_reason is not None:
        said, thought = said + text.flush(), thought + reasoning.flush()
    yield replace(delta, text=said, reasoning=thought)


def _rest(text: Restorer, reasoning: Restorer) -> Iterator[Delta]:
    said, thought = text.flush(), reasoning.flush()
    if said or thought:
        yield Delta(text=said, reasoning=thought)
