"""The simulated Discord's rate limits: a request over a limit is refused and not applied."""

import asyncio
import math
from collections.abc import AsyncIterator

import discord
import pytest

from tests.sims.discord import ALICE, CHANNEL, CHANNEL_2
from tests.sims.discord.library_client import new_client, running
from tests.sims.discord.limits import DRAWN
from tests.sims.discord.local import LocalDiscord
from tests.sims.discord.raw_client import ApiResponse, RawBot


@pytest.fixture
async def sim() -> AsyncIterator[LocalDiscord]:
    """The simulator without rate limits: these tests are about single requests."""
    async with LocalDiscord() as running:
        yield running


@pytest.fixture
async def bot(sim: LocalDiscord) -> AsyncIterator[RawBot]:
    async with RawBot(sim) as raw:
        yield raw


async def burst(bot: RawBot, count: int, channel: int = CHANNEL) -> list[ApiResponse]:
    return [await bot.send(channel, content=str(n)) for n in range(count)]


async def test_sending_and_editing_share_five_in_five_seconds(
    bot: RawBot, sim: LocalDiscord
) -> None:
    """The sixth request of either kind is refused and changes nothing."""
    sent = await burst(bot, 3)
    message = sent[0].body["id"]
    edits = [await bot.patch(CHANNEL, message, content=f"edit {n}") for n in range(3)]
    assert [answer.status for answer in sent + edits] == [200] * 5 + [429]
    assert (await sim.message(int(message)))["content"] == "edit 1"
    state = await sim.state()
    assert (state["limited"], state["limited_by"]) == (1, {"message": 1})


async def test_the_headers_count_down(bot: RawBot) -> None:
    """Limit, remaining, reset and one bucket for both routes; the window ends on time."""
    answers = await burst(bot, 5)
    answers.append(await bot.patch(CHANNEL, answers[0].body["id"], content="x"))
    headers = [answer.headers for answer in answers]
    assert [h["X-RateLimit-Remaining"] for h in headers] == ["4", "3", "2", "1", "0", "0"]
    assert {h["X-RateLimit-Limit"] for h in headers} == {"5"}
    assert len({h["X-RateLimit-Bucket"] for h in headers}) == 1
    assert 4.5 < float(headers[0]["X-RateLimit-Reset-After"]) <= 5.0
    ends = [float(h["X-RateLimit-Reset"]) for h in headers]
    assert max(ends) - min(ends) < 0.1


async def test_a_429_names_the_wait(bot: RawBot, sim: LocalDiscord) -> None:
    """The response has retry_after, the scope and Via; after that time the request succeeds."""
    await sim.set_limits(buckets={"message": [1, 0.2]})
    await bot.send()
    refused = await bot.send()
    assert (refused.status, refused.body["global"]) == (429, False)
    assert 0.0 < refused.body["retry_after"] <= 0.201
    assert refused.headers["X-RateLimit-Scope"] == "user"
    assert refused.headers["Via"]
    await asyncio.sleep(refused.body["retry_after"])
    assert (await bot.send()).status == 200


async def test_a_thread_has_its_own_bucket(bot: RawBot, sim: LocalDiscord) -> None:
    """Neither the channel nor another channel shares the thread's bucket."""
    thread = await sim.start_thread(ALICE, await sim.say(content="x"), "a thread")
    for channel in (CHANNEL, CHANNEL_2, thread):
        answers = await burst(bot, 6, channel)
        assert [answer.status for answer in answers] == [200] * 5 + [429]


async def test_other_routes_have_their_own_buckets(bot: RawBot, sim: LocalDiscord) -> None:
    """Deleting, typing, reacting and reading do not count as messages."""
    ids = [answer.body["id"] for answer in await burst(bot, 5)]
    path = f"/channels/{CHANNEL}"
    emoji = f"{path}/messages/{ids[0]}/reactions/x/@me"
    assert [(await bot.request("PUT", emoji)).status for _ in range(2)] == [204, 429]
    assert [(await bot.request("POST", f"{path}/typing")).status for _ in range(6)] == [204] * 5 + [
        429
    ]
    deleted = [(await bot.request("DELETE", f"{path}/messages/{x}")).status for x in ids]
    assert deleted == [204] * 5
    assert (await bot.request("DELETE", f"{path}/messages/{ids[0]}")).status == 429
    reads = [(await bot.request("GET", f"{path}/messages")).status for _ in range(5)]
    assert reads == [200] * 5


async def test_fifty_requests_a_second_in_all(bot: RawBot) -> None:
    """The next one is refused as a global limit, in the header and the body."""
    answers = await asyncio.gather(*(bot.request("GET", "/users/@me") for _ in range(60)))
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 10
    assert refused[0].body["global"] is True
    assert refused[0].headers["X-RateLimit-Global"] == "true"
    assert refused[0].headers["X-RateLimit-Scope"] == "global"


async def test_interactions_are_outside_the_global_limit(bot: RawBot, sim: LocalDiscord) -> None:
    """Their responses are accepted while everything else is refused."""
    await sim.set_limits(everywhere=[0, 60.0])
    assert (await bot.request("GET", "/users/@me")).status == 429
    unknown = await bot.request("POST", "/interactions/1/token/callback", {"type": 5}, auth="")
    assert (unknown.status, unknown.code) == (404, 10062)
    webhook = await bot.request("PATCH", "/webhooks/1/token/messages/@original", {}, auth="")
    assert webhook.status == 404


