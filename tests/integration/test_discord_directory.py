"""What the Discord adapter reports about people and places, with the real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from adapters.discord.adapter import DiscordAdapter
from bot.common.clock import SystemClock
from bot.config.policy_references import parse_person, parse_place
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError, Throttled, Unsettled
from bot.domain.inbox import Command, CommandReply
from bot.domain.policy import PersonFacts
from bot.ports.policy import Directory
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.discord_kit import adapter_for, running, until, wait_received
from tests.support.fake_inbox import FakeInbox
from tests.support.isolation_kit import WarpClock

MINUTE = 60.0
ALICE, BOB, CAROL = (Author(str(i), "") for i in (c.ALICE, c.BOB, c.CAROL))


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        yield sim


class HastyClock(SystemClock):
    """Real time in which all pauses are short."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


def key(channel: int | str = c.CHANNEL, thread: str = "", guild: int = c.GUILD) -> ConversationKey:
    return ConversationKey("discord", str(guild), str(channel), thread)


async def wait_ready(adapter: DiscordAdapter) -> None:
    """Wait until the guilds' channels and roles are known."""
    client = adapter._runner.client
    assert client is not None
    await until(lambda: client.guilds and not any(guild.unavailable for guild in client.guilds))


def direct(channel: int) -> ConversationKey:
    return ConversationKey("discord", "@me", str(channel), "")


