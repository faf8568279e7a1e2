"""What people see of a model's reasoning: a word that it thinks, or the last of it, small.

Invariant: nothing of it reaches a later request or what is kept of the answer, and whatever it
contains, it is plain text in a block quote, so that the answer below is as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bot.domain import texts
from bot.domain.model import Reasoning

NOTE_AFTER = 3.0
"""Seconds of reasoning until a note says so: most models that think a little answer before, and a
note costs a platform's request."""

NOTE_EVERY = 0.5
"""Seconds between two states of the note that shows reasoning: more often nobody reads them."""

MOST_CHARACTERS, MOST_LINES = 600, 8
"""What is shown: a few lines of a phone's screen, far within every platform's message."""

_LABEL = f"> {texts.note(texts.THOUGHTS)}"
# Where CommonMark, or a platform's dialect of it, would see more than text.
_INLINE = re.compile(r"[*`~<\[|$]|\\(?=[!-/:-@\[-`{-~]|$)|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_BEGIN = re.compile(r"\d{0,9}")
# What ends reasoning whose opening tag was part of the prompt: a line begins with it.
_UNOPENED = re.compile(r"^[ \t]*</(?:think|thinking|thought)>", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)


class Thoughts:
    """The reasoning of one answer, as far as anybody is to see it; in one attempt at a turn."""

    def __init__(self, form: Reasoning) -> None:
        self._shows = form is Reasoning.SHOWN
        self._tail = ""  # the newest of it
        self._since: float | None = None
        self._noted_at: float | None = None
        self.pending = False  # whether `above` has something that is not yet written

    def forget(self) -> None:
        """A model begins: what one before it thought led to no answer."""
        self._tail, self.pending = "", False

    def take(self, piece: str) -> None:
        """A piece that came before the first word of the answer."""
        if self._shows and (piece.strip() or self.pending):
            self._tail = (self._tail + piece)[-2 * MOST_CHARACTERS :]
            self.pending = True

    def tell(self, now: float, *, note: Callable[[str], None], sign: Callable[[str], None]) -> None:
        """Let people see that it thinks, `now` in seconds; `note` shows a text in place of a reply,
        `sign` one that only says what the platform may say itself.

        It is called with every piece, so that a model which falls silent shows nothing new.
        """
        if self._since is None:
            self._since = now
        if self._due(now):
            self._noted_at = now
            if self._shows:
                note(quoted(self._tail))
            else:
                sign(texts.note(texts.THINKING))

    def _due(self, now: float) -> bool:
        if self._noted_at is not None:
            return self._shows and now - self._noted_at >= NOTE_EVERY
        return self._shows or (self._since is not None and now - self._since >= NOTE_AFTER)

    def above(self, more: str = "", content: str | None = None) -> str:
        """What stands above the answer, "" for nothing.

        `more` was found to be reasoning later; with the whole `content`, there is nothing above an
        answer that was taken for reasoning as it came.
        """
        self.pending = False
        quote = quoted(self._tail + more) if self._shows else ""
        return "" if content and quote == quoted(content) else quote


def quoted(reasoning: str) -> str:
    """The last of it as a quote in small; "" when there is none."""
    words = reasoning.strip()
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if not lines:
        return ""
    shown, cut = lines[-MOST_LINES:], len(lines) > MOST_LINES
    text = "\n".join(shown)
    if len(text) > MOST_CHARACTERS:
        text, cut = text[-MOST_CHARACTERS:].lstrip(), True
        text = text.partition(" ")[2] or text  # from a whole word on, where there are words
    lines = [plain(line) for line in ("…" * cut + text).splitlines()]
    return "\n".join((_LABEL, *(f"> {line}" for line in lines)))


def plain(line: str) -> str:
    """A line so that it shows as it is, whatever it contains."""
    escaped = _INLINE.sub(lambda found: f"\\{found.group()}", line)
    number = _BEGIN.match(escaped)
    at = number.end() if number else 0
    sign = escaped[at : at + 1]
    block = sign in "#>+=-" if at == 0 else sign in ".)"
    return f"{escaped[:at]}\\{escaped[at:]}" if sign and block else escaped


def unquoted(markdown: str) -> str:
    """A reply without the quote above its answer."""
    if not markdown.startswith(_LABEL):
        return markdown
    return markdown.partition("\n\n")[2]


def parted(text: str) -> tuple[str, str]:
    """Reasoning and answer in a whole text, of which a template kept the opening tag.

    What was written before the last closing tag that begins a line is reasoning. With an opening
    one before it, or in code, the tag is spoken about: all is answer then.
    """
    last = None
    for found in _UNOPENED.finditer(text) if "</th" in text else ():
        last = found
    if last is None:
        return "", text
    before = text[: last.start()]
    if "<think" in before or "<thought" in before or len(_FENCE.findall(before)) % 2:
        return "", text
    return _UNOPENED.sub("", before).strip(), text[last.end() :].strip()
