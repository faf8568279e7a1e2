"""The real discord.py client works on the simulator and behaves as the documentation says."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
from discord import app_commands

from tests.sims.discord import (
    ALICE,
    BOT,
    BOT_ROLE,
    CHANNEL,
    FORUM,
    GUILD,
    SIM_TOKEN,
    DiscordSim,
)
from tests.sims.discord.library_client import new_client, redirect_to, running
from tests.sims.discord.local import LocalDiscord

URL = "https://example.com/a"


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """The simulator without rate limits: these tests are about single requests."""
    async with LocalDiscord() as local:
        yield local


@pytest.fixture
async def client(sim: LocalDiscord) -> AsyncIterator[discord.Client]:
    async with running(sim, new_client()) as connected:
        yield connected


def text_channel(client: discord.Client, channel: int = CHANNEL) -> discord.TextChannel:
    found = client.get_channel(channel)
    assert isinstance(found, discord.TextChannel)
    return found


async def heard(client: discord.Client, event: str, **options: Any) -> Any:
    return await asyncio.wait_for(client.wait_for(event, **options), 60)


# ── connecting ────────────────────────────────────────────────────────────────────────────────
async def test_it_connects_to_a_simulator_in_its_own_process() -> None:
    """It uses zlib-stream, and sees the guild, its channels and its managed role."""
    async with DiscordSim() as sim, running(sim, new_client()) as client:
        guild = client.get_guild(GUILD)
        assert guild is not None
        assert guild.self_role is not None
        assert guild.self_role.id == BOT_ROLE
        assert {type(x) for x in guild.channels} == {
            discord.TextChannel,
            discord.ForumChannel,
            discord.VoiceChannel,
            discord.StageChannel,
        }
        assert client.application is not None
        assert client.application.flags.gateway_message_content_limited
        upgrade = await sim.requests("/gateway/")
        assert upgrade[0]["query"]["compress"] == "zlib-stream"


async def test_a_wrong_token_and_a_missing_intent_end_the_client(sim: LocalDiscord) -> None:
    """LoginFailure at the login, PrivilegedIntentsRequired after close code 4014."""
    async with redirect_to(sim):
        async with new_client() as client:
            with pytest.raises(discord.LoginFailure):
                await client.start("wrong")
        await sim.grant_intents()
        async with new_client() as client:
            with pytest.raises(discord.PrivilegedIntentsRequired):
                await client.start(SIM_TOKEN)


async def test_events_arrive_before_the_client_is_ready(sim: LocalDiscord) -> None:
    """`guild_ready_timeout` delays on_ready by two seconds after the last guild."""
    client = new_client(guild_ready_timeout=3_600)
    async with redirect_to(sim), client:
        task = asyncio.create_task(client.start(SIM_TOKEN))
        await sim.wait_ready()
        await sim.mention("early")
        assert (await heard(client, "message")).content == f"<@{BOT}> early"
        assert not client.is_ready()
        await client.close()
        await task


async def test_the_client_is_ready_some_time_after_the_last_guild(sim: LocalDiscord) -> None:
    client = new_client(guild_ready_timeout=0.5)
    async with redirect_to(sim), client:
        begun = time.monotonic()
        task = asyncio.create_task(client.start(SIM_TOKEN))
        await sim.wait_ready()
        await asyncio.wait_for(client.wait_until_ready(), 60)
        assert time.monotonic() - begun > 0.5
        await client.close()
        await task


async def test_it_resumes_after_op_7_and_misses_nothing(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """Events between the two connections are replayed without a second IDENTIFY."""
    for how in ("op7", 4000):
        resumed = asyncio.create_task(heard(client, "resumed"))
        message = asyncio.create_task(heard(client, "message"))
        await asyncio.sleep(0)
        await sim.disconnect(how)
        await sim.say(content=f"during {how}")
        await resumed
        assert (await message).content == f"during {how}"
    state = await sim.state()
    assert len(state["identifies"]) == 1
    assert state["sessions"][0]["resumes"] == 2


async def test_a_new_session_does_not_replay_missed_events(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """Op 9 leads to IDENTIFY and READY; only the channel's last message id shows the gap."""
    ready = asyncio.create_task(heard(client, "ready"))
    await asyncio.sleep(0)
    await sim.call("fault", match="/gateway/", delay=0.2)
    await sim.disconnect(4000, resumable=False)
    missed = await sim.say(content="missed")
    await ready
    assert len((await sim.state())["identifies"]) == 2
    assert text_channel(client).last_message_id == missed
    found = [
        m.content async for m in text_channel(client).history(after=discord.Object(missed - 1))
    ]
    assert found == ["missed"]


