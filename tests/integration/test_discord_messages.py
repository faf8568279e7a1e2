"""Discord messages become `Incoming` values, following the rows of the design's table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from discord.state import ConnectionState

from adapters.discord.adapter import DiscordAdapter
from adapters.discord.rest import Timeouts
from bot.domain.conversations import ConversationKey, Visibility
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import Address, CommandReply, Incoming
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.discord_kit import running, until, wait_received
from tests.support.fake_inbox import FakeInbox

GUILD, CHANNEL, BOT = str(c.GUILD), str(c.CHANNEL), f"<@{c.BOT}>"


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def adapter(sim: DiscordSim, inbox: FakeInbox) -> AsyncIterator[DiscordAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


def key(channel: int, thread: int | str) -> ConversationKey:
    return ConversationKey("discord", GUILD, str(channel), str(thread))


async def nothing_arrived(sim: DiscordSim, inbox: FakeInbox) -> bool:
    """Whether nothing arrived before a later message: events arrive in order."""
    last = await sim.mention("the last one")
    await wait_received(inbox, last)
    return [message.message_id for message in inbox.received] == [str(last)]


# ── channels ──────────────────────────────────────────────────────────────────────────────────
async def test_a_mention_in_a_channel_begins_a_conversation_with_its_own_id(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    before = time.time()
    message = await sim.mention("what is *this*?")
    got = await wait_received(inbox, message)
    assert got.key == key(c.CHANNEL, message)
    assert (got.channel, got.position, got.text) == (CHANNEL, message, "what is *this*?")
    assert (got.address, got.visibility) == (Address.MENTION, Visibility.PUBLIC)
    assert (got.author.id, got.author.name) == (str(c.ALICE), "Alice")
    assert got.route == {"mode": "thread", "title": "what is this?"}
    assert before - 0.001 <= got.sent_at <= time.time()  # an id has whole milliseconds
    assert not got.in_old_thread


async def test_the_bots_managed_role_is_a_mention(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.say(content="hello", mention_role=True)
    got = await wait_received(inbox, message)
    assert (got.address, got.text) == (Address.MENTION, "hello")


async def test_everyone_and_other_roles_do_not_mention_the_bot(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.say(content="@everyone look")
    await sim.say(content="@here look")
    await sim.say(content=f"<@&{c.TEAM_ROLE}> look")
    await sim.say(content="no one in particular")
    assert await nothing_arrived(sim, inbox)


async def test_messages_of_bots_and_webhooks_are_not_questions(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.mention("as a bot", user=c.OTHER_BOT)
    await sim.mention("as a webhook", webhook=True)
    await sim.mention("as itself", user=c.BOT)
    assert await nothing_arrived(sim, inbox)


async def test_system_messages_are_not_questions(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Starting a thread updates its message and adds an empty one to the thread."""
    plain = await sim.say(content="no question")
    await sim.start_thread(c.ALICE, plain, "a thread")
    await sim.pin(c.ALICE, plain)
    assert await nothing_arrived(sim, inbox)


