"""The simulated Web API has Slack's errors for tokens, scopes, messages and blocks."""

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.sims.slack import (
    ALICE,
    APP_TOKEN,
    BOB,
    BOT,
    BOT_TOKEN,
    BOT_USER,
    CAROL,
    DM_ALICE,
    GENERAL,
    PRIVATE,
    RANDOM,
    SCOPES,
    TEAM,
    SlackSim,
)
from tests.sims.slack.local import LocalSlack

BUTTON = {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}}


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        yield running


async def post(sim: LocalSlack, **args: Any) -> str:
    """Post a message as the bot; returns its ts."""
    answer = await sim.api("chat.postMessage", **{"channel": GENERAL, "text": "hi"} | args)
    assert answer.error == ""
    return str(answer.body["ts"])


# ── tokens and scopes ─────────────────────────────────────────────────────────────────────────
async def test_a_call_needs_the_right_token(sim: LocalSlack) -> None:
    """A missing token, an unknown one and the other kind of token have different errors."""
    assert (await sim.api("auth.test", token="")).error == "not_authed"
    assert (await sim.api("auth.test", token="xoxb-unknown")).error == "invalid_auth"
    assert (await sim.api("auth.test", token=APP_TOKEN)).error == "not_allowed_token_type"
    opening = await sim.api("apps.connections.open", token=BOT_TOKEN)
    assert opening.error == "not_allowed_token_type"


async def test_the_token_may_be_a_header_or_a_field(sim: LocalSlack) -> None:
    """Both work with forms and with JSON."""
    header, field = await sim.api("auth.test"), await sim.form("auth.test")
    assert header.body == field.body
    assert header.body["user_id"] == BOT_USER
    assert header.body["bot_id"] == BOT
    assert header.body["team_id"] == TEAM


async def test_a_missing_scope_is_named(sim: LocalSlack) -> None:
    """The error has the needed and the provided scopes; a header lists the scopes."""
    await sim.scopes([scope for scope in SCOPES if scope != "chat:write"])
    answer = await sim.api("chat.postMessage", channel=GENERAL, text="hi")
    assert answer.error == "missing_scope"
    assert answer.body["needed"] == "chat:write"
    assert "users:read" in answer.body["provided"].split(",")
    assert "users:read" in answer.headers["X-OAuth-Scopes"].split(",")
    assert "chat:write" not in answer.headers["X-OAuth-Scopes"].split(",")


async def test_a_revoked_token_is_refused(sim: LocalSlack) -> None:
    """The error is `token_revoked`, or `account_inactive` after the app was uninstalled."""
    await sim.revoke()
    assert (await sim.api("auth.test")).error == "token_revoked"
    await sim.revoke(uninstall=True)
    assert (await sim.api("auth.test")).error == "account_inactive"


async def test_an_unknown_method_or_argument_is_refused(sim: LocalSlack) -> None:
    """Typos are therefore noticed; Bolt's `team_id` is allowed."""
    assert (await sim.api("chat.postMesage", text="x")).error == "unknown_method"
    unknown = await sim.api("chat.postMessage", channel=GENERAL, text="x", tread_ts="1")
    assert unknown.error == "invalid_arguments"
    assert "tread_ts" in str(unknown.body["response_metadata"])
    assert (await sim.api("auth.test", team_id=TEAM)).error == ""


# ── chat.postMessage ──────────────────────────────────────────────────────────────────────────
async def test_posting_is_refused_where_the_bot_cannot_write(sim: LocalSlack) -> None:
    """A channel without the bot, and an archived, an unknown and an invisible private channel."""
    args = {"text": "hi"}
    assert (await sim.api("chat.postMessage", channel=RANDOM, **args)).error == "not_in_channel"
    missing = await sim.api("chat.postMessage", channel="C0NOWHERE", **args)
    assert missing.error == "channel_not_found"
    await sim.remove_from_channel(PRIVATE)
    hidden = await sim.api("chat.postMessage", channel=PRIVATE, **args)
    assert hidden.error == "channel_not_found"
    await sim.archive(GENERAL)
    assert (await sim.api("chat.postMessage", channel=GENERAL, **args)).error == "is_archived"


async def test_a_message_needs_content(sim: LocalSlack) -> None:
    """Text, blocks or attachments; markdown_text excludes the others."""
    assert (await sim.api("chat.postMessage", channel=GENERAL)).error == "no_text"
    both = await sim.api("chat.postMessage", channel=GENERAL, text="a", markdown_text="b")
    assert both.error == "markdown_text_conflict"


