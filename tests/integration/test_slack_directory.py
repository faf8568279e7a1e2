"""The Slack directory: people, user groups, places and readers, fresh and during failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.directory import SlackDirectory
from bot.config.policy_references import parse_person, parse_place
from bot.domain.conversations import Author
from bot.domain.errors import Down, Gone, PlatformError
from bot.domain.policy import PersonFacts, Standing
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import key, running, socket_adapter, until

HERE = key(ids.GENERAL, "1700000000.000100")


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        await sim.limits(enabled=False)
        yield sim


@pytest.fixture
async def slack(sim: SlackSim, inbox: FakeInbox) -> AsyncIterator[SlackAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


@pytest.fixture
def directory(slack: SlackAdapter) -> SlackDirectory:
    assert isinstance(slack.directory, SlackDirectory)
    return slack.directory


async def describe(directory: SlackDirectory, user: str) -> PersonFacts:
    return await directory.person(HERE, Author(user, "name"))


async def count(sim: SlackSim, method: str) -> int:
    return len(await sim.requests(f"/api/{method}"))


async def forget(slack: SlackAdapter) -> None:
    """Let a minute pass."""
    facts = slack._session(ids.TEAM).workspace.facts
    for cache in (facts.people, facts.groups, facts.channels, facts.members, facts._ids):
        cache.forget_where(lambda _id, _fact: True)
        cache._unscoped.clear()
    facts._homes.clear()


# ── people ────────────────────────────────────────────────────────────────────────────────────
async def test_members_guests_strangers_administrators_and_their_groups(
    sim: SlackSim, slack: SlackAdapter, directory: SlackDirectory
) -> None:
    """A group is known by its id and handle; a disabled one has no members."""
    await sim.group("OnCall", [ids.ALICE, ids.CAROL])
    cooks = await sim.group("cooks", [ids.ALICE])
    alice = await describe(directory, ids.ALICE)
    assert (alice.standing, alice.is_workspace_admin) == (Standing.MEMBER, False)
    assert alice.group_names == {"oncall", "cooks"}
    assert cooks in alice.groups
    assert alice.groups_are_known
    await sim.describe_person(ids.BOB, guest=True)
    assert (await describe(directory, ids.BOB)).standing is Standing.GUEST
    carol = await describe(directory, ids.CAROL)
    assert (carol.standing, carol.group_names) == (Standing.STRANGER, {"oncall"})
    await sim.describe_person(ids.ALICE, admin=True)
    await sim.describe_person(ids.CAROL, admin=True)  # of another workspace
    await sim.group("cooks", [], disabled=True)
    await forget(slack)
    assert (await describe(directory, ids.ALICE)).is_workspace_admin
    assert not (await describe(directory, ids.CAROL)).is_workspace_admin
    assert (await describe(directory, ids.ALICE)).group_names == {"oncall"}
    for absent in ("U0NOBODY01", ids.BOB):
        await sim.describe_person(ids.BOB, deleted=True)
        await forget(slack)
        with pytest.raises(Gone):
            await describe(directory, absent)


async def test_events_reveal_strangers_without_a_request(
    sim: SlackSim, slack: SlackAdapter, directory: SlackDirectory, inbox: FakeInbox
) -> None:
    """In a shared channel, an event without its author's workspace proves nothing."""
    team = await sim.add_channel("team")
    await sim.call("fault", match="/api/users.info", status=503, body={}, times=100)
    for user, channel in ((ids.CAROL, ids.GENERAL), (ids.BOB, team), (ids.ALICE, ids.GENERAL)):
        await sim.say(user, channel, "hello", mention=True)
    await until(lambda: len(inbox.received) == 3)
    assert await directory.is_stranger(HERE, Author(ids.CAROL, ""))
    assert not await directory.is_stranger(HERE, Author(ids.BOB, ""))
    assert (await describe(directory, ids.CAROL)).standing is Standing.STRANGER
    with pytest.raises(PlatformError):
        await directory.is_stranger(HERE, Author(ids.ALICE, ""))
    await sim.call("clear")
    assert not await directory.is_stranger(HERE, Author(ids.ALICE, ""))
    await sim.call("fault", match="/api/users.info", status=503, body={}, times=100)
    await forget_people(slack)  # but not where they are at home
    assert not await directory.is_stranger(HERE, Author(ids.ALICE, ""))


