"""Events over Socket Mode: how each is handled, and when it is acknowledged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.domain.conversations import Visibility
from bot.domain.errors import CannotStart
from bot.domain.inbox import Address, Receipt
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_isolation import JumpClock
from tests.support.slack_kit import claim, key, running, socket_adapter, until


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


async def wait_deliveries(sim: SlackSim, ts: str) -> list[dict[str, Any]]:
    """All deliveries of a message, once each was acknowledged or has failed."""

    async def find_deliveries() -> Any:
        mine = [one for one in await sim.deliveries() if one["ts"] == ts]
        return mine if mine and all(one["acked"] or one["reason"] for one in mine) else None

    return await sim.until(find_deliveries)


async def test_a_mention_is_one_question_despite_two_events(sim: SlackSim) -> None:
    """app_mention and message have the same ts, which identifies the message."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        ts = await sim.say(ids.ALICE, ids.GENERAL, "what is 2 & 2?", mention=True)
        await until(lambda: len(inbox.receipts) == 2)
        assert sorted(receipt.value for receipt in inbox.receipts) == ["known", "question"]
        (incoming,) = inbox.received
        assert incoming.key == key(ids.GENERAL, ts)
        assert incoming.address is Address.MENTION
        assert incoming.text == "what is 2 & 2?"
        assert incoming.author.name == "alice"
        assert incoming.visibility is Visibility.PUBLIC
        assert {one["event"] for one in await wait_deliveries(sim, ts)} == {
            "app_mention",
            "message",
        }


async def test_app_mention_alone_looks_up_whether_its_channel_is_public(sim: SlackSim) -> None:
    """An app_mention lacks the channel's kind, which decides who may read the conversation."""
    await sim.subscribe(["app_mention"])
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.GENERAL, "hi", mention=True)
        await sim.say(ids.ALICE, ids.PRIVATE, "hi", mention=True)
        await until(lambda: len(inbox.received) == 2)
    seen = {one.channel: one.visibility for one in inbox.received}
    assert seen == {ids.GENERAL: Visibility.PUBLIC, ids.PRIVATE: Visibility.PRIVATE}


@pytest.mark.parametrize("subscribed", [None, ["app_mention"]])
async def test_a_question_in_a_channel_that_became_private_is_private(
    sim: SlackSim, subscribed: list[str] | None
) -> None:
    """Everyone may read public conversations. An app_mention lacks the channel's kind."""
    await sim.subscribe(subscribed)
    inbox, clock = FakeInbox(), JumpClock()
    async with running(sim, inbox, clock=clock):
        await sim.say(ids.ALICE, ids.GENERAL, "before", mention=True)
        await until(lambda: len(inbox.received) == 1)
        await sim.make_private(ids.GENERAL)
        clock.jump(61.0)
        await sim.say(ids.ALICE, ids.GENERAL, "after", mention=True)
        await until(lambda: len(inbox.received) == 2)
    seen = {one.text: one.visibility for one in inbox.received}
    assert seen == {"before": Visibility.PUBLIC, "after": Visibility.PRIVATE}