async def test_old_messages_have_a_cap_on_edits(bot: RawBot, sim: LocalDiscord) -> None:
    """429 with 30046 for messages older than an hour, counted by channel."""
    await sim.set_limits(buckets={"message": [100, 5.0]})
    young, old = [int(answer.body["id"]) for answer in await burst(bot, 2)]
    await sim.age(old, 3601.0)
    answers = [await bot.patch(CHANNEL, old, content=str(n)) for n in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].code == 30046
    assert 0 < answers[-1].body["retry_after"] <= 20.0
    assert (await sim.message(old))["content"] == "2"
    assert (await bot.patch(CHANNEL, young, content="x")).status == 200
    assert (await sim.state())["limited_by"] == {"old_message": 1}


async def test_too_many_invalid_requests_ban_the_address(bot: RawBot, sim: LocalDiscord) -> None:
    """401, 403 and 429 count, 404 and 400 do not; a banned address gets 429 without Via."""
    await sim.set_limits(invalid=[3, 600.0], buckets={"message": [1, 60.0]})
    for _ in range(5):
        await bot.request("GET", "/channels/1")
        await bot.request("POST", f"/channels/{CHANNEL}/messages/1/threads", {"name": ""})
    await sim.set_permissions(CHANNEL_2, deny=("send_messages",))
    await bot.request("GET", "/users/@me", auth="Bot wrong")
    await bot.send(CHANNEL_2)
    await bot.send()
    await bot.send()
    assert (await sim.state())["invalid"] == {"401": 1, "403": 1, "429": 1}
    assert (await bot.request("GET", "/users/@me")).status == 200
    await bot.send()
    banned = await bot.request("GET", "/users/@me")
    assert banned.status == 429
    assert "Via" not in banned.headers
    assert banned.headers["Content-Type"] == "text/html"
    assert (await sim.state())["banned"] is True


async def test_limits_can_be_turned_off(bot: RawBot, sim: LocalDiscord) -> None:
    """Tests that measure something else turn the limits off."""
    await sim.set_limits(on=False)
    answers = await asyncio.gather(*(bot.send() for _ in range(80)))
    assert {answer.status for answer in answers} == {200}
    await sim.set_limits(on=True)
    assert (await burst(bot, 6))[-1].status == 429


async def test_a_round_trip_takes_the_configured_time() -> None:
    """Half before the request is applied and half after; events take half of it too."""
    async with LocalDiscord(rtt=0.2) as sim, RawBot(sim) as bot:
        loop = asyncio.get_running_loop()
        gateway = await bot.connect_and_identify()
        begun = loop.time()

        async def heard() -> float:
            await gateway.until("MESSAGE_CREATE")
            return loop.time() - begun

        arrival = asyncio.create_task(heard())
        answer = await bot.send()
        assert loop.time() - begun >= 0.2
        assert await arrival >= 0.2
        entry = (await sim.requests("POST"))[-1]
        assert entry["answered"] - entry["applied"] > 0.09
        assert entry["note"]["message"] == int(answer.body["id"])


# ── every route ───────────────────────────────────────────────────────────────────────────────
async def test_every_response_has_its_windows_headers(bot: RawBot, sim: LocalDiscord) -> None:
    """A thread's window lasts minutes, counted from the first request."""
    message = (await bot.send()).body["id"]
    path = f"/channels/{CHANNEL}"
    made = await bot.request("POST", f"{path}/messages/{message}/threads", {"name": "a thread"})
    assert made.headers["X-RateLimit-Limit"] >= "50"
    assert 239 < float(made.headers["X-RateLimit-Reset-After"]) <= 300
    for ask in (
        bot.request("GET", path),
        bot.request("GET", f"{path}/messages"),
        bot.request("GET", "/users/@me"),
        bot.request("GET", "/channels/1"),
    ):
        headers = (await ask).headers
        assert {"X-RateLimit-Remaining", "X-RateLimit-Bucket", "Via"} <= headers.keys()
        assert 0 < float(headers["X-RateLimit-Reset-After"]) <= 300


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
async def test_one_route_can_be_throttled_alone(bot: RawBot, sim: LocalDiscord, scope: str) -> None:
    """The throttle lasts the given time, with Discord's scope, and other channels are not
    affected."""
    await sim.throttle(f"POST /channels/{CHANNEL}/messages", 219.0, scope)
    refused = await bot.send()
    assert refused.status == 429
    assert refused.headers["X-RateLimit-Scope"] == scope
    assert refused.body["global"] is (scope == "global")
    assert ("X-RateLimit-Global" in refused.headers) is (scope == "global")
    left = refused.body["retry_after"]
    assert 100 < left <= 219.001, "less by what the request took"
    assert refused.headers["Retry-After"] == str(math.ceil(left - 0.001))
    assert (await bot.send(CHANNEL_2)).status == 200
    await sim.end_throttles()
    assert (await bot.send()).status == 200
    invalid = (await sim.state())["invalid"]
    assert invalid == ({} if scope == "shared" else {"429": 1})


async def test_unpublished_limits_are_drawn(sim: LocalDiscord) -> None:
    """The same seed draws the same limits, within the reported ranges."""
    first, again, other = [await sim.draw_limits(seed) for seed in (1, 1, 2)]
    assert first == again != other
    for family, ((fewest, most), (shortest, longest)) in DRAWN.items():
        count, seconds = other[family]
        assert fewest <= count <= most and shortest <= seconds <= longest
    assert other["message"] == [5, 5.0]


async def test_discord_py_refuses_to_send_within_a_long_window(
    sim: LocalDiscord,
) -> None:
    """This is why the adapter has a separate client: requests are left, but discord.py sends
    none."""
    client = new_client(max_ratelimit_timeout=30.0)
    async with running(sim, client):
        channel = client.get_channel(CHANNEL)
        assert isinstance(channel, discord.TextChannel)
        messages = [await channel.send(str(n)) for n in range(2)]
        await messages[0].create_thread(name="the first")
        with pytest.raises(discord.RateLimited):
            await messages[1].create_thread(name="the second")
        assert len(await sim.requests("/threads")) == 1
