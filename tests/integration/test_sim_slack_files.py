"""The simulated Slack's files: descriptions, downloads, deletions, transcripts, mentions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from tests.sims.slack.ids import ALICE, BOT_TOKEN, GENERAL, SCOPES
from tests.sims.slack.local import LocalSlack, RawSocket

TEXT = ("a.txt", "text/plain", b"some text")
STUB = (*TEXT, {"file_access": "check_file_info"})
VOICE = ("a.m4a", "audio/mp4", b"sound", {"subtype": "slack_audio", "title": None})


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as sim:
        yield sim


@pytest.fixture
async def socket(sim: LocalSlack) -> AsyncIterator[RawSocket]:
    async with sim.socket() as socket:
        yield socket


async def post(sim: LocalSlack, *files: Any, text: str = "see") -> dict[str, Any]:
    """Alice posts files; returns the message."""
    ts = await sim.say(ALICE, GENERAL, text, files=files)
    (message,) = await sim.thread(GENERAL, ts)
    return message


async def events(sim: LocalSlack, socket: RawSocket) -> list[dict[str, Any]]:
    """All events so far."""
    found = []
    for _ in sim.server.slack.events.sent:
        frame = await socket.next()
        await socket.ack(frame)
        found.append(frame["payload"]["event"])
    return found


async def test_a_file_has_slacks_fields(sim: LocalSlack) -> None:
    (file,) = (await post(sim, TEXT))["files"]
    assert {"id", "created", "name", "title", "mimetype", "filetype", "size", "mode"} <= set(file)
    assert (file["mode"], file["is_external"], file["file_access"]) == ("hosted", False, "visible")
    (voice,) = (await post(sim, VOICE))["files"]
    assert (voice["subtype"], "title" in voice) == ("slack_audio", False)
    assert (await sim.get(voice["url_private"], BOT_TOKEN))[1] == "video/mp4"


async def test_files_info_describes_a_file(sim: LocalSlack) -> None:
    """The real client reads it; in a message, another workspace's file is a stub."""
    client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
    (stub,) = (await post(sim, STUB))["files"]
    assert set(stub) == {"id", "created", "mode", "file_access"}
    found = (await client.files_info(file=stub["id"]))["file"]
    assert (found["name"], found["file_access"]) == ("a.txt", "visible")
    assert (await sim.get(found["url_private_download"], BOT_TOKEN))[2] == b"some text"
    assert (await sim.api("files.info", file="F0NONE")).error == "file_not_found"
    await sim.scopes([scope for scope in SCOPES if scope != "files:read"])
    assert (await sim.api("files.info", file=stub["id"])).error == "missing_scope"


async def test_a_persons_deleted_file_leaves_a_tombstone(
    sim: LocalSlack, socket: RawSocket
) -> None:
    """message_changed arrives without `edited`; a message with no other content is deleted."""
    message = await post(sim, TEXT, VOICE)
    first, second = (file["id"] for file in message["files"])
    await sim.delete_file(first)
    changed, deleted = (await events(sim, socket))[-2:]
    assert (changed["subtype"], "edited" in changed["message"]) == ("message_changed", False)
    assert changed["message"]["files"][0] == {"id": first, "mode": "tombstone"}
    assert changed["previous_message"]["files"][0]["name"] == "a.txt"
    assert (deleted["type"], deleted["file_id"]) == ("file_deleted", first)
    assert (await sim.api("files.info", file=first)).error == "file_deleted"
    assert (await sim.get(message["files"][0]["url_private"], BOT_TOKEN))[0] == 404
    alone = await post(sim, TEXT, text="")
    await sim.delete_file(alone["files"][0]["id"])
    assert await sim.thread(GENERAL, alone["ts"]) == []
    assert (await sim.thread(GENERAL, message["ts"]))[0]["files"][1]["id"] == second