async def test_long_text_is_truncated_at_40000(sim: LocalSlack) -> None:
    """chat.postMessage keeps 40,000 characters and warns."""
    answer = await sim.api("chat.postMessage", channel=GENERAL, text="x" * 40_001)
    assert answer.body["warning"] == "message_truncated"
    assert len(answer.body["message"]["text"]) == 40_000
    exact = await sim.api("chat.postMessage", channel=GENERAL, text="x" * 40_000)
    assert "warning" not in exact.body


async def test_a_reply_to_a_deleted_message_lands_in_the_channel(sim: LocalSlack) -> None:
    """The only sign is that the response's message has no thread_ts."""
    question = await sim.say(ALICE, GENERAL, "question", mention=True)
    there = await sim.api("chat.postMessage", channel=GENERAL, text="a", thread_ts=question)
    assert there.body["message"]["thread_ts"] == question
    other = await sim.say(ALICE, GENERAL, "gone", mention=True)
    await sim.delete(GENERAL, other)
    stray = await sim.api("chat.postMessage", channel=GENERAL, text="stray", thread_ts=other)
    assert stray.body["ok"]
    assert "thread_ts" not in stray.body["message"]
    assert "stray" in [message["text"] for message in await sim.channel(GENERAL)]


async def test_a_reply_to_a_tombstone_lands_in_the_channel_too(sim: LocalSlack) -> None:
    """A deleted root with replies is still deleted."""
    question = await sim.say(ALICE, GENERAL, "question")
    await post(sim, thread_ts=question)
    await sim.delete(GENERAL, question)
    stray = await sim.api("chat.postMessage", channel=GENERAL, text="stray", thread_ts=question)
    assert "thread_ts" not in stray.body["message"]


async def test_thread_ts_must_be_a_root(sim: LocalSlack) -> None:
    """A reply's ts and a malformed ts are refused."""
    question = await sim.say(ALICE, GENERAL, "question")
    reply = await post(sim, thread_ts=question)
    nested = await sim.api("chat.postMessage", channel=GENERAL, text="x", thread_ts=reply)
    assert nested.error == "cannot_reply_to_message"
    odd = await sim.api("chat.postMessage", channel=GENERAL, text="x", thread_ts="yesterday")
    assert odd.error == "invalid_arguments"


async def test_previews_show_unless_both_kinds_are_off(sim: LocalSlack) -> None:
    """unfurl_links and unfurl_media of the post also apply to later edits."""
    text = "see https://example.com/a."
    shown = await post(sim, text=text)
    half = await post(sim, text=text, unfurl_links=False)
    none = await post(sim, text=text, unfurl_links=False, unfurl_media=False)
    await sim.api("chat.update", channel=GENERAL, ts=none, text=text + " again")
    previews = {m["ts"]: m["previews"] for m in await sim.channel(GENERAL)}
    assert previews == {shown: ["https://example.com/a"], half: ["https://example.com/a"], none: []}


# ── blocks ────────────────────────────────────────────────────────────────────────────────────
def section(length: int) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": "x" * length}}


def options(count: int, *, text: int = 1, value: int = 4) -> list[dict[str, Any]]:
    """Options of a menu; `text` and `value` are lengths."""
    return [
        {"text": {"type": "plain_text", "text": "x" * text}, "value": str(n).zfill(value)}
        for n in range(count)
    ]


def menu(**fields: Any) -> list[dict[str, Any]]:
    select = {"type": "static_select", "action_id": "choose", **fields}
    return [{"type": "actions", "elements": [select]}]


