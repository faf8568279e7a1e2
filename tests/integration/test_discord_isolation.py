"""Each request of the Discord adapter × each fault: only one channel is affected.

Covers every row of docs/isolation-discord.md with the real client and core: all faults of a request
concurrently, each in a separate channel. Other conversations are answered during the faults, the
affected ones afterwards.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bot.domain import texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import AttachmentError, Gone, PlatformError, Unsettled
from tests.sims.discord import constants as c
from tests.sims.discord.interactions import Interaction
from tests.sims.discord.local import LocalDiscord
from tests.sims.discord.state import Channel, Role
from tests.support.discord_kit import until
from tests.support.isolation_kit import API, FAULTS, SECONDS, WHOLE, Rig, bot_on, full_path

NOT_ALLOWED = frozenset({"403", "404"})  # Discord's response if the bot has no access


@dataclass(eq=False)
class Case:
    """One fault in one scenario."""

    rig: Rig
    name: str
    fields: Mapping[str, Any]
    pattern: str = ""
    acted: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _end: Callable[[], None] = lambda: None

    @property
    def refused(self) -> bool:
        """Whether Discord denies access, so that there is nothing to wait for."""
        return self.name in NOT_ALLOWED

    def begin(self, pattern: str) -> None:
        """Start the fault on "METHOD /path"."""
        self.pattern = pattern
        self._end = self.rig.arm(pattern, self.fields)

    async def over(self) -> None:
        """Wait until the fault has hit the request, others were answered, and it has ended."""
        await self.rig.sim.until(self.was_met, SECONDS)
        self.acted.set()
        await self.ended.wait()

    async def was_met(self) -> bool:
        """Whether the fault has hit the request."""
        method, _, path = self.pattern.partition(" ")
        return any(
            entry.method == method and _matches(full_path(path), entry.path)
            for entry in self.rig.sim.server.record
        )

    def end(self) -> None:
        """End the fault."""
        self._end()
        self.ended.set()


def _matches(pattern: str, path: str) -> bool:
    return re.fullmatch(pattern, path) is not None


pytestmark = pytest.mark.timeout(900)  # SECONDS, several times
Scenario = Callable[[Rig, Case], Awaitable[None]]


async def thread_of_people(rig: Rig, channel: int | None = None) -> int:
    """A thread that Alice started, in a separate channel."""
    where = channel or await rig.sim.add_channel("busy")
    return await rig.sim.start_thread(c.ALICE, await rig.sim.say(channel=where, content="x"), "t")


# ── scenarios: how the request comes about, and what people see ──────────────────────────────────
async def thread(rig: Rig, case: Case) -> None:
    """The thread is created, or a reply chain replaces it immediately."""
    channel = await rig.sim.add_channel("busy")
    case.begin(rf"POST /channels/{channel}/messages/\d+/threads")
    question = await rig.sim.mention("hello", channel=channel)
    await rig.whole(question, channel)
    await case.over()


async def post(rig: Rig, case: Case) -> None:
    """The page appears once, after the fault; without access, only the next question is
    answered."""
    place = await thread_of_people(rig)
    case.begin(f"POST /channels/{place}/messages")
    await rig.sim.mention("hello", channel=place)
    await case.over()
    if case.refused:
        await rig.sim.mention("and now?", channel=place)
    await rig.whole(place)
    ours = await rig.sim.messages(place, author=c.BOT)
    assert sum(WHOLE in message["content"] for message in ours) == 1
    assert len(ours) == 1


async def edit(rig: Rig, case: Case) -> None:
    """The page is whole after the fault; without access, its text stays unchanged."""
    place = await thread_of_people(rig)
    case.begin(rf"PATCH /channels/{place}/messages/\d+")
    await rig.sim.mention("hello " * 20, channel=place)
    await case.over()
    if case.refused:
        await rig.sim.mention("and now?", channel=place)
    await rig.whole(place)


async def delete(rig: Rig, case: Case) -> None:
    """The text disappears immediately, by an edit if necessary, and the turn does not wait."""
    place = await thread_of_people(rig)
    question = await rig.sim.mention("hello", channel=place)
    await rig.whole(place)
    case.begin(rf"DELETE /channels/{place}/messages/\d+")
    await rig.sim.delete(question)

    async def hidden() -> bool:
        return WHOLE not in await rig.visible_texts(place)

    await rig.sim.until(hidden, SECONDS)
    await rig.sim.mention("the next question", channel=place)
    await rig.whole(place)
    await case.over()

    async def is_removed() -> bool:
        return texts.REMOVED not in await rig.visible_texts(place)

    if not case.refused:
        await rig.sim.until(is_removed, SECONDS)


async def typing(rig: Rig, case: Case) -> None:
    """There is no typing indicator, and the answer arrives as usual."""
    place = await thread_of_people(rig)
    case.begin(f"POST /channels/{place}/typing")
    await rig.sim.mention("hello", channel=place)
    await rig.whole(place)
    await case.over()


async def backlog(rig: Rig, case: Case) -> None:
    """The answer arrives without the thread's earlier messages."""
    place = await thread_of_people(rig)
    await rig.sim.say(channel=place, content="something said before")
    case.begin(f"GET /channels/{place}/messages")
    await rig.sim.mention("hello", channel=place)
    await rig.whole(place)
    await case.over()


