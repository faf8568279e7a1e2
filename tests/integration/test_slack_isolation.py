"""Every request that the Slack adapter makes, in every trouble: it costs that one thing only.

The rows of `docs/isolation-slack.md` are the requests; what is not in a scene here, or was not sent
in it, fails the last test.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.slack.api import WebApi, limits, new_session, web_client
from adapters.slack.responses import Response
from bot.domain.errors import PlatformError
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.sims.slack.web import METHODS
from tests.support.slack_isolation import (
    AFTER,
    CODE,
    FEW,
    PATIENCE,
    SLOWLY,
    SOON,
    STEP,
    TROUBLES,
    WORDS,
    Provoke,
    Scene,
    World,
    world_at,
)

TABLE = Path("docs/isolation-slack.md")
SEED = 7  # of the Slack that is played; its answers are noisy


# ── scenes ────────────────────────────────────────────────────────────────────────────────────
async def ask(world: World, channel: str) -> str:
    return await world.ask(channel)


async def ask_slowly(world: World, channel: str) -> str:
    return await world.ask(channel, f"{SLOWLY}\n\n{WORDS}\n\n{WORDS}")


async def ask_for_code(world: World, channel: str) -> str:
    return await world.ask(channel, f"{WORDS}\n\n{CODE}")


async def ask_in_an_old_thread(world: World, channel: str) -> str:
    root = await world.sim.say(ids.BOB, channel, "the build is red")
    await world.sim.say(ids.ALICE, channel, WORDS, thread_ts=root, mention=True)
    return root


async def ask_and_reset(world: World, channel: str) -> str:
    root = await world.ask(channel)
    await world.sim.say(ids.ALICE, channel, "reset", thread_ts=root, mention=True)
    return await world.ask(channel)


async def ask_at_home(world: World, channel: str) -> str:
    await world.sim.open_home(ids.ALICE, "messages")
    return await world.ask(channel)


async def ask_after_a_shortcut(world: World, channel: str) -> str:
    private = await world.sim.say(ids.ALICE, ids.RANDOM, "the bot is not here")
    await world.sim.shortcut(ids.ALICE, "threadline_reset", channel=ids.RANDOM, message_ts=private)
    return await world.ask(channel)


def deleted(provoke: Provoke) -> Provoke:
    """Another question's reply is taken back, because the question is deleted."""

    async def scene(world: World, channel: str) -> str:
        root = await provoke(world, channel)
        await world.sim.until(lambda: world.is_whole(channel, root), PATIENCE)
        await world.idle()
        await world.sim.delete(channel, root)
        return await world.ask(channel)

    return scene


SCENES: Mapping[str, Scene] = {
    "auth.test": Scene(ask, named=False),
    "apps.connections.open": Scene(ask, named=False),
    "users.conversations": Scene(ask, named=False),
    "conversations.history": Scene(ask, named=False),
    "users.info": Scene(ask, named=False),
    "conversations.info": Scene(ask),
    "conversations.replies": Scene(ask_in_an_old_thread),
    "agents.sessions.setStatus": Scene(ask),
    "assistant.threads.setStatus": Scene(ask, agent=False),
    "assistant.threads.setSuggestedPrompts": Scene(ask_at_home, named=False),
    "chat.startStream": Scene(ask),
    "chat.appendStream": Scene(ask_slowly),
    "chat.stopStream": Scene(ask, whole=False),
    "chat.postMessage": Scene(ask, agent=False, whole=False, said=False),
    "chat.update": Scene(ask, agent=False, whole=False, said=False),
    "chat.delete": Scene(deleted(ask), agent=False),
    "chat.postEphemeral": Scene(ask_and_reset),
    "files.getUploadURLExternal": Scene(ask_for_code, named=False),
    "upload": Scene(ask_for_code, named=False),
    "files.completeUploadExternal": Scene(ask_for_code),
    "files.delete": Scene(deleted(ask_for_code), named=False),
    "response_url": Scene(ask_after_a_shortcut, named=False),
}
PATHS = {"upload": "/upload/v1/", "response_url": "/respond/"}
AT_START = ("auth.test", "apps.connections.open")
PARTS = 4  # of the throttled methods, so that they can run side by side
sent: set[str] = set()
cases: list[tuple[str, str]] = []


