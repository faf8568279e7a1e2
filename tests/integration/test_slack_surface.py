"""A reply in Slack: where it lands, what it looks like, and how it is found again."""

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
from tests.support.slack_kit import FakeInbox, claim, running

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
    """Do what the publisher does: plan and perform until nothing is left."""
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
    shown_as = "# Hello\n\n**world** & <\u200bb>"  # else Slack would take it for a tag
    assert reply["blocks"][0]["text"] == shown_as
    assert reply["text"] == "*Hello*\n\n*world* &amp; &lt;b&gt;"
    assert [one["how"] for one in reply["versions"]] == ["post", "update", "update"]


async def test_nothing_pings_and_no_link_shows_a_preview(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Neither at the post nor after an edit, as a whole or in pieces of a call."""
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    text = f"<!channel> <@{ids.BOB}> @here `<!here>` [x](<!everyone>) https://example.com/page"
    shown = Shown()
    for end in (12, 20, 40, len(text)):
        shown = await show(surface, shown, frame(text[:end]))
    _, reply = await sim.thread(ids.GENERAL, ts)
    assert all(one["pings"] == [] and one["previews"] == [] for one in reply["versions"])
    assert "channel>" in reply["shown"]


async def test_a_page_of_the_most_that_fits_is_taken(sim: SlackSim, slack: SlackAdapter) -> None:
    """Both when it is posted and when it is edited, whose limits differ."""
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


async def test_pages_that_are_not_needed_are_removed(sim: SlackSim, slack: SlackAdapter) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    shown = await show(surface, Shown(), frame("one", "two"))
    shown = await show(surface, shown, frame("only one", final=True))
    assert [one["shown"] for one in (await sim.thread(ids.GENERAL, ts))[1:]] == ["only one"]
    gone = Request(Action.REMOVE, 1, ("chat.delete",), message_id="1700000000.000001")
    assert await surface.perform(gone, shown)  # somebody else was faster


async def test_a_stop_button_stands_under_the_reply_while_it_grows(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts, turn=42))
    shown = await show(surface, Shown(), frame("text", controls=(Control.STOP,)))
    _, reply = await sim.thread(ids.GENERAL, ts)
    (button,) = reply["blocks"][1]["elements"]
    assert (button["action_id"], button["value"]) == ("threadline_stop", '{"t":42}')
    await show(surface, shown, frame("text", final=True))
    _, reply = await sim.thread(ids.GENERAL, ts)
    assert [block["type"] for block in reply["blocks"]] == ["markdown"]


async def test_a_reply_whose_root_was_deleted_leaves_nothing_in_the_channel(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Slack posts it into the channel then, and a missing thread_ts is the only sign."""
    ts = await ask(sim)
    await sim.delete(ids.GENERAL, ts)
    surface = slack.surface(claim(ids.GENERAL, ts))
    with pytest.raises(Gone, match="deleted"):
        await show(surface, Shown(), frame("too late"))
    assert await sim.channel(ids.GENERAL) == []


async def test_pages_are_found_again_by_their_turn_and_page(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """A page may have been posted and its ts lost; one that was never posted is not there."""
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


async def test_a_page_that_is_there_twice_is_left_once(sim: SlackSim, slack: SlackAdapter) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    await show(surface, Shown(), frame("twice"))
    await show(surface, Shown(), frame("twice"))
    found = await surface.recover([PageRecord(0, None)])
    assert len(found.pages) == 1
    assert len(await sim.thread(ids.GENERAL, ts)) == 2


async def test_a_native_stream_left_open_is_stopped_and_becomes_the_page(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Otherwise no edit of it would be taken."""
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
    # auth.test takes the token: one wrong word is not believed.
    ({"status": 200, "body": {"ok": False, "error": "token_revoked"}}, Unsettled),
    ({"status": 200, "body": {"ok": False, "error": "msg_too_long"}}, Refused),
    ({"status": 200, "body": {"ok": False, "error": "invalid_blocks"}}, Refused),
    ({"status": 200, "body": {"ok": False, "error": "internal_error"}}, Unsettled),
    ({"status": 503}, Unsettled),
    ({"drop": True}, Unsettled),
    ({"drop": True, "after": True}, Unsettled),
]


async def test_slacks_failures_are_ours(sim: SlackSim, slack: SlackAdapter) -> None:
    """Each as its own kind; and nothing is sent twice by itself, because that could show twice."""
    for number, (fault, error) in enumerate(FAULTS, 1):
        surface = slack.surface(claim(ids.GENERAL, await ask(sim)))
        await sim.call("fault", match="chat.postMessage", **fault)
        with pytest.raises(error):
            await show(surface, Shown(), frame(f"{fault}"))
        assert len(await sim.requests("chat.postMessage")) == number


async def test_a_429_names_its_scopes_and_its_wait(sim: SlackSim, slack: SlackAdapter) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    headers = {"Retry-After": "7"}
    await sim.call("fault", match="chat.postMessage", status=429, headers=headers)
    with pytest.raises(Throttled) as caught:
        await show(surface, Shown(), frame("hello"))
    assert caught.value.retry_after == 7
    # The channel's budget, not that of all channels.
    assert caught.value.scopes == (f"chat.postMessage:{ids.GENERAL}",)


async def test_an_edit_of_a_deleted_reply_says_gone(sim: SlackSim, slack: SlackAdapter) -> None:
    ts = await ask(sim)
    surface = slack.surface(claim(ids.GENERAL, ts))
    shown = await show(surface, Shown(), frame("hello"))
    await sim.delete(ids.GENERAL, shown.pages[0].message_id)
    with pytest.raises(Gone, match="message_not_found"):
        await show(surface, shown, frame("hello again"))


async def thinking(sim: SlackSim) -> Any:
    """The statuses, once there is one."""

    async def statuses() -> Any:
        state = await sim.state()
        return state["statuses"] + state["sessions"]

    return await sim.until(statuses)


@pytest.mark.parametrize("channel", [ids.GENERAL, ids.DM_ALICE])
async def test_the_session_is_processing_while_the_bot_works(
    sim: SlackSim, slack: SlackAdapter, channel: str
) -> None:
    """Then Slack offers to stop it; afterwards it is active again, whatever happened."""
    surface = slack.surface(claim(channel, await ask(sim, channel)))
    await surface.open()
    (session,) = await thinking(sim)
    assert session["status"] == "processing"
    await surface.close()
    (session,) = (await sim.state())["sessions"]
    assert session["status"] == "active"


async def test_what_a_dead_process_left_is_cleared(sim: SlackSim, slack: SlackAdapter) -> None:
    """Also where the answer was already concluded, and nothing is set anew."""
    ts = await ask(sim)
    dead = slack.surface(claim(ids.GENERAL, ts))
    await dead.open()
    await thinking(sim)
    again = claim(ids.GENERAL, ts)
    again = replace(again, fence=replace(again.fence, attempt=2), conclusion=ANSWERED)
    surface = slack.surface(again)
    await surface.open()
    await surface.close()
    (session,) = (await sim.state())["sessions"]
    assert session["status"] == "active"
    await dead.close()


async def test_what_a_dead_process_left_is_cleared_though_slack_was_busy(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Nothing can be set anew then: all the same something is there to be cleared."""
    ts = await ask(sim)
    dead = slack.surface(claim(ids.GENERAL, ts))
    await dead.open()
    await thinking(sim)
    again = claim(ids.GENERAL, ts)
    surface = slack.surface(replace(again, fence=replace(again.fence, attempt=2)))
    busy = {"status": 429, "body": {"ok": False, "error": "ratelimited"}}
    await sim.call("fault", match="sessions", times=1, headers={"Retry-After": "1"}, **busy)
    await surface.open()
    await sim.until(lambda: _asked(sim, "sessions.setStatus", 2))
    await surface.close()
    (session,) = (await sim.state())["sessions"]
    assert session["status"] == "active"
    await dead.close()


async def _asked(sim: SlackSim, method: str, times: int) -> bool:
    answered = [request["answered"] for request in await sim.requests(method)]
    return len(answered) == times and None not in answered


@pytest.mark.parametrize("posts", [0, 1])
async def test_no_status_stays(sim: SlackSim, slack: SlackAdapter, posts: int) -> None:
    """Of an app that is no agent, too: whether or not something was posted, which clears it."""
    await sim.agent(False)
    surface = slack.surface(claim(ids.GENERAL, await ask(sim)))
    await surface.open()
    (status,) = await thinking(sim)
    assert status["status"] == "is thinking…"
    if posts:
        await show(surface, Shown(), frame("hello"))
    await surface.close()
    assert (await sim.state())["statuses"] == []
    assert len(await sim.requests("threads.setStatus")) == 2 - posts


async def test_a_status_is_set_only_where_it_can_be_cleared(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Of fifty requests a minute half are left to take away what the other half has set."""
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


async def test_closing_at_once_leaves_no_status(sim: SlackSim, slack: SlackAdapter) -> None:
    """The request to set it may still be on its way then."""
    ts = await ask(sim)
    await sim.call("rtt", seconds=0.2)
    surface = slack.surface(claim(ids.GENERAL, ts))
    await surface.open()
    await surface.close()
    assert (await sim.state())["statuses"] == []
