"""A reply in Slack: where it is posted, its form, and how it is found again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.blocks import identity
from bot.domain.errors import Gone, Refused, Throttled, Unsettled
from bot.domain.replies import Action, Control, Frame, Page, Request, Shown
from bot.domain.turns import Outcome, PageRecord, TurnResult
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.slack_kit import claim, running

ANSWERED = TurnResult(outcome=Outcome.ANSWERED, content="hello", display="hello")


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
async def slack(sim: SlackSim) -> AsyncIterator[SlackAdapter]:
    async with running(sim, FakeInbox()) as adapter:
        yield adapter


def frame(*texts: str, final: bool = False, controls: tuple[Control, ...] = ()) -> Frame:
    last = len(texts) - 1
    pages = [Page(text, text, i, i + 1, final or i < last) for i, text in enumerate(texts)]
    return Frame(tuple(pages), final, controls)


async def show(surface: Any, shown: Shown, wanted: Frame) -> Shown:
    """Plan and perform requests until none is left, as the publisher does."""
    while (request := surface.plan(shown, wanted)) is not None:
        shown = await surface.perform(request, shown)
    return shown


async def ask(sim: SlackSim, channel: str = ids.GENERAL) -> str:
    return await sim.say(ids.ALICE, channel, "a question", mention=channel != ids.DM_ALICE)


@pytest.mark.parametrize("channel", [ids.GENERAL, ids.PRIVATE, ids.DM_ALICE])
async def test_a_reply_grows_in_one_message_of_the_thread(
    sim: SlackSim, slack: SlackAdapter, channel: str
) -> None:
    ts = await ask(sim, channel)
    surface = slack.surface(claim(channel, ts))
    shown = Shown()
    for text in ("# Hello", "# Hello\n\n**wor", "# Hello\n\n**world** & <b>"):
        shown = await show(surface, shown, frame(text))
    await show(surface, shown, frame("# Hello\n\n**world** & <b>", final=True))
    _, reply = await sim.thread(channel, ts)
    assert reply["thread_ts"] == ts
    assert reply["blocks"][0]["type"] == "markdown"
    shown_as = "# Hello\n\n**world** & <\u200bb>"  # or Slack would read it as a tag
    assert reply["blocks"][0]["text"] == shown_as
    assert reply["text"] == "*Hello*\n\n*world* &amp; &lt;b&gt;"
    assert [one["how"] for one in reply["versions"]] == ["post", "update", "update"]


async def test_no_text_notifies_anyone_and_no_link_shows_a_preview(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """This holds for posts and edits, even if a mention is split over several edits."""
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    text = f"<!channel> <@{ids.BOB}> @here `<!here>` [x](<!everyone>) https://example.com/page"
    shown = Shown()
    for end in (12, 20, 40, len(text)):
        shown = await show(surface, shown, frame(text[:end]))
    _, reply = await sim.thread(ids.GENERAL, ts)
    assert all(one["pings"] == [] and one["previews"] == [] for one in reply["versions"])
    assert "channel>" in reply["shown"]


async def test_slack_accepts_a_page_of_maximum_length(sim: SlackSim, slack: SlackAdapter) -> None:
    """Posting and editing have different limits."""
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    most = surface.renderer.limit
    shown = await show(surface, Shown(), frame("é& <" * (most // 4)))
    assert surface.renderer.measure("é& <" * (most // 4)) == most
    await show(surface, shown, frame("<&" * (most // 2), "second", final=True))
    _, first, second = await sim.thread(ids.GENERAL, ts)
    assert len(first["text"]) <= 4_000
    assert len(first["blocks"][0]["text"]) == most
    assert second["shown"] == "second"


async def test_unneeded_pages_are_removed(sim: SlackSim, slack: SlackAdapter) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    shown = await show(surface, Shown(), frame("one", "two"))
    shown = await show(surface, shown, frame("only one", final=True))
    assert [one["shown"] for one in (await sim.thread(ids.GENERAL, ts))[1:]] == ["only one"]
    gone = Request(Action.REMOVE, 1, ("chat.delete",), message_id="1700000000.000001")
    assert await surface.perform(gone, shown)  # someone else deleted it first


async def test_a_growing_reply_has_a_stop_button(sim: SlackSim, slack: SlackAdapter) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts, turn=42))
    shown = await show(surface, Shown(), frame("text", controls=(Control.STOP,)))
    _, reply = await sim.thread(ids.GENERAL, ts)
    (button,) = reply["blocks"][1]["elements"]
    assert (button["action_id"], button["value"]) == ("threadline_stop", '{"t":42}')
    await show(surface, shown, frame("text", final=True))
    _, reply = await sim.thread(ids.GENERAL, ts)
    assert [block["type"] for block in reply["blocks"]] == ["markdown"]


async def test_a_reply_to_a_deleted_root_leaves_nothing_in_the_channel(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Slack posts it into the channel, and a missing thread_ts is the only sign."""
    ts = await ask(sim)
    await sim.delete(ids.GENERAL, ts)
    surface = slack.surface(claim(ids.GENERAL, ts))
    with pytest.raises(Gone, match="deleted"):
        await show(surface, Shown(), frame("too late"))
    assert await sim.channel(ids.GENERAL) == []