async def test_thread_replies_are_follow_ups_and_other_channel_messages_are_ignored(
    sim: SlackSim,
) -> None:
    """Channel messages outside threads that do not mention the bot are only acknowledged."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        root = await sim.say(ids.ALICE, ids.GENERAL, "a question", mention=True)
        talk = await sim.say(ids.BOB, ids.GENERAL, "lunch?")
        reply = await sim.say(ids.BOB, ids.GENERAL, "and why?", thread_ts=root)
        aside = await sim.say(ids.BOB, ids.GENERAL, "@alice look", thread_ts=root)
        await until(lambda: len(inbox.received) == 3)
        assert (await wait_deliveries(sim, talk))[0]["acked"]
    found = {one.message_id: one for one in inbox.received}
    assert set(found) == {root, reply, aside}
    assert found[reply].address is Address.FOLLOW_UP
    assert found[aside].address is Address.ASIDE
    assert {one.key for one in inbox.received} == {key(ids.GENERAL, root)}


async def test_a_direct_message_is_a_conversation_of_its_own_thread(sim: SlackSim) -> None:
    inbox = FakeInbox()
    async with running(sim, inbox):
        first = await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        second = await sim.say(ids.ALICE, ids.DM_ALICE, "go on", thread_ts=first)
        await until(lambda: len(inbox.received) == 2)
    assert {one.message_id for one in inbox.received} == {first, second}
    assert {one.key for one in inbox.received} == {key(ids.DM_ALICE, first)}
    assert {one.address for one in inbox.received} == {Address.DIRECT}


async def test_messages_of_bots_are_no_questions(sim: SlackSim) -> None:
    inbox = FakeInbox()
    async with running(sim, inbox):
        theirs = await sim.say(ids.OTHER_BOT_USER, ids.GENERAL, "hello", mention=True)
        assert all(one["acked"] for one in await wait_deliveries(sim, theirs))
    assert inbox.received == []


async def test_an_event_that_could_not_be_stored_is_redelivered(sim: SlackSim) -> None:
    """The adapter acknowledges an event only once it is stored."""
    await sim.delivery(ack_seconds=0.3, retry_scale=0.001)
    inbox = FakeInbox(failures=1)
    async with running(sim, inbox):
        ts = await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)

        async def is_received() -> Any:
            return [one for one in await sim.deliveries() if one["ts"] == ts and one["acked"]]

        first = (await sim.until(is_received))[0]
    assert first["attempt"] >= 1
    assert len(inbox.receipts) >= 1
    assert (await sim.state())["lost"] == []


@pytest.mark.parametrize("where", [ids.DM_ALICE, ids.GENERAL])
async def test_the_author_of_a_message_that_could_not_be_stored_gets_one_notice(
    sim: SlackSim, where: str
) -> None:
    """No one else sees the notice, and redeliveries do not repeat it."""
    await sim.delivery(ack_seconds=0.3, retry_scale=0.001)
    inbox = FakeInbox(failures=3)
    async with running(sim, inbox):
        await sim.say(ids.ALICE, where, "hello", mention=where == ids.GENERAL)
        await until(lambda: inbox.received)
        [notice] = await sim.until(sim.ephemeral)
        assert "cannot save messages right now" in notice["shown"]
        assert (notice["channel"], notice["ephemeral_to"]) == (where, ids.ALICE)
        assert len(inbox.apologies) >= 2
    assert len(await sim.ephemeral()) == 1


async def test_the_acknowledgement_waits_for_the_inbox(sim: SlackSim) -> None:
    stored = asyncio.Event()
    inbox = FakeInbox(before_receive=lambda _incoming: stored.wait())
    async with running(sim, inbox):
        ts = await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await asyncio.sleep(0.2)
        assert not any(one["acked"] for one in await sim.deliveries() if one["ts"] == ts)
        stored.set()
        assert all(one["acked"] for one in await wait_deliveries(sim, ts))


async def test_a_redelivered_event_is_known(sim: SlackSim) -> None:
    inbox = FakeInbox()
    async with running(sim, inbox):
        ts = await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)
        await sim.deliver_again(ts, same_event_id=False)
        await until(lambda: len(inbox.receipts) == 2)
    assert inbox.receipts == [Receipt.QUESTION, Receipt.KNOWN]


async def test_an_edited_mention_is_no_new_question(sim: SlackSim) -> None:
    """Slack sends another app_mention with the same ts."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        ts = await sim.say(ids.ALICE, ids.GENERAL, "one", mention=True)
        await until(lambda: len(inbox.receipts) == 2)
        await sim.edit(ids.GENERAL, ts, "two", mention=True)
        await until(lambda: len(inbox.receipts) == 3)
    assert [one.text for one in inbox.received] == ["one"]


