"""Native streams of one reply: how it grows, how a stream ends, and how the page continues."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from adapters.slack.adapter import SlackAdapter
from adapters.slack.blocks import identity
from adapters.slack.streams import MAX_CHARACTERS
from adapters.slack.surface import SlackSurface
from bot.domain.errors import Unsettled
from bot.domain.replies import Action, Control, Frame, Page, Shown
from bot.domain.turns import PageRecord
from bot.replies.paging.document import Document
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.fake_inbox import FakeInbox
from tests.support.pings import pings
from tests.support.slack_kit import claim, running


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        yield sim


@pytest.fixture
async def slack(sim: SlackSim) -> AsyncIterator[SlackAdapter]:
    async with running(sim, FakeInbox()) as adapter:
        yield adapter


class Reply:
    """One reply: a document, its surface and the pages shown."""

    def __init__(self, sim: SlackSim, surface: SlackSurface, channel: str, ts: str) -> None:
        self.sim, self.surface, self.channel, self.ts = sim, surface, channel, ts
        self.document = Document(surface.renderer)
        self.shown = Shown()

    async def write(self, *parts: str) -> None:
        """Write the parts; each is shown before the next."""
        for part in parts:
            self.document.write(part)
            await self.show()

    async def finish(self, text: str | None = None, *controls: Control) -> None:
        self.document.finish(text)
        self.document.controls = controls
        await self.show()

    async def show(self) -> None:
        while True:
            request = self.surface.plan(self.shown, self.document.frame())
            if request is None and not self.document.behind:
                return
            if request is not None:
                self.shown = await self.surface.perform(request, self.shown)

    async def messages(self) -> list[dict[str, Any]]:
        return (await self.sim.thread(self.channel, self.ts))[1:]

    async def version_kinds(self) -> list[str]:
        (message,) = await self.messages()
        return [version["how"] for version in message["versions"]]


async def start_reply(
    sim: SlackSim, slack: SlackAdapter, channel: str = ids.GENERAL, kind: str = "channel"
) -> Reply:
    """A reply whose session status is confirmed, so that it may stream."""
    ts = await sim.say(ids.ALICE, channel, "a question", mention=kind != "im")
    surface = slack.surface(claim(channel, ts, kind=kind))
    await surface.open()

    async def processing() -> Any:
        return surface._streams.may_start

    await sim.until(processing)
    return Reply(sim, surface, channel, ts)


@pytest.mark.parametrize(
    ("channel", "kind"),
    [(ids.GENERAL, "channel"), (ids.PRIVATE, "group"), (ids.DM_ALICE, "im")],
)
async def test_a_reply_streams_and_its_close_sets_buttons_identity_and_status(
    sim: SlackSim, slack: SlackAdapter, channel: str, kind: str
) -> None:
    """The close needs no further request."""
    reply = await start_reply(sim, slack, channel, kind)
    await reply.write("# Hello\n\nThis is ", "**bold", " text** and", " the end")
    await reply.finish(None, Control.RETRY)
    (message,) = await reply.messages()
    assert message["shown"].startswith("# Hello\n\nThis is **bold text** and the end")
    assert message["metadata"] == identity(7, 0)
    assert message["blocks"][0]["elements"][0]["action_id"] == "threadline_retry"
    version_kinds = await reply.version_kinds()
    assert version_kinds == ["start", *["append"] * (len(version_kinds) - 2), "stop"]
    (session,) = (await sim.state())["sessions"]
    assert session["status"] == "active"
    await reply.surface.close()
    assert len(await sim.requests("sessions.setStatus")) == 1  # the close cleared the status


async def test_unbalanced_delimiters_are_not_appended(sim: SlackSim, slack: SlackAdapter) -> None:
    """No version of the message shows an opening delimiter without its closing one."""
    reply = await start_reply(sim, slack)
    for char in "Some **bold** and `code` and [a link](https://example.com/x) here. ":
        await reply.write(char)
    await reply.finish()
    (message,) = await reply.messages()
    for version in message["versions"]:
        assert version["shown"].count("**") % 2 == 0
        assert version["shown"].count("`") % 2 == 0
        assert version["shown"].count("[") == version["shown"].count(")")


async def test_no_appended_piece_notifies_anyone(sim: SlackSim, slack: SlackAdapter) -> None:
    """A mention may arrive one character at a time."""
    text = f"<!channel> <@{ids.BOB}> @here `<!here>` and @everyone <!subteam^S1|x> done"
    text += " <!ch&#97;nnel> &lt;!h&#x65;re&gt; <&#64;U0ALICE001> @h&#101;re done"
    reply = await start_reply(sim, slack)
    await reply.write(*text)
    await reply.finish()
    for message in await reply.messages():
        assert all(version["pings"] == [] for version in message["versions"])
        assert all(pings(version["shown"]) == [] for version in message["versions"])


async def test_a_page_continues_by_edits_after_slack_ends_its_stream(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The next edit gives the message its identity."""
    reply = await start_reply(sim, slack)
    await reply.write("The beginning")
    await sim.streams(seconds=0.0)
    await reply.write(" was", " there")
    first = await reply.messages()
    await reply.finish()
    (message,) = await reply.messages()
    assert message["shown"] == "The beginning was there"
    assert message["metadata"] == identity(7, 0)
    assert len(first) == 1


