"""Every request of the Slack adapter with every fault: nothing else is affected.

The requests are the rows of `docs/isolation-slack.md`. The last test fails for a request without a
scenario.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.slack.api import WebApi, new_session, web_client
from adapters.slack.attachments import attachments
from adapters.slack.feedback import VOTE
from adapters.slack.rate_limits import limit_for
from adapters.slack.responses import Response
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import PlatformError
from bot.ports.policy import Directory
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim, Upload
from tests.sims.slack.sim import SlackServer
from tests.sims.slack.web import METHODS
from tests.support.slack_isolation import (
    CODE,
    CONTENT,
    FAULTS,
    MAX_DELAY,
    ONE_OF_EACH,
    PATIENCE,
    RETRY_AFTER,
    SLOWLY,
    STEP,
    STEP_PAUSE,
    WORDS,
    IsolationRig,
    Scenario,
    Trigger,
    open_rig,
)

TABLE = Path("docs/isolation-slack.md")
SEED = 7  # of the simulated Slack, which adds unknown fields to its responses


# ── scenarios ─────────────────────────────────────────────────────────────────────────────────
async def ask(rig: IsolationRig, channel: str) -> str:
    return await rig.ask(channel)


async def ask_slowly(rig: IsolationRig, channel: str) -> str:
    return await rig.ask(channel, f"{SLOWLY}\n\n{WORDS}\n\n{WORDS}")


async def ask_for_code(rig: IsolationRig, channel: str) -> str:
    return await rig.ask(channel, f"{WORDS}\n\n{CODE}")


async def ask_in_an_old_thread(rig: IsolationRig, channel: str) -> str:
    root = await rig.sim.say(ids.BOB, channel, "the build is red")
    await rig.sim.say(ids.ALICE, channel, WORDS, thread_ts=root, mention=True)
    return root


async def ask_and_reset(rig: IsolationRig, channel: str) -> str:
    root = await rig.ask(channel)
    await rig.sim.say(ids.ALICE, channel, "reset", thread_ts=root, mention=True)
    return await rig.ask(channel)


async def ask_at_home(rig: IsolationRig, channel: str) -> str:
    await rig.sim.open_home(ids.ALICE, "messages")
    return await rig.ask(channel)


async def ask_after_a_shortcut(rig: IsolationRig, channel: str) -> str:
    private = await rig.sim.say(ids.ALICE, ids.RANDOM, "the bot is not here")
    await rig.sim.shortcut(ids.ALICE, "threadline_reset", channel=ids.RANDOM, message_ts=private)
    return await rig.ask(channel)


async def ask_with_a_file(rig: IsolationRig, channel: str) -> str:
    """The file belongs to another workspace, so its download begins with files.info."""
    stub = {"file_access": "check_file_info"}
    return await post_and_download(rig, channel, ("a.txt", "text/plain", CONTENT, stub))


async def ask_with_an_upload(rig: IsolationRig, channel: str) -> str:
    return await post_and_download(rig, channel, ("a.txt", "text/plain", CONTENT))


async def ask_with_a_link(rig: IsolationRig, channel: str) -> str:
    """A guest may follow the link as a member of the channel."""
    await rig.sim.guest(ids.ALICE)
    url = f"https://{ids.TEAM_DOMAIN}.slack.com/archives/{channel}"
    said = await rig.sim.say(ids.BOB, channel, "the build is red")
    rig.download({"url": url, "channel": channel, "message": said, "asker": ids.ALICE})
    return await rig.ask(channel)


async def ask_about_groups(rig: IsolationRig, channel: str) -> str:
    """A rule about a user group needs the person's groups."""
    here = ConversationKey("slack", ids.TEAM, channel, "")

    async def knows_groups(directory: Directory) -> bool:
        return (await directory.person(here, Author(ids.BOB, "bob"))).groups_are_known

    rig.look_up(knows_groups)
    return await rig.ask(channel)


async def ask_about_a_channel(rig: IsolationRig, channel: str) -> str:
    """A rule about the readers of a public channel without the bot needs them."""
    elsewhere = ConversationKey("slack", ids.TEAM, "#random", "")
    rig.look_up(lambda directory: directory.can_read(elsewhere, ids.BOB))
    return await rig.ask(channel)


async def post_and_download(rig: IsolationRig, channel: str, file: Upload) -> str:
    """Ask with a file, and begin to download it, as the core does."""
    root = await rig.sim.say(ids.ALICE, channel, f"@bob {WORDS}", mention=True, files=[file])
    (found,) = attachments((await rig.sim.thread(channel, root))[0])
    rig.download(found.locator)
    return root


