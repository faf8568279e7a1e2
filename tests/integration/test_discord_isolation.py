"""Each request of the Discord adapter × each trouble: it costs what it concerns, and nothing else.

Every row of docs/isolation-discord.md is played here, all troubles of a request at once, each in a
channel of its own, with the real client and core. Other conversations are answered while the
troubles last; those that were hit, when they are over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bot.domain import texts
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.support.discord_kit import until
from tests.support.isolation_kit import API, SECONDS, TROUBLES, WHOLE, Rig, bot_on

NOT_ALLOWED = frozenset({"403", "404"})  # Discord's word that something is not there for us


@dataclass(eq=False)
class Case:
    """One trouble in one scene."""

    rig: Rig
    name: str
    trouble: Mapping[str, Any]
    pattern: str = ""
    acted: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _end: Callable[[], None] = lambda: None

    @property
    def refused(self) -> bool:
        """Whether Discord says that we may not: then there is nothing to wait for."""
        return self.name in NOT_ALLOWED

    def begin(self, pattern: str) -> None:
        """The trouble is on for "METHOD /path"."""
        self.pattern = pattern
        self._end = self.rig.arm(pattern, self.trouble)

    async def over(self) -> None:
        """Return when the request was met by the trouble, others were served, and it has ended."""
        method, _, path = self.pattern.partition(" ")

        async def met() -> bool:
            return any(
                entry.method == method and _matches(f"{API}{path}", entry.path)
                for entry in self.rig.sim.simulator.record
            )

        await self.rig.sim.until(met, SECONDS)
        self.acted.set()
        await self.ended.wait()

    def end(self) -> None:
        """The trouble is over."""
        self._end()
        self.ended.set()


def _matches(pattern: str, path: str) -> bool:
    return re.fullmatch(pattern, path) is not None


Scene = Callable[[Rig, Case], Awaitable[None]]


async def thread_of_people(rig: Rig, channel: int | None = None) -> int:
    """A thread that Alice began, in a channel of its own."""
    where = channel or await rig.sim.add_channel("busy")
    return await rig.sim.start_thread(c.ALICE, await rig.sim.say(channel=where, content="x"), "t")


# ── scenes: what makes the request, and what people see ───────────────────────────────────────
async def thread(rig: Rig, case: Case) -> None:
    """The thread is made, or the reply chain takes its place at once."""
    channel = await rig.sim.add_channel("busy")
    case.begin(rf"POST /channels/{channel}/messages/\d+/threads")
    question = await rig.sim.mention("hello", channel=channel)
    await rig.whole(question, channel)
    await case.over()


async def post(rig: Rig, case: Case) -> None:
    """Shown once, afterwards; where we may not write, only the next question is answered."""
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
    """Whole afterwards; where we may not edit, the text stays as it is."""
    place = await thread_of_people(rig)
    case.begin(rf"PATCH /channels/{place}/messages/\d+")
    await rig.sim.mention("hello " * 20, channel=place)
    await case.over()
    if case.refused:
        await rig.sim.mention("and now?", channel=place)
    await rig.whole(place)


async def delete(rig: Rig, case: Case) -> None:
    """The text goes at once, if need be by an edit; the turn's end does not wait for it."""
    place = await thread_of_people(rig)
    question = await rig.sim.mention("hello", channel=place)
    await rig.whole(place)
    case.begin(rf"DELETE /channels/{place}/messages/\d+")
    await rig.sim.delete(question)

    async def hidden() -> bool:
        return WHOLE not in await rig.shown(place)

    await rig.sim.until(hidden, SECONDS)
    await rig.sim.mention("the next question", channel=place)
    await rig.whole(place)
    await case.over()

    async def removed() -> bool:
        return texts.REMOVED not in await rig.shown(place)

    if not case.refused:
        await rig.sim.until(removed, SECONDS)


async def typing(rig: Rig, case: Case) -> None:
    """No sign of typing; the answer comes as always."""
    place = await thread_of_people(rig)
    case.begin(f"POST /channels/{place}/typing")
    await rig.sim.mention("hello", channel=place)
    await rig.whole(place)
    await case.over()


