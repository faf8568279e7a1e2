"""Cost of policy, budgets and rates per turn, with a million messages and ten thousand rules.

Both worlds run in one process on one database, between a model that answers immediately and a
platform in memory; they alternate in blocks, so that both run under the same load. "with" has the
rules, limits, three budgets with the price list, the books, and the private refusal with its audit;
"without" has none of them.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path

from bot.config.loader import load
from bot.domain.conversations import Effort
from bot.domain.inbox import Receipt
from bot.domain.policy import (
    AnswerMode,
    Budget,
    BudgetScope,
    Limits,
    Period,
    PersonKind,
    PersonRef,
    PlaceLevel,
    PlaceRef,
    PolicyConfig,
    PolicyValues,
    Rule,
)
from bot.llm.prices import ModelPrices
from bot.policy.budgets import PolicyBudgets
from bot.policy.meter import BudgetMeter
from bot.policy.rules import PolicyRules
from tests.bench import context
from tests.bench.table import show
from tests.support.core_kit import CLOCK, World, world_of
from tests.support.model_kit import registry
from tests.support.policy_kit import FixedDirectory
from tests.support.store_kit import ANN, BEN, key, opened, said

MESSAGES, RULES = 1_000_000, 10_000
REQUESTS = 200_000  # rows of the books
BLOCKS, ROUNDS = 6, 50
GOAL = 2.0
MODEL = "openai/gpt-5-mini"
ONCALL = PersonRef(PersonKind.NAME, "oncall", text="@oncall")

Figures = dict[str, list[tuple[float, float]]]  # seconds of time and of CPU, by row name


async def run(messages: int = MESSAGES, rules: int = RULES) -> None:
    """Print the table."""
    figures: Figures = {"without": [], "with": [], "refused": []}
    numbers = count(10 * messages)
    with tempfile.TemporaryDirectory(prefix="threadline-bench-") as folder:
        path = Path(folder) / "bench.db"
        context._build(path, messages)
        _fill_books(path, min(REQUESTS, messages))
        policy = _policy(rules)
        for _ in range(BLOCKS):
            async with _world(path, None) as world:
                figures["without"] += [await _turn(world, next(numbers)) for _ in range(ROUNDS)]
            async with _world(path, policy) as world:
                figures["with"] += [await _turn(world, next(numbers)) for _ in range(ROUNDS)]
                figures["refused"] += [await _refusal(world, next(numbers)) for _ in range(ROUNDS)]
    rows = [[name, *(f"{value:.2f}" for value in _medians(figures[name]))] for name in figures]
    differences = zip(_medians(figures["with"]), _medians(figures["without"]), strict=True)
    rows.insert(2, ["cost", *(f"{after - before:.2f}" for after, before in differences)])
    show(
        f"A turn with {messages:,} messages and {rules:,} rules (ms, median)",
        ("", "time", "CPU"),
        rows,
        f"goal: a cost of {GOAL} ms; the time has two more flushes to disk than without",
    )


async def quick() -> None:
    """The same with fewer messages."""
    await run(20_000)


def _medians(figures: list[tuple[float, float]]) -> tuple[float, float]:
    times, cpu = zip(*figures, strict=True)
    return statistics.median(times) * 1e3, statistics.median(cpu) * 1e3


async def _turn(world: World, number: int) -> tuple[float, float]:
    """Ask a question that begins a conversation, and wait for the end of the turn."""
    began = time.perf_counter(), time.process_time()
    where = key(f"t{number}")
    receipt = await world.inbox.receive(
        replace(said(number, "why?", where=where), sent_at=CLOCK.time())
    )
    assert receipt is Receipt.QUESTION
    await world.idle()
    return time.perf_counter() - began[0], time.process_time() - began[1]


async def _refusal(world: World, number: int) -> tuple[float, float]:
    """Ask a question as a person who may not ask."""
    began = time.perf_counter(), time.process_time()
    assert await world.inbox.receive(said(number, author=BEN)) is Receipt.REFUSED
    return time.perf_counter() - began[0], time.process_time() - began[1]


@asynccontextmanager
async def _world(path: Path, policy: PolicyRules | None) -> AsyncIterator[World]:
    directory, meter = FixedDirectory(), None
    directory.channels = {"c1": "ops"}
    directory.add(ANN.id, "oncall")
    models = registry(load({"LLM": MODEL, "OPENAI_API_KEY": "k"}, None))
    async with opened(path) as store:
        if policy is not None:
            meter = BudgetMeter(
                store=store.spending(),
                prices=ModelPrices(models, now=CLOCK.time),
                budgets=PolicyBudgets(policy, policy.is_one_of),
                clock=CLOCK,
            )
        world = world_of(path, store, policy=policy, directory=directory, meter=meter)
        world.model.name = MODEL
        for number in range(5):  # imports and connections
            await _turn(world, time.time_ns() // 1_000 + number)
        yield world
        await world.scheduler.drain(5)
        if meter is not None:
            await meter.aclose()
        await world.content.fetcher.aclose()
        await world.inbox.aclose()
    await models.aclose()


def _policy(rules: int) -> PolicyRules:
    """One rule per channel, by id or by name; the rules for #ops set every value."""
    ops = PolicyValues(
        effort=Effort.LOW,
        prompt="Be brief.",
        temperature=0.5,
        answers=AnswerMode.THREAD,
        allow=(ONCALL,),
        block=(PersonRef(PersonKind.GUESTS, text="guests"),),
        limits=Limits(6_000, 60_000, 50, 100),
        budgets=(
            _budget("each", BudgetScope.PERSON, amount=Decimal(1_000), who=(ONCALL,)),
            _budget("channel", BudgetScope.CHANNEL, amount=Decimal(10_000)),
            _budget("all", BudgetScope.WORKSPACE, tokens=10**12),
        ),
    )
    places = (
        PlaceRef(PlaceLevel.CHANNEL, "sim", "w1", f"x{number}", is_name=number % 2 == 0)
        for number in range(rules - 1)
    )
    others = [Rule((place,), PolicyValues(effort=Effort.HIGH), "a line") for place in places]
    here = PlaceRef(PlaceLevel.CHANNEL, "sim", "w1", "ops", is_name=True)
    return PolicyRules(PolicyConfig(rules=(*others, Rule((here,), ops, "line 1"))))


def _budget(name: str, scope: BudgetScope, **values: object) -> Budget:
    return Budget(name=name, scope=scope, period=Period.DAY, **values)  # type: ignore[arg-type]


def _fill_books(path: Path, size: int) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany(
            "INSERT INTO model_requests (state, purpose, attempt, platform, workspace, channel,"
            " person, model, day, input_tokens, output_tokens, cost, held_tokens, held_cost, sums,"
            " created_at) VALUES ('settled', 'answer', 1, 'sim', 'w1', 'c1', ?, ?, ?, 900, 300,"
            " 5000, 0, 0, '[]', 0)",
            _requests(size),
        )


def _requests(size: int) -> Iterator[tuple[str, str, str]]:
    for number in range(size):
        yield f"U{number % 997}", MODEL, f"2026-{1 + number % 12:02}-{1 + number % 28:02}"
