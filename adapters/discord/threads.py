"""Threads for replies: created within a few seconds, or replaced by a chain of replies in the
channel.

A thread has the id of its starter message, so a conversation has the same key in its thread and in
a reply chain: messages in either belong to it. A thread that appears late is used if its reply has
not begun, and deleted otherwise.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import discord
import structlog

from adapters.discord.errors import NO_PLACE, THREAD_EXISTS
from adapters.discord.payloads import read_id
from adapters.discord.rest import RestApi, request_scopes
from adapters.discord.text import shorten_thread_name
from bot.domain.conversations import Conversation
from bot.domain.errors import Gone, PlatformError, Throttled, Unsettled
from bot.domain.leftovers import Leftover, LeftoverKind
from bot.domain.replies import Priority
from bot.domain.turns import Claim, Question

log = structlog.stdlib.get_logger(__name__)

LATE_SECONDS = 60.0
"""How late a thread may appear when Discord did not respond to its creation: Discord's requests end
sooner."""

ARCHIVE_MINUTES: Literal[1440] = 1440  # if the channel has no default


async def ensure_thread(rest: RestApi, claim: Claim) -> bool:
    """Create the reply's thread if needed; returns False if that fails within a few seconds.

    Raises Gone if the question's channel or message no longer exists. If an earlier attempt may
    have posted in the thread, an error from looking it up is raised too.
    """
    thread = claim.conversation.key.thread
    rest.abandoned_threads.pop(thread, None)  # by an earlier attempt, which posted nothing
    if any(page.channel == thread for page in claim.pages):
        return True  # an earlier attempt posted there
    try:
        await _create(rest, claim)
    except PlatformError as error:
        code = error.code
        if code == THREAD_EXISTS:
            return True
        if isinstance(error, Gone) and code in NO_PLACE:
            raise
        if await _exists(rest, claim):
            return True
        log.info("cannot create a thread, replying in the channel", error=str(error))
        return False
    return True


async def is_cached(rest: RestApi, thread: str) -> bool:
    """Whether the gateway has announced a thread, even if its creation had no response."""
    return isinstance((await rest.client()).get_channel(int(thread)), discord.Thread)


async def abandon_thread(rest: RestApi, conversation: Conversation) -> None:
    """Keep the reply in the channel: delete its thread now, or when it appears."""
    key, thread = conversation.key, conversation.key.thread
    rest.abandoned_threads[thread] = True
    leftover = Leftover(conversation.id, LeftoverKind.THREAD, key.channel, thread)
    await rest.leftovers.record(leftover)
    if rest.holds(key.workspace):
        cached = (await rest.client()).get_channel(int(thread))
        if isinstance(cached, discord.Thread):
            remove_late_thread(rest, cached)
    if not rest.background.add(
        f"looking for the late thread {thread}", partial(_look, rest, leftover, key.workspace)
    ):
        rest.leftovers.release(leftover)


def remove_late_thread(rest: RestApi, thread: discord.Thread) -> None:
    """Delete a new thread of the bot whose reply has already begun in the channel.

    The bot may lack the permission for this. Then the thread stays, and messages in it belong to
    the same conversation.
    """
    me = thread.guild.me
    if me is None or str(thread.id) not in rest.abandoned_threads or thread.owner_id != me.id:
        return
    if not thread.permissions_for(me).manage_threads:
        log.info("no permission to delete a thread that came too late", thread=thread.id)
        return
    _delete(rest, str(thread.id))


def _delete(rest: RestApi, thread: str) -> None:
    rest.own_deletions[thread] = True
    rest.background.add(
        f"removing the late thread {thread}",
        lambda: rest.request(
            request_scopes("delete-channel", thread), lambda c: c.http.delete_channel(int(thread))
        ),
    )


async def _look(rest: RestApi, leftover: Leftover, guild: str) -> None:
    """Forget an abandoned thread that has not appeared for a while; otherwise record it in
    `leftovers`."""
    await rest.clock.sleep(LATE_SECONDS)
    # Without the guild's shard, another process got the event of a late thread.
    if rest.holds(guild) and not await is_cached(rest, leftover.name):
        await rest.leftovers.settle(leftover)
    else:
        rest.leftovers.release(leftover)


async def delete_left(rest: RestApi, leftover: Leftover) -> None:
    """Delete an abandoned thread if it exists, the bot created it, and it contains no messages by
    others.

    Raises a PlatformError.
    """
    thread = leftover.name
    try:
        raw: object = await rest.request(
            request_scopes("get-channel", thread),
            lambda client: client.http.get_channel(int(thread)),
            priority=Priority.BACKGROUND,
        )
    except Gone:
        return
    me = (await rest.client()).user
    is_empty = isinstance(raw, dict) and raw.get("message_count") == 0
    if me is None or read_id(raw, "owner_id") != me.id or not is_empty:
        return
    rest.own_deletions[thread] = True
    await rest.request(
        request_scopes("delete-channel", thread),
        lambda client: client.http.delete_channel(int(thread)),
        priority=Priority.BACKGROUND,
    )


async def _create(rest: RestApi, claim: Claim) -> None:
    key = claim.conversation.key

    async def start_thread(client: discord.Client) -> object:
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

    scopes, seconds = request_scopes("thread", key.channel), rest.timeouts.thread
    await rest.request(scopes, start_thread, within=seconds, priority=Priority.FIRST)


async def _exists(rest: RestApi, claim: Claim) -> bool:
    """Whether the thread exists despite the failure, perhaps from an earlier attempt."""
    thread = claim.conversation.key.thread
    if await is_cached(rest, thread):
        return True
    is_announced = rest.holds(claim.conversation.key.workspace)
    if is_announced and claim.fence.attempt == 1 and not claim.pages:
        return False
    try:
        await rest.request(
            request_scopes("get-channel", thread),
            lambda client: client.http.get_channel(int(thread)),
            within=rest.timeouts.thread,
            priority=Priority.FIRST,
        )
    except PlatformError as error:
        # A reply in the channel would be a duplicate if an earlier attempt posted in the thread.
        if claim.pages and isinstance(error, Throttled | Unsettled):
            raise
        return False
    return True


def _name(question: Question) -> str:
    fallback = f"Conversation with {question.author.name}"
    return question.route.get("title") or shorten_thread_name(fallback)
