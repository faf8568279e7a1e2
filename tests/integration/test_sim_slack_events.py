"""Events of the simulated Slack: which ones it sends, and their payloads."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.slack import manifest_path
from tests.sims.slack import (
    ALICE,
    APP,
    APP_TOKEN,
    BOB,
    BOT,
    BOT_USER,
    CAROL,
    DM_ALICE,
    GENERAL,
    OTHER_BOT,
    OTHER_BOT_USER,
    OTHER_TEAM,
    PRIVATE,
    RANDOM,
    SCOPES,
    TEAM,
)
from tests.sims.slack.local import LocalSlack, RawSocket


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        await running.delivery(retry_scale=0.001)
        yield running


@pytest.fixture
async def socket(sim: LocalSlack) -> AsyncIterator[RawSocket]:
    async with sim.socket() as connected:
        yield connected


async def receive_all(sim: LocalSlack, socket: RawSocket) -> list[dict[str, Any]]:
    """All events so far, in order of arrival, after acknowledging them."""
    events = []
    while (await sim.state())["pending"]:
        with contextlib.suppress(TimeoutError):  # the last acknowledgement is in flight
            frame = await socket.next(0.02)
            await socket.ack(frame)
            events.append(frame["payload"]["event"])
    return events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return sorted(":".join(filter(None, [e["type"], e.get("subtype")])) for e in events)


# ── messages ──────────────────────────────────────────────────────────────────────────────────
async def test_a_mention_causes_two_events(sim: LocalSlack, socket: RawSocket) -> None:
    """app_mention and message have the same ts and different event ids."""
    ts = await sim.say(ALICE, GENERAL, "help", mention=True)
    frames = [await socket.next(), await socket.next()]
    events = [frame["payload"]["event"] for frame in frames]
    assert kinds(events) == ["app_mention", "message"]
    assert {event["ts"] for event in events} == {ts}
    assert len({frame["payload"]["event_id"] for frame in frames}) == 2
    mention = next(event for event in events if event["type"] == "app_mention")
    assert "channel_type" not in mention


async def test_an_edited_mention_causes_another_app_mention(
    sim: LocalSlack, socket: RawSocket
) -> None:
    """It has the same ts and `edited`; a message_changed is sent as well."""
    ts = await sim.say(ALICE, GENERAL, "help", mention=True)
    await receive_all(sim, socket)
    edited = await sim.edit(GENERAL, ts, "help me", mention=True)
    events = await receive_all(sim, socket)
    assert kinds(events) == ["app_mention", "message:message_changed"]
    mention, change = sorted(events, key=lambda event: str(event["type"]))
    assert (mention["ts"], mention["edited"]["ts"]) == (ts, edited)
    assert change["message"]["edited"]["ts"] == edited
    assert change["previous_message"]["text"] == f"<@{BOT_USER}> help"


async def test_a_preview_is_a_change_without_an_edit(sim: LocalSlack, socket: RawSocket) -> None:
    """message_changed has the same text and no `edited`."""
    ts = await sim.say(ALICE, GENERAL, "see https://example.com/")
    await receive_all(sim, socket)
    await sim.unfurl(GENERAL, ts)
    change = (await receive_all(sim, socket))[0]
    assert change["subtype"] == "message_changed"
    assert change["message"]["text"] == change["previous_message"]["text"]
    assert "edited" not in change["message"]
    assert change["message"]["attachments"]


async def test_typed_text_is_escaped_and_marked_up(sim: LocalSlack, socket: RawSocket) -> None:
    """Entities, mentions, channels, links with and without labels, bare domains."""
    typed = "a & <b> @bob #random https://x.io/?a=1&b=2 [docs](https://d.io) example.com @channel"
    await sim.say(ALICE, GENERAL, typed)
    event = (await receive_all(sim, socket))[0]
    assert event["text"] == (
        f"a &amp; &lt;b&gt; <@{BOB}> <#{RANDOM}|random> <https://x.io/?a=1&amp;b=2> "
        "<https://d.io|docs> <http://example.com|example.com> <!channel>"
    )


async def test_a_deletion_sends_an_event_or_leaves_a_tombstone(
    sim: LocalSlack, socket: RawSocket
) -> None:
    """A root with replies becomes a tombstone, which message_changed reports."""
    alone = await sim.say(ALICE, GENERAL, "alone")
    root = await sim.say(ALICE, GENERAL, "root")
    await sim.say(BOB, GENERAL, "reply", thread_ts=root)
    await receive_all(sim, socket)
    await sim.delete(GENERAL, alone)
    gone = (await receive_all(sim, socket))[0]
    assert (gone["subtype"], gone["deleted_ts"]) == ("message_deleted", alone)
    assert gone["previous_message"]["text"] == "alone"
    await sim.delete(GENERAL, root)
    stone = (await receive_all(sim, socket))[0]
    assert (stone["subtype"], stone["message"]["subtype"]) == ("message_changed", "tombstone")
    assert stone["message"]["text"] == "This message was deleted."
    assert stone["message"]["ts"] == root
    read = await sim.api("conversations.replies", channel=GENERAL, ts=root)
    assert read.body["messages"][0]["subtype"] == "tombstone"


async def test_the_bots_own_messages_cause_events(sim: LocalSlack, socket: RawSocket) -> None:
    """A post causes message with bot_id, and each update message_changed."""
    ts = (await sim.api("chat.postMessage", channel=GENERAL, text="a")).body["ts"]
    await sim.api("chat.update", channel=GENERAL, ts=ts, text="b")
    posted, changed = await receive_all(sim, socket)
    assert (posted["bot_id"], posted["user"], posted["app_id"]) == (BOT, BOT_USER, APP)
    assert "subtype" not in posted
    assert (changed["subtype"], changed["message"]["text"]) == ("message_changed", "b")
    assert "user" not in changed


async def test_another_bot_has_a_bot_id_and_no_subtype(sim: LocalSlack, socket: RawSocket) -> None:
    """This also holds if the message mentions our bot."""
    await sim.say(OTHER_BOT_USER, GENERAL, "ping", mention=True)
    events = await receive_all(sim, socket)
    assert kinds(events) == ["app_mention", "message"]
    assert {event["bot_id"] for event in events} == {OTHER_BOT}


async def test_a_message_from_another_workspace_names_both_workspaces(
    sim: LocalSlack, socket: RawSocket
) -> None:
    """authorizations[0] is the installation; event.team and the outer team_id are the author's."""
    await sim.say(CAROL, GENERAL, "hello", mention=True)
    payload = (await socket.event("message"))["payload"]
    assert payload["authorizations"][0]["team_id"] == TEAM
    assert payload["event"]["team"] == OTHER_TEAM
    assert payload["team_id"] == OTHER_TEAM
    assert payload["is_ext_shared_channel"]


