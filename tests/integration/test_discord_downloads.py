"""Downloads from the simulated CDN: signed URLs, refreshes, and everything that can go wrong."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.rest import Timeouts
from bot.common.clock import SystemClock
from bot.domain.attachments import Download, IncomingAttachment, Omission
from bot.domain.conversations import ConversationKey
from bot.domain.errors import AttachmentError
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.connect_proxy import connect_proxy
from tests.support.discord_kit import adapter_for, running, wait_received
from tests.support.fake_inbox import FakeInbox

KEY = ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), "1")
DATA = bytes(range(256)) * 40
LIMIT = 1_000_000
READS = "GET /api/v10/channels"


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        await sim.set_limits(on=False)
        yield sim


@pytest.fixture
async def adapter(sim: LocalDiscord, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    limiter = AccountRateLimiter(lambda scope: None, SystemClock())
    async with running(sim, inbox, rate_limiter=limiter) as adapter:
        yield adapter


def file(name: str = "a.bin", data: bytes = DATA, **more: Any) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    kind = "application/octet-stream"
    return {"filename": name, "content_type": kind, "base64": encoded, **more}


async def attach(
    sim: LocalDiscord, inbox: FakeInbox, *files: dict[str, Any]
) -> tuple[int, list[IncomingAttachment]]:
    message = await sim.mention("see", attachments=list(files or [file()]))
    return message, list((await wait_received(inbox, message)).attachments)


async def download(
    adapter: DiscordAdapter, attachment: IncomingAttachment, limit: int = LIMIT
) -> Download:
    return await adapter.download(KEY, attachment.locator, limit=limit)


async def fail_download(
    adapter: DiscordAdapter, locator: Mapping[str, str], limit: int = LIMIT
) -> tuple[Omission, bool]:
    """Why a download failed, and whether another attempt may succeed."""
    with pytest.raises(AttachmentError) as caught:
        await adapter.download(KEY, locator, limit=limit)
    return caught.value.omission, caught.value.retry_after is not None


async def reads(sim: LocalDiscord) -> int:
    return len(await sim.requests(READS))


# ── the file ──────────────────────────────────────────────────────────────────────────────────
async def test_a_file_is_downloaded_without_the_token_and_without_the_api(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    _, [attachment] = await attach(sim, inbox)
    before = await reads(sim)
    got = await download(adapter, attachment)
    assert got == Download(DATA, "application/octet-stream", "a.bin")
    [request] = [e for e in sim.server.record if e.path.startswith("/attachments/")]
    assert request.note["authorized"] is False
    assert await reads(sim) == before


async def test_an_expired_url_is_replaced_by_reading_the_message_once(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """`ex` is in the past, so the CDN is not even asked; ten files share one read."""
    await sim.set_cdn(lifetime=-1)
    _, files = await attach(sim, inbox, *(file(f"{n}.bin", DATA + bytes([n])) for n in range(10)))
    await sim.set_cdn(lifetime=3_600)
    before = await reads(sim)
    got = await asyncio.gather(*(download(adapter, one) for one in files))
    assert [one.data for one in got] == [DATA + bytes([n]) for n in range(10)]
    assert await reads(sim) == before + 1
    asked = [e for e in sim.server.record if e.path.startswith("/attachments/")]
    assert [e.status for e in asked] == [200] * 10


@pytest.mark.parametrize("status", [403, 404])
async def test_a_refused_url_is_replaced_by_reading_the_message_once(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, status: int
) -> None:
    """The clocks may differ, or the signature may have been revoked."""
    _, [attachment] = await attach(sim, inbox)
    await sim.set_cdn(expired_status=status)
    url = attachment.locator["url"].replace("hm=", "hm=0")
    got = await adapter.download(KEY, {**attachment.locator, "url": url}, limit=LIMIT)
    assert got.data == DATA


@pytest.mark.parametrize("missing", ["url", "size", "type"])
async def test_a_payload_without_a_field_of_its_file_still_leads_to_it(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, missing: str
) -> None:
    _, [attachment] = await attach(sim, inbox)
    locator = {key: value for key, value in attachment.locator.items() if key != missing}
    assert (await adapter.download(KEY, locator, limit=LIMIT)).data == DATA


@pytest.mark.parametrize(("status", "reason"), [(404, Omission.GONE), (403, Omission.NO_ACCESS)])
async def test_a_url_that_is_refused_again_ends_the_download(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, status: int, reason: Omission
) -> None:
    _, [attachment] = await attach(sim, inbox)
    await sim.call("fault", match="GET /attachments/", status=status, times=2)
    assert await fail_download(adapter, attachment.locator) == (reason, False)


async def test_a_deleted_message_or_removed_file_is_gone(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message, [first, second] = await attach(sim, inbox, file("1.bin"), file("2.bin"))
    await sim.edit(message, keep=[second.identity])
    assert await fail_download(adapter, first.locator) == (Omission.GONE, False)
    assert (await download(adapter, second)).data == DATA
    other, [third] = await attach(sim, inbox)
    await sim.delete(other)
    assert await fail_download(adapter, third.locator) == (Omission.GONE, False)


async def test_a_channel_that_became_invisible_gives_no_access(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.set_cdn(lifetime=-1)
    _, [attachment] = await attach(sim, inbox)
    await sim.set_permissions(c.CHANNEL, deny=("view_channel",))
    assert await fail_download(adapter, attachment.locator) == (Omission.NO_ACCESS, False)


async def test_forwarded_quoted_and_direct_files_are_refreshed_too(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Each is read from the message that contains it now."""
    await sim.set_cdn(lifetime=-1)
    source = await sim.say(c.BOB, content="look", attachments=[file()])
    answer = await sim.mention("what is it?", reply_to=source)
    place = (await sim.dm(c.ALICE, "hello"))["channel"]
    forward = await sim.forward(source, channel=place)
    direct = (await sim.dm(c.ALICE, "", attachments=[file()]))["message"]
    await sim.set_cdn(lifetime=3_600)
    for message in (answer, forward, direct):
        [attachment] = (await wait_received(inbox, message)).attachments
        assert (await download(adapter, attachment)).data == DATA


