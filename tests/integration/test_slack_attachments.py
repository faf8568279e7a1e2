"""Files of people's messages: reported with the message, and downloaded with the bot's token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.slack.adapter import SlackAdapter
from adapters.slack.downloads import DOWNLOAD_SECONDS
from bot.common.clock import SystemClock
from bot.domain.attachments import Download, IncomingAttachment, Omission
from bot.domain.errors import AttachmentError
from bot.domain.inbox import Asked, Incoming, Receipt
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import key, running, socket_adapter, until

PDF = ("report.pdf", "application/pdf", b"%PDF-1.7 " + b"x" * 2_000)
PICTURE = ("cat.png", "image/png", b"\x89PNG....")
VOICE = ("audio_message.m4a", "audio/mp4", b"\x00\x00\x00 ftypM4A ", {"subtype": "slack_audio"})
VTT = "WEBVTT\n\n1\n00:00.000 --> 00:02.000\n<v A>could you\n\n00:02.000 --> 00:03.000\ncall me\n"
LIMIT = 100_000


class FastClock(SystemClock):
    """Makes pauses fifty times shorter."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 50)


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        await sim.limits(enabled=False)
        yield sim


@pytest.fixture
async def slack(sim: SlackSim, inbox: FakeInbox) -> AsyncIterator[SlackAdapter]:
    async with running(sim, inbox, clock=FastClock()) as adapter:
        yield adapter


def names(incoming: Incoming) -> list[str]:
    return [one.name for one in incoming.attachments]


async def wait_until_handled(sim: SlackSim) -> None:
    """Wait until every delivery was acknowledged."""

    async def nothing_pending() -> bool:
        return bool((await sim.state())["pending"] == 0)

    await sim.until(nothing_pending)


# ── messages ──────────────────────────────────────────────────────────────────────────────────
async def ask_with(sim: SlackSim, inbox: FakeInbox, *files: Any, text: str = "see") -> Incoming:
    """Mention the bot with files; returns the only message that the inbox stored."""
    await sim.say(ids.ALICE, ids.GENERAL, text, mention=True, files=files)
    await until(lambda: inbox.received)
    await wait_until_handled(sim)
    assert len(inbox.received) == 1
    return inbox.received[0]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("files", [True, False])
@pytest.mark.parametrize("gap", [0.0, 0.1])
async def test_a_mention_has_its_files(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, first: bool, files: bool, gap: float
) -> None:
    """Whichever of its two events comes first, and whether or not app_mention carries the files."""
    await sim.mentions(first=first, files=files, gap=gap)
    asked = await ask_with(sim, inbox, PDF, PICTURE)
    assert (asked.text, names(asked)) == ("see", ["report.pdf", "cat.png"])
    assert inbox.edits == []
    if files:
        assert await sim.requests("/api/conversations.replies") == []


@pytest.mark.parametrize("text", ["see", ""])
async def test_a_mention_without_its_message_event_is_read(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, text: str
) -> None:
    await sim.subscribe(["app_mention"])
    asked = await ask_with(sim, inbox, PDF, text=text)
    assert (asked.text, names(asked)) == (text, ["report.pdf"])
    (read,) = await sim.requests("/api/conversations.replies")
    assert (read["query"]["inclusive"], read["query"]["latest"]) == ("true", asked.message_id)


async def test_a_mention_in_a_thread_is_read(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await sim.subscribe(["app_mention"])
    root = await sim.say(ids.BOB, ids.GENERAL, "the build is red", files=[PICTURE])
    await sim.say(ids.BOB, ids.GENERAL, "why", thread_ts=root)
    await sim.say(ids.ALICE, ids.GENERAL, "see", thread_ts=root, mention=True, files=[PDF])
    await until(lambda: inbox.received)
    assert names(inbox.received[0]) == ["report.pdf"]


async def test_only_the_message_event_arrives(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await sim.subscribe(["message.channels"])
    assert names(await ask_with(sim, inbox, PDF)) == ["report.pdf"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "body": {}},
        {"delay": 30.0},
        {"drop": True},
        {"status": 429, "headers": {"Retry-After": "300"}, "body": {"ok": False}},
        {"status": 200, "body": {"ok": False, "error": "channel_not_found"}},
        {"remove": ["messages"]},
        {"put": {"messages": [{"ts": 17}]}},
    ],
)
async def test_a_question_survives_a_failing_read(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, fault: dict[str, Any]
) -> None:
    """It is accepted as text within Slack's three seconds."""
    await sim.subscribe(["app_mention"])
    await sim.call("fault", match="/api/conversations.replies", times=10, **fault)
    asked = await ask_with(sim, inbox, PDF)
    assert (asked.text, names(asked)) == ("see", [])
    (delivery,) = [one for one in await sim.deliveries() if one["ts"] == asked.message_id]
    assert (delivery["attempt"], bool(delivery["acked"])) == (0, True)