def grouped(sizes: list[int], label: str = "group") -> list[dict[str, Any]]:
    plain = {"type": "plain_text", "text": label}
    values, groups = options(sum(sizes)), []
    for size in sizes:
        groups.append({"label": plain, "options": values[:size]})
        values = values[size:]
    return groups


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        (menu(options=options(100)), ""),
        (menu(options=options(101)), "invalid_blocks"),
        (menu(options=[]), "invalid_blocks"),
        (menu(), "invalid_blocks"),
        (menu(options=options(1), option_groups=grouped([1])), "invalid_blocks"),
        (menu(option_groups=grouped([100] * 3)), ""),
        (menu(option_groups=grouped([1] * 101)), "invalid_blocks"),
        (menu(option_groups=grouped([101])), "invalid_blocks"),
        (menu(option_groups=grouped([1], "x" * 76)), "invalid_blocks"),
        (menu(options=options(1, text=75, value=150)), ""),
        (menu(options=options(1, text=76)), "invalid_blocks"),
        (menu(options=options(1, text=0)), "invalid_blocks"),
        (menu(options=options(1, value=151)), "invalid_blocks"),
        (menu(options=options(1) * 2), "invalid_blocks"),
        (menu(options=options(1), placeholder={"type": "mrkdwn", "text": "x"}), "invalid_blocks"),
        ([{**menu(options=options(1))[0], "block_id": "x" * 256}], "invalid_blocks"),
        ([section(3_000)], ""),
        ([section(3_001)], "invalid_blocks"),
        ([section(1)] * 50, ""),
        ([section(1)] * 51, "invalid_blocks"),
        ([{"type": "section"}], "invalid_blocks"),
        ([{"type": "markdown", "text": "x" * 12_000}], ""),
        ([{"type": "markdown", "text": "x" * 6_001}] * 2, "msg_too_long"),
        ([{"type": "heading", "text": "x"}], "invalid_blocks"),
        ([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}], "invalid_blocks"),
        ([{"type": "actions", "elements": [BUTTON] * 2}], "invalid_blocks"),
        ([{"type": "actions", "elements": [BUTTON | {"value": "x" * 2_001}]}], "invalid_blocks"),
        ([{"type": "divider", "block_id": "a"}] * 2, "invalid_blocks"),
        ("not blocks", "invalid_blocks_format"),
    ],
)
async def test_block_kit_limits_are_exact(sim: LocalSlack, blocks: Any, error: str) -> None:
    """They are exact to the character."""
    answer = await sim.api("chat.postMessage", channel=GENERAL, text="t", blocks=blocks)
    assert answer.error == error


async def test_markdown_text_may_have_12000_characters(sim: LocalSlack) -> None:
    """One more is too long."""
    await post(sim, text=None, markdown_text="x" * 12_000)
    long = await sim.api("chat.postMessage", channel=GENERAL, markdown_text="x" * 12_001)
    assert long.error == "msg_too_long"


# ── chat.update and chat.delete ───────────────────────────────────────────────────────────────
async def test_an_update_may_have_4000_characters(sim: LocalSlack) -> None:
    """Longer text gets `msg_too_long` and changes nothing."""
    ts = await post(sim)
    assert (await sim.api("chat.update", channel=GENERAL, ts=ts, text="x" * 4_000)).error == ""
    long = await sim.api("chat.update", channel=GENERAL, ts=ts, text="x" * 4_001)
    assert long.error == "msg_too_long"
    assert len((await sim.channel(GENERAL))[0]["text"]) == 4_000


async def test_an_update_refuses_unfurl_arguments(sim: LocalSlack) -> None:
    """Previews are decided when posting."""
    ts = await post(sim)
    answer = await sim.api("chat.update", channel=GENERAL, ts=ts, text="x", unfurl_links=False)
    assert answer.error == "invalid_arguments"


async def test_only_the_bots_messages_can_be_changed(sim: LocalSlack) -> None:
    """A person's message and a missing one are refused."""
    theirs = await sim.say(ALICE, GENERAL, "mine")
    update = await sim.api("chat.update", channel=GENERAL, ts=theirs, text="x")
    assert update.error == "cant_update_message"
    delete = await sim.api("chat.delete", channel=GENERAL, ts=theirs)
    assert delete.error == "cant_delete_message"
    for method in ("chat.update", "chat.delete"):
        text = {"text": "x"} if method == "chat.update" else {}
        gone = await sim.api(method, channel=GENERAL, ts="1700000000.000001", **text)
        assert gone.error == "message_not_found"


async def test_an_update_keeps_fields_that_are_not_given(sim: LocalSlack) -> None:
    """Metadata and blocks stay; an empty list removes the blocks."""
    metadata = {"event_type": "page", "event_payload": {"turn": 7}}
    ts = await post(sim, blocks=[section(5)], metadata=metadata)
    await sim.api("chat.update", channel=GENERAL, ts=ts, text="fallback only")
    message = (await sim.channel(GENERAL))[0]
    assert message["metadata"] == metadata
    assert message["shown"] == "xxxxx"
    await sim.api("chat.update", channel=GENERAL, ts=ts, text="now seen", blocks=[])
    assert (await sim.channel(GENERAL))[0]["shown"] == "now seen"


