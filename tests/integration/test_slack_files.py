"""Long code in Slack: a file in the thread, found again by its name."""

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
from tests.support.replies import frame_of
from tests.support.slack_kit import FakeInbox, claim, running

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


async def asked(sim: SlackSim) -> str:
    return await sim.say(ids.ALICE, CHANNEL, "a question", mention=True)


def frame(surface: Any, text: str = REPLY, *, final: bool = True) -> Frame:
    document = Document(surface.renderer, surface.files)
    document.write(text)
    if final:
        document.finish()
    return frame_of(document)


async def show(surface: Any, shown: Shown, wanted: Frame) -> Shown:
    """Do what the publisher does: plan and perform until nothing is left."""
    while (request := surface.plan(shown, wanted)) is not None:
        shown = await surface.perform(request, shown)
    return shown


async def ours(sim: SlackSim, root: str) -> list[dict[str, Any]]:
    return [one for one in await sim.thread(CHANNEL, root) if one.get("bot_id") == ids.BOT]


async def files(sim: SlackSim, root: str) -> list[tuple[str, bytes]]:
    return [
        (file["title"], await sim.file(file))
        for message in await ours(sim, root)
        for file in message.get("files", ())
    ]


def records(shown: Shown, *, lost: Sequence[int] = ()) -> list[PageRecord]:
    return [
        PageRecord(page.number, None if page.number in lost else page.message_id, CHANNEL)
        for page in shown.pages
    ]


async def count(sim: SlackSim, method: str) -> int:
    return len(await sim.requests(method))


