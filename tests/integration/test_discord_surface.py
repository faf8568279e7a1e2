"""Replies on Discord, from the thread to the last page, with the real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.rest import Timeouts
from bot.common.clock import SystemClock
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, Unsettled
from bot.domain.replies import Control, Frame, Shown
from bot.domain.turns import PageRecord
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import (
    asked,
    claim,
    frame,
    running,
    show,
    wait_received,
)
from tests.support.fake_cluster import FakeClusters
from tests.support.fake_inbox import FakeInbox

STOP = (Control.STOP,)


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        await sim.set_limits(on=False)
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


async def ours(sim: DiscordSim, place: int) -> list[dict[str, Any]]:
    return await sim.messages(place, author=c.BOT)


async def shows(sim: DiscordSim, place: int) -> list[str]:
    return [message["content"] for message in await ours(sim, place)]


# ── the place ─────────────────────────────────────────────────────────────────────────────────
async def test_a_mention_gets_a_thread_named_after_the_question(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("**How** does `this` work?\nI wonder.")
    surface = adapter.surface(claim(await wait_received(inbox, message)))
    await surface.open()
    await show(surface, Shown(), frame("Like that.", final=True))
    await surface.close()
    thread = await sim.channel(message)
    assert (thread["name"], thread["parent"]) == ("How does this work?", c.CHANNEL)
    assert await shows(sim, message) == ["Like that."]
    assert await ours(sim, c.CHANNEL) == []


async def test_an_empty_mention_has_a_thread_name(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("")
    surface = adapter.surface(claim(await wait_received(inbox, message)))
    await surface.open()
    await surface.close()
    assert (await sim.channel(message))["name"] == "Conversation with Alice"


async def test_an_existing_thread_is_used(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """This includes opening again after a crash, and a mention in a thread that a person
    started."""
    message = await sim.mention("question")
    await sim.start_thread(c.BOB, message, "quicker")
    surface = adapter.surface(claim(await wait_received(inbox, message)))
    await surface.open()
    await surface.open()
    await show(surface, Shown(), frame("Here.", final=True))
    await surface.close()
    assert await shows(sim, message) == ["Here."]


async def test_typing_is_shown_until_the_first_text(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    surface = adapter.surface(claim(await wait_received(inbox, message)))
    await surface.open()

    async def find_typing() -> list[Any]:
        return [t for t in (await sim.state())["typing"] if t["user"] == c.BOT]

    [typing] = await sim.until(find_typing)
    assert typing["channel"] == message
    await show(surface, Shown(), frame("Text."))
    await surface.close()
    assert len(await find_typing()) == 1


class Hurried(SystemClock):
    """A clock whose sleeps take only a moment."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.03))


