"""Traces of turns: the real SDK around the real core on a real database."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adapters.slack import api as slack_api
from adapters.slack.rate_limits import limit_for
from bot.domain.conversations import Conversation
from bot.domain.errors import Overloaded, Refused, Throttled
from bot.domain.inbox import Address
from bot.domain.model import Delta, Usage
from bot.domain.replies import Limit, Pace, Shown
from bot.domain.turns import Claim, Fence
from bot.inbox import commands
from bot.llm.circuit_breaker import CircuitBreaker
from bot.llm.fallback_chain import FallbackChain
from bot.ports import tracing
from bot.replies.ratelimit.limiter import AccountRateLimiter
from bot.tracing.ids import turn_ids
from bot.tracing.otel import OtelTracer
from bot.tracing.provider import OncePerMinute, bare_provider
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.catalog import ChangingCatalog
from tests.support.clock import ManualClock
from tests.support.core_kit import CLOCK, ScriptedModel, World, until, world_at
from tests.support.discord_kit import claim, frame, running, wait_received
from tests.support.fake_inbox import FakeInbox
from tests.support.store_kit import key, said

SECRET = "the-launch-code-is-1234"


class Traced:
    """A tracer that keeps its spans in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = bare_provider({})
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = OtelTracer(self.provider)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name.startswith(name)]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.fixture
async def world(tmp_path: Path, traced: Traced) -> AsyncIterator[World]:
    async with world_at(tmp_path / "threadline.db", tracer=traced.tracer) as world:
        yield world


