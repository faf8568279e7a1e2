"""Socket Mode of the simulated Slack: connections, acknowledgements and redeliveries."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sims.slack import (
    ALICE,
    APP_TOKEN,
    DM_ALICE,
)
from tests.sims.slack.local import LocalSlack, RawSocket


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        await running.delivery(retry_scale=0.001)
        yield running


@pytest.fixture
async def socket(sim: LocalSlack) -> AsyncIterator[RawSocket]:
    async with sim.socket() as connected:
        yield connected


# ── Socket Mode ───────────────────────────────────────────────────────────────────────────────
async def test_an_unacknowledged_event_is_redelivered(sim: LocalSlack, socket: RawSocket) -> None:
    """Four attempts with the same event_id in numbered envelopes; then it is lost."""
    await sim.delivery(ack_seconds=0.1)
    ts = await sim.say(ALICE, DM_ALICE, "hello")
    frames = [await socket.next() for _ in range(4)]
    assert [frame["retry_attempt"] for frame in frames] == [0, 1, 2, 3]
    assert [frame["retry_reason"] for frame in frames] == ["", "timeout", "timeout", "timeout"]
    assert len({frame["payload"]["event_id"] for frame in frames}) == 1
    assert len({frame["envelope_id"] for frame in frames}) == 4

    async def find_lost() -> list[dict[str, Any]]:
        return list((await sim.state())["lost"])

    assert [payload["event"]["ts"] for payload in await sim.until(find_lost)] == [ts]


async def test_an_acknowledged_event_is_not_redelivered(sim: LocalSlack, socket: RawSocket) -> None:
    """Acknowledging a retry is enough."""
    await sim.delivery(ack_seconds=0.1)
    await sim.say(ALICE, DM_ALICE, "hello")
    await socket.next()
    await socket.ack(await socket.next())
    with pytest.raises(TimeoutError):
        await socket.next(0.3)
    assert [d["attempt"] for d in await sim.deliveries()] == [0, 1]
    assert (await sim.state())["lost"] == []


async def test_a_late_or_unknown_acknowledgement_has_no_effect(
    sim: LocalSlack, socket: RawSocket
) -> None:
    """The simulator records the acknowledgement and redelivers the event."""
    await sim.delivery(ack_seconds=0.1)
    await sim.say(ALICE, DM_ALICE, "hello")
    first = await socket.next()
    second = await socket.next()
    await socket.ack(first)
    await socket.ws.send_str("not JSON")
    assert (await socket.next())["retry_attempt"] == 2
    assert len((await sim.state())["unknown_acks"]) == 2
    assert second["retry_attempt"] == 1


async def test_events_are_spread_over_connections(sim: LocalSlack) -> None:
    """Each event goes to one connection."""
    async with sim.socket() as one, sim.socket() as two:
        for number in range(4):
            await sim.say(ALICE, DM_ALICE, str(number))
        for socket in (one, two):
            for _ in range(2):
                await socket.ack(await socket.next())

        async def has_acknowledgement() -> bool:
            return [link["acks"] for link in (await sim.state())["connections"]] == [2, 2]

        await sim.until(has_acknowledgement)


async def test_an_eleventh_connection_is_closed(sim: LocalSlack) -> None:
    """The connection is closed after a disconnect frame with the reason."""
    opened = [sim.socket() for _ in range(10)]
    for context in opened:
        await context.__aenter__()
    with pytest.raises(AssertionError, match="too_many_websockets"):
        await sim.socket().__aenter__()
    for context in opened:
        await context.__aexit__(None, None, None)


async def test_a_ticket_opens_one_connection(sim: LocalSlack) -> None:
    """A used ticket and an unknown one are refused."""
    url = (await sim.api("apps.connections.open", token=APP_TOKEN)).body["url"]
    async with sim._session.ws_connect(url):
        pass
    again, _, _ = await sim.get(url.replace("ws://", "http://"))
    assert again == 403


async def test_disconnect_frames_end_a_connection(sim: LocalSlack, socket: RawSocket) -> None:
    """A warning changes nothing; after refresh_requested, no events arrive and the connection
    closes."""
    assert await sim.disconnect("warning") == 1
    assert (await socket.next())["reason"] == "warning"
    await sim.say(ALICE, DM_ALICE, "still here")
    await socket.ack(await socket.next())
    await sim.disconnect("refresh_requested", grace=0.2)
    assert (await socket.next())["reason"] == "refresh_requested"
    async with sim.socket() as other:
        await sim.say(ALICE, DM_ALICE, "moved")
        assert (await other.next())["payload"]["event"]["text"] == "moved"
    assert (await socket.next())["type"] == "closed"


async def test_events_during_an_outage_arrive_through_retries(sim: LocalSlack) -> None:
    """An event is lost if the connection returns after its last retry."""
    await sim.offline()
    await sim.say(ALICE, DM_ALICE, "lost")

    async def find_lost() -> bool:
        return len((await sim.state())["lost"]) == 1

    await sim.until(find_lost)
    await sim.delivery(retry_scale=0.01)  # the second retry after 0.6 s
    await sim.say(ALICE, DM_ALICE, "kept")
    await sim.online()
    async with sim.socket() as socket:
        frame = await socket.next()
    assert frame["payload"]["event"]["text"] == "kept"
    assert (frame["retry_attempt"], frame["retry_reason"]) == (2, "connection_failed")


async def test_an_aborted_connection_sends_no_frame(sim: LocalSlack, socket: RawSocket) -> None:
    """The client has to notice the closed connection itself."""
    assert await sim.drop() == 1
    assert (await socket.next())["type"] == "closed"
