"""The simulated Discord's threads, forums, archives and guilds, and their errors."""

from collections.abc import AsyncIterator

import pytest

from tests.sims.discord import ALICE, CHANNEL, FORUM, GUILD, STAGE, VOICE
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.sims.discord.raw_client import RawBot


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """The simulator without rate limits: these tests are about single requests."""
    async with LocalDiscord() as running:
        await running.set_limits(on=False)
        yield running


@pytest.fixture
async def bot(sim: LocalDiscord) -> AsyncIterator[RawBot]:
    async with RawBot(sim) as raw:
        yield raw


async def test_a_thread_has_its_messages_id(bot: RawBot, sim: LocalDiscord) -> None:
    """The starter stays in the channel; in the thread, a message of type 21 refers to it."""
    message = await sim.say(content="a topic")
    answer = await bot.thread(CHANNEL, message, "  its name ")
    assert (answer.status, answer.body["id"]) == (201, str(message))
    assert answer.body["name"] == "its name"
    history = (await bot.request("GET", f"/channels/{message}/messages")).body
    assert [(m["type"], m["content"]) for m in history] == [(21, "")]
    assert history[0]["referenced_message"]["content"] == "a topic"
    assert (await bot.request("GET", f"/channels/{message}/messages/{message}")).code == 10008


async def test_one_thread_for_a_message(bot: RawBot, sim: LocalDiscord) -> None:
    """A second one is refused with 160004, no matter who started the first."""
    message = await sim.say(content="a topic")
    await sim.start_thread(ALICE, message, "mine")
    answer = await bot.thread(CHANNEL, message)
    assert (answer.status, answer.code) == (400, 160004)


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
async def test_a_threads_name_has_limits(bot: RawBot, sim: LocalDiscord, name: str) -> None:
    """1 to 100 characters, even when renaming; the archive duration is one of four values."""
    message = await sim.say(content="x")
    assert (await bot.thread(CHANNEL, message, name)).wrong == ["name"]
    path = f"/channels/{CHANNEL}/messages/{message}/threads"
    wrong = await bot.request("POST", path, {"name": "x", "auto_archive_duration": 61})
    assert wrong.wrong == ["auto_archive_duration"]
    assert (await bot.thread(CHANNEL, message, "x" * 100)).status == 201
    assert (await bot.request("PATCH", f"/channels/{message}", {"name": name})).wrong == ["name"]


async def test_threads_are_for_text_channels(bot: RawBot, sim: LocalDiscord) -> None:
    """Voice channels, stages, threads and direct messages refuse them with 50024."""
    thread = await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    direct = await sim.dm(ALICE, "x")
    for channel in (VOICE, STAGE, thread, direct["channel"]):
        message = await sim.say(channel=channel, content="x")
        assert (await bot.thread(channel, message)).code == 50024
    assert (await bot.thread(CHANNEL, 1)).code == 10008


async def test_threads_need_their_permissions(bot: RawBot, sim: LocalDiscord) -> None:
    """One permission allows creating them, another allows sending messages in them."""
    message = await sim.say(content="x")
    await sim.set_permissions(CHANNEL, deny=("create_public_threads",))
    assert (await bot.thread(CHANNEL, message)).code == 50013
    thread = await sim.start_thread(ALICE, message, "a thread")
    await sim.set_permissions(CHANNEL, deny=("send_messages",))
    assert (await bot.send(thread)).status == 200
    await sim.set_permissions(CHANNEL, deny=("send_messages_in_threads",))
    assert (await bot.send(thread)).code == 50013
    assert (await bot.send(CHANNEL)).status == 200