async def test_replies_and_files_have_their_fields(sim: LocalSlack, socket: RawSocket) -> None:
    """A reply names its thread and parent; a file_share has a file that the token can download."""
    root = await sim.say(ALICE, GENERAL, "root")
    await sim.say(BOB, GENERAL, "look", thread_ts=root, files=[("a.txt", "text/plain", b"data")])
    reply = (await receive_all(sim, socket))[1]
    assert (reply["thread_ts"], reply["parent_user_id"]) == (root, ALICE)
    assert (reply["subtype"], reply["files"][0]["size"]) == ("file_share", 4)
    status, kind, _ = await sim.get(reply["files"][0]["url_private_download"])
    assert (status, kind) == (200, "text/html")


async def test_a_direct_message_causes_no_app_mention(sim: LocalSlack, socket: RawSocket) -> None:
    """There is only message.im, even if the message mentions the bot."""
    await sim.say(ALICE, DM_ALICE, "hello", mention=True)
    events = await receive_all(sim, socket)
    assert kinds(events) == ["message"]
    assert events[0]["channel_type"] == "im"


# ── delivery ──────────────────────────────────────────────────────────────────────────────────
async def test_only_subscribed_events_with_their_scope_are_sent(
    sim: LocalSlack, socket: RawSocket
) -> None:
    await sim.subscribe(["app_mention", "message.groups"])
    await sim.scopes([scope for scope in SCOPES if scope != "groups:history"])
    await sim.say(ALICE, GENERAL, "one", mention=True)
    await sim.say(ALICE, PRIVATE, "two")
    assert kinds(await receive_all(sim, socket)) == ["app_mention"]


