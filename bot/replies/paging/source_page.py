"""The only page of a reply whose readers get the Markdown itself, of any length.

Nothing is parsed or mended, so a frame costs the same at any length of the reply.
"""

from __future__ import annotations

from bot.domain.replies import Page


class SourcePage:
    """The whole text as one page; it takes the place of a `Paginator`."""

    def paginate(self, text: str, *, final: bool) -> tuple[tuple[Page, ...], bool]:
        """The page, or none while `text` is blank; the pages are always complete."""
        if not text or text.isspace():
            return (), True
        return (Page(text, text, 0, len(text), sealed=final),), True

    def rewind(self, common: int) -> None:
        """Do nothing: no page depends on an earlier text."""
