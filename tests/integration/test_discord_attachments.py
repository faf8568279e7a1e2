"""Attachments that people send on Discord, through the real client, as the core gets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.domain.attachments import IncomingAttachment
from bot.domain.inbox import Address, Incoming
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import running, until, wait_received
from tests.support.fake_inbox import FakeInbox

LONG = "A line of a log, which is long.\n" * 200
IMAGE = {"filename": "cat.png", "content_type": "image/png", "base64": "iVBORw0="}
REPORT = {"filename": "q3 report.pdf", "content_type": "application/pdf", "text": "%PDF-"}


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        await sim.set_limits(on=False)
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


def names(incoming: Incoming) -> list[str]:
    return [attachment.name for attachment in incoming.attachments]


async def bytes_of(adapter: DiscordAdapter, incoming: Incoming) -> list[bytes]:
    return [await get(adapter, incoming, each) for each in incoming.attachments]


async def get(adapter: DiscordAdapter, incoming: Incoming, file: IncomingAttachment) -> bytes:
    return (await adapter.download(incoming.key, file.locator, limit=1_000_000)).data


async def thread_with(sim: DiscordSim) -> int:
    return await sim.start_thread(c.BOB, await sim.say(c.BOB, content="Let us talk."), "talk")


# ── questions ─────────────────────────────────────────────────────────────────────────────────
async def test_files_beside_a_question(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    got = await wait_received(inbox, await sim.mention("compare", attachments=[IMAGE, REPORT]))
    assert (got.text, names(got)) == ("compare", ["cat.png", "q3 report.pdf"])
    assert [(f.media_type, f.size) for f in got.attachments] == [
        ("image/png", 5),
        ("application/pdf", 5),
    ]
    assert (await bytes_of(adapter, got))[1] == b"%PDF-"


async def test_files_without_a_word_are_questions(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """They come with a mention, in a direct message, and in a thread."""
    thread = await thread_with(sim)
    for message, address in (
        (await sim.mention("", attachments=[IMAGE]), Address.MENTION),
        ((await sim.dm(c.ALICE, "", attachments=[IMAGE]))["message"], Address.DIRECT),
        (await sim.say(c.ALICE, thread, attachments=[IMAGE]), Address.FOLLOW_UP),
    ):
        got = await wait_received(inbox, message)
        assert (got.text, got.address, names(got)) == ("", address, ["cat.png"])


async def test_a_long_paste_is_marked(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    got = await wait_received(inbox, await sim.paste(LONG, f"<@{c.BOT}> why?"))
    [file] = got.attachments
    assert (got.text, file.is_paste, got.route["title"]) == ("why?", True, "why?")
    assert await get(adapter, got, file) == LONG.encode()
    short = await wait_received(inbox, await sim.paste("Short.", f"<@{c.BOT}> why?"))
    assert (short.text, short.attachments) == ("why? Short.", ())


async def test_a_voice_message_is_marked(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    thread = await thread_with(sim)
    got = await wait_received(inbox, await sim.voice(b"OggS...", channel=thread))
    [file] = got.attachments
    assert (got.text, got.address) == ("", Address.FOLLOW_UP)
    assert (file.is_voice, file.media_type) == (True, "audio/ogg")
    assert await get(adapter, got, file) == b"OggS..."


async def test_a_forward_brings_its_files(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The original may be deleted afterwards; people forward into threads and direct messages."""
    source = await sim.paste(LONG, "broken", user=c.BOB)
    place = (await sim.dm(c.ALICE, "hello"))["channel"]
    forward = await sim.forward(source, channel=place)
    await sim.delete(source)
    got = await wait_received(inbox, forward)
    assert got.text == "Forwarded message:\n> broken\n>\n> Attachment:\n> > message.txt"
    assert [(file.name, file.is_paste) for file in got.attachments] == [("message.txt", False)]
    assert await bytes_of(adapter, got) == [LONG.encode()]