async def backlog(rig: Rig, case: Case) -> None:
    """The answer comes without what was said in the thread before."""
    place = await thread_of_people(rig)
    await rig.sim.say(channel=place, content="something said before")
    case.begin(f"GET /channels/{place}/messages")
    await rig.sim.mention("hello", channel=place)
    await rig.whole(place)
    await case.over()


async def looking(rig: Rig, case: Case) -> None:
    """A post that may be there is looked for until that is known: it is never doubled."""
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
    """A message of a thread that is not known waits for the thread; it is not lost."""
    place = await thread_of_people(rig)
    await rig.sim.archive(place)
    await rig.sim.wait_idle(0.05)
    rig.sim.simulator.world.channels[place].archived = False  # the bot was not told
    case.begin(f"GET /channels/{place}")
    await rig.sim.mention("hello", channel=place)
    await case.over()
    if case.refused:
        await rig.sim.mention("and now?", channel=place)
    await rig.whole(place)


async def unarchive(rig: Rig, case: Case) -> None:
    """A thread that was archived in mid-answer is opened for the rest, when that is possible."""
    place = await thread_of_people(rig)
    await rig.sim.mention("hello " * 100, channel=place)

    async def begun() -> bool:
        return bool(await rig.shown(place))

    await rig.sim.until(begun, SECONDS)
    case.begin(f"PATCH /channels/{place}")
    await rig.sim.archive(place)
    await case.over()
    if case.refused:
        await rig.sim.mention("and now?", channel=place)
    await rig.whole(place)


async def offered(rig: Rig, channel: int) -> str:
    """What /reset answers in a channel."""
    interaction = await rig.sim.slash(c.ALICE, channel, "reset")

    async def answer() -> Any:
        message = (await rig.sim.interaction(interaction))["message"]
        return (await rig.sim.message(message))["content"] if message is not None else None

    return str(await rig.sim.until(answer, SECONDS))


async def offered_again(rig: Rig, channel: int) -> None:
    async def there() -> bool:
        return await offered(rig, channel) == texts.WHICH_THREAD

    await rig.sim.until(there, SECONDS)


async def chain_in(rig: Rig) -> tuple[int, int]:
    """A channel without threads, and a question that was answered there."""
    channel = await rig.sim.add_channel("busy")
    await rig.sim.set_permissions(channel, deny=("create_public_threads",))
    question = await rig.sim.mention("hello", channel=channel)
    await rig.whole(question, channel)
    return channel, question


async def choice_place(rig: Rig, case: Case) -> None:
    """/reset offers a conversation only where it is known that the person can read it."""
    channel, question = await chain_in(rig)
    case.begin(f"GET /channels/{question}")
    await offered(rig, channel)
    await case.over()
    await offered_again(rig, channel)


async def choice_message(rig: Rig, case: Case) -> None:
    """The same, for the message that a reply chain began with."""
    channel, question = await chain_in(rig)
    case.begin(f"GET /channels/{channel}/messages/{question}")
    await offered(rig, channel)
    await case.over()
    await offered_again(rig, channel)


async def choice_member(rig: Rig, case: Case) -> None:
    """The same, for the members of a private thread."""
    channel = await rig.sim.add_channel("busy")
    place = await rig.sim.private_thread(c.ALICE, "private", channel=channel)
    await rig.sim.mention("hello", channel=place)
    await rig.whole(place)
    case.begin(f"GET /channels/{place}/thread-members/{c.ALICE}")
    await offered(rig, channel)
    await case.over()
    await offered_again(rig, channel)


async def stranger(rig: Rig, case: Case) -> None:
    """A direct message waits until it is known whether its author may use the bot."""
    person = await rig.sim.add_person("Newcomer")
    case.begin(rf"GET /guilds/\d+/members/{person}")
    sent = await rig.sim.dm(person, "hello")
    await case.over()
    if not case.refused:
        await rig.whole(sent["channel"])