async def test_every_event_is_acknowledged(sim: SlackSim) -> None:
    """Slack would send an ignored event four times."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        ts = await sim.say(ids.BOB, ids.GENERAL, "hello")
        await sim.unfurl(ids.GENERAL, ts)
        await sim.react(ids.ALICE, ids.GENERAL, ts, "wave")
        await sim.delete(ids.GENERAL, ts)
        await sim.open_home(ids.ALICE)
        await sim.open_agent_pane(ids.ALICE, view="assistant", context=ids.GENERAL)
        await sim.join(ids.BOT_USER, ids.RANDOM)
        await sim.remove_from_channel(ids.RANDOM)
        await sim.archive(ids.PRIVATE)

        async def nothing_pending() -> bool:
            return (await sim.state())["pending"] == 0

        await sim.until(nothing_pending)
    assert all(one["acked"] and one["attempt"] == 0 for one in await sim.deliveries())


async def test_the_agent_pane_offers_prompts(sim: SlackSim) -> None:
    async with running(sim, FakeInbox()):
        channel, _ = await sim.open_agent_pane(ids.ALICE)

        async def prompts() -> Any:
            sessions = (await sim.state())["sessions"]
            return [one for one in sessions if one["channel"] == channel and one.get("prompts")]

        (session,) = await sim.until(prompts)
    assert session["prompts"][0]["message"]


async def test_slacks_stop_button_stops_that_thread(sim: SlackSim) -> None:
    inbox = FakeInbox()
    async with running(sim, inbox) as adapter:
        ts = await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)
        surface = adapter.surface(claim(ids.DM_ALICE, ts, kind=inbox.received[0].route["kind"]))
        await surface.open()

        async def stop() -> bool:
            sessions = (await sim.state())["sessions"]
            return any(one["status"] == "processing" for one in sessions)

        await sim.until(stop)
        await sim.stop_agent(ids.ALICE, ids.DM_ALICE, ts)
        await until(lambda: inbox.commands)
        await surface.close()
        assert [one["status"] for one in (await sim.state())["sessions"]] == ["active"]
    stop_command = inbox.commands[0]
    assert (stop_command.name, stop_command.key) == ("stop", key(ids.DM_ALICE, ts))
    # A redelivery, recognized by its id, must not stop a later reply.
    assert re.fullmatch(rf"slack/{ids.TEAM}/{ids.DM_ALICE}/stop-Ev\d+", stop_command.source)


async def test_the_bot_reconnects_after_a_refresh_and_a_lost_connection(sim: SlackSim) -> None:
    """After each, events arrive and the inbox hears of the connection."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.disconnect()
        await until(lambda: inbox.connections == 2)
        await sim.drop()
        await until(lambda: inbox.connections == 3)
        await sim.say(ids.ALICE, ids.DM_ALICE, "still there?")
        await until(lambda: inbox.received)


async def test_an_outage_of_socket_mode_ends(sim: SlackSim) -> None:
    """An address is valid for one connection, so every failure requires a new one."""
    inbox = FakeInbox()
    async with running(sim, inbox) as adapter:
        await sim.offline()

        async def is_refused() -> bool:
            return any(one["status"] == 503 for one in await sim.requests("/link/"))

        await sim.until(is_refused)
        assert not adapter.health().ok
        await sim.online()
        await until(lambda: inbox.connections == 2)
        assert adapter.health().ok
    tickets = [one["query"]["ticket"] for one in await sim.requests("/link/")]
    assert len(set(tickets)) == len(tickets) >= 3


