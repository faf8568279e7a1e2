"""A reply as one growing Markdown document, seen as frames.

Invariant: writing costs next to nothing; whatever has to be parsed is parsed when somebody asks
for a frame, and once.
"""

from __future__ import annotations

from bot.domain import Control, Frame, Page
from bot.ports import Renderer


class Document:
    """What a reply says so far, and its frame in the form of `renderer`."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._parts: list[str] = []
        self._length = 0
        self._final = False
        self._controls: tuple[Control, ...] = ()
        self._frame: Frame | None = None

    def __len__(self) -> int:
        return self._length

    @property
    def text(self) -> str:
        """All that was written."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def final(self) -> bool:
        """Whether the document is finished."""
        return self._final

    @property
    def controls(self) -> tuple[Control, ...]:
        """What people may do with the reply now."""
        return self._controls

    @controls.setter
    def controls(self, controls: tuple[Control, ...]) -> None:
        self._controls = controls
        self._frame = None

    def write(self, text: str) -> None:
        """Add `text`. Raises RuntimeError once the document is finished."""
        if self._final:
            raise RuntimeError("the document is finished")
        self._parts.append(text)
        self._length += len(text)
        self._frame = None

    def finish(self, text: str | None = None) -> None:
        """Nothing more comes. `text`, when given, is the whole document instead of what was
        written; where it is no continuation of that, its pages are cut anew.
        """
        if text is not None:
            self._parts = [text]
            self._length = len(text)
        self._final = True
        self._frame = None

    def frame(self) -> Frame:
        """The reply at this moment: all of it in a final frame, else what can be shown well."""
        if self._frame is None:
            self._frame = Frame(self._pages(), self._final, self._controls)
        return self._frame

    def _pages(self) -> tuple[Page, ...]:
        text, start = self.text, 0
        pages: list[Page] = []
        while text[start:].strip():
            end = self._cut(text, start)
            last = end == len(text)
            sealed = self._final or not last
            part = text[start:end]
            pages.append(Page(part, part if sealed else "", start, end, sealed))
            start = end
        return tuple(pages)

    def _cut(self, text: str, start: int) -> int:
        end = len(text)
        while end > start + 1 and self._renderer.measure(text[start:end]) > self._renderer.limit:
            middle = (start + end) // 2
            cut = text.rfind("\n", start + 1, max(middle, start + self._renderer.limit))
            end = cut + 1 if start < cut + 1 < end else middle
        return end