async def test_a_long_stream_is_closed_in_time_and_continued_by_edits(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Slack allows about 11,000 characters in a stream, and a few more in the page."""
    reply = await start_reply(sim, slack)
    paragraph = "word " * 150 + "\n\n"
    text = paragraph * 20
    await reply.write(*[paragraph] * 20)
    await reply.finish()
    messages = await reply.messages()
    assert len(messages) == 2
    assert "\n".join(m["shown"] for m in messages).split() == text.split()
    assert not (await sim.state())["streaming"]
    assert all(m["metadata"] == identity(7, n) for n, m in enumerate(messages))
    assert len(messages[0]["shown"]) > MAX_CHARACTERS


async def test_a_stopped_stream_does_not_grow_until_the_turn_ends(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Slack refuses appends, perhaps even before it sends the stop event."""
    reply = await start_reply(sim, slack)
    await reply.write("Some words. ")
    await sim.stop_agent(ids.ALICE, ids.GENERAL, reply.ts)
    await reply.write("Words that no one wants", " any more")
    (message,) = await reply.messages()
    assert message["shown"].strip() == "Some words."
    await reply.finish("Some words.\n\n_Stopped._", Control.RETRY)
    (message,) = await reply.messages()
    assert message["shown"].startswith("Some words.\n\n_Stopped._")
    assert message["metadata"] == identity(7, 0)


async def test_a_final_text_that_differs_from_the_stream_replaces_it(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """A note above the reply is such a change: the stream is closed and the page edited."""
    reply = await start_reply(sim, slack)
    await reply.write("Some words that ", "came")
    await reply.finish("Something else.")
    (message,) = await reply.messages()
    assert message["shown"] == "Something else."
    assert (await reply.version_kinds())[-2:] == ["stop", "update"]


async def test_after_a_crash_a_recorded_open_stream_is_closed_and_edited(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The ledger knows its message, so Slack's refusal of an edit is the only sign."""
    reply = await start_reply(sim, slack)
    await reply.write("Half an answer ", "that")
    (page,) = reply.shown.pages
    again = Reply(sim, slack.surface(claim(ids.GENERAL, reply.ts)), ids.GENERAL, reply.ts)
    again.shown = await again.surface.recover([PageRecord(0, page.message_id, ids.GENERAL)])
    await again.write("A whole ", "answer")
    await again.finish()
    (message,) = await again.messages()
    assert message["shown"] == "A whole answer"
    assert message["metadata"] == identity(7, 0)
    assert not (await sim.state())["streaming"]


async def test_an_unneeded_open_stream_is_closed_and_removed(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Slack refuses to delete a message while it streams."""
    reply = await start_reply(sim, slack)
    await reply.write("Half an answer ", "that")
    (page,) = reply.shown.pages
    again = slack.surface(claim(ids.GENERAL, reply.ts))
    found = await again.recover([PageRecord(0, page.message_id, ids.GENERAL)])
    request = again.plan(found, Frame((), final=True))
    assert request is not None and request.action is Action.REMOVE
    await again.perform(request, found)
    assert await reply.messages() == []


async def test_a_stream_that_ended_after_a_crash_is_found_again(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """The message has no identity, because its stream was never closed, but it can only be this
    turn's."""
    reply = await start_reply(sim, slack)
    await sim.streams(seconds=0.2)
    await reply.write("Half an answer ")
    again = Reply(sim, slack.surface(claim(ids.GENERAL, reply.ts)), ids.GENERAL, reply.ts)

    async def is_ended() -> bool:
        return not (await sim.state())["streaming"]

    await sim.until(is_ended)
    again.shown = await again.surface.recover([PageRecord(0, None)])
    await again.write("A whole answer")
    await again.finish()
    (message,) = await again.messages()
    assert message["shown"] == "A whole answer"
    assert message["metadata"] == identity(7, 0)


async def test_an_edit_follows_an_append_of_unknown_outcome(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """Another append could show the text twice."""
    reply = await start_reply(sim, slack)
    await reply.write("One ")
    await sim.call("fault", match="chat.appendStream", drop=True, after=True)
    reply.document.write("two ")
    with pytest.raises(Unsettled):
        await reply.show()
    (page,) = reply.shown.pages
    reply.shown = Shown((replace(page, text=None),))
    await reply.write("three ")
    await reply.finish()
    (message,) = await reply.messages()
    assert message["shown"] == "One two three"


async def test_without_slacks_stop_button_a_reply_is_edited_and_has_ours(
    sim: SlackSim, slack: SlackAdapter
) -> None:
    """An app that is no agent has no stop button, and being able to stop a reply matters more."""
    await sim.agent(False)
    ts = await sim.say(ids.ALICE, ids.GENERAL, "a question", mention=True)
    surface = slack.surface(claim(ids.GENERAL, ts))
    await surface.open()

    async def find_statuses() -> Any:
        return (await sim.state())["statuses"]

    await sim.until(find_statuses)
    page = Page("Some words", "Some", 0, 10, sealed=False)
    request = surface.plan(Shown(), Frame((page,), final=False, controls=(Control.STOP,)))
    assert request is not None
    assert (request.action, request.controls) == (Action.POST, (Control.STOP,))
