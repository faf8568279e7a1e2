"""Requests outside channels with each fault, and failures of all requests.

The start, the list of commands, interactions, `doctor`, global limits, a revoked token, and reading
after a lost session.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.domain.errors import CannotStart
from bot.domain.health import Verdict
from bot.domain.inbox import CommandReply
from bot.domain.replies import Control, Shown
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.integration.test_discord_isolation import OF_THE_WHOLE_BOT, SCENARIOS
from tests.sims.discord import constants as c
from tests.sims.discord.limits import Throttle
from tests.sims.discord.local import LocalDiscord
from tests.sims.kit import Fault
from tests.support.discord_kit import (
    adapter_for,
    claim,
    frame,
    running,
    show,
    until,
    wait_received,
)
from tests.support.fake_inbox import FakeInbox
from tests.support.isolation_kit import (
    API,
    FAULTS,
    LONG,
    OF_THE_EDGE,
    SECONDS,
    UNLIMITED,
    WAITS,
    Rig,
    WarpClock,
    bot_on,
    limits,
)

AT_THE_START = {
    "GET /users/@me": r"/users/@me",
    "GET /oauth2/applications/@me": r"/oauth2/applications/@me",
    "GET /gateway/bot": r"/gateway/bot",
    "GET /applications/{app}/commands": r"/applications/\d+/commands",
    "PUT /applications/{app}/commands": r"/applications/\d+/commands",
}
OF_INTERACTIONS = {
    "POST /interactions/{id}/{token}/callback": r"/interactions/\d+/[^/]+/callback",
    "PATCH /webhooks/{app}/{token}/messages/{message}": r"/webhooks/\d+/[^/]+/messages/@original",
    "POST /webhooks/{app}/{token}": r"/webhooks/\d+/[^/]+",
}


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        await sim.set_limits(on=False, invalid=[10**6, 600.0])
        yield sim


def arm(sim: LocalDiscord, method: str, path: str, fields: Mapping[str, Any]) -> None:
    """Make one request fail until `disarm`."""
    scope = fields.get("scope")
    if scope is None:
        fault = Fault(pattern=f"{method} {API}{path}", times=UNLIMITED, **fields)
        sim.server.faults.append(fault)
    else:
        until_ = asyncio.get_running_loop().time() + LONG
        sim.server.limits.throttles.append(Throttle(f"{method} {path}", until_, scope))


def disarm(sim: LocalDiscord) -> None:
    sim.server.faults.clear()
    sim.server.limits.throttles.clear()


def clean(logs: list[Any]) -> bool:
    return not [x for x in logs if "exc_info" in x or "could not be handled" in x["event"]]


async def advance_until(clock: WarpClock, check: Any) -> Any:
    """Advance time until `check()` is true."""

    def ahead() -> Any:
        clock.jump(5.0)
        return check()

    return await until(ahead, SECONDS)


# ── the start ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("route", AT_THE_START)
async def test_a_faulty_start_succeeds_eventually(sim: LocalDiscord, route: str) -> None:
    """Events are handled once Discord accepts the login, and registering commands delays
    nothing."""
    for name in FAULTS:
        with capture_logs() as logs:
            await _start(sim, route, name)
        assert clean(logs), (name, logs)


async def _start(sim: LocalDiscord, route: str, name: str) -> None:
    registered = sim.server.application.registered
    registered.clear()
    method, path = route.partition(" ")[0], AT_THE_START[route]
    arm(sim, method, path, FAULTS[name])
    since = len(sim.server.record)
    inbox, clock = FakeInbox(), WarpClock()
    adapter = adapter_for(
        sim, clock=clock, timeouts=WAITS, rate_limiter=AccountRateLimiter(limits, clock)
    )
    task = asyncio.create_task(adapter.run(inbox))
    try:
        if (name, route) == ("401", "GET /users/@me"):
            with pytest.raises(CannotStart, match="DISCORD_TOKEN"):
                await asyncio.wait_for(task, SECONDS)
            return
        await until(lambda: _was_asked(sim, method, path, since), SECONDS)
        if "commands" in path:  # nothing waits for these
            await until(lambda: inbox.connections, SECONDS)
            await wait_received(inbox, await sim.mention(f"during {name}"))
        disarm(sim)
        await advance_until(clock, lambda: inbox.connections)
        await wait_received(inbox, await sim.mention(f"after {name}"))
        if "commands" in path and name not in ("403", "404"):
            await advance_until(clock, lambda: registered.get(0))
    finally:
        disarm(sim)
        task.cancel()
        with suppress(asyncio.CancelledError, CannotStart):
            await task


def _was_asked(sim: LocalDiscord, method: str, path: str, since: int) -> bool:
    made = sim.server.record[since:]
    return any(x.method == method and re.fullmatch(f"{API}{path}", x.path) for x in made)


# ── interactions ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("route", OF_INTERACTIONS)
async def test_a_press_counts_whatever_happens_to_the_responses(
    sim: LocalDiscord, route: str
) -> None:
    """The command runs once, others are answered, and the next interaction works as usual.

    Completing a name has no effect that could be lost.
    """
    method, path = route.partition(" ")[0], OF_INTERACTIONS[route]
    inbox = FakeInbox(answer=CommandReply("Done."))
    with capture_logs() as logs:
        async with running(sim, inbox, timeouts=WAITS) as adapter:
            registered = sim.server.application.registered
            await until(lambda: registered.get(0))
            question = await wait_received(inbox, await sim.mention("question"))
            surface = adapter.surface(claim(question))
            await surface.open()
            await show(surface, Shown(), frame("text", controls=(Control.STOP,)))
            await surface.close()
            [reply] = await sim.messages(int(question.message_id), author=c.BOT)
            custom_id = reply["components"][0]["components"][0]["custom_id"]
            for name, fields in FAULTS.items():
                inbox.commands.clear()
                arm(sim, method, path, fields)
                met = len(sim.server.record)
                await sim.click(c.BOB, reply["id"], custom_id)
                await sim.slash(c.ALICE, c.CHANNEL, "help")
                await sim.autocomplete(c.ALICE, c.CHANNEL, "model", "name", "de")
                await until(lambda: len(inbox.commands) == 2)
                await wait_received(inbox, await sim.mention(f"during {name}"))
                await until(partial(_was_asked, sim, method, path, met))
                disarm(sim)
            await sim.wait_idle(0.1)
            await sim.until(partial(_is_replied_to, sim))
            await sim.until(partial(_is_completed, sim))
    assert clean(logs), logs


# On a busy machine, one response may come too late: then people try again.
async def _is_replied_to(sim: LocalDiscord) -> bool:
    """Whether a command gets its reply."""
    asked = await sim.slash(c.ALICE, c.CHANNEL, "help")

    async def reply() -> Any:
        return (await sim.interaction(asked))["message"]

    message = await _soon(sim, reply)
    return message is not None and (await sim.message(message))["content"] == "Done."


async def _is_completed(sim: LocalDiscord) -> bool:
    """Whether a name gets its choices."""
    asked = await sim.autocomplete(c.ALICE, c.CHANNEL, "model", "name", "de")

    async def answers() -> Any:
        return (await sim.interaction(asked))["answers"]

    found = await _soon(sim, answers)
    return bool(found) and [one["value"] for one in found[0]["data"]["choices"]] == ["default"]


async def _soon(sim: LocalDiscord, check: Callable[[], Awaitable[Any]]) -> Any:
    """The result of `check` once it is true; None if that takes longer than a person waits."""
    with suppress(AssertionError):
        return await sim.until(check, 10.0)


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
async def test_doctor_reports_any_fault_in_a_sentence(
    sim: LocalDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.discord.doctor.CHECK_SECONDS", 0.5)
    for name, fields in FAULTS.items():
        disarm(sim)
        arm(sim, "GET", "/users/@me/guilds", fields)
        findings = {f.subject: f for f in await adapter_for(sim, timeouts=WAITS).check()}
        assert findings["Discord token"].verdict is Verdict.OK, name
        told = [f for subject, f in findings.items() if subject.startswith("Discord guild")]
        assert told or name == "fields missing", name


# ── everything ────────────────────────────────────────────────────────────────────────────────
async def test_a_global_limit_stops_all_requests_for_its_duration(
    sim: LocalDiscord, tmp_path: Path
) -> None:
    """Nothing is lost, and commands, which the limit does not cover, still get replies."""
    async with bot_on(sim, tmp_path) as rig:
        registered = sim.server.application.registered
        await until(lambda: registered.get(0))
        channel = await sim.add_channel("busy")
        end = rig.arm(rf"POST /channels/{channel}/messages/\d+/threads", {"scope": "global"})
        first = await sim.mention("hello", channel=channel)
        await until(lambda: rig.rate_limiter.delay("global") > LONG / 2)
        other = await sim.mention("hello", channel=c.CHANNEL)
        interaction = await sim.slash(c.ALICE, c.CHANNEL, "help")

        async def response_to() -> bool:
            """The response to an interaction, once it arrives."""
            return (await sim.interaction(interaction))["message"] is not None

        await sim.until(response_to)
        end()
        both = asyncio.gather(rig.whole(first, channel), rig.whole(other, c.CHANNEL))
        await rig.pass_time(both)
        await both
    rig.assert_clean()


async def test_a_revoked_token_ends_the_adapter_with_advice(
    sim: LocalDiscord, tmp_path: Path
) -> None:
    """Health is not ok, and hardly any more requests are sent."""
    inbox = FakeInbox()
    adapter = adapter_for(sim, timeouts=WAITS)
    task = asyncio.create_task(adapter.run(inbox))
    await until(lambda: inbox.connections)
    question = await wait_received(inbox, await sim.mention("question"))
    arm(sim, r"(GET|POST|PATCH|PUT|DELETE)", ".*", FAULTS["401"])
    surface = adapter.surface(claim(question))
    await surface.open()
    with pytest.raises(CannotStart, match="DISCORD_TOKEN"):
        await asyncio.wait_for(task, SECONDS)
    assert not adapter.health().ok
    await surface.close()
    refused = sum(entry.status == 401 for entry in sim.server.record)
    assert refused <= 5


# ── after a session was lost ──────────────────────────────────────────────────────────────────
async def test_faults_of_the_backfill_affect_single_channels(
    sim: LocalDiscord, tmp_path: Path
) -> None:
    """Each history and each list of archived threads affects only that channel and is retried."""
    async with bot_on(sim, tmp_path) as rig:
        active, archived = {}, {}
        for name in FAULTS:
            channel = await sim.add_channel("busy")
            threads = [
                await sim.start_thread(c.ALICE, await sim.say(channel=channel, content="x"), "t")
                for _ in range(3)
            ]
            active[name], archived[name] = threads[0], (channel, threads[1:])
            for thread in threads:
                await sim.mention("hello", channel=thread)
        await asyncio.gather(*(rig.whole(t) for t in active.values()))
        await asyncio.gather(*(rig.whole(t) for _, ts in archived.values() for t in ts))
        await sim.wait_idle(0.2)
        await sim.offline()
        for name, fields in FAULTS.items():
            channel, threads = archived[name]
            for thread in (active[name], *threads):
                await sim.say(channel=thread, content="said in between")
            for thread in threads:
                await sim.archive(thread)
            rig.arm(f"GET /channels/{active[name]}/messages", fields)
            if name not in OF_THE_EDGE:
                rig.arm(f"GET /channels/{channel}/threads/archived/public", fields)
        await sim.online()
        reads = asyncio.ensure_future(_all_met(rig, [*active.values()]))
        await rig.pass_time(reads)
        await rig.bystander()
        disarm(sim)
        refused = ("403", "404")  # skipped for good: a place that may not be read
        unreadable = (*refused, "author missing", "type of another type")  # affects only itself
        wanted = [t for name, t in active.items() if name not in unreadable]
        wanted += [t for name, (_, ts) in archived.items() if name not in refused for t in ts]
        everything = asyncio.gather(*(_wait_answered_twice(rig, thread) for thread in wanted))
        await rig.pass_time(everything)
        await everything
    rig.assert_clean()


async def _all_met(rig: Rig, threads: list[int]) -> None:
    paths = {f"{API}/channels/{thread}/messages" for thread in threads}

    def asked() -> bool:
        return paths <= {x.path for x in rig.sim.server.record if x.method == "GET"}

    await until(asked, SECONDS)


async def _wait_answered_twice(rig: Rig, thread: int) -> None:
    async def there() -> bool:
        return "said in between" in await rig.visible_texts(thread)

    await rig.sim.until(there, SECONDS)


# ── the table ─────────────────────────────────────────────────────────────────────────────────
READ_AFTER_A_LOSS = "GET /channels/{channel}/threads/archived/public"
OF_DOCTOR = "GET /users/@me/guilds"


def test_every_request_has_its_row_in_the_documentation() -> None:
    """Every row is also covered by this module."""
    page = Path("docs/isolation-discord.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    played = {*SCENARIOS, *AT_THE_START, *OF_INTERACTIONS, READ_AFTER_A_LOSS, OF_DOCTOR}
    assert rows == played
    assert {*AT_THE_START, *OF_INTERACTIONS} == OF_THE_WHOLE_BOT
