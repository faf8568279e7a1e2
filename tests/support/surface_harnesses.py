"""Harnesses for the surface contract: one question on each platform, and its visible reply."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from adapters.console.surface import ConsoleSurface
from adapters.discord.adapter import DiscordAdapter
from adapters.slack.adapter import SlackAdapter
from adapters.web.hub import Hub, LiveReply
from adapters.web.surface import WebSurface
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Gone, PlatformError, Refused, Throttled, Unsettled
from bot.domain.inbox import Address, Incoming
from bot.ports.platform import Surface
from bot.replies.ratelimit.limiter import AccountRateLimiter
from tests.sims.discord import constants as c
from tests.sims.discord.local import LocalDiscord
from tests.sims.slack import ids
from tests.sims.slack.local import LocalSlack
from tests.support import discord_kit, slack_kit
from tests.support.clock import ManualClock
from tests.support.fake_inbox import FakeInbox

Faults = Mapping[type[PlatformError], Mapping[str, Any]]
"""The fault of a post that must raise each error."""

LOST = {"drop": True, "after": True}  # executed, but the response is lost


class SurfaceHarness(ABC):
    """One question, and the surfaces and visible messages of its reply."""

    @abstractmethod
    def surface(self, *, attempt: int = 1) -> Surface:
        """A new surface for the reply, as each attempt gets one."""

    @abstractmethod
    async def texts(self) -> list[str]:
        """The visible text of the reply's messages, from top to bottom."""

    async def buttons(self) -> list[int]:
        """The number of buttons under each of the reply's messages."""
        raise NotImplementedError

    async def delete(self, message_id: str) -> None:
        """Delete a message as a person does."""
        raise NotImplementedError

    async def fault_post(self, error: type[PlatformError]) -> None:
        """Make the next post fail."""
        raise NotImplementedError


DISCORD_FAULTS: Faults = {
    Throttled: {"status": 429, "headers": {"Retry-After": "9"}},
    Gone: {"status": 403, "body": {"code": 50013, "message": "Missing Permissions"}},
    Refused: {"status": 400, "body": {"code": 50035, "message": "Invalid Form Body"}},
    Unsettled: LOST,
}


class DiscordHarness(SurfaceHarness):
    """A mention in a simulated Discord, whose reply is in a thread."""

    def __init__(self, sim: LocalDiscord, adapter: DiscordAdapter, question: Incoming) -> None:
        self._sim, self._adapter, self._question = sim, adapter, question
        self._thread = int(question.message_id)

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[DiscordHarness]:
        inbox = FakeInbox()
        async with LocalDiscord() as sim, discord_kit.running(sim, inbox) as adapter:
            await sim.set_limits(on=False)
            question = await discord_kit.wait_received(inbox, await sim.mention("a question"))
            yield cls(sim, adapter, question)

    def surface(self, *, attempt: int = 1) -> Surface:
        return self._adapter.surface(discord_kit.claim(self._question, attempt=attempt))

    async def _messages(self) -> list[dict[str, Any]]:
        return await self._sim.messages(self._thread, author=c.BOT)

    async def texts(self) -> list[str]:
        return [message["content"] for message in await self._messages()]

    async def buttons(self) -> list[int]:
        rows = [message["components"] for message in await self._messages()]
        return [sum(len(row["components"]) for row in found) for found in rows]

    async def delete(self, message_id: str) -> None:
        await self._sim.delete(int(message_id))

    async def fault_post(self, error: type[PlatformError]) -> None:
        path = f"POST /api/v10/channels/{self._thread}/messages"
        await self._sim.call("fault", match=path, **DISCORD_FAULTS[error])


SLACK_FAULTS: Faults = {
    Throttled: {"status": 429, "headers": {"Retry-After": "9"}},
    Gone: {"status": 200, "body": {"ok": False, "error": "channel_not_found"}},
    Refused: {"status": 200, "body": {"ok": False, "error": "msg_too_long"}},
    Unsettled: LOST,
}


class SlackHarness(SurfaceHarness):
    """A mention in a simulated Slack."""

    def __init__(self, sim: LocalSlack, adapter: SlackAdapter, question: str) -> None:
        self._sim, self._adapter, self._question = sim, adapter, question

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[SlackHarness]:
        async with (
            LocalSlack() as sim,
            slack_kit.running(sim, FakeInbox()) as adapter,
        ):
            question = await sim.say(ids.ALICE, ids.GENERAL, "a question", mention=True)
            yield cls(sim, adapter, question)

    def surface(self, *, attempt: int = 1) -> Surface:
        return self._adapter.surface(slack_kit.claim(ids.GENERAL, self._question))

    async def _messages(self) -> list[dict[str, Any]]:
        return list((await self._sim.thread(ids.GENERAL, self._question))[1:])

    async def texts(self) -> list[str]:
        return [message["shown"] for message in await self._messages()]

    async def buttons(self) -> list[int]:
        blocks = [message["blocks"] for message in await self._messages()]
        return [sum(len(block.get("elements", [])) for block in found) for found in blocks]

    async def delete(self, message_id: str) -> None:
        await self._sim.delete(ids.GENERAL, message_id)

    async def fault_post(self, error: type[PlatformError]) -> None:
        await self._sim.call("fault", match="chat.postMessage", **SLACK_FAULTS[error])


class WebHarness(SurfaceHarness):
    """A question on the web page, whose reply is in the hub."""

    def __init__(self) -> None:
        self._hub = Hub()
        self._live = LiveReply(turn=7, conversation=1, workspace="u", thread="t", begun_at=0.0)

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[WebHarness]:
        yield cls()

    def surface(self, *, attempt: int = 1) -> Surface:
        async def ignore(_live: LiveReply) -> None:
            pass

        return WebSurface(
            discord_kit.claim(_question("web"), attempt=attempt),
            hub=self._hub,
            live=self._live,
            rate_limiter=AccountRateLimiter(lambda _scope: None, ManualClock()),
            on_state=ignore,
            on_text=lambda _live: None,
        )

    async def texts(self) -> list[str]:
        return [self._live.text]


class ConsoleHarness(SurfaceHarness):
    """A question in the terminal, whose reply is written below it."""

    def __init__(self) -> None:
        self._out = io.StringIO()

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[ConsoleHarness]:
        yield cls()

    def surface(self, *, attempt: int = 1) -> Surface:
        return ConsoleSurface(
            discord_kit.claim(_question("console"), attempt=attempt),
            out=self._out,
            rate_limiter=AccountRateLimiter(lambda _scope: None, ManualClock()),
            on_close=lambda: None,
        )

    async def texts(self) -> list[str]:
        return [self._out.getvalue().strip()]


def _question(platform: str) -> Incoming:
    return Incoming(
        key=ConversationKey(platform, "u", "chat", "t"),
        channel="chat",
        message_id="1",
        position=1,
        author=Author("u", "Alice"),
        text="a question",
        address=Address.DIRECT,
        sent_at=0.0,
    )


Start = Callable[[], AbstractAsyncContextManager[SurfaceHarness]]
EDITING: Mapping[str, Start] = {"discord": DiscordHarness.start, "slack": SlackHarness.start}
"""Platforms with separate messages, which can be edited, deleted and refused."""
ALL: Mapping[str, Start] = EDITING | {"web": WebHarness.start, "console": ConsoleHarness.start}
