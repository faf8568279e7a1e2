"""Native streams, assistant threads and agent sessions behave like Slack's."""

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
    """A stream under a new question from Alice."""

    def __init__(self, sim: LocalSlack, question: str, ts: str) -> None:
        self.sim, self.question, self.ts = sim, question, ts

    async def call(self, method: str, **args: Any) -> str:
        """The error code of a call on the stream's message; "" if it succeeded."""
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
async def test_a_start_needs_a_thread_and_a_recipient(
    sim: LocalSlack, changes: dict[str, Any], error: str
) -> None:
    """Only channels need the recipient, with their own team; metadata is not accepted yet."""
    question = await sim.say(ALICE, GENERAL, "question")
    args = {"thread_ts": question, "recipient_user_id": ALICE, "recipient_team_id": TEAM} | changes
    args = {key: value for key, value in args.items() if value is not None}
    assert (await sim.api("chat.startStream", channel=GENERAL, **args)).error == error


async def test_a_start_in_a_direct_message_needs_no_recipient(sim: LocalSlack) -> None:
    """It does need a thread."""
    question = await sim.say(ALICE, DM_ALICE, "question")
    assert (await sim.api("chat.startStream", channel=DM_ALICE, thread_ts=question)).error == ""
    unthreaded = await sim.api("chat.startStream", channel=DM_ALICE)
    assert unthreaded.error == "invalid_arguments"


async def test_an_open_stream_cannot_be_updated_or_deleted(stream: Stream) -> None:
    """Once it is stopped, both work, and nothing can be appended."""
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


async def test_the_thread_shows_the_streaming_state(sim: LocalSlack, stream: Stream) -> None:
    """A client can find an open stream and stop it."""

    async def state() -> str:
        read = await sim.api("conversations.replies", channel=GENERAL, ts=stream.question)
        return str(read.body["messages"][-1]["streaming_state"])

    assert await state() == "in_progress"
    assert (await sim.state())["streaming"] == [stream.ts]
    await stream.call("chat.stopStream", metadata=META)
    assert await state() == "completed"
    assert (await sim.state())["streaming"] == []


async def test_an_old_stream_ends(sim: LocalSlack, stream: Stream) -> None:
    """The stream ends even while text is appended; its text stays and can be updated."""
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


async def test_a_long_stream_ends(stream: Stream) -> None:
    """A call accepts 12,000 characters, but the whole stream fewer."""
    assert await stream.append("x" * 12_001) == "msg_too_long"
    assert await stream.append("x" * 9_000) == ""
    assert await stream.append("x" * 2_500) == ""
    assert await stream.append("x") == "message_not_in_streaming_state"
    assert await stream.append("") == "message_not_in_streaming_state"
    assert len((await stream.seen())["shown"]) == 11_500


async def test_an_append_needs_text(stream: Stream) -> None:
    """An empty append is refused."""
    assert await stream.append("") == "no_text"


async def test_a_ping_split_over_appends_is_detected(stream: Stream) -> None:
    """`<!chan` and `nel>` in two appends notify everyone."""
    await stream.append("hello <!chan")
    assert (await stream.seen())["pings"] == []
    await stream.append("nel> and bye")
    versions = (await stream.seen())["versions"]
    assert [version["pings"] for version in versions] == [[], [], ["channel"]]


async def test_slack_sdks_chat_stream_works(sim: LocalSlack) -> None:
    """It starts, appends and stops, with metadata and blocks."""
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
    """Only another call or the end of a stream changes the status; unknown values are refused."""
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
    """Another app is refused, but may stream."""
    await sim.agent(False)
    assert (await set_status(sim, stream.question, "processing"))["error"] == "not_allowed"
    await stream.append("x")


async def test_without_the_event_there_is_no_stop_button(sim: LocalSlack, stream: Stream) -> None:
    """setStatus warns, and people cannot stop the agent."""
    await sim.subscribe(["app_mention"])
    done = await set_status(sim, stream.question, "processing")
    assert done["warning"] == "missing_agent_session_stopped_event_subscription"
    with pytest.raises(AssertionError, match="no_stop_button"):
        await sim.stop_agent(ALICE, GENERAL, stream.question)


async def test_the_stop_button_ends_streams_but_not_the_status(
    sim: LocalSlack, stream: Stream
) -> None:
    """Appends fail with stopped_by_user, and the event names the streams."""
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


async def test_the_assistant_status_ends_and_a_session_does_not(sim: LocalSlack) -> None:
    """Slack removes words under a thread after two minutes without a message."""
    question = await sim.say(ALICE, GENERAL, "question")
    await sim.api(
        "assistant.threads.setStatus", status="thinks", channel_id=GENERAL, thread_ts=question
    )
    await set_status(sim, question, "processing")
    await sim.status_seconds(0.0)
    state = await sim.state()
    assert state["statuses"] == []
    assert state["sessions"][0]["status"] == "processing"


async def test_a_reply_clears_the_assistant_status(sim: LocalSlack) -> None:
    """An empty status clears it as well."""
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
