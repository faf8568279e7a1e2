"""Native streams of one reply: started, appended to, and closed with what the message keeps.

A stream dies of age, of length, and by its reader's stop. Then its text stays, and the page goes on
by edits; only its identity is missing, which the next edit gives it. A stream that cannot be
started is a post instead, one that cannot grow is closed, and an end that cannot be closed yet is
appended first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from adapters.slack.api import APPENDS, STARTS, STOPS, WebApi
from adapters.slack.blocks import MessageBuilder, identity
from adapters.slack.events import DIRECT
from adapters.slack.status import Status
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.replies import Action, Request, Shown
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.replies.plan import carried_out

log = structlog.stdlib.get_logger(__name__)

# A stream is reported to die at about 300 s and between 11,000 and 12,000 characters, whatever is
# appended: it is closed before that.
MOST_SECONDS = 240.0
MOST_CHARACTERS = 9_000
OVER, STOPPED = "message_not_in_streaming_state", "stopped_by_user"
OPEN = "streaming_state_conflict"  # what an edit is refused with while the stream is open


class Streams:
    """The streams of one turn's reply."""

    def __init__(
        self, *, claim: Claim, api: WebApi, bodies: MessageBuilder, status: Status, clock: Clock
    ) -> None:
        key, question = claim.conversation.key, claim.questions[-1] if claim.questions else None
        self._channel, self._thread, self._turn = key.channel, key.thread, claim.fence.turn
        self._api, self._bodies, self._status, self._clock = api, bodies, status, clock
        self._recipient = _recipient(question.route if question is not None else {})
        self._begun: dict[int, float] = {}
        self.nameless: set[int] = set()  # pages that no stop gave an identity
        self.stopped = False  # by its reader: the turn learns it from an event
        self._failed = False  # no further page is begun as a stream
        self._conflicts: set[int] = set()  # pages that Slack would neither close nor edit

    @property
    def possible(self) -> bool:
        """Whether a page may begin as a stream: only where Slack offers to stop it."""
        wanted = self._recipient is not None and self._status.stoppable
        return wanted and not self.stopped and not self._failed

    def overdue(self, page: int) -> bool:
        """Whether a page's stream is to be closed before Slack does it."""
        begun = self._begun.get(page)
        return begun is None or self._clock.monotonic() - begun > MOST_SECONDS

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Start, append or close. Raises Throttled, Gone or Unsettled."""
        if request.action is Action.START:
            return await self._begin(request, shown)
        try:
            if request.action is Action.APPEND:
                await self._append(request)
            else:
                await self._close(request)
        except Refused as error:
            return self._refused(request, shown, str(error))
        return carried_out(shown, request)

    def conflict(self, shown: Shown, page: int) -> Shown:
        """`shown` when an edit is refused because the page is an open stream.

        Raises Unsettled when Slack would not close it either: it ends by itself after some minutes.
        """
        if page in self._conflicts:
            self._conflicts.discard(page)
            raise Unsettled("a stream can neither be closed nor edited")
        return still_open(shown, page)

    def _refused(self, request: Request, shown: Shown, reason: str) -> Shown:
        log.info("the stream is over", page=request.page, reason=reason)
        if reason not in (OVER, STOPPED) and request.action is Action.APPEND:
            return still_open(shown, request.page)  # closed next, and then edited
        if reason not in (OVER, STOPPED):
            self._conflicts.add(request.page)
        self.stopped = self.stopped or reason == STOPPED
        self.nameless.add(request.page)
        return over(shown, request.page)

    async def _begin(self, request: Request, shown: Shown) -> Shown:
        """Start, or leave it to a post: whether the place is gone, the post will tell."""
        try:
            return await self._start(request, shown)
        except Throttled:
            raise
        except (Gone, Refused) as error:
            log.info("no stream: posted and edited instead", reason=str(error))
            self._failed = True
            return shown
        except PlatformError:
            self._failed = True
            raise

    async def _start(self, request: Request, shown: Shown) -> Shown:
        begun = self._clock.monotonic()
        with self._status.replaced():
            answer = await self._api.write(
                STARTS,
                request.scopes,
                channel=self._channel,
                thread_ts=self._thread,
                markdown_text=request.text,
                **(self._recipient or {}),
            )
            ts = answer.ts()
        self._begun[request.page] = begun
        return carried_out(shown, request, message_id=ts, channel=self._channel)

    async def _append(self, request: Request) -> None:
        await self._api.write(
            APPENDS,
            request.scopes,
            channel=self._channel,
            ts=request.message_id,
            markdown_text=request.text,
        )

    async def _close(self, request: Request) -> None:
        """Close it with its last text, its buttons and its identity, and the status with it."""
        with self._status.ended(request.final) as status:
            await self._api.write(
                STOPS,
                request.scopes,
                channel=self._channel,
                ts=request.message_id,
                markdown_text=request.text or None,
                metadata=identity(self._turn, request.page),
                session_status=status,
                blocks=self._bodies.controls(request.controls, self._turn) or None,
            )


def appended_first(close: Request) -> Request:
    """A final close; where it has no room for long, its text is appended, and it comes later."""
    if not close.final or not close.text.strip():
        return close
    append = replace(
        close, action=Action.APPEND, scopes=(APPENDS,), controls=(), keeps=None, grows=None
    )
    return replace(close, otherwise=append)


def over(shown: Shown, number: int) -> Shown:
    """`shown` when a page's stream is over, and its text is what was appended."""
    return _with(shown, number, streaming=False)


def still_open(shown: Shown, number: int) -> Shown:
    """`shown` when a page turns out to be a stream that nobody closed."""
    return _with(shown, number, streaming=True, text=None)


def _with(shown: Shown, number: int, **changes: Any) -> Shown:
    pages = tuple(
        replace(page, **changes) if page.number == number else page for page in shown.pages
    )
    return replace(shown, pages=pages)


def _recipient(route: Mapping[str, str]) -> dict[str, str] | None:
    """For whom it streams: Slack asks for it in channels; None when nobody knows."""
    if route.get("kind") == DIRECT:
        return {}
    user, team = route.get("user"), route.get("team")
    return {"recipient_user_id": user, "recipient_team_id": team} if user and team else None
