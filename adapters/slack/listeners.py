"""What Slack sends, from Bolt to the core: every payload is answered, and only after its work.

An event is acknowledged when the inbox has it; one that raises is answered 500 (not at all in
Socket Mode), so that Slack sends it again. What is of no use is acknowledged, or it would come
four times.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from adapters.slack import interactions, payloads
from adapters.slack.blocks import MessageBuilder
from adapters.slack.edits import EditListener
from adapters.slack.envelopes import shape
from adapters.slack.events import position, ts_of
from adapters.slack.interactions import Commands, Interaction
from adapters.slack.payloads import Payload, ident, table, text
from adapters.slack.scopes import LEAVING, MEMBERSHIP
from adapters.slack.workspace import Workspace
from bot.catchup.backfill import WatermarkSaver
from bot.catchup.watermarks import ChannelRef
from bot.domain import texts
from bot.domain.conversations import Author
from bot.domain.errors import PlatformError, StoreUnavailable, ThreadlineError
from bot.domain.inbox import Command, CommandReply, Incoming
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

# An interaction is acknowledged within 3 s; a command that takes longer is answered afterwards.
ANSWER_SECONDS = 2.0
# What nobody waits for (greetings, private answers) is given up after so many seconds.
ASIDE_SECONDS = 30.0
_ANY = re.compile(".*")
GREETING = "Ask me anything. I answer in a thread, and your next message there goes on with it."
PROMPTS = (
    {"title": "What can you do?", "message": "What can you help me with?"},
    {"title": "Draft a message", "message": "Help me write a short message to my team."},
)


@dataclass(slots=True)
class ConnectionProblem:
    """What Slack told us that keeps the bot from working; "" when nothing does."""

    text: str = ""


class Listeners:
    """The listeners of one app."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        inbox: Inbox,
        keeper: WatermarkSaver,
        bodies: MessageBuilder,
        commands: Commands,
        prefix: str,
        trouble: ConnectionProblem,
    ) -> None:
        self._workspace, self._inbox, self._bodies = workspace, inbox, bodies
        self._commands, self._prefix, self._trouble = commands, prefix, trouble
        self._keeper = keeper
        self._changes = EditListener(workspace=workspace, inbox=inbox)
        self._tasks: set[asyncio.Task[None]] = set()
        self.events: Mapping[str, Callable[[Payload], Awaitable[None]]] = {
            "message": self._said,
            "app_mention": self._said,
            "app_home_opened": self._opened,
            "assistant_thread_started": self._started,  # of apps with the older assistant_view
            "agent_session_stopped": self._stopped,
            "tokens_revoked": self._revoked,
            "app_uninstalled": self._revoked,
            **dict.fromkeys(MEMBERSHIP, self._moved),
        }

    def register(self, app: AsyncApp) -> None:
        """Listen to all that `envelopes.dispatch` lets in."""
        app.event(_ANY)(self._event)
        app.command(_ANY)(self._slash)
        app.message_shortcut(_ANY)(self._shortcut)
        app.action(_ANY)(self._button)
        app.error(self._failed)

    async def aclose(self) -> None:
        """Give up what nobody waits for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── events ────────────────────────────────────────────────────────────────────────────────
    async def _event(self, body: Payload) -> None:
        handler = self.events.get(text(table(body, "event"), "type"))
        if handler is not None:
            await handler(body)

    async def _failed(
        self, error: Exception, body: Payload, request: AsyncBoltRequest
    ) -> BoltResponse | None:
        """Bolt answers 500, and Slack sends an event again: at once, after 1 and 5 minutes.

        What fails for another reason than the database or Slack, and once more when it comes again,
        is taken as it is: it could never be read.
        """
        event_id = text(body, "event_id")
        if isinstance(error, ThreadlineError | TimeoutError | OSError):
            log.error("not acknowledged", event_id=event_id, error=repr(error))
            return None
        again = request.headers.get("x-slack-retry-num", ["0"])[0] not in ("", "0")
        log.error("a delivery failed", event_id=event_id, shape=shape(body), exc_info=error)
        return BoltResponse(status=200, body="") if again else None

    async def _said(self, body: Payload) -> None:
        """No watermark passes a message that raises here: it comes again, or is read again."""
        if await self._changes.take_in(body):
            return
        event = table(body, "event")
        channel, ts = ident(event, "channel"), ts_of(event)
        visible = bool(channel and ts and not event.get("hidden"))
        spot = ChannelRef(self._workspace.me.team, channel)
        if visible:
            self._keeper.seen(spot, position(ts))
        incoming = await self._workspace.incoming(body)
        if incoming is not None:
            await self._receive(incoming)
        if visible:
            self._keeper.decided(spot, position(ts))

    async def _receive(self, incoming: Incoming) -> None:
        """Slack sends again what raises here; meanwhile its author may be told."""
        try:
            await self._inbox.receive(incoming)
        except StoreUnavailable as error:
            log.error("a message could not be stored", source=incoming.source, error=str(error))
            if await self._inbox.apology_due(incoming):
                self._aside(self._apologise(incoming))
            raise

    async def _apologise(self, incoming: Incoming) -> None:
        thread = incoming.key.thread
        await self._workspace.whisper(
            channel=incoming.channel,
            user=incoming.author.id,
            thread=thread if thread != incoming.message_id else None,
            body=self._bodies.answer(CommandReply(texts.NOT_STORED)),
        )

    async def _moved(self, body: Payload) -> None:
        """A channel that the bot is in, or its being there, changed."""
        event = table(body, "event")
        kind, channel = text(event, "type"), ident(event, "channel")
        member = kind.startswith("member_")
        if channel and (not member or ident(event, "user") == self._workspace.me.user):
            log.info("a channel changed", kind=kind, channel=channel)
            if kind in LEAVING:
                await self._inbox.gone(self._workspace.key(channel))

    async def _opened(self, body: Payload) -> None:
        """The agent pane, and direct messages, are the `messages` tab of the app's home."""
        event = table(body, "event")
        if text(event, "tab") == "messages" and (channel := ident(event, "channel")):
            self._aside(self._greet(channel, None))

    async def _started(self, body: Payload) -> None:
        thread = table(table(body, "event"), "assistant_thread")
        if channel := ident(thread, "channel_id"):
            self._aside(self._greet(channel, payloads.ts(thread, "thread_ts") or None))

    async def _greet(self, channel: str, thread: str | None) -> None:
        await self._workspace.api.paced_write(
            "assistant.threads.setSuggestedPrompts",
            channel_id=channel,
            thread_ts=thread,
            title=GREETING,
            prompts=list(PROMPTS),
        )

    async def _stopped(self, body: Payload) -> None:
        """Slack's own stop button, which it shows while an agent session is `processing`.

        No message is behind it: the event's id keeps its redelivery from stopping a later reply.
        """
        event = table(body, "event")
        user, channel = ident(event, "user"), ident(event, "channel")
        thread = payloads.ts(event, "thread_ts")
        if not channel or not thread:
            return
        key = self._workspace.key(channel, thread)
        event_id = ident(body, "event_id") or payloads.ts(event, "event_ts")
        source = f"{key.platform}/{key.workspace}/{channel}/stop-{event_id}" if event_id else ""
        stop = Command(name="stop", key=key, author=Author(user, user), source=source)
        await self._inbox.command(stop)

    async def _revoked(self, body: Payload) -> None:
        """The bot's token is no longer good, or a person's, which does not matter here."""
        event = table(body, "event")
        bots = table(event, "tokens").get("bot")
        ours = isinstance(bots, list) and self._workspace.me.user in bots
        if text(event, "type") == "app_uninstalled" or ours:
            self._trouble.text = "the app was removed from the workspace, or its token was revoked"
            log.error(self._trouble.text, kind=text(event, "type"))
            await self._inbox.gone(self._workspace.key(""))

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    async def _slash(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        use = interactions.slash(body, self._prefix)
        answer = (
            CommandReply(interactions.NO_SUCH_COMMAND) if use is None else await self._soon(use)
        )
        if answer is None:
            return await ack()
        return await ack(response_type="ephemeral", **self._bodies.answer(answer))

    async def _shortcut(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        use = interactions.shortcut(body)
        if use is not None and (answer := await self._soon(use)) is not None:
            self._aside(self._show(use, answer))
        return await ack()

    async def _button(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        use = interactions.button(body)
        if use is not None and (answer := await self._soon(use)) is not None:
            self._aside(self._show(use, answer))
        return await ack()

    async def _soon(self, use: Interaction) -> CommandReply | None:
        """The answer, or None when it takes so long that it will be shown by itself."""
        task = asyncio.create_task(self._commands.run(use))
        done, _ = await asyncio.wait((task,), timeout=ANSWER_SECONDS)
        if done:
            return task.result()
        self._aside(self._show_later(use, task))
        return None

    async def _show_later(self, use: Interaction, task: asyncio.Task[CommandReply]) -> None:
        await self._show(use, await task)

    async def _show(self, use: Interaction, answer: CommandReply) -> None:
        """Reply privately: in place of the choice that was made, or in the thread."""
        if not answer.text:
            return
        api, body = self._workspace.api, self._bodies.answer(answer)
        if use.ephemeral or not use.message:
            await api.respond(use.response_url, replace_original=use.ephemeral, **body)
            return
        try:
            await self._workspace.whisper(
                channel=use.channel,
                user=use.user,
                thread=use.thread if use.in_thread else None,
                body=body,
            )
        except PlatformError:  # the bot is not in the channel
            await api.respond(use.response_url, replace_original=False, **body)

    # ── what nobody waits for ─────────────────────────────────────────────────────────────────
    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._bounded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bounded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(ASIDE_SECONDS):
                await work
        except (PlatformError, TimeoutError) as error:
            log.warning("an answer or a greeting was not shown", error=repr(error))