async def search(rig: Rig, case: Case) -> None:
    """A page that may exist is searched for until that is certain, so it is never posted twice."""
    place = await thread_of_people(rig)
    await rig.sim.call(
        "fault", match=f"POST {API}/channels/{place}/messages", drop=True, after=True
    )
    await rig.sim.mention("hello", channel=place)

    async def read() -> bool:
        return bool(await rig.sim.requests(f"POST {API}/channels/{place}/messages"))

    await rig.sim.until(read, SECONDS)
    case.begin(f"GET /channels/{place}/messages")
    await case.over()
    if case.refused:
        return
    await rig.whole(place)
    assert len(await rig.sim.messages(place, author=c.BOT)) == 1


async def fetch(rig: Rig, case: Case) -> None:
    """A message in an unknown thread waits for the thread and is not lost."""
    place = await thread_of_people(rig)
    await rig.sim.archive(place)
    await rig.sim.wait_idle(0.05)
    rig.sim.server.state.channels[place].archived = False  # the bot was not notified
    case.begin(f"GET /channels/{place}")
    await rig.sim.mention("hello", channel=place)
    await case.over()
    if case.refused:
        await rig.sim.mention("and now?", channel=place)
    await rig.whole(place)


async def unarchive(rig: Rig, case: Case) -> None:
    """A thread archived during a reply is unarchived once that is possible."""
    place = await thread_of_people(rig)
    await rig.sim.mention("hello " * 100, channel=place)

    async def has_text() -> bool:
        return bool(await rig.visible_texts(place))

    await rig.sim.until(has_text, SECONDS)
    case.begin(f"PATCH /channels/{place}")
    await rig.sim.archive(place)
    await case.over()
    if case.refused:
        await rig.sim.mention("and now?", channel=place)
    await rig.whole(place)


async def reset_and_read(rig: Rig, channel: int) -> str:
    """The reply to /reset in a channel; the command is typed again whenever the reply comes too
    late."""
    interactions = rig.sim.server.interactions
    async with asyncio.timeout(SECONDS):
        while True:
            number = await rig.sim.slash(c.ALICE, channel, "reset")

            async def is_over(asked: Interaction = interactions.all[number]) -> bool:
                late = time.time() - asked.at > interactions.first_within
                return asked.original is not None or (asked.answered is None and late)

            await rig.sim.until(is_over, SECONDS)
            if (message := interactions.all[number].original) is not None:
                return str((await rig.sim.message(message.id))["content"])


async def wait_offered(rig: Rig, channel: int) -> None:
    """Wait until /reset offers a conversation. A few people try at a time: if all did, a busy
    machine would take longer for each than the bot waits for Discord."""

    async def there() -> bool:
        async with rig.few:
            return await reset_and_read(rig, channel) == texts.WHICH_THREAD

    await rig.sim.until(there, SECONDS)


async def chain_in(rig: Rig) -> tuple[int, int]:
    """A channel without threads, with an answered question."""
    channel = await rig.sim.add_channel("busy")
    await rig.sim.set_permissions(channel, deny=("create_public_threads",))
    question = await rig.sim.mention("hello", channel=channel)
    await rig.whole(question, channel)
    return channel, question


