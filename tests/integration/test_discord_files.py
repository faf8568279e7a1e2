"""Long code as a file in one message, with the real client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.common.clock import SystemClock
from bot.domain.errors import FilesRefused, Gone, Unsettled
from bot.domain.replies import Control, File, FileRules, Frame, Shown
from bot.domain.turns import PageRecord
from bot.replies.paging.document import Document
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import claim, running, show, wait_received
from tests.support.fake_inbox import FakeInbox
from tests.support.replies import frame_of

CODE = "".join(f"line_{number} = {number}  # @everyone <@{c.BOB}>\n" for number in range(300))
REPLY = f"Here it is:\n\n```python\n{CODE}```\n\nRun it, @everyone."


def unlimited() -> AccountRateLimiter:
    """No rate limits: these tests are about files."""
    return AccountRateLimiter(lambda scope: None, SystemClock())


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        await sim.set_limits(on=False)
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox, file_from_messages=4, rate_limiter=unlimited()) as adapter:
        yield adapter


async def open_surface(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, **turn: Any
) -> tuple[int, Any]:
    message = await sim.mention("question")
    surface = adapter.surface(claim(await wait_received(inbox, message), **turn))
    await surface.open()
    return message, surface


def document_for(surface: Any, text: str = "") -> Document:
    document = Document(surface.renderer, surface.files)
    document.write(text)
    return document


def ended(document: Document, text: str = REPLY) -> Frame:
    document.finish(text)
    return frame_of(document)


async def ours(sim: DiscordSim, place: int) -> list[dict[str, Any]]:
    return await sim.messages(place, author=c.BOT)


async def files(sim: DiscordSim, place: int) -> list[tuple[str, bytes]]:
    return [
        (message["attachments"][0]["filename"], await sim.file(message))
        for message in await ours(sim, place)
        if message["attachments"]
    ]


async def test_long_code_streams_as_text_and_ends_as_a_file(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Pages of code are shown first; then the file replaces all but the first of them."""
    place, surface = await open_surface(sim, inbox, adapter)
    document, shown = document_for(surface), Shown()
    for at in range(0, len(REPLY), 700):
        document.write(REPLY[at : at + 700])
        shown = await show(surface, shown, frame_of(document))
    document.finish()
    document.controls = (Control.RETRY,)
    await show(surface, shown, frame_of(document))
    await surface.close()
    first, second, third = await ours(sim, place)
    assert first["content"].startswith("Here it is:\n```python\nline_0 = 0")
    assert first["content"].endswith(
        "*That is how it begins: all of it, 300 lines, is in the file below.*"
    )
    assert second["content"] == "`code.py`, 300 lines"
    assert third["content"] == "Run it, @\u200beveryone."
    assert [len(message["components"]) for message in (first, second, third)] == [0, 0, 1]
    assert await files(sim, place) == [("code.py", CODE.encode())]
    assert len((await sim.channel(place))["deleted_messages"]) == 2  # code that is in the file now