async def forget_people(slack: SlackAdapter) -> None:
    slack._session(ids.TEAM).workspace.facts.people.forget_where(lambda _id, _person: True)


async def test_colleagues_of_one_enterprise_are_no_strangers(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """They may administer their own workspace, but not this one."""
    await sim.workspace(enterprise="E0HOME0001", has_groups=False)
    colleague = {"id": "W1", "enterprise_id": "E0HOME0001", "teams": [ids.OTHER_TEAM]}
    await sim.describe_person(ids.CAROL, enterprise_user=colleague, admin=True)
    async with running(sim, inbox) as slack:
        directory = slack.directory
        await sim.say(ids.CAROL, ids.GENERAL, "hello", mention=True)
        await until(lambda: inbox.received)
        facts = await directory.person(HERE, Author(ids.CAROL, ""))
        assert (facts.standing, facts.is_workspace_admin) == (Standing.MEMBER, False)
        assert facts.groups_are_known  # the plan has no user groups
        await sim.describe_person(ids.CAROL, enterprise_user=colleague | {"teams": [ids.TEAM]})
        await forget(slack)
        assert (await directory.person(HERE, Author(ids.CAROL, ""))).is_workspace_admin
        other = colleague | {"enterprise_id": "E0OTHER001"}
        await sim.describe_person(ids.CAROL, enterprise_user=other)
        await forget(slack)
        assert await directory.is_stranger(HERE, Author(ids.CAROL, ""))


# ── freshness ─────────────────────────────────────────────────────────────────────────────────
async def test_facts_are_shared_for_a_minute_and_changed_by_events(
    sim: SlackSim, slack: SlackAdapter, directory: SlackDirectory
) -> None:
    """One request serves all of them; facts that an event reports as changed are requested
    again."""
    for _ in range(3):
        assert (await describe(directory, ids.BOB)).groups == frozenset()
        assert (await directory.place(HERE)).channel_name == "general"
        assert await directory.can_read(key("#private", ""), ids.BOB)
    asked = ("users.info", "usergroups.list", "conversations.info", "conversations.members")
    assert [await count(sim, method) for method in asked] == [1, 1, 2, 1]
    await sim.group("oncall", [ids.BOB])
    await until_true(sim, lambda: _has_group(directory, ids.BOB, "oncall"))
    await sim.group("oncall", [])
    await until_true(sim, lambda: _has_group(directory, ids.BOB, "oncall", has=False))
    await sim.rename(ids.PRIVATE, "secret")
    await until_true(sim, lambda: directory.can_read(key("#secret", ""), ids.BOB))
    assert not await directory.can_read(key("#private", ""), ids.BOB)
    await sim.remove_from_channel(ids.PRIVATE, ids.BOB)
    await until_true(sim, lambda: _reads(directory, "#secret", ids.BOB, reads=False))


async def until_true(sim: SlackSim, check: Callable[[], Awaitable[bool]]) -> None:
    await sim.until(check)


async def _has_group(directory: SlackDirectory, user: str, group: str, *, has: bool = True) -> bool:
    return (group in (await describe(directory, user)).group_names) is has


async def _reads(directory: SlackDirectory, channel: str, user: str, *, reads: bool) -> bool:
    return await directory.can_read(key(channel, ""), user) is reads


@pytest.mark.parametrize("odd", [None, {"id": "C1"}, {"id": "C1", "name": 7}])
async def test_a_list_with_an_unreadable_channel_does_not_prove_that_a_name_is_unknown(
    sim: SlackSim, directory: SlackDirectory, odd: Any
) -> None:
    """A rule may block the readers of that channel."""
    assert not await directory.can_read(key("#nowhere", ""), ids.BOB)
    await sim.call("fault", match="/api/conversations.list", times=9, put={"channels": [odd]})
    with pytest.raises(PlatformError):
        await directory.can_read(key("#elsewhere", ""), ids.BOB)
    assert await directory.can_read(key("#general", ""), ids.BOB)


# ── channels ──────────────────────────────────────────────────────────────────────────────────
async def test_readers_of_channels(
    sim: SlackSim, slack: SlackAdapter, directory: SlackDirectory
) -> None:
    """Members read public channels; guests and strangers only the channels that they are in."""
    open_ = await sim.add_channel("open")
    await sim.remove_from_channel(open_, ids.BOB)
    guests = (ids.ALICE, ids.BOB, ids.CAROL)
    table: Mapping[str, tuple[bool, bool, bool]] = {
        open_: (True, True, False),
        "#open": (True, True, False),
        "#random": (True, True, False),  # public, without the bot
        "#general": (True, True, True),
        ids.PRIVATE: (True, True, False),
        "#nowhere": (False, False, False),
        "C0NOWHERE1": (False, False, False),
    }
    for channel, reads in table.items():
        found = tuple([await directory.can_read(key(channel, ""), user) for user in guests])
        assert found == reads, channel
    await sim.describe_person(ids.BOB, guest=True)
    await forget(slack)
    assert not await directory.can_read(key("#open", ""), ids.BOB)
    assert await directory.can_read(key("#general", ""), ids.BOB)
    elsewhere = replace(key("#general", ""), workspace="T0ELSEWHERE")
    assert not await directory.can_read(elsewhere, ids.ALICE)
    assert (await directory.place(key(ids.DM_ALICE, "1.1"))).channel_name == ""


async def test_references_that_name_no_one(sim: SlackSim, inbox: FakeInbox) -> None:
    """`doctor`, which asks without running the bot, finds them too."""
    places = ["slack", f"slack:{ids.TEAM}", f"slack:{ids.TEAM}/#General", "discord:1/#x"]
    places += [f"slack:{ids.TEAM}/{ids.RANDOM}", f"slack:{ids.TEAM}/{ids.GENERAL}/1.2"]
    wrong_places = [f"slack:{ids.TEAM}/#generl", "slack:T0OTHER/#general"]
    wrong_places += [f"slack:{ids.TEAM}/C0NOWHERE1"]
    people = ["@OnCall", f"group:{ids.ONCALL}", f"user:{ids.ALICE}", "channel:#private"]
    people += ["guests", "everyone", "workspace-admins", f"slack:{ids.TEAM}/@oncall"]
    wrong_people = ["@oncal", "group:S0NONE", "user:U0NOBODY01", "channel:#privat"]
    wrong_people += ["slack:T0OTHER/@oncall"]
    refs = [*map(parse_place, places + wrong_places), *map(parse_person, people + wrong_people)]
    idle = socket_adapter(sim).directory
    assert list(await idle.unknown(refs)) == wrong_places + wrong_people
    with pytest.raises(Down):
        await idle.place(HERE)
    async with running(sim, inbox) as slack:
        assert list(await slack.directory.unknown(refs)) == wrong_places + wrong_people
        await sim.scopes([scope for scope in ids.SCOPES if scope != "usergroups:read"])
        await forget(slack)
        with pytest.raises(PlatformError):
            await slack.directory.unknown(refs)


# ── failures ──────────────────────────────────────────────────────────────────────────────────
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "5xx": {"status": 503, "body": {}},
    "dropped": {"drop": True},
    "unknown code": {"status": 200, "body": {"ok": False, "error": "brand_new"}},
    "a list": {"status": 200, "body": ["ok"]},
    "retyped": {"put": {"user": 17, "channel": None, "members": "x", "usergroups": {}}},
    "odd": {
        "put": {
            "user": {"id": ids.ALICE, "team_id": ids.TEAM, "is_restricted": "no"},
            "members": [{"id": ids.ALICE}],
            "usergroups": [{"id": ids.ONCALL, "handle": "oncall", "users": {}}, 3],
        }
    },
}


