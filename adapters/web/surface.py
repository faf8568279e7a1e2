"""A reply in the hub: its whole source, at once and without a limit to its length."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence

from adapters.web.hub import Hub, Live
from bot.domain.errors import StoreUnavailable, Unsettled
from bot.domain.replies import Action, Frame, Limit, Request, Shown, ShownPage
from bot.domain.turns import Claim, PageRecord
from bot.ports.platform import Grants
from bot.replies.plan import carried_out

NO_LIMIT = sys.maxsize  # one page keeps the whole reply in one piece


def limits(_scope: str) -> Limit | None:
    """The hub takes whatever comes: readers take from it as much as they can."""
    return None


class PlainRenderer:
    """Markdown as it is: readers render it, or want it so."""

    limit = NO_LIMIT

    def render(self, markdown: str) -> str:
        """The text itself."""
        return markdown

    def measure(self, markdown: str) -> int:
        """Characters; nothing is ever cut."""
        return len(markdown)


class WebSurface:
    """Brings a reply to the hub.

    `told` is awaited when it begins and when its end is stored, `grew` called when text came.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        hub: Hub,
        live: Live,
        grants: Grants,
        told: Callable[[Live], Awaitable[None]],
        grew: Callable[[Live], None],
    ) -> None:
        self._channel = claim.conversation.key.channel
        self._hub, self._live, self._grants = hub, live, grants
        self._told, self._grew = told, grew
        self._renderer = PlainRenderer()

    @property
    def renderer(self) -> PlainRenderer:
        """Plain Markdown."""
        return self._renderer

    @property
    def says_working(self) -> bool:
        """No: the page asks the reply."""
        return False

    @property
    def files(self) -> None:
        """None: the page shows the code itself."""

    @property
    def grants(self) -> Grants:
        """A budget without limits."""
        return self._grants

    async def open(self) -> None:
        """Show that it is being worked on."""
        self._hub.begin(self._live)
        await self._tell()

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """What an earlier process showed: the same message, with a text that nobody has."""
        return Shown(tuple(ShownPage(page.number, self._id, self._channel, None) for page in pages))

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The newest text, then the end of it.

        The reply has its id from the turn, so there is nothing to post: every request is an edit,
        and the first text waits for no entry in the ledger.
        """
        text = _text(frame)
        page = shown.pages[0] if shown.pages else None
        over = frame.final and not shown.closed
        if not over and (page.text == text if page is not None else not text):
            return None
        return Request(
            action=Action.EDIT,
            page=0,
            scopes=(),
            text=text,
            message_id=self._id,
            end=frame.pages[-1].end if frame.pages else 0,
            sealed=frame.final,
            final=frame.final,
        )

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Tell those who look on."""
        new = carried_out(shown, request, message_id=self._id, channel=self._channel)
        if not request.final:
            written = request.end > 0
            self._hub.write(
                self._live,
                source=request.text if written else "",
                note="" if written else request.text,
            )
            self._grew(self._live)
            return new
        self._hub.end(self._live)
        await self._tell()
        return Shown(new.pages, closed=True)

    async def close(self) -> None:
        """The next attempt, or the database, has the rest."""
        self._hub.end(self._live)

    @property
    def _id(self) -> str:
        return f"turn-{self._live.turn}"

    async def _tell(self) -> None:
        try:
            await self._told(self._live)
        except StoreUnavailable as error:
            raise Unsettled(str(error)) from error


def _text(frame: Frame) -> str:
    """The whole reply: as it was written, else (a note of ours) as the pages have it."""
    return frame.source or "\n\n".join(page.text for page in frame.pages)
