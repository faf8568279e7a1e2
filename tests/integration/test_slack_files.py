"""Long code becomes a file in the thread, which is found again by its name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.files import upload_name
from bot.domain.errors import FilesRefused, Gone, Unsettled
from bot.domain.replies import Control, File, Frame, Shown
from bot.domain.turns import PageRecord
from bot.replies.paging.document import Document
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.replies import frame_of
from tests.support.slack_kit import claim, running

CODE = "".join(f"line_{number} = {number}  # <!channel> & <@{ids.BOB}>\n" for number in range(900))
REPLY = f"Here it is:\n\n```python\n{CODE}```\n\nRun it."
CHANNEL = ids.GENERAL


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        await sim.limits(enabled=False)
        yield sim


@pytest.fixture
async def slack(sim: SlackSim) -> AsyncIterator[SlackAdapter]:
    async with running(sim, FakeInbox(), file_from_messages=3) as adapter:
        yield adapter


async def ask(sim: SlackSim) -> str:
    return await sim.say(ids.ALICE, CHANNEL, "a question", mention=True)


def frame(surface: Any, text: str = REPLY, *, final: bool = True) -> Frame:
    document = Document(surface.renderer, surface.files)
    document.write(text)
    if final:
        document.finish()
    return frame_of(document)


async def show(surface: Any, shown: Shown, wanted: Frame) -> Shown:
    """Plan and perform requests until none is left, as the publisher does."""
    while (request := surface.plan(shown, wanted)) is not None:
        shown = await surface.perform(request, shown)
    return shown


async def own_messages(sim: SlackSim, root: str) -> list[dict[str, Any]]:
    return [one for one in await sim.thread(CHANNEL, root) if one.get("bot_id") == ids.BOT]


async def files(sim: SlackSim, root: str) -> list[tuple[str, bytes]]:
    return [
        (file["title"], await sim.file(file))
        for message in await own_messages(sim, root)
        for file in message.get("files", ())
    ]


def records(shown: Shown, *, lost: Sequence[int] = ()) -> list[PageRecord]:
    return [
        PageRecord(page.number, None if page.number in lost else page.message_id, CHANNEL)
        for page in shown.pages
    ]


async def request_count(sim: SlackSim, method: str) -> int:
    return len(await sim.requests(method))


async def test_long_code_becomes_a_file_between_the_pages_around_it(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Slack shows the file with a delay, and the next page is posted only after that."""
    await sim.uploads(seconds=0.3)
    root = await ask(sim)
    surface = slack.surface(claim(CHANNEL, root))
    shown = await show(surface, Shown(), frame(surface, REPLY[:20_000], final=False))
    assert len(shown.pages) > 1
    document = Document(surface.renderer, surface.files)
    document.write(REPLY)
    document.controls = (Control.RETRY,)
    document.finish()
    shown = await show(surface, shown, frame_of(document))
    first, second, third = await own_messages(sim, root)
    assert "_That is how it begins: all of it, 900 lines, is in the file below._" in first["shown"]
    assert second["text"] == "`code.py`, 900 lines"
    assert second["pings"] == []
    assert third["blocks"][0]["text"] == "Run it."
    assert third["blocks"][1]["type"] == "actions"
    assert await files(sim, root) == [("code.py", CODE.encode())]
    assert shown.pages[1].message_id == second["ts"]


async def test_a_file_in_a_direct_message(sim: SlackSim, slack: SlackAdapter) -> None:
    root = await sim.say(ids.ALICE, ids.DM_ALICE, "a question")
    surface = slack.surface(claim(ids.DM_ALICE, root))
    await show(surface, Shown(), frame(surface))
    shared = [m for m in await sim.thread(ids.DM_ALICE, root) if m.get("files")]
    assert [file["title"] for file in shared[0]["files"]] == ["code.py"]


# ── after a crash ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("lost", [(), (1,), (1, 2)])
async def test_a_file_with_the_right_content_is_kept(
    sim: SlackSim, slack: SlackAdapter, lost: tuple[int, ...]
) -> None:
    """The file's name identifies its page and content, even if the ledger does not know its
    message."""
    root = await ask(sim)
    surface = slack.surface(claim(CHANNEL, root))
    shown = await show(surface, Shown(), frame(surface))
    again = slack.surface(claim(CHANNEL, root))
    await show(again, await again.recover(records(shown, lost=lost)), frame(again))
    assert [one["ts"] for one in await own_messages(sim, root)] == [
        p.message_id for p in shown.pages
    ]
    assert await request_count(sim, "files.completeUploadExternal") == 1


