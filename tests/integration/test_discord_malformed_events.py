"""Malformed gateway events, sent to the real client over a socket, affect only themselves."""

from __future__ import annotations

import asyncio
import base64
import gc
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.common.clock import SystemClock
from bot.common.retry import Backoff
from bot.domain.inbox import Address
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.fixtures.discord_payloads import DISPATCHES
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import running, until, wait_received
from tests.support.fake_inbox import FakeInbox
from tests.support.mutations import changed

SHARE = 800  # changed dispatches sent over one connection
BATCH = 100
LEFT_OUT = {"READY", "RESUMED", "GUILD_DELETE"}  # each has a separate test


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    unlimited = AccountRateLimiter(lambda scope: None, SystemClock())
    async with running(sim, inbox, rate_limiter=unlimited) as adapter:
        yield adapter


async def assert_others_are_received(sim: DiscordSim, inbox: FakeInbox) -> None:
    """Messages of two people in two channels still arrive."""
    for user, channel in ((c.BOB, c.CHANNEL), (c.CAROL, c.CHANNEL_2)):
        got = await wait_received(
            inbox, await sim.mention("still there?", user=user, channel=channel)
        )
        assert (got.address, got.text) == (Address.MENTION, "still there?")


async def test_thousands_of_malformed_events_affect_only_themselves(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """A random sample of the unit test's mutations; the seed is printed."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    await sim.call("set_limits", on=False)
    every = [
        (name, mutated)
        for name, data in DISPATCHES.values()
        if name not in LEFT_OUT
        for _, mutated in changed(data)
    ]
    chosen = random.Random(seed).sample(every, SHARE)
    for start in range(0, SHARE, BATCH):
        await sim.call("dispatch_all", events=chosen[start : start + BATCH])
    await assert_others_are_received(sim, inbox)
    assert adapter.health().ok and inbox.connections == 1
    gc.collect()  # asyncio logs a task's exception when the task is collected
    assert raised == []


@contextmanager
def case(of: object) -> Iterator[None]:
    """Names the mutation in an error."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the case {of!r}")
        raise


BROKEN_QUESTIONS: list[dict[str, Any]] = [
    *({"remove": [f"d.{key}"]} for key in ("author", "content", "type", "mentions", "id")),
    *({"put": {f"d.{key}": None}} for key in ("author", "content", "type", "mentions", "id")),
    {"put": {"d.author": "alice"}},
    {"put": {"d.type": "0"}},
    {"put": {"d.guild_id": []}},
    {"remove": ["d.guild_id"]},
    {"put": {"d.attachments": None, "d.embeds": 7, "d.components": {}}},
    {"put": {"s": "x"}},
    {"put": {"op": None}},
]