async def choice_thread(rig: Rig, case: Case) -> None:
    """/reset offers a conversation only if the person's access to it is confirmed."""
    channel, question = await chain_in(rig)
    case.begin(f"GET /channels/{question}")
    await reset_and_read(rig, channel)
    await case.over()
    await wait_offered(rig, channel)


async def choice_message(rig: Rig, case: Case) -> None:
    """Like `choice_thread`, for the first message of a reply chain."""
    channel, question = await chain_in(rig)
    case.begin(f"GET /channels/{channel}/messages/{question}")
    await reset_and_read(rig, channel)
    await case.over()
    await wait_offered(rig, channel)


async def choice_member(rig: Rig, case: Case) -> None:
    """Like `choice_thread`, for members of a private thread."""
    channel = await rig.sim.add_channel("busy")
    place = await rig.sim.private_thread(c.ALICE, "private", channel=channel)
    await rig.sim.mention("hello", channel=place)
    await rig.whole(place)
    case.begin(f"GET /channels/{place}/thread-members/{c.ALICE}")
    await reset_and_read(rig, channel)
    await case.over()
    await wait_offered(rig, channel)


async def stranger(rig: Rig, case: Case) -> None:
    """A direct message waits until it is known whether its author may use the bot."""
    person = await rig.sim.add_person("Newcomer")
    case.begin(rf"GET /guilds/\d+/members/{person}")
    sent = await rig.sim.dm(person, "hello")
    await case.over()
    if not case.refused:
        await rig.whole(sent["channel"])


async def late_thread(rig: Rig, case: Case) -> None:
    """A thread that appears too late is removed if permitted, and the answer is whole."""
    channel = await rig.sim.add_channel("busy")
    await rig.sim.set_permissions(channel, allow=("manage_threads",))
    # After the bot has given it up, and has seen that it does not exist: at most a second each.
    await rig.sim.call(
        "fault", pattern=rf"POST {API}/channels/{channel}/messages/\d+/threads", delay=4.0
    )
    question = await rig.sim.mention("hello " * 5, channel=channel)
    case.begin(f"DELETE /channels/{question}")
    await rig.whole(channel)
    await case.over()

    async def is_removed() -> bool:
        return rig.sim.server.state.channels[question].deleted is not None

    if not case.refused:
        await rig.sim.until(is_removed, SECONDS)


async def file_in(rig: Rig) -> tuple[int, int, dict[str, str]]:
    """A thread, a message with a file in it, and everything but the URL that its download needs."""
    place = await thread_of_people(rig)
    file = {"filename": "a.json", "content_type": "application/json", "text": '{"id": "1"}'}
    message = await rig.sim.say(channel=place, attachments=[file])
    [attachment] = (await rig.sim.message(message))["attachments"]
    ids = {"channel": str(place), "message": str(message), "attachment": attachment["id"]}
    return place, message, ids


async def download(rig: Rig, locator: Mapping[str, str]) -> AttachmentError | None:
    """Download a file; returns the error."""
    key = ConversationKey("discord", str(c.GUILD), locator["channel"], "")
    try:
        await rig.adapter.download(key, locator, limit=1_000)
    except AttachmentError as error:
        return error
    return None


async def expect_download(rig: Rig, case: Case, locator: Mapping[str, str], *, final: bool) -> None:
    """The download fails for now, or finally if Discord denies access; afterwards it succeeds."""

    async def is_met() -> bool:  # on a busy machine, a download may end before its request is sent
        error = await download(rig, locator)
        is_right = error is None or (error.retry_after is None) == final
        return is_right and await case.was_met()

    async def is_downloaded() -> bool:
        return await download(rig, locator) is None

    await rig.sim.until(is_met, SECONDS)
    await case.over()
    if not final:
        await rig.sim.until(is_downloaded, SECONDS)


async def refresh(rig: Rig, case: Case) -> None:
    """A file whose URL has expired is downloaded once its message can be read."""
    place, message, locator = await file_in(rig)
    case.begin(f"GET /channels/{place}/messages/{message}")
    await expect_download(rig, case, locator, final=case.refused)


