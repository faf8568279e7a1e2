"""Many concurrent replies on both platforms: how old the text on people's screens is, compared with
the bound.

Invariant: every run has fresh, separate processes (platform, model, bot), so budgets are full at
its start. Every run ends within its time limit, and replies that are not whole by then count as
incomplete.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from tests.bench import age, bound
from tests.bench.age import Aged, aged, percentile
from tests.bench.platforms import Rooms, rooms
from tests.bench.reachable import reachable
from tests.bench.table import show
from tests.sims.discord.client import DiscordSim
from tests.sims.kit import SimProcess
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.model.player import Record
from tests.sims.slack.client import SlackSim
from tests.support.harness import ROOT, BotProcess

TOKENS, RATE, JITTER = 800, 40.0, 0.5
FIRST_TOKEN = 2.0  # seconds until the model's first token: threads are created in this time
PAGE_BORDER = 400  # chunks: the answer takes two messages on Discord, cut at a paragraph
# How long the last reply may take, in seconds from its question.
LIMITS = {"discord": 90.0, "slack": 420.0}
PROBE = 0.1  # seconds between probes of the bot's /healthz
SETTLE = 0.5  # seconds for requests after the last text, such as clearing statuses


@dataclass(frozen=True, slots=True)
class Case:
    """One run. `channels` counts on Slack only; `who` is the bot or the baseline."""

    platform: str
    replies: int
    channels: int = 1
    rtt: float = 0.0
    who: str = "bot"

    @property
    def name(self) -> str:
        where = f" in {self.channels}" if self.platform == "slack" else ""
        return f"{self.platform} {self.replies}{where}, {self.rtt * 1e3:.0f} ms, {self.who}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of one run; times in seconds, `cpu` per chunk."""

    case: Case
    replies: list[Aged]
    traces: list[bound.Reply]
    kinds: dict[str, tuple[int, int]]
    lag: float
    cpu: float

    @property
    def mean(self) -> float:
        return statistics.fmean(reply.mean for reply in self.replies)

    @property
    def throttled(self) -> int:
        return sum(refused for _, refused in self.kinds.values())

    @property
    def incomplete(self) -> int:
        """Replies that were never whole, and questions that never reached the model."""
        return self.case.replies - sum(reply.last is not None for reply in self.replies)


SHAPES = (
    ("discord", 1, 1),
    ("discord", 10, 1),
    ("discord", 100, 1),
    ("slack", 1, 1),
    ("slack", 10, 10),
    ("slack", 100, 100),
    ("slack", 100, 10),
)
TRIPS = (0.0, 0.12)


async def run() -> None:
    """Run all cases, the baseline only without a round trip; takes about half an hour."""
    cases = [Case(*shape, rtt=rtt) for shape in SHAPES for rtt in TRIPS]
    await report([*cases, *(Case(*shape, who="baseline") for shape in SHAPES)])


async def quick() -> None:
    """Run one and ten replies without a round trip; takes about three minutes."""
    shapes = [shape for shape in SHAPES if shape[1] <= 10]
    await report([Case(*shape, who=who) for shape in shapes for who in ("bot", "baseline")])


async def report(cases: Sequence[Case]) -> None:
    """Run the cases one after another and print both tables."""
    rows, kinds, bounds = [], [], {}
    for number, case in enumerate(cases, start=1):
        began = time.monotonic()
        outcome = await measure(case)
        key = (case.platform, case.replies, case.channels, case.rtt)
        if key not in bounds:
            bounds[key] = least(outcome)
        rows.append(_row(outcome, *bounds[key]))
        kinds.append([case.name, _kinds(outcome)])
        took = time.monotonic() - began
        print(f"  {number}/{len(cases)} {'  '.join(rows[-1])} ({took:.0f} s)", file=sys.stderr)
    show(
        f"Streaming {TOKENS} tokens at {RATE:.0f}/s, all replies together (seconds)",
        (
            *("", "age", "p95", "bound", "ratio", "attainable", "first", "last", "longest"),
            *("429s", "incomplete", "health p99 ms", "CPU µs/chunk"),
        ),
        rows,
        "age: time-mean over replies; bound: the least that the platform's limits allow, on Slack",
        "with native streams; attainable: on Slack the bound by edits alone, on Discord the age of",
        "a schedule made beforehand, where replies share; first: first token to first text, last:",
        "last token to whole text (medians, and the longest of the latter); health: how long",
        "/healthz takes beside it, which no lag of the event loop is longer than.",
    )
    show("Requests by kind (429s)", ("", ""), kinds)


def least(outcome: Outcome) -> tuple[float, float]:
    """The bound with everything that the platform offers, and a figure for how tight it is."""
    rtt, traces = outcome.case.rtt, outcome.traces
    if outcome.case.platform == "slack":
        return bound.slack(traces, rtt=rtt), bound.slack(traces, rtt=rtt, native=False)
    best = bound.discord(traces, rtt=rtt)
    return best, reachable(traces, rtt=rtt) if bound.share_globally(traces) else best


