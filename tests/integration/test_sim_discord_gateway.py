"""The simulated gateway behaves like Discord's and closes connections that violate its protocol."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sims.discord import ALICE, BOT, BOT_ROLE, CHANNEL, FORUM, GUILD, OTHER_BOT
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.sims.discord.raw_client import MESSAGE_CONTENT, USUAL_INTENTS, RawBot

FAST_HEARTBEAT_MS = 100


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """The simulator without rate limits: these tests are about single requests."""
    async with LocalDiscord() as running:
        yield running


@pytest.fixture
async def bot(sim: LocalDiscord) -> AsyncIterator[RawBot]:
    async with RawBot(sim) as raw:
        yield raw


# ── connecting ────────────────────────────────────────────────────────────────────────────────
async def test_identify_gives_ready_and_the_guild(bot: RawBot, sim: LocalDiscord) -> None:
    """READY contains the session, the resume URL and the application; the guild is complete."""
    gateway = await bot.connect()
    assert (await gateway.op(10))["d"]["heartbeat_interval"] == 41_250
    await gateway.identify()
    ready = await gateway.until("READY")
    assert ready["user"]["id"] == str(BOT)
    assert ready["resume_gateway_url"] == sim.gateway_url
    assert ready["application"] == {"id": str(BOT), "flags": 1 << 19}
    assert ready["guilds"] == [{"id": str(GUILD), "unavailable": True}]
    guild = await gateway.until("GUILD_CREATE")
    kinds = {channel["name"]: channel["type"] for channel in guild["channels"]}
    assert kinds == {"general": 0, "random": 0, "help": 15, "lounge": 2, "stage": 13}
    managed = [role for role in guild["roles"] if role.get("tags")]
    assert [(role["id"], role["tags"]) for role in managed] == [
        (str(BOT_ROLE), {"bot_id": str(BOT)})
    ]
    assert len(guild["members"]) == guild["member_count"] == 5


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"token": "wrong"}, 4004),
        ({"intents": 1 << 60}, 4013),
        ({"intents": c.INTENTS["members"]}, 4014),
        ({"intents": c.INTENTS["presences"]}, 4014),
        ({"shard": [4, 4]}, 4010),
    ],
)
async def test_an_invalid_identify_is_closed(
    bot: RawBot, changes: dict[str, Any], code: int
) -> None:
    """Each closes with Discord's code: token, intents, privileged intents, shard."""
    gateway = await bot.connect()
    await gateway.identify(**{"intents": USUAL_INTENTS} | changes)
    assert await gateway.close_code() == code


