"""Edits, deletions and places that go, on the real client: what reaches the core, and what not."""

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
    RecordingInbox,
    asked,
    claim,
    frame,
    received,
    running,
    show,
    until,
)

GUILD, CHANNEL = str(c.GUILD), str(c.CHANNEL)


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        await sim.set_limits(on=False)
        yield sim


@pytest.fixture
def inbox() -> RecordingInbox:
    return RecordingInbox()


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: RecordingInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


async def caught_up(sim: DiscordSim, inbox: RecordingInbox) -> None:
    """Everything that was sent before has been handled."""
    await received(inbox, await sim.mention("the last"))


def source(channel: int, message: int, guild: str = GUILD) -> str:
    return f"discord/{guild}/{channel}/{message}"


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
async def test_edit_comes_as_the_message_would_with_its_time(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("frist")
    before = await received(inbox, message)
    await sim.edit(message, f"<@{c.BOT}> first")
    await until(lambda: inbox.edits)
    [(after, edited_at)] = inbox.edits
    assert (after.source, after.text, after.address) == (before.source, "first", before.address)
    assert edited_at > before.sent_at


async def test_edit_in_a_thread_and_in_a_direct_message(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
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


async def test_mention_that_is_edited_out_is_an_edit_and_strangers_edits_are_none(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("frist")
    stored = await received(inbox, message)
    inbox.conversations[stored.source] = stored.key
    stranger = await sim.say(c.BOB, content="lunch?")
    await sim.edit(stranger, "dinner?")
    await sim.edit(message, "never mind")
    await until(lambda: inbox.edits)
    assert [(edit.text, edit.address.begins) for edit, _ in inbox.edits] == [("never mind", False)]


async def test_previews_pins_and_threads_are_no_edits(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("see https://example.com/ please")
    await sim.pin(c.BOB, message)
    await sim.start_thread(c.ALICE, message, "a thread")
    await caught_up(sim, inbox)
    assert inbox.edits == []


async def test_edits_of_bots_and_webhooks_and_our_own_are_none_of_our_business(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
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
async def test_deletions_come_with_their_source_whoever_wrote_the_message(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
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


async def test_what_is_changed_while_the_database_fails_is_kept_afterwards(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
) -> None:
    """Discord tells it once: a text that people deleted must not stay."""
    changed, deleted = await sim.mention("frist"), await sim.mention("secret")
    await received(inbox, changed)
    await received(inbox, deleted)
    inbox.error = StoreUnavailable("locked")
    await sim.edit(changed, f"<@{c.BOT}> first")
    await sim.delete(deleted)
    await until(lambda: inbox.refused >= 2)
    inbox.error = None
    await until(lambda: inbox.deletions == [source(c.CHANNEL, deleted)] and len(inbox.edits) == 1)
    assert inbox.edits[0][0].text == "first"


async def test_many_deleted_at_once_come_one_by_one(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
) -> None:
    ids = [str(await sim.say(content=text)) for text in ("a", "b", "c")]
    await sim.dispatch(
        "MESSAGE_DELETE_BULK", {"ids": ids, "channel_id": CHANNEL, "guild_id": GUILD}
    )
    await until(lambda: len(inbox.deletions) == 3)
    assert inbox.deletions == [source(c.CHANNEL, int(id_)) for id_ in ids]


async def test_pages_that_we_remove_ourselves_are_no_deletions(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
) -> None:
    surface = adapter.surface(claim(asked(await sim.mention("question"))))
    await surface.open()
    shown = await show(surface, Shown(), frame("one", "two", "three", final=True))
    await show(surface, shown, frame("one", final=True))
    await surface.close()
    await caught_up(sim, inbox)
    assert inbox.deletions == []


# ── places ────────────────────────────────────────────────────────────────────────────────────
async def test_places_that_go_are_named_by_how_much_is_gone(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.mention("question")
    await sim.start_thread(c.ALICE, message, "a thread")
    other = await sim.add_channel("short-lived")
    await sim.delete_thread(message)
    await sim.delete_channel(other)
    await sim.remove_bot()
    await until(lambda: len(inbox.places_gone) == 3)
    assert inbox.places_gone == [
        ConversationKey("discord", GUILD, CHANNEL, str(message)),
        ConversationKey("discord", GUILD, str(other), ""),
        ConversationKey("discord", GUILD, "", ""),
    ]


async def test_an_outage_of_a_guild_is_no_removal(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
) -> None:
    await sim.dispatch("GUILD_DELETE", {"id": GUILD, "unavailable": True}, guild=None)
    private = await sim.dm(c.ALICE, "still there?")
    await received(inbox, private["message"])
    assert inbox.places_gone == []


@pytest.mark.parametrize("how", ["locked", "deleted", "no permission"])
async def test_place_that_is_closed_in_mid_reply_is_gone(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter, how: str
) -> None:
    """Nothing lands in the channel instead of the thread."""
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


async def test_thread_that_people_archive_in_mid_reply_is_opened_for_the_rest(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
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


async def acknowledged(sim: DiscordSim, click: int) -> None:
    """Within the three seconds that Discord gives: later ones are refused."""

    async def answered() -> bool:
        return (await sim.interaction(click))["answered"] is not None

    await sim.until(answered, 3)


# ── buttons ───────────────────────────────────────────────────────────────────────────────────
async def test_a_button_says_which_turn_it_means_and_its_success_needs_no_words(
    sim: DiscordSim, inbox: RecordingInbox
) -> None:
    """Also after a restart: nothing of it is kept in memory."""
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
            await acknowledged(sim, await sim.click(c.BOB, page["id"], button["custom_id"]))
        await until(lambda: len(inbox.commands) == 2)
        inbox.answer = CommandReply("Too late.")
        click = await sim.click(
            c.BOB, page["id"], page["components"][0]["components"][0]["custom_id"]
        )

        async def told() -> bool:
            answers = (await sim.interaction(click))["answers"]
            return any(answer["data"].get("content") == "Too late." for answer in answers)

        await sim.until(told)
    assert [(x.name, x.argument) for x in inbox.commands[:2]] == [
        ("retry", "42"),
        ("continue", "42"),
    ]
    assert inbox.commands[0].key == asked(message).key


async def test_a_press_counts_though_its_acknowledgement_comes_too_late(
    sim: DiscordSim, inbox: RecordingInbox
) -> None:
    """Discord tells the person that it failed; a reply that was stopped is stopped all the same."""
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


async def test_retry_edits_the_page_and_types_only_until_its_first_text(
    sim: DiscordSim, inbox: RecordingInbox, adapter: DiscordAdapter
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
