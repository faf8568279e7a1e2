"""Bolt's listeners: they pass events and interactions to the core, and then acknowledge them.

An event is acknowledged once the inbox has it. If a listener raises, Bolt answers 500 (in Socket
Mode it does not answer), so that Slack redelivers the event. Irrelevant events are acknowledged as
well, or Slack would send them four times.
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

from adapters.slack import payloads
from adapters.slack.api import VIEWS
from adapters.slack.blocks import MessageBuilder
from adapters.slack.edits import SlackEditListener
from adapters.slack.envelopes import field_types
from adapters.slack.events import message_ts, position
from adapters.slack.facts import renamed_channel
from adapters.slack.feedback import COMMENT_BLOCK, comment_view
from adapters.slack.interactions import (
    Interaction,
    SlackInteractionHandler,
    parse_button,
    parse_shortcut,
    parse_slash_command,
)
from adapters.slack.payloads import Payload, ident, mapping, text
from adapters.slack.scopes import LEAVING, MEMBERSHIP, RENAMES, SUBTEAMS
from adapters.slack.workspace import Workspace
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain import feedback_texts, texts
from bot.domain.conversations import Author
from bot.domain.errors import PlatformError, StoreUnavailable, ThreadlineError
from bot.domain.inbox import Command, CommandReply, Incoming, Receipt
from bot.ports.history import ChannelRef
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

# How long an interaction's acknowledgement waits for its command: Slack expects it within 3 s.
ACK_SECONDS = 2.0
# The timeout of work in the background (greetings, private replies), in seconds.
BACKGROUND_SECONDS = 30.0
_ANY = re.compile(".*")


@dataclass(slots=True)
class ConnectionProblem:
    """An event after which the bot cannot work, as a sentence for /healthz; "" if none."""

    text: str = ""


class Listeners:
    """The listeners of one app, which has the command `prefix`."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        inbox: Inbox,
        saver: WatermarkSaver,
        builder: MessageBuilder,
        interactions: SlackInteractionHandler,
        prefix: str,
        problem: ConnectionProblem,
    ) -> None:
        self._workspace, self._inbox, self._builder = workspace, inbox, builder
        self._interactions, self._prefix, self._problem = interactions, prefix, problem
        self._saver = saver
        self._edits = SlackEditListener(workspace=workspace, inbox=inbox)
        self._tasks: set[asyncio.Task[None]] = set()
        self.events: Mapping[str, Callable[[Payload], Awaitable[None]]] = {
            "message": self._on_message,
            "app_mention": self._on_message,
            "app_home_opened": self._on_home_opened,
            # Sent to apps with the older assistant_view.
            "assistant_thread_started": self._on_assistant_thread,
            "agent_session_stopped": self._on_session_stopped,
            "tokens_revoked": self._on_token_revoked,
            "app_uninstalled": self._on_token_revoked,
            **dict.fromkeys(MEMBERSHIP, self._on_membership_changed),
            **dict.fromkeys(RENAMES, self._on_renamed),
            **dict.fromkeys(SUBTEAMS, self._on_groups_changed),
        }

    def register(self, app: AsyncApp) -> None:
        """Register a listener for everything that `envelopes.dispatch` passes to Bolt."""
        app.event(_ANY)(self._on_event)
        app.command(_ANY)(self._on_slash_command)
        app.message_shortcut(_ANY)(self._on_shortcut)
        app.action(_ANY)(self._on_button)
        app.view_submission(_ANY)(self._on_modal)
        app.error(self._on_error)

    async def aclose(self) -> None:
        """Cancel the work in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── events ────────────────────────────────────────────────────────────────────────────────
    async def _on_event(self, body: Payload) -> None:
        handler = self.events.get(text(mapping(body, "event"), "type"))
        if handler is not None:
            await handler(body)

    async def _on_error(
        self, error: Exception, body: Payload, request: AsyncBoltRequest
    ) -> BoltResponse | None:
        """Return None to answer 500: Slack redelivers immediately, after 1 minute and after 5
        minutes.

        A redelivery that fails for a reason other than the database or Slack is
        acknowledged, since it would always fail.
        """
        event_id = text(body, "event_id")
        if isinstance(error, ThreadlineError | TimeoutError | OSError):
            log.error("not acknowledged", event_id=event_id, error=repr(error))
            return None
        redelivered = request.headers.get("x-slack-retry-num", ["0"])[0] not in ("", "0")
        log.error("a delivery failed", event_id=event_id, types=field_types(body), exc_info=error)
        return BoltResponse(status=200, body="") if redelivered else None

    async def _on_message(self, body: Payload) -> None:
        """Pass on a message. If this raises, the watermark stays below it until a redelivery."""
        if await self._edits.handle(body):
            return
        event = mapping(body, "event")
        channel, ts = ident(event, "channel"), message_ts(event)
        visible = bool(channel and ts and not event.get("hidden"))
        channel_ref = ChannelRef(self._workspace.me.team, channel)
        if visible:
            self._saver.mark_seen(channel_ref, position(ts))
            self._workspace.posts.note(event)
            self._workspace.note(event)
        incoming = await self._workspace.incoming(body)
        if incoming is not None:
            await self._receive(incoming)
        if visible:
            self._saver.mark_decided(channel_ref, position(ts))

    async def _receive(self, incoming: Incoming) -> None:
        """Store a message. If this raises, Slack redelivers it; the author may get a notice."""
        try:
            receipt = await self._inbox.receive(incoming)
            if receipt is Receipt.KNOWN and incoming.attachments:
                await self._add_files(incoming)
        except StoreUnavailable as error:
            log.error("a message could not be stored", source=incoming.source, error=str(error))
            if await self._inbox.apology_due(incoming):
                self._run_in_background(self._apologize(incoming))
            raise

    async def _add_files(self, incoming: Incoming) -> None:
        """Add the files of a message that was stored without knowing of them."""
        files, place = self._workspace.mention_files, (incoming.channel, incoming.message_id)
        if files.is_unknown(*place):
            await self._inbox.edited(incoming, incoming.edited_at or incoming.sent_at)
            files.settle(*place)

    async def _apologize(self, incoming: Incoming) -> None:
        thread = incoming.key.thread
        await self._workspace.post_ephemeral(
            channel=incoming.channel,
            user=incoming.author.id,
            thread=thread if thread != incoming.message_id else None,
            body=self._builder.command_reply(CommandReply(texts.NOT_STORED)),
        )

    async def _on_membership_changed(self, body: Payload) -> None:
        """A channel of the bot was archived or deleted, or the bot joined or left one."""
        event = mapping(body, "event")
        kind, channel = text(event, "type"), ident(event, "channel")
        self._workspace.facts.membership_changed(channel)
        member = kind.startswith("member_")
        if channel and (not member or ident(event, "user") == self._workspace.me.user):
            log.info("a channel changed", kind=kind, channel=channel)
            if kind in LEAVING:
                await self._inbox.gone(self._workspace.key(channel))

    async def _on_renamed(self, body: Payload) -> None:
        """Rules may name the channel."""
        self._workspace.facts.channel_renamed(*renamed_channel(mapping(body, "event")))

    async def _on_groups_changed(self, _body: Payload) -> None:
        """A person may have gained or lost a right."""
        self._workspace.facts.groups_changed()

    async def _on_home_opened(self, body: Payload) -> None:
        """The agent pane and direct messages are the `messages` tab of the app's home."""
        event = mapping(body, "event")
        if text(event, "tab") == "messages" and (channel := ident(event, "channel")):
            self._run_in_background(self._greet(channel, None))

    async def _on_assistant_thread(self, body: Payload) -> None:
        thread = mapping(mapping(body, "event"), "assistant_thread")
        if channel := ident(thread, "channel_id"):
            self._run_in_background(self._greet(channel, payloads.ts(thread, "thread_ts") or None))

    async def _greet(self, channel: str, thread: str | None) -> None:
        await self._workspace.api.write_paced(
            "assistant.threads.setSuggestedPrompts",
            channel_id=channel,
            thread_ts=thread,
            title=texts.GREETING,
            prompts=list(texts.PROMPTS),
        )

    async def _on_session_stopped(self, body: Payload) -> None:
        """Handle Slack's own stop button, which it shows while an agent session is
        `processing`.

        The event has no message, so its id prevents a redelivery from stopping a later
        reply.
        """
        event = mapping(body, "event")
        user, channel = ident(event, "user"), ident(event, "channel")
        thread = payloads.ts(event, "thread_ts")
        if not channel or not thread:
            return
        key = self._workspace.key(channel, thread)
        event_id = ident(body, "event_id") or payloads.ts(event, "event_ts")
        source = f"{key.platform}/{key.workspace}/{channel}/stop-{event_id}" if event_id else ""
        stop = Command(name="stop", key=key, author=Author(user, user), source=source)
        reply = await self._inbox.command(stop)
        if reply.refused:  # Slack ended the stream, but the answer continues in edits
            self._run_in_background(self._show_in_thread(user, channel, thread, reply))

    async def _show_in_thread(
        self, user: str, channel: str, thread: str, reply: CommandReply
    ) -> None:
        body = self._builder.command_reply(reply)
        await self._workspace.post_ephemeral(channel=channel, user=user, thread=thread, body=body)

    async def _on_token_revoked(self, body: Payload) -> None:
        """Handle the app's removal or a revoked bot token; a person's token does not matter
        here."""
        event = mapping(body, "event")
        bots = mapping(event, "tokens").get("bot")
        is_own = isinstance(bots, list) and self._workspace.me.user in bots
        if text(event, "type") == "app_uninstalled" or is_own:
            self._problem.text = "the app was removed from the workspace, or its token was revoked"
            log.error(self._problem.text, kind=text(event, "type"))
            await self._inbox.gone(self._workspace.key(""))

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    async def _on_slash_command(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        interaction = parse_slash_command(body, self._prefix)
        if interaction is None:
            reply: CommandReply | None = CommandReply(texts.NO_SUCH_COMMAND)
        else:
            reply = await self._run_in_time(interaction)
        if reply is None:
            return await ack()
        return await ack(response_type="ephemeral", **self._builder.command_reply(reply))

    async def _on_shortcut(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        return await self._run_and_show(parse_shortcut(body), ack)

    async def _on_button(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        return await self._run_and_show(parse_button(body), ack)

    async def _on_modal(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        """A submitted comment. An empty acknowledgement closes the modal: that is the reply.

        Slack shows an error in the modal, so that the comment is not lost.
        """
        reply = await self._interactions.comment(body)
        if reply is None or reply.text == feedback_texts.COMMENT_STORED:
            return await ack()
        return await ack(response_action="errors", errors={COMMENT_BLOCK: reply.text})

    async def _run_and_show(self, interaction: Interaction | None, ack: AsyncAck) -> BoltResponse:
        if interaction is not None and (reply := await self._run_in_time(interaction)) is not None:
            self._run_in_background(self._show(interaction, reply))
        return await ack()

    async def _run_in_time(self, interaction: Interaction) -> CommandReply | None:
        """Run the interaction; returns None if its reply comes too late and is shown separately."""
        task = asyncio.create_task(self._interactions.run(interaction))
        done, _ = await asyncio.wait((task,), timeout=ACK_SECONDS)
        if done:
            return task.result()
        self._run_in_background(self._show_when_done(interaction, task))
        return None

    async def _show_when_done(
        self, interaction: Interaction, task: asyncio.Task[CommandReply]
    ) -> None:
        await self._show(interaction, await task)

    async def _show(self, interaction: Interaction, reply: CommandReply) -> None:
        """Show a private reply: instead of the message with the choices, or in the thread."""
        if not reply.text or await self._ask_comment(interaction, reply):
            return
        api, body = self._workspace.api, self._builder.command_reply(reply)
        url, ephemeral = interaction.response_url, interaction.ephemeral
        if ephemeral or not interaction.message:
            await api.respond(url, replace_original=ephemeral, **body)
            return
        try:
            await self._workspace.post_ephemeral(
                channel=interaction.channel,
                user=interaction.user,
                thread=interaction.thread if interaction.in_thread else None,
                body=body,
            )
        except PlatformError:  # the bot is not in the channel
            await api.respond(url, replace_original=False, **body)

    async def _ask_comment(self, interaction: Interaction, reply: CommandReply) -> bool:
        """Open the modal for a comment, in place of the reply's text; False if that fails.

        A trigger expires after 3 s, so a slow database costs the modal and not the vote.
        """
        if reply.comment_on is None or not interaction.trigger_id:
            return False
        key = await self._interactions.conversation(interaction)
        view = comment_view(key, reply.comment_on)
        try:
            await self._workspace.api.write(VIEWS, trigger_id=interaction.trigger_id, view=view)
        except PlatformError as error:
            log.info("no modal for a comment", reason=repr(error))
            return False
        return True

    # ── background work ───────────────────────────────────────────────────────────────────────
    def _run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._run_with_timeout(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_with_timeout(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(BACKGROUND_SECONDS):
                await work
        except (PlatformError, TimeoutError) as error:
            log.warning("could not show a reply or a greeting", error=repr(error))
