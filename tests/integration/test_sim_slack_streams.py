"""Native streams, assistant threads and agent sessions end and refuse as Slack's do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.sims.slack import (
    ALICE,
    BOT_TOKEN,
    CAROL,
    DM_ALICE,
    GENERAL,
    OTHER_TEAM,
    TEAM,
)
from tests.sims.slack.local import LocalSlack

META = {"event_type": "page", "event_payload": {"turn": 1, "page": 0}}


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        yield running


class Stream:
    """A stream under a fresh question of Alice's."""

    def __init__(self, sim: LocalSlack, question: str, ts: str) -> None:
        self.sim, self.question, self.ts = sim, question, ts

    async def call(self, method: str, **args: Any) -> str:
        """The refusal of a call on the stream's message, "" when it is done."""
        return (await self.sim.api(method, channel=GENERAL, ts=self.ts, **args)).error

    async def append(self, text: str) -> str:
        return await self.call("chat.appendStream", markdown_text=text)

    async def seen(self) -> dict[str, Any]:
        return (await self.sim.thread(GENERAL, self.question))[-1]


@pytest.fixture
async def stream(sim: LocalSlack) -> Stream:
    question = await sim.say(ALICE, GENERAL, "question", mention=True)
    started = await sim.api(
        "chat.startStream",
        channel=GENERAL,
        thread_ts=question,
        recipient_user_id=ALICE,
        recipient_team_id=TEAM,
    )
    assert started.error == ""
    return Stream(sim, question, started.body["ts"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"thread_ts": None}, "invalid_arguments"),
        ({"recipient_user_id": None}, "missing_recipient_user_id"),
        ({"recipient_team_id": None}, "missing_recipient_team_id"),
        ({"recipient_team_id": OTHER_TEAM}, "team_not_found"),
        ({"recipient_user_id": CAROL, "recipient_team_id": OTHER_TEAM}, ""),
        ({"recipient_user_id": "U0NOBODY"}, "user_not_found"),
        ({"metadata": META}, "invalid_arguments"),
        ({"thread_ts": "1700000000.000001"}, "message_not_found"),
        ({"markdown_text": "x" * 12_001}, "msg_too_long"),
        ({"chunks": [{"type": "text", "text": "x"}]}, "invalid_chunks"),
        ({"chunks": [{"type": "markdown_text", "text": "x"}]}, ""),
    ],
)
async def test_what_a_start_needs(sim: LocalSlack, changes: dict[str, Any], error: str) -> None:
    """A thread, and in channels the reader with their own team; no metadata yet."""
    question = await sim.say(ALICE, GENERAL, "question")
    args = {"thread_ts": question, "recipient_user_id": ALICE, "recipient_team_id": TEAM} | changes
    args = {key: value for key, value in args.items() if value is not None}
    assert (await sim.api("chat.startStream", channel=GENERAL, **args)).error == error


async def test_in_a_direct_message_no_reader_is_named(sim: LocalSlack) -> None:
    """There it is clear; the thread is needed all the same."""
    question = await sim.say(ALICE, DM_ALICE, "question")
    assert (await sim.api("chat.startStream", channel=DM_ALICE, thread_ts=question)).error == ""
    unthreaded = await sim.api("chat.startStream", channel=DM_ALICE)
    assert unthreaded.error == "invalid_arguments"


async def test_an_open_stream_is_neither_updated_nor_deleted(stream: Stream) -> None:
    """Until it is stopped; then both work, and nothing more is appended."""
    assert await stream.append("some **text**") == ""
    assert await stream.call("chat.update", text="x") == "streaming_state_conflict"
    assert await stream.call("chat.delete") == "cant_delete_message"
    assert await stream.call("chat.stopStream", markdown_text=" end", metadata=META) == ""
    assert await stream.append("more") == "message_not_in_streaming_state"
    assert await stream.call("chat.stopStream") == "message_not_in_streaming_state"
    seen = await stream.seen()
    assert (seen["shown"], seen["metadata"]) == ("some **text** end", META)
    assert await stream.call("chat.update", text="new") == ""
    assert (await stream.seen())["shown"] == "new"
    assert await stream.call("chat.delete") == ""


async def test_the_state_is_read_in_the_thread(sim: LocalSlack, stream: Stream) -> None:
    """conversations.replies shows streaming_state; stopping it recovers the message."""

    async def state() -> str:
        read = await sim.api("conversations.replies", channel=GENERAL, ts=stream.question)
        return str(read.body["messages"][-1]["streaming_state"])

    assert await state() == "in_progress"
    assert (await sim.state())["streaming"] == [stream.ts]
    await stream.call("chat.stopStream", metadata=META)
    assert await state() == "completed"
    assert (await sim.state())["streaming"] == []


async def test_a_stream_dies_of_age(sim: LocalSlack, stream: Stream) -> None:
    """Appending does not keep it alive; its text stays, and it can be updated."""
    assert (await sim.api("chat.stopStream", channel=GENERAL, ts=stream.ts)).error == ""
    await sim.streams(seconds=0.05)
    args = {"thread_ts": stream.question, "recipient_user_id": ALICE, "recipient_team_id": TEAM}
    young = await sim.api("chat.startStream", channel=GENERAL, markdown_text="kept", **args)
    dying = Stream(sim, stream.question, young.body["ts"])

    async def dead() -> bool:
        return await dying.append("") != "no_text"

    await sim.until(dead)
    assert await dying.append("more") == "message_not_in_streaming_state"
    assert (await dying.seen())["shown"] == "kept"
    assert await dying.call("chat.update", text="recovered") == ""