async def test_events_come_only_from_the_bots_channels(sim: LocalSlack, socket: RawSocket) -> None:
    """After an invitation it receives member_joined_channel and the messages."""
    await sim.say(ALICE, RANDOM, "unheard", mention=True)
    assert await receive_all(sim, socket) == []
    await sim.join(BOT_USER, RANDOM)
    await sim.say(ALICE, RANDOM, "heard")
    assert kinds(await receive_all(sim, socket)) == ["member_joined_channel", "message"]
    await sim.remove_from_channel(RANDOM)
    assert kinds(await receive_all(sim, socket)) == ["channel_left", "member_left_channel"]


async def test_a_new_channel_includes_the_bot(sim: LocalSlack, socket: RawSocket) -> None:
    """It receives member_joined_channel and people's messages."""
    channel = await sim.add_channel("room")
    assert channel != await sim.add_channel("other room")
    await sim.say(ALICE, channel, "hello")
    found = kinds(await receive_all(sim, socket))
    assert found == ["member_joined_channel", "member_joined_channel", "message"]


async def test_events_can_be_redelivered(sim: LocalSlack, socket: RawSocket) -> None:
    """Redelivered events have the same event ids or new ones."""
    ts = await sim.say(ALICE, GENERAL, "hello", mention=True)
    await receive_all(sim, socket)
    assert await sim.deliver_again(ts) == 2
    await receive_all(sim, socket)
    assert await sim.deliver_again(ts, same_event_id=False) == 2
    await receive_all(sim, socket)
    delivered = [d["event_id"] for d in await sim.deliveries()]
    assert sorted(delivered[:2]) == sorted(delivered[2:4])
    assert not set(delivered[:2]) & set(delivered[4:])


async def test_excess_events_are_dropped(sim: LocalSlack, socket: RawSocket) -> None:
    """Slack sends app_rate_limited once, and no more events in that hour."""
    await sim.limits(events_per_hour=2)
    for number in range(4):
        await sim.say(ALICE, DM_ALICE, str(number))
    frames = [await socket.next() for _ in range(3)]
    assert [f["payload"]["type"] for f in frames].count("app_rate_limited") == 1
    assert (await sim.state())["events_dropped"] == 2


async def test_events_about_the_app_are_sent(sim: LocalSlack, socket: RawSocket) -> None:
    """Home, panes, archives, reactions, revocation."""
    ts = await sim.say(ALICE, GENERAL, "x")
    await sim.react(BOB, GENERAL, ts, "eyes")
    await sim.open_home(ALICE)
    channel, thread = await sim.open_agent_pane(ALICE, view="assistant", context=GENERAL)
    await sim.move_agent_pane(ALICE, thread, PRIVATE)
    await sim.archive(GENERAL)
    await sim.revoke(uninstall=True)
    events = await receive_all(sim, socket)
    assert kinds(events) == [
        "app_home_opened",
        "app_home_opened",
        "app_uninstalled",
        "assistant_thread_context_changed",
        "assistant_thread_started",
        "channel_archive",
        "message",
        "message:assistant_app_thread",
        "reaction_added",
        "tokens_revoked",
    ]
    started = next(event for event in events if event["type"] == "assistant_thread_started")
    assert started["assistant_thread"]["channel_id"] == channel == DM_ALICE
    assert started["assistant_thread"]["context"]["channel_id"] == GENERAL