async def late_thread(rig: Rig, case: Case) -> None:
    """A thread that comes too late is removed where we may, else it stays; the answer is whole."""
    channel = await rig.sim.add_channel("busy")
    await rig.sim.set_permissions(channel, allow=("manage_threads",))
    await rig.sim.call(
        "fault", pattern=rf"POST {API}/channels/{channel}/messages/\d+/threads", delay=0.8
    )
    question = await rig.sim.mention("hello " * 5, channel=channel)
    case.begin(f"DELETE /channels/{question}")
    await rig.whole(channel)
    await case.over()

    async def removed() -> bool:
        return rig.sim.simulator.world.channels[question].deleted is not None

    if not case.refused:
        await rig.sim.until(removed, SECONDS)


SCENES: Mapping[str, tuple[Scene, ...]] = {
    "POST /channels/{channel}/messages/{message}/threads": (thread,),
    "POST /channels/{channel}/messages": (post,),
    "PATCH /channels/{channel}/messages/{message}": (edit,),
    "DELETE /channels/{channel}/messages/{message}": (delete,),
    "POST /channels/{channel}/typing": (typing,),
    "GET /channels/{channel}/messages": (backlog, looking),
    "GET /channels/{channel}": (fetch, choice_place),
    "PATCH /channels/{channel}": (unarchive,),
    "GET /channels/{channel}/messages/{message}": (choice_message,),
    "GET /channels/{channel}/thread-members/{user}": (choice_member,),
    "GET /guilds/{guild}/members/{user}": (stranger,),
    "DELETE /channels/{channel}": (late_thread,),
}
"""Requests for one place, each with what makes them."""


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    async with LocalDiscord() as sim:
        await sim.set_limits(on=False, invalid=[10**6, 600.0], buckets={})
        yield sim


async def played(rig: Rig, scene: Scene, names: Iterable[str] = TROUBLES) -> None:
    """Play a scene with these troubles at once, each in a place of its own."""
    cases = [Case(rig, name, TROUBLES[name]) for name in names]
    scenes = {case: asyncio.create_task(scene(rig, case)) for case in cases}
    everything = asyncio.gather(*scenes.values(), return_exceptions=True)
    failed = {}
    try:
        await until(lambda: all(x.acted.is_set() or scenes[x].done() for x in cases), SECONDS)
        await asyncio.gather(*(rig.bystander() for _ in range(3)))
        for case in cases:
            case.end()
        await rig.pass_time(everything)
    finally:
        for case, task in scenes.items():
            if not task.done():
                failed[case.name] = "not met" if not case.acted.is_set() else "not whole"
            elif (error := task.exception()) is not None:
                failed[case.name] = repr(error)
        everything.cancel()
        await asyncio.wait(scenes.values())
        assert failed == {}


def batches(scene: Scene) -> list[list[str]]:
    """What can be played at once: all, but where a 429 concerns the whole server."""
    limits = [name for name in TROUBLES if scene is stranger and name.startswith("429")]
    return [[name for name in TROUBLES if name not in limits], *([name] for name in limits)]


@pytest.mark.parametrize("scene", [s for scenes in SCENES.values() for s in scenes])
async def test_a_trouble_of_one_request_costs_that_alone(
    sim: LocalDiscord, tmp_path: Path, scene: Scene
) -> None:
    """In its own place; others are served meanwhile, and it is whole afterwards."""
    async with bot_on(sim, tmp_path, servers=frozenset({str(c.GUILD)})) as rig:
        for names in batches(scene):
            await played(rig, scene, names)
    rig.assert_clean()
    assert rig.used() <= SCENES.keys() | {"GET /users/@me"} | OF_THE_WHOLE_BOT


OF_THE_WHOLE_BOT = frozenset(
    {
        "GET /users/@me",
        "GET /oauth2/applications/@me",
        "GET /applications/{app}/commands",
        "PUT /applications/{app}/commands",
        "POST /interactions/{id}/{token}/callback",
        "PATCH /webhooks/{app}/{token}/messages/{message}",
        "POST /webhooks/{app}/{token}",
    }
)
"""Requests that belong to no place."""