async def test_a_file_pings_no_one_and_shows_no_preview(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The multipart request has the same restrictions as any message."""
    place, surface = await open_surface(sim, inbox, adapter)
    await show(surface, Shown(), ended(document_for(surface)))
    await surface.close()
    posts = [r for r in await sim.requests("POST") if r["path"].endswith("/messages")]
    assert len(posts) == 3
    assert all(post["body"]["allowed_mentions"]["parse"] == [] for post in posts)
    assert all(post["body"]["flags"] == 4 for post in posts)
    assert len({post["body"]["nonce"] for post in posts}) == 3
    assert all(message["pinged"] == [] for message in await ours(sim, place))


async def test_final_controls_are_above_a_file_on_the_last_page(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Adding them to a file's message would need an edit that some platforms lack."""
    place, surface = await open_surface(sim, inbox, adapter)
    document = document_for(surface)
    document.controls = (Control.RETRY,)
    await show(surface, Shown(), ended(document, f"```python\n{CODE}```"))
    await surface.close()
    first, second = await ours(sim, place)
    assert (len(first["components"]), len(second["components"])) == (1, 0)
    assert len(second["versions"]) == 1


async def test_a_removed_page_can_be_posted_again(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Discord refuses the nonce of a deleted message."""
    place, surface = await open_surface(sim, inbox, adapter)
    document = document_for(surface, REPLY[:6_000])
    shown = await show(surface, Shown(), frame_of(document))
    document = document_for(surface, REPLY[:9_000])
    shown = await show(surface, shown, frame_of(document))
    assert len(shown.pages) == 1
    await show(surface, shown, ended(document))
    await surface.close()
    assert [name for name, _ in await files(sim, place)] == ["code.py"]


# ── after a crash ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("known", [True, False])
async def test_a_found_page_gets_the_file_again(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, known: bool
) -> None:
    """The file is added to the same message, whether or not the ledger knows it."""
    place, surface = await open_surface(sim, inbox, adapter)
    shown = await show(surface, Shown(), ended(document_for(surface)))
    await surface.close()
    records = tuple(
        PageRecord(page.number, page.message_id if known or page.number != 1 else None, str(place))
        for page in shown.pages
    )
    again = adapter.surface(claim(await wait_received(inbox, place), attempt=2, pages=records))
    other = REPLY.replace("line_7 ", "other ")
    await show(again, await again.recover(records), ended(document_for(again), other))
    assert [message["id"] for message in await ours(sim, place)] == [
        int(page.message_id) for page in shown.pages
    ]
    assert await files(sim, place) == [("code.py", CODE.replace("line_7 ", "other ").encode())]


async def test_a_file_is_removed_if_the_next_attempt_has_text_there(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    place, surface = await open_surface(sim, inbox, adapter)
    shown = await show(surface, Shown(), ended(document_for(surface)))
    records = tuple(PageRecord(p.number, p.message_id, str(place)) for p in shown.pages)
    again = adapter.surface(claim(await wait_received(inbox, place), attempt=2, pages=records))
    prose = "\n\n".join(["A paragraph of many words. " * 20] * 8)
    await show(again, await again.recover(records), ended(document_for(again), prose))
    await surface.close()
    assert await files(sim, place) == []
    assert len(await ours(sim, place)) == 3


async def test_a_lost_response_causes_no_second_file(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The post is found by its position."""
    place, surface = await open_surface(sim, inbox, adapter)
    wanted = ended(document_for(surface))
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    await sim.call("fault", match="POST /api/v10/channels", drop=True, after=True)
    upload = surface.plan(shown, wanted)
    assert upload.file is not None
    with pytest.raises(Unsettled):
        await surface.perform(upload, shown)
    first = shown.pages[0].message_id  # which the ledger knows
    key = (await wait_received(inbox, place)).key
    inbox.conversations[f"discord/{c.GUILD}/{place}/{first}"] = key
    found = await surface.recover([PageRecord(1, None)])
    shown = Shown((*shown.pages, *found.pages))
    await show(surface, shown, wanted)
    await surface.close()
    assert await files(sim, place) == [("code.py", CODE.encode())]
    assert len(await ours(sim, place)) == 3


# ── refusals ──────────────────────────────────────────────────────────────────────────────────
async def test_without_the_permission_code_is_sent_as_text(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The reply continues, and the next one in that channel does not try a file."""
    await sim.set_permissions(c.CHANNEL, deny=("attach_files",))
    place, surface = await open_surface(sim, inbox, adapter)
    document = document_for(surface)
    wanted = ended(document)
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    with pytest.raises(FilesRefused):
        await surface.perform(surface.plan(shown, wanted), shown)
    document.disable_files()
    await show(surface, shown, frame_of(document))
    await surface.close()
    assert await files(sim, place) == []
    text = "".join(message["content"] for message in await ours(sim, place))
    assert all(f"line_{number} = {number} " in text for number in range(300))
    assert "in the file below" not in text
    _, other = await open_surface(sim, inbox, adapter)
    assert other.files is None
    await other.close()


async def test_a_missing_channel_is_gone_for_a_file_too(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    place, surface = await open_surface(sim, inbox, adapter)
    wanted = ended(document_for(surface))
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    await sim.delete_thread(place)
    with pytest.raises(Gone):
        await surface.perform(surface.plan(shown, wanted), shown)
    await surface.close()


async def test_a_file_too_large_for_the_channel_becomes_text(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Discord responds 413, which concerns only this file."""
    _, surface = await open_surface(sim, inbox, adapter)
    wanted = ended(document_for(surface))
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    upload = surface.plan(shown, wanted)
    huge = type(upload)(
        **{f: getattr(upload, f) for f in upload.__slots__}
        | {"file": File("a.txt", "x" * (c.MAX_FILE + 1))}
    )
    with pytest.raises(FilesRefused):
        await surface.perform(huge, shown)
    await surface.close()
    assert surface.files == FileRules(4, 10_000_000)


async def test_a_file_too_large_for_a_proxy_becomes_text(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Its 413 is a page; sending the same file again would not help."""
    _, surface = await open_surface(sim, inbox, adapter)
    wanted = ended(document_for(surface))
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    page = {"status": 413, "headers": {"Content-Type": "text/html"}, "body": "too large"}
    await sim.call("fault", match="/messages", **page)
    with pytest.raises(FilesRefused):
        await surface.perform(surface.plan(shown, wanted), shown)
    await surface.close()