async def test_the_new_agent_pane_starts_without_a_thread(
    sim: LocalSlack, socket: RawSocket
) -> None:
    """With agent_view the messages tab opens, and a message there starts a thread."""
    channel, thread = await sim.open_agent_pane(BOB)
    assert thread == ""
    opened = (await receive_all(sim, socket))[0]
    assert (opened["type"], opened["tab"]) == ("app_home_opened", "messages")
    await sim.say(BOB, channel, "hello")
    assert (await receive_all(sim, socket))[0]["channel"] == channel


async def test_a_round_trip_delays_events_too(sim: LocalSlack, socket: RawSocket) -> None:
    """Half of it passes before the delivery, half before the acknowledgement."""
    await sim.delivery(ack_seconds=3)
    await sim.call("rtt", seconds=0.06)
    await sim.say(ALICE, DM_ALICE, "x")
    await socket.ack(await socket.next())

    async def ack_delay() -> float:
        attempt = (await sim.deliveries())[-1]
        return float(attempt["acked"] - attempt["sent"]) if attempt["acked"] else 0.0

    assert await sim.until(ack_delay) >= 0.06


async def test_a_manifest_configures_the_app(sim: LocalSlack) -> None:
    """It sets events, scopes, commands, the messages tab and Socket Mode."""
    url = "https://example.com/slack/events"
    manifest = {
        "display_information": {"name": "App"},
        "features": {
            "app_home": {"messages_tab_enabled": True, "messages_tab_read_only_enabled": True},
            "slash_commands": [{"command": "/reset", "description": "Start over", "url": url}],
        },
        "oauth_config": {"scopes": {"bot": ["commands"]}},
        "settings": {
            "event_subscriptions": {"bot_events": ["app_mention"], "request_url": url},
            "socket_mode_enabled": False,
        },
    }
    await sim.manifest(manifest)
    closed = await sim.api("apps.connections.open", token=APP_TOKEN)
    assert closed.error == "socket_mode_not_enabled"
    assert (await sim.api("users.info", user=ALICE)).error == "missing_scope"
    with pytest.raises(AssertionError, match="messages_tab_read_only"):
        await sim.say(ALICE, DM_ALICE, "hello")
    with pytest.raises(AssertionError, match="not a valid command"):
        await sim.slash(ALICE, GENERAL, "/summary")


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("features", "shortcuts", 0, "name"), "x" * 25, "must have 1 to 24 characters, not 25"),
        (("features", "shortcuts", 0, "type"), "other", "must match"),
        (("features", "shortcuts", 0, "description"), "x" * 151, "1 to 150"),
        (("features", "shortcuts"), [], "1 to 10 items"),
        (("features", "slash_commands", 0, "command"), "reset", "must match"),
        (("features", "slash_commands", 0, "command"), "/" + "x" * 32, "2 to 32"),
        (("features", "slash_commands", 0, "description"), "", "1 to 2000"),
        (("features", "agent_view", "agent_description"), "x" * 301, "0 to 300"),
        (("features", "bot_user", "display_name"), "x" * 81, "1 to 80"),
        (("features", "unknown"), {}, "not a known property"),
        (("display_information", "name"), "x" * 36, "1 to 35"),
        (("display_information", "background_color"), "#12345", "must match"),
        (("settings", "socket_mode_enabled"), "yes", "true or false"),
        (("settings", "socket_mode_enabled"), False, "required without Socket Mode"),
        (("settings", "event_subscriptions", "bot_events"), ["a", "a"], "unique items"),
        (("settings", "event_subscriptions", "request_url"), "ftp://x", "must match"),
        (("_metadata", "major_version"), 3, "must be one of"),
    ],
)
async def test_a_manifest_that_slack_would_refuse_is_refused(
    sim: LocalSlack, path: tuple[str | int, ...], value: object, complaint: str
) -> None:
    manifest: Any = json.loads(manifest_path("socket").read_text())
    parent = manifest
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    with pytest.raises(AssertionError, match=complaint):
        await sim.manifest(manifest)