def parent(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


# ── one trace per turn ────────────────────────────────────────────────────────────────────────
async def test_a_turn_is_one_trace_from_its_arrival_to_its_end(
    world: World, traced: Traced
) -> None:
    await world.ask(1, "first")
    root, ids = traced.one("turn"), turn_ids(key(), 1)
    assert root.context.trace_id == ids.trace and root.context.span_id == ids.root
    assert root.parent is None
    assert {span.context.trace_id for span in traced.spans} == {ids.trace}
    attempt = traced.one("attempt")
    for name in ("receive message", "wait for claim", "attempt"):
        assert parent(traced.one(name)) == root.context.span_id
    for name in ("check askers", "wait for slot", "build request", "conclude", "finish"):
        assert parent(traced.one(name)) == attempt.context.span_id
    assert attributes(root) == {
        "threadline.turn.id": 1,
        "threadline.platform": "sim",
        "threadline.attempts": 1,
        "threadline.questions": 1,
        "threadline.outcome": "answered",
    }


async def test_the_spans_follow_each_other(world: World, traced: Traced) -> None:
    await world.ask(1, "first")
    order = (
        "receive message",
        "wait for claim",
        "wait for slot",
        "build request",
        "conclude",
        "finish",
    )
    begun = [traced.one(name).start_time or 0 for name in order]
    assert begun == sorted(begun)
    root = traced.one("turn")
    assert root.start_time == begun[0]
    assert max(span.end_time or 0 for span in traced.spans) == root.end_time


async def test_every_request_to_the_platform_has_its_span(world: World, traced: Traced) -> None:
    await world.ask(1, "first")
    requests = [span for span in traced.spans if span.name.endswith(" page")]
    assert Counter(span.name for span in requests)["post page"] == 1
    assert attributes(requests[-1])["threadline.final"] is True


async def test_no_span_has_a_text_a_name_or_a_key(world: World, traced: Traced) -> None:
    world.model.pieces = (Delta(f"It is {SECRET}."), Delta(finish_reason="stop"))
    await world.ask(1, f"is it {SECRET}?")
    told = " ".join(span.to_json() for span in traced.spans)
    for word in (SECRET, "Ann", "Hello", str(key()), key().channel, key().workspace):
        assert f'"{word}' not in told and SECRET not in told


# ── attempts ──────────────────────────────────────────────────────────────────────────────────
async def test_the_attempt_after_a_failure_is_in_the_same_trace(
    world: World, traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, failures = world.store.finish, [RuntimeError("unforeseen")]

    async def fail_once(fence: Any) -> None:
        if failures:
            raise failures.pop()
        await finish(fence)

    monkeypatch.setattr(world.store, "finish", fail_once)
    await world.ask(1, "first")
    first, second = traced.named("attempt")
    assert attributes(first)["error.type"] == "RuntimeError"
    assert "unforeseen" not in first.to_json()
    assert [link.context.span_id for link in second.links] == [first.context.span_id]
    root = traced.one("turn")
    assert {span.context.trace_id for span in traced.spans} == {root.context.trace_id}
    assert attributes(root)["threadline.attempts"] == 2


async def test_another_process_continues_the_trace(tmp_path: Path) -> None:
    """It does not remember the arrival, so the turn begins when the question was sent."""
    before, after = Traced(), Traced()
    async with world_at(tmp_path / "threadline.db", tracer=before.tracer) as world:
        world.model.hold = asyncio.Event()
        await world.inbox.receive(said(1, "first"))
        await until(lambda: bool(world.model.requests))
        await world.scheduler.drain(0)
    assert before.named("turn") == []
    async with world_at(tmp_path / "threadline.db", tracer=after.tracer) as world:
        await world.inbox.connected("sim")
        await world.idle()
    root, interrupted = after.one("turn"), before.one("attempt")
    assert interrupted.context.trace_id == root.context.trace_id
    assert parent(interrupted) == root.context.span_id
    (link,) = after.one("attempt").links
    assert link.context.span_id == interrupted.context.span_id


async def test_a_retry_is_a_trace_of_its_own_that_links_to_the_first(
    world: World, traced: Traced
) -> None:
    await world.ask(1, "first")
    await world.command(commands.RETRY)
    await world.idle()
    first, again = traced.named("turn")
    assert first.context.trace_id != again.context.trace_id
    assert [link.context.trace_id for link in again.links] == [first.context.trace_id]


# ── requests to models ────────────────────────────────────────────────────────────────────────
async def test_a_request_to_a_model_follows_the_conventions(tmp_path: Path, traced: Traced) -> None:
    failing = ScriptedModel("anthropic/claude", pieces=(Overloaded("busy"),))
    usage = Usage(12, 34, cached_tokens=5)
    answering = ScriptedModel(
        "openai:gpt-5",
        pieces=(Delta("Hi."), Delta(finish_reason="stop"), Delta(usage=usage)),
    )
    chain = FallbackChain(
        (failing, answering),
        breakers=[CircuitBreaker(name, now=CLOCK.monotonic) for name in ("a", "b")],
        first_token_seconds=10.0,
        clock=CLOCK,
    )
    async with world_at(
        tmp_path / "threadline.db",
        tracer=traced.tracer,
        catalog=ChangingCatalog(chain, {}),  # type: ignore[arg-type]
    ) as world:
        await world.ask(1, "first")
    first, second = traced.named("chat ")
    assert first.name == "chat claude" and attributes(first)["error.type"] == "Overloaded"
    assert second.name == "chat gpt-5"
    assert (
        attributes(second).items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-5",
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 34,
            "gen_ai.usage.cache_read.input_tokens": 5,
        }.items()
    )
    assert [event.name for event in second.events] == ["first token"]
    assert parent(second) == traced.one("attempt").context.span_id


# ── logs, sampling, ends ──────────────────────────────────────────────────────────────────────
async def test_lines_of_the_log_carry_the_trace_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    stream = world.model.stream

    async def spy(request: Any) -> AsyncIterator[Delta]:
        seen.append(dict(structlog.contextvars.get_contextvars()))
        async for delta in stream(request):
            yield delta

    monkeypatch.setattr(world.model, "stream", spy)
    await world.ask(1, "first")
    assert seen[0]["trace_id"] == turn_ids(key(), 1).hex
    assert seen[0]["turn"] == 1
    assert "trace_id" not in structlog.contextvars.get_contextvars()


async def test_a_sampler_keeps_or_drops_a_whole_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision depends on the trace id alone, so every process decides the same."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    traced = Traced()
    async with world_at(tmp_path / "threadline.db", tracer=traced.tracer) as world:
        for number in range(1, 13):
            await world.ask(number, "why?", address=Address.MENTION)
    kept = {span.context.trace_id for span in traced.named("turn")}
    assert 0 < len(kept) < 12
    assert {span.context.trace_id for span in traced.spans} == kept


async def test_a_task_that_outlives_the_turn_adds_nothing(world: World, traced: Traced) -> None:
    outlived: list[asyncio.Task[bool]] = []
    release = asyncio.Event()

    async def work() -> bool:
        await release.wait()
        with tracing.span("too late"):
            return tracing.current().is_recording

    world.model.ended = lambda: outlived.append(asyncio.create_task(work()))
    await world.ask(1, "first")
    release.set()
    assert [await task for task in outlived] == [False]
    assert traced.named("too late") == []


async def test_a_follow_up_that_waits_shows_its_wait(world: World, traced: Traced) -> None:
    world.model.hold = asyncio.Event()
    await world.inbox.receive(said(1, "first"))
    await until(lambda: bool(world.model.requests))
    await world.inbox.receive(said(2, "second", address=Address.FOLLOW_UP))
    await world.inbox.receive(said(3, "third", address=Address.FOLLOW_UP))
    world.model.hold.set()
    await world.idle()
    second = turn_ids(key(), 2).trace
    names = Counter(span.name for span in traced.spans if span.context.trace_id == second)
    assert names["receive message"] == 2 and names["wait for claim"] == 1 and names["turn"] == 1


def test_complaints_of_the_sdk_are_logged_once_a_minute() -> None:
    once = OncePerMinute()
    records = [
        logging.LogRecord("sdk", logging.WARNING, "", 0, message, (), None)
        for message in ("Queue full", "Queue full", "Failed")
    ]
    assert [once.filter(record) for record in records] == [True, False, True]


# ── requests of the real clients ──────────────────────────────────────────────────────────────
def in_attempt(traced: Traced) -> AbstractContextManager[None]:
    """A block that works on behalf of a turn."""
    conversation = Conversation(1, key(), "", None, 1, 0.0, 0.0)
    return traced.tracer.attempt(Claim(Fence(1, 1), conversation, (), reply_index=0))


async def test_a_refused_request_to_slack_has_its_status(traced: Traced) -> None:
    limiter = AccountRateLimiter(limit_for, CLOCK)
    async with SlackSim() as sim, slack_api.new_session() as session:
        api = slack_api.WebApi(
            client=slack_api.web_client(ids.BOT_TOKEN, sim.api_url, session),
            session=session,
            rate_limiter=limiter,
            clock=CLOCK,
        )
        with in_attempt(traced):
            await api.read_paced("users.info", user=ids.ALICE)
            with pytest.raises(Refused):
                await api.read_paced("users.info", user="U0NOBODY")
            await sim.throttle("users.info", 60)
            with pytest.raises(Throttled):
                await api.read_paced("users.info", user=ids.ALICE)
        await api.read_paced("auth.test")  # on behalf of no turn
    spans = traced.named("GET users.info")
    statuses = [attributes(span)["http.response.status_code"] for span in spans]
    assert statuses == [200, 200, 429]
    assert [attributes(span).get("error.type") for span in spans] == [
        *(None, "SlackApiError", "SlackApiError")
    ]
    assert traced.named("GET auth.test") == []
    assert "U0NOBODY" not in " ".join(span.to_json() for span in traced.spans)


async def test_a_wait_for_the_rate_limiter_is_a_span(traced: Traced) -> None:
    """A request that is sent immediately has none."""
    clock = ManualClock()
    limiter = AccountRateLimiter(lambda scope: Limit(1, 10.0, Pace.NONE), clock)
    with in_attempt(traced):
        await limiter.spend("channel:123", "global")
        waiting = asyncio.create_task(limiter.spend("channel:123", "global"))
        await clock.advance(11.0)
        await waiting
        cancelled = asyncio.create_task(limiter.spend("channel:123", "global"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait({cancelled})
    granted, withdrawn = traced.named("wait for rate limit")
    assert attributes(granted) == {"threadline.rate_limit.scope": "channel"}
    assert attributes(withdrawn) == {"threadline.cancelled": True}


async def test_a_refused_request_to_discord_has_its_status_and_no_id(traced: Traced) -> None:
    inbox = FakeInbox()
    async with DiscordSim() as sim, running(sim, inbox) as adapter:
        message = await sim.mention("question")
        surface = adapter.surface(claim(await wait_received(inbox, message)))
        with in_attempt(traced):
            await surface.open()
            await sim.throttle("POST /channels/.*/messages", 60)
            request = surface.plan(Shown(), frame("text"))
            assert request is not None
            with pytest.raises(Throttled):
                await surface.perform(request, Shown())
            await surface.close()
    posts = traced.named("POST /channels/{channel_id}/messages")
    (post,) = (span for span in posts if span.name.endswith("/messages"))
    assert attributes(post) == {
        "http.request.method": "POST",
        "url.template": "/channels/{channel_id}/messages",
        "http.response.status_code": 429,
    }
    told = " ".join(span.to_json() for span in traced.spans)
    assert str(message) not in told and str(c.GUILD) not in told


async def test_a_stopped_answer_is_no_error(tmp_path: Path, traced: Traced) -> None:
    model = ScriptedModel("openai:gpt-5", hold=asyncio.Event())
    chain = FallbackChain(
        (model,),
        breakers=[CircuitBreaker("a", now=CLOCK.monotonic)],
        first_token_seconds=10.0,
        clock=CLOCK,
    )
    catalog = ChangingCatalog(chain, {})  # type: ignore[arg-type]
    async with world_at(tmp_path / "threadline.db", tracer=traced.tracer, catalog=catalog) as world:
        await world.inbox.receive(said(1, "first"))
        await until(lambda: world.shown() != [])
        await world.command(commands.STOP)
        await world.idle()
    chat = traced.one("chat gpt-5")
    assert attributes(chat)["threadline.cancelled"] is True and chat.status.is_ok
    assert attributes(traced.one("turn"))["threadline.outcome"] == "stopped"