async def test_a_failed_lookup_costs_one_decision(
    sim: SlackSim, slack: SlackAdapter, directory: SlackDirectory
) -> None:
    """The failed lookup invents no fact, and the next question asks again."""
    await sim.group("oncall", [ids.ALICE])
    for name, found in FAULTS.items():
        fault = {**found, "times": 100}  # until it is cleared: requests may be in flight
        await forget(slack)
        await sim.call("fault", match="/api/users.info", **fault)
        with pytest.raises(PlatformError):
            await describe(directory, ids.ALICE)
        await sim.call("clear")
        await sim.call("fault", match="/api/usergroups.list", **fault)
        await forget(slack)
        alice = await describe(directory, ids.ALICE)
        assert (alice.standing, alice.groups_are_known) == (Standing.MEMBER, False), name
        await sim.call("fault", match="/api/conversations.members", **fault)
        with pytest.raises(PlatformError):
            await directory.can_read(key(ids.PRIVATE, ""), ids.ALICE)
        await sim.call("clear")
        await forget_groups(slack)
        assert (await describe(directory, ids.ALICE)).group_names == {"oncall"}
        assert await directory.can_read(key(ids.PRIVATE, ""), ids.ALICE)


async def forget_groups(slack: SlackAdapter) -> None:
    slack._session(ids.TEAM).workspace.facts.groups_changed()


