"""Edits, deletions and removed channels, with the real client: which of them reach the core."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.domain.conversations import ConversationKey
from bot.domain.errors import Gone, StoreUnavailable
from bot.domain.inbox import CommandReply
from bot.domain.replies import Control, Shown
from bot.domain.turns import PageRecord
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import (
    asked,
    claim,
    frame,
    running,
    show,
    until,
    wait_received,
)
from tests.support.fake_inbox import FakeInbox

GUILD, CHANNEL = str(c.GUILD), str(c.CHANNEL)


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        await sim.set_limits(on=False)
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


async def caught_up(sim: DiscordSim, inbox: FakeInbox) -> None:
    """Wait until every message sent before has been handled."""
    await wait_received(inbox, await sim.mention("the last"))


def source(channel: int, message: int, guild: str = GUILD) -> str:
    return f"discord/{guild}/{channel}/{message}"


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
async def test_an_edit_is_translated_like_a_message_with_its_time(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("frist")
    before = await wait_received(inbox, message)
    await sim.edit(message, f"<@{c.BOT}> first")
    await until(lambda: inbox.edits)
    [(after, edited_at)] = inbox.edits
    assert (after.source, after.text, after.address) == (before.source, "first", before.address)
    assert edited_at > before.sent_at


async def test_edits_in_threads_and_direct_messages_arrive(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    await sim.start_thread(c.ALICE, message, "a thread")
    follow_up = await sim.say(c.BOB, message, "so")
    private = await sim.dm(c.ALICE, "hello")
    await sim.edit(follow_up, "so what?")
    await sim.edit(private["message"], "hello there")
    await until(lambda: len(inbox.edits) == 2)
    assert [edit.source for edit, _ in inbox.edits] == [
        source(message, follow_up),
        source(private["channel"], private["message"], "@me"),
    ]


async def test_removing_the_mention_is_an_edit_but_edits_of_unknown_messages_are_not(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("frist")
    stored = await wait_received(inbox, message)
    inbox.conversations[stored.source] = stored.key
    stranger = await sim.say(c.BOB, content="lunch?")
    await sim.edit(stranger, "dinner?")
    await sim.edit(message, "never mind")
    await until(lambda: inbox.edits)
    assert [(edit.text, edit.address.begins) for edit, _ in inbox.edits] == [("never mind", False)]


async def test_previews_pins_and_threads_are_not_edits(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("see https://example.com/ please")
    await sim.pin(c.BOB, message)
    await sim.start_thread(c.ALICE, message, "a thread")
    await caught_up(sim, inbox)
    assert inbox.edits == []


async def test_edits_by_bots_and_webhooks_and_the_bot_itself_are_ignored(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    bot = await sim.mention("hello", user=c.OTHER_BOT)
    hook = await sim.mention("hello", webhook=True)
    surface = adapter.surface(claim(asked(await sim.mention("question"))))
    await surface.open()
    shown = await show(surface, Shown(), frame("Ours"))
    await show(surface, shown, frame("Ours, edited", final=True))
    await surface.close()
    for message in (bot, hook):
        await sim.edit(message, f"<@{c.BOT}> hello again")
    await caught_up(sim, inbox)
    assert inbox.edits == []


# ── deletions ─────────────────────────────────────────────────────────────────────────────────
async def test_deletions_arrive_with_their_source_for_any_author(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    surface = adapter.surface(claim(asked(message)))
    await surface.open()
    shown = await show(surface, Shown(), frame("CommandReply", final=True))
    await surface.close()
    page = int(shown.pages[0].message_id)
    private = await sim.dm(c.ALICE, "hello")
    for deleted in (page, message, private["message"]):
        await sim.delete(deleted)
    await until(lambda: len(inbox.deletions) == 3)
    assert inbox.deletions == [
        source(message, page),
        source(c.CHANNEL, message),
        source(private["channel"], private["message"], "@me"),
    ]


async def test_changes_are_stored_after_the_database_recovers(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Discord sends each change once, and a deleted text must not survive."""
    changed, deleted = await sim.mention("frist"), await sim.mention("secret")
    await wait_received(inbox, changed)
    await wait_received(inbox, deleted)
    inbox.error = StoreUnavailable("locked")
    await sim.edit(changed, f"<@{c.BOT}> first")
    await sim.delete(deleted)
    await until(lambda: inbox.refused >= 2)
    inbox.error = None
    await until(lambda: inbox.deletions == [source(c.CHANNEL, deleted)] and len(inbox.edits) == 1)
    assert inbox.edits[0][0].text == "first"


