"""Shared by the Slack tests: the adapter against a simulated Slack, and a fake inbox."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from adapters.slack import events, payloads
from adapters.slack.adapter import SlackAdapter
from adapters.slack.events import Identity
from adapters.slack.payloads import Payload
from bot.common.clock import SystemClock
from bot.domain.conversations import Author, Conversation, ConversationKey
from bot.domain.inbox import Incoming
from bot.domain.turns import Claim, Fence, PageRecord, Question
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.catalog import offering
from tests.support.fake_inbox import FakeInbox


@contextlib.asynccontextmanager
async def running(
    sim: SlackSim,
    inbox: FakeInbox,
    *,
    adapter: SlackAdapter | None = None,
    waits: bool = True,
    **options: Any,
) -> AsyncIterator[SlackAdapter]:
    """The running adapter; connected over Socket Mode if `waits`."""
    adapter = adapter or socket_adapter(sim, **options)
    task = asyncio.create_task(adapter.run(inbox))
    try:
        if waits:
            await sim.connected()
            await until(lambda: inbox.connections, task)
        yield adapter
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def socket_adapter(sim: SlackSim, **options: Any) -> SlackAdapter:
    """An adapter for Socket Mode."""
    defaults: dict[str, Any] = {
        "bot_token": ids.BOT_TOKEN,
        "app_token": ids.APP_TOKEN,
        "api_url": sim.api_url,
        "clock": SystemClock(),
        "models": offering(),
    }
    return SlackAdapter(**(defaults | options))


async def until(
    check: Callable[[], Any], task: asyncio.Task[Any] | None = None, seconds: float = 60.0
) -> Any:
    """Wait until `check()` is true; raises the error of a failed `task`."""
    async with asyncio.timeout(seconds):
        while not (result := check()):
            if task is not None and task.done():
                task.result()
            await asyncio.sleep(0.01)
    return result


def read_event(
    body: Payload, me: Identity, names: Mapping[str, str], kind: str = ""
) -> Incoming | None:
    """An event as a message to the bot, without a workspace; `kind` is the kind of the channel."""
    event = payloads.mapping(body, "event")
    if not events.is_from_person(event, me):
        return None
    kind = events.channel_kind(event) or kind
    address = events.address_of(event, kind, me)
    if address is None:
        return None
    return events.message(event, me, names, me.team, kind, address)


def key(channel: str, thread: str) -> ConversationKey:
    """A conversation in the simulated workspace."""
    return ConversationKey("slack", ids.TEAM, channel, thread)


def claim(
    channel: str,
    question: str,
    *,
    thread: str | None = None,
    turn: int = 7,
    pages: Sequence[PageRecord] = (),
    kind: str = "channel",
) -> Claim:
    """A turn that answers the message `question`."""
    author = Author(ids.ALICE, "alice")
    route = {"channel": channel, "thread_ts": thread or question, "user": ids.ALICE, "kind": kind}
    route["team"] = ids.TEAM
    return Claim(
        fence=Fence(turn, 1),
        conversation=Conversation(1, key(channel, thread or question), "q", None, 1, 0.0, 0.0),
        questions=(Question(1, channel, question, author, "q", route),),
        reply_index=1,
        pages=tuple(pages),
    )