async def file(rig: Rig, case: Case) -> None:
    """A file is downloaded once the CDN serves it; a refusal after a refresh is final."""
    place, message, locator = await file_in(rig)
    url = await rig.sim.call("file_url", message=message)
    case.begin(f"GET /attachments/{place}/.+")
    final = case.fields.get("status") in (401, 403, 404)
    await expect_download(rig, case, {**locator, "url": url}, final=final)


async def read_linked(rig: Rig, case: Case) -> None:
    """A linked message is read once the asker's roles are known."""
    place, message, _ = await file_in(rig)
    asker = await rig.sim.add_person("newcomer")
    ids = {"asker": asker, "guild": c.GUILD, "channel": place, "message": message}
    locator = {"link": "https://…", **{name: str(value) for name, value in ids.items()}}
    case.begin(rf"GET /guilds/\d+/members/{asker}")
    await expect_download(rig, case, locator, final=case.refused)


# ── facts about people and places that rules need ───────────────────────────────────────────────
def key_in(guild: int, channel: int = 1) -> ConversationKey:
    return ConversationKey("discord", str(guild), str(channel), "")


async def expect_fact(case: Case, ask: Callable[[], Awaitable[str]], fact: str) -> None:
    """Expect the fact, or an error that does not deny it, during the fault, and the fact
    afterwards."""

    async def is_known() -> bool:
        try:
            assert fact in await ask()
        except PlatformError as error:
            assert not isinstance(error, Gone)
            return False
        return True

    async def is_met() -> bool:  # on a busy machine, a lookup may end before its request is sent
        await is_known()
        return await case.was_met()

    await case.rig.sim.until(is_met, SECONDS)
    await case.over()
    await case.rig.sim.until(is_known, SECONDS)


async def new_guild(rig: Rig) -> int:
    """A guild with a role for Alice, and a channel that the bot was not notified of."""
    state, guild = rig.sim.server.state, int((await rig.sim.add_guild("busy"))["guild"])
    role = Role(state.snowflake(), "On-Call", 0)
    state.guilds[guild].roles[role.id] = role
    state.guilds[guild].members[c.ALICE] = [role.id]
    return guild


async def names_of(rig: Rig, guild: int) -> str:
    """The names of Alice's roles."""
    facts = await rig.adapter.directory.person(key_in(guild), Author(str(c.ALICE), ""))
    return " ".join(facts.group_names)


async def member_roles(rig: Rig, case: Case) -> None:
    """Until Discord reports them, a person's roles are unknown, never empty."""
    guild = await new_guild(rig)
    case.begin(f"GET /guilds/{guild}/members/{c.ALICE}")
    await expect_fact(case, lambda: names_of(rig, guild), "on-call")


async def role_names(rig: Rig, case: Case) -> None:
    """Like `member_roles`, for the names of the roles."""
    guild = await new_guild(rig)
    case.begin(f"GET /guilds/{guild}")
    await expect_fact(case, lambda: names_of(rig, guild), "on-call")


async def channel_names(rig: Rig, case: Case) -> None:
    """A channel's name is unknown until Discord reports it."""
    state, guild = rig.sim.server.state, await new_guild(rig)
    channel = Channel(state.snowflake(), c.TEXT, "ops", guild)
    state.channels[channel.id] = channel
    case.begin(f"GET /guilds/{guild}/channels")

    async def name() -> str:
        try:
            return (await rig.adapter.directory.place(key_in(guild, channel.id))).channel_name
        except Gone as error:  # about a place, which lets no one in
            raise Unsettled(str(error)) from error

    await expect_fact(case, name, "ops")


async def notice(rig: Rig, case: Case) -> None:
    """A sentence to one person arrives privately once that is possible, and never elsewhere."""
    person, text = await rig.sim.add_person("newcomer"), f"Only some may ask here: {case.name}."
    case.fields = {**case.fields, "having": str(person)}
    case.begin("POST /users/@me/channels")
    tell = rig.adapter.directory.tell

    async def is_told() -> str:
        try:
            await tell(key_in(c.GUILD, c.CHANNEL), Author(str(person), ""), text)
        except Gone as error:
            raise Unsettled(str(error)) from error
        return "told"

    await expect_fact(case, is_told, "told")
    shown = {
        channel.recipient
        for channel in rig.sim.server.state.channels.values()
        for message in channel.messages.values()
        if message.shown.content == text
    }
    assert shown == {person}


