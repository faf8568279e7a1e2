"""Every gateway event with each part dropped, null, of another type, or added to.

No parser raises, and another person's next message is still read correctly.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, cast

import discord
import pytest
import structlog

from adapters.discord.channels import channel_context, fetch_channel_context
from adapters.discord.events import (
    BotIdentity,
    address_of,
    bot_identity,
    is_from_person,
    message_text,
    to_incoming,
)
from adapters.discord.gateway_socket import repair_envelope
from adapters.discord.history import PAGE_SIZE, read_page
from adapters.discord.payload_validation import InvalidPayload
from adapters.discord.rest import RestApi
from bot.common.clock import SystemClock
from bot.domain.errors import PlatformError, Unsettled
from bot.domain.inbox import Address, Incoming
from bot.ports.inbox import Inbox
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.fixtures.discord_payloads import DISPATCHES
from tests.sims.discord import constants as c
from tests.support.discord_offline import OfflineClient
from tests.support.mutations import changed


def begin(client: OfflineClient) -> None:
    client.begin(DISPATCHES["ready"][1], DISPATCHES["guild_create"][1])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Suppresses tens of thousands of warnings, which cost more time than the test."""
    before = structlog.get_config()
    level = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=level, cache_logger_on_first_use=False)
    yield
    structlog.configure(**before)


@pytest.fixture
async def client() -> AsyncIterator[OfflineClient]:
    client = OfflineClient()
    client._connection.http._HTTPClient__session = None  # type: ignore[attr-defined]
    begin(client)
    yield client
    await client.close()
    await asyncio.sleep(0)


def rest_of(client: discord.Client) -> RestApi:
    """A REST API without rate limits."""
    rest = RestApi(
        rate_limiter=AccountRateLimiter(lambda _scope: None, SystemClock()), clock=SystemClock()
    )
    rest.connect(client, cast(Inbox, None))
    return rest


def translate(message: discord.Message) -> Incoming | None:
    """Translate a message as the adapter does; a bot's message is only read for its text."""
    context = channel_context(message.channel)
    if context is None:
        return None
    if not is_from_person(message):
        message_text(message, context, BotIdentity(c.BOT))
        return None
    me = bot_identity(message, c.BOT)
    address = address_of(message, context, me)
    return to_incoming(message, context, me, address) if address is not None else None


CHANGES_ITS_MEANING = {
    *("type", "webhook_id", "author.id", "author.bot", "mentions", "mentions.0", "mentions.0.id"),
    *("channel_id", "guild_id", "all", "mention_everyone"),
}
NEXT_EVERY = 10  # message changes between two checks of the next message


@pytest.mark.parametrize("name", DISPATCHES)
async def test_a_malformed_event_raises_nothing_and_affects_no_other_message(
    client: OfflineClient, name: str
) -> None:
    """A person's message is either received or read again."""
    event, data = DISPATCHES[name]
    asked = [translate(args[0]) for kind, args in client.feed(event, data) if kind == "message"]
    begin(client)
    for number, (change, mutated) in enumerate(changed(data)):
        dispatched = client.feed(event, mutated)
        kinds = ("message", "message_edited")
        got = [translate(args[0]) for kind, args in dispatched if kind in kinds]
        if any(asked) and got and change.split(" ")[0] not in CHANGES_ITS_MEANING:
            assert got[0] is not None and got[0].address is Address.MENTION, change
        if event == "MESSAGE_CREATE":
            assert got or dispatched[0][0] == "message_unreadable", change
        else:
            begin(client)  # what it says about the guild stays until the next session
        if event != "MESSAGE_CREATE" or number % NEXT_EVERY == 0:
            [(_, (after, *_))] = client.feed(*DISPATCHES["message_plain"])
            following = translate(after)
            assert following is not None, change
            assert (following.text, following.address) == ("what is this?", Address.MENTION)