async def test_message_content_is_refused_until_it_is_granted(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """Without it, the gateway closes with 4014; the application's flags show whether it is
    granted."""
    await sim.grant_intents()
    gateway = await bot.connect()
    await gateway.identify(MESSAGE_CONTENT)
    assert await gateway.close_code() == 4014
    assert (await bot.request("GET", "/oauth2/applications/@me")).body["flags"] == 0
    await sim.grant_intents("message_content")
    await bot.connect_and_identify(MESSAGE_CONTENT)
    assert (await bot.request("GET", "/applications/@me")).body["flags"] == 1 << 19


async def test_protocol_violations_are_closed(bot: RawBot) -> None:
    """No identify or a second one, an unknown op, invalid JSON, too large, too fast, the wrong
    version."""
    gateway = await bot.connect()
    await gateway.say(8, {"guild_id": str(GUILD)})
    assert await gateway.close_code() == 4003
    gateway = await bot.connect_and_identify()
    await gateway.identify()
    assert await gateway.close_code() == 4005
    gateway = await bot.connect_and_identify()
    await gateway.say(99, None)
    assert await gateway.close_code() == 4001
    for broken in ("{", "x" * 5000):
        gateway = await bot.connect()
        await gateway.socket.send_str(broken)
        assert await gateway.close_code() == 4002
    gateway = await bot.connect()
    for _ in range(121):
        await gateway.say(1, None)
    assert await gateway.close_code() == 4008
    gateway = await bot.connect(v="6")
    assert await gateway.close_code() == 4012


async def test_zlib_stream_compresses_every_message(bot: RawBot, sim: LocalDiscord) -> None:
    """There is one zlib context per connection, with a sync flush after each message; zstd is
    refused."""
    gateway = await bot.connect(compress="zlib-stream")
    await gateway.identify()
    await gateway.until("GUILD_CREATE")
    await sim.say(content="compressed")
    assert (await gateway.until("MESSAGE_CREATE"))["author"]["id"] == str(ALICE)
    gateway = await bot.connect(compress="zstd-stream")
    assert await gateway.close_code() == 4012


async def test_heartbeats_are_acknowledged_and_a_silent_client_is_closed(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """Without heartbeats the connection is closed with 4009 and its session ends."""
    await sim.set_gateway(heartbeat_ms=FAST_HEARTBEAT_MS)
    gateway = await bot.connect_and_identify()
    await gateway.say(1, gateway.seq)
    assert (await gateway.op(11))["op"] == 11
    assert await gateway.close_code() == 4009
    again = await bot.connect()
    await again.resume(gateway.session_id, gateway.seq)
    assert (await again.op(9))["d"] is False


async def test_heartbeats_may_go_unanswered(bot: RawBot, sim: LocalDiscord) -> None:
    """A control turns the gateway into a zombie that acknowledges nothing."""
    await sim.set_gateway(acknowledges=False)
    gateway = await bot.connect_and_identify()
    await gateway.say(1, gateway.seq)
    await sim.say(content="after it")
    assert (await gateway.receive())["t"] == "MESSAGE_CREATE"


async def test_identify_can_require_a_pause(bot: RawBot, sim: LocalDiscord) -> None:
    """A second IDENTIFY too soon gets op 9; 1,000 identifies are allowed a day."""
    await sim.set_gateway(identify_seconds=60.0)
    await bot.connect_and_identify()
    gateway = await bot.connect()
    await gateway.identify()
    assert (await gateway.op(9))["d"] is False
    await sim.set_gateway(max_concurrency=2)
    await gateway.identify(shard=[1, 2])
    await gateway.until("READY")
    limit = (await bot.request("GET", "/gateway/bot")).body["session_start_limit"]
    assert (limit["total"], limit["remaining"], limit["max_concurrency"]) == (1000, 998, 2)


async def test_the_gateway_tells_the_shards_and_refuses_wrong_ones(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """It recommends a number; a shard count that is not a multiple gets 4010, too many guilds
    4011."""
    await sim.set_gateway(recommended=4, multiple_of=2, max_guilds=0)
    assert (await bot.request("GET", "/gateway/bot")).body["shards"] == 4
    number = (GUILD >> 22) % 4
    for shard, code in (([0, 3], 4010), ([number, 4], 4011)):
        gateway = await bot.connect()
        await gateway.identify(shard=shard)
        assert await gateway.close_code() == code
    empty = await bot.connect()
    await empty.identify(shard=[3 if number != 3 else 2, 4])
    await empty.until("READY")


async def test_a_shard_can_be_refused_or_left_without_an_answer(
    bot: RawBot, sim: LocalDiscord
) -> None:
    await sim.refuse_shard(1, 4014)
    gateway = await bot.connect()
    await gateway.identify(shard=[1, 2])
    assert await gateway.close_code() == 4014
    await sim.refuse_shard(1, 0)
    silent = await bot.connect()
    await silent.identify(shard=[1, 2])
    assert await silent.events() == []
    other = await bot.connect()
    await other.identify(shard=[0, 2])
    await other.until("READY")
    assert await sim.disconnect(4000, shard=0) == 1


async def test_one_session_too_many_resets_the_token(bot: RawBot, sim: LocalDiscord) -> None:
    """All sessions end, and nothing is accepted any more."""
    await sim.set_gateway(total=1)
    first = await bot.connect_and_identify()
    second = await bot.connect()
    await second.identify()
    assert [await first.close_code(), await second.close_code()] == [4004, 4004]
    assert (await bot.request("GET", "/users/@me")).status == 401


# ── sessions ──────────────────────────────────────────────────────────────────────────────────
async def test_resume_replays_exactly_what_was_missed(bot: RawBot, sim: LocalDiscord) -> None:
    """Events during the disconnection arrive once, in order, then RESUMED."""
    gateway = await bot.connect_and_identify()
    await gateway.socket.close(code=4000)
    said = [await sim.say(content=str(n)) for n in range(3)]
    again = await bot.connect()
    await again.resume(gateway.session_id, gateway.seq)
    events = await again.events()
    assert [name for name, _ in events] == ["MESSAGE_CREATE"] * 3 + ["RESUMED"]
    assert [data["id"] for _, data in events[:3]] == [str(x) for x in said]
    assert again.seq == gateway.seq + 4


async def test_an_invalid_resume_is_refused(bot: RawBot) -> None:
    """An unknown session gets op 9, a future sequence 4007, another type 4002, a wrong token
    4004."""
    first = await bot.connect_and_identify()
    gateway = await bot.connect()
    await gateway.resume("no one", 1)
    assert (await gateway.op(9))["d"] is False
    await gateway.resume(first.session_id, first.seq + 1)
    assert await gateway.close_code() == 4007
    gateway = await bot.connect()
    await gateway.resume(first.session_id, "x")
    assert await gateway.close_code() == 4002
    gateway = await bot.connect()
    await gateway.resume(first.session_id, first.seq, token="wrong")
    assert await gateway.close_code() == 4004


async def test_resumes_are_refused_on_demand(bot: RawBot, sim: LocalDiscord) -> None:
    first = await bot.connect_and_identify()
    await sim.refuse_resumes(4009)
    gateway = await bot.connect()
    await gateway.resume(first.session_id, first.seq)
    assert await gateway.close_code() == 4009
    await sim.refuse_resumes("invalid_session")
    gateway = await bot.connect()
    await gateway.resume(first.session_id, first.seq)
    assert (await gateway.op(9))["d"] is True


async def test_a_client_that_closes_normally_loses_its_session(bot: RawBot) -> None:
    """Closing with 1000 ends the session; closing with 4000 keeps it."""
    for code, op in ((1000, 9), (4000, 0)):
        first = await bot.connect_and_identify()
        await first.socket.close(code=code)
        gateway = await bot.connect()
        await gateway.resume(first.session_id, first.seq)
        assert (await gateway.op(op))["op"] == op


async def test_connections_are_interrupted_on_demand(bot: RawBot, sim: LocalDiscord) -> None:
    """Op 7, both forms of op 9, and a close code; a session survives if it may be resumed."""
    gateway = await bot.connect_and_identify()
    await sim.disconnect("op7")
    assert (await gateway.op(7))["d"] is None
    await sim.disconnect("invalid_session")
    assert (await gateway.op(9))["d"] is True
    await sim.disconnect(4000)
    assert await gateway.close_code() == 4000
    again = await bot.connect()
    await again.resume(gateway.session_id, gateway.seq)
    await again.until("RESUMED")
    await sim.disconnect("invalid_session", resumable=False)
    assert (await again.op(9))["d"] is False
    await again.resume(gateway.session_id, gateway.seq)
    assert (await again.op(9))["d"] is False


async def test_messages_sent_while_offline_are_not_delivered(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """A new session gets no old messages: only `last_message_id` shows that there are some."""
    gateway = await bot.connect_and_identify()
    before = await sim.say(content="before")
    await gateway.until("MESSAGE_CREATE")
    await sim.offline()
    with pytest.raises(Exception, match="503"):
        await bot.connect()
    thread = await sim.start_thread(ALICE, before, "a thread")
    missed = await sim.say(content="missed")
    in_thread = await sim.say(channel=thread, content="missed too")
    await sim.online()
    gateway = await bot.connect()
    await gateway.identify(USUAL_INTENTS | MESSAGE_CONTENT)
    guild = await gateway.until("GUILD_CREATE")
    assert await gateway.events() == []
    last = {channel["id"]: channel["last_message_id"] for channel in guild["channels"]}
    assert last[str(CHANNEL)] == str(missed)
    assert [t["last_message_id"] for t in guild["threads"]] == [str(in_thread)]
    path = f"/channels/{CHANNEL}/messages"
    found = (await bot.request("GET", path, after=str(before), limit="100")).body
    assert [message["content"] for message in found] == ["missed"]


async def test_a_guild_belongs_to_one_shard(bot: RawBot, sim: LocalDiscord) -> None:
    """It is (guild >> 22) % count; direct messages are on shard 0."""
    number = (GUILD >> 22) % 4
    other = await bot.connect()
    await other.identify(USUAL_INTENTS, shard=[3 if number != 3 else 2, 4])
    assert (await other.until("READY"))["guilds"] == []
    mine = await bot.connect()
    await mine.identify(USUAL_INTENTS, shard=[number, 4])
    assert len((await mine.until("READY"))["guilds"]) == 1
    await mine.until("GUILD_CREATE")
    zero = await bot.connect()
    await zero.identify(USUAL_INTENTS, shard=[0, 4])
    await zero.until("READY")
    await sim.say(content="in the guild")
    await sim.dm(ALICE, "in private")
    await mine.until("MESSAGE_CREATE")
    assert (await zero.until("MESSAGE_CREATE"))["content"] == "in private"
    assert await other.events() == []


# ── which events, and what is in them ─────────────────────────────────────────────────────────
async def test_intents_filter_events(bot: RawBot, sim: LocalDiscord) -> None:
    """Messages, direct messages, reactions and typing each need their own intent."""
    only_dms = await bot.connect_and_identify(c.INTENTS["dm_messages"])
    everything = await bot.connect_and_identify()
    message = await sim.say(content="in the guild")
    await sim.react(ALICE, message, "👍")
    await sim.react(ALICE, message, "👍", add=False)
    await sim.typing(ALICE, CHANNEL)
    await sim.dm(ALICE, "in private")
    assert [name for name, _ in await everything.events()] == [
        "MESSAGE_CREATE",
        "MESSAGE_REACTION_ADD",
        "MESSAGE_REACTION_REMOVE",
        "TYPING_START",
        "MESSAGE_CREATE",
    ]
    assert [data["content"] for _, data in await only_dms.events()] == ["in private"]


async def test_content_is_blank_without_its_intent(bot: RawBot, sim: LocalDiscord) -> None:
    """Exceptions are direct messages, messages that mention the bot, and the bot's own messages."""
    gateway = await bot.connect_and_identify(USUAL_INTENTS)
    file = {"filename": "a.txt", "text": "a"}
    await sim.say(content="secret", attachments=[file])
    await sim.mention("hello")
    await sim.say(content="by role", mention_role=True)
    await sim.dm(ALICE, "private")
    await bot.send(content="mine")
    messages = [data for _, data in await gateway.events()]
    assert [message["content"] for message in messages] == [
        "",
        f"<@{BOT}> hello",
        "",
        "private",
        "mine",
    ]
    assert messages[0]["attachments"] == []
    await sim.grant_intents()
    answer = await bot.request("GET", f"/channels/{CHANNEL}/messages", limit="4")
    assert [message["content"] for message in answer.body] == ["mine", "", f"<@{BOT}> hello", ""]


async def test_events_of_hidden_channels_are_not_sent(bot: RawBot, sim: LocalDiscord) -> None:
    """Without View Channel, no messages arrive, but changes of the channel do."""
    gateway = await bot.connect_and_identify()
    await sim.set_permissions(CHANNEL, deny=("view_channel",))
    await gateway.until("CHANNEL_UPDATE")
    await sim.say(content="unseen")
    await sim.set_permissions(CHANNEL)
    await sim.say(content="seen")
    assert [n for n, _ in await gateway.events()] == ["CHANNEL_UPDATE", "MESSAGE_CREATE"]


async def test_an_edit_a_preview_a_pin_and_a_thread_all_update_the_message(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """All send MESSAGE_UPDATE with the whole payload; only an edit changes edited_timestamp."""
    gateway = await bot.connect_and_identify()
    message = await sim.say(content="see https://example.com")
    created = await gateway.until("MESSAGE_CREATE")
    preview = await gateway.until("MESSAGE_UPDATE")
    assert [embed["url"] for embed in preview["embeds"]] == ["https://example.com"]
    await sim.pin(ALICE, message)
    pinned = await gateway.until("MESSAGE_UPDATE")
    await sim.start_thread(ALICE, message, "a thread")
    threaded = await gateway.until("MESSAGE_UPDATE")
    assert threaded["thread"]["id"] == str(message)
    assert threaded["flags"] & c.HAS_THREAD
    for update in (preview, pinned, threaded):
        assert update["edited_timestamp"] is None
        assert update["content"] == created["content"]
        assert created.keys() <= update.keys()
    await sim.edit(message, "other words")
    edited = await gateway.until("MESSAGE_UPDATE")
    assert edited["edited_timestamp"] is not None
    assert edited["embeds"] == []


async def test_a_thread_begins_with_an_empty_starter(bot: RawBot, sim: LocalDiscord) -> None:
    """It has the message's id; its first message has type 21 and refers to that message."""
    gateway = await bot.connect_and_identify()
    message = await sim.say(content="the topic")
    thread = await sim.start_thread(ALICE, message, "a thread")
    assert thread == message
    created = await gateway.until("THREAD_CREATE")
    assert (created["id"], created["parent_id"]) == (str(message), str(CHANNEL))
    assert created["newly_created"] is True
    starter = await gateway.until("MESSAGE_CREATE")
    assert (starter["type"], starter["content"]) == (21, "")
    assert starter["message_reference"]["message_id"] == str(message)
    post = await sim.forum_post(ALICE, "a post", "its text")
    assert (await gateway.until("THREAD_CREATE"))["parent_id"] == str(FORUM)
    first = await gateway.until("MESSAGE_CREATE")
    assert (first["id"], first["channel_id"], first["type"]) == (str(post), str(post), 0)


async def test_threads_channels_and_guilds_come_and_go(bot: RawBot, sim: LocalDiscord) -> None:
    """Each change sends its event."""
    gateway = await bot.connect_and_identify()
    thread = await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    await gateway.events()
    await sim.rename_thread(thread, "renamed")
    await sim.archive(thread)
    await sim.delete_thread(thread)
    channel = await sim.add_channel("new")
    await sim.delete_channel(channel)
    await sim.remove_bot()
    await sim.say(content="unheard")
    await sim.add_bot()
    events = await gateway.events()
    assert [name for name, _ in events] == [
        "THREAD_UPDATE",
        "THREAD_UPDATE",
        "THREAD_DELETE",
        "CHANNEL_CREATE",
        "CHANNEL_DELETE",
        "GUILD_DELETE",
        "GUILD_CREATE",
    ]
    assert events[0][1]["name"] == "renamed"
    assert events[1][1]["thread_metadata"]["archived"] is True
    assert (await sim.state())["threads"][0]["names"][-1]["name"] == "renamed"


async def test_mentions_by_kind(bot: RawBot, sim: LocalDiscord) -> None:
    """A mention, the managed role, a reply with and without a ping, and @everyone all differ."""
    mine = int((await bot.send(content="mine")).body["id"])
    gateway = await bot.connect_and_identify()
    await sim.mention("hello")
    await sim.say(content="hello", mention_role=True)
    await sim.say(content="a reply", reply_to=mine)
    await sim.say(content="a quiet reply", reply_to=mine, ping=False)
    await sim.say(content="hello @everyone `<@1>`")
    seen = [
        ([u["id"] for u in m["mentions"]], m["mention_roles"], m["mention_everyone"], m["type"])
        for _, m in await gateway.events()
    ]
    assert seen == [
        ([str(BOT)], [], False, 0),
        ([], [str(BOT_ROLE)], False, 0),
        ([str(BOT)], [], False, 19),
        ([], [], False, 19),
        ([], [], True, 0),
    ]


async def test_other_bots_webhooks_and_repeats_are_delivered(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """A webhook is the author of its messages; a replayed message is the same."""
    gateway = await bot.connect_and_identify()
    message = await sim.say(OTHER_BOT, content="beep")
    await sim.say(OTHER_BOT, content="hook", webhook=True)
    await sim.deliver_again(message)
    events = [data for _, data in await gateway.events()]
    assert [data["content"] for data in events] == ["beep", "hook", "beep"]
    assert events[0] == events[2]
    assert events[0]["author"]["bot"] is True
    assert events[1]["webhook_id"] == events[1]["author"]["id"]


async def test_a_deletion_event_has_only_ids(bot: RawBot, sim: LocalDiscord) -> None:
    """The record still contains the message."""
    gateway = await bot.connect_and_identify()
    message = await sim.say(content="gone")
    await sim.delete(message)
    await gateway.until("MESSAGE_CREATE")
    assert await gateway.until("MESSAGE_DELETE") == {
        "id": str(message),
        "channel_id": str(CHANNEL),
        "guild_id": str(GUILD),
    }
    channel = await sim.channel(CHANNEL)
    assert [m["content"] for m in channel["deleted_messages"]] == ["gone"]
    assert channel["messages"] == []


async def test_members_are_sent_on_request(bot: RawBot) -> None:
    """GUILD_MEMBERS_CHUNK responds to op 8, by name or by id."""
    gateway = await bot.connect_and_identify()
    await gateway.say(8, {"guild_id": str(GUILD), "query": "ali", "limit": 1, "nonce": "n"})
    chunk = await gateway.until("GUILD_MEMBERS_CHUNK")
    assert [m["user"]["username"] for m in chunk["members"]] == ["alice"]
    await gateway.say(8, {"guild_id": str(GUILD), "user_ids": [str(BOT)], "limit": 0})
    chunk = await gateway.until("GUILD_MEMBERS_CHUNK")
    assert [m["user"]["id"] for m in chunk["members"]] == [str(BOT)]