@pytest.mark.parametrize("letter", ["U", "C"])
async def test_names_in_messages_leave_requests_for_rules(
    sim: SlackSim, inbox: FakeInbox, directory: SlackDirectory, letter: str
) -> None:
    """Anyone can mention a hundred people or channels."""
    mark = {"U": "@", "C": "#"}[letter]
    for number in range(5):
        ids_ = [f"<{mark}{letter}{number}{n:08d}>" for n in range(50)]
        await sim.say(ids.ALICE, ids.DM_ALICE, " ".join(ids_), raw=True)
        await until(lambda count=number: len(inbox.received) == count + 1)
    async with asyncio.timeout(20):  # the next minute's requests come later
        assert (await describe(directory, ids.BOB)).standing is Standing.MEMBER
        assert (await directory.place(HERE)).channel_name == "general"


async def test_missing_scopes_make_facts_unknown(
    sim: SlackSim, slack: SlackAdapter, directory: SlackDirectory
) -> None:
    """A missing scope does not mean that a person is absent or in no group, and no attempt is
    repeated."""
    public = await sim.add_channel("team")
    await sim.scopes([scope for scope in ids.SCOPES if scope != "usergroups:read"])
    for _ in range(3):
        alice = await describe(directory, ids.ALICE)
        assert (alice.standing, alice.groups_are_known) == (Standing.MEMBER, False)
    assert await count(sim, "usergroups.list") == 1
    lost = {"users:read", "channels:read", "groups:read"}
    await sim.scopes([scope for scope in ids.SCOPES if scope not in lost])
    await forget(slack)
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: describe(directory, ids.ALICE),
        lambda: directory.place(key(public, "")),
        lambda: directory.can_read(key(public, ""), ids.ALICE),
        lambda: directory.can_read(key("#team", ""), ids.ALICE),
    ]
    for attempt in attempts:
        with pytest.raises(PlatformError) as error:
            await attempt()
        if attempt is attempts[0]:
            assert not isinstance(error.value, Gone)  # which would mean that she left
    await sim.scopes(ids.SCOPES)
    await forget(slack)
    assert await directory.can_read(key("#team", ""), ids.ALICE)


