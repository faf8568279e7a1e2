"""One reply's native streams: starts them, appends text and closes them.

Slack ends a stream that is too old or too long, or that a person stopped. Its text stays and the
page continues by edits, the first of which adds the missing identity. If a stream cannot be
started, the page is posted instead; if it cannot grow, it is closed; if closing has to wait, the
last text is appended first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from adapters.slack.api import WebApi
from adapters.slack.blocks import MessageBuilder, identity
from adapters.slack.events import DIRECT
from adapters.slack.rate_limits import APPENDS, STARTS, STOPS
from adapters.slack.status import ReplyStatus
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.replies import Action, Request, Shown
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.replies.plan import apply_request

log = structlog.stdlib.get_logger(__name__)

# Slack is reported to end a stream after about 300 s or 11,000 to 12,000 characters, so the bot
# closes it earlier.
MAX_SECONDS = 240.0
MAX_CHARACTERS = 9_000
OVER, STOPPED = "message_not_in_streaming_state", "stopped_by_user"
OPEN = "streaming_state_conflict"  # the code that refuses an edit while the stream is open


class Streams:
    """The streams of one turn's reply."""

    def __init__(
        self,
        *,
        claim: Claim,
        api: WebApi,
        builder: MessageBuilder,
        status: ReplyStatus,
        clock: Clock,
    ) -> None:
        key, question = claim.conversation.key, claim.questions[-1] if claim.questions else None
        self._channel, self._thread, self._turn = key.channel, key.thread, claim.fence.turn
        self._api, self._builder, self._status, self._clock = api, builder, status, clock
        self._recipient = _recipient(question.route if question is not None else {})
        self._started_at: dict[int, float] = {}  # by page
        self.unidentified: set[int] = set()  # pages whose stream ended without an identity
        self.stopped = False  # a person stopped the stream; an event reports it to the turn
        self._failed = False  # no further page starts as a stream
        self._conflicts: set[int] = set()  # pages that Slack would neither close nor edit

    @property
    def may_start(self) -> bool:
        """Whether a page may start as a stream: only where Slack shows its stop button."""
        allowed = self._recipient is not None and self._status.stoppable
        return allowed and not self.stopped and not self._failed

    def overdue(self, page: int) -> bool:
        """Whether a page's stream is so old that Slack would end it soon."""
        started_at = self._started_at.get(page)
        return started_at is None or self._clock.monotonic() - started_at > MAX_SECONDS

    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Start, append or close. Raises Throttled, Gone or Unsettled."""
        if request.action is Action.START:
            return await self._try_start(request, shown)
        try:
            if request.action is Action.APPEND:
                await self._append(request)
            else:
                await self._close(request)
        except Refused as error:
            return self._handle_refusal(request, shown, error.code)
        return apply_request(shown, request)

    def handle_conflict(self, shown: Shown, page: int) -> Shown:
        """`shown` after Slack refused an edit because the page is an open stream.

        Raises Unsettled if Slack refused to close the stream as well; it ends after some minutes.
        """
        if page in self._conflicts:
            self._conflicts.discard(page)
            raise Unsettled("a stream can neither be closed nor edited")
        return with_open_stream(shown, page)

    def _handle_refusal(self, request: Request, shown: Shown, reason: str) -> Shown:
        log.info("a stream has ended", page=request.page, reason=reason)
        if reason not in (OVER, STOPPED) and request.action is Action.APPEND:
            return with_open_stream(shown, request.page)  # the next request closes it
        if reason not in (OVER, STOPPED):
            self._conflicts.add(request.page)
        self.stopped = self.stopped or reason == STOPPED
        self.unidentified.add(request.page)
        return with_ended_stream(shown, request.page)

    async def _try_start(self, request: Request, shown: Shown) -> Shown:
        """Start a stream; if Slack refuses, the page is posted next, which reveals whether the
        thread is gone."""
        try:
            return await self._start(request, shown)
        except Throttled:
            raise
        except (Gone, Refused) as error:
            log.info("Slack refused a stream: posting and editing instead", reason=str(error))
            self._failed = True
            return shown
        except PlatformError:
            self._failed = True
            raise

    async def _start(self, request: Request, shown: Shown) -> Shown:
        started_at = self._clock.monotonic()
        with self._status.cleared_by_post():
            response = await self._api.write(
                STARTS,
                request.scopes,
                channel=self._channel,
                thread_ts=self._thread,
                markdown_text=request.text,
                **(self._recipient or {}),
            )
            ts = response.ts()
        self._started_at[request.page] = started_at
        return apply_request(shown, request, message_id=ts, channel=self._channel)

    async def _append(self, request: Request) -> None:
        await self._api.write(
            APPENDS,
            request.scopes,
            channel=self._channel,
            ts=request.message_id,
            markdown_text=request.text,
        )

    async def _close(self, request: Request) -> None:
        """Close the stream with its last text, buttons and identity, and clear the status."""
        with self._status.cleared_by_stop(request.final) as status:
            await self._builder.feedback.send(
                request.controls,
                lambda: self._api.write(
                    STOPS,
                    request.scopes,
                    channel=self._channel,
                    ts=request.message_id,
                    markdown_text=request.text or None,
                    metadata=identity(self._turn, request.page),
                    session_status=status,
                    blocks=self._builder.controls(request.controls, self._turn) or None,
                ),
            )


def with_append_fallback(close: Request) -> Request:
    """`close`; while the rate limit delays a final one, append its text instead."""
    if not close.final or not close.text.strip():
        return close
    append = replace(
        close, action=Action.APPEND, scopes=(APPENDS,), controls=(), keeps=None, grows=None
    )
    return replace(close, otherwise=append)


def with_ended_stream(shown: Shown, number: int) -> Shown:
    """`shown` after a page's stream has ended; its text is the appended text."""
    return _replace_page(shown, number, streaming=False)


def with_open_stream(shown: Shown, number: int) -> Shown:
    """`shown` after a page turned out to be an open stream."""
    return _replace_page(shown, number, streaming=True, text=None)


def _replace_page(shown: Shown, number: int, **changes: Any) -> Shown:
    pages = tuple(
        replace(page, **changes) if page.number == number else page for page in shown.pages
    )
    return replace(shown, pages=pages)


def _recipient(route: Mapping[str, str]) -> dict[str, str] | None:
    """The recipient, which Slack requires in channels; None if unknown."""
    if route.get("kind") == DIRECT:
        return {}
    user, team = route.get("user"), route.get("team")
    return {"recipient_user_id": user, "recipient_team_id": team} if user and team else None