# ── places ────────────────────────────────────────────────────────────────────────────────────
async def test_a_place_has_the_names_that_discord_shows(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """The names come from the gateway's events, or from REST if those have been missing for a
    minute."""
    clock = WarpClock()
    async with running(sim, inbox, clock=clock) as adapter:
        directory = adapter.directory
        category = await sim.add_channel("Support", "category")
        channel = await sim.add_channel("ops", category=category)

        async def is_described(name: str, where: str, category: str) -> bool:
            found = await directory.place(key(channel, thread="123"))
            return (found.channel_name, found.category, found.category_name) == (
                name,
                where,
                category,
            )

        await sim.until(lambda: is_described("ops", str(category), "Support"))
        await sim.move_channel(channel, name="ops-2")
        await sim.until(lambda: is_described("ops-2", "", ""))
        assert (await directory.place(direct(5))).channel_name == ""
        with pytest.raises(Gone):
            await directory.place(key("777"))
        await sim.offline(forget=False)
        await until(lambda: not adapter.health().ok)
        await sim.move_channel(channel, category, name="ops-3")
        assert await is_described("ops-2", "", "")
        clock.jump(MINUTE)
        assert await is_described("ops-3", str(category), "Support")
        await sim.online()


async def test_a_name_missing_from_events_is_looked_up(sim: LocalDiscord, inbox: FakeInbox) -> None:
    """A channel without a name, in an event or in a response, is not treated as one without
    rules."""
    async with running(sim, inbox) as adapter:
        await sim.call("fault_event", name="CHANNEL_CREATE", remove=["d.name"])
        channel = await sim.add_channel("ops")
        assert (await adapter.directory.place(key(channel))).channel_name == "ops"
    async with running(sim, inbox) as adapter:
        await sim.call("fault_event", name="CHANNEL_UPDATE", put={"d.name": {}})
        await sim.move_channel(channel)
        client = adapter._runner.client
        assert client is not None
        await until(lambda: not getattr(client.get_channel(channel), "name", "x"))
        await sim.call("fault", match="/channels", put={"*.name": None})
        with pytest.raises(Unsettled):
            await adapter.directory.place(key(channel))


# ── people ────────────────────────────────────────────────────────────────────────────────────
async def person(
    directory: Directory, author: Author, where: ConversationKey
) -> PersonFacts | None:
    """A person's facts; None if they are not there."""
    try:
        return await directory.person(where, author)
    except Gone:
        return None


async def test_roles_and_membership_count_within_a_minute(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Each message carries its author's roles, so no lookup is needed; replays of old messages
    change nothing. People who may manage the server are administrators."""
    clock = WarpClock()
    async with running(sim, inbox, clock=clock) as adapter:
        directory = adapter.directory
        oncall = await sim.add_role("On-Call")
        manager = await sim.add_role("manager", "manage_guild")
        await sim.set_roles(c.ALICE, oncall)
        message = await sim.mention("hello")
        await wait_received(inbox, message)
        found = await directory.person(key(), ALICE)
        assert found.group_names == {"on-call", "everyone"}
        assert found.groups == {str(oncall), str(c.GUILD)}
        assert not found.is_workspace_admin
        assert await sim.requests(f"GET /api/v10/guilds/{c.GUILD}/members") == []
        await sim.set_roles(c.ALICE, manager)
        assert await directory.person(key(), ALICE) == found
        clock.jump(MINUTE)
        changed = await directory.person(key(), ALICE)
        assert changed.groups == {str(manager), str(c.GUILD)}
        assert changed.is_workspace_admin
        assert (await directory.person(key(), CAROL)).is_workspace_admin  # the owner
        await sim.set_roles(c.ALICE, oncall)
        await sim.deliver_again(message)  # with these roles, but from an earlier time
        await wait_received(inbox, await sim.mention("another", user=c.BOB))
        assert await directory.person(key(), ALICE) == changed
        await sim.leave_guild(c.ALICE)
        assert await person(directory, ALICE, key()) is not None
        clock.jump(MINUTE)
        assert await person(directory, ALICE, key()) is None
        for stranger in (Author("5", ""), Author("U5", "")):
            assert await person(directory, stranger, key()) is None


async def test_with_the_members_intent_changes_count_at_once(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """The adapter requests the intent where it is granted, and works without it otherwise."""
    await sim.grant_intents("message_content", "members")
    async with running(sim, inbox) as adapter:
        directory = adapter.directory
        assert str(c.TEAM_ROLE) in (await directory.person(key(), BOB)).groups

        async def has_left() -> bool:
            return await person(directory, BOB, key()) is None

        async def is_teamless() -> bool:
            found = await person(directory, BOB, key())
            return found is not None and found.groups == {str(c.GUILD)}

        await sim.set_roles(c.BOB)
        await sim.until(is_teamless)
        await sim.call("fault_event", name="GUILD_MEMBER_UPDATE", put={"d.roles.0": {}})
        await sim.set_roles(c.BOB, c.TEAM_ROLE)  # unreadable, so Discord is asked

        async def is_back() -> bool:
            return str(c.TEAM_ROLE) in (await directory.person(key(), BOB)).groups

        await sim.until(is_back)
        await sim.leave_guild(c.BOB)
        await sim.until(has_left)


async def test_an_intent_that_was_taken_away_ends_nothing(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """The gateway refuses an intent that the login reported as granted; the bot runs without it."""
    flags = c.APPLICATION_FLAGS["members"] | c.APPLICATION_FLAGS["message_content"]
    await sim.call("fault", match="/oauth2/applications/@me", put={"flags": flags}, times=9)
    async with running(sim, inbox, clock=HastyClock()):
        await wait_received(inbox, await sim.mention("hello"))
    assert 4014 in (await sim.state())["closes"]


async def test_roles_missing_from_events_are_looked_up(sim: LocalDiscord, inbox: FakeInbox) -> None:
    """A role without a name, or one not known yet, could be the blocked one."""
    async with running(sim, inbox) as adapter:
        await sim.call("fault_event", name="GUILD_ROLE_CREATE", remove=["d.role.id"])
        role = await sim.add_role("interns")
        await sim.set_roles(c.ALICE, role)
        await sim.call("fault", match=f"/guilds/{c.GUILD}", having="with_counts", status=503)
        with pytest.raises(PlatformError):
            await adapter.directory.person(key(), ALICE)
        await sim.call(
            "fault", match=f"/guilds/{c.GUILD}", having="with_counts", remove=["roles.*.name"]
        )
        with pytest.raises(Unsettled):
            await adapter.directory.person(key(), ALICE)
        # Unreadable values are not cached for a minute.
        assert "interns" in (await adapter.directory.person(key(), ALICE)).group_names
        await sim.delete_role(role)

        async def is_forgotten() -> bool:
            return (await adapter.directory.person(key(), ALICE)).groups == {str(c.GUILD)}

        await sim.until(is_forgotten)


async def test_a_hundred_questions_at_once_cost_one_request(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    async with running(sim, inbox) as adapter:
        found = await asyncio.gather(*(adapter.directory.person(key(), BOB) for _ in range(100)))
        assert len(set(map(id, found))) > 1
        assert len(await sim.requests(f"/guilds/{c.GUILD}/members/{c.BOB}")) == 1


async def test_in_direct_messages_a_person_has_the_roles_of_all_shared_servers(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """They administer nothing there. If one server does not respond, they may have more roles."""
    other = await sim.add_guild("other")
    role = await sim.add_role("helpers", "administrator", guild=other["guild"])
    await sim.set_roles(c.BOB, role, guild=other["guild"])
    clock = WarpClock()
    async with running(sim, inbox, clock=clock) as adapter:
        directory = adapter.directory
        await wait_ready(adapter)
        found = await directory.person(direct(9), BOB)
        assert found.group_names == {"everyone", "team", "helpers"}
        assert not found.is_workspace_admin
        await sim.call("fault", match=f"/guilds/{other['guild']}/members/{c.ALICE}", status=500)
        found = await directory.person(direct(9), ALICE)
        assert found.group_names == {"everyone"} and not found.groups_are_known
        await sim.call("fault", match=f"/members/{c.BOB}", status=500, times=2)
        clock.jump(MINUTE)
        with pytest.raises(Unsettled):
            await directory.person(direct(9), BOB)
    listed = frozenset({str(c.GUILD), "555"})  # the bot is not in the second one
    async with running(sim, inbox, guilds=listed) as adapter:
        found = await adapter.directory.person(direct(9), BOB)
        assert found.group_names == {"everyone", "team"}


# ── who can read a channel ────────────────────────────────────────────────────────────────────
async def test_who_can_read_a_channel(sim: LocalDiscord, inbox: FakeInbox) -> None:
    """The channel is given by name or id; the readers of a private channel are those with access on
    Discord."""
    channel = await sim.add_channel("HR")
    await sim.set_permissions(channel, deny=("view_channel",), target=c.GUILD)
    await sim.set_permissions(channel, allow=("view_channel",), target=c.TEAM_ROLE)
    await sim.add_channel("hr-talk", "category")
    thread = await sim.private_thread(c.ALICE, "secret", c.ALICE)
    async with running(sim, inbox) as adapter:
        directory = adapter.directory
        await wait_ready(adapter)
        await sim.call("fault", match=f"/guilds/{c.GUILD}/channels", remove=["*.name"])
        with pytest.raises(PlatformError):
            await directory.can_read(key("#nowhere"), str(c.BOB))
        expected = {
            ("#hr", c.BOB): True,
            ("#hr", c.ALICE): False,
            (str(channel), c.BOB): True,
            (str(channel), c.ALICE): False,
            (str(channel), 5): False,
            (str(thread), c.ALICE): True,
            (str(thread), c.BOB): False,
            ("#nowhere", c.BOB): False,
            ("#hr-talk", c.BOB): False,
            ("C0SLACK", c.BOB): False,
            ("777", c.BOB): False,
        }
        for (where, user), answer in expected.items():
            assert await directory.can_read(key(where), str(user)) is answer, (where, user)
        anywhere = ConversationKey("discord", "@me", "#hr", "")
        assert await directory.can_read(anywhere, str(c.BOB))
        await sim.call("fault", match="/members/", status=500)
        with pytest.raises(PlatformError):
            await directory.can_read(key("#hr"), str(c.CAROL))


# ── names ─────────────────────────────────────────────────────────────────────────────────────
KNOWN = (
    *("@team", "@Threadline", f"role:{c.TEAM_ROLE}", f"user:{c.ALICE}", "channel:#general"),
    *(f"channel:{c.VOICE}", "members", "guests", "everyone", "workspace-admins"),
    *(f"discord:{c.GUILD}/@team", f"discord:{c.ALICE}", "slack:T1/@noone", "slack/@noone"),
)
UNKNOWN = (
    *("@noone", "role:123", "group:S123", "user:123", "user:U123", "channel:#nowhere"),
    *("channel:C123", "discord:555/@team", f"discord:{c.GUILD}/user:777"),
)
KNOWN_PLACES = (
    *("discord", f"discord:{c.GUILD}", "discord:@me", f"discord:{c.GUILD}/#general", "slack:T1"),
    *(f"discord:{c.GUILD}/{c.FORUM}", f"discord:{c.GUILD}/{c.CHANNEL}/123"),
    f"discord:{c.GUILD}/category:Support",
)
UNKNOWN_PLACES = (
    *("discord:555", f"discord:{c.GUILD}/#support", f"discord:{c.GUILD}/category:general"),
    *(f"discord:{c.GUILD}/777", f"discord:{c.GUILD}/category:777", "discord:555/#general"),
)


async def unknown_of(directory: Directory) -> Sequence[str]:
    people = [parse_person(text) for text in (*KNOWN, *UNKNOWN)]
    places = [parse_place(text) for text in (*KNOWN_PLACES, *UNKNOWN_PLACES)]
    return await directory.unknown([*people, *places])


async def test_names_in_rules_that_no_one_has_are_found(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """The running bot finds them, and then blocks everyone; so does `doctor`, which runs alone."""
    await sim.add_channel("Support", "category")
    alone = adapter_for(sim)
    assert await unknown_of(alone.directory) == [*UNKNOWN, *UNKNOWN_PLACES]
    async with running(sim, inbox) as adapter:
        await wait_ready(adapter)
        assert await unknown_of(adapter.directory) == [*UNKNOWN, *UNKNOWN_PLACES]
        for fault in ({"status": 500}, {"remove": ["*.name", "roles.*.name"]}):
            await sim.call("fault", match=f"GET /api/v10/guilds/{c.GUILD}", times=9, **fault)
            clockless = adapter_for(sim)
            with pytest.raises(PlatformError):
                await clockless.directory.unknown([parse_person("@noone")])
            with pytest.raises(PlatformError):
                await clockless.directory.unknown([parse_place(f"discord:{c.GUILD}/#nowhere")])
            sim.server.faults.clear()


# ── notices ───────────────────────────────────────────────────────────────────────────────────
async def test_a_person_is_told_privately_or_not_at_all(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """The sentence comes as a direct message or in the reply to their command, but never in a
    channel."""
    async with running(sim, inbox) as adapter:
        directory = adapter.directory
        before = await sim.messages(c.CHANNEL)
        await directory.tell(key(), ALICE, "Not here, @everyone.")
        await directory.tell(key(), ALICE, "Again.")
        dms = (await sim.state())["dms"]
        told = await sim.messages(dms[str(c.ALICE)])
        assert [message["content"] for message in told] == ["Not here, @\u200beveryone.", "Again."]
        opened = await sim.requests("POST /api/v10/users/@me/channels")
        assert len(opened) == 1
        sent = await sim.dm(c.BOB, "hello")
        await directory.tell(direct(sent["channel"]), BOB, "Not here.")
        assert len(await sim.messages(sent["channel"], author=c.BOT)) == 1
        await sim.close_dms(c.CAROL)
        for stranger in (CAROL, Author(str(c.OTHER_BOT), ""), Author("U1", "")):
            with pytest.raises(PlatformError):
                await directory.tell(key(), stranger, "Not here.")
        assert await sim.messages(c.CHANNEL) == before


async def test_first_direct_messages_are_limited_per_hour(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    """Otherwise Discord would quarantine the bot; people who have had one get more."""
    people = [Author(str(await sim.add_person(f"p{n}")), "") for n in range(11)]
    async with running(sim, inbox) as adapter:
        for person_ in people[:10]:
            await adapter.directory.tell(key(), person_, "Not here.")
        with pytest.raises(Throttled):
            await adapter.directory.tell(key(), people[10], "Not here.")
        await adapter.directory.tell(key(), people[0], "Not there.")
    assert len((await sim.state())["dms"]) == 10


async def test_what_is_said_during_a_command_is_part_of_its_reply(
    sim: LocalDiscord, inbox: FakeInbox
) -> None:
    async with running(sim, inbox) as adapter:

        class Telling(FakeInbox):
            async def command(self, command: Command) -> CommandReply:
                await adapter.directory.tell(command.key, command.author, "80 % is used.")
                await adapter.directory.tell(command.key, BOB, "For Bob alone.")
                return CommandReply("Done.")

        adapter._rest.inbox = Telling()

        async def is_registered() -> Any:
            return (await sim.state())["commands"].get("0")

        await sim.until(is_registered)
        interaction = await sim.slash(c.ALICE, c.CHANNEL, "help")

        async def response() -> Any:
            message = (await sim.interaction(interaction))["message"]
            return message is not None and (await sim.message(message))["content"]

        assert await sim.until(response) == "Done.\n\n80 % is used."
        dms = (await sim.state())["dms"]
        assert [m["content"] for m in await sim.messages(dms[str(c.BOB)])] == ["For Bob alone."]
        assert str(c.ALICE) not in dms