async def test_a_reply_brings_the_files_of_its_message(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    alert = await sim.say(c.OTHER_BOT, content="Failed.", attachments=[REPORT])
    got = await wait_received(inbox, await sim.mention("why?", reply_to=alert))
    assert "Attachment:\n> > q3 report.pdf" in got.text
    assert (names(got), await bytes_of(adapter, got)) == (["q3 report.pdf"], [b"%PDF-"])


async def test_a_proxied_message_keeps_its_files_with_and_without_text(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    thread = await thread_with(sim)
    for text, tags in (("see", "R: "), ("", ""), ("", "R: ")):
        ids = await sim.say_by_proxy(
            text, "Robin", tags=tags, channel=thread, attachments=[IMAGE, REPORT]
        )
        got = await wait_received(inbox, ids["message"])
        assert (got.text, got.author.id, got.address) == (text, str(c.ALICE), Address.FOLLOW_UP)
        assert names(got) == ["cat.png", "q3 report.pdf"]
        assert await bytes_of(adapter, got) == [b"\x89PNG\r", b"%PDF-"]


# ── changes ───────────────────────────────────────────────────────────────────────────────────
async def test_an_edit_carries_the_files_that_are_left(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("see", attachments=[IMAGE, REPORT])
    first, second = (await wait_received(inbox, message)).attachments
    await sim.edit(message, f"<@{c.BOT}> look")
    await until(lambda: len(inbox.edits) == 1)
    await sim.edit(message, keep=[second.identity])
    await until(lambda: len(inbox.edits) == 2)
    await sim.edit(message, keep=[])
    await until(lambda: len(inbox.edits) == 3)
    identities = [[f.identity for f in edited.attachments] for edited, _ in inbox.edits]
    assert identities == [[first.identity, second.identity], [second.identity], []]


async def test_an_edit_whose_event_lacks_the_files_removes_none(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The message is read again instead."""
    message = await sim.mention("see", attachments=[IMAGE])
    await wait_received(inbox, message)
    await sim.call("fault_event", name="MESSAGE_UPDATE", remove=["d.attachments"])
    await sim.edit(message, f"<@{c.BOT}> look")
    await until(lambda: inbox.edits)
    assert names(inbox.edits[0][0]) == ["cat.png"]
    assert [x for x in await sim.requests("GET") if x["path"].endswith(f"/messages/{message}")]


# ── history ───────────────────────────────────────────────────────────────────────────────────
async def test_missed_messages_bring_their_files(sim: DiscordSim, inbox: FakeInbox) -> None:
    async with running(sim, inbox) as adapter:
        before = await sim.mention("before")
        await wait_received(inbox, before)
        await until(lambda: any(mark.position >= before for mark in inbox.marks.values()))
    message = await sim.paste(LONG, f"<@{c.BOT}> why?")
    async with running(sim, inbox) as adapter:
        got = await wait_received(inbox, message)
        assert [file.is_paste for file in got.attachments] == [True]
        assert await bytes_of(adapter, got) == [LONG.encode()]


async def test_a_backlog_has_everyones_files(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Files of the message that the thread was started on, of people and of other bots."""
    root = await sim.say(c.OTHER_BOT, content="Failed.", attachments=[REPORT])
    thread = await sim.start_thread(c.BOB, root, "alert")
    await sim.say(c.BOB, thread, attachments=[IMAGE])
    await sim.say(c.OTHER_BOT, thread, "Again.", attachments=[REPORT], webhook=True)
    question = await wait_received(inbox, await sim.mention("why?", channel=thread))
    backlog = await adapter.backlog(question)
    assert [(m.author.name, m.text, names(m)) for m in backlog] == [
        ("weather-bot", "Failed.", ["q3 report.pdf"]),
        ("Bob", "", ["cat.png"]),
        ("weather-bot", "Again.", ["q3 report.pdf"]),
    ]
    assert [len(await bytes_of(adapter, m)) for m in backlog] == [1, 1, 1]


@pytest.mark.parametrize("webhook", [False, True])
async def test_another_bots_post_in_a_thread_is_history(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, webhook: bool
) -> None:
    """Its files and edits are included; elsewhere it is ignored, and a mention does not make it a
    question."""
    thread = await thread_with(sim)
    more: dict[str, Any] = {"attachments": [REPORT], "webhook": webhook}
    elsewhere = await sim.mention("status", user=c.OTHER_BOT, **more)
    post = await sim.mention("reset", user=c.OTHER_BOT, channel=thread, **more)
    got = await wait_received(inbox, post)
    assert (got.address, got.author.name) == (Address.ASIDE, "weather-bot")
    assert (got.text, names(got)) == ("reset", ["q3 report.pdf"])
    assert not [m for m in inbox.received if m.message_id == str(elsewhere)]
    await sim.edit(post, "All is well.", keep=[])
    await until(lambda: inbox.edits)
    edited, _ = inbox.edits[0]
    assert (edited.text, names(edited)) == ("All is well.", [])


async def test_a_bots_blank_response_is_no_history_until_it_has_content(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """A slow bot posts an empty message first and edits it later."""
    thread = await thread_with(sim)
    post = await sim.say(c.OTHER_BOT, thread, "", flags=c.LOADING)
    question = await wait_received(inbox, await sim.mention("why?", channel=thread))
    assert [m.text for m in await adapter.backlog(question)] == ["Let us talk."]
    assert [m.message_id for m in inbox.received] == [question.message_id]
    await sim.edit(post, "Because.")
    await until(lambda: inbox.edits)
    assert inbox.edits[0][0].text == "Because."


async def test_a_bots_edit_in_an_unknown_thread_causes_no_request(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    thread = await thread_with(sim)
    post = await sim.say(c.OTHER_BOT, thread, "Working.")
    await sim.archive(thread)
    await sim.wait_idle(0.05)
    before = len(await sim.requests("GET"))
    for text in ("Still working.", "Done."):
        await sim.edit(post, text)
    await wait_received(inbox, await sim.mention("elsewhere"))
    assert len(await sim.requests("GET")) == before
    assert inbox.edits == []
