"""Collects notes for the reply about attachments that the model received partly or not at all.

Invariant: the notes concern only this turn's questions; earlier turns have reported theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.domain import attachment_labels as words
from bot.domain.attachments import Attachment
from bot.domain.conversations import Message
from bot.replies.markdown.escape import escape


@dataclass(slots=True)
class Omissions:
    """Collects what one request leaves out. `questions` are the ids of the questions' messages."""

    questions: frozenset[int]
    _not_read: list[tuple[Attachment, str]] = field(default_factory=list)
    _in_part: dict[int, tuple[Attachment, list[str]]] = field(default_factory=dict)
    _has_left_images: bool = False

    def not_read(self, row: Message, attachment: Attachment, why: str) -> None:
        """Record that the model receives nothing of the attachment."""
        if row.id in self.questions:
            self._not_read.append((attachment, why))

    def in_part(self, row: Message, attachment: Attachment, *notes: str) -> None:
        """Record that the model receives a part of the attachment; `notes` say which part."""
        if notes and row.id in self.questions:
            self._in_part.setdefault(attachment.id, (attachment, []))[1].extend(notes)

    def left_images(self, row: Message) -> None:
        """Record that the model accepts no images although this message has some."""
        self._has_left_images = self._has_left_images or row.id in self.questions

    def sentences(self, no_images: str) -> Sequence[str]:
        """The sentences for the end of the reply; `no_images` says why images are left out."""
        said = [words.not_read(self._not_read), words.read_in_part(self._in_part.values())]
        said.append(no_images if self._has_left_images else "")
        return [escape(sentence) for sentence in said if sentence]
