"""The surface for a reply in the hub: the whole source, of any length."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from adapters.web.hub import Hub, LiveReply
from bot.domain.errors import StoreUnavailable, Unsettled
from bot.domain.replies import Action, Frame, Limit, Request, Shown, ShownPage
from bot.domain.turns import Claim, PageRecord
from bot.ports.platform import RateLimiter
from bot.replies.plan import apply_request


def limits(_scope: str) -> Limit | None:
    """No limits: readers take from the hub at their own speed."""
    return None


class WebSurface:
    """Writes a reply to the hub.

    `on_state` is awaited when the reply starts and when its end is stored; `on_text` is called for
    each new text.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        hub: Hub,
        live: LiveReply,
        rate_limiter: RateLimiter,
        on_state: Callable[[LiveReply], Awaitable[None]],
        on_text: Callable[[LiveReply], None],
    ) -> None:
        self._channel = claim.conversation.key.channel
        self._hub, self._live, self._rate_limiter = hub, live, rate_limiter
        self._on_state, self._on_text = on_state, on_text

    @property
    def renderer(self) -> None:
        """None: readers get the source. The page gets HTML of it, mended there (`growing_html`)."""

    @property
    def says_working(self) -> bool:
        """False: the page shows the state of the reply instead."""
        return False

    @property
    def files(self) -> None:
        """None: the page shows code inline."""

    @property
    def rate_limiter(self) -> RateLimiter:
        """The rate limiter, which has no limits here."""
        return self._rate_limiter

    async def open(self) -> None:
        """Show that the reply is being worked on."""
        self._hub.begin(self._live)
        await self._tell()

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """The message of an earlier process, with unknown text."""
        return Shown(tuple(ShownPage(page.number, self._id, self._channel, None) for page in pages))

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The newest text, then its end.

        The message id comes from the turn, so nothing needs to be posted: every request is an
        edit, and the first text does not wait for the ledger.
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
            queued=frame.queued,
        )

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Write the text to the hub and notify readers."""
        new = apply_request(shown, request, message_id=self._id, channel=self._channel)
        if not request.final:
            written = request.end > 0
            self._hub.write(
                self._live,
                source=request.text if written else "",
                note="" if written else request.text,
                queued=request.queued,
            )
            self._on_text(self._live)
            return new
        self._hub.end(self._live)
        await self._tell()
        return Shown(new.pages, closed=True)

    async def close(self) -> None:
        """End the live reply; the next attempt or the database has the rest."""
        self._hub.end(self._live)

    async def abandon(self) -> None:
        """See the port."""
        self._hub.end(self._live)

    @property
    def _id(self) -> str:
        return f"turn-{self._live.turn}"

    async def _tell(self) -> None:
        try:
            await self._on_state(self._live)
        except StoreUnavailable as error:
            raise Unsettled(str(error)) from error


def _text(frame: Frame) -> str:
    """The whole reply as written, or the text of its pages for a note."""
    return frame.source or "\n\n".join(page.text for page in frame.pages)
