"""Token counts: cheap ones by default, or those of a real tokenizer whose tables a test provides.

A request's tokens are a sequence, so that a simulated prompt cache can compare prefixes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from tests.sims.model.answers import count_tokens, plain_text

_BYTES_PER_TOKEN = 4
_PRIMING = ("<answer>",) * 3  # the last tokens of a request: "the assistant's turn"


class TokenCounter:
    """Counts like `count_tokens`; with `tables`, like that tokenizer.

    `tables` is the path of a `tokenizer.json` (package `tokenizers`). A message costs four tokens
    beside its content, as in OpenAI's chat format.
    """

    def __init__(self, tables: str | None = None) -> None:
        self._tokenizer = None
        if tables is not None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(tables)

    def count(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """The tokens of a request."""
        if self._tokenizer is None:
            return count_tokens([dict(message) for message in messages])
        return len(self.sequence(messages))

    def count_text(self, pieces: Sequence[str]) -> int:
        """The tokens of an answer; its pieces count as tokens if there are no tables."""
        return len(pieces) if self._tokenizer is None else len(self._text("".join(pieces)))

    def sequence(self, messages: Sequence[Mapping[str, Any]]) -> list[Hashable]:
        """The tokens of a request, in order."""
        tokens: list[Hashable] = []
        for message in messages:
            tokens += ("<", message.get("role"), _digest(message), ">")
            tokens += self._text(plain_text(message.get("content")))
        return [*tokens, *_PRIMING]

    def _text(self, text: str) -> Sequence[Hashable]:
        if self._tokenizer is not None:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
            return ids
        data = text.encode()
        return [data[at : at + _BYTES_PER_TOKEN] for at in range(0, len(data), _BYTES_PER_TOKEN)]


def _digest(message: Mapping[str, Any]) -> str:
    """A digest of everything in a message except its role and text, such as images and their
    detail."""
    content = message.get("content")
    listed = content if isinstance(content, list) else []
    parts = [part for part in listed if part.get("type") != "text"]
    others = {name: message[name] for name in message if name not in ("role", "content")}
    if not parts and not others:
        return ""
    return hashlib.sha256(json.dumps([parts, others], sort_keys=True).encode()).hexdigest()
