"""The growing reply: takes the model's text from the publisher and returns frames.

In: text, and finally the whole reply. Out: a `Frame` of pages, from which surfaces plan requests.
The pages come from `paginator.Paginator`, or from `source_page.SourcePage`.

Invariant: writing costs almost nothing; text is parsed once, when a frame is requested.
"""

from __future__ import annotations

from bot.domain.replies import Control, FileRules, Frame
from bot.ports.platform import Renderer
from bot.replies.paging.paginator import Paginator
from bot.replies.paging.source_page import SourcePage


class Document:
    """One reply's Markdown, paginated for `renderer`; `files` says when long code becomes a file.

    Without a renderer, the reply is one page with the Markdown as it was written.
    While `behind` is true, the last frame did not reach the end of the text, so another is needed.
    """

    def __init__(self, renderer: Renderer | None, files: FileRules | None = None) -> None:
        self._renderer = renderer
        self._parts: list[str] = []
        self._length = 0
        self._final = False
        self._controls: tuple[Control, ...] = ()
        self._frame: Frame | None = None
        self._paginator = _paginator(renderer, files)
        self.behind = False

    def __len__(self) -> int:
        return self._length

    @property
    def text(self) -> str:
        """The Markdown written so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def final(self) -> bool:
        """Whether the document is finished."""
        return self._final

    @property
    def controls(self) -> tuple[Control, ...]:
        """The controls that people see below the reply."""
        return self._controls

    @controls.setter
    def controls(self, controls: tuple[Control, ...]) -> None:
        self._controls = controls
        self._frame = None

    def write(self, text: str) -> None:
        """Append `text`. Raises RuntimeError once the document is finished."""
        if self._final:
            raise RuntimeError("the document is finished")
        self._parts.append(text)
        self._length += len(text)
        self._frame = None

    def finish(self, text: str | None = None) -> None:
        """Finish the document; `text`, if given, replaces everything written.

        The pages that both texts share stay; the rest is paginated again.
        """
        if text is not None:
            self._paginator.rewind(_common_length(self.text, text))
            self._parts = [text]
            self._length = len(text)
        self._final = True
        self._frame = None

    def disable_files(self) -> None:
        """Show all code as text from now on, and paginate everything again."""
        self._paginator = _paginator(self._renderer)
        self._frame = None

    def frame(self) -> Frame:
        """The reply now: everything in a final frame, otherwise only complete markup.

        A long text that arrived in one piece takes several short calls (see `behind`).
        """
        if self._frame is None:
            pages, whole = self._paginator.paginate(self.text, final=self._final)
            frame = Frame(pages, self._final and whole, self._controls, self.text, whole)
            self.behind = not whole
            if not whole:
                return frame
            self._frame = frame
        return self._frame


def _paginator(renderer: Renderer | None, files: FileRules | None = None) -> Paginator | SourcePage:
    return SourcePage() if renderer is None else Paginator(renderer, files)


def _common_length(one: str, other: str) -> int:
    """Length of the two texts' common beginning, found by bisection."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