async def test_typing_is_renewed_while_no_text_can_be_shown(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    async with running(sim, inbox, clock=Hurried()) as adapter:
        message = await sim.mention("question")
        surface = adapter.surface(claim(await wait_received(inbox, message)))
        await surface.open()

        async def count_typing() -> int:
            return len(await sim.requests(f"/channels/{message}/typing"))

        async def is_renewed() -> bool:
            return await count_typing() >= 3

        await sim.until(is_renewed)
        await surface.close()
        count = await count_typing()
        await sim.wait_idle(0.15)
        assert await count_typing() == count


async def test_without_permission_for_threads_the_reply_is_in_the_channel(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    question = await wait_received(inbox, message)
    await sim.set_permissions(c.CHANNEL, deny=("create_public_threads",))
    surface = adapter.surface(claim(question))
    await surface.open()
    shown = await show(surface, Shown(), frame("First.", "Second.", final=True))
    await surface.close()
    pages = await ours(sim, c.CHANNEL)
    assert [(p["content"], p["reply_to"], p["notified"]) for p in pages] == [
        ("First.", message, []),
        ("Second.", message, []),
    ]
    assert {page.channel for page in shown.pages} == {str(c.CHANNEL)}


async def test_a_reply_chain_needs_no_history_permission(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Discord refuses references without the permission, so the reply has none."""
    await sim.set_permissions(c.VOICE, deny=("read_message_history",))
    message = await sim.mention("question", channel=c.VOICE)
    surface = adapter.surface(claim(await wait_received(inbox, message)))
    await surface.open()
    await show(surface, Shown(), frame("Answer.", final=True))
    await surface.close()
    [page] = await ours(sim, c.VOICE)
    assert (page["content"], page["reply_to"]) == ("Answer.", None)


async def test_a_reply_begun_in_the_channel_continues_there(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    question = await wait_received(inbox, message)
    page = await sim.say(c.BOT, content="half", reply_to=message)
    pages = (PageRecord(0, str(page), str(c.CHANNEL)),)
    surface = adapter.surface(claim(question, attempt=2, pages=pages))
    await surface.open()
    shown = await surface.recover(pages)
    await show(surface, shown, frame("The whole.", final=True))
    await surface.close()
    assert await shows(sim, c.CHANNEL) == ["The whole."]
    assert (await sim.message(message))["thread"] is None


async def test_a_direct_message_is_answered_in_place(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    sent = await sim.dm(c.ALICE, "hello")
    surface = adapter.surface(claim(await wait_received(inbox, sent["message"])))
    await surface.open()
    await show(surface, Shown(), frame("Hi.", final=True))
    await surface.close()
    [page] = await ours(sim, sent["channel"])
    assert (page["content"], page["reply_to"]) == ("Hi.", None)


# ── showing ───────────────────────────────────────────────────────────────────────────────────
async def open_surface(sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter) -> Any:
    message = await sim.mention("question")
    surface = adapter.surface(claim(await wait_received(inbox, message)))
    await surface.open()
    return message, surface


async def test_a_reply_pings_no_one_and_shows_no_previews(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Edits must not send flags, which would turn previews on."""
    await sim.set_gateway(preview_delay=0.0)
    message, surface = await open_surface(sim, inbox, adapter)
    text = f"@everyone <@{c.BOB}> <@&{c.TEAM_ROLE}> https://example.org/page"
    shown = await show(surface, Shown(), frame(text))
    await show(surface, shown, frame(text + " and more", final=True))
    await surface.close()
    [page] = await ours(sim, message)
    assert [(v["pinged"], v["previews"]) for v in page["versions"]] == [([], [])] * 2
    patches = await sim.requests("PATCH")
    assert patches and all("flags" not in request["body"] for request in patches)
    posts = [r for r in await sim.requests("POST") if r["path"].endswith("/messages")]
    assert all(r["body"]["allowed_mentions"]["parse"] == [] for r in (*posts, *patches))


async def test_an_archived_thread_is_unarchived_for_an_edit(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message, surface = await open_surface(sim, inbox, adapter)
    shown = await show(surface, Shown(), frame("Half"))
    await sim.archive(message)
    await show(surface, shown, frame("Whole.", final=True))
    await surface.close()
    assert await shows(sim, message) == ["Whole."]
    assert not (await sim.channel(message))["archived"]


# ── failures ──────────────────────────────────────────────────────────────────────────────────
async def lock(sim: DiscordSim, thread: int, page: int) -> None:
    await sim.lock(thread)


async def delete_thread(sim: DiscordSim, thread: int, page: int) -> None:
    await sim.delete_thread(thread)


async def hide(sim: DiscordSim, thread: int, page: int) -> None:
    await sim.set_permissions(c.CHANNEL, deny=("view_channel",))


async def throw_out(sim: DiscordSim, thread: int, page: int) -> None:
    await sim.remove_bot()


@pytest.mark.parametrize("what", [lock, delete_thread, hide, throw_out])
async def test_a_deleted_thread_is_gone(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, what: Any
) -> None:
    message, surface = await open_surface(sim, inbox, adapter)
    shown = await show(surface, Shown(), frame("Half"))
    await what(sim, message, int(shown.pages[0].message_id))
    with pytest.raises(Gone):
        await show(surface, shown, frame("Whole.", final=True))
    await surface.close()


async def test_a_deleted_question_gets_no_thread(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    question = await wait_received(inbox, message)
    await sim.delete(message)
    surface = adapter.surface(claim(question))
    with pytest.raises(Gone):
        await surface.open()
    await surface.close()


async def test_a_post_whose_response_was_lost_is_not_repeated(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The nonce returns the first message, whose text is then corrected."""
    message, surface = await open_surface(sim, inbox, adapter)
    path = f"POST /api/v10/channels/{message}/messages"
    await sim.call("fault", match=path, drop=True, after=True)
    with pytest.raises(Unsettled):
        await show(surface, Shown(), frame("Old"))
    await show(surface, Shown(), frame("Old and new.", final=True))
    await surface.close()
    assert await shows(sim, message) == ["Old and new."]


async def test_surfaces_wait_until_the_adapter_has_logged_in(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Turns left by the last run may start before Discord is reached."""
    async with running(sim, inbox) as adapter:
        question = await wait_received(inbox, await sim.mention("question"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await adapter.surface(claim(question)).open()


# ── after a crash ─────────────────────────────────────────────────────────────────────────────
INTENDED = (PageRecord(0, None),)


async def run_crashing_attempt(
    sim: DiscordSim, adapter: DiscordAdapter, question: Any, left: Frame, turn: int = 7
) -> None:
    """Runs an attempt that posts `left` without recording it in the ledger."""
    surface = adapter.surface(claim(question, turn=turn))
    await surface.open()
    await show(surface, Shown(), left)
    await surface.close()


async def finish_after_restart(
    adapter: DiscordAdapter,
    question: Any,
    *texts: str,
    pages: tuple[PageRecord, ...] = INTENDED,
) -> None:
    """Runs the next attempt, which recovers pages and shows `texts`, one on each."""
    surface = adapter.surface(claim(question, attempt=2, pages=pages))
    await surface.open()
    shown = await surface.recover(pages)
    await show(surface, shown, frame(*texts or ("The whole.",), final=True))
    await surface.close()


@pytest.mark.parametrize("controls", [STOP, ()], ids=["button", "reference"])
async def test_an_unrecorded_page_is_found_in_the_channel(
    sim: DiscordSim, inbox: FakeInbox, controls: tuple[Control, ...]
) -> None:
    """The reply stays in the channel, even if the missing permission has been granted in
    between."""
    message = await sim.mention("early")
    other = await sim.mention("another, answered in between")
    question, another = asked(message), asked(other)
    async with running(sim, inbox) as adapter:
        await sim.set_permissions(c.CHANNEL, deny=("create_public_threads",))
        await run_crashing_attempt(
            sim, adapter, another, frame("Not this one.", final=True), turn=8
        )
        await run_crashing_attempt(sim, adapter, question, frame("Hal", controls=controls))
        await sim.set_permissions(c.CHANNEL)
    async with running(sim, inbox) as adapter:
        await finish_after_restart(adapter, question, "The whole,", "on two pages.")
    assert await shows(sim, c.CHANNEL) == ["Not this one.", "The whole,", "on two pages."]


async def test_an_unrecorded_page_is_found_in_a_direct_message(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    sent = await sim.dm(c.ALICE, "hello")
    key = ConversationKey("discord", "@me", str(sent["channel"]), "")
    question = asked(sent["message"], channel=sent["channel"], key=key, route={"mode": "here"})
    async with running(sim, inbox) as adapter:
        await run_crashing_attempt(sim, adapter, question, frame("Hal"))
    async with running(sim, inbox) as adapter:
        await finish_after_restart(adapter, question)
    assert await shows(sim, sent["channel"]) == ["The whole."]


async def test_other_messages_are_never_taken_for_a_page(sim: DiscordSim, inbox: FakeInbox) -> None:
    """Such messages are a page of another turn, a reply to a command, and messages in the
    ledger."""
    message = await sim.mention("early")
    question = asked(message)
    async with running(sim, inbox) as adapter:
        await run_crashing_attempt(
            sim, adapter, question, frame("Of another turn", controls=STOP), turn=6
        )
        word = await sim.say(channel=message, content="stop")
        await sim.say(c.BOT, message, "Stopped.", reply_to=word)
        known = await sim.say(c.BOT, message, "In the ledger.")
        source = f"discord/{c.GUILD}/{message}/{known}"
        inbox.conversations[source] = question.key
        await finish_after_restart(adapter, question)
    assert await shows(sim, message) == [
        "Of another turn",
        "Stopped.",
        "In the ledger.",
        "The whole.",
    ]


async def test_a_recorded_page_is_not_taken_for_another(sim: DiscordSim, inbox: FakeInbox) -> None:
    message = await sim.mention("early")
    question = asked(message)
    async with running(sim, inbox) as adapter:
        await run_crashing_attempt(sim, adapter, question, frame("One."))
        [first] = await ours(sim, message)
        pages = (PageRecord(0, str(first["id"]), str(message)), PageRecord(1, None))
        await finish_after_restart(adapter, question, "One.", "Two.", pages=pages)
    assert await shows(sim, message) == ["One.", "Two."]


async def test_several_pages_are_found_in_their_order(sim: DiscordSim, inbox: FakeInbox) -> None:
    message = await sim.mention("early")
    question = asked(message)
    async with running(sim, inbox) as adapter:
        await run_crashing_attempt(sim, adapter, question, frame("One.", "Two.", final=True))
        pages = (PageRecord(0, None), PageRecord(1, None), PageRecord(2, None))
        surface = adapter.surface(claim(question, attempt=2, pages=pages))
        await surface.open()
        shown = await surface.recover(pages)
        await surface.close()
    found = await ours(sim, message)
    assert [(page.number, int(page.message_id)) for page in shown.pages] == [
        (0, found[0]["id"]),
        (1, found[1]["id"]),
    ]


async def test_a_surface_survives_a_new_session(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message, surface = await open_surface(sim, inbox, adapter)
    shown = await show(surface, Shown(), frame("Half"))
    await sim.disconnect("invalid_session", resumable=False)
    await show(surface, shown, frame("Whole.", final=True))
    await surface.close()
    assert await shows(sim, message) == ["Whole."]


# ── threads that cannot be created in time ────────────────────────────────────────────────────
THREADS = r"POST /channels/\d+/messages/\d+/threads"


async def test_a_second_mention_gets_a_thread_within_a_long_window(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The window for threads lasts 300 s from the first request, and requests are left."""
    await sim.set_limits(on=True)
    async with running(sim, inbox) as adapter:
        for text in ("first", "second", "third"):
            message, surface = await open_surface(sim, inbox, adapter)
            await show(surface, Shown(), frame(text, final=True))
            await surface.close()
            assert await shows(sim, message) == [text]
        assert (await sim.state())["limited"] == 0


async def test_a_throttled_route_gets_no_requests(sim: DiscordSim, inbox: FakeInbox) -> None:
    """The reply chain replaces the thread immediately; other channels have threads."""
    async with running(sim, inbox, timeouts=Timeouts(thread=1.0)) as adapter:
        await sim.throttle(THREADS.replace(r"\d+/messages", f"{c.CHANNEL}/messages"), 300.0)
        for text in ("first", "second"):
            message, surface = await open_surface(sim, inbox, adapter)
            await show(surface, Shown(), frame(text, final=True))
            await surface.close()
            [reply] = [m for m in await ours(sim, c.CHANNEL) if m["content"] == text]
            assert reply["reply_to"] == message
        assert len(await sim.requests("/threads")) == 1
        other = await sim.mention("elsewhere", channel=c.CHANNEL_2)
        surface = adapter.surface(claim(await wait_received(inbox, other)))
        await surface.open()
        await show(surface, Shown(), frame("here", final=True))
        await surface.close()
        assert await shows(sim, other) == ["here"]


async def test_a_thread_that_appears_before_the_first_text_is_used(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Creating it timed out but succeeded."""
    async with running(sim, inbox, timeouts=Timeouts(thread=0.2)) as adapter:
        await sim.call("fault", match="/threads", delay=0.6)
        message, surface = await open_surface(sim, inbox, adapter)

        async def is_made() -> bool:
            return any(thread["id"] == message for thread in (await sim.state())["threads"])

        await sim.until(is_made)
        await sim.wait_idle(0.2)
        await show(surface, Shown(), frame("text", final=True))
        await surface.close()
    assert await shows(sim, message) == ["text"]


async def test_a_thread_that_appears_too_late_belongs_to_the_conversation(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """If the bot may not delete the thread, messages in it have the conversation's key."""
    async with running(sim, inbox, timeouts=Timeouts(thread=0.2)) as adapter:
        await sim.call("fault", match="/threads", delay=1.0)
        message, surface = await open_surface(sim, inbox, adapter)
        await show(surface, Shown(), frame("text", final=True))
        await surface.close()

        async def is_made() -> bool:
            return any(thread["id"] == message for thread in (await sim.state())["threads"])

        await sim.until(is_made)
        said = await wait_received(inbox, await sim.say(channel=message, content="in the thread"))
        assert said.key == ConversationKey("discord", str(c.GUILD), str(c.CHANNEL), str(message))
        assert await sim.requests(f"DELETE /api/v10/channels/{message}") == []


async def test_a_second_attempt_uses_its_thread_if_none_can_be_created(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """The thread has pages of the reply, so a reply chain would split it."""
    async with running(sim, inbox, timeouts=Timeouts(thread=0.5)) as adapter:
        message, surface = await open_surface(sim, inbox, adapter)
        await surface.close()
        await sim.throttle(THREADS, 300.0)
        question = await wait_received(inbox, message)
        again = adapter.surface(claim(question, attempt=2, pages=(PageRecord(0, None),)))
        await again.open()
        shown = await again.recover([PageRecord(0, None)])
        await show(again, shown, frame("text", final=True))
        await again.close()
    assert await shows(sim, message) == ["text"]
    assert await ours(sim, c.CHANNEL) == []


async def test_an_attempt_elsewhere_asks_until_it_knows_where_the_first_one_posted(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Another process, without the shard, can neither create the thread nor see whether it exists:
    a reply chain would show the reply twice."""
    clusters, idle = FakeClusters(), FakeInbox()
    async with running(sim, inbox, cluster=clusters.process("a")) as first:
        message = await sim.mention("question")
        question = await wait_received(inbox, message)
        await run_crashing_attempt(sim, first, question, frame("Hal", controls=STOP))
        async with running(sim, idle, cluster=clusters.process("b")) as second:
            await sim.throttle(THREADS, 300.0)
            await sim.call("fault", match=f"GET /api/v10/channels/{message}", status=503, times=1)
            again = second.surface(claim(question, attempt=2, pages=INTENDED))
            with pytest.raises(Unsettled):
                await again.open()
            await again.open()
            shown = await again.recover(INTENDED)
            await show(again, shown, frame("The whole.", final=True))
            await again.close()
    assert await shows(sim, message) == ["The whole."]
    assert await ours(sim, c.CHANNEL) == []