SCENARIOS: Mapping[str, tuple[Scenario, ...]] = {
    "POST /channels/{channel}/messages/{message}/threads": (thread,),
    "POST /channels/{channel}/messages": (post,),
    "PATCH /channels/{channel}/messages/{message}": (edit,),
    "DELETE /channels/{channel}/messages/{message}": (delete,),
    "POST /channels/{channel}/typing": (typing,),
    "GET /channels/{channel}/messages": (backlog, search),
    "GET /channels/{channel}": (fetch, choice_thread),
    "PATCH /channels/{channel}": (unarchive,),
    "GET /channels/{channel}/messages/{message}": (choice_message, refresh),
    "GET /channels/{channel}/thread-members/{user}": (choice_member,),
    "GET /guilds/{guild}/members/{user}": (stranger, read_linked, member_roles),
    "GET /guilds/{guild}": (role_names,),
    "GET /guilds/{guild}/channels": (channel_names,),
    "POST /users/@me/channels": (notice,),
    "DELETE /channels/{channel}": (late_thread,),
    "GET /attachments/{channel}/{file}/{name}": (file,),
}
"""Requests about one place, each with the scenario that causes it."""


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        await sim.set_limits(on=False, invalid=[10**6, 600.0], buckets={})
        yield sim


async def play(rig: Rig, scenario: Scenario, names: Iterable[str] = FAULTS) -> None:
    """Run a scenario with these faults concurrently, each in a separate channel."""
    cases = [Case(rig, name, FAULTS[name]) for name in names]
    scenarios = {case: asyncio.create_task(scenario(rig, case)) for case in cases}
    everything = asyncio.gather(*scenarios.values(), return_exceptions=True)
    failed = {}
    try:
        await until(lambda: all(x.acted.is_set() or scenarios[x].done() for x in cases), SECONDS)
        await asyncio.gather(*(rig.bystander() for _ in range(3)))
        for case in cases:
            case.end()
        await rig.pass_time(everything)
    finally:
        for case, task in scenarios.items():
            if not task.done():
                failed[case.name] = "not met" if not case.acted.is_set() else "not whole"
            elif (error := task.exception()) is not None:
                failed[case.name] = repr(error)
        everything.cancel()
        await asyncio.wait(scenarios.values())
        assert failed == {}


def batches(scenario: Scenario) -> list[list[str]]:
    """Groups of faults that can run concurrently; a 429 for the whole guild runs alone.

    Two groups, because a busy machine that served all together would exceed all time limits.
    """
    whole = scenario in (stranger, read_linked, notice)
    limits = [name for name in FAULTS if whole and name.startswith("429")]
    others = [name for name in FAULTS if name not in limits]
    return [others[::2], others[1::2], *([name] for name in limits)]


@pytest.mark.parametrize("scenario", [s for scenarios in SCENARIOS.values() for s in scenarios])
async def test_a_fault_of_one_request_affects_only_its_channel(
    sim: LocalDiscord, tmp_path: Path, scenario: Scenario
) -> None:
    """Other channels are answered during the fault, and the affected one afterwards."""
    async with bot_on(sim, tmp_path, guilds=frozenset({str(c.GUILD)})) as rig:
        for names in batches(scenario):
            await play(rig, scenario, names)
    rig.assert_clean()
    assert rig.used() <= SCENARIOS.keys() | {"GET /users/@me"} | OF_THE_WHOLE_BOT


OF_THE_WHOLE_BOT = frozenset(
    {
        "GET /users/@me",
        "GET /oauth2/applications/@me",
        "GET /gateway/bot",
        "GET /applications/{app}/commands",
        "PUT /applications/{app}/commands",
        "POST /interactions/{id}/{token}/callback",
        "PATCH /webhooks/{app}/{token}/messages/{message}",
        "POST /webhooks/{app}/{token}",
    }
)
"""Requests that belong to no place."""
