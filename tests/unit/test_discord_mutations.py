"""Every gateway dispatch with every part of it dropped, null, of another type, or added to.

Nothing is raised, and the next message of another person is read as it should be.
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

from adapters.discord.adapter import intents
from adapters.discord.edits import is_spoken
from adapters.discord.events import Me, address_of, incoming, me_in, place_of, said
from adapters.discord.gateway import mended
from adapters.discord.history import READ_AT_ONCE, read_page
from adapters.discord.payload_fitting import Unfit
from adapters.discord.places import read_place
from adapters.discord.rest import RestApi
from adapters.discord.state import State
from bot.common.clock import SystemClock
from bot.domain.errors import PlatformError, Unsettled
from bot.domain.inbox import Address, Incoming
from bot.ports.inbox import Inbox
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.fixtures.discord_payloads import DISPATCHES
from tests.sims.discord import constants as c
from tests.support.mutations import changed


class Fed(discord.Client):
    """discord.py's client without a connection: it is fed, and remembers what it dispatched."""

    def __init__(self) -> None:
        super().__init__(
            intents=intents(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
        )
        self.dispatched: list[tuple[str, tuple[Any, ...]]] = []

    def _get_state(self, **options: Any) -> State:
        return State(
            dispatch=self.dispatch,
            handlers=self._handlers,
            hooks=self._hooks,
            http=self.http,
            **options,
        )

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Remember it."""
        self.dispatched.append((event, args))

    def feed(self, name: str, data: Any) -> list[tuple[str, tuple[Any, ...]]]:
        """One dispatch; what came of it."""
        self.dispatched.clear()
        parse = self._connection.parsers.get(name)
        if parse is not None:
            parse(data)
        return list(self.dispatched)

    def begin(self) -> None:
        """A session with its guild."""
        self.feed(*DISPATCHES["ready"])
        self.feed(*DISPATCHES["guild_create"])
        assert self._connection._ready_task is not None
        self._connection._ready_task.cancel()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tens of thousands of warnings cost more than what they warn of."""
    before = structlog.get_config()
    level = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=level, cache_logger_on_first_use=False)
    yield
    structlog.configure(**before)


@pytest.fixture
async def client() -> AsyncIterator[Fed]:
    client = Fed()
    client._connection.http._HTTPClient__session = None  # type: ignore[attr-defined]
    client.begin()
    yield client
    await client.close()
    await asyncio.sleep(0)


def wire_of(client: discord.Client) -> RestApi:
    """The way to REST, without a limit."""
    wire = RestApi(
        rate_limiter=AccountRateLimiter(lambda _scope: None, SystemClock()), clock=SystemClock()
    )
    wire.connect(client, cast(Inbox, None))
    return wire


def understood(message: discord.Message) -> Incoming | None:
    """What becomes of a message, up to the core; what is read of others' messages is read, too."""
    place = place_of(message.channel)
    if place is None:
        return None
    if not is_spoken(message):
        said(message, place, Me(c.BOT))
        return None
    me = me_in(message, c.BOT)
    address = address_of(message, place, me)
    return incoming(message, place, me, address) if address is not None else None


CHANGES_ITS_MEANING = {
    *("type", "webhook_id", "author.id", "author.bot", "mentions", "mentions.0", "mentions.0.id"),
    *("channel_id", "guild_id", "all", "mention_everyone"),
}
NEXT_EVERY = 10  # changes of a message between two looks at the next one


@pytest.mark.parametrize("name", DISPATCHES)
async def test_a_changed_dispatch_raises_nothing_and_costs_no_other_message(
    client: Fed, name: str
) -> None:
    """A person's message is taken in, or is to be read again."""
    event, data = DISPATCHES[name]
    asked = [understood(args[0]) for kind, args in client.feed(event, data) if kind == "message"]
    client.begin()
    for number, (change, mutated) in enumerate(changed(data)):
        dispatched = client.feed(event, mutated)
        kinds = ("message", "message_changed")
        got = [understood(args[0]) for kind, args in dispatched if kind in kinds]
        if any(asked) and got and change.split(" ")[0] not in CHANGES_ITS_MEANING:
            assert got[0] is not None and got[0].address is Address.MENTION, change
        if event == "MESSAGE_CREATE":
            assert got or dispatched[0][0] == "message_lost", change
        else:
            client.begin()  # what it says of the guild stays until the next session
        if event != "MESSAGE_CREATE" or number % NEXT_EVERY == 0:
            [(_, (after, *_))] = client.feed(*DISPATCHES["message_plain"])
            following = understood(after)
            assert following is not None, change
            assert (following.text, following.address) == ("what is this?", Address.MENTION)