async def ask_and_vote(rig: IsolationRig, channel: str) -> str:
    """Give a thumbs-down, after which a modal asks for a comment."""
    root = await rig.ask(channel)
    await rig.turn_done(root)
    reply = [one for one in await rig.sim.thread(channel, root) if one.get("bot_id") == ids.BOT][-1]
    value = json.dumps({"a": f"down {rig.turn_of(root)}"}, separators=(",", ":"))
    await rig.sim.click(ids.ALICE, channel, reply["ts"], VOTE, value)
    return await rig.ask(channel)


async def ask_and_export(rig: IsolationRig, channel: str) -> str:
    """Export as someone new each time, who may have a file; it arrives as a direct message."""
    user = await rig.sim.add_person("leaver", [channel])
    await rig.sim.slash(user, channel, "/export", "me")
    return await rig.ask(channel)


def then_delete(trigger: Trigger) -> Trigger:
    """Delete an earlier question, so that its reply is removed."""

    async def delete_question(rig: IsolationRig, channel: str) -> str:
        root = await trigger(rig, channel)
        await rig.turn_done(root)
        await rig.sim.delete(channel, root)
        return await rig.ask(channel)

    return delete_question


pytestmark = pytest.mark.timeout(900)  # PATIENCE, several times

SCENARIOS: Mapping[str, Scenario] = {
    "auth.test": Scenario(ask, named=False),
    "apps.connections.open": Scenario(ask, named=False),
    "users.conversations": Scenario(ask, named=False),
    "conversations.history": Scenario(ask, named=False),
    "users.info": Scenario(ask, named=False),
    "conversations.info": Scenario(ask),
    "conversations.members": Scenario(ask_with_a_link),
    "conversations.list": Scenario(ask_about_a_channel, named=False),
    "conversations.open": Scenario(ask_and_export, named=False),
    "usergroups.list": Scenario(ask_about_groups, named=False),
    "conversations.replies": Scenario(ask_in_an_old_thread),
    "agents.sessions.setStatus": Scenario(ask),
    "assistant.threads.setStatus": Scenario(ask, agent=False),
    "assistant.threads.setSuggestedPrompts": Scenario(ask_at_home, named=False),
    "chat.startStream": Scenario(ask),
    "chat.appendStream": Scenario(ask_slowly),
    "chat.stopStream": Scenario(ask, whole=False),
    "chat.postMessage": Scenario(ask, agent=False, whole=False, said=False),
    "chat.update": Scenario(ask, agent=False, whole=False, said=False),
    "chat.delete": Scenario(then_delete(ask), agent=False),
    "chat.postEphemeral": Scenario(ask_and_reset),
    "files.getUploadURLExternal": Scenario(ask_for_code, named=False),
    "upload": Scenario(ask_for_code, named=False),
    "files.completeUploadExternal": Scenario(ask_for_code),
    "files.delete": Scenario(then_delete(ask_for_code), named=False),
    "files.info": Scenario(ask_with_a_file, named=False),
    "download": Scenario(ask_with_an_upload, named=False),
    "response_url": Scenario(ask_after_a_shortcut, named=False),
    "views.open": Scenario(ask_and_vote, named=False),
}
PATHS = {"upload": "/upload/v1/", "download": "/files-pri/", "response_url": "/respond/"}
AT_START = ("auth.test", "apps.connections.open")
PARTS = 4  # of the throttled methods, so that they can run in parallel
sent: set[str] = set()
cases: list[tuple[str, str]] = []


def path(method: str) -> str:
    return PATHS.get(method, f"/api/{method}")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[IsolationRig]:
    async with SlackSim() as sim:
        await sim.randomize(SEED)
        await sim.limits(enabled=False)
        async with open_rig(tmp_path / "bot.db", sim) as rig:
            async with rig.bot() as task:  # a first run, so that there is something to backfill
                await rig.connected(task)
                root = await rig.ask(ids.GENERAL)
                await sim.until(lambda: rig.shows_closed_answer(ids.GENERAL, root))
            yield rig


@contextlib.asynccontextmanager
async def no_tracebacks(rig: IsolationRig) -> AsyncIterator[None]:
    """Assert that no traceback is logged and that every exception is handled."""
    with capture_logs() as lines:
        yield
    assert [line for line in lines if line.get("exc_info")] == []
    assert rig.errors == []


async def wait_until_sent(rig: IsolationRig, method: str, since: int, times: int = 1) -> None:
    """Wait until the request was sent."""

    async def enough() -> bool:
        return len((await rig.sim.requests(path(method)))[since:]) >= times

    await rig.sim.until(enough, PATIENCE)
    sent.add(method)