async def message_event(sim: SlackSim, ts: str) -> dict[str, Any]:
    """The `message` event of a message in #general."""
    (message,) = await sim.thread(ids.GENERAL, ts)
    event = message | {"channel": ids.GENERAL, "channel_type": "channel", "event_ts": ts}
    return {"type": "event_callback", "team_id": ids.TEAM, "event_id": "Ev1", "event": event}


async def test_files_that_arrive_after_a_failed_read_are_added(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """They are added only once, and not to a message whose files were known."""
    await sim.subscribe(["app_mention"])
    await sim.call("fault", match="/api/conversations.replies", status=503, body={})
    await ask_with(sim, inbox, PDF)
    await sim.inject("events_api", [await message_event(sim, inbox.received[0].message_id)])
    (asked,), ((edited, _),) = inbox.received, inbox.edits
    assert (names(asked), names(edited)) == ([], ["report.pdf"])
    assert (edited.source, edited.text) == (asked.source, asked.text)
    await sim.deliver_again(asked.message_id, same_event_id=False)
    await wait_until_handled(sim)
    assert inbox.receipts == [Receipt.QUESTION, Receipt.KNOWN, Receipt.KNOWN]
    assert len(inbox.edits) == 1


async def test_a_mention_without_files_in_a_follow_up_and_a_direct_message(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """A file alone is a message wherever text alone would be one."""
    root = await sim.say(ids.ALICE, ids.GENERAL, "hello", mention=True)
    await sim.say(ids.ALICE, ids.GENERAL, "", thread_ts=root, files=[PDF])
    await sim.say(ids.ALICE, ids.DM_ALICE, "", files=[PICTURE])
    await until(lambda: len(inbox.received) == 3)
    found = sorted((one.text, *names(one)) for one in inbox.received)
    assert found == [("", "cat.png"), ("", "report.pdf"), ("hello",)]


async def test_the_files_of_an_old_thread_and_of_missed_messages(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    async with running(sim, inbox) as slack:
        root = await sim.say(ids.BOB, ids.GENERAL, "the build is red", files=[PICTURE])
        await sim.say(ids.ALICE, ids.GENERAL, "why?", mention=True, thread_ts=root)
        await until(lambda: inbox.received)
        (before,) = await slack.backlog(inbox.received[0])
        assert names(before) == ["cat.png"]
        await until(lambda: inbox.marks)
    missed = await sim.say(ids.ALICE, ids.GENERAL, "and this?", mention=True, files=[PDF])
    async with running(sim, inbox):
        await until(lambda: any(one.message_id == missed for one in inbox.received))
    (found,) = [one for one in inbox.received if one.message_id == missed]
    assert names(found) == ["report.pdf"]


# ── deleted files ─────────────────────────────────────────────────────────────────────────────
async def test_a_deleted_file_is_reported_as_an_edit(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    asked = await ask_with(sim, inbox, PDF, PICTURE)
    await sim.delete_file(asked.attachments[0].identity)
    await until(lambda: inbox.edits)
    ((edited, edited_at),) = inbox.edits
    assert (edited.text, names(edited)) == ("see", ["cat.png"])
    assert edited_at > asked.sent_at
    await sim.unfurl(ids.GENERAL, asked.message_id)  # announces the tombstone again
    await wait_until_handled(sim)
    assert len(inbox.edits) == 1


async def test_a_message_that_was_only_a_file_is_deleted_with_it(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await sim.say(ids.ALICE, ids.DM_ALICE, "", files=[PDF])
    await until(lambda: inbox.received)
    await sim.delete_file(inbox.received[0].attachments[0].identity)
    await until(lambda: inbox.deletions)
    assert inbox.deletions == [inbox.received[0].source]


async def test_a_file_deleted_while_the_bot_was_away(sim: SlackSim, inbox: FakeInbox) -> None:
    """The last question is checked again."""
    async with running(sim, inbox):
        asked = await ask_with(sim, inbox, PDF, PICTURE)
        await until(lambda: inbox.marks)
    await sim.delete_file(asked.attachments[1].identity)
    asked_again = Asked(asked.key, asked.channel, asked.message_id, asked.position)
    inbox.latest_questions = [asked_again]
    async with running(sim, inbox):
        await until(lambda: inbox.edits)
    assert names(inbox.edits[0][0]) == ["report.pdf"]


async def test_an_edit_of_the_text_keeps_the_files(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    asked = await ask_with(sim, inbox, PDF)
    await sim.edit(ids.GENERAL, asked.message_id, "look", mention=True)
    await until(lambda: inbox.edits)
    assert inbox.edits[0][0].attachments == asked.attachments


# ── downloads ─────────────────────────────────────────────────────────────────────────────────
async def get(slack: SlackAdapter, found: IncomingAttachment, limit: int = LIMIT) -> Download:
    assert found.omission is None
    return await slack.download(key(ids.GENERAL, "1.000001"), found.locator, limit=limit)


async def fail(slack: SlackAdapter, found: IncomingAttachment) -> tuple[Omission, bool]:
    """The error of a download, and whether another attempt may succeed."""
    with pytest.raises(AttachmentError) as error:
        await get(slack, found)
    return error.value.omission, error.value.retry_after is not None


async def post(sim: SlackSim, inbox: FakeInbox, file: Any) -> IncomingAttachment:
    (found,) = (await ask_with(sim, inbox, file)).attachments
    return found


async def tokens(sim: SlackSim) -> list[str]:
    """The tokens that the requests for files carried."""
    return [one["note"]["token"] for one in await sim.requests("/files-pri/")]


async def test_a_file_is_downloaded(sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter) -> None:
    found = await post(sim, inbox, PDF)
    assert found.size == len(PDF[2])
    assert await get(slack, found) == Download(PDF[2], "application/pdf", "")
    assert await tokens(sim) == [ids.BOT_TOKEN]


async def test_a_html_file_is_no_sign_in_page(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    found = await post(sim, inbox, ("page.html", "text/html", b"<html>mine</html>"))
    assert (await get(slack, found)).data == b"<html>mine</html>"
    await sim.downloads("sign_in")
    assert await fail(slack, found) == (Omission.NO_ACCESS, False)


async def test_a_canvas_is_downloaded_as_a_page(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    fields = {"mode": "quip", "title": "Road map", "size": 17}
    canvas = ("Road_map", "application/vnd.slack-docs", b"<h1>Road map</h1>...", fields)
    found = await post(sim, inbox, canvas)
    assert (found.name, found.media_type) == ("Road map", "text/html")
    assert await get(slack, found) == Download(canvas[2], "text/html", "")


async def test_without_the_scope_there_is_no_access(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """The log says what to check, and contains neither the token nor an address."""
    found = await post(sim, inbox, PDF)
    await sim.scopes([scope for scope in ids.SCOPES if scope != "files:read"])
    with capture_logs() as lines:
        assert await fail(slack, found) == (Omission.NO_ACCESS, False)
    (line,) = [one for one in lines if one["log_level"] == "warning"]
    assert "files:read" in line["event"]
    assert "xoxb" not in str(line)


@pytest.mark.parametrize("how", ["sign_in", "sign_in_redirect"])
async def test_a_sign_in_page_may_be_temporary(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, how: str
) -> None:
    found = await post(sim, inbox, PDF)
    await sim.downloads(how, times=1)
    assert (await get(slack, found)).data == PDF[2]
    await sim.downloads(how)
    assert await fail(slack, found) == (Omission.NO_ACCESS, False)


async def test_a_redirect_within_slack_keeps_the_token(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    found = await post(sim, inbox, PDF)
    await sim.downloads("redirect")
    assert (await get(slack, found)).data == PDF[2]
    assert await tokens(sim) == [ids.BOT_TOKEN, ids.BOT_TOKEN]


async def test_the_token_never_leaves_slack(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """It is sent neither to the target of a redirect nor to an address from a message."""
    found = await post(sim, inbox, PDF)
    elsewhere = found.locator["url"].replace("127.0.0.1", "localhost")
    await sim.downloads("elsewhere", to=f"{elsewhere}?signed=1")
    assert (await get(slack, found)).data == PDF[2]
    assert await tokens(sim) == [ids.BOT_TOKEN, ""]
    await sim.downloads()
    with pytest.raises(AttachmentError):
        locator = dict(found.locator) | {"url": elsewhere}
        await slack.download(key(ids.GENERAL, "1.000001"), locator, limit=LIMIT)
    assert set((await tokens(sim))[2:]) == {""}


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ({"status": 404}, (Omission.GONE, False)),
        ({"status": 410}, (Omission.GONE, False)),
        ({"status": 403}, (Omission.NO_ACCESS, False)),
        ({"status": 418}, (Omission.UNREACHABLE, False)),
        ({"status": 500}, (Omission.UNREACHABLE, True)),
        ({"status": 503}, (Omission.UNREACHABLE, True)),
        ({"status": 429, "headers": {"Retry-After": "7"}}, (Omission.UNREACHABLE, True)),
        ({"status": 302, "headers": {"Location": "http://["}}, (Omission.UNREACHABLE, False)),
        ({"status": 302, "headers": {"Location": "ftp://x/f"}}, (Omission.UNREACHABLE, False)),
        ({"drop": True}, (Omission.UNREACHABLE, True)),
    ],
)
async def test_failed_downloads(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, fault: dict[str, Any], result: Any
) -> None:
    found = await post(sim, inbox, PDF)
    await sim.call("fault", match="/files-pri/", times=10, **fault)
    assert await fail(slack, found) == result
    await sim.call("clear")
    assert (await get(slack, found)).data == PDF[2]


@pytest.mark.parametrize(
    ("how", "result"),
    [
        ("loop", (Omission.UNREACHABLE, False)),
        ("endless", (Omission.TOO_LARGE, False)),
        ("cut", (Omission.UNREACHABLE, True)),
        ("cut_unframed", (Omission.UNREACHABLE, True)),
        ("gzip", (Omission.UNREACHABLE, False)),
    ],
)
async def test_broken_downloads(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, how: str, result: Any
) -> None:
    found = await post(sim, inbox, PDF)
    await sim.downloads(how)
    assert await fail(slack, found) == result


@pytest.mark.parametrize(
    "url", ["http://[", "nonsense", "", "ftp://files.slack.com/x", "http://127.0.0.1:1\n/"]
)
async def test_invalid_addresses(slack: SlackAdapter, url: str) -> None:
    with pytest.raises(AttachmentError) as error:
        await slack.download(key(ids.GENERAL, "1.0"), {"file": "F1", "url": url}, limit=LIMIT)
    assert error.value.omission is Omission.UNREACHABLE


async def test_a_slow_download_ends_in_time(sim: SlackSim, inbox: FakeInbox) -> None:
    assert DOWNLOAD_SECONDS >= 60
    adapter = socket_adapter(sim, download_seconds=0.3)
    async with running(sim, inbox, adapter=adapter) as slack:
        found = await post(sim, inbox, PDF)
        await sim.downloads("slow", seconds=0.05)
        assert await fail(slack, found) == (Omission.TIMED_OUT, True)


async def test_retry_after_is_respected(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    found = await post(sim, inbox, PDF)
    await sim.call("fault", match="/files-pri/", status=429, headers={"Retry-After": "17"}, body={})
    with pytest.raises(AttachmentError) as error:
        await get(slack, found)
    assert error.value.retry_after == 17.0


async def test_a_file_over_the_limit_is_not_read(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    found = await post(sim, inbox, PDF)
    assert (await get(slack, found, len(PDF[2]))).data == PDF[2]
    with pytest.raises(AttachmentError) as error:
        await get(slack, found, len(PDF[2]) - 1)
    assert (error.value.omission, error.value.retry_after) == (Omission.TOO_LARGE, None)


async def test_a_deleted_file_is_gone(sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter) -> None:
    found = await post(sim, inbox, PDF)
    await sim.delete_file(found.identity)
    assert await fail(slack, found) == (Omission.GONE, False)


async def test_a_download_waits_for_the_connection(sim: SlackSim) -> None:
    with pytest.raises(AttachmentError) as error:
        await socket_adapter(sim).download(key(ids.GENERAL, "1.0"), {"file": "F1"}, limit=1)
    assert error.value.retry_after is not None


# ── files.info ────────────────────────────────────────────────────────────────────────────────
STUB = (*PDF, {"file_access": "check_file_info"})


async def test_a_file_of_another_workspace(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """With Slack Connect, the message contains neither the file's address nor its name."""
    found = await post(sim, inbox, STUB)
    assert (found.name, found.locator) == ("", {"file": found.identity})
    assert await get(slack, found) == Download(PDF[2], "application/pdf", "report.pdf")
    assert len(await sim.requests("/api/files.info")) == 1


@pytest.mark.parametrize(
    ("fields", "omission"),
    [
        ({"is_external": True, "mode": "external"}, Omission.NO_ACCESS),
        ({"url_private": None, "url_private_download": None}, Omission.NO_ACCESS),
        ({"mode": "hidden_by_limit"}, Omission.NO_ACCESS),
    ],
)
async def test_files_info_may_tell_that_a_file_cannot_be_read(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, fields: Any, omission: Omission
) -> None:
    found = await post(sim, inbox, (*PDF, STUB[3] | fields))
    assert await fail(slack, found) == (omission, False)


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ({"status": 503, "body": {}}, (Omission.UNREACHABLE, True)),
        (
            {"status": 429, "headers": {"Retry-After": "7"}, "body": {"ok": False}},
            (Omission.UNREACHABLE, True),
        ),
        ({"remove": ["file"]}, (Omission.UNREACHABLE, True)),
        ({"put": {"file.mode": 17, "file.id": None}}, (Omission.UNREACHABLE, True)),
        ({"body": {"ok": False, "error": "file_deleted"}}, (Omission.GONE, False)),
        ({"body": {"ok": False, "error": "access_denied"}}, (Omission.NO_ACCESS, False)),
        ({"body": {"ok": False, "error": "missing_scope"}}, (Omission.NO_ACCESS, False)),
        ({"body": {"ok": False, "error": "brand_new"}}, (Omission.NO_ACCESS, False)),
    ],
)
async def test_failures_of_files_info(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, fault: dict[str, Any], result: Any
) -> None:
    found = await post(sim, inbox, STUB)
    answer = {"status": 200} if "body" in fault else {}
    await sim.call("fault", match="/api/files.info", times=10, **(answer | fault))
    assert await fail(slack, found) == result


# ── transcripts ───────────────────────────────────────────────────────────────────────────────
async def test_a_voice_message_becomes_slacks_transcript(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """Slack finishes the transcript after it has sent the message."""
    found = await post(sim, inbox, VOICE)
    assert (found.is_voice, found.transcript) == (True, "")
    await sim.transcribe(found.identity, "could you call me")
    assert await get(slack, found) == Download(b"could you call me", "text/plain", "")
    assert await tokens(sim) == []


async def test_a_long_transcript_is_a_file(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    found = await post(sim, inbox, VOICE)
    await sim.transcribe(found.identity, "could", vtt=VTT)
    assert (await get(slack, found)).data == b"could you call me"
    await sim.downloads("sign_in", times=1)  # then the audio is better than nothing
    assert await get(slack, found) == Download(VOICE[2], "audio/mp4", "")


@pytest.mark.parametrize("status", ["none", "failed", "processing"])
async def test_without_a_transcript_the_audio_is_downloaded(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, status: str
) -> None:
    found = await post(sim, inbox, VOICE)
    await sim.transcribe(found.identity, status=status)
    assert await get(slack, found) == Download(VOICE[2], "audio/mp4", "")


async def test_failing_looks_for_a_transcript_do_not_lose_the_audio(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    found = await post(sim, inbox, VOICE)
    await sim.call("fault", match="/api/files.info", status=503, body={}, times=10)
    assert (await get(slack, found)).data == VOICE[2]
