"""Reading methods and rate limits of the simulated Slack: pages, metadata and 429s."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from tests.sims.slack import (
    ALICE,
    BOB,
    BOT,
    BOT_TOKEN,
    BOT_USER,
    CAROL,
    DM_ALICE,
    GENERAL,
    OTHER_TEAM,
    PRIVATE,
    RANDOM,
    SCOPES,
)
from tests.sims.slack.local import LocalSlack

META = {"event_type": "page", "event_payload": {"turn": 1}}


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        yield running


# ── reading ───────────────────────────────────────────────────────────────────────────────────
async def test_each_page_of_replies_includes_the_root(sim: LocalSlack) -> None:
    """Oldest first; the root counts towards the limit."""
    root = await sim.say(ALICE, GENERAL, "root")
    texts = [str(number) for number in range(5)]
    for text in texts:
        await sim.say(BOB, GENERAL, text, thread_ts=root)
    client, pages = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url), []
    cursor: str | None = None
    while not pages or cursor:
        page = await client.conversations_replies(channel=GENERAL, ts=root, limit=3, cursor=cursor)
        pages.append([message["text"] for message in page["messages"]])
        cursor = (page.get("response_metadata") or {}).get("next_cursor")
    assert pages == [["root", "0", "1"], ["root", "2", "3"], ["root", "4"]]


async def test_replies_are_limited_by_oldest_and_latest(sim: LocalSlack) -> None:
    """Both are exclusive unless `inclusive`."""
    root = await sim.say(ALICE, GENERAL, "root")
    a, b, c = [await sim.say(BOB, GENERAL, text, thread_ts=root) for text in "abc"]
    args = {"channel": GENERAL, "ts": root, "oldest": a, "latest": c}
    read = await sim.api("conversations.replies", **args)
    assert [message["ts"] for message in read.body["messages"]] == [root, b]
    read = await sim.api("conversations.replies", inclusive=True, **args)
    assert [message["ts"] for message in read.body["messages"]] == [root, a, b, c]
    missing = await sim.api("conversations.replies", channel=GENERAL, ts="1700000000.000001")
    assert missing.error == "thread_not_found"


async def test_history_has_top_level_messages_newest_first(sim: LocalSlack) -> None:
    """Replies are not included; their root has `latest_reply`."""
    first = await sim.say(ALICE, GENERAL, "first")
    second = await sim.say(ALICE, GENERAL, "second")
    reply = await sim.say(BOB, GENERAL, "reply", thread_ts=first)
    page = (await sim.api("conversations.history", channel=GENERAL, limit=1)).body
    assert [message["ts"] for message in page["messages"]] == [second]
    assert page["has_more"]
    cursor = page["response_metadata"]["next_cursor"]
    page = (await sim.api("conversations.history", channel=GENERAL, cursor=cursor)).body
    root = page["messages"][0]
    assert (root["ts"], root["latest_reply"], root["reply_count"]) == (first, reply, 1)
    wrong = await sim.api("conversations.history", channel=GENERAL, limit=1_001)
    assert wrong.error == "invalid_limit"
    assert (await sim.api("conversations.history", channel=RANDOM)).error == "not_in_channel"


async def test_metadata_is_returned_only_on_request(sim: LocalSlack) -> None:
    """It needs include_all_metadata and the scope metadata.message:read."""
    await sim.api("chat.postMessage", channel=GENERAL, text="x", metadata=META)

    async def read(**args: bool) -> object:
        page = await sim.api("conversations.history", channel=GENERAL, **args)
        return page.body["messages"][0].get("metadata")

    assert await read() is None
    assert await read(include_all_metadata=True) == META
    await sim.scopes([scope for scope in SCOPES if scope != "metadata.message:read"])
    assert await read(include_all_metadata=True) is None


async def test_reading_needs_the_scope_of_that_kind_of_channel(sim: LocalSlack) -> None:
    """groups:history for a private channel, channels:history for a public one."""
    await sim.scopes([scope for scope in SCOPES if scope != "groups:history"])
    assert (await sim.api("conversations.history", channel=GENERAL)).error == ""
    private = await sim.api("conversations.history", channel=PRIVATE)
    assert (private.error, private.body["needed"]) == ("missing_scope", "groups:history")


async def test_the_bots_conversations_are_listed(sim: LocalSlack) -> None:
    """The list is filtered by kind and paged; by default it has only public channels."""
    every = "public_channel,private_channel,im"
    read = (await sim.api("users.conversations", types=every)).body["channels"]
    assert {channel["id"] for channel in read} == {GENERAL, PRIVATE, DM_ALICE}
    read = (await sim.api("users.conversations")).body["channels"]
    assert [channel["id"] for channel in read] == [GENERAL]
    page = (await sim.api("users.conversations", types=every, limit=1)).body
    assert page["response_metadata"]["next_cursor"]
    listed = (await sim.api("conversations.list")).body["channels"]
    assert {channel["id"] for channel in listed} == {GENERAL, RANDOM}
    wrong = await sim.api("users.conversations", types="channels")
    assert wrong.error == "invalid_types"


async def test_users_info_and_conversations_info(sim: LocalSlack) -> None:
    """users.info shows other teams and bots."""
    carol = (await sim.api("users.info", user=CAROL)).body["user"]
    assert (carol["team_id"], carol["is_bot"]) == (OTHER_TEAM, False)
    bot = (await sim.api("users.info", user=BOT_USER)).body["user"]
    assert (bot["is_bot"], bot["profile"]["bot_id"]) == (True, BOT)
    assert (await sim.api("users.info", user="U0NOBODY")).error == "user_not_found"
    place = (await sim.api("conversations.info", channel=GENERAL)).body["channel"]
    assert (place["name"], place["is_ext_shared"]) == ("general", True)
    direct = (await sim.api("conversations.info", channel=DM_ALICE)).body["channel"]
    assert (direct["is_im"], direct["user"]) == (True, ALICE)


# ── rate limits ───────────────────────────────────────────────────────────────────────────────
async def calls_before_429(sim: LocalSlack, method: str, **args: str) -> int:
    """The number of successful calls before the first 429."""
    for number in range(200):
        answer = await sim.api(method, **args)
        if answer.status == 429:
            assert answer.error == "ratelimited"
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            return number
    raise AssertionError("never refused")


@pytest.mark.parametrize(
    ("method", "args", "calls"),
    [
        ("chat.startStream", {"channel": GENERAL}, 20),
        ("chat.stopStream", {"channel": GENERAL}, 20),
        ("chat.update", {"channel": GENERAL}, 50),
        ("chat.delete", {"channel": GENERAL}, 50),
        ("reactions.add", {"channel": GENERAL}, 50),
        ("conversations.replies", {"channel": GENERAL}, 50),
        ("chat.appendStream", {"channel": GENERAL}, 100),
        ("conversations.list", {}, 20),
    ],
)
async def test_each_method_has_its_tiers_limit(
    sim: LocalSlack, method: str, args: dict[str, str], calls: int
) -> None:
    """Each method is counted separately."""
    assert await calls_before_429(sim, method, **args) == calls
    assert (await sim.api("auth.test")).status == 200
    assert (await sim.state())["ratelimited"] == {method: 1}


async def test_posting_is_limited_per_channel(sim: LocalSlack) -> None:
    """A burst of three, then one a second; another channel is not affected."""
    assert await calls_before_429(sim, "chat.postMessage", channel=GENERAL, text="x") == 3
    other = await sim.api("chat.postMessage", channel=PRIVATE, text="x")
    assert other.status == 200
    again = await sim.api("chat.postMessage", channel=GENERAL, text="x")
    assert (again.status, again.headers["Retry-After"]) == (429, "1")
    assert len(await sim.channel(GENERAL)) == 3


async def test_a_call_succeeds_after_retry_after(sim: LocalSlack) -> None:
    """slack_sdk waits only with its retry handler."""
    client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
    posts = [client.chat_postMessage(channel=GENERAL, text="x") for _ in range(4)]
    results = await asyncio.gather(*posts, return_exceptions=True)
    refused = [result for result in results if isinstance(result, SlackApiError)]
    assert [error.response["error"] for error in refused] == ["ratelimited"]
    client.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=2))
    assert (await client.chat_postMessage(channel=GENERAL, text="waited"))["ok"]


async def test_limits_can_be_disabled(sim: LocalSlack) -> None:
    """Tests of other behavior disable them."""
    await sim.limits(enabled=False)
    posts = [sim.api("chat.postMessage", channel=GENERAL, text="x") for _ in range(30)]
    assert {answer.status for answer in await asyncio.gather(*posts)} == {200}


async def test_commercial_apps_have_strict_read_limits(sim: LocalSlack) -> None:
    """One call a minute and fifteen objects; internal apps are exempt."""
    await sim.limits(commercial=True)
    for _ in range(20):
        await sim.say(ALICE, GENERAL, "x")
    page = await sim.api("conversations.history", channel=GENERAL, limit=100)
    assert len(page.body["messages"]) == 15
    assert (await sim.api("conversations.history", channel=GENERAL)).status == 429