async def test_a_transcript_is_ready_later(sim: LocalSlack) -> None:
    (file,) = (await post(sim, VOICE))["files"]
    await sim.transcribe(file["id"], "could", vtt="WEBVTT\n")
    found = (await sim.api("files.info", file=file["id"])).body["file"]
    assert found["transcription"]["preview"] == {"content": "could", "has_more": True}
    assert (await sim.get(found["vtt"], BOT_TOKEN))[2] == b"WEBVTT\n"
    await sim.transcribe(file["id"], status="failed")
    found = (await sim.api("files.info", file=file["id"])).body["file"]
    assert found["transcription"] == {"status": "failed", "locale": "en-US"}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("files", [True, False])
async def test_the_two_events_of_a_mention(
    sim: LocalSlack, socket: RawSocket, first: bool, files: bool
) -> None:
    await sim.mentions(first=first, files=files)
    await sim.say(ALICE, GENERAL, "see", mention=True, files=[TEXT])
    found = await events(sim, socket)
    kinds = [event["type"] for event in found]
    assert kinds == (["app_mention", "message"] if first else ["message", "app_mention"])
    by_kind = dict(zip(kinds, found, strict=True))
    assert "files" in by_kind["message"]
    assert ("files" in by_kind["app_mention"]) == files


async def test_a_gap_between_the_two_events(sim: LocalSlack, socket: RawSocket) -> None:
    await sim.mentions(gap=0.05)
    await sim.say(ALICE, GENERAL, "see", mention=True)
    assert (await socket.event("app_mention"))["payload"]["event"]["ts"]
    assert len(sim.server.slack.events.sent) == 1
    assert (await socket.event("message"))["payload"]["event"]["ts"]


@pytest.mark.parametrize(
    ("how", "status"),
    [("sign_in", 200), ("sign_in_redirect", 302), ("redirect", 302), ("loop", 302)],
)
async def test_downloads_that_lead_elsewhere(sim: LocalSlack, how: str, status: int) -> None:
    (file,) = (await post(sim, TEXT))["files"]
    await sim.downloads(how, times=1)
    headers = {"Authorization": f"Bearer {BOT_TOKEN}"}
    url = file["url_private"]
    async with (
        aiohttp.ClientSession() as http,
        http.get(url, headers=headers, allow_redirects=False) as response,
    ):
        assert response.status == status
        assert (response.content_type == "text/html") == (how == "sign_in")
    assert (await sim.get(file["url_private"], BOT_TOKEN))[2] == b"some text"  # only once


async def test_an_address_that_needs_no_token(sim: LocalSlack) -> None:
    (file,) = (await post(sim, TEXT))["files"]
    await sim.downloads("elsewhere", to=f"{file['url_private']}?signed=1")
    assert (await sim.get(file["url_private"], BOT_TOKEN))[2] == b"some text"
    assert (await sim.get(f"{file['url_private']}?signed=1"))[2] == b"some text"


@pytest.mark.parametrize("how", ["cut", "cut_unframed", "endless", "slow", "gzip"])
async def test_broken_bodies(sim: LocalSlack, how: str) -> None:
    """None of them is the file; one cut off without an announced length looks complete."""
    (file,) = (await post(sim, ("a.bin", "application/octet-stream", b"x" * 40)))["files"]
    await sim.downloads(how, times=1, seconds=1.0)
    headers = {"Authorization": f"Bearer {BOT_TOKEN}"}
    body = bytearray()
    error = ""
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(file["url_private"], headers=headers) as response,
            asyncio.timeout(0.3 if how in ("endless", "slow") else 60),
        ):
            async for chunk in response.content.iter_any():
                body += chunk
    except (aiohttp.ClientError, TimeoutError) as raised:
        error = type(raised).__name__
    expected = {
        "cut": "ClientPayloadError",
        "cut_unframed": "",
        "endless": "TimeoutError",
        "slow": "TimeoutError",
        "gzip": "ClientPayloadError",
    }
    assert error == expected[how]
    assert bytes(body) != b"x" * 40