async def test_long_code_is_a_file_between_its_beginning_and_what_follows(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """It appears a moment after Slack has taken it, and only then the rest is posted."""
    await sim.uploads(seconds=0.3)
    root = await asked(sim)
    surface = slack.surface(claim(CHANNEL, root))
    shown = await show(surface, Shown(), frame(surface, REPLY[:20_000], final=False))
    assert len(shown.pages) > 1
    document = Document(surface.renderer, surface.files)
    document.write(REPLY)
    document.controls = (Control.RETRY,)
    document.finish()
    shown = await show(surface, shown, frame_of(document))
    first, second, third = await ours(sim, root)
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
async def test_a_file_with_this_content_is_left_alone(
    sim: SlackSim, slack: SlackAdapter, lost: tuple[int, ...]
) -> None:
    """Whether the ledger knows its message or not: its name tells page and content."""
    root = await asked(sim)
    surface = slack.surface(claim(CHANNEL, root))
    shown = await show(surface, Shown(), frame(surface))
    again = slack.surface(claim(CHANNEL, root))
    await show(again, await again.recover(records(shown, lost=lost)), frame(again))
    assert [one["ts"] for one in await ours(sim, root)] == [p.message_id for p in shown.pages]
    assert await count(sim, "files.completeUploadExternal") == 1


async def test_another_content_takes_its_place_in_order(sim: SlackSim, slack: SlackAdapter) -> None:
    """The old file goes, from the workspace too, and what was below it comes again below."""
    root = await asked(sim)
    surface = slack.surface(claim(CHANNEL, root))
    shown = await show(surface, Shown(), frame(surface))
    again = slack.surface(claim(CHANNEL, root))
    other = REPLY.replace("line_7 ", "other ")
    await show(again, await again.recover(records(shown)), frame(again, other))
    texts = [one["text"] for one in await ours(sim, root)]
    assert [text[:12] for text in texts] == ["Here it is:\n", "`code.py`, 9", "Run it."]
    assert await files(sim, root) == [("code.py", CODE.replace("line_7 ", "other ").encode())]
    kept = [file for file in (await sim.state())["files"].values() if file["mode"] == "hosted"]
    assert len(kept) == 1


async def test_text_where_a_file_was(sim: SlackSim, slack: SlackAdapter) -> None:
    root = await asked(sim)
    surface = slack.surface(claim(CHANNEL, root))
    shown = await show(surface, Shown(), frame(surface))
    again = slack.surface(claim(CHANNEL, root))
    prose = "\n\n".join(["A paragraph of many words. " * 100] * 8)
    await show(again, await again.recover(records(shown)), frame(again, prose))
    assert await files(sim, root) == []
    assert len(await ours(sim, root)) == len(frame(again, prose).pages)


async def sharing(
    sim: SlackSim, slack: SlackAdapter, root: str, *, seconds: float
) -> tuple[Any, Shown]:
    """A reply whose file was taken, with an answer that was lost; it appears after `seconds`."""
    surface = slack.surface(claim(CHANNEL, root))
    wanted = frame(surface)
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    await sim.uploads(seconds=seconds)
    await sim.call("fault", match="files.completeUploadExternal", drop=True, after=True)
    with pytest.raises(Unsettled):
        await surface.perform(surface.plan(shown, wanted), shown)
    return surface, shown


async def test_a_lost_answer_makes_no_second_file(sim: SlackSim, slack: SlackAdapter) -> None:
    """It is completed once: the thread is read until the message is there."""
    root = await asked(sim)
    surface, shown = await sharing(sim, slack, root, seconds=0.4)
    found = await surface.recover([PageRecord(1, None)])
    assert 1 not in [page.number for page in found.pages]  # not there yet
    await show(surface, shown, frame(surface))
    assert await files(sim, root) == [("code.py", CODE.encode())]
    assert await count(sim, "files.completeUploadExternal") == 1


async def test_a_file_that_appears_after_the_restart_is_the_only_one(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The process died between Slack's yes and the message."""
    root = await asked(sim)
    _, shown = await sharing(sim, slack, root, seconds=0.6)
    again = slack.surface(claim(CHANNEL, root))
    found = await again.recover([*records(shown), PageRecord(1, None)])
    await show(again, found, frame(again))
    assert await files(sim, root) == [("code.py", CODE.encode())]
    assert len(await ours(sim, root)) == 3


async def test_an_earlier_texts_file_that_appears_late_goes(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """It is this page's by its name, and not what it should hold."""
    root = await asked(sim)
    _, shown = await sharing(sim, slack, root, seconds=0.6)
    again = slack.surface(claim(CHANNEL, root))
    found = await again.recover([*records(shown), PageRecord(1, None)])
    other = REPLY.replace("line_7 ", "other ")
    await show(again, found, frame(again, other))
    assert await files(sim, root) == [("code.py", CODE.replace("line_7 ", "other ").encode())]


# ── refusals ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("how", ["scope", "forbidden", "upload"])
async def test_a_file_that_is_refused_is_text(sim: SlackSim, slack: SlackAdapter, how: str) -> None:
    """The reply goes on, and the channel is left alone with files for a while."""
    root = await asked(sim)
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
    document.without_files()
    await show(surface, shown, frame_of(document))
    text = "".join(one["shown"] for one in await ours(sim, root))
    assert all(f"line_{number} = {number} " in text for number in range(900))
    assert "in the file below" not in text
    assert slack.surface(claim(CHANNEL, root)).files is None


async def test_a_file_lands_nowhere_when_its_thread_is_gone(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Neither before it goes up, nor when the question is deleted meanwhile."""
    root = await asked(sim)
    surface = slack.surface(claim(CHANNEL, root))
    wanted = frame(surface)
    shown = await surface.perform(surface.plan(Shown(), wanted), Shown())
    await sim.delete(CHANNEL, shown.pages[0].message_id)
    await sim.delete(CHANNEL, root)
    with pytest.raises(Gone):
        await surface.perform(surface.plan(shown, wanted), shown)
    assert await count(sim, "files.getUploadURLExternal") == 0


def test_names_tell_turn_page_and_content() -> None:
    """One for each of them, with the ending that the plain name has."""
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