async def test_changed_code_replaces_the_file_and_the_pages_below(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The old file is deleted from the workspace, and the pages below it are posted again."""
    root = await ask(sim)
    surface = slack.surface(claim(CHANNEL, root))
    shown = await show(surface, Shown(), frame(surface))
    again = slack.surface(claim(CHANNEL, root))
    other = REPLY.replace("line_7 ", "other ")
    await show(again, await again.recover(records(shown)), frame(again, other))
    texts = [one["text"] for one in await own_messages(sim, root)]
    assert [text[:12] for text in texts] == ["Here it is:\n", "`code.py`, 9", "Run it."]
    assert await files(sim, root) == [("code.py", CODE.replace("line_7 ", "other ").encode())]
    kept = [file for file in (await sim.state())["files"].values() if file["mode"] == "hosted"]
    assert len(kept) == 1


async def test_text_replaces_a_file(sim: SlackSim, slack: SlackAdapter) -> None:
    root = await ask(sim)
    surface = slack.surface(claim(CHANNEL, root))
    shown = await show(surface, Shown(), frame(surface))
    again = slack.surface(claim(CHANNEL, root))
    prose = "\n\n".join(["A paragraph of many words. " * 100] * 8)
    await show(again, await again.recover(records(shown)), frame(again, prose))
    assert await files(sim, root) == []
    assert len(await own_messages(sim, root)) == len(frame(again, prose).pages)


async def share_unconfirmed(
    sim: SlackSim, slack: SlackAdapter, root: str, *, seconds: float
) -> tuple[Any, Shown]:
    """A reply whose file Slack shares after `seconds`, although the response was lost."""
    surface = slack.surface(claim(CHANNEL, root))
    wanted = frame(surface)
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    await sim.uploads(seconds=seconds)
    await sim.call("fault", match="files.completeUploadExternal", drop=True, after=True)
    with pytest.raises(Unsettled):
        await surface.perform(surface.plan(shown, wanted), shown)
    return surface, shown


async def test_a_lost_response_causes_no_second_file(sim: SlackSim, slack: SlackAdapter) -> None:
    """The upload is completed once; then the thread is read until the message appears."""
    root = await ask(sim)
    surface, shown = await share_unconfirmed(sim, slack, root, seconds=0.4)
    found = await surface.recover([PageRecord(1, None)])
    assert 1 not in [page.number for page in found.pages]  # not shown yet
    await show(surface, shown, frame(surface))
    assert await files(sim, root) == [("code.py", CODE.encode())]
    assert await request_count(sim, "files.completeUploadExternal") == 1


async def test_a_file_that_appears_after_a_restart_is_not_duplicated(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The process died after Slack accepted the file and before it showed the message."""
    root = await ask(sim)
    _, shown = await share_unconfirmed(sim, slack, root, seconds=0.6)
    again = slack.surface(claim(CHANNEL, root))
    found = await again.recover([*records(shown), PageRecord(1, None)])
    await show(again, found, frame(again))
    assert await files(sim, root) == [("code.py", CODE.encode())]
    assert len(await own_messages(sim, root)) == 3


async def test_a_late_file_with_outdated_content_is_deleted(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Its name has the right page but the wrong digest."""
    root = await ask(sim)
    _, shown = await share_unconfirmed(sim, slack, root, seconds=0.6)
    again = slack.surface(claim(CHANNEL, root))
    found = await again.recover([*records(shown), PageRecord(1, None)])
    other = REPLY.replace("line_7 ", "other ")
    await show(again, found, frame(again, other))
    assert await files(sim, root) == [("code.py", CODE.replace("line_7 ", "other ").encode())]


# ── refusals ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("how", ["scope", "forbidden", "upload"])
async def test_a_refused_file_becomes_text(sim: SlackSim, slack: SlackAdapter, how: str) -> None:
    """The reply continues, and the channel gets no files for some minutes."""
    root = await ask(sim)
    surface = slack.surface(claim(CHANNEL, root))
    document = Document(surface.renderer, surface.files)
    document.write(REPLY)
    document.finish()
    shown = await surface.perform(surface.plan(Shown(), frame_of(document)), Shown())
    if how == "scope":
        await sim.scopes([scope for scope in ids.SCOPES if scope != "files:write"])
    elif how == "forbidden":
        await sim.uploads(allowed=False)
    else:
        await sim.call("fault", match="POST /upload/", status=400)
    with pytest.raises(FilesRefused):
        await surface.perform(surface.plan(shown, frame_of(document)), shown)
    document.disable_files()
    await show(surface, shown, frame_of(document))
    text = "".join(one["shown"] for one in await own_messages(sim, root))
    assert all(f"line_{number} = {number} " in text for number in range(900))
    assert "in the file below" not in text
    assert slack.surface(claim(CHANNEL, root)).files is None


async def test_no_file_is_left_when_the_thread_is_deleted(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The question may be deleted before the upload or during it."""
    root = await ask(sim)
    surface = slack.surface(claim(CHANNEL, root))
    wanted = frame(surface)
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    await sim.delete(CHANNEL, shown.pages[0].message_id)
    await sim.delete(CHANNEL, root)
    with pytest.raises(Gone):
        await surface.perform(surface.plan(shown, wanted), shown)
    assert await request_count(sim, "files.getUploadURLExternal") == 0


def test_upload_names_identify_turn_page_and_content() -> None:
    """Each has a different name, with the original extension."""
    names = {
        upload_name(turn, page, File(name, text))
        for turn in (1, 2)
        for page in (1, 2)
        for name in ("code.py", "app.test.js")
        for text in ("a", "b")
    }
    assert len(names) == 16
    assert all(name.endswith((".py", ".js")) for name in names)
    assert upload_name(7, 1, File("code.py", "a")).startswith("code-7-1-")