async def test_every_version_is_recorded(sim: LocalSlack) -> None:
    """Each version has its time, its text and whom it notifies."""
    ts = await post(sim, text="one")
    await sim.api("chat.update", channel=GENERAL, ts=ts, text="two <!here>")
    await sim.api("chat.delete", channel=GENERAL, ts=ts)
    deleted = (await sim.state())["deleted"][0]
    assert [(v["how"], v["text"], v["pings"]) for v in deleted["versions"]] == [
        ("post", "one", []),
        ("update", "two <!here>", ["here"]),
    ]
    assert deleted["versions"][0]["at"] <= deleted["versions"][1]["at"] <= deleted["deleted"]
    assert await sim.channel(GENERAL) == []


@pytest.mark.parametrize(
    ("args", "pings"),
    [
        ({"text": "<!channel> <@U0ALICE001|al> <!subteam^S1>"}, ["U0ALICE001", "channel"]),
        ({"text": "&lt;!channel&gt; @channel"}, []),
        ({"text": "@channel @here", "link_names": True}, ["channel", "here"]),
        ({"text": "@everyone", "parse": "full"}, ["everyone"]),
        ({"text": "", "blocks": [{"type": "markdown", "text": "a <!here>"}]}, ["here"]),
        (
            {
                "blocks": [
                    {"type": "section", "text": {"type": "plain_text", "text": "<!here>"}},
                    {"type": "section", "text": {"type": "mrkdwn", "text": "<@U0BOB00001>"}},
                ]
            },
            ["U0BOB00001"],
        ),
        (
            {"text": "x", "attachments": [{"text": "<!channel>"}]},
            ["channel"],
        ),
    ],
)
async def test_pings_are_detected(sim: LocalSlack, args: dict[str, Any], pings: list[str]) -> None:
    """Text, blocks and attachments can ping; plain text only with link_names."""
    await post(sim, **args)
    found = (await sim.channel(GENERAL))[0]["pings"]
    assert [ping for ping in found if not ping.startswith("subteam")] == pings


# ── other methods ─────────────────────────────────────────────────────────────────────────────
async def test_ephemeral_messages_need_a_member(sim: LocalSlack) -> None:
    """Only that person sees them."""
    outsider = await sim.api("chat.postEphemeral", channel=PRIVATE, user=CAROL, text="x")
    assert outsider.error == "user_not_in_channel"
    told = await sim.api("chat.postEphemeral", channel=GENERAL, user=BOB, text="psst")
    assert told.body["message_ts"]
    assert [m["text"] for m in await sim.ephemeral(BOB)] == ["psst"]
    assert await sim.ephemeral(ALICE) == []
    assert await sim.channel(GENERAL) == []


async def test_malformed_metadata_is_refused(sim: LocalSlack) -> None:
    """It needs event_type and event_payload."""
    answer = await sim.api("chat.postMessage", channel=GENERAL, text="x", metadata={"turn": 1})
    assert answer.error == "invalid_metadata_format"


async def test_forms_carry_json_fields(sim: LocalSlack) -> None:
    """A form has `blocks` and `metadata` as JSON strings."""
    answer = await sim.form(
        "chat.postMessage",
        channel=GENERAL,
        text="x",
        blocks='[{"type": "divider"}]',
        metadata='{"event_type": "a", "event_payload": {}}',
    )
    assert answer.body["message"]["metadata"]["event_type"] == "a"
    broken = await sim.form("chat.postMessage", channel=GENERAL, text="x", blocks="[")
    assert broken.error == "invalid_blocks_format"


async def test_a_user_id_stands_for_the_direct_message(sim: LocalSlack) -> None:
    """This works in chat.postMessage and conversations.open, but not in chat.update."""
    answer = await sim.api("chat.postMessage", channel=ALICE, text="hello")
    assert answer.body["channel"] == DM_ALICE
    opened = await sim.api("conversations.open", users=ALICE)
    assert opened.body["channel"]["id"] == DM_ALICE
    wrong = await sim.api("chat.update", channel=ALICE, ts=answer.body["ts"], text="x")
    assert wrong.error == "channel_not_found"


async def test_repeated_reactions_are_refused(sim: LocalSlack) -> None:
    """The errors are already_reacted and, when removing, no_reaction."""
    args = {"channel": GENERAL, "timestamp": await post(sim), "name": "eyes"}
    assert (await sim.api("reactions.add", **args)).error == ""
    assert (await sim.api("reactions.add", **args)).error == "already_reacted"
    assert (await sim.api("reactions.remove", **args)).error == ""
    assert (await sim.api("reactions.remove", **args)).error == "no_reaction"