async def test_a_bulk_deletion_arrives_as_single_deletions(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    ids = [str(await sim.say(content=text)) for text in ("a", "b", "c")]
    await sim.dispatch(
        "MESSAGE_DELETE_BULK", {"ids": ids, "channel_id": CHANNEL, "guild_id": GUILD}
    )
    await until(lambda: len(inbox.deletions) == 3)
    assert inbox.deletions == [source(c.CHANNEL, int(id_)) for id_ in ids]


async def test_pages_removed_by_the_bot_are_not_deletions(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    surface = adapter.surface(claim(asked(await sim.mention("question"))))
    await surface.open()
    shown = await show(surface, Shown(), frame("one", "two", "three", final=True))
    await show(surface, shown, frame("one", final=True))
    await surface.close()
    await caught_up(sim, inbox)
    assert inbox.deletions == []


# ── removed places ────────────────────────────────────────────────────────────────────────────
async def test_removed_threads_channels_and_guilds_are_reported(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    await sim.start_thread(c.ALICE, message, "a thread")
    other = await sim.add_channel("short-lived")
    await sim.delete_thread(message)
    await sim.delete_channel(other)
    await sim.remove_bot()
    await until(lambda: len(inbox.gone_keys) == 3)
    assert inbox.gone_keys == [
        ConversationKey("discord", GUILD, CHANNEL, str(message)),
        ConversationKey("discord", GUILD, str(other), ""),
        ConversationKey("discord", GUILD, "", ""),
    ]


async def test_a_guild_outage_is_not_a_removal(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.dispatch("GUILD_DELETE", {"id": GUILD, "unavailable": True}, guild=None)
    private = await sim.dm(c.ALICE, "still there?")
    await wait_received(inbox, private["message"])
    assert inbox.gone_keys == []


@pytest.mark.parametrize("how", ["locked", "deleted", "no permission"])
async def test_a_thread_deleted_during_a_reply_is_gone(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, how: str
) -> None:
    """The reply does not continue in the channel."""
    message = await sim.mention("question")
    surface = adapter.surface(claim(asked(message)))
    await surface.open()
    shown = await show(surface, Shown(), frame("Begun"))
    await surface.close()
    if how == "locked":
        await sim.lock(message)
    elif how == "deleted":
        await sim.delete_thread(message)
    else:
        await sim.set_permissions(c.CHANNEL, deny=("view_channel", "send_messages_in_threads"))
    with pytest.raises(Gone):
        await show(surface, shown, frame("Begun", "and more", final=True))
    assert await sim.messages(c.CHANNEL, author=c.BOT) == []


async def test_a_thread_archived_during_a_reply_is_unarchived(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    surface = adapter.surface(claim(asked(message)))
    await surface.open()
    shown = await show(surface, Shown(), frame("Begun"))
    await sim.archive(message)
    await show(surface, shown, frame("Begun and ended", final=True))
    await surface.close()
    [reply] = await sim.messages(message, author=c.BOT)
    assert reply["content"] == "Begun and ended"


async def wait_acknowledged(sim: DiscordSim, click: int) -> None:
    """Whether Discord accepted the acknowledgment, which is due within three seconds."""

    async def is_answered() -> bool:
        return (await sim.interaction(click))["answered"] is not None

    await sim.until(is_answered)


# ── buttons ───────────────────────────────────────────────────────────────────────────────────
async def test_a_button_names_its_turn_and_succeeds_silently(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """This works even after a restart, since no state is kept in memory."""
    message = await sim.mention("question")
    both = (Control.RETRY, Control.CONTINUE)
    async with running(sim, inbox) as adapter:
        surface = adapter.surface(claim(asked(message), turn=42))
        await surface.open()
        shown = await show(surface, Shown(), frame("Half", final=True, controls=both))
        await surface.close()
    page = await sim.message(int(shown.pages[0].message_id))
    inbox.answer = CommandReply("")
    async with running(sim, inbox):
        for button in page["components"][0]["components"]:
            await wait_acknowledged(sim, await sim.click(c.BOB, page["id"], button["custom_id"]))
        await until(lambda: len(inbox.commands) == 2)
        inbox.answer = CommandReply("Too late.")
        click = await sim.click(
            c.BOB, page["id"], page["components"][0]["components"][0]["custom_id"]
        )

        async def response_to() -> bool:
            """The response to an interaction, once it arrives."""
            answers = (await sim.interaction(click))["answers"]
            return any(answer["data"].get("content") == "Too late." for answer in answers)

        await sim.until(response_to)
    assert [(x.name, x.argument) for x in inbox.commands[:2]] == [
        ("retry", "42"),
        ("continue", "42"),
    ]
    assert inbox.commands[0].key == asked(message).key


async def test_a_press_counts_even_if_its_acknowledgment_is_late(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Discord shows the person an error, but the reply stops."""
    message = await sim.mention("question")
    async with running(sim, inbox) as adapter:
        surface = adapter.surface(claim(asked(message), turn=42))
        await surface.open()
        shown = await show(surface, Shown(), frame("Half", controls=(Control.STOP,)))
        await sim.set_limits(first_within=1e-9)
        await sim.click(c.BOB, int(shown.pages[0].message_id), "threadline:stop:42:0")
        await until(lambda: inbox.commands)
        await surface.close()
    assert [(one.name, one.argument) for one in inbox.commands] == [("stop", "42")]


async def test_a_retry_edits_the_page_and_types_until_its_first_text(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    first = adapter.surface(claim(asked(message)))
    await first.open()
    shown = await show(first, Shown(), frame("Old", final=True, controls=(Control.RETRY,)))
    await first.close()
    page = shown.pages[0]
    again = claim(asked(message), attempt=3, pages=(PageRecord(0, page.message_id, page.channel),))
    second = adapter.surface(again)
    await second.open()
    found = await second.recover(again.pages)
    await show(second, found, frame("New", final=True, controls=(Control.RETRY,)))
    await second.close()
    [reply] = await sim.messages(message, author=c.BOT)
    assert (reply["content"], str(reply["id"])) == ("New", page.message_id)


async def test_a_deletion_without_the_guild_is_still_one_of_its_messages(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    await wait_received(inbox, message)
    await sim.call("fault_event", name="MESSAGE_DELETE", remove=["d.guild_id"])
    await sim.delete(message)
    await until(lambda: inbox.deletions)
    assert inbox.deletions == [source(c.CHANNEL, message)]