async def test_pages_are_found_again_by_their_turn_and_page(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """A page may have been posted although its ts was lost."""
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts, turn=7))
    other = slack.surface(claim(ids.GENERAL, ts, turn=6))
    await show(other, Shown(), frame("an older reply", final=True))
    shown = await show(surface, Shown(), frame("one", "two"))
    known, lost = shown.pages
    again = slack.surface(claim(ids.GENERAL, ts, turn=7))
    found = await again.recover(
        [PageRecord(0, known.message_id, ids.GENERAL), PageRecord(1, None), PageRecord(2, None)]
    )
    assert {page.number: page.message_id for page in found.pages} == {
        0: known.message_id,
        1: lost.message_id,
    }
    await show(again, found, frame("ONE", final=True))
    texts = [one["shown"] for one in (await sim.thread(ids.GENERAL, ts))[1:]]
    assert texts == ["an older reply", "ONE"]


async def test_a_duplicate_page_is_removed(sim: SlackSim, slack: SlackAdapter) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    await show(surface, Shown(), frame("twice"))
    await show(surface, Shown(), frame("twice"))
    found = await surface.recover([PageRecord(0, None)])
    assert len(found.pages) == 1
    assert len(await sim.thread(ids.GENERAL, ts)) == 2


async def test_an_open_stream_is_closed_and_becomes_the_page(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Slack accepts no edit of an open stream."""
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts, turn=9))
    await surface._api.write(
        "chat.startStream",
        channel=ids.GENERAL,
        thread_ts=ts,
        recipient_user_id=ids.ALICE,
        recipient_team_id=ids.TEAM,
        markdown_text="half a",
    )
    found = await surface.recover([PageRecord(0, None)])
    assert (await sim.state())["streaming"] == []
    await show(surface, found, frame("a whole answer", final=True))
    _, reply = await sim.thread(ids.GENERAL, ts)
    assert reply["shown"] == "a whole answer"
    assert reply["metadata"] == identity(9, 0)


async def test_recovery_reads_nothing_when_every_page_is_known(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    await surface.recover([PageRecord(0, "1700000000.000001", ids.GENERAL)])
    assert await sim.requests("conversations.replies") == []


FAULTS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"status": 429, "body": {"ok": False, "error": "ratelimited"}}, Throttled),
    ({"status": 200, "body": {"ok": False, "error": "channel_not_found"}}, Gone),
    # auth.test accepts the token, so the refusal was a mistake.
    ({"status": 200, "body": {"ok": False, "error": "token_revoked"}}, Unsettled),
    ({"status": 200, "body": {"ok": False, "error": "msg_too_long"}}, Refused),
    ({"status": 200, "body": {"ok": False, "error": "invalid_blocks"}}, Refused),
    ({"status": 200, "body": {"ok": False, "error": "internal_error"}}, Unsettled),
    ({"status": 503}, Unsettled),
    ({"drop": True}, Unsettled),
    ({"drop": True, "after": True}, Unsettled),
]


async def test_slacks_failures_are_translated(sim: SlackSim, slack: SlackAdapter) -> None:
    """No request is resent automatically, because the text could appear twice."""
    for number, (fault, error) in enumerate(FAULTS, 1):
        surface = slack.surface(claim(ids.GENERAL, await ask(sim)))
        await sim.call("fault", match="chat.postMessage", **fault)
        with pytest.raises(error):
            await show(surface, Shown(), frame(f"{fault}"))
        assert len(await sim.requests("chat.postMessage")) == number


async def test_a_429_has_its_scopes_and_the_seconds_to_wait(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    headers = {"Retry-After": "7"}
    await sim.call("fault", match="chat.postMessage", status=429, headers=headers)
    with pytest.raises(Throttled) as caught:
        await show(surface, Shown(), frame("hello"))
    assert caught.value.retry_after == 7
    # The channel's rate limit, not the workspace's.
    assert caught.value.scopes == (f"chat.postMessage:{ids.GENERAL}",)


async def test_an_edit_of_a_deleted_reply_raises_gone(sim: SlackSim, slack: SlackAdapter) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    shown = await show(surface, Shown(), frame("hello"))
    await sim.delete(ids.GENERAL, shown.pages[0].message_id)
    with pytest.raises(Gone, match="message_not_found"):
        await show(surface, shown, frame("hello again"))


async def thinking(sim: SlackSim) -> Any:
    """The statuses, once one is set."""

    async def statuses() -> Any:
        state = await sim.state()
        return state["statuses"] + state["sessions"]

    return await sim.until(statuses)


@pytest.mark.parametrize("channel", [ids.GENERAL, ids.DM_ALICE])
async def test_the_session_is_processing_while_the_turn_runs(
    sim: SlackSim, slack: SlackAdapter, channel: str
) -> None:
    """Slack shows its stop button during the turn; after it, the session is always active again."""
    surface = slack.surface(claim(channel, await ask(sim, channel)))
    await surface.open()
    (session,) = await thinking(sim)
    assert session["status"] == "processing"
    await surface.close()
    (session,) = (await sim.state())["sessions"]
    assert session["status"] == "active"


async def test_a_dead_processs_status_is_cleared(sim: SlackSim, slack: SlackAdapter) -> None:
    """The status is cleared even if the turn already has its result."""
    ts = await ask(sim)
    dead = slack.surface(claim(ids.GENERAL, ts))
    await dead.open()
    await thinking(sim)
    again = claim(ids.GENERAL, ts)
    again = replace(again, fence=replace(again.fence, attempt=2), result=ANSWERED)
    surface = slack.surface(again)
    await surface.open()
    await surface.close()
    (session,) = (await sim.state())["sessions"]
    assert session["status"] == "active"
    await dead.close()


async def test_a_dead_processs_status_is_cleared_even_if_slack_throttles(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """No new status can be set, but the old one is still cleared."""
    ts = await ask(sim)
    dead = slack.surface(claim(ids.GENERAL, ts))
    await dead.open()
    await thinking(sim)
    again = claim(ids.GENERAL, ts)
    surface = slack.surface(replace(again, fence=replace(again.fence, attempt=2)))
    busy = {"status": 429, "body": {"ok": False, "error": "ratelimited"}}
    await sim.call("fault", match="sessions", times=1, headers={"Retry-After": "1"}, **busy)
    await surface.open()
    await sim.until(lambda: _is_requested(sim, "sessions.setStatus", 2))
    await surface.close()
    (session,) = (await sim.state())["sessions"]
    assert session["status"] == "active"
    await dead.close()


async def _is_requested(sim: SlackSim, method: str, times: int) -> bool:
    answered = [request["answered"] for request in await sim.requests(method)]
    return len(answered) == times and None not in answered


@pytest.mark.parametrize("posts", [0, 1])
async def test_no_status_stays(sim: SlackSim, slack: SlackAdapter, posts: int) -> None:
    """This holds whether or not the app is an agent, and whether or not a post has cleared the
    status."""
    await sim.agent(False)
    surface = slack.surface(claim(ids.GENERAL, await ask(sim)))
    await surface.open()
    (status,) = await thinking(sim)
    assert status["status"] == "is thinking…"
    showing = surface._status._showing
    assert showing is not None
    await showing  # Slack has responded: a post clears only a status that was set before it
    if posts:
        await show(surface, Shown(), frame("hello"))
    await surface.close()
    assert (await sim.state())["statuses"] == []
    assert len(await sim.requests("threads.setStatus")) == 2 - posts


async def test_a_status_is_set_only_if_it_can_be_cleared(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Half of the fifty requests a minute are left for clearing the statuses that the others
    set."""
    surfaces = [slack.surface(claim(ids.GENERAL, await ask(sim), turn=n)) for n in range(40)]
    await asyncio.gather(*(surface.open() for surface in surfaces))

    async def processing() -> int:
        return len((await sim.state())["sessions"])

    await sim.until(lambda: _at_least(processing, 24))
    await asyncio.gather(*(surface.close() for surface in surfaces))
    state = await sim.state()
    assert {session["status"] for session in state["sessions"]} == {"active"}
    assert state["statuses"] == []
    assert state["ratelimited"] == {}


async def _at_least(count: Callable[[], Awaitable[int]], least: int) -> bool:
    return await count() >= least


async def test_closing_immediately_leaves_no_status(sim: SlackSim, slack: SlackAdapter) -> None:
    """The request that sets it may still be in flight."""
    ts = await ask(sim)
    await sim.call("rtt", seconds=0.2)
    surface = slack.surface(claim(ids.GENERAL, ts))
    await surface.open()
    await surface.close()
    assert (await sim.state())["statuses"] == []