async def test_a_stream_dies_of_length(stream: Stream) -> None:
    """12,000 characters a call, and less than that in all."""
    assert await stream.append("x" * 12_001) == "msg_too_long"
    assert await stream.append("x" * 9_000) == ""
    assert await stream.append("x" * 2_500) == ""
    assert await stream.append("x") == "message_not_in_streaming_state"
    assert await stream.append("") == "message_not_in_streaming_state"
    assert len((await stream.seen())["shown"]) == 11_500


async def test_an_append_needs_text(stream: Stream) -> None:
    """An empty one is refused."""
    assert await stream.append("") == "no_text"


async def test_a_streamed_ping_is_seen_across_appends(stream: Stream) -> None:
    """`<!chan` and `nel>` in two appends ping everybody."""
    await stream.append("hello <!chan")
    assert (await stream.seen())["pings"] == []
    await stream.append("nel> and bye")
    versions = (await stream.seen())["versions"]
    assert [version["pings"] for version in versions] == [[], [], ["channel"]]


async def test_the_real_helper_streams(sim: LocalSlack) -> None:
    """slack_sdk's chat_stream: start, append and stop with metadata and blocks."""
    question = await sim.say(ALICE, GENERAL, "question", mention=True)
    client = AsyncWebClient(BOT_TOKEN, base_url=sim.api_url)
    writer = await client.chat_stream(
        channel=GENERAL, thread_ts=question, recipient_team_id=TEAM, recipient_user_id=ALICE
    )
    await writer.append(markdown_text="a" * 300)
    await writer.append(markdown_text="b" * 300)
    button = {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}}
    await writer.stop(
        markdown_text="c", metadata=META, blocks=[{"type": "actions", "elements": [button]}]
    )
    reply = (await sim.thread(GENERAL, question))[-1]
    assert reply["shown"] == "a" * 300 + "b" * 300 + "c\nGo"
    assert [v["how"] for v in reply["versions"]] == ["start", "append", "stop"]
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        await client.chat_appendStream(channel=GENERAL, ts=reply["ts"], markdown_text="d")


# ── sessions and threads ──────────────────────────────────────────────────────────────────────
async def set_status(sim: LocalSlack, thread: str, status: str) -> dict[str, Any]:
    answer = await sim.api(
        "agents.sessions.setStatus", channel_id=GENERAL, thread_ts=thread, status=status
    )
    return answer.body


async def test_a_session_keeps_its_status(sim: LocalSlack, stream: Stream) -> None:
    """Until it is set, there or when a stream stops; unknown ones are refused."""
    assert (await set_status(sim, stream.question, "thinking"))["error"] == "invalid_arguments"
    done = await set_status(sim, stream.question, "processing")
    assert (done["agent_status"], "warning" in done) == ("processing", False)
    await stream.append("x")
    assert (await sim.state())["sessions"][0]["status"] == "processing"
    await stream.call("chat.stopStream", session_status="active")
    assert (await sim.state())["sessions"][0]["status"] == "active"
    nowhere = await set_status(sim, "1700000000.000001", "active")
    assert nowhere["error"] == "thread_not_found"


async def test_only_agents_have_sessions(sim: LocalSlack, stream: Stream) -> None:
    """An app that is not declared as one is refused, and may stream all the same."""
    await sim.agent(False)
    assert (await set_status(sim, stream.question, "processing"))["error"] == "not_allowed"
    await stream.append("x")


async def test_without_the_event_there_is_no_stop_button(sim: LocalSlack, stream: Stream) -> None:
    """setStatus warns, and nobody can stop the agent."""
    await sim.subscribe(["app_mention"])
    done = await set_status(sim, stream.question, "processing")
    assert done["warning"] == "missing_agent_session_stopped_event_subscription"
    with pytest.raises(AssertionError, match="no_stop_button"):
        await sim.stop_agent(ALICE, GENERAL, stream.question)


async def test_stopping_ends_the_streams_and_not_the_status(
    sim: LocalSlack, stream: Stream
) -> None:
    """Appends fail with stopped_by_user, the event names the streams, the status stays."""
    with pytest.raises(AssertionError, match="no_stop_button"):
        await sim.stop_agent(ALICE, GENERAL, stream.question)
    await set_status(sim, stream.question, "processing")
    async with sim.socket() as socket:
        stopping = asyncio.create_task(socket.event("agent_session_stopped"))
        assert await sim.stop_agent(ALICE, GENERAL, stream.question) == [stream.ts]
        event = (await stopping)["payload"]["event"]
    assert event["streaming_message_ts"] == [stream.ts]
    assert (event["thread_ts"], event["user"]) == (stream.question, ALICE)
    assert await stream.append("x") == "stopped_by_user"
    assert (await sim.state())["sessions"][0]["status"] == "processing"
    assert await stream.call("chat.update", text="Stopped.") == ""


async def test_an_assistant_status_goes_with_the_reply(sim: LocalSlack) -> None:
    """It is cleared by an empty status or by what the app says in the thread."""
    question = await sim.say(ALICE, GENERAL, "question")
    about = {"channel_id": GENERAL, "thread_ts": question}
    assert (await sim.api("assistant.threads.setStatus", status="thinks", **about)).error == ""
    assert (await sim.state())["statuses"][0]["status"] == "thinks"
    await sim.api("chat.postMessage", channel=GENERAL, text="answer", thread_ts=question)
    assert (await sim.state())["statuses"] == []
    await sim.api("assistant.threads.setStatus", status="thinks", **about)
    await sim.api("assistant.threads.setStatus", status="", **about)
    assert (await sim.state())["statuses"] == []
    assert (await sim.api("assistant.threads.setTitle", title="T", **about)).error == ""
    many = [{"title": "t", "message": "m"}] * 5
    prompts = await sim.api("assistant.threads.setSuggestedPrompts", prompts=many, **about)
    assert prompts.error == "invalid_arguments"
