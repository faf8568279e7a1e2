"""The publisher and the rate limiter alone, on a simulated clock: what the policy itself loses.

Invariant: nothing here depends on the machine, so figures are exact and the same every time. The
platform applies a request half a round trip after it was granted and enforces the simulators' fixed
windows, in simulated time; everything else (renderers, clients, network) is left out.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adapters.discord import rest
from adapters.slack import rate_limits
from adapters.slack.streams import MAX_CHARACTERS
from adapters.slack.surface import SCOPES
from bot.domain.errors import Throttled
from bot.domain.replies import Action, Control, FileRules, Frame, Limit, Request, Shown
from bot.domain.turns import Fence, PageRecord
from bot.ports.clock import Clock
from bot.replies.plan import apply_request, plan_by_edits
from bot.replies.publisher import Publisher
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.replies.stream_plan import plan_by_streams
from tests.bench import age, bound
from tests.bench.age import Aged, Version, aged, percentile
from tests.bench.table import show
from tests.support.clock import ManualClock
from tests.support.surfaces import FakeLedger, PlainRenderer

MakeLimiter = Callable[[Callable[[str], Limit | None], Clock], AccountRateLimiter]

TOKENS, RATE, JITTER = 800, 40.0, 0.5
ASKED_BEFORE = 1.0  # seconds from a question to its first token
LIMIT = 120.0  # seconds that a replay may take beyond its last token


class Windows:
    """The simulators' windows: each begins with its first request."""

    def __init__(self, limits: Callable[[str], tuple[int, float] | None]) -> None:
        self._limits = limits
        self._begun: dict[str, float] = {}
        self._used: Counter[str] = Counter()
        self.refused = 0

    def take(self, now: float, scopes: Sequence[str]) -> None:
        """Raises Throttled. As in the simulators, the global scope is checked first."""
        for scope in sorted(scopes, key=lambda scope: scope != rest.GLOBAL):
            limit = self._limits(scope)
            if limit is None:
                continue
            if now >= self._begun.get(scope, float("-inf")) + limit[1]:
                self._begun[scope], self._used[scope] = now, 0
            if self._used[scope] >= limit[0]:
                self.refused += 1
                raise Throttled(self._begun[scope] + limit[1] - now, (scope,))
            self._used[scope] += 1


@dataclass
class Surface:
    """A platform that edits and, if `streams` is set, also appends, in simulated time."""

    rate_limiter: AccountRateLimiter
    clock: ManualClock
    windows: Windows
    scopes: Callable[[Action, int], tuple[str, ...]]
    rtt: float
    streams: bool | None = None
    renderer: PlainRenderer = field(default_factory=PlainRenderer)
    files: FileRules | None = None
    says_working: bool = False
    versions: list[Version] = field(default_factory=list)

    async def open(self) -> None:
        """Nothing to open."""

    async def abandon(self) -> None:
        await self.close()

    async def close(self) -> None:
        """Nothing to clear."""

    async def recover(self, pages: Sequence[PageRecord]) -> Shown:
        return Shown()

    def plan(self, shown: Shown, frame: Frame) -> Request | None:
        if self.streams is None:
            return plan_by_edits(shown, frame, render=self.renderer.render, scopes=self.scopes)
        return plan_by_streams(
            shown,
            frame,
            render=self.renderer.render,
            scopes=self.scopes,
            may_stream=self.streams,
            most=MAX_CHARACTERS,
            overdue=lambda _: False,
        )

    async def perform(self, request: Request, shown: Shown) -> Shown:
        await self.clock.sleep(self.rtt / 2)
        now = self.clock.monotonic()
        self.windows.take(now, request.scopes)
        after = apply_request(shown, request, message_id=f"m{request.page}", channel="c")
        text = next((page.text for page in after.pages if page.number == request.page), "")
        self.versions.append(Version(now, str(request.page), text or ""))
        await self.clock.sleep(self.rtt / 2)
        return after


@dataclass(frozen=True)
class Platform:
    """The adapter's budgets, the simulator's limits, and the scopes of a reply's requests."""

    name: str
    budgets: Callable[[str], Limit | None]
    limits: Callable[[str], tuple[int, float] | None]
    scopes: Callable[[int, Action], tuple[str, ...]]
    measure: int
    streams: bool | None = None  # whether the streams that the limiter knows may be used


def discord() -> Platform:
    kinds = {"channel": bound.DISCORD_CHANNEL, rest.GLOBAL: bound.DISCORD_GLOBAL}
    return Platform(
        name="discord",
        budgets=rest.limits,
        limits=lambda scope: kinds.get(scope.partition(":")[0]),
        scopes=lambda reply, action: rest.message_scopes(str(reply)),
        measure=2_000,
    )


def slack(channels: int, *, streams: bool = True) -> Platform:
    """Posts are limited by the workspace's window only: a channel's tokens are no window."""
    kinds = {
        rate_limits.EDITS: (bound.SLACK_UPDATES, bound.SLACK_SECONDS),
        rate_limits.POSTS: (300, 60.0),
        rate_limits.STARTS: (bound.SLACK_STREAMS, bound.SLACK_SECONDS),
        rate_limits.APPENDS: (bound.SLACK_APPENDS, bound.SLACK_SECONDS),
        rate_limits.STOPS: (bound.SLACK_STREAMS, bound.SLACK_SECONDS),
    }

    def scopes(reply: int, action: Action) -> tuple[str, ...]:
        posts = action is Action.POST
        return rate_limits.post_scopes(f"C{reply % channels}") if posts else SCOPES[action]

    name = "slack" if streams else "slack by edits"
    return Platform(name, rate_limits.limit_for, kinds.get, scopes, 12_000, streams)


