"""The current content of a reply: its document, or a note while there is no text.

In: the model's text, from `Publisher`. Out: the newest frame, and the next request's priority.
Next: `Document` paginates the text.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.domain.replies import Control, Frame, Page, Priority, Shown
from bot.replies.paging.document import Document
from bot.replies.plan import visible_length
from bot.replies.unseen_text import UnseenText

FRAME_SECONDS = 0.005
"""Seconds of steps towards the newest frame per planning, half of what one step may take. That is
enough for the text since the last plan; a long text continues in the event loop's next iteration.
"""


class Content:
    """The text, note and age of one reply; `now` is a monotonic clock in seconds."""

    def __init__(self, document: Document, now: Callable[[], float]) -> None:
        self.document = document
        self._now = now
        self._unseen = UnseenText()
        self._note = ""
        self._noted_at = 0.0
        self._queued = False

    def write(self, text: str) -> None:
        """Append `text` to the document."""
        self.document.write(text)
        self._unseen.text_written(len(self.document), self._now())

    def note(self, text: str, *, queued: bool = False) -> None:
        """Set the note, which is shown while the document shows nothing."""
        self._note, self._noted_at, self._queued = text, self._now(), queued

    def finish(self, text: str | None, controls: tuple[Control, ...]) -> None:
        """Complete the document; `text`, if given, replaces everything written."""
        self.document.finish(text)
        self.document.controls = controls
        self._unseen.text_written(len(self.document), self._now())

    def mark_seen(self, shown: Shown) -> None:
        """Stop counting the text on the screen as unseen."""
        self._unseen.text_shown(visible_length(shown))

    @property
    def unseen_since(self) -> float | None:
        """When the oldest text that is not on the screen was written; None if all of it is."""
        return self._unseen.since

    def frame(self) -> Frame:
        """The newest frame, or the note's. A long text takes several calls (`Document.behind`)."""
        frame = self.document.frame()
        until = self._now() + FRAME_SECONDS
        while self.document.behind and self._now() < until:
            frame = self.document.frame()
        if frame.pages or frame.final or not self._note:
            return frame
        page = Page(self._note, "", 0, 0, sealed=False)
        return Frame((page,), final=False, controls=frame.controls, queued=self._queued)

    def priority(self, shown: Shown) -> tuple[Priority, float]:
        """The next request's priority, and when the oldest text not on the screen was written."""
        oldest = self._unseen.oldest(self._now())
        if self.document.final:
            return Priority.FINAL, oldest
        if len(self.document) == 0:
            return Priority.INTERIM, self._noted_at
        if visible_length(shown) == 0:
            return Priority.FIRST, oldest
        return Priority.INTERIM, oldest