async def test_files_are_uploaded_in_three_steps(sim: LocalSlack) -> None:
    """The real client uploads; only the bot's token can download."""
    client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
    await client.files_upload_v2(
        channel=GENERAL, filename="a.txt", content="some text", initial_comment="here"
    )
    message = (await sim.channel(GENERAL))[0]
    assert message["subtype"] == "file_share"
    url = message["files"][0]["url_private"]
    assert (await sim.get(url, BOT_TOKEN))[2] == b"some text"
    assert (await sim.get(url))[:2] == (200, "text/html")
    unknown = await sim.api("files.completeUploadExternal", files=[{"id": "F0NONE"}])
    assert unknown.error == "file_not_found"


async def test_a_file_is_completed_once_and_appears_later(sim: LocalSlack) -> None:
    """The response has no ts; the message appears in the thread, without metadata."""
    client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
    root = await post(sim)
    sim.server.slack.uploads.seconds = 0.05
    granted = await client.files_getUploadURLExternal(filename="a.py", length=3)
    file = {"id": granted["file_id"], "title": "a.py"}
    early = await sim.api("files.completeUploadExternal", files=[file], channel_id=GENERAL)
    assert early.error == "file_not_found"  # nothing was uploaded yet
    async with aiohttp.ClientSession() as session:
        async with session.post(granted["upload_url"], data=b"1234") as response:
            assert response.status == 400  # not the announced length
        async with session.post(granted["upload_url"], data=b"123") as response:
            assert response.status == 200
    share = {"files": [file], "channel_id": GENERAL, "thread_ts": root, "initial_comment": "x"}
    done = await sim.api("files.completeUploadExternal", **share)
    assert done.body["files"] == [file]
    twice = await sim.api("files.completeUploadExternal", **share)
    assert twice.error == "file_not_found"

    async def there() -> bool:
        return len(await sim.thread(GENERAL, root)) == 2

    await sim.until(there)
    read = await sim.api("conversations.replies", channel=GENERAL, ts=root)
    shared = read.body["messages"][1]
    assert (shared["text"], shared["files"][0]["name"]) == ("x", "a.py")
    assert await sim.file(shared["files"][0]) == b"123"
    assert (await sim.api("chat.delete", channel=GENERAL, ts=shared["ts"])).error == ""


async def test_uploads_can_be_forbidden(sim: LocalSlack) -> None:
    """An administrator forbids them, or the scope is missing."""
    asked = {"filename": "a.py", "length": 3}
    sim.server.slack.uploads.allowed = False
    forbidden = await sim.api("files.getUploadURLExternal", **asked)
    assert forbidden.error == "file_uploads_disabled"
    await sim.scopes(["chat:write"])
    assert (await sim.api("files.getUploadURLExternal", **asked)).error == "missing_scope"


async def test_a_view_needs_a_fresh_trigger(sim: LocalSlack) -> None:
    """An unknown trigger and an expired one are refused; a home tab needs none."""
    modal = {"type": "modal", "title": {"type": "plain_text", "text": "T"}, "blocks": []}
    invented = await sim.api("views.open", trigger_id="1.2", view=modal)
    assert invented.error == "invalid_trigger_id"
    trigger = sim.server.slack.trigger(ALICE)
    sim.server.slack.triggers[trigger].expires = 0.0
    late = await sim.api("views.open", trigger_id=trigger, view=modal)
    assert late.error == "expired_trigger_id"
    trigger = sim.server.slack.trigger(ALICE)
    assert (await sim.api("views.open", trigger_id=trigger, view=modal)).error == ""
    twice = await sim.api("views.open", trigger_id=trigger, view=modal)
    assert twice.error == "exchanged_trigger_id"
    home = await sim.api("views.publish", user_id=ALICE, view={"type": "home", "blocks": []})
    assert home.error == ""


async def test_the_simulator_runs_as_a_process_with_a_round_trip() -> None:
    """`python -m tests.sims.slack` delays and records requests."""
    async with SlackSim(rtt=0.1) as sim:
        client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
        begun = time.monotonic()
        await client.chat_postMessage(channel=GENERAL, text="hi")
        assert time.monotonic() - begun >= 0.1
        entry = (await sim.requests("chat.postMessage"))[0]
        assert entry["body"]["text"] == "hi"
        version = (await sim.channel(GENERAL))[0]["versions"][0]
        assert entry["received"] <= version["at"] <= entry["answered"]


async def test_the_real_client_raises_the_errors(sim: LocalSlack) -> None:
    """slack_sdk shows error, status and headers."""
    client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=RANDOM, text="hi")
    assert caught.value.response["error"] == "not_in_channel"
    assert caught.value.response.status_code == 200
