"""Composes a reply's parts into the one Markdown document that people see; pure.

Invariant: only this module composes displays and takes them apart. The database stores composed
displays, so the format must stay readable for rows written by older versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bot.domain import spending_texts, texts
from bot.replies.markdown.escape import escape
from bot.replies.markdown.mend import close_open

MAX_QUOTE_CHARACTERS, MAX_QUOTE_LINES = 600, 8
"""Size of the reasoning quote: a few lines on a phone, and well within every platform's message."""

_NO_FAILURES = tuple(
    texts.note(sentence)
    for sentence in (*spending_texts.NOTICES, texts.OLDER_SUMMARIZED, texts.SHORTENED)
)
_LABEL = f"> {texts.note(texts.THOUGHTS)}"


@dataclass(frozen=True, slots=True)
class ReplyParts:
    """A reply before it is composed. `content` is Markdown, every other part is plain text.

    `notice` is the bot's sentence above the answer, `sentences` are those below it.
    """

    notice: str = ""
    reasoning: str = ""
    content: str = ""
    sentences: tuple[str, ...] = ()

    def opening(self) -> str:
        """Everything above the answer, ready for the answer to be appended; "" if empty."""
        return "".join(f"{paragraph}\n\n" for paragraph in self._above())

    def markdown(self) -> str:
        """The whole reply."""
        paragraphs = (*self._above(), close_open(self.content), *map(texts.note, self.sentences))
        return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)

    def _above(self) -> Iterator[str]:
        if self.notice:
            yield texts.note(self.notice)
        if quote := quote_reasoning(self.reasoning):
            yield quote


def sentence_of(display: str, content: str) -> str:
    """The bot's first sentence below `content` in a composed `display`; "" if there is none."""
    body = display.rstrip()
    while last := next((note for note in _NO_FAILURES if body.endswith(note)), ""):
        body = body.removesuffix(last).rstrip()
    if content and body.endswith(close_open(content)):
        return ""
    last = body.rpartition("\n\n")[2]
    return last[1:-1] if len(last) > 2 and last[0] == last[-1] == "_" else ""


def strip_reasoning(markdown: str) -> str:
    """A reply without the reasoning quote above its answer."""
    if not markdown.startswith(_LABEL):
        return markdown
    return markdown.partition("\n\n")[2]


def quote_reasoning(reasoning: str) -> str:
    """The last lines of `reasoning` as a block quote; "" for blank text."""
    lines = [line.strip() for line in reasoning.splitlines() if line.strip()]
    if not lines:
        return ""
    text, cut = "\n".join(lines[-MAX_QUOTE_LINES:]), len(lines) > MAX_QUOTE_LINES
    if len(text) > MAX_QUOTE_CHARACTERS:
        text, cut = text[-MAX_QUOTE_CHARACTERS:].lstrip(), True
        text = text.partition(" ")[2] or text  # begin with a whole word, if there are words
    lines = [escape(line) for line in ("…" * cut + text).splitlines()]
    return "\n".join((_LABEL, *(f"> {line}" for line in lines)))
