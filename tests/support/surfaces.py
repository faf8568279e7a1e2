"""Fakes for tests of replies: renderers, a surface as strict as a platform, and a ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from bot.domain.errors import FilesRefused, Gone, LostOwnership
from bot.domain.replies import Action, Control, File, FileRules, Frame, Request, Shown, ShownPage
from bot.domain.turns import Fence, PageRecord
from bot.ports.clock import Clock
from bot.ports.platform import RateLimiter
from bot.replies.plan import apply_request, plan_by_edits


class PlainRenderer:
    """Renders Markdown unchanged; `measured` counts against `limit`."""

    def __init__(self, limit: int = 2_000, measured: Callable[[str], int] = len) -> None:
        self.limit = limit
        self._measured = measured

    def render(self, markdown: str) -> str:
        return markdown

    def measure(self, markdown: str) -> int:
        return self._measured(markdown)


class EscapingRenderer:
    """Renders text longer than the Markdown, with entities as in Slack."""

    def __init__(self, limit: int = 400) -> None:
        self.limit = limit

    def render(self, markdown: str) -> str:
        return markdown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def measure(self, markdown: str) -> int:
        return len(self.render(markdown))


def utf16(text: str) -> int:
    """Length in UTF-16 code units, as Discord's and Slack's clients count."""
    return len(text.encode("utf-16-le")) // 2


@dataclass
class Platform:
    """The messages on the platform, from any attempt, with all their versions."""

    texts: dict[str, str] = field(default_factory=dict)
    pages: dict[str, int] = field(default_factory=dict)
    controls: dict[str, tuple[Control, ...]] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    versions: list[tuple[float, str, str]] = field(default_factory=list)
    _ids: count[int] = field(default_factory=lambda: count(1))

    def post(self, page: int, text: str, now: float) -> str:
        message_id = f"m{next(self._ids)}"
        self.pages[message_id] = page
        self.edit(message_id, text, now)
        return message_id

    def edit(self, message_id: str, text: str, now: float) -> None:
        self.texts[message_id] = text
        self.versions.append((now, message_id, text))

    @property
    def messages(self) -> list[str]:
        """The texts of the messages from top to bottom."""
        return [self.texts[message_id] for message_id in sorted(self.texts, key=_number)]


def _number(message_id: str) -> int:
    return int(message_id[1:])


Fault = BaseException | Callable[[Request], None]


class FakeSurface:
    """A surface that edits messages; a request takes `latency` seconds.

    Each request raises the next of `faults` (None: no fault), before it changes anything or, with
    `faults_after_success`, after it, as if the answer was lost. With `anonymous_messages`, an
    unknown message may be any missing page, like a stream that was never closed.
    """

    def __init__(
        self,
        *,
        rate_limiter: RateLimiter,
        clock: Clock,
        renderer: PlainRenderer | EscapingRenderer | None = None,
        platform: Platform | None = None,
        latency: float = 0.0,
    ) -> None:
        self.rate_limiter, self._clock = rate_limiter, clock
        self.files: FileRules | None = None
        self.says_working = False
        self.refuses_files = False
        self.refuses: Callable[[Request], None] = lambda _request: None  # raises Refused
        self.anonymous_messages = False
        self.renderer = renderer or PlainRenderer()
        self.platform = platform or Platform()
        self.latency: list[float] | float = latency
        self.faults: list[Exception | None] = []
        self.open_faults: list[Exception] = []
        self.recover_faults: list[Exception] = []
        self.faults_after_success = False
        self.requests: list[Request] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.opened = 0
        self.closed = 0
        self.abandoned = 0
        self.close_takes = 0.0
        self.scopes: tuple[str, ...] = ("channel:1", "global")
        self.channel = "c1"

    async def open(self) -> None:
        self.opened += 1
        if self.open_faults:
            raise self.open_faults.pop(0)

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        if self.recover_faults:
            raise self.recover_faults.pop(0)
        known = {page.number: page.message_id for page in pages if page.message_id}
        lost = {page.number for page in pages} - known.keys()
        found = {
            number: message_id
            for message_id, number in self.platform.pages.items()
            if number in lost and message_id not in known.values()
        }
        if self.anonymous_messages:
            unknown = [m for m in self.platform.texts if m not in known.values()]
            found = dict(zip(sorted(lost), unknown, strict=False))
        return Shown(
            tuple(
                ShownPage(number, message_id, self.channel, None)
                for number, message_id in (known | found).items()
                if message_id in self.platform.texts
            )
        )

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        return plan_by_edits(
            shown, frame, render=self.renderer.render, scopes=lambda action, page: self.scopes
        )

    async def perform(self, request: Request, shown: Shown) -> Shown:
        assert self.renderer.measure(request.text) <= self.renderer.limit or request.text == ""
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._try(request, shown)
        finally:
            self.in_flight -= 1

    async def _try(self, request: Request, shown: Shown) -> Shown:
        self.refuses(request)
        if request.file is not None and self.refuses_files:
            raise FilesRefused("no files here")
        fault = self.faults.pop(0) if self.faults else None
        latency = self.latency
        if isinstance(latency, list):
            latency = latency.pop(0) if latency else 0.0
        if fault is not None and not self.faults_after_success:
            await self._clock.sleep(latency)
            raise fault
        await self._clock.sleep(latency)
        message_id = self._apply(request)
        if fault is not None:
            raise fault
        return apply_request(shown, request, message_id=message_id, channel=self.channel)

    def _apply(self, request: Request) -> str:
        now = self._clock.monotonic()
        if request.action is Action.POST:
            message_id = self.platform.post(request.page, request.text, now)
            self.platform.controls[message_id] = request.controls
            self._attach(message_id, request)
            return message_id
        assert request.message_id is not None
        if request.message_id not in self.platform.texts:
            raise Gone("a person deleted the message")
        if request.action is Action.REMOVE:
            del self.platform.texts[request.message_id]
            self.platform.files.pop(request.message_id, None)
        else:
            self.platform.edit(request.message_id, request.text, now)
            self.platform.controls[request.message_id] = request.controls
            self._attach(request.message_id, request)
        return request.message_id

    def _attach(self, message_id: str, request: Request) -> None:
        self.platform.files.pop(message_id, None)
        if request.file is not None:
            self.platform.files[message_id] = request.file

    async def close(self) -> None:
        await self._clock.sleep(self.close_takes)
        self.closed += 1

    async def abandon(self) -> None:
        self.abandoned += 1


class FakeLedger:
    """The ledger in memory; refuses writes of any other `attempt`."""

    def __init__(self) -> None:
        self.pages: dict[int, str | None] = {}
        self.attempt = 1
        self.calls: list[tuple[str, int]] = []
        self.faults: list[Exception] = []
        self.slow: asyncio.Event | None = None  # commits of `shown` wait for this event

    async def record_intent(self, fence: Fence, page: int) -> None:
        self._check("intend", fence, page)
        self.pages.setdefault(page, None)

    async def record_shown(self, fence: Fence, page: int, *, channel: str, message_id: str) -> None:
        self._check("shown", fence, page)
        if self.slow is not None:
            await self.slow.wait()
        self.pages[page] = message_id

    async def record_removal(self, fence: Fence, page: int) -> None:
        self._check("removed", fence, page)
        del self.pages[page]

    def _check(self, call: str, fence: Fence, page: int) -> None:
        if self.faults:
            raise self.faults.pop(0)
        if fence.attempt != self.attempt:
            raise LostOwnership("a newer attempt holds the turn")
        self.calls.append((call, page))


def other_tasks() -> set[asyncio.Task[object]]:
    """Every running task except the test's."""
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