async def test_some_of_the_shards_can_run(sim: LocalDiscord) -> None:
    """AutoShardedClient with shard_ids gets only the guilds of those shards."""

    class Sharded(discord.AutoShardedClient):
        async def before_identify_hook(
            self, shard_id: int | None, *, initial: bool = False
        ) -> None:
            """Skip the pause of five seconds between identifies."""

    mine = (GUILD >> 22) % 4
    other = (mine + 1) % 4
    extra = await sim.add_guild("other", (other << 22) + (5 << 40))
    client = Sharded(
        intents=discord.Intents.default(), shard_count=4, shard_ids=[mine, (mine + 2) % 4]
    )
    async with redirect_to(sim), client:
        task = asyncio.create_task(client.start(SIM_TOKEN))
        assert (await heard(client, "guild_available")).id == GUILD

        async def has_identified() -> bool:
            shards = sorted(x["shard"] for x in (await sim.state())["sessions"])
            return shards == sorted([[mine, 4], [(mine + 2) % 4, 4]])

        await sim.until(has_identified)
        assert client.get_guild(extra["guild"]) is None
        await client.close()
        await task


# ── messages ──────────────────────────────────────────────────────────────────────────────────
async def test_a_mention_is_answered_in_a_thread(sim: LocalDiscord, client: discord.Client) -> None:
    """The thread, the first text, edits and a file are all accepted."""
    waiting = asyncio.create_task(heard(client, "message"))
    await asyncio.sleep(0)
    asked = await sim.mention("a question")
    message = await waiting
    assert message.id == asked
    assert client.user in message.mentions
    thread = await message.create_thread(name="a question")
    async with thread.typing():
        first = await thread.send("first", suppress_embeds=True, nonce="n1")
    await first.edit(content="first text")
    await thread.send("a file", file=discord.File(__file__))
    shown = await sim.messages(thread.id, author=BOT)
    assert [m["content"] for m in shown] == ["first text", "a file"]
    assert [v["content"] for v in shown[0]["versions"]] == ["first", "first text"]
    assert [t["channel"] for t in (await sim.state())["typing"]] == [thread.id]
    again = await thread.send("not shown", nonce="n1")
    assert again.id == first.id


