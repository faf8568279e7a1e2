"""Where one reply is shown in Slack: messages in the thread under the question, which grow by
native streams while those have budget, and are edited in place.

Every page carries its identity (turn, page) as metadata, a stream from its close on, so that it is
found again after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from adapters.slack import files
from adapters.slack.api import (
    APPENDS,
    COMPLETIONS,
    DELETIONS,
    EDITS,
    POSTS,
    STARTS,
    STOPS,
    UPLOADS,
    WebApi,
    post_scopes,
)
from adapters.slack.blocks import MessageBuilder, identified, identity
from adapters.slack.errors import CONTENT
from adapters.slack.events import Identity
from adapters.slack.render import SlackRenderer
from adapters.slack.responses import Response
from adapters.slack.status import Status
from adapters.slack.streams import MOST_CHARACTERS, OPEN, Streams, appended_first
from bot.domain.errors import FilesRefused, Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.replies import Action, FileRules, Frame, Request, Shown, ShownPage
from bot.domain.turns import Claim, PageRecord
from bot.ports.clock import Clock
from bot.ports.platform import RateLimiter
from bot.replies.plan import carried_out, remembering, removal_of_last
from bot.replies.stream_plan import plan_by_streams

log = structlog.stdlib.get_logger(__name__)

# What is read of a thread to find pages again: the most that one request gives, and then more.
PAGE = 1_000
EVERYWHERE = ""  # among the channels without files: Slack takes none at all at the moment
SCOPES = {
    Action.EDIT: (EDITS,),
    Action.START: (STARTS,),
    Action.APPEND: (APPENDS,),
    Action.CLOSE: (STOPS,),
    Action.REMOVE: (DELETIONS,),
}
UNEXPLAINED = 2  # so many refusals in a row that nobody understands are tried again
FILES_MAY_WAIT = 10.0  # a file that Slack takes only after so many seconds goes as text
# How long asking whether a post went into its thread may take, its budget included.
CHECK_SECONDS = 5.0
STRAY_SECONDS = 10.0  # how long a message in the wrong place may wait for its removal's budget


class SlackSurface:
    """`bot.ports.Surface` for one turn."""

    def __init__(
        self,
        *,
        claim: Claim,
        me: Identity,
        api: WebApi,
        bodies: MessageBuilder,
        status: Status,
        clock: Clock,
        rules: FileRules | None,
        without_files: MutableMapping[str, bool],
    ) -> None:
        key = claim.conversation.key
        self._turn, self._me, self._api, self._bodies = claim.fence.turn, me, api, bodies
        self._channel, self._thread = key.channel, key.thread
        self._since = min((question.message_id for question in claim.questions), default=key.thread)
        self._status, self._thinks = status, claim.conclusion is None
        self._renderer = SlackRenderer()
        self._render = remembering(self._renderer.render)
        self._streams = Streams(claim=claim, api=api, bodies=bodies, status=status, clock=clock)
        self._rules, self._without_files = rules, without_files
        self._unexplained = 0
        self._files = files.Files(
            api=api,
            clock=clock,
            channel=key.channel,
            thread=key.thread,
            turn=claim.fence.turn,
            messages=self._own_messages,
            remove=self._take_back,
        )

    @property
    def renderer(self) -> SlackRenderer:
        """Slack's form of Markdown."""
        return self._renderer

    @property
    def says_working(self) -> bool:
        """Where the thread has an agent session, whose status has a stop button."""
        return self._status.stoppable

    @property
    def files(self) -> FileRules | None:
        """As the settings say, where no file was refused lately."""
        return None if self._no_files else self._rules

    @property
    def _no_files(self) -> bool:
        return self._channel in self._without_files or EVERYWHERE in self._without_files

    @property
    def rate_limiter(self) -> RateLimiter:
        """The budget of the workspace."""
        return self._api.rate_limiter

    async def open(self) -> None:
        """Show that the bot is thinking, unless it has; the thread exists by itself."""
        if self._thinks:
            self._status.show()

    async def close(self) -> None:
        """Clear the status."""
        await self._status.clear()

    # ── planning ──────────────────────────────────────────────────────────────────────────────
    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The next request; it changes nothing, but a stream that is overdue depends on the time.

        A reply that its reader has stopped grows no more until its end is known. A message's file
        cannot be edited: such a page, and what is below it, goes and comes again.
        """
        if self._streams.stopped and not frame.final:
            return None
        shown = files.recognised(shown, frame, self._turn, self._render)
        request = self._planned(shown, frame)
        if request is not None and request.action is Action.CLOSE:
            return appended_first(request)
        if request is None or request.action not in (Action.POST, Action.EDIT):
            return request
        old = next((page for page in shown.pages if page.number == request.page), None)
        if old is not None and old.file != request.file:
            below = [page for page in shown.pages if page.number >= request.page]
            return removal_of_last(below, self._scopes, final=frame.final)
        if request.file is not None:
            # Where no file is taken, `perform` says so at once, and the code goes as text.
            return replace(request, scopes=() if self._no_files else (UPLOADS, COMPLETIONS))
        return request

    def _planned(self, shown: Shown, frame: Frame) -> Request | None:
        return plan_by_streams(
            shown,
            frame,
            render=self._render,
            scopes=self._scopes,
            may_stream=self._streams.possible,
            most=MOST_CHARACTERS,
            overdue=self._streams.overdue,
        )

    def _scopes(self, action: Action, _page: int) -> tuple[str, ...]:
        return post_scopes(self._channel) if action is Action.POST else SCOPES[action]

    # ── performing ────────────────────────────────────────────────────────────────────────────
    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Send it. Raises Throttled, Gone, Refused or Unsettled.

        A refusal by a name that says nothing about the text is tried again before it is believed:
        the reply would be shown as bare words.
        """
        try:
            shown = await self._performed(request, shown)
        except FilesRefused:
            raise
        except Refused as error:
            self._unexplained += str(error) not in CONTENT
            if str(error) in CONTENT or self._unexplained > UNEXPLAINED:
                raise
            raise Unsettled(
                f"Slack refuses a page without a reason that is known: {error}"
            ) from error
        self._unexplained = 0
        return shown

    async def _performed(self, request: Request, shown: Shown) -> Shown:
        match request.action:
            case Action.POST if request.file is not None:
                ts = await self._share(request)
                return carried_out(shown, request, message_id=ts, channel=self._channel)
            case Action.POST:
                ts = await self._post(request)
                return carried_out(shown, request, message_id=ts, channel=self._channel)
            case Action.REMOVE:
                await self._remove(request)
            case Action.EDIT:
                return await self._edit(request, shown)
            case _:
                return await self._streams.perform(request, shown)
        return carried_out(shown, request)

    async def _edit(self, request: Request, shown: Shown) -> Shown:
        nameless = request.page in self._streams.nameless
        try:
            await self._api.write(
                EDITS,
                request.scopes,
                channel=self._channel,
                ts=request.message_id,
                metadata=identity(self._turn, request.page) if nameless else None,
                **self._body(request),
            )
        except Refused as error:
            if str(error) != OPEN:
                raise
            # An earlier attempt died in the middle of it.
            return self._streams.conflict(shown, request.page)
        self._streams.nameless.discard(request.page)
        return carried_out(shown, request)

    async def _share(self, request: Request) -> str:
        """The ts of the message with the request's file; raises FilesRefused, too."""
        if self._no_files and not self._files.is_doubtful(request.page):
            raise FilesRefused("no file is taken here at the moment")
        try:
            return await self._files.share(request, str(self._body(request)["text"]))
        except FilesRefused:
            self._without_files[self._channel] = True
            raise
        except Throttled as error:
            uploads = {UPLOADS, COMPLETIONS}.intersection(error.scopes)
            if error.retry_after < FILES_MAY_WAIT or not uploads:
                raise
            self.rate_limiter.throttled(error.retry_after, *error.scopes)
            self._without_files[EVERYWHERE] = True
            raise FilesRefused(f"files are throttled for {error.retry_after:g} s") from error

    def _body(self, request: Request) -> dict[str, Any]:
        return self._bodies.page(
            request.text,
            complete=request.final or request.sealed,
            controls=request.controls,
            turn=self._turn,
        )

    async def _post(self, request: Request) -> str:
        """The new message's ts; no link in it, now or after an edit, shows a preview."""
        with self._status.replaced():
            answer = await self._api.write(
                POSTS,
                request.scopes,
                channel=self._channel,
                thread_ts=self._thread,
                unfurl_links=False,
                unfurl_media=False,
                metadata=identity(self._turn, request.page),
                **self._body(request),
            )
            ts = answer.ts()
        if await self._strayed(ts, answer):
            await self._take_back(ts)
            raise Gone("the message that the thread is under was deleted")
        return ts

    async def _strayed(self, ts: str, answer: Response) -> bool:
        """Whether a post landed in the channel, as a reply to a deleted message does.

        The only sign of it is a message without `thread_ts`; that a field is missing proves
        nothing, so the thread is asked. Where it does not answer, a message without one has strayed
        and no message at all has not: what was said in one place is shown nowhere else.
        """
        message = answer.mapping("message")
        if message.get("thread_ts"):
            return False
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                thread = await self._api.paced_read(
                    "conversations.replies",
                    channel=self._channel,
                    ts=self._thread,
                    oldest=ts,
                    inclusive="true",
                    limit=2,
                )
            return bool(message) and ts not in {found["ts"] for found in thread.messages()}
        except Gone:
            return True
        except (PlatformError, TimeoutError):
            return bool(message)

    async def _take_back(self, ts: str) -> None:
        try:
            async with asyncio.timeout(STRAY_SECONDS):
                await self._api.paced_write(DELETIONS, channel=self._channel, ts=ts)
        except (PlatformError, TimeoutError) as error:
            log.warning("a stray message could not be deleted", ts=ts, error=repr(error))
        else:
            await self._files.forget(ts)

    async def _remove(self, request: Request) -> None:
        try:
            await self._delete(request)
        except Gone as error:
            if str(error) != "cant_delete_message":
                raise
            await self._stop_stream(str(request.message_id), request.page)
            await self._delete(request)

    async def _delete(self, request: Request) -> None:
        try:
            await self._api.write(
                DELETIONS, request.scopes, channel=self._channel, ts=request.message_id
            )
        except Gone as error:
            if str(error) != "message_not_found":
                raise
        await self._files.forget(str(request.message_id))

    # ── recovering ────────────────────────────────────────────────────────────────────────────
    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """Find what earlier attempts left here. Raises as `perform` does.

        A page that is not the first may be a file: only the thread tells.
        """
        ours = {page.number: page.message_id for page in pages if page.message_id}
        intended = sorted(page.number for page in pages if not page.message_id)
        held = {}
        if intended or len(ours) > 1:
            messages = await self._own_messages()
            held = {str(message["ts"]): self._files.found(message) for message in messages}
            await self._find(messages, ours, intended)
        for number in set(intended) - ours.keys():
            self._files.doubt(number)
        return Shown(
            tuple(
                ShownPage(number, ts, self._channel, text=None, file=held.get(ts))
                for number, ts in sorted(ours.items())
            )
        )

    async def _find(
        self, messages: Sequence[Mapping[str, Any]], ours: dict[int, str], intended: list[int]
    ) -> None:
        """Add the messages of intended pages to `ours`; a page that is there twice keeps one."""
        for message in messages:
            ts, known = str(message["ts"]), identified(message) or files.identified(message)
            state = message.get("streaming_state")
            nameless = sorted(set(intended) - ours.keys())
            if state and known is None and ts not in ours.values() and nameless:
                # A stream has no metadata until it is closed. Of a conversation one turn runs at a
                # time, so one without, since its question, is this turn's.
                known = (self._turn, nameless[0])
                self._streams.nameless.add(nameless[0])
            if state == "in_progress" and known is not None:
                await self._stop_stream(ts, known[1])  # until then no edit is taken
            if known is None or known[0] != self._turn or ts in ours.values():
                continue
            if ours.setdefault(known[1], ts) != ts:
                await self._take_back(ts)

    async def _own_messages(self) -> list[Mapping[str, Any]]:
        """What the bot wrote in the thread since the first question, oldest first."""
        found: list[Mapping[str, Any]] = []
        cursor: str | None = None
        while True:
            before = cursor
            answer = await self._api.paced_read(
                "conversations.replies",
                channel=self._channel,
                ts=self._thread,
                oldest=self._since,
                limit=PAGE,
                include_all_metadata=True,
                cursor=cursor,
            )
            found += answer.messages()
            cursor = answer.next_cursor
            if cursor is None or cursor == before:
                return [message for message in found if message.get("user") == self._me.user]

    async def _stop_stream(self, ts: str, page: int) -> None:
        with contextlib.suppress(Gone, Refused):  # it died meanwhile
            await self._api.paced_write(
                STOPS,
                channel=self._channel,
                ts=ts,
                metadata=identity(self._turn, page),
            )
