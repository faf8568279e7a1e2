"""Votes on replies: two small buttons below a reply, and a form for a comment.

The `custom_id` carries everything that a handler needs, so both work after a restart.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any, Self

import discord

from adapters.discord.buttons import VOTE
from adapters.discord.commands import Interaction
from adapters.discord.interactions import DiscordInteractionHandler
from adapters.discord.payloads import get_object, get_objects, get_text
from bot.domain import feedback_texts
from bot.domain.feedback import MAX_COMMENT
from bot.domain.inbox import CommandReply
from bot.inbox.feedback_commands import COMMENT
from bot.inbox.feedback_commands import VOTE as VOTE_COMMAND

FORM = re.compile(r"threadline-comment:(?P<turn>\d+)")
_FIELD = "text"
VOTE_SECONDS = 2.0
"""How long a press waits for the database: Discord accepts a form only as the first response,
within 3 s."""


class FeedbackHandler:
    """Executes votes and comments; `interactions` responds to them."""

    def __init__(self, interactions: DiscordInteractionHandler) -> None:
        self._interactions = interactions

    async def vote(self, interaction: Interaction, vote: str, turn: str) -> None:
        """Count a press, then confirm it with a sentence or show the form."""
        handler = self._interactions
        argument = f"{vote} {turn}"
        work = asyncio.create_task(handler.run_here(interaction, VOTE_COMMAND, argument))
        done, _ = await asyncio.wait((work,), timeout=VOTE_SECONDS)
        if not done:
            return await handler.respond_later(interaction, work)
        reply = work.result()
        if reply.comment_on is None:
            return await handler.respond(interaction, reply)
        return await handler.show_form(interaction, comment_form(reply.comment_on))

    async def handle_form(self, interaction: Interaction) -> None:
        """Store the comment from a submitted form; ignores other apps' forms."""
        data: Any = interaction.data
        found = FORM.fullmatch(get_text(data, "custom_id"))
        if found is None:
            return
        handler, argument = self._interactions, f"{found['turn']} {_text(data)}"
        work: asyncio.Task[CommandReply] = asyncio.create_task(
            handler.run_here(interaction, COMMENT, argument)
        )
        await handler.respond_later(interaction, work)


def comment_form(turn: int) -> discord.ui.Modal:
    """The comment form, already stopped: discord.py would otherwise keep it in memory until it is
    submitted."""
    form = discord.ui.Modal(
        title=feedback_texts.MODAL_TITLE, custom_id=f"threadline-comment:{turn}"
    )
    field: discord.ui.TextInput[discord.ui.Modal] = discord.ui.TextInput(
        custom_id=_FIELD,
        style=discord.TextStyle.paragraph,
        required=False,
        max_length=MAX_COMMENT,
        placeholder=feedback_texts.MODAL_HINT,
    )
    form.add_item(discord.ui.Label(text=feedback_texts.MODAL_LABEL, component=field))
    form.stop()
    return form


def _text(data: Mapping[str, Any]) -> str:
    """The comment in a submitted form's data."""
    fields = {get_text(field, "custom_id"): field for field in _fields(data)}
    return get_text(fields.get(_FIELD, {}), "value")


def _fields(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for part in get_objects(data, "components"):
        yield get_object(part, "component")  # in a label
        yield from get_objects(part, "components")  # in a row, the older form


class VoteButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=VOTE):
    """A thumb below a reply; works after a restart."""

    def __init__(self, button: discord.ui.Button[Any], vote: str, turn: str) -> None:
        super().__init__(button)
        self._vote, self._turn = vote, turn

    @classmethod
    async def from_custom_id(
        cls, interaction: Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Restore the button from its id."""
        assert isinstance(item, discord.ui.Button)  # noqa: S101 - VOTE matches only buttons
        return cls(item, match["name"], match["turn"])

    async def callback(self, interaction: Interaction) -> None:
        """Handle a press."""
        feedback: FeedbackHandler = interaction.client.feedback
        await feedback.vote(interaction, self._vote, self._turn)