async def test_a_session_begins_with_any_ready(client: OfflineClient) -> None:
    event, data = DISPATCHES["ready"]
    for change, mutated in changed(data):
        kinds = [kind for kind, _ in client.feed(event, mutated)]
        assert [kind for kind in kinds if kind != "connect"] == ["shard_connect"], change
        assert client.user is not None, change
        assert client.user.id == c.BOT or "user.id" in change, change
        if client._connection._ready_task is not None:
            client._connection._ready_task.cancel()


@pytest.mark.parametrize("name", ["ready", "resumed", "message_plain"])
def test_an_envelope_is_repaired_or_refused(name: str) -> None:
    """Every field that discord.py reads without a check has the right type."""
    event, data = DISPATCHES[name]
    envelope = {"op": 0, "t": event, "s": 7, "d": data}
    hello = {"op": 10, "t": None, "s": None, "d": {"heartbeat_interval": 41_250}}
    for whole in (envelope, hello):
        for _, mutated in changed(whole):
            try:
                found = repair_envelope(mutated, "ws://127.0.0.1:1/")
            except InvalidPayload:
                continue
            assert isinstance(found.get("s"), int | None)
            assert isinstance(found["t"], str | None)
            if found["op"] == 10:
                assert 50 <= found["d"]["heartbeat_interval"] <= 300_000
            if found["t"] == "READY":
                assert isinstance(found["d"]["session_id"], str)


# ── read through REST ─────────────────────────────────────────────────────────────────────────
async def test_an_unreadable_message_is_omitted_from_its_page(
    client: OfflineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = DISPATCHES["message_plain"][1]
    channel, rest = client.get_partial_messageable(c.CHANNEL), rest_of(client)
    for broken in (None, 7, [], {}, {**good, "author": None}, {**good, "id": "x"}):
        page = [{**good, "id": "3"}, *[broken] * (PAGE_SIZE - 2), {**good, "id": "1"}]

        async def logs_from(*_: Any, page: list[Any] = page, **__: Any) -> list[Any]:
            return page

        monkeypatch.setattr(client.http, "logs_from", logs_from)
        told = await read_page(rest, channel, c.CHANNEL)
        assert [message.id for message in told.messages] == [1, 3]
        assert told.full


@pytest.mark.parametrize("name", ["channel_update", "thread_update"])
async def test_a_channel_is_fetched_whatever_fields_it_lacks(
    client: OfflineClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data, rest = DISPATCHES[name][1], rest_of(client)
    for change, mutated in changed(data):

        async def get_channel(_: int, mutated: Any = mutated) -> Any:
            return mutated

        monkeypatch.setattr(client.http, "get_channel", get_channel)
        context = None
        with suppress(PlatformError):  # then it is asked for again
            context = await fetch_channel_context(rest, int(data["id"]))
        if context is not None and change.partition(" ")[0] not in ("id", "guild_id", "parent_id"):
            assert (context.id, context.guild) == (data["id"], data["guild_id"]), change


@pytest.mark.parametrize("name", ["channel_update", "thread_update"])
@pytest.mark.parametrize("guild", [c.GUILD, 5])
async def test_a_channel_of_an_unknown_type_is_fetched_again(
    client: OfflineClient, monkeypatch: pytest.MonkeyPatch, name: str, guild: int
) -> None:
    """A thread taken for a channel would become another conversation. Type 3 is a group, 16
    media."""
    data, rest = {**DISPATCHES[name][1], "guild_id": str(guild)}, rest_of(client)
    answer: dict[str, Any] = {}

    async def get_channel(_: int) -> Any:
        return answer

    monkeypatch.setattr(client.http, "get_channel", get_channel)
    for kind in (None, "11", True, -1):
        answer = {**data, "type": kind}
        with pytest.raises(Unsettled):
            await fetch_channel_context(rest, int(data["id"]))
    for kind in (3, 16, 99):
        answer = {**data, "type": kind}
        assert await fetch_channel_context(rest, int(data["id"])) is None
    answer = {"id": data["id"], "type": 3}
    assert await fetch_channel_context(rest, int(data["id"])) is None