async def wait_until_hit(
    rig: IsolationRig, method: str, since: int, hit: Mapping[str, tuple[str, str]]
) -> None:
    """Wait until half of the replies have sent the request.

    Fewer are enough if all replies are whole, since the rate limiter may choose another way for
    some.
    """

    async def enough() -> bool:
        count = len((await rig.sim.requests(path(method)))[since:])
        if not count or count >= max(1, len(hit) // 2):
            return bool(count)
        return all([await rig.shows_closed_answer(*place) for place in hit.values()])

    await rig.sim.until(enough, PATIENCE)
    sent.add(method)


async def assert_unaffected(rig: IsolationRig) -> None:
    """Assert that another conversation gets its whole answer in time."""
    channel = await rig.channel("calm")
    await assert_answered_in_time(rig, channel, await rig.ask(channel, user=ids.BOB))


async def assert_answered_in_time(rig: IsolationRig, channel: str, root: str) -> None:
    """Assert that the answer is complete without waiting for the fault to end."""
    start = rig.clock.monotonic()

    async def whole() -> bool:
        rig.clock.jump(STEP / 10)
        assert rig.clock.monotonic() - start < MAX_DELAY, "it waits for the fault to end"
        return await rig.shows_closed_answer(channel, root)

    await rig.sim.until(whole, PATIENCE, pause=STEP_PAUSE)


async def wait_until_recovered(rig: IsolationRig, hit: Mapping[str, tuple[str, str]]) -> None:
    """Wait until the affected replies are complete and no status is left."""

    left = list(hit.values())  # each is checked until it is complete, then the next

    async def whole() -> bool:
        rig.clock.jump(STEP)
        while left and await rig.shows_closed_answer(*left[-1]):
            left.pop()
        return not left and all([await rig.shows_closed_answer(*place) for place in hit.values()])

    try:
        await rig.sim.until(whole, PATIENCE, pause=STEP_PAUSE)
    except AssertionError:
        late = [name for name, place in hit.items() if not await rig.shows_closed_answer(*place)]
        raise AssertionError(f"not whole after: {late}") from None

    async def over() -> bool:
        rig.clock.jump(STEP)
        state = await rig.sim.state()
        busy = [one for one in state["sessions"] if one["status"] == "processing"]
        return not (busy or state["statuses"] or state["streaming"])

    await rig.idle()
    await rig.sim.until(over, PATIENCE, pause=STEP_PAUSE)


@pytest.mark.parametrize("part", range(PARTS))
async def test_a_method_throttled_for_five_minutes(rig: IsolationRig, part: int) -> None:
    """Every other request works, and the answer is complete if there is an alternative."""
    for method in [method for method in SCENARIOS if method not in PATHS][part::PARTS]:
        async with no_tracebacks(rig):
            await throttle_method(rig, method, SCENARIOS[method])
        cases.append((method, "429"))


async def throttle_method(rig: IsolationRig, method: str, scenario: Scenario) -> None:
    # A new channel, since the bot might already know the facts about an old one.
    sim, channel = rig.sim, await rig.channel(method.lower().replace(".", "-"))
    since = len(await sim.requests(path(method)))
    await sim.agent(scenario.agent)
    await sim.subscribe(["app_mention"] if method == "conversations.info" else None)
    only = channel if method == "chat.postMessage" else ""
    await sim.throttle(method, RETRY_AFTER, channel=only)
    async with rig.bot() as task:
        if method in AT_START:
            await wait_until_sent(rig, method, since)
            await sim.throttle(method, 0.0)
            rig.clock.jump(RETRY_AFTER + 1)
        await rig.connected(task)
        root = await scenario.trigger(rig, channel)
        await wait_until_sent(rig, method, since)
        await assert_unaffected(rig)
        if scenario.whole:
            await assert_answered_in_time(rig, channel, root)
        elif scenario.said:
            await sim.until(lambda: rig.shows_answer(channel, root), PATIENCE)
        await sim.throttle(method, 0.0)
        rig.clock.jump(RETRY_AFTER + 1)
        await wait_until_recovered(rig, {"429": (channel, root)})
    refused = (await sim.state())["ratelimited"]
    assert refused[method] <= REFUSALS, refused  # few retries
    await sim.call("forget_refusals")


REFUSALS = 4


GROUPS = {"chat.appendStream": 6}
"""Groups of faults that are tried one after the other, because two groups are not enough: replies
that grow concurrently share the budget of appends, and some of ten would get none."""


@pytest.mark.parametrize("method", SCENARIOS)
async def test_a_method_with_faulty_responses(rig: IsolationRig, method: str) -> None:
    scenario, sim = SCENARIOS[method], rig.sim
    await sim.agent(scenario.agent)
    await sim.subscribe(["app_mention"] if method == "conversations.info" else None)
    names = list(FAULTS)
    count = GROUPS.get(method, 2)
    groups = [names[n::count] for n in range(count)]
    for group in groups if scenario.named else [[name] for name in ONE_OF_EACH]:
        async with no_tracebacks(rig):
            await apply_faults(rig, method, scenario, group)
        cases.extend((method, name) for name in group)


async def apply_faults(
    rig: IsolationRig, method: str, scenario: Scenario, names: list[str]
) -> None:
    """Apply all these faults concurrently, each in a different channel."""
    sim, since = rig.sim, len(await rig.sim.requests(path(method)))
    places = {name: await rig.channel(re.sub(r"\W", "-", name.lower())) for name in names}
    for name, channel in places.items():
        having = channel if scenario.named else ""
        await sim.call("fault", match=path(method), having=having, **FAULTS[name])
    async with rig.bot() as task:
        if method in AT_START:
            await wait_until_sent(rig, method, since)
            await sim.call("clear")
            await wait_until_connected(rig, task)
        await rig.connected(task)
        asked = await asyncio.gather(*(scenario.trigger(rig, place) for place in places.values()))
        hit = {name: (places[name], root) for name, root in zip(places, asked, strict=True)}
        await wait_until_hit(rig, method, since, hit)
        if scenario.named:
            await assert_unaffected(rig)
        await sim.call("clear")
        await wait_until_recovered(rig, hit)


async def test_a_workspace_that_refuses_the_blocks_of_every_reply_shows_bare_text(
    rig: IsolationRig,
) -> None:
    """Slack may not know their type, or refuse it by mistake; people still get the answer."""
    await rig.sim.agent(False)
    async with rig.bot() as task:
        await rig.connected(task)
        await rig.sim.blocks(unknown=["markdown"])
        channel = await rig.channel("bare")
        root = await rig.ask(channel)
        await wait_until_recovered(rig, {"bare": (channel, root)})
        await rig.sim.blocks(unknown=[])
        await assert_unaffected(rig)


async def wait_until_connected(rig: IsolationRig, task: asyncio.Task[None]) -> None:
    """Wait until the adapter is connected, while the bot's clock advances."""

    async def ready() -> bool:
        rig.clock.jump(STEP)
        if task.done():
            task.result()
        return rig.adapters["slack"].health().ok

    await rig.sim.until(ready, PATIENCE, pause=STEP_PAUSE)


def rows() -> dict[str, list[str]]:
    """The rows of the table, by request."""
    lines = TABLE.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return {row[0].strip("`"): row[1:] for row in cells if row[0].startswith("`")}


async def test_every_fault_of_every_method_is_a_platform_error(rig: IsolationRig) -> None:
    """This includes methods that the adapter does not use."""
    for fault in FAULTS:
        await call_every_method(rig, fault)
        await rig.sim.call("clear")


async def call_every_method(rig: IsolationRig, fault: str) -> None:
    await rig.sim.call("fault", match="/api/", **FAULTS[fault] | {"times": 10_000})
    async with new_session(0.3) as session:
        client = web_client(ids.BOT_TOKEN, rig.sim.api_url, session)
        rate_limiter = AccountRateLimiter(limit_for, rig.clock)
        api = WebApi(client=client, session=session, rate_limiter=rate_limiter, clock=rig.clock)
        answers = await asyncio.gather(
            *(api.read(method, channel="C1", ts="1.000001") for method in METHODS),
            *(api.write(method, channel="C1", ts="1.000001") for method in METHODS),
            return_exceptions=True,
        )
    cases.extend((method, fault) for method in METHODS)
    apply_faults = [one for one in answers if not isinstance(one, Response | PlatformError)]
    assert apply_faults == []


def methods_in_source() -> set[str]:
    """The methods that occur in the adapter's source."""
    source = "".join(file.read_text() for file in Path("adapters/slack").glob("*.py"))
    return {name for name in re.findall(r'"([^"\s]+)"', source) if name in METHODS}


def installing() -> set[str]:
    """The requests of an app that many workspaces install: the simulator's routes beside the
    general one. `test_slack_distribution.py` tests their faults."""
    paths = (route.rpartition("/api/")[2] for route in SlackServer().routes if "/api/" in route)
    return {name for name in paths if "{" not in name} | {"auth.teams.list"}


def test_the_table_has_every_request_that_the_adapter_makes() -> None:
    """A new request needs a row and a scenario."""
    table = rows()
    assert methods_in_source() | set(PATHS) | installing() == set(table)
    assert set(table) == set(SCENARIOS) | installing()
    assert set(table) - set(PATHS) - installing() <= set(METHODS)
    assert all(len(row) == len(next(iter(table.values()))) and all(row) for row in table.values())