def _row(outcome: Outcome, best: float, attainable: float) -> list[str]:
    lasts = [reply.last for reply in outcome.replies if reply.last is not None]
    figures = (
        outcome.mean,
        percentile(outcome.replies, 0.95),
        best,
        outcome.mean / best,
        attainable,
        age.middle(reply.first for reply in outcome.replies),
        age.middle(lasts),
        max(lasts, default=float("nan")),
    )
    rest = (outcome.throttled, outcome.incomplete)
    costs = (f"{outcome.lag * 1e3:.0f}", f"{outcome.cpu * 1e6:.0f}")
    return [outcome.case.name, *(f"{figure:.3f}" for figure in figures), *map(str, rest), *costs]


def _kinds(outcome: Outcome) -> str:
    return ", ".join(
        f"{kind} {count}" + (f" ({refused})" if refused else "")
        for kind, (count, refused) in outcome.kinds.items()
    )


# ── one run ───────────────────────────────────────────────────────────────────────────────────
async def measure(case: Case) -> Outcome:
    """One run with fresh processes."""
    sim: SimProcess = (DiscordSim if case.platform == "discord" else SlackSim)(rtt=case.rtt)
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
        async with sim, ModelSim() as model:
            place = rooms(sim, case.channels)
            environ = {**place.settings(), "OPENAI_BASE_URL": model.base_url}
            async with _answering(case.who, Path(folder), environ, place) as process:
                return await _round(case, place, model, process)


class Answering(Protocol):
    """The answering program: its process, and its port for /healthz (0 if it has none)."""

    pid: int
    http_port: int


@dataclass(frozen=True, slots=True)
class _Baseline:
    pid: int
    http_port: int = 0


@asynccontextmanager
async def _answering(
    who: str, folder: Path, environ: dict[str, str], place: Rooms
) -> AsyncIterator[Any]:
    if who == "bot":
        settings = {**environ, "LLM": "openai:sim", "OPENAI_API_KEY": "key", "LOG_LEVEL": "INFO"}
        async with BotProcess(folder, settings) as bot:
            yield bot
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "tests.bench.baseline"),
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", ""), **environ},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await place.connected()
        yield _Baseline(process.pid)
    finally:
        process.kill()
        await process.wait()


async def _round(case: Case, place: Rooms, model: ModelSim, process: Answering) -> Outcome:
    await model.script(*(_answer(n) for n in range(case.replies)))
    before = len(await place.sim.requests())
    cpu = _cpu(process.pid)
    async with _probing(process.http_port) as waits:
        asked = await place.ask([_question(n) for n in range(case.replies)])
        await _until_whole(case, place, asked)
    cpu = _cpu(process.pid) - cpu
    found = [(asked[n], await model.streams(match=_question(n))) for n in range(case.replies)]
    traces = [(one, streams[-1]) for one, streams in found if streams and streams[-1].times]
    return Outcome(
        case=case,
        replies=[await _measure_age(place, one, trace) for one, trace in traces],
        traces=[_trace(case, trace) for _, trace in traces],
        kinds=age.kinds(await place.sim.requests(since=before)),
        lag=statistics.quantiles(waits, n=100)[98] if len(waits) > 1 else float("nan"),
        cpu=cpu / (case.replies * TOKENS),
    )


def _question(number: int) -> str:
    return f"question {number:03d}"


def _answer(number: int) -> Answer:
    return Answer(
        match=_question(number),
        chunks=age.chunks(TOKENS),
        rate=RATE,
        jitter=JITTER,
        seed=number,
        first_delay=FIRST_TOKEN,
    )


def _trace(case: Case, record: Record) -> bound.Reply:
    borders = (PAGE_BORDER,) if case.platform == "discord" else ()
    return bound.Reply(tuple(record.times), borders)


async def _until_whole(case: Case, place: Rooms, asked: Sequence[Any]) -> None:
    """Check once a second, but not before the text can be whole."""
    deadline = time.monotonic() + LIMITS[case.platform]
    await asyncio.sleep(FIRST_TOKEN + TOKENS / RATE)
    waiting = list(asked)
    while waiting and time.monotonic() < deadline:
        await asyncio.sleep(1.0)
        waiting = [one for one in waiting if not await _whole(place, one)]
    await asyncio.sleep(SETTLE)


async def _whole(place: Rooms, asked: Any) -> bool:
    seen = age.sights(await place.versions(asked))
    return bool(seen) and seen[-1].shown >= TOKENS


async def _measure_age(place: Rooms, asked: Any, record: Record) -> Aged:
    seen = age.sights(await place.versions(asked))
    return aged(record.times, seen, until=time.time())


# ── what it costs ─────────────────────────────────────────────────────────────────────────────
def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def _probing(port: int) -> AsyncIterator[list[float]]:
    """How long each /healthz request takes, in seconds: it waits for the bot's loop like everything
    else."""
    waits: list[float] = []
    task = asyncio.create_task(_probe(port, waits)) if port else None
    try:
        yield waits
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _probe(port: int, waits: list[float]) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            began = time.monotonic()
            async with session.get(f"http://127.0.0.1:{port}/healthz") as response:
                await response.read()
            waits.append(time.monotonic() - began)
            await asyncio.sleep(PROBE)