async def test_a_revoked_token_shows_in_health(sim: SlackSim) -> None:
    async with running(sim, FakeInbox()) as adapter:
        assert adapter.health().ok
        await sim.revoke()
        await until(lambda: not adapter.health().ok)
        assert "token" in adapter.health().details["trouble"]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "app_uninstalled"},
        {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [ids.BOT_USER]}},
    ],
)
@pytest.mark.parametrize("team", [ids.TEAM, ids.OTHER_TEAM])
async def test_a_removal_counts_only_if_slack_refuses_the_token(
    sim: SlackSim, event: dict[str, Any], team: str
) -> None:
    """The event may concern another workspace of the app, or an earlier token."""
    inbox = FakeInbox()
    body = {"type": "event_callback", "team_id": team, "event": event, "event_id": "Ev1"}
    body |= {"authorizations": [{"team_id": team, "enterprise_id": None, "is_bot": True}]}
    async with running(sim, inbox) as adapter:
        (attempt,) = await sim.inject("events_api", [body])
        assert attempt["acked"]
        assert adapter.health().ok
        assert inbox.gone_keys == []
        await sim.call("fault", match="auth.test", times=1, status=503)
        await sim.inject("events_api", [body])  # Slack does not say, so the next request decides
        assert adapter.health().ok
        await sim.revoke(uninstall=event["type"] == "app_uninstalled")
        await until(lambda: inbox.gone_keys)
        assert not adapter.health().ok


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bot_token": "xoxb-wrong"}, "SLACK_BOT_TOKEN"),
        ({"app_token": "xapp-wrong"}, "SLACK_APP_TOKEN"),
        ({"app_token": ids.BOT_TOKEN}, "connections:write"),
    ],
)
async def test_a_refused_token_ends_the_start_with_advice(
    sim: SlackSim, options: dict[str, str], says: str
) -> None:
    adapter = socket_adapter(sim, **options)
    with pytest.raises(CannotStart, match=says) as caught:
        await adapter.run(FakeInbox())
    assert "\n" not in str(caught.value)


async def test_a_failed_connection_at_the_start_is_retried(sim: SlackSim) -> None:
    """A failing first auth.test neither loses an event nor ends the bot."""
    await sim.call("fault", match="auth.test", times=1, status=503)
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)


async def test_an_old_thread_is_read_without_bots(sim: SlackSim) -> None:
    """People's messages before the mention, oldest first, without bots' messages."""
    inbox = FakeInbox()
    async with running(sim, inbox) as adapter:
        root = await sim.say(ids.ALICE, ids.GENERAL, "the build is <b>red</b>")
        await sim.say(ids.OTHER_BOT_USER, ids.GENERAL, "beep", thread_ts=root)
        await sim.say(ids.BOB, ids.GENERAL, "I saw it, @alice", thread_ts=root)
        ts = await sim.say(ids.ALICE, ids.GENERAL, "why?", thread_ts=root, mention=True)
        await sim.say(ids.BOB, ids.GENERAL, "later", thread_ts=root)
        await until(lambda: any(one.message_id == ts for one in inbox.received))
        mention = next(one for one in inbox.received if one.message_id == ts)
        assert mention.in_old_thread
        before = await adapter.backlog(mention)
    assert [(one.author.name, one.text) for one in before] == [
        ("alice", "the build is <b>red</b>"),
        ("bob", "I saw it, @alice"),
    ]
    assert {one.key for one in before} == {mention.key}


async def test_all_names_in_a_message_are_looked_up_together(sim: SlackSim) -> None:
    """If they were looked up one after another, the second name would be too late."""
    inbox = FakeInbox()
    async with running(sim, inbox):
        await sim.say(ids.ALICE, ids.DM_ALICE, "@bob and @carol and @otherbot")
        await until(lambda: inbox.received)
    assert inbox.received[0].text == "@bob and @carol and @otherbot"
    assert inbox.received[0].author.name == "alice"


async def test_slow_name_lookups_do_not_delay_an_event(sim: SlackSim) -> None:
    """Slack expects the acknowledgement within three seconds; an id replaces the missing name."""
    await sim.call("fault", match="users.info", times=5, delay=2.0)
    inbox = FakeInbox()
    async with running(sim, inbox):
        ts = await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
        await until(lambda: inbox.received)
        (delivery,) = await wait_deliveries(sim, ts)
    assert delivery["acked"] - delivery["sent"] < 1.5
    assert inbox.received[0].author.name == ids.ALICE