def path(method: str) -> str:
    return PATHS.get(method, f"/api/{method}")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with SlackSim() as sim:
        await sim.draw(SEED)
        await sim.limits(enabled=False)
        async with world_at(tmp_path / "bot.db", sim) as world:
            async with world.bot() as task:  # the first start, after which there is a past
                await world.connected(task)
                root = await world.ask(ids.GENERAL)
                await sim.until(lambda: world.is_whole(ids.GENERAL, root))
            yield world


@contextlib.asynccontextmanager
async def quiet(world: World) -> AsyncIterator[None]:
    """Nothing is logged with a traceback, and no exception is left to nobody."""
    with capture_logs() as lines:
        yield
    assert [line for line in lines if line.get("exc_info")] == []
    assert world.errors == []


async def tried(world: World, method: str, since: int, times: int = 1) -> None:
    """The request was sent."""

    async def enough() -> bool:
        return len((await world.sim.requests(path(method)))[since:]) >= times

    await world.sim.until(enough, PATIENCE)
    sent.add(method)


async def calm(world: World) -> None:
    """Another conversation gets its whole answer, in bounded time."""
    channel = await world.channel("calm")
    await soon(world, channel, await world.ask(channel, user=ids.BOB))


async def soon(world: World, channel: str, root: str) -> None:
    """The answer is whole, and did not wait for the trouble to end."""
    began = world.clock.monotonic()

    async def whole() -> bool:
        world.clock.jump(STEP / 10)
        assert world.clock.monotonic() - began < SOON, "it waits for the trouble to end"
        return await world.is_whole(channel, root)

    await world.sim.until(whole, PATIENCE)


async def recovered(world: World, hit: Mapping[str, tuple[str, str]]) -> None:
    """What was hit is whole once the trouble is over; no sign of work stays."""

    async def whole() -> bool:
        world.clock.jump(STEP)
        return all([await world.is_whole(*place) for place in hit.values()])

    try:
        await world.sim.until(whole, PATIENCE)
    except AssertionError:
        late = [name for name, place in hit.items() if not await world.is_whole(*place)]
        raise AssertionError(f"not whole after: {late}") from None

    async def over() -> bool:
        world.clock.jump(STEP)
        state = await world.sim.state()
        busy = [one for one in state["sessions"] if one["status"] == "processing"]
        return not (busy or state["statuses"] or state["streaming"])

    await world.idle()
    await world.sim.until(over, PATIENCE)


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_method_that_is_throttled_for_five_minutes(world: World, part: int) -> None:
    """It alone. Where there is another way the answer is whole at once."""
    for method in [method for method in SCENES if method not in PATHS][part::PARTS]:
        async with quiet(world):
            await one_throttled(world, method, SCENES[method])
        cases.append((method, "429"))


async def one_throttled(world: World, method: str, scene: Scene) -> None:
    # A channel of its own: what was said there before could teach the bot what it is to ask for.
    sim, channel = world.sim, await world.channel(method.lower().replace(".", "-"))
    since = len(await sim.requests(path(method)))
    await sim.agent(scene.agent)
    await sim.subscribe(["app_mention"] if method == "conversations.info" else None)
    only = channel if method == "chat.postMessage" else ""
    await sim.throttle(method, AFTER, channel=only)
    async with world.bot() as task:
        if method in AT_START:
            await tried(world, method, since)
            await sim.throttle(method, 0.0)
            world.clock.jump(AFTER + 1)
        await world.connected(task)
        root = await scene.provoke(world, channel)
        await tried(world, method, since)
        await calm(world)
        if scene.whole:
            await soon(world, channel, root)
        elif scene.said:
            await sim.until(lambda: world.is_said(channel, root), PATIENCE)
        await sim.throttle(method, 0.0)
        world.clock.jump(AFTER + 1)
        await recovered(world, {"429": (channel, root)})
    refused = (await sim.state())["ratelimited"]
    assert refused[method] <= REFUSALS, refused  # nobody asks again and again
    await sim.call("forget_refusals")