async def test_a_role_can_be_denied_and_a_member_allowed(bot: RawBot, sim: LocalDiscord) -> None:
    """Overwrites apply in Discord's order: @everyone, roles, the member."""
    await sim.set_permissions(CHANNEL, deny=("send_messages",), target=GUILD)
    assert (await bot.send()).code == 50013
    await sim.set_permissions(CHANNEL, allow=("send_messages",), target=c.BOT_ROLE)
    assert (await bot.send()).status == 200
    await sim.set_permissions(CHANNEL, deny=("send_messages",))
    assert (await bot.send()).code == 50013
    channels = (await bot.request("GET", f"/guilds/{GUILD}/channels")).body
    assert [o["type"] for o in channels[0]["permission_overwrites"]] == [0, 0, 1]


async def test_an_archived_thread_refuses_edits_until_a_new_message(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """50083 for an edit, a deletion, a reaction or a rename; a new message unarchives the
    thread."""
    thread = await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    message = (await bot.send(thread)).body["id"]
    await sim.archive(thread)
    path = f"/channels/{thread}/messages/{message}"
    for answer in (
        await bot.patch(thread, message, content="y"),
        await bot.request("DELETE", path),
        await bot.request("PUT", f"{path}/reactions/x/@me"),
        await bot.request("PUT", f"/channels/{thread}/thread-members/@me"),
    ):
        assert (answer.status, answer.code) == (400, 50083)
    gateway = await bot.connect_and_identify()
    assert (await bot.send(thread, content="again")).status == 200
    opened = await gateway.until("THREAD_UPDATE")
    assert opened["thread_metadata"]["archived"] is False
    assert (await gateway.until("MESSAGE_CREATE"))["content"] == "again"
    assert (await bot.patch(thread, message, content="y")).status == 200


async def test_a_locked_thread_needs_manage_threads(bot: RawBot, sim: LocalDiscord) -> None:
    """Without it, posting is 403 with 50083 and unarchiving fails; with it both work."""
    thread = await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    await sim.lock(thread)
    answer = await bot.send(thread)
    assert (answer.status, answer.code) == (403, 50083)
    assert (await bot.request("PATCH", f"/channels/{thread}", {"archived": False})).code == 50013
    await sim.set_permissions(CHANNEL, allow=("manage_threads",))
    opening = {"archived": False, "locked": False}
    assert (await bot.request("PATCH", f"/channels/{thread}", opening)).status == 200
    assert (await bot.send(thread)).status == 200


async def test_a_thread_is_changed_by_its_owner_or_a_manager(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """Anyone may unarchive an unlocked one; names are kept with their times."""
    theirs = await sim.start_thread(ALICE, await sim.say(content="x"), "theirs")
    assert (await bot.request("PATCH", f"/channels/{theirs}", {"name": "y"})).code == 50013
    await sim.archive(theirs)
    assert (await bot.request("PATCH", f"/channels/{theirs}", {"archived": False})).status == 200
    mine = (await bot.thread(CHANNEL, await sim.say(content="x"), "mine")).body["id"]
    assert (await bot.request("PATCH", f"/channels/{mine}", {"locked": True})).code == 50013
    assert (await bot.request("PATCH", f"/channels/{mine}", {"name": "ours"})).status == 200
    assert (await bot.request("DELETE", f"/channels/{mine}")).code == 50013
    names = (await sim.channel(int(mine)))["names"]
    assert [entry["name"] for entry in names] == ["mine", "ours"]


async def test_a_deleted_thread_is_unknown(bot: RawBot, sim: LocalDiscord) -> None:
    """Everything in it is 10003, but controls can still read it."""
    thread = await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    message = (await bot.send(thread)).body["id"]
    await sim.delete_thread(thread)
    assert (await bot.send(thread)).code == 10003
    assert (await bot.patch(thread, message, content="y")).code == 10003
    assert (await sim.channel(thread))["deleted"] is not None


async def test_forum_posts(bot: RawBot, sim: LocalDiscord) -> None:
    """A post is a thread that contains its first message, with the same id."""
    answer = await bot.request(
        "POST", f"/channels/{FORUM}/threads", {"name": "a post", "message": {"content": "text"}}
    )
    post = answer.body["id"]
    assert answer.body["message"]["id"] == post
    assert (await bot.request("GET", f"/channels/{post}/messages/{post}")).body["content"] == "text"
    empty = {"name": "a post", "message": {"content": ""}}
    assert (await bot.request("POST", f"/channels/{FORUM}/threads", empty)).code == 50006
    theirs = await sim.forum_post(ALICE, "another", "hello", mention=True)
    assert (await sim.channel(theirs))["messages"][0]["pinged"] == [f"user:{c.BOT}"]


async def test_threads_are_listed(bot: RawBot, sim: LocalDiscord) -> None:
    """Active threads are listed by guild with the bot's memberships, archived ones by channel, in
    pages."""
    threads = [await sim.start_thread(ALICE, await sim.say(content="x"), str(n)) for n in range(4)]
    mine = (await bot.thread(CHANNEL, await sim.say(content="x"), "mine")).body["id"]
    for thread in threads[:3]:
        await sim.archive(thread)
    active = (await bot.request("GET", f"/guilds/{GUILD}/threads/active")).body
    assert [t["name"] for t in active["threads"]] == ["3", "mine"]
    assert [m["id"] for m in active["members"]] == [mine]
    path = f"/channels/{CHANNEL}/threads/archived/public"
    page = (await bot.request("GET", path, limit=2)).body
    assert ([t["name"] for t in page["threads"]], page["has_more"]) == (["2", "1"], True)
    last = page["threads"][-1]["thread_metadata"]["archive_timestamp"]
    rest = (await bot.request("GET", path, before=last)).body
    assert ([t["name"] for t in rest["threads"]], rest["has_more"]) == (["0"], False)


async def test_hidden_threads_are_not_listed(bot: RawBot, sim: LocalDiscord) -> None:
    """Threads have the permissions of their channel."""
    await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    await sim.set_permissions(CHANNEL, deny=("view_channel",))
    assert (await bot.request("GET", f"/guilds/{GUILD}/threads/active")).body["threads"] == []
    gateway = await bot.connect()
    await gateway.identify()
    assert (await gateway.until("GUILD_CREATE"))["threads"] == []


async def test_membership_of_a_thread(bot: RawBot, sim: LocalDiscord) -> None:
    """The bot is a member of threads it created or joined; in others it gets 10007 but may post."""
    thread = await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    path = f"/channels/{thread}/thread-members/@me"
    assert (await bot.request("GET", path)).code == 10007
    assert (await bot.send(thread)).status == 200
    assert (await bot.request("PUT", path)).status == 204
    assert (await bot.request("GET", path)).body["user_id"] == str(c.BOT)
    assert (await bot.request("DELETE", path)).status == 204
    assert (await bot.request("GET", path)).code == 10007


async def test_guilds_and_users(bot: RawBot, sim: LocalDiscord) -> None:
    """The data that clients request about them; unknown ones have their error codes."""
    guild = (await bot.request("GET", f"/guilds/{GUILD}")).body
    assert guild["name"] == "Sim guild"
    assert len((await bot.request("GET", f"/guilds/{GUILD}/channels")).body) == 5
    roles = (await bot.request("GET", f"/guilds/{GUILD}/roles")).body
    assert [role["name"] for role in roles] == ["@everyone", "Threadline", "team"]
    member = (await bot.request("GET", f"/guilds/{GUILD}/members/{c.BOT}")).body
    assert member["roles"] == [str(c.BOT_ROLE)]
    assert (await bot.request("GET", f"/users/{ALICE}")).body["username"] == "alice"
    assert (await bot.request("GET", f"/guilds/{GUILD}/members/1")).code == 10007
    assert (await bot.request("GET", "/guilds/1")).code == 10004
    assert (await bot.request("GET", "/users/1")).code == 10013
    dora = await sim.add_person("dora")
    assert (await bot.request("GET", f"/guilds/{GUILD}/members/{dora}")).status == 200