# ── limits ────────────────────────────────────────────────────────────────────────────────────
async def test_a_file_over_the_limit_is_not_downloaded(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Discord's size decides; if it is missing, the response's length; if that is missing, the
    bytes."""
    _, [attachment] = await attach(sim, inbox)
    assert await fail_download(adapter, attachment.locator, 1_000) == (Omission.TOO_LARGE, False)
    assert not [e for e in sim.server.record if e.path.startswith("/attachments/")]
    locator = {**attachment.locator, "size": "10"}
    assert await fail_download(adapter, locator, 1_000) == (Omission.TOO_LARGE, False)
    await sim.spoil_downloads("endless")
    assert await fail_download(adapter, locator, 1_000) == (Omission.TOO_LARGE, False)
    assert (await download(adapter, attachment, len(DATA))).data == DATA


async def test_a_slow_download_ends_after_its_time(sim: LocalDiscord, inbox: FakeInbox) -> None:
    async with running(sim, inbox, timeouts=Timeouts(download=0.3)) as adapter:
        _, [attachment] = await attach(sim, inbox)
        await sim.spoil_downloads("slow")
        assert await fail_download(adapter, attachment.locator) == (Omission.TIMED_OUT, True)
        await sim.call("fault", match="GET /attachments/", delay=3_600.0)
        assert await fail_download(adapter, attachment.locator) == (Omission.TIMED_OUT, True)
        assert (await download(adapter, attachment)).data == DATA


# ── temporary failures ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("kind", ["truncated", "page", "gzip", "partial"])
async def test_what_is_not_the_whole_file_is_downloaded_again(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, kind: str
) -> None:
    _, [attachment] = await attach(sim, inbox)
    await sim.spoil_downloads(kind)
    assert await fail_download(adapter, attachment.locator) == (Omission.UNREACHABLE, True)
    assert (await download(adapter, attachment)).data == DATA


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_busy_cdn_names_the_wait(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, status: int
) -> None:
    _, [attachment] = await attach(sim, inbox)
    for header, wait in (({"Retry-After": "300"}, 300.0), ({}, 5.0), ({"Retry-After": "x"}, 5.0)):
        fault = {"match": "GET /attachments/", "status": status, "headers": header}
        await sim.call("fault", **fault)
        with pytest.raises(AttachmentError) as caught:
            await download(adapter, attachment)
        assert (caught.value.omission, caught.value.retry_after) == (Omission.UNREACHABLE, wait)


async def test_a_lost_connection_is_worth_another_attempt(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    _, [attachment] = await attach(sim, inbox)
    await sim.call("fault", match="GET /attachments/", drop=True, times=2)  # aiohttp tries twice
    assert await fail_download(adapter, attachment.locator) == (Omission.UNREACHABLE, True)


async def test_another_refusal_is_final(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    _, [attachment] = await attach(sim, inbox)
    await sim.call("fault", match="GET /attachments/", status=400)
    assert await fail_download(adapter, attachment.locator) == (Omission.UNREACHABLE, False)


@pytest.mark.parametrize("throttled", [True, False])
async def test_a_refresh_that_fails_is_tried_later(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, throttled: bool
) -> None:
    await sim.set_cdn(lifetime=-1)
    _, [attachment] = await attach(sim, inbox)
    await sim.set_cdn(lifetime=3_600)
    if throttled:
        await sim.throttle(rf"GET /channels/{c.CHANNEL}/messages/\d+", 300)
    else:
        await sim.call("fault", match=READS, status=500)
    with pytest.raises(AttachmentError) as caught:
        await download(adapter, attachment)
    assert caught.value.omission is Omission.UNREACHABLE
    assert caught.value.retry_after == pytest.approx(300 if throttled else 5.0, abs=2)
    if not throttled:
        assert (await download(adapter, attachment)).data == DATA


@pytest.mark.parametrize("change", [{"remove": ["attachments"]}, {"put": {"attachments": "x"}}])
async def test_a_message_without_its_files_field_does_not_end_the_download(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, change: dict[str, Any]
) -> None:
    await sim.set_cdn(lifetime=-1)
    _, [attachment] = await attach(sim, inbox)
    await sim.set_cdn(lifetime=3_600)
    await sim.call("fault", match=READS, **change)
    assert await fail_download(adapter, attachment.locator) == (Omission.UNREACHABLE, True)
    assert (await download(adapter, attachment)).data == DATA


async def test_without_a_connection_the_file_is_downloaded_later(sim: LocalDiscord) -> None:
    adapter = adapter_for(sim)
    locator = {"url": f"{sim.url}/attachments/1/2/a", "channel": "1", "message": "2"}
    assert await fail_download(adapter, locator) == (Omission.UNREACHABLE, True)


# ── addresses ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "url",
    [
        "http://cdn.discordapp.com/attachments/1/2/a",
        "https://cdn.discordapp.com:8443/attachments/1/2/a",
        "https://cdn.discordapp.com.evil.test/a",
        "https://cdn.discordapp.com@127.0.0.1/a",
        "https://cdn.discordapp.com\\@127.0.0.1/a",
        "https://user:pass@cdn.discordapp.com/a",
        "https://discord.com/api/v10/users/@me",
        "https://evil.test/cdn.discordapp.com/a",
        "http://127.0.0.1:1/a",
        "http://[::1]/a",
        "file:///etc/passwd",
        "//cdn.discordapp.com/a",
        "https://cdn.discordapp.com/a\r\nHost: evil",
        "https://[broken",
        "https://cdn.discordapp.com:99999/a",
        "nonsense",
    ],
)
async def test_no_other_address_is_asked(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter, url: str
) -> None:
    _, [attachment] = await attach(sim, inbox)
    locator = {**attachment.locator, "url": url}
    assert await fail_download(adapter, locator) == (Omission.FORBIDDEN_ADDRESS, False)


async def test_a_redirect_is_not_followed(
    sim: LocalDiscord, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    _, [attachment] = await attach(sim, inbox)
    await sim.spoil_downloads("redirect", target=f"{sim.api_url}/users/@me")
    before = len(await sim.requests("/users/@me"))
    assert await fail_download(adapter, attachment.locator) == (Omission.UNREACHABLE, True)
    assert len(await sim.requests("/users/@me")) == before


async def test_a_file_is_downloaded_through_the_proxy_of_its_own_host(
    sim: LocalDiscord, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name server knows the host; only the proxy does."""
    host = "discord.test"
    async with connect_proxy({host: sim.port}) as proxy:
        for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        far = {"api_url": f"http://{host}:{sim.port}/api/v10"}
        async with running(sim, inbox, **far) as adapter:
            await sim.set_cdn(base=f"http://{host}:{sim.port}")
            _, [attachment] = await attach(sim, inbox)
            assert (await download(adapter, attachment)).data == DATA
            monkeypatch.setenv("NO_PROXY", host)
            assert await fail_download(adapter, attachment.locator) == (Omission.UNREACHABLE, True)
            monkeypatch.delenv("NO_PROXY")
            monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
            assert await fail_download(adapter, attachment.locator) == (Omission.UNREACHABLE, True)


# ── replies ───────────────────────────────────────────────────────────────────────────────────
async def test_downloads_take_nothing_from_the_budget_of_replies(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Replies are not delayed even when the CDN throttles downloads."""
    async with running(sim, inbox) as adapter:
        limiter = adapter._rest.rate_limiter
        _, [attachment] = await attach(sim, inbox)
        fault = {"match": "GET /attachments/", "status": 429, "headers": {"Retry-After": "300"}}
        await sim.call("fault", **fault, times=50)
        begun = time.monotonic()
        for _ in range(50):
            await fail_download(adapter, attachment.locator)
        await asyncio.gather(*(download(adapter, attachment) for _ in range(50)))
        assert time.monotonic() - begun < 30
        assert limiter.delay("global") == limiter.delay(f"channel:{c.CHANNEL}") == 0.0