async def test_a_question_in_a_malformed_event_is_still_received(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    for broken in BROKEN_QUESTIONS:
        with case(broken):
            await sim.call("fault_event", name="MESSAGE_CREATE", **broken)
            message = await sim.mention("what is this?")
            got = await wait_received(inbox, message)
            assert (got.text, got.address) == ("what is this?", Address.MENTION)
            assert got.key.thread == str(message)
    await assert_others_are_received(sim, inbox)
    ids = [message.message_id for message in inbox.received]
    assert len(ids) == len(set(ids))


async def test_an_edit_without_a_type_is_an_edit(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("first")
    await sim.call("fault_event", name="MESSAGE_UPDATE", remove=["d.type", "d.author"])
    await sim.edit(message, f"<@{c.BOT}> second")
    await until(lambda: inbox.edits)
    assert [edit.text for edit, _ in inbox.edits] == ["second"]


FRAMES = [
    *("", "not JSON", "[]", "null", "7", '"x"', "{}", "[" * 5_000),
    *('{"op": 99}', '{"op": "x", "d": {}}', '{"op": 11, "d": []}', '{"op": 1, "d": null}'),
    *('{"op": 0, "t": [], "d": 1}', '{"op": 0, "t": {}}', '{"op": 0, "t": "X"}'),
    '{"op": 0, "t": "RESUMED", "d": null}',
]


async def test_an_invalid_frame_is_dropped(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    for frame in FRAMES:
        with case(frame):
            await sim.call("frame", text=frame)
            await assert_others_are_received(sim, inbox)
    assert inbox.connections == 1


async def test_a_stream_that_cannot_be_decompressed_is_restarted(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    garbage = b"garbage" + b"\x00\x00\xff\xff"
    await sim.call("frame", data=base64.b64encode(garbage).decode())
    await sim.mention("while it connects again")
    await until(lambda: inbox.find("while it connects again"))
    await assert_others_are_received(sim, inbox)


async def test_any_nonfatal_close_code_leads_to_a_reconnect(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    for code in (1000, 1001, 3000, 4000, 4002, 4999):
        with case(code):
            await sim.disconnect(code)
            await wait_received(inbox, await sim.mention("while away"))
    await assert_others_are_received(sim, inbox)


async def test_an_unreachable_resume_url_is_abandoned(sim: DiscordSim, inbox: FakeInbox) -> None:
    """The session is resumed at Discord's default gateway."""
    dead = "ws://127.0.0.1:1/"
    await sim.call("fault_event", name="READY", put={"d.resume_gateway_url": dead})
    async with running(sim, inbox) as adapter:
        await assert_others_are_received(sim, inbox)
        await sim.disconnect("op7")
        await wait_received(inbox, await sim.mention("while it connects again"))
        await assert_others_are_received(sim, inbox)
        assert adapter.health().ok
    assert inbox.connections == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses before connecting again."""
    monkeypatch.setattr("adapters.discord.gateway.RECONNECT_BACKOFF", Backoff(0.01, 0.01))
    monkeypatch.setattr("adapters.discord.gateway.INVALID_SESSION_SECONDS", (0.0, 0.0))
    monkeypatch.setattr("adapters.discord.session_starts.IDENTIFY_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
async def test_a_session_that_cannot_be_resumed_is_replaced(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Discord refuses to resume in several ways; reports name each, for minutes or forever."""
    for begun, how in enumerate((4003, 4007, 4009, 1000, "invalid_session", "reset"), 1):
        with case(how):
            await sim.refuse_resumes(how)
            await sim.disconnect("op7")
            await wait_received(inbox, await sim.mention("while it connects again"))
            await until(lambda: inbox.connections == begun + 1)  # noqa: B023 - awaited here
            # A session that Discord resumes is kept.
            await sim.refuse_resumes()
            await sim.disconnect("op7")
            await wait_received(inbox, await sim.mention("and again"))
            assert inbox.connections == begun + 1
    await assert_others_are_received(sim, inbox)
    assert adapter.health().ok


@pytest.mark.usefixtures("impatient")
async def test_a_sequence_that_discord_refuses_begins_a_new_session(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The last event before the interruption named it, so resuming would fail forever."""
    for sequence in (10**9, -7, "x"):
        with case(sequence):
            await sim.call("fault_event", name="ODD", put={"s": sequence})
            await sim.dispatch("ODD", {})
            await sim.wait_idle()
            await sim.disconnect("op7")
            await wait_received(inbox, await sim.mention("while it connects again"))
    await assert_others_are_received(sim, inbox)
    assert adapter.health().ok


@pytest.mark.usefixtures("impatient")
async def test_a_session_that_stays_silent_is_replaced(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discord acknowledges heartbeats, but sends neither RESUMED nor events."""
    monkeypatch.setattr("adapters.discord.gateway.CONNECT_SECONDS", 2.0)
    await sim.refuse_resumes("silence")
    await sim.disconnect("op7")
    missed = await sim.mention("while it connects again")

    async def is_received() -> bool:
        await sim.call("frame", text='{"op": 11}')  # an acknowledged heartbeat
        return inbox.find("while it connects again") is not None

    await sim.until(is_received)
    await wait_received(inbox, missed)
    await until(lambda: adapter.health().ok and inbox.connections == 2)


BROKEN_SESSIONS: list[dict[str, Any]] = [
    {"op": 10, "remove": ["d"]},
    {"op": 10, "put": {"d.heartbeat_interval": "soon"}},
    {"op": 10, "put": {"d.heartbeat_interval": 0}},
    {"op": 10, "put": {"d.heartbeat_interval": 1e300}},
    *({"name": "READY", "remove": [f"d.{key}"]} for key in DISPATCHES["ready"][1]),
    {"name": "READY", "put": {f"d.{key}": 7 for key in DISPATCHES["ready"][1]}},
    {"name": "READY", "put": {"d": None}},
    {"name": "READY", "remove": ["s"]},
    {"name": "READY", "remove": ["t"]},
    {"name": "READY", "put": {"d.resume_gateway_url": "not a url"}},
    {"name": "READY", "put": {"d.user.id": None}},
    *({"name": "GUILD_CREATE", "remove": [f"d.{key}"]} for key in ("id", "channels", "members")),
    *({"name": "GUILD_CREATE", "put": {f"d.{key}": "x"}} for key in ("channels", "roles", "id")),
    {"name": "GUILD_CREATE", "put": {"d": None}},
]


async def test_a_session_begins_without_fields_of_ready(sim: DiscordSim, inbox: FakeInbox) -> None:
    for broken in BROKEN_SESSIONS:
        with case(broken):
            await sim.call("fault_event", **broken)
            async with running(sim, inbox) as adapter:
                await assert_others_are_received(sim, inbox)
                assert adapter.health().ok