REFUSALS = 4


@pytest.mark.parametrize("method", SCENES)
async def test_a_method_whose_answers_are_odd(world: World, method: str) -> None:
    scene, sim = SCENES[method], world.sim
    await sim.agent(scene.agent)
    await sim.subscribe(["app_mention"] if method == "conversations.info" else None)
    names = list(TROUBLES)
    groups = [names[::2], names[1::2]] if scene.named else [[name] for name in FEW]
    for group in groups:
        async with quiet(world):
            await odd(world, method, scene, group)
        cases.extend((method, name) for name in group)


async def odd(world: World, method: str, scene: Scene, names: list[str]) -> None:
    """All these troubles at once, each in a channel of its own."""
    sim, since = world.sim, len(await world.sim.requests(path(method)))
    places = {name: await world.channel(re.sub(r"\W", "-", name.lower())) for name in names}
    for name, channel in places.items():
        having = channel if scene.named else ""
        await sim.call("fault", match=path(method), having=having, **TROUBLES[name])
    async with world.bot() as task:
        if method in AT_START:
            await tried(world, method, since)
            await sim.call("clear")
            await starts(world, task)
        await world.connected(task)
        asked = await asyncio.gather(*(scene.provoke(world, place) for place in places.values()))
        hit = {name: (places[name], root) for name, root in zip(places, asked, strict=True)}
        await tried(world, method, since, max(1, len(names) // 2))
        if scene.named:
            await calm(world)
        await sim.call("clear")
        await recovered(world, hit)


async def starts(world: World, task: asyncio.Task[None]) -> None:
    """It connects in the end, whatever the pauses."""

    async def ready() -> bool:
        world.clock.jump(STEP)
        if task.done():
            task.result()
        return world.adapters["slack"].health().ok

    await world.sim.until(ready, PATIENCE)


def rows() -> dict[str, list[str]]:
    """The table's rows by request."""
    lines = TABLE.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return {row[0].strip("`"): row[1:] for row in cells if row[0].startswith("`")}


async def test_every_method_of_slack_in_every_trouble_is_an_error_of_ours(world: World) -> None:
    """At the edge, for what is not used yet, too: nothing but a PlatformError leaves it."""
    for trouble in TROUBLES:
        await at_the_edge(world, trouble)
        await world.sim.call("clear")


async def at_the_edge(world: World, trouble: str) -> None:
    await world.sim.call("fault", match="/api/", **TROUBLES[trouble] | {"times": 10_000})
    async with new_session(0.3) as session:
        client = web_client(ids.BOT_TOKEN, world.sim.api_url, session)
        rate_limiter = AccountRateLimiter(limits, world.clock)
        api = WebApi(client=client, session=session, rate_limiter=rate_limiter, clock=world.clock)
        answers = await asyncio.gather(
            *(api.read(method, channel="C1", ts="1.000001") for method in METHODS),
            *(api.write(method, channel="C1", ts="1.000001") for method in METHODS),
            return_exceptions=True,
        )
    cases.extend((method, trouble) for method in METHODS)
    odd = [one for one in answers if not isinstance(one, Response | PlatformError)]
    assert odd == []


def used() -> set[str]:
    """The methods that the adapter's source names."""
    source = "".join(file.read_text() for file in Path("adapters/slack").glob("*.py"))
    return {name for name in re.findall(r'"([^"\s]+)"', source) if name in METHODS}


def test_the_table_has_every_request_that_the_adapter_makes() -> None:
    """A new request must get a row, and a scene in which it is sent."""
    table = rows()
    assert used() | set(PATHS) == set(table)
    assert set(table) == set(SCENES)
    assert set(table) - set(PATHS) <= set(METHODS)
    assert all(len(row) == len(next(iter(table.values()))) and all(row) for row in table.values())