async def test_ids_in_the_text_become_names(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    message = await sim.say(
        content=f"ask <@{c.BOB}> and <@&{c.TEAM_ROLE}> in <#{c.CHANNEL_2}>, {BOT}! <:wow:12>"
    )
    got = await wait_received(inbox, message)
    assert got.text == "ask @Bob and @team in #random! :wow:"


async def test_a_reply_to_another_persons_message_quotes_that_message(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    said = await sim.say(c.BOB, content="The sky is green.")
    message = await sim.mention("is that right?", reply_to=said)
    got = await wait_received(inbox, message)
    assert got.text == "Bob wrote:\n> The sky is green.\n\nis that right?"
    assert got.route["title"] == "is that right?"


# ── where threads cannot be made ──────────────────────────────────────────────────────────────
@pytest.mark.parametrize("channel", [c.VOICE, c.STAGE])
async def test_voice_and_stage_chats_use_reply_chains(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, channel: int
) -> None:
    message = await sim.mention("hi", channel=channel)
    got = await wait_received(inbox, message)
    assert got.key == key(channel, message)
    assert got.route == {"mode": "chain"}


async def test_announcement_channels_use_reply_chains(sim: DiscordSim, inbox: FakeInbox) -> None:
    news = await sim.add_channel("news", "news")
    async with running(sim, inbox):
        got = await wait_received(inbox, await sim.mention("hi", channel=news))
    assert got.route == {"mode": "chain"}


@pytest.mark.parametrize("denied", ["create_public_threads", "send_messages_in_threads"])
async def test_without_permission_for_threads_reply_chains_are_used(
    sim: DiscordSim, inbox: FakeInbox, denied: str
) -> None:
    await sim.set_permissions(c.CHANNEL, deny=(denied,))
    async with running(sim, inbox):
        got = await wait_received(inbox, await sim.mention("hi"))
    assert got.route == {"mode": "chain"}


async def test_a_reply_to_a_commands_reply_continues_the_chain(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The reply to a command is no page, but people respond to it to continue after a reset."""
    reset = await wait_received(inbox, await sim.mention("reset", channel=c.VOICE))
    await adapter.say(reset, CommandReply("Started over."))
    [ours] = await sim.messages(c.VOICE, author=c.BOT)
    message = await sim.say(channel=c.VOICE, content="and now?", reply_to=ours["id"], ping=True)
    got = await wait_received(inbox, message)
    assert (got.key, got.text) == (reset.key, "and now?")


async def test_after_a_restart_a_commands_reply_is_found_through_the_command(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """Ann responded to a page with a command; after a restart, Ben responds to the command's
    reply."""
    asked = await wait_received(inbox, await sim.mention("why?", channel=c.VOICE))
    page = await sim.say(c.BOT, c.VOICE, "Because.", reply_to=int(asked.message_id))
    inbox.conversations[f"{asked.source.rpartition('/')[0]}/{page}"] = asked.key
    stop = await sim.say(channel=c.VOICE, content="stop", reply_to=page, ping=True)
    await adapter.say(await wait_received(inbox, stop), CommandReply("Nothing to stop."))
    adapter._rest.command_replies.clear()
    [ours] = [m for m in await sim.messages(c.VOICE, author=c.BOT) if m["content"] != "Because."]
    message = await sim.say(channel=c.VOICE, content="and now?", reply_to=ours["id"], ping=True)
    assert (await wait_received(inbox, message)).key == asked.key


async def test_a_reply_to_the_bots_message_continues_its_conversation(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    begun = key(c.CHANNEL, 4711)
    ours = await sim.say(c.BOT, content="an answer")
    inbox.conversations[f"discord/{GUILD}/{CHANNEL}/{ours}"] = begun
    got = await wait_received(inbox, await sim.say(content="and then?", reply_to=ours, ping=False))
    assert (got.key, got.address, got.text) == (begun, Address.MENTION, "and then?")
    assert got.route == {"mode": "chain"}


async def test_a_reply_to_an_unknown_message_of_the_bot_starts_a_conversation(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    ours = await sim.say(c.BOT, content="Done.")
    message = await sim.say(content="thanks, and this?", reply_to=ours)
    got = await wait_received(inbox, message)
    assert (got.key, got.route["mode"]) == (key(c.CHANNEL, message), "thread")


# ── threads ───────────────────────────────────────────────────────────────────────────────────
async def start_thread(sim: DiscordSim) -> int:
    """A thread that a person started."""
    root = await sim.say(c.BOB, content="Let us talk.")
    return await sim.start_thread(c.BOB, root, "talk")


async def test_messages_in_a_thread_continue_its_conversation(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    thread = await start_thread(sim)
    follow_up = await wait_received(inbox, await sim.say(channel=thread, content="go on"))
    aside = await wait_received(inbox, await sim.say(channel=thread, content=f"<@{c.BOB}> see?"))
    both = await wait_received(
        inbox, await sim.say(channel=thread, content=f"<@{c.BOB}> and {BOT}")
    )
    loud = await wait_received(inbox, await sim.say(channel=thread, content="@everyone see?"))
    for got in (follow_up, aside, both, loud):
        assert (got.key, got.channel) == (key(c.CHANNEL, thread), str(thread))
        assert (got.visibility, got.route) == (Visibility.PUBLIC, {"mode": "here"})
    kinds = [got.address for got in (follow_up, aside, both, loud)]
    assert kinds == [Address.FOLLOW_UP, Address.ASIDE, Address.MENTION, Address.ASIDE]


async def test_a_mention_in_an_old_thread_includes_earlier_messages(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """The first of them is the message that the thread was started on."""
    thread = await start_thread(sim)
    await sim.say(channel=thread, content="I agree.")
    await sim.say(c.OTHER_BOT, thread, "Rain.")
    await sim.say(c.BOB, thread, "Me too.", attachments=[{"filename": "x.bin", "size": 5}])
    question = await wait_received(inbox, await sim.mention("who agrees?", channel=thread))
    assert question.in_old_thread
    before = len(await sim.requests("GET /api/v10/channels"))
    backlog = await adapter.backlog(question)
    assert [(m.author.name, m.text) for m in backlog] == [
        ("Bob", "Let us talk."),
        ("Alice", "I agree."),
        ("weather-bot", "Rain."),
        ("Bob", "Me too."),
    ]
    assert {m.key for m in backlog} == {question.key}
    assert [m.channel for m in backlog] == [CHANNEL, *[str(thread)] * 3]
    assert [[file.name for file in m.attachments] for m in backlog] == [[], [], [], ["x.bin"]]
    assert len(await sim.requests("GET /api/v10/channels")) == before + 1


async def test_a_bots_message_is_the_first_entry_of_a_thread_started_on_it(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    """People ask about it, and about the bot's later messages."""
    alert = await sim.say(c.OTHER_BOT, content="Disk full.")
    thread = await sim.start_thread(c.BOB, alert, "alert")
    await sim.say(c.OTHER_BOT, thread, "Still full.")
    question = await wait_received(inbox, await sim.mention("what now?", channel=thread))
    backlog = await adapter.backlog(question)
    assert [(m.author.name, m.text) for m in backlog] == [
        ("weather-bot", "Disk full."),
        ("weather-bot", "Still full."),
    ]


async def test_a_reply_in_a_thread_names_the_message_it_refers_to(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    thread = await start_thread(sim)
    third = await sim.say(c.BOB, thread, "E = mc2")
    await sim.say(c.BOB, thread, "F = ma")
    asked = await wait_received(
        inbox, await sim.mention("explain this", channel=thread, reply_to=third)
    )
    assert asked.text == "In reply to Bob:\n> E = mc2\n\nexplain this"
    ours = await sim.say(c.BOT, thread, "Energy is mass.")
    again = await wait_received(inbox, await sim.say(channel=thread, content="why?", reply_to=ours))
    assert again.text == "In reply to threadline:\n> Energy is mass.\n\nwhy?"
    stop = await wait_received(inbox, await sim.say(channel=thread, content="stop", reply_to=ours))
    assert stop.text == "stop"


async def test_a_forum_posts_title_is_part_of_the_question(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    post = await sim.forum_post(c.ALICE, "Broken build", "since today", mention=True)
    got = await wait_received(inbox, post)
    assert got.key == key(c.FORUM, post)
    assert (got.address, got.text) == (Address.MENTION, "# Broken build\n\nsince today")


async def test_a_forum_posts_title_is_in_its_backlog(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    post = await sim.forum_post(c.BOB, "Broken build", "since today")
    question = await wait_received(inbox, await sim.mention("help?", channel=post))
    assert question.text == "help?"
    texts = [m.text for m in await adapter.backlog(question)]
    assert texts == ["# Broken build\n\nsince today"]


async def test_an_uncached_thread_is_fetched(sim: DiscordSim, inbox: FakeInbox) -> None:
    """A new session does not include archived threads."""
    thread = await start_thread(sim)
    await sim.archive(thread)
    async with running(sim, inbox):
        await sim.dispatch("MESSAGE_CREATE", raw_message(thread, "still there?"))
        got = await until(lambda: inbox.find("still there?"))
    assert isinstance(got, Incoming)
    assert (got.key, got.address) == (key(c.CHANNEL, thread), Address.FOLLOW_UP)


async def test_a_response_about_another_channel_is_not_believed(
    sim: DiscordSim, inbox: FakeInbox
) -> None:
    """Otherwise the answer would appear there."""
    thread = await start_thread(sim)
    await sim.archive(thread)
    put = {"id": str(c.CHANNEL_2), "type": 0}
    await sim.call("fault", match=f"GET /api/v10/channels/{thread}", put=put)
    async with running(sim, inbox, timeouts=Timeouts(again=0.1)):
        bot = {"id": str(c.BOT), "username": "bot", "discriminator": "0", "avatar": None}
        question = raw_message(thread, f"<@{c.BOT}> still there?") | {"mentions": [bot]}
        await sim.dispatch("MESSAGE_CREATE", question)
        await sim.say(channel=thread, content="and now?")
        got = await until(lambda: inbox.find("and now?"))
    assert isinstance(got, Incoming)
    assert got.key == key(c.CHANNEL, thread)
    assert all(message.key == got.key for message in inbox.received)


def raw_message(channel: int, content: str) -> dict[str, object]:
    author = {"id": str(c.ALICE), "username": "alice", "discriminator": "0", "avatar": None}
    return {
        "id": "1500000000000000000",
        "type": 0,
        "channel_id": str(channel),
        "guild_id": GUILD,
        "author": author,
        "content": content,
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
    }


# ── direct messages, private places ───────────────────────────────────────────────────────────
async def test_a_direct_message_needs_no_mention(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    sent = await sim.dm(c.ALICE, "hello")
    got = await wait_received(inbox, sent["message"])
    assert got.key == ConversationKey("discord", "@me", str(sent["channel"]), "")
    assert (got.address, got.visibility) == (Address.DIRECT, Visibility.PRIVATE)
    assert got.source == f"discord/@me/{sent['channel']}/{sent['message']}"


async def test_a_channel_hidden_from_everyone_is_private(sim: DiscordSim, inbox: FakeInbox) -> None:
    hidden = await sim.add_channel("staff")
    await sim.set_permissions(hidden, deny=("view_channel",), target=c.GUILD)
    await sim.set_permissions(hidden, allow=("view_channel",), target=c.BOT)
    await sim.set_permissions(hidden, allow=("view_channel",), target=c.ALICE)
    async with running(sim, inbox):
        got = await wait_received(inbox, await sim.mention("secret", channel=hidden))
    assert got.visibility is Visibility.PRIVATE


# ── the connection ────────────────────────────────────────────────────────────────────────────
async def test_messages_are_handled_before_discord_py_is_ready(
    sim: DiscordSim, inbox: FakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """discord.py becomes ready two seconds after the last guild; here it never does."""

    async def never(_: ConnectionState[Any]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(ConnectionState, "_delay_ready", never)
    async with running(sim, inbox) as adapter:
        await wait_received(inbox, await sim.mention("immediately"))
        assert adapter.health().ok


@pytest.mark.parametrize("how", ["op7", 4000])
async def test_an_interrupted_session_is_resumed(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter, how: int | str
) -> None:
    await sim.disconnect(how)
    message = await sim.mention("while away")
    await wait_received(inbox, message)
    assert inbox.connections == 1


async def test_a_lost_session_is_replaced_by_a_new_one(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    await sim.disconnect("invalid_session", resumable=False)
    await until(lambda: inbox.connections == 2)
    await wait_received(inbox, await sim.mention("back again"))


async def test_the_author_is_told_if_a_message_cannot_be_stored(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    inbox.error = StoreUnavailable("disk full")
    message = await sim.mention("keep this")

    async def find_apology() -> object:
        return await sim.messages(author=c.BOT)

    [apology] = await sim.until(find_apology)
    assert "cannot save" in apology["content"]
    assert apology["reply_to"] == message
    await sim.mention("and this")
    await until(lambda: len(inbox.apologies) == 2)
    await sim.wait_idle(0.05)
    assert len(await find_apology()) == 1, "told again although none was due"  # type: ignore[arg-type]


async def test_a_failing_handler_does_not_stop_the_next(
    sim: DiscordSim, inbox: FakeInbox, adapter: DiscordAdapter
) -> None:
    inbox.error = ZeroDivisionError()
    await sim.mention("breaks")
    await sim.wait_idle(0.05)
    inbox.error = None
    await wait_received(inbox, await sim.mention("works"))
