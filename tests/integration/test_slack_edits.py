"""Edits, deletions and lost channels over Socket Mode: which of them reach the core."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from bot.domain.errors import Gone
from bot.domain.inbox import CommandReply
from bot.domain.replies import Control, Frame, Page, Shown
from bot.domain.turns import PageRecord
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import claim, key, running, until


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
async def slack(sim: SlackSim, inbox: FakeInbox) -> AsyncIterator[SlackAdapter]:
    async with running(sim, inbox) as adapter:
        yield adapter


def source(channel: str, ts: str) -> str:
    return f"slack/{ids.TEAM}/{channel}/{ts}"


def frame(*texts: str, final: bool = False, controls: tuple[Control, ...] = ()) -> Frame:
    last = len(texts) - 1
    pages = [Page(text, text, i, i + 1, final or i < last) for i, text in enumerate(texts)]
    return Frame(tuple(pages), final, controls)


async def show(surface: Any, shown: Shown, wanted: Frame) -> Shown:
    while (request := surface.plan(shown, wanted)) is not None:
        shown = await surface.perform(request, shown)
    return shown


async def wait_until_caught_up(sim: SlackSim, inbox: FakeInbox) -> None:
    """Wait until everything sent before has been handled."""

    async def nothing_pending() -> bool:
        return (await sim.state())["pending"] == 0

    await sim.until(nothing_pending)
    last = await sim.say(ids.ALICE, ids.GENERAL, "the last", mention=True)
    await until(lambda: source(ids.GENERAL, last) in inbox.conversations)


async def ask(sim: SlackSim, inbox: FakeInbox, text: str = "frist") -> str:
    ts = await sim.say(ids.ALICE, ids.GENERAL, text, mention=True)
    await until(lambda: source(ids.GENERAL, ts) in inbox.conversations)
    return ts


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
async def test_an_edit_has_the_new_text_and_its_time(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """Slack also sends another app_mention for an edited mention, which has no effect."""
    ts = await ask(sim, inbox)
    edited = await sim.edit(ids.GENERAL, ts, "first &amp; <b>", mention=True, raw=True)
    await wait_until_caught_up(sim, inbox)
    [(after, edited_at)] = inbox.edits
    assert (after.source, after.text) == (source(ids.GENERAL, ts), "first & <b>")
    assert after.address is inbox.received[0].address
    assert abs(edited_at - float(edited)) < 0.001
    assert [message.text for message in inbox.received] == ["frist", "the last"]


async def test_edits_in_a_thread_and_in_a_direct_message(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    root = await ask(sim, inbox)
    follow_up = await sim.say(ids.BOB, ids.GENERAL, "so", thread_ts=root)
    direct = await sim.say(ids.ALICE, ids.DM_ALICE, "hello")
    await sim.edit(ids.GENERAL, follow_up, "so what?")
    await sim.edit(ids.DM_ALICE, direct, "hello there")
    await until(lambda: len(inbox.edits) == 2)
    found = {edit.source: (edit.text, edit.key.thread) for edit, _ in inbox.edits}
    assert found == {
        source(ids.GENERAL, follow_up): ("so what?", root),
        source(ids.DM_ALICE, direct): ("hello there", direct),
    }


async def test_previews_replies_and_the_bots_own_edits_are_ignored(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    ts = await ask(sim, inbox)
    await sim.unfurl(ids.GENERAL, ts)
    surface = slack.surface(claim(ids.GENERAL, ts))
    shown = await show(surface, Shown(), frame("One"))
    await show(surface, shown, frame("One two", final=True))
    await surface.close()
    await wait_until_caught_up(sim, inbox)
    assert inbox.edits == []


async def test_edits_count_without_the_mention_but_only_in_known_messages(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    ts = await ask(sim, inbox)
    stranger = await sim.say(ids.BOB, ids.GENERAL, "lunch?")
    await sim.edit(ids.GENERAL, stranger, "dinner?")
    await sim.edit(ids.GENERAL, ts, "never mind")
    await until(lambda: inbox.edits)
    assert [(edit.text, edit.address.begins) for edit, _ in inbox.edits] == [("never mind", False)]


async def test_edits_of_bots_messages_are_ignored(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    ts = await sim.say(ids.OTHER_BOT_USER, ids.GENERAL, "hello", mention=True)
    await sim.edit(ids.GENERAL, ts, "hello again", mention=True)
    await wait_until_caught_up(sim, inbox)
    assert inbox.edits == []
    assert [message.text for message in inbox.received] == ["the last"]


async def test_an_edit_that_could_not_be_stored_is_redelivered(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await sim.delivery(retry_scale=0.01)
    ts = await ask(sim, inbox)
    inbox.failures = 1
    await sim.edit(ids.GENERAL, ts, "first")
    await until(lambda: inbox.edits)


# ── deletions ─────────────────────────────────────────────────────────────────────────────────
async def test_deletions_of_questions_and_replies_are_reported(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """Slack "changes" a question with replies into a tombstone."""
    root = await ask(sim, inbox)
    alone = await ask(sim, inbox)
    surface = slack.surface(claim(ids.GENERAL, root))
    shown = await show(surface, Shown(), frame("An answer", final=True))
    await surface.close()
    page = shown.pages[0].message_id
    for ts in (alone, root):
        await sim.delete(ids.GENERAL, ts)
        await until(lambda ts=ts: source(ids.GENERAL, ts) in inbox.deletions)
    await sim.delete(ids.GENERAL, page)
    await until(lambda: source(ids.GENERAL, page) in inbox.deletions)
    assert inbox.edits == []


async def test_pages_that_the_bot_removes_are_not_reported(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    surface = slack.surface(claim(ids.GENERAL, await ask(sim, inbox)))
    shown = await show(surface, Shown(), frame("one", "two", "three", final=True))
    await show(surface, shown, frame("one", final=True))
    await surface.close()
    await wait_until_caught_up(sim, inbox)
    assert inbox.deletions == []


async def test_a_reply_to_a_deleted_root_is_removed_from_the_channel(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    """Slack posts it into the channel; the only sign is a field missing from the response."""
    ts = await ask(sim, inbox)
    await sim.delete(ids.GENERAL, ts)
    surface = slack.surface(claim(ids.GENERAL, ts))
    with pytest.raises(Gone):
        await show(surface, Shown(), frame("An answer"))
    await surface.close()
    assert [m for m in await sim.channel(ids.GENERAL) if m.get("bot_id") == ids.BOT] == []
    await wait_until_caught_up(sim, inbox)
    assert inbox.deletions == [source(ids.GENERAL, ts)]


# ── channels ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("how", ["removed", "archived"])
async def test_a_channel_without_write_access_is_gone(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, how: str
) -> None:
    surface = slack.surface(claim(ids.GENERAL, await ask(sim, inbox)))
    shown = await show(surface, Shown(), frame("Begun"))
    if how == "removed":
        await sim.remove_from_channel(ids.GENERAL)
    else:
        await sim.archive(ids.GENERAL)
    await until(lambda: key(ids.GENERAL, "") in inbox.gone_keys)
    with pytest.raises(Gone):
        await show(surface, shown, frame("Begun and ended", final=True))
    await surface.close()


async def test_another_member_who_leaves_changes_nothing(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    await sim.remove_from_channel(ids.GENERAL, ids.BOB)
    await wait_until_caught_up(sim, inbox)
    assert inbox.gone_keys == []


@pytest.mark.parametrize("uninstall", [False, True])
async def test_a_workspace_that_removes_the_app_is_gone(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter, uninstall: bool
) -> None:
    await sim.revoke(uninstall=uninstall)
    await until(lambda: inbox.gone_keys)
    assert set(inbox.gone_keys) == {key("", "")}
    assert not slack.health().ok


# ── buttons ───────────────────────────────────────────────────────────────────────────────────
async def test_a_button_names_its_turn_and_an_empty_reply_shows_nothing(
    sim: SlackSim, inbox: FakeInbox
) -> None:
    """A button has no state in memory, so it works after a restart."""
    both = (Control.RETRY, Control.CONTINUE)
    async with running(sim, inbox) as slack:
        ts = await ask(sim, inbox)
        surface = slack.surface(claim(ids.GENERAL, ts, turn=42))
        shown = await show(surface, Shown(), frame("Half", final=True, controls=both))
        await surface.close()
    page = shown.pages[0].message_id
    inbox.answer = CommandReply("")
    inbox.connections = 0
    async with running(sim, inbox):
        for control in both:
            result = await sim.click(ids.BOB, ids.GENERAL, page, f"threadline_{control.value}")
            assert result["acked"]
        inbox.answer = CommandReply("Too late.")
        await sim.click(ids.BOB, ids.GENERAL, page, "threadline_retry")

        async def is_shown() -> bool:
            return any("Too late." in m["shown"] for m in await sim.ephemeral(ids.BOB))

        await sim.until(is_shown)
        assert len(await sim.ephemeral(ids.BOB)) == 1
    assert [(x.name, x.argument) for x in inbox.commands[:2]] == [
        ("retry", "42"),
        ("continue", "42"),
    ]
    assert inbox.commands[0].key == key(ids.GENERAL, ts)


async def test_a_retry_edits_the_page_in_place(
    sim: SlackSim, inbox: FakeInbox, slack: SlackAdapter
) -> None:
    ts = await ask(sim, inbox)
    first = slack.surface(claim(ids.GENERAL, ts))
    shown = await show(first, Shown(), frame("Old", final=True, controls=(Control.RETRY,)))
    await first.close()
    page = shown.pages[0].message_id
    pages = (PageRecord(0, page, ids.GENERAL),)
    second = slack.surface(claim(ids.GENERAL, ts, pages=pages))
    found = await second.recover(pages)
    await show(second, found, frame("New", final=True, controls=(Control.RETRY,)))
    await second.close()
    _, reply = await sim.thread(ids.GENERAL, ts)
    assert (reply["ts"], reply["blocks"][0]["text"]) == (page, "New")
