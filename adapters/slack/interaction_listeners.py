"""The listeners of one workspace for slash commands, shortcuts, buttons and modals.

A command runs before its acknowledgement, which carries the reply; the reply of a slow one is shown
later.
"""

from __future__ import annotations

import asyncio

import structlog
from slack_bolt.async_app import AsyncAck
from slack_bolt.response import BoltResponse

from adapters.slack.background import BackgroundTasks
from adapters.slack.blocks import MessageBuilder
from adapters.slack.feedback import COMMENT_BLOCK, comment_view
from adapters.slack.interactions import (
    Interaction,
    SlackInteractionHandler,
    parse_button,
    parse_shortcut,
    parse_slash_command,
)
from adapters.slack.payloads import Payload
from adapters.slack.rate_limits import VIEWS
from adapters.slack.workspace import Workspace
from bot.domain import feedback_texts, texts
from bot.domain.errors import PlatformError, StoreUnavailable
from bot.domain.inbox import CommandReply

log = structlog.stdlib.get_logger(__name__)

# How long an interaction's acknowledgement waits for its command: Slack expects it within 3 s.
ACK_SECONDS = 2.0


class InteractionListeners:
    """One workspace's listeners; the app's commands begin with `prefix`."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        builder: MessageBuilder,
        interactions: SlackInteractionHandler,
        prefix: str,
        background: BackgroundTasks,
    ) -> None:
        self._workspace, self._builder = workspace, builder
        self._interactions, self._prefix = interactions, prefix
        self._background = background

    async def on_slash_command(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        """Run a slash command."""
        interaction = parse_slash_command(body, self._prefix)
        if interaction is None:
            reply: CommandReply | None = CommandReply(texts.NO_SUCH_COMMAND)
        else:
            reply = await self._run_in_time(interaction)
        if reply is None:
            return await ack()
        return await ack(response_type="ephemeral", **self._builder.command_reply(reply))

    async def on_shortcut(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        """Run the shortcut on a message."""
        return await self._run_and_show(parse_shortcut(body), ack)

    async def on_button(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        """Run what a pressed button or a choice from a menu asks for."""
        return await self._run_and_show(parse_button(body), ack)

    async def on_modal(self, body: Payload, ack: AsyncAck) -> BoltResponse:
        """Store a submitted comment. An empty acknowledgement closes the modal, which is the reply.

        On failure, Slack shows an error in the modal, so that the comment is not lost.
        """
        reply = await self._interactions.comment(body)
        if reply is None or reply.text == feedback_texts.COMMENT_STORED:
            return await ack()
        return await ack(response_action="errors", errors={COMMENT_BLOCK: reply.text})

    async def _run_and_show(self, interaction: Interaction | None, ack: AsyncAck) -> BoltResponse:
        if interaction is not None and (reply := await self._run_in_time(interaction)) is not None:
            self._background.run(self._show(interaction, reply))
        return await ack()

    async def _run_in_time(self, interaction: Interaction) -> CommandReply | None:
        """Run the interaction; returns None if its reply comes too late and is shown separately."""
        task = asyncio.create_task(self._interactions.run(interaction))
        done, _ = await asyncio.wait((task,), timeout=ACK_SECONDS)
        if done:
            return task.result()
        self._background.run(self._show_when_done(interaction, task))
        return None

    async def _show_when_done(
        self, interaction: Interaction, task: asyncio.Task[CommandReply]
    ) -> None:
        await self._show(interaction, await task)

    async def _show(self, interaction: Interaction, reply: CommandReply) -> None:
        """Show a private reply: in place of the message with the choices, or in the thread."""
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
        """Open the modal for a comment instead of showing the reply's text; False if that fails.

        A trigger expires after 3 s, so a slow database costs the modal but not the vote.
        """
        if reply.comment_on is None or not interaction.trigger_id:
            return False
        try:
            key = await self._interactions.conversation(interaction)
            view = comment_view(key, reply.comment_on)
            await self._workspace.api.write(VIEWS, trigger_id=interaction.trigger_id, view=view)
        except (PlatformError, StoreUnavailable) as error:
            log.info("no modal for a comment", reason=repr(error))
            return False
        return True