# ── private sentences ─────────────────────────────────────────────────────────────────────────
async def test_a_private_sentence_is_shown_where_the_person_sees_it(
    sim: SlackSim, slack: SlackAdapter, directory: SlackDirectory, inbox: FakeInbox
) -> None:
    """It is shown in a thread with replies, otherwise in the channel, otherwise in a direct
    message."""
    root = await sim.say(ids.BOB, ids.GENERAL, "root")
    reply = await sim.say(ids.CAROL, ids.GENERAL, "hello", thread_ts=root, mention=True)
    alone = await sim.say(ids.CAROL, ids.GENERAL, "hello", mention=True)
    await until(lambda: {reply, alone} <= {one.message_id for one in inbox.received})
    carol = Author(ids.CAROL, "carol")
    for thread, shown in ((root, root), (alone, "")):
        await directory.tell(key(ids.GENERAL, thread), carol, "You may not.")
        (told,) = (await sim.ephemeral(ids.CAROL))[-1:]
        assert (told["shown"], told.get("thread_ts", "")) == ("You may not.", shown)
    await sim.remove_from_channel(ids.GENERAL, ids.BOB)
    await directory.tell(key(ids.GENERAL, root), Author(ids.BOB, "bob"), "You may not.")
    (direct,) = await sim.channel(await sim.open_direct(ids.BOB))
    assert direct["shown"] == "You may not."
    with pytest.raises(PlatformError):
        await directory.tell(key(ids.GENERAL, root), Author("U0NOBODY01", ""), "You may not.")


# ── messages that address no one ──────────────────────────────────────────────────────────────
async def test_a_channel_that_the_bot_answers_everything_in(
    sim: SlackSim, slack: SlackAdapter, inbox: FakeInbox
) -> None:
    """Each person's message is reported, in a separate thread, and nothing else is."""
    team = await sim.add_channel("team")
    inbox.listening = frozenset({team})
    first = await sim.say(ids.ALICE, team, "what now?")
    await sim.say(ids.ALICE, team, "@bob and you?")
    await sim.say(ids.ALICE, team, "everyone <!here>", raw=True)
    await sim.say(ids.OTHER_BOT_USER, ids.GENERAL, "an alert")
    await sim.say(ids.ALICE, team, "joined", subtype="channel_join")
    await sim.say(ids.ALICE, ids.GENERAL, "not listened to")
    towards_bob = await sim.say(ids.ALICE, team, "@bob what is it?")
    await sim.edit(team, towards_bob, "what is it?")
    old = await sim.say(ids.ALICE, ids.GENERAL, "an old mesage")
    last = await sim.say(ids.BOB, team, "the last")
    await until(lambda: inbox.find("the last"))
    inbox.listening = frozenset({team, ids.GENERAL})
    await sim.edit(ids.GENERAL, old, "an old message")
    await sim.say(ids.ALICE, ids.GENERAL, "end", mention=True)
    await until(lambda: inbox.find("end"))
    found = {one.message_id: one for one in inbox.received[:-1]}
    assert list(found) == [first, last]
    assert all(one.address.value == "channel" for one in found.values())
    assert {one.key for one in found.values()} == {key(team, first), key(team, last)}
    assert [(one.message_id, one.address.value) for one, _ in inbox.edits] == [
        (towards_bob, "channel")
    ]


async def test_missed_messages_that_address_no_one(sim: SlackSim, inbox: FakeInbox) -> None:
    team = await sim.add_channel("team")
    inbox.listening = frozenset({team})
    async with running(sim, inbox):
        await sim.say(ids.ALICE, team, "before")
        await until(lambda: inbox.find("before"))
        await until(lambda: (ids.TEAM, team) in inbox.marks)
    await sim.delivery(retry_scale=0.0)
    await sim.say(ids.ALICE, team, "missed")
    await sim.say(ids.ALICE, team, "@bob for you")
    async with running(sim, inbox):
        await until(lambda: inbox.find("missed"))
    missed = inbox.find("missed")
    assert missed is not None
    assert missed.address.value == "channel"
    assert inbox.find("for you") is None