async def test_requests_contain_only_the_bots_conventions(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """`AllowedMentions.none()` is an empty parse; the bot's own nonce is enforced."""
    await text_channel(client).send("@everyone", nonce="mine")
    body = (await sim.requests("POST /api/v10/channels"))[-1]["body"]
    assert body["allowed_mentions"] == {"parse": []}
    assert (body["nonce"], body["enforce_nonce"]) == ("mine", True)
    assert (await sim.messages(author=BOT))[0]["pinged"] == []


async def test_message_edit_brings_previews_back_and_partial_edit_does_not(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """The first sends `flags: 0`, the second no flags."""
    message = await text_channel(client).send(URL, suppress_embeds=True)
    partial = text_channel(client).get_partial_message(message.id)
    await partial.edit(content=f"{URL} partial")
    await message.edit(content=f"{URL} whole")
    versions = (await sim.message(message.id))["versions"]
    assert [version["previews"] for version in versions] == [[], [], [URL]]


async def test_roles_and_everyone_are_mentions_of_other_kinds(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """`mentioned_in` is true for @everyone; the managed role is only in role_mentions."""
    seen: list[discord.Message] = []
    client.event(_collector(seen))
    await sim.say(content="@everyone")
    await sim.say(content="hello", mention_role=True)
    await sim.until(lambda: _async(len(seen) == 2))
    assert client.user is not None
    assert [client.user.mentioned_in(m) for m in seen] == [True, False]
    assert [m.mentions for m in seen] == [[], []]
    assert [[role.id for role in m.role_mentions] for m in seen] == [[], [BOT_ROLE]]


def _collector(seen: list[discord.Message]) -> Any:
    async def on_message(message: discord.Message) -> None:
        seen.append(message)

    return on_message


async def _async(value: bool) -> bool:
    return value


async def test_previews_pins_and_threads_are_updates_without_an_edit(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """Their raw edit events have no edited_at; a person's edit has one."""
    seen: list[discord.RawMessageUpdateEvent] = []

    async def on_raw_message_edit(payload: discord.RawMessageUpdateEvent) -> None:
        seen.append(payload)

    client.event(on_raw_message_edit)
    message = await sim.say(content=URL)
    await sim.until(lambda: _async(len(seen) == 1))
    await sim.pin(ALICE, message)
    await sim.start_thread(ALICE, message, "a thread")
    await sim.edit(message, "changed")
    await sim.until(lambda: _async(len(seen) == 4))
    assert [update.message.edited_at is not None for update in seen] == [False] * 3 + [True]


async def test_refusals_become_discord_pys_exceptions(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """They carry Discord's codes: too long, no permission, archived, a second thread, unknown."""
    channel = text_channel(client)
    message = await channel.send("x")
    thread = await message.create_thread(name="a thread")
    sent = await thread.send("x")
    with pytest.raises(discord.HTTPException, match="2000 or fewer"):
        await channel.send("x" * 2001)
    with pytest.raises(discord.HTTPException) as second:
        await message.create_thread(name="another")
    await sim.archive(thread.id)
    with pytest.raises(discord.HTTPException) as archived:
        await sent.edit(content="y")
    await sim.set_permissions(CHANNEL, deny=("send_messages_in_threads",))
    with pytest.raises(discord.Forbidden) as forbidden:
        await thread.send("x")
    await sim.delete_thread(thread.id)
    with pytest.raises(discord.NotFound) as gone:
        await client.fetch_channel(thread.id)
    codes = [caught.value.code for caught in (second, archived, forbidden, gone)]
    assert codes == [160004, 50083, 50013, 10003]


async def test_a_nonce_of_a_deleted_message_raises_not_found(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """A retry therefore cannot tell a deleted message from one that never existed."""
    message = await text_channel(client).send("x", nonce="n1")
    await message.delete()
    with pytest.raises(discord.NotFound):
        await text_channel(client).send("x", nonce="n1")


async def test_the_starter_in_history_refers_to_its_message(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """It has type 21, no text and a resolved reference; a forum post contains its first message."""
    thread_id = await sim.start_thread(ALICE, await sim.say(content="the topic"), "a thread")
    thread = await client.fetch_channel(thread_id)
    assert isinstance(thread, discord.Thread)
    [starter] = [message async for message in thread.history()]
    assert (starter.type.value, starter.content) == (21, "")
    assert starter.reference is not None
    assert isinstance(starter.reference.resolved, discord.Message)
    assert starter.reference.resolved.content == "the topic"
    post_id = await sim.forum_post(ALICE, "a post", "its text", forum=FORUM)
    post = await client.fetch_channel(post_id)
    assert isinstance(post, discord.Thread)
    assert [(m.id, m.content) async for m in post.history()] == [(post_id, "its text")]


async def test_missing_history_permission_is_an_empty_history(
    sim: LocalDiscord, client: discord.Client
) -> None:
    await sim.say(content="x")
    await sim.set_permissions(CHANNEL, deny=("read_message_history",))
    assert [message async for message in text_channel(client).history()] == []


async def test_direct_messages(sim: LocalDiscord, client: discord.Client) -> None:
    """The bot can reply to a direct message and send one."""
    waiting = asyncio.create_task(heard(client, "message"))
    await asyncio.sleep(0)
    said = await sim.dm(ALICE, "hello")
    message = await waiting
    assert isinstance(message.channel, discord.DMChannel)
    await message.reply("hi")
    user = await client.fetch_user(ALICE)
    await user.send("again")
    shown = await sim.messages(said["channel"], author=BOT)
    assert [(m["content"], m["reply_to"]) for m in shown] == [
        ("hi", said["message"]),
        ("again", None),
    ]


# ── interactions ──────────────────────────────────────────────────────────────────────────────
async def test_commands_are_registered_run_and_answered(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """One is deferred, with a follow-up and an option; a context menu gets an immediate
    response."""
    tree = app_commands.CommandTree(client)

    @tree.command(name="model", description="Choose")
    @app_commands.allowed_installs(guilds=True)
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def model(interaction: discord.Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.followup.send(f"now {name}")

    @tree.context_menu(name="Length")
    async def length(interaction: discord.Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(str(len(message.content)))

    assert [command.name for command in await tree.sync()] == ["model", "Length"]
    await sim.slash(ALICE, CHANNEL, "model", {"name": "small"})
    await sim.context_menu(ALICE, "Length", message=await sim.say(content="four"))

    async def both() -> bool:
        channel = await sim.channel()
        private = [m["content"] for m in channel["ephemeral"]]
        shown = [m["content"] for m in channel["messages"] if m["author"] == BOT]
        return (private, shown) == (["now small"], ["4"])

    await sim.until(both)


async def test_a_button_works_after_a_restart(sim: LocalDiscord) -> None:
    """A DynamicItem gets its turn from the custom_id alone, on an earlier process's message."""

    class Stop(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"stop:(?P<turn>\d+)"):
        def __init__(self, turn: int) -> None:
            self.turn = turn
            super().__init__(discord.ui.Button(label="Stop", custom_id=f"stop:{turn}"))

        @classmethod
        async def from_custom_id(cls, interaction: Any, item: Any, match: Any, /) -> "Stop":
            return cls(int(match["turn"]))

        async def callback(self, interaction: discord.Interaction) -> None:
            await interaction.response.edit_message(content=f"stopped {self.turn}", view=None)

    view = discord.ui.View(timeout=None)
    view.add_item(Stop(7))
    async with running(sim, new_client()) as first:
        message = await text_channel(first).send("running", view=view)
    second = new_client()
    second.add_dynamic_items(Stop)
    async with running(sim, second):
        await sim.click(ALICE, message.id, "stop:7")

        async def is_stopped() -> bool:
            found = await sim.message(message.id)
            return (found["content"], found["components"]) == ("stopped 7", [])

        await sim.until(is_stopped)


WINDOW = 3.0  # seconds until a bucket refills: longer than a busy machine needs to empty it


# ── its limiter ───────────────────────────────────────────────────────────────────────────────
async def test_the_last_request_of_a_bucket_returns_when_it_refills(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """It is applied immediately, but its await lasts until the window ends."""
    await sim.set_limits(buckets={"message": [3, WINDOW]})
    message = await text_channel(client).send("0")
    returned = []
    for n in (1, 2):
        await message.edit(content=str(n))
        returned.append(time.time())
    applied = [version["at"] for version in (await sim.message(message.id))["versions"]]
    refilled = applied[0] + WINDOW - 0.2  # the client computes it from rounded headers
    assert applied[2] < refilled < returned[1]
    assert returned[0] < refilled
    assert (await sim.state())["limited"] == 0


async def test_edits_that_wait_for_the_bucket_are_reordered(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """A later edit can overtake a waiting one, so the bot keeps only one in flight."""
    await sim.set_limits(buckets={"message": [5, 0.4]})
    message = await text_channel(client).send("start")
    partial = text_channel(client).get_partial_message(message.id)
    edits = []
    for n in range(20):
        edits.append(asyncio.create_task(partial.edit(content=f"{n:02}")))
        await asyncio.sleep(0.03)
    await asyncio.gather(*edits)
    applied = [version["content"] for version in (await sim.message(message.id))["versions"]][1:]
    assert sorted(applied) == [f"{n:02}" for n in range(20)]
    assert applied != sorted(applied)


async def test_a_cancelled_edit_makes_the_next_one_wait_twice(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """If one is cancelled while waiting for the bucket, the next is applied a whole window late."""
    await sim.set_limits(buckets={"message": [2, WINDOW]})
    message = await text_channel(client).send("0")
    begun = time.time()
    edit = asyncio.create_task(message.edit(content="1"))
    await sim.until(lambda: _is_edited(sim, client, message.id))
    edit.cancel()
    await message.edit(content="2")
    applied = (await sim.message(message.id))["versions"][2]["at"] - begun
    assert applied > 1.75 * WINDOW


async def _is_edited(sim: LocalDiscord, client: discord.Client, message: int) -> bool:
    """Whether the edit was applied, and waits after its response until the bucket is full again."""
    waits = any(bucket._sleeping.locked() for bucket in client.http._buckets.values())
    return waits and len((await sim.message(message))["versions"]) == 2


async def test_a_429_without_via_is_raised_immediately(
    sim: LocalDiscord, client: discord.Client
) -> None:
    """With the header, the client waits and retries."""
    limited = {"message": "limited", "retry_after": 0.1, "global": False}
    fault = {"match": "POST", "status": 429, "body": limited}
    await sim.call("fault", **fault)
    with pytest.raises(discord.HTTPException, match="429"):
        await text_channel(client).send("x")
    await sim.call("fault", **fault, headers={"Via": "1.1 google"})
    await text_channel(client).send("y")
    assert [m["content"] for m in await sim.messages()] == ["y"]


async def test_discord_py_retries_a_bad_gateway(sim: LocalDiscord, client: discord.Client) -> None:
    """A pause of one second hides the 502: one call, two requests."""
    await sim.call("fault", match="POST", status=502)
    before = len(await sim.requests("POST"))
    begun = time.monotonic()
    await text_channel(client).send("x")
    assert time.monotonic() - begun >= 1.0
    assert len(await sim.requests("POST")) == before + 2
