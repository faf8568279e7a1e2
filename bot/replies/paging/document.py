"""A reply as one growing Markdown document, seen as frames.

Invariant: writing costs next to nothing; whatever has to be parsed is parsed when somebody asks
for a frame, and once.
"""

from __future__ import annotations

from bot.domain.replies import Control, FileRules, Frame
from bot.ports.platform import Renderer
from bot.replies.paging.paginator import Paginator


class Document:
    """What a reply says so far, and its frame in the form of `renderer`, with long code in files
    as the rules `files` have it.

    `behind` tells that the last frame did not come to the end of the text: ask for another one.
    """

    def __init__(self, renderer: Renderer, files: FileRules | None = None) -> None:
        self._renderer = renderer
        self._parts: list[str] = []
        self._length = 0
        self._final = False
        self._controls: tuple[Control, ...] = ()
        self._frame: Frame | None = None
        self._cutter = Paginator(renderer, files)
        self.behind = False

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
            self._cutter.rewind(_common(self.text, text))
            self._parts = [text]
            self._length = len(text)
        self._final = True
        self._frame = None

    def without_files(self) -> None:
        """The place takes none: all code is text from now on, on pages that are cut anew."""
        self._cutter = Paginator(self._renderer)
        self._frame = None

    def frame(self) -> Frame:
        """The reply at this moment: all of it in a final frame, else what can be shown well.

        A long text that came at once takes several calls (see `behind`), so that none is long.
        """
        if self._frame is None:
            pages, whole = self._cutter.pages(self.text, final=self._final)
            frame = Frame(pages, self._final and whole, self._controls, self.text, whole)
            self.behind = not whole
            if not whole:
                return frame
            self._frame = frame
        return self._frame


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
