"""Threads of replies: made in time, or not at all; one that appears too late is removed or adopted.

A thread has its starter's id, so a conversation's key is the same in its thread and in the reply
chain that takes the thread's place: what people write in either belongs to it.
"""

from __future__ import annotations

from typing import Literal

import discord
import structlog

from adapters.discord import rest as w
from adapters.discord.rest import RestApi, code_of
from adapters.discord.text import shortened
from bot.domain.errors import Gone, PlatformError
from bot.domain.replies import Priority
from bot.domain.turns import Claim, Question

log = structlog.stdlib.get_logger(__name__)

ARCHIVE_MINUTES: Literal[1440] = 1440  # where the channel has no default of its own


async def is_made(wire: RestApi, claim: Claim) -> bool:
    """Whether the reply has a thread; where it can have none within a few seconds, it has none.

    Raises Gone when the place of the question is not there any more.
    """
    thread = claim.conversation.key.thread
    if any(page.channel == thread for page in claim.pages):
        return True  # an earlier attempt posted there
    try:
        await _make(wire, claim)
    except PlatformError as error:
        code = code_of(error)
        if code == w.THREAD_EXISTS:
            return True
        if isinstance(error, Gone) and code in w.NO_PLACE:
            raise
        if await _is_there(wire, claim):
            return True
        log.info("no thread can be had here, replying in the channel", error=str(error))
        return False
    return True


async def appeared(wire: RestApi, thread: str) -> bool:
    """Whether a thread whose creation had no answer exists, as far as the gateway has told."""
    return isinstance((await wire.client()).get_channel(int(thread)), discord.Thread)


async def give_up(wire: RestApi, thread: str) -> None:
    """The reply is in the channel: a thread that is there, or appears, is not its place."""
    wire.chained[thread] = True
    known = (await wire.client()).get_channel(int(thread))
    if isinstance(known, discord.Thread):
        remove_late(wire, known)


def remove_late(wire: RestApi, thread: discord.Thread) -> None:
    """A thread was made: ours, after its reply had begun in the channel, is litter.

    Deleting needs a permission that the bot does without; then the thread stays, and what people
    write in it belongs to the conversation that it was made for.
    """
    me = thread.guild.me
    if me is None or str(thread.id) not in wire.chained or thread.owner_id != me.id:
        return
    if not thread.permissions_for(me).manage_threads:
        log.info("a thread came too late for its reply, and stays", thread=thread.id)
        return
    wire.own_deletions[str(thread.id)] = True
    wire.upkeep.add(
        f"removing the late thread {thread.id}",
        lambda: wire.ask(w.at("removal", thread.id), lambda c: c.http.delete_channel(thread.id)),
    )


async def _make(wire: RestApi, claim: Claim) -> None:
    key = claim.conversation.key

    async def request(client: discord.Client) -> object:
        channel = client.get_channel(int(key.channel))
        minutes = (
            channel.default_auto_archive_duration
            if isinstance(channel, discord.TextChannel)
            else ARCHIVE_MINUTES
        )
        return await client.http.start_thread_with_message(
            int(key.channel),
            int(key.thread),
            name=_name(claim.questions[0]),
            auto_archive_duration=minutes,
        )

    scopes = w.at("thread", key.channel)
    await wire.ask(scopes, request, within=wire.waits.thread, priority=Priority.FIRST)


async def _is_there(wire: RestApi, claim: Claim) -> bool:
    """Whether the thread exists although its creation failed: an earlier attempt's, or this one."""
    thread = claim.conversation.key.thread
    if await appeared(wire, thread):
        return True
    if claim.fence.attempt == 1 and not claim.pages:
        return False
    try:
        await wire.ask(
            w.at("place", thread),
            lambda client: client.http.get_channel(int(thread)),
            within=wire.waits.thread,
            priority=Priority.FIRST,
        )
    except PlatformError:
        return False
    return True


def _name(question: Question) -> str:
    return question.route.get("title") or shortened(f"Conversation with {question.author.name}")