@dataclass(frozen=True)
class Outcome:
    """The result of one replay."""

    replies: list[Aged]
    traces: list[bound.Reply]
    requests: int
    refused: int

    @property
    def mean(self) -> float:
        return sum(reply.mean for reply in self.replies) / len(self.replies)


def together(count: int) -> list[tuple[float, ...]]:
    """The token times of `count` replies that all begin within the first 0.3 s."""
    return [_written(number, 0.3 * number / count) for number in range(count)]


async def replay(
    platform: Platform,
    traces: Sequence[tuple[float, ...]],
    rtt: float = 0.0,
    *,
    make_limiter: MakeLimiter = AccountRateLimiter,
) -> Outcome:
    """Play replies whose tokens are written at these times; each question comes a second
    earlier."""
    clock = ManualClock()
    windows = Windows(platform.limits)
    rate_limiter = make_limiter(platform.budgets, clock)
    surfaces = [
        Surface(
            rate_limiter=rate_limiter,
            clock=clock,
            windows=windows,
            scopes=_scopes(platform, number),
            rtt=rtt,
            streams=platform.streams,
            renderer=PlainRenderer(platform.measure),
        )
        for number in range(len(traces))
    ]
    start = clock.monotonic()
    tasks = [
        asyncio.create_task(_reply(surface, clock, start, trace))
        for surface, trace in zip(surfaces, traces, strict=True)
    ]
    limit = start + LIMIT + max(trace[-1] for trace in traces)
    while not all(task.done() for task in tasks) and clock.monotonic() < limit:
        await clock.advance(1.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    until = clock.monotonic()
    return Outcome(
        replies=[
            aged([start + at for at in trace], age.sights(surface.versions), until)
            for surface, trace in zip(surfaces, traces, strict=True)
        ],
        traces=[bound.Reply(trace, _borders(platform, len(trace))) for trace in traces],
        requests=sum(len(surface.versions) for surface in surfaces),
        refused=windows.refused,
    )


def _borders(platform: Platform, tokens: int) -> tuple[int, ...]:
    """The inner page borders of a reply: pages end at the end of a paragraph."""
    page = platform.measure // 4 // age.PARAGRAPH * age.PARAGRAPH - age.PARAGRAPH
    return tuple(range(page, tokens, page))


def _scopes(platform: Platform, reply: int) -> Callable[[Action, int], tuple[str, ...]]:
    return lambda action, _page: platform.scopes(reply, action)


def _written(seed: int, start: float) -> tuple[float, ...]:
    dice = random.Random(seed)
    return tuple(start + (k + JITTER * dice.random()) / RATE for k in range(TOKENS))


async def _reply(
    surface: Surface, clock: ManualClock, start: float, trace: Sequence[float]
) -> None:
    await clock.sleep(max(0.0, trace[0] - ASKED_BEFORE))
    publisher = Publisher(
        surface=surface,
        ledger=FakeLedger(),
        fence=Fence(1, 1),
        clock=clock,
        controls=(Control.STOP,),
    )
    async with publisher as reply:
        for at, text in zip(trace, age.chunks(len(trace)), strict=True):
            await clock.sleep(max(0.0, start + at - clock.monotonic()))
            reply.write(text)
        reply.finish()
        await reply.wait_until_shown()


# ── the table ─────────────────────────────────────────────────────────────────────────────────
SHAPES = (
    (discord(), 1),
    (discord(), 10),
    (discord(), 100),
    (slack(1), 1),
    (slack(10), 10),
    (slack(10), 100),
    (slack(1, streams=False), 1),
    (slack(10, streams=False), 10),
    (slack(10, streams=False), 100),
)


async def run() -> None:
    """Replay all shapes, without a round trip and with one of 120 ms; takes some minutes."""
    await report([(platform, count, rtt) for platform, count in SHAPES for rtt in (0.0, 0.12)])


async def quick() -> None:
    """Replay one and ten replies."""
    await report([(platform, count, 0.0) for platform, count in SHAPES if count <= 10])


async def report(cases: Sequence[tuple[Platform, int, float]]) -> None:
    """Print a row for each shape."""
    rows = [_row(await replay(case[0], together(case[1]), case[2]), *case) for case in cases]
    show(
        "The publisher and the rate limiter on a simulated clock (seconds)",
        (
            "",
            *["age", "p95", "bound", "ratio"],
            *["first", "last", "requests", "429s", "incomplete"],
        ),
        rows,
        "last: the longest of all replies.",
    )


def _row(outcome: Outcome, platform: Platform, count: int, rtt: float) -> list[object]:
    best = least(platform, outcome.traces, rtt)
    lasts = [reply.last for reply in outcome.replies if reply.last is not None]
    figures = (
        *(outcome.mean, percentile(outcome.replies, 0.95), best, outcome.mean / best),
        *(age.middle(reply.first for reply in outcome.replies), max(lasts, default=float("nan"))),
    )
    return [
        f"{platform.name} {count}, {rtt * 1e3:.0f} ms",
        *(f"{figure:.3f}" for figure in figures),
        outcome.requests,
        outcome.refused,
        count - len(lasts),
    ]


def least(platform: Platform, traces: Sequence[bound.Reply], rtt: float) -> float:
    """The bound, given what the platform offers here."""
    if platform.name == "discord":
        return bound.discord(traces, rtt=rtt)
    return bound.slack(traces, rtt=rtt, native=bool(platform.streams))
