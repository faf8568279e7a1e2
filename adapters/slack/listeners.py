"""One workspace's listeners, which pass events to the core.

An event is acknowledged once the inbox has it. If a listener raises, Slack redelivers the event
(`router`). Irrelevant events are acknowledged as well, or Slack would send them four times.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog

from adapters.slack import payloads
from adapters.slack.background import BackgroundTasks
from adapters.slack.blocks import MessageBuilder
from adapters.slack.edits import SlackEditListener
from adapters.slack.events import message_ts, position
from adapters.slack.facts import renamed_channel
from adapters.slack.interaction_listeners import InteractionListeners
from adapters.slack.interactions import (
    SlackInteractionHandler,
)
from adapters.slack.payloads import Payload, ident, mapping, text
from adapters.slack.scopes import LEAVING, MEMBERSHIP, RENAMES, SUBTEAMS
from adapters.slack.workspace import Workspace
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain import texts
from bot.domain.conversations import Author
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Command, CommandReply, Incoming, Receipt
from bot.ports.clock import Clock
from bot.ports.history import ChannelRef
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)


MAX_AHEAD = 86_400.0
"""A ts that is further in the future, in seconds, moves no watermark.

Watermarks never move back, so nothing written before that time would be read after an outage.
"""


class Listeners:
    """One workspace's listeners; the app's commands begin with `prefix`.

    `removed` is awaited with an event after which the app is no longer installed there.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        inbox: Inbox,
        saver: WatermarkSaver,
        builder: MessageBuilder,
        interactions: SlackInteractionHandler,
        prefix: str,
        clock: Clock,
        removed: Callable[[Payload], Awaitable[None]],
    ) -> None:
        self._workspace, self._inbox, self._builder = workspace, inbox, builder
        self._removed = removed
        self._saver, self._clock = saver, clock
        self._edits = SlackEditListener(workspace=workspace, inbox=inbox)
        self._background = BackgroundTasks()
        self.interactions = InteractionListeners(
            workspace=workspace,
            builder=builder,
            interactions=interactions,
            prefix=prefix,
            background=self._background,
        )
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

    @property
    def busy(self) -> bool:
        """Whether background work is under way."""
        return self._background.busy

    async def aclose(self) -> None:
        """Cancel the background work."""
        await self._background.aclose()

    # ── events ────────────────────────────────────────────────────────────────────────────────
    async def on_event(self, body: Payload) -> None:
        """Handle an event; return once it may be acknowledged."""
        handler = self.events.get(text(mapping(body, "event"), "type"))
        if handler is not None:
            await handler(body)

    async def _on_message(self, body: Payload) -> None:
        """Pass on a message. If this raises, the watermark stays below it until a redelivery."""
        if await self._edits.handle(body):
            return
        event = mapping(body, "event")
        channel, ts = ident(event, "channel"), message_ts(event)
        visible = bool(channel and ts and not event.get("hidden"))
        channel_ref = ChannelRef(self._workspace.me.team, channel)
        is_plausible = visible and position(ts) < (self._clock.time() + MAX_AHEAD) * 1e6
        if visible:
            self._workspace.posts.note(event)
            self._workspace.note(event)
        if is_plausible:
            self._saver.mark_seen(channel_ref, position(ts))
        incoming = await self._workspace.incoming(body)
        if incoming is not None:
            await self._receive(incoming)
        if is_plausible:
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
                self._background.run(self._apologize(incoming))
            raise

    async def _add_files(self, incoming: Incoming) -> None:
        """Add files to a message that was stored before they were known."""
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
        """Handle a bot's channel that was archived or deleted, or that the bot joined or left."""
        event = mapping(body, "event")
        kind, channel = text(event, "type"), ident(event, "channel")
        self._workspace.facts.membership_changed(channel)
        member = kind.startswith("member_")
        if channel and (not member or ident(event, "user") == self._workspace.me.user):
            log.info("a channel changed", kind=kind, channel=channel)
            if kind in LEAVING:
                await self._inbox.gone(self._workspace.key(channel))

    async def _on_renamed(self, body: Payload) -> None:
        """Handle a renamed channel, which rules may name."""
        self._workspace.facts.channel_renamed(*renamed_channel(mapping(body, "event")))

    async def _on_groups_changed(self, _body: Payload) -> None:
        """Handle changed user groups: a person may have gained or lost a right."""
        self._workspace.facts.groups_changed()

    async def _on_home_opened(self, body: Payload) -> None:
        """Handle an opened agent pane or direct message, both the `messages` tab of the app's
        home."""
        event = mapping(body, "event")
        if text(event, "tab") == "messages" and (channel := ident(event, "channel")):
            self._background.run(self._greet(channel, None))

    async def _on_assistant_thread(self, body: Payload) -> None:
        thread = mapping(mapping(body, "event"), "assistant_thread")
        if channel := ident(thread, "channel_id"):
            self._background.run(self._greet(channel, payloads.ts(thread, "thread_ts") or None))

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
            self._background.run(self._show_in_thread(user, channel, thread, reply))

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
            await self._removed(body)
