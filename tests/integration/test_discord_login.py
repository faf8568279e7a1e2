"""Discord's odd answers while the bot logs in and begins a session do not keep it away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.domain.errors import CannotStart
from tests.sims.discord.local import LocalDiscord
from tests.support.clock import NoWaiting
from tests.support.discord_kit import adapter_for, running, until, wait_received
from tests.support.fake_inbox import FakeInbox


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        yield sim


async def test_a_valid_token_that_the_gateway_refuses_is_tried_again(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Reports of outages name close code 4004: only a login tells whether the token is refused."""
    async with running(sim, inbox, clock=NoWaiting()) as adapter:
        await sim.disconnect(4004)
        missed = await sim.mention("while it logs in again")
        await wait_received(inbox, missed)
        await until(lambda: adapter.health().ok and inbox.connections == 2)


async def test_a_gateway_that_always_refuses_the_token_stops_the_adapter(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    await sim.refuse_shard(0, 4004)
    with pytest.raises(CannotStart, match="no longer accepts"):
        await adapter_for(sim, clock=NoWaiting()).run(inbox)
    assert len(await sim.requests("GET /api/v10/users/@me")) <= 5


LOGIN_FIELDS = {
    "/users/@me": ("username", "discriminator", "avatar", "global_name", "bot", "flags"),
    "/oauth2/applications/@me": (
        *("name", "description", "icon", "bot_public", "bot_require_code_grant", "owner", "team"),
        *("verify_key", "flags", "interactions_endpoint_url"),
    ),
}


@pytest.mark.parametrize("path", LOGIN_FIELDS)
async def test_an_incomplete_response_to_the_login_is_enough(sim: LocalDiscord, path: str) -> None:
    """discord.py needs many fields that the bot does not; one new API version would end them."""
    fields = LOGIN_FIELDS[path]
    faults: list[dict[str, Any]] = [{"remove": [*fields]}]
    faults += [{"put": {name: value}} for name in fields for value in (None, 7, [{}])]
    for fault in faults:
        await sim.call("clear")
        await sim.call("fault", match=f"GET /api/v10{path}", times=100, **fault)
        inbox = FakeInbox()
        async with running(sim, inbox, clock=NoWaiting()) as adapter:
            assert adapter.health().ok, fault
            assert inbox.connections == 1


@pytest.mark.parametrize("field", ["remaining", "total", "reset_after", "max_concurrency", ""])
async def test_unreadable_session_limits_do_not_stop_the_start(
    sim: LocalDiscord, field: str
) -> None:
    """A number of sessions that cannot be read is not zero."""
    for value in (None, "990", -1, {}):
        put = {f"session_start_limit.{field}".rstrip("."): value}
        await sim.call("clear")
        await sim.call("fault", match="GET /api/v10/gateway/bot", times=100, put=put)
        async with running(sim, FakeInbox(), clock=NoWaiting()) as adapter:
            assert adapter.health().ok
