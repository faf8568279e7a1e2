"""Shows one reply in the question's thread: pages grow by native streams while the rate limit
allows, and by edits otherwise.

Each page carries its identity (turn, page) as metadata, so that it is found again after a crash; a
stream gets the metadata when it is closed.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.slack import files
from adapters.slack.api import WebApi
from adapters.slack.blocks import MAX_NEW_TEXT, MessageBuilder, identity, read_identity
from adapters.slack.errors import CONTENT
from adapters.slack.events import Identity
from adapters.slack.mrkdwn import MAX_UNITS
from adapters.slack.rate_limits import APPENDS, DELETIONS, EDITS, POSTS, STARTS, STOPS, post_scopes
from adapters.slack.removals import SlackRemovals
from adapters.slack.render import SlackRenderer
from adapters.slack.reply_thread import ReplyThread
from adapters.slack.status import ReplyStatus
from adapters.slack.streams import MAX_CHARACTERS, OPEN, Streams, with_append_fallback
from bot.domain import texts
from bot.domain.errors import FilesRefused, Gone, Refused, Unsettled
from bot.domain.replies import Action, FileRules, Frame, Request, Shown, ShownPage
from bot.domain.turns import Claim, PageRecord
from bot.ports.clock import Clock
from bot.ports.platform import RateLimiter
from bot.replies.plan import apply_request, cache_rendering, removal_request
from bot.replies.stream_plan import plan_by_streams

SCOPES = {
    Action.EDIT: (EDITS,),
    Action.START: (STARTS,),
    Action.APPEND: (APPENDS,),
    Action.CLOSE: (STOPS,),
    Action.REMOVE: (DELETIONS,),
}
BLOCKS = frozenset({"invalid_arguments", "invalid_blocks", "invalid_blocks_format"})
MAX_UNEXPLAINED = 2  # how many refusals in a row with an unknown error code are retried


class SlackSurface:
    """`bot.ports.platform.Surface` for one turn."""

    def __init__(
        self,
        *,
        claim: Claim,
        me: Identity,
        api: WebApi,
        builder: MessageBuilder,
        status: ReplyStatus,
        removals: SlackRemovals,
        clock: Clock,
        rules: FileRules | None,
        channels_without_files: MutableMapping[str, bool],
    ) -> None:
        key = claim.conversation.key
        self._turn, self._api, self._builder = claim.fence.turn, api, builder
        self._channel = key.channel
        self._thread = ReplyThread(
            api=api,
            channel=key.channel,
            root=key.thread,
            since=min((question.message_id for question in claim.questions), default=key.thread),
            user=me.user,
        )
        self._status, self._shows_status = status, claim.result is None
        self._removals = removals
        self._renderer = SlackRenderer()
        self._render = cache_rendering(self._renderer.render)
        self._streams = Streams(claim=claim, api=api, builder=builder, status=status, clock=clock)
        self._rules = rules
        self._unexplained = 0  # refusals in a row with an unknown error code
        self._is_plain = self._is_bare = False  # the text has no markup; the messages no blocks
        self._files = files.ReplyFiles(
            api=api,
            clock=clock,
            thread=self._thread,
            removals=removals,
            turn=claim.fence.turn,
            channels_without_files=channels_without_files,
        )

    @property
    def renderer(self) -> SlackRenderer:
        """Renders Slack's Markdown."""
        return self._renderer

    @property
    def says_working(self) -> bool:
        """Whether the thread has an agent session, whose status has a stop button."""
        return self._status.stoppable

    @property
    def files(self) -> FileRules | None:
        """The configured file rules; None where Slack refused a file in the last ten minutes."""
        return self._rules if self._files.accepted else None

    @property
    def rate_limiter(self) -> RateLimiter:
        """The workspace's rate limiter."""
        return self._api.rate_limiter

    async def open(self) -> None:
        """Show that the bot is thinking, unless the turn already has its result."""
        if self._shows_status:
            self._status.show()

    async def close(self) -> None:
        """Clear the status."""
        await self._status.clear()

    async def abandon(self) -> None:
        """See the port. The next attempt clears the status."""
        self._status.abandon()

    # ── planning ──────────────────────────────────────────────────────────────────────────────
    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        """The next request. Pure, except that an overdue stream depends on the time.

        After a person stopped a stream, the reply does not grow until the turn's result is known.
        Slack cannot edit a message's file, so when a page's file changes, that page and those below
        it are removed and posted again.
        """
        if self._streams.stopped and not frame.final:
            return None
        shown = files.match_known_files(shown, frame, self._turn, self._render)
        request = self._plan_page(shown, frame)
        if request is not None and request.action is Action.CLOSE:
            return with_append_fallback(request)
        if request is None or request.action not in (Action.POST, Action.EDIT):
            return request
        old = next((page for page in shown.pages if page.number == request.page), None)
        if old is not None and old.file != request.file:
            below = [page for page in shown.pages if page.number >= request.page]
            return removal_request(below, self._scopes, final=frame.final)
        if request.file is not None:
            # Without files, `perform` raises FilesRefused immediately, and the code becomes text.
            return replace(request, scopes=files.SCOPES if self._files.accepted else ())
        return request

    def _plan_page(self, shown: Shown, frame: Frame) -> Request | None:
        return plan_by_streams(
            shown,
            frame,
            render=self._render,
            scopes=self._scopes,
            may_stream=self._streams.may_start,
            most=MAX_CHARACTERS,
            overdue=self._streams.overdue,
        )

    def _scopes(self, action: Action, _page: int) -> tuple[str, ...]:
        return post_scopes(self._channel) if action is Action.POST else SCOPES[action]

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    async def perform(self, request: Request, shown: Shown) -> Shown:
        """Send the request. Raises Throttled, Gone, Refused or Unsettled.

        A refusal whose code does not concern the content is retried first, because after Refused
        the reply is shown as plain words. If Slack refuses those too, the blocks are the reason,
        and the rest is sent without any.
        """
        self._is_plain = self._is_plain or texts.SHOWN_PLAINLY in request.text
        try:
            shown = await self._send(request, shown)
        except FilesRefused:
            raise
        except Refused as error:
            self._unexplained += error.code not in CONTENT
            if error.code in BLOCKS and self._is_plain and not self._is_bare:
                self._is_bare = True
                raise Unsettled(f"Slack refuses plain words: {error}", code=error.code) from error
            if error.code in CONTENT or self._unexplained > MAX_UNEXPLAINED:
                raise
            raise Unsettled(f"Slack refuses a page with an unknown error code: {error}") from error
        self._unexplained = 0
        return shown

    async def _send(self, request: Request, shown: Shown) -> Shown:
        match request.action:
            case Action.POST if request.file is not None:
                ts = await self._files.share(request, str(self._body(request)["text"]))
                return apply_request(shown, request, message_id=ts, channel=self._channel)
            case Action.POST:
                ts = await self._post(request)
                return apply_request(shown, request, message_id=ts, channel=self._channel)
            case Action.REMOVE:
                await self._remove(request)
            case Action.EDIT:
                return await self._edit(request, shown)
            case _:
                return await self._streams.perform(request, shown)
        return apply_request(shown, request)

    async def _edit(self, request: Request, shown: Shown) -> Shown:
        needs_identity = request.page in self._streams.unidentified
        try:
            await self._builder.feedback.send(
                request.controls,
                lambda: self._api.write(
                    EDITS,
                    request.scopes,
                    channel=self._channel,
                    ts=request.message_id,
                    metadata=identity(self._turn, request.page) if needs_identity else None,
                    **self._body(request),
                ),
            )
        except Refused as error:
            if error.code != OPEN:
                raise
            # An earlier attempt died while it streamed this page.
            return self._streams.handle_conflict(shown, request.page)
        self._streams.unidentified.discard(request.page)
        return apply_request(shown, request)

    def _body(self, request: Request) -> dict[str, Any]:
        if self._is_bare:
            is_new = request.action is Action.POST
            return self._builder.bare(request.text, MAX_NEW_TEXT if is_new else MAX_UNITS)
        return self._builder.page(
            request.text,
            complete=request.final or request.sealed,
            controls=request.controls,
            turn=self._turn,
        )

    async def _post(self, request: Request) -> str:
        """Post a page without link previews; returns the new message's ts."""
        with self._status.cleared_by_post():
            response = await self._builder.feedback.send(
                request.controls,
                lambda: self._api.write(
                    POSTS,
                    request.scopes,
                    channel=self._channel,
                    thread_ts=self._thread.root,
                    unfurl_links=False,
                    unfurl_media=False,
                    metadata=identity(self._turn, request.page),
                    **self._body(request),
                ),
            )
            ts = response.ts()
        if await self._thread.is_misplaced(ts, response):
            await self._removals.remove_message(ts)
            raise Gone("the thread's root message was deleted")
        return ts

    async def _remove(self, request: Request) -> None:
        try:
            await self._delete(request)
        except Gone as error:
            if error.code != "cant_delete_message":
                raise
            await self._thread.stop_stream(str(request.message_id), self._turn, request.page)
            await self._delete(request)

    async def _delete(self, request: Request) -> None:
        ts = str(request.message_id)
        async with self._files.delete_after(ts):
            try:
                await self._api.write(DELETIONS, request.scopes, channel=self._channel, ts=ts)
            except Gone as error:
                if error.code != "message_not_found":
                    raise

    # ── recovery ──────────────────────────────────────────────────────────────────────────────
    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        """Find the messages that earlier attempts left. Raises like `perform`, or StoreUnavailable.

        Any page but the first may be a file, which only the thread shows.
        """
        posted = {page.number: page.message_id for page in pages if page.message_id}
        intended = sorted(page.number for page in pages if not page.message_id)
        shared = {}
        if intended or len(posted) > 1:
            left = await self._removals.left_messages()
            messages = [m for m in await self._thread.own_messages() if m["ts"] not in left]
            shared = {str(message["ts"]): self._files.register(message) for message in messages}
            await self._find(messages, posted, intended)
        for number in set(intended) - posted.keys():
            self._files.mark_maybe_shared(number)
        return Shown(
            tuple(
                ShownPage(number, ts, self._channel, text=None, file=shared.get(ts))
                for number, ts in sorted(posted.items())
            )
        )

    async def _find(
        self, messages: Sequence[Mapping[str, Any]], posted: dict[int, str], intended: list[int]
    ) -> None:
        """Add the messages of intended pages to `posted`, and delete a page's second message."""
        for message in messages:
            ts, known = str(message["ts"]), read_identity(message) or files.read_identity(message)
            state = message.get("streaming_state")
            missing = sorted(set(intended) - posted.keys())
            if state and known is None and ts not in posted.values() and missing:
                # A stream has no metadata until it is closed. Only one turn runs at a time in a
                # conversation, so a stream without metadata since the question is this turn's.
                known = (self._turn, missing[0])
                self._streams.unidentified.add(missing[0])
            if state == "in_progress" and known is not None:
                # Slack accepts no edit of an open stream.
                await self._thread.stop_stream(ts, self._turn, known[1])
            if known is None or known[0] != self._turn or ts in posted.values():
                continue
            if posted.setdefault(known[1], ts) != ts:
                await self._removals.remove_message(ts)
                await self._files.delete(ts)