async def test_a_session_begins_whatever_ready_says(client: Fed) -> None:
    event, data = DISPATCHES["ready"]
    for change, mutated in changed(data):
        kinds = [kind for kind, _ in client.feed(event, mutated)]
        assert kinds == ["connect"], change
        assert client.user is not None, change
        assert client.user.id == c.BOT or "user.id" in change, change
        if client._connection._ready_task is not None:
            client._connection._ready_task.cancel()


@pytest.mark.parametrize("name", ["ready", "resumed", "message_plain"])
def test_an_envelope_is_mended_or_refused(name: str) -> None:
    """What discord.py reads of an envelope without looking is there, of the right type."""
    event, data = DISPATCHES[name]
    envelope = {"op": 0, "t": event, "s": 7, "d": data}
    hello = {"op": 10, "t": None, "s": None, "d": {"heartbeat_interval": 41_250}}
    for whole in (envelope, hello):
        for _, mutated in changed(whole):
            try:
                found = mended(mutated, "ws://127.0.0.1:1/")
            except Unfit:
                continue
            assert isinstance(found.get("s"), int | None)
            assert isinstance(found["t"], str | None)
            if found["op"] == 10:
                assert 50 <= found["d"]["heartbeat_interval"] <= 300_000
            if found["t"] == "READY":
                assert isinstance(found["d"]["session_id"], str)


# ── read through REST ─────────────────────────────────────────────────────────────────────────
async def test_a_message_that_cannot_be_read_costs_itself_not_its_page(
    client: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = DISPATCHES["message_plain"][1]
    channel, wire = client.get_partial_messageable(c.CHANNEL), wire_of(client)
    for broken in (None, 7, [], {}, {**good, "author": None}, {**good, "id": "x"}):
        page = [{**good, "id": "3"}, *[broken] * (READ_AT_ONCE - 2), {**good, "id": "1"}]

        async def logs_from(*_: Any, page: list[Any] = page, **__: Any) -> list[Any]:
            return page

        monkeypatch.setattr(client.http, "logs_from", logs_from)
        told = await read_page(wire, channel, c.CHANNEL)
        assert [message.id for message in told.messages] == [1, 3]
        assert told.full


@pytest.mark.parametrize("name", ["channel_update", "thread_update"])
async def test_a_place_is_read_whatever_its_channel_lacks(
    client: Fed, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data, wire = DISPATCHES[name][1], wire_of(client)
    for change, mutated in changed(data):

        async def get_channel(_: int, mutated: Any = mutated) -> Any:
            return mutated

        monkeypatch.setattr(client.http, "get_channel", get_channel)
        place = None
        with suppress(PlatformError):  # then it is asked for again
            place = await read_place(wire, int(data["id"]))
        if place is not None and change.partition(" ")[0] not in ("id", "guild_id", "parent_id"):
            assert (place.own, place.guild) == (data["id"], data["guild_id"]), change


@pytest.mark.parametrize("name", ["channel_update", "thread_update"])
@pytest.mark.parametrize("guild", [c.GUILD, 5])
async def test_a_place_of_an_unknown_type_is_asked_for_again(
    client: Fed, monkeypatch: pytest.MonkeyPatch, name: str, guild: int
) -> None:
    """A thread taken for a channel would be another conversation; 3 is a group, 16 media."""
    data, wire = {**DISPATCHES[name][1], "guild_id": str(guild)}, wire_of(client)
    answer: dict[str, Any] = {}

    async def get_channel(_: int) -> Any:
        return answer

    monkeypatch.setattr(client.http, "get_channel", get_channel)
    for kind in (None, "11", True, -1):
        answer = {**data, "type": kind}
        with pytest.raises(Unsettled):
            await read_place(wire, int(data["id"]))
    for kind in (3, 16, 99):
        answer = {**data, "type": kind}
        assert await read_place(wire, int(data["id"])) is None
    answer = {"id": data["id"], "type": 3}
    assert await read_place(wire, int(data["id"])) is None
