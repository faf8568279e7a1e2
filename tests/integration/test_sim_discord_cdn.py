"""The simulated CDN is as strict as Discord's, and people upload as Discord's client does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.sims.discord.raw_client import RawBot

FILE = {"filename": "a.txt", "content_type": "text/plain", "text": "0123456789"}


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        yield sim


@pytest.fixture
async def bot(sim: LocalDiscord) -> AsyncIterator[RawBot]:
    async with RawBot(sim) as bot:
        yield bot


async def get(url: str, **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.read()


async def payload(bot: RawBot, message: int, channel: int = c.CHANNEL) -> dict[str, Any]:
    found: dict[str, Any] = (
        await bot.request("GET", f"/channels/{channel}/messages/{message}")
    ).body
    return found


async def test_a_url_is_valid_for_a_time_and_only_as_signed(sim: LocalDiscord, bot: RawBot) -> None:
    message = await sim.say(attachments=[FILE])
    [file] = (await payload(bot, message))["attachments"]
    url = file["url"]
    assert await get(url) == (200, b"0123456789")
    plain = url.partition("?")[0]
    for wrong in (plain, url.replace("hm=", "hm=1"), url.replace("ex=", "ex=f"), url[:-9]):
        assert (await get(wrong))[0] == 404
    assert (await get(url, Authorization="Bot x"))[0] == 400
    await sim.set_cdn(lifetime=-1, expired_status=403)
    [expired] = (await payload(bot, message))["attachments"]
    assert (await get(expired["url"]))[0] == 403
    assert (await get(url))[0] == 200


async def test_a_range_is_served(sim: LocalDiscord) -> None:
    url = await sim.call("file_url", message=await sim.say(attachments=[FILE]))
    assert await get(url, Range="bytes=2-4") == (206, b"234")
    assert await get(url, Range="bytes=8-") == (206, b"89")
    assert (await get(url, Range="bytes=10-"))[0] == 416


async def test_a_file_is_gone_with_its_message_unless_it_was_forwarded(
    sim: LocalDiscord, bot: RawBot
) -> None:
    message = await sim.say(content="see", attachments=[FILE, {**FILE, "filename": "b.txt"}])
    forward = await sim.forward(message, channel=c.CHANNEL_2)
    urls = [await sim.call("file_url", message=message, number=n) for n in (0, 1)]
    await sim.edit(message, keep=[])
    assert [(await get(url))[0] for url in urls] == [200, 200]
    await sim.delete(forward)
    assert [(await get(url))[0] for url in urls] == [404, 404]


async def test_a_forward_has_the_message_without_its_author(sim: LocalDiscord, bot: RawBot) -> None:
    message = await sim.say(content=f"see <@{c.BOB}>", attachments=[FILE])
    found = await payload(bot, await sim.forward(message, channel=c.CHANNEL_2), c.CHANNEL_2)
    [snapshot] = [one["message"] for one in found["message_snapshots"]]
    assert (found["content"], found["attachments"], found["mentions"]) == ("", [], [])
    assert found["message_reference"]["type"] == 1 and "referenced_message" not in found
    assert snapshot["content"] == f"see <@{c.BOB}>" and "author" not in snapshot
    assert await get(snapshot["attachments"][0]["url"]) == (200, b"0123456789")


@pytest.mark.parametrize(("size", "pasted"), [(1_990, False), (2_000, True), (50_000, True)])
async def test_a_long_paste_becomes_a_file(
    sim: LocalDiscord, bot: RawBot, size: int, pasted: bool
) -> None:
    """The paste becomes a file once it is long enough; text typed beside it stays the message's
    text."""
    found = await payload(bot, await sim.paste("x" * size, "why?"))
    names = [file["filename"] for file in found["attachments"]]
    assert names == (["message.txt"] if pasted else [])
    assert found["content"] == ("why?" if pasted else f"why? {'x' * size}")


async def test_a_voice_message_has_a_waveform_and_no_text(sim: LocalDiscord, bot: RawBot) -> None:
    found = await payload(bot, await sim.voice(b"OggS"))
    [file] = found["attachments"]
    assert found["flags"] & c.VOICE_MESSAGE and found["content"] == ""
    assert file["content_type"] == "audio/ogg" and file["waveform"] and file["duration_secs"]


async def test_a_name_loses_its_special_characters_but_not_its_title(
    sim: LocalDiscord, bot: RawBot
) -> None:
    files = [{**FILE, "filename": "Über uns.txt", "description": "x"}, FILE]
    first, second = (await payload(bot, await sim.say(attachments=files)))["attachments"]
    assert (first["filename"], first["title"]) == ("_ber_uns.txt", "Über uns")
    assert first["description"] == "x"
    assert "title" not in second


async def test_without_the_intent_files_and_forwards_are_blank(
    sim: LocalDiscord, bot: RawBot
) -> None:
    await sim.grant_intents()
    message = await sim.say(attachments=[FILE])
    forward = await sim.forward(message)
    assert (await payload(bot, message))["attachments"] == []
    assert "message_snapshots" not in await payload(bot, forward)
