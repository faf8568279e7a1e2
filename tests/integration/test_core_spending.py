"""Budgets with the core on a real database and a real client of the model simulator.

The books must equal the simulator's own counts to the token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import pytest

from bot.common.clock import SystemClock
from bot.config.loader import load
from bot.domain.attachments import Omission
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import AttachmentError, BudgetSpent, LostOwnership
from bot.domain.money import NANO
from bot.domain.policy import Budget, BudgetScope, Period
from bot.domain.spending import Purpose, Quote, Reserved, Spender, UsageField, UsageQuery
from bot.llm.prices import ModelPrices
from bot.llm.registry import ModelRegistry
from bot.policy.meter import BudgetMeter
from bot.ports.model import ChatModel
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.model.player import Record
from tests.support.core_kit import World, until, world_of
from tests.support.model_kit import registry
from tests.support.store_kit import ANN, key, look, opened, said

CONFIG = """
[models."openai/sim"]
price = { input = 10, output = 50, cached = 1 }
max_output = 200
[models."openai/sim-2"]
price = { input = 1, output = 2 }
max_output = 100
"""


@dataclass
class Budgets:
    """Implements `BudgetSource`: the same budgets everywhere."""

    found: Sequence[Budget] = ()

    async def budgets(self, key: ConversationKey, author: Author | None) -> Sequence[Budget]:
        return self.found


class Catalog:
    """All models of the registry by name, including those that no one may choose."""

    def __init__(self, models: ModelRegistry) -> None:
        self._models = models
        self.default = models.default
        self.names: Sequence[str] = ()

    async def list_names(self) -> Sequence[str]:
        return self.names

    def get(self, name: str | None, assigned: str | None = None) -> ChatModel:
        chosen = name or assigned
        return self._models.chain((chosen,)) if chosen else self._models.get(None)


@dataclass
class Bank:
    """The world with its budgets, and the simulator behind it."""

    world: World
    sim: ModelSim
    meter: BudgetMeter
    budgets: Budgets
    path: Path
    number: int = 0
    threads: list[str] = field(default_factory=list)

    async def say(self, text: str, thread: str = "t1") -> None:
        self.number += 1
        await self.world.inbox.receive(said(self.number, text, where=key(thread)))

    async def ask(self, text: str = "why?", thread: str = "t1") -> str:
        """The reply to a question, once complete."""
        await self.say(text, thread)
        await self.world.idle()
        return self.world.shown(thread)[-1]

    async def list_done(self) -> list[Record]:
        """The requests whose counts the client has received."""
        return [each for each in await self.sim.streams() if each.outcome == "done"]

    def requests(self) -> list[tuple[object, ...]]:
        return look(
            self.path,
            "SELECT state, model, input_tokens, output_tokens, cached_tokens, cost, is_estimate"
            " FROM model_requests ORDER BY id",
        )

    def sums(self) -> list[tuple[object, ...]]:
        return look(
            self.path, "SELECT cost, tokens, reserved_cost, reserved_tokens FROM budget_sums"
        )


@asynccontextmanager
async def bank_at(
    tmp_path: Path, *, llm: str = "openai/sim", **options: object
) -> AsyncIterator[Bank]:
    file = tmp_path / "threadline.toml"
    file.write_text(CONFIG)
    async with ModelSim() as sim, opened(tmp_path / "threadline.db") as store:
        environ = {
            "LLM": llm,
            "OPENAI_API_KEY": "k",
            "OPENAI_BASE_URL": sim.base_url,
            "THREADLINE_CONFIG": str(file),
        }
        models, budgets = registry(load(environ, None)), Budgets()
        meter = BudgetMeter(
            store=store.spending(),
            prices=ModelPrices(models, now=SystemClock().time),
            budgets=budgets,
            clock=SystemClock(),
        )
        catalog = Catalog(models)
        world = world_of(tmp_path / "threadline.db", store, meter=meter, catalog=catalog, **options)
        try:
            yield Bank(world, sim, meter, budgets, tmp_path / "threadline.db")
        finally:
            await world.scheduler.drain(5)
            await meter.aclose()
            await models.aclose()


def person(dollars: float | None = None, **fields: object) -> Budget:
    amount = None if dollars is None else Decimal(str(dollars))
    values = {"name": "each", "scope": BudgetScope.PERSON, "period": Period.DAY, "amount": amount}
    return Budget(**(values | fields))  # type: ignore[arg-type]


def cost_of(record: Record) -> int:
    usage = record.usage or {}
    asked, cached = usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]
    return 1_000 * ((asked - cached) * 10 + cached + usage["completion_tokens"] * 50)


# ── one person, a hundred questions ───────────────────────────────────────────────────────────
async def test_a_hundred_parallel_questions_overshoot_by_at_most_one_reservation(
    tmp_path: Path,
) -> None:
    """The last answer that fits is given; the others are refused with the time when the budget
    renews."""
    async with bank_at(tmp_path) as bank:
        await bank.sim.say("word " * 60, rate=0)
        limit = round(0.02 * NANO)
        bank.budgets.found = [person(0.02)]
        await asyncio.gather(*(bank.say(f"q{k}", f"t{k}") for k in range(100)))
        await bank.world.idle()
        done = await bank.list_done()
        ((spent, tokens, reserved, reserved_tokens),) = bank.sums()
        assert (reserved, reserved_tokens) == (0, 0)
        assert spent == sum(map(cost_of, done))
        assert tokens == sum((each.usage or {})["total_tokens"] for each in done)
        highest = 1_000 * (200 * 10 + 200 * 50)  # a short request and the longest answer
        assert limit <= int(str(spent)) < limit + highest
        shown = [bank.world.shown(f"t{k}")[-1] for k in range(100)]
        assert sum("word word" in text for text in shown) == len(done)
        refused = [text for text in shown if "word word" not in text]
        assert len(refused) == 100 - len(done)
        assert all("Your budget for today is used up. It is full again on" in t for t in refused)
        notices = sum("is nearly used up" in text or "is used up now" in text for text in shown)
        assert notices == 1
        (row,) = await bank.world.store.spending().usage(
            UsageQuery(person="U1"), (UsageField.MODEL,), limit=9
        )
        assert (row.requests, row.cost, row.estimates) == (len(done), spent, 0)


async def test_a_question_waits_for_what_others_have_reserved(tmp_path: Path) -> None:
    """It is not refused, because running answers may cost far less than they have reserved."""
    async with bank_at(tmp_path) as bank:
        bank.budgets.found = [person(0.015)]
        await bank.sim.script(
            Answer(match="first", text="One two.", wait_at=1), Answer(text="Three.")
        )
        await bank.say("first", "t1")
        await bank.say("also first", "t2")  # together, both have reserved the whole budget
        await until(lambda: len(bank.requests()) == 2)
        await bank.say("third", "t3")
        await until(lambda: any("rest of the budget" in text for text in bank.world.shown("t3")))
        await bank.sim.release()
        await bank.world.idle()
        assert bank.world.shown("t3") == ["Three."]


# ── ends of streams ───────────────────────────────────────────────────────────────────────────
async def test_a_stopped_answer_is_settled_by_estimate(tmp_path: Path) -> None:
    async with bank_at(tmp_path) as bank:
        bank.budgets.found = [person(1.0)]
        await bank.sim.say("One two three four five.", wait_at=4)
        await bank.say("tell me")
        await until(lambda: "three" in "".join(bank.world.shown()))
        await bank.world.command("stop")
        await bank.world.idle()
        ((state, model, asked, said_tokens, _, cost, is_estimate),) = bank.requests()
        assert (state, model, is_estimate) == ("settled", "openai/sim", 1)
        assert 10 < int(str(asked)) < 100
        assert 3 <= int(str(said_tokens)) <= 12
        assert cost == 1_000 * (int(str(asked)) * 10 + int(str(said_tokens)) * 50)
        assert bank.sums() == [(cost, int(str(asked)) + int(str(said_tokens)), 0, 0)]


async def test_a_failure_before_the_first_word_costs_nothing(tmp_path: Path) -> None:
    async with bank_at(tmp_path) as bank:
        bank.budgets.found = [person(1.0)]
        await bank.sim.refuse("bad_key")
        await bank.ask()
        assert bank.requests() == []
        assert bank.sums() == [(0, 0, 0, 0)]


async def test_a_chain_that_falls_over_pays_for_both_models(tmp_path: Path) -> None:
    """The first model had begun to reason; the answer comes from the second, at its price."""
    async with bank_at(tmp_path, llm="openai/sim,openai/sim-2") as bank:
        bank.budgets.found = [person(1.0)]
        await bank.sim.script(
            Answer(model="sim", reasoning="let me think about it", text="no", breaks="cut", at=3),
            Answer(model="sim-2", text="Yes."),
        )
        assert await bank.ask() == "Yes."
        first, second = bank.requests()
        usage = (await bank.sim.last()).usage or {}
        assert first[1] == "openai/sim"
        assert first[-1] == 1  # estimated
        assert second[1:4] == ("openai/sim-2", usage["prompt_tokens"], usage["completion_tokens"])
        assert second[5] == 1_000 * (usage["prompt_tokens"] + usage["completion_tokens"] * 2)
        assert bank.sums()[0][0] == int(str(first[5])) + int(str(second[5]))


# ── a spent budget ────────────────────────────────────────────────────────────────────────────
async def test_the_cheaper_model_answers_once_the_budget_is_spent(tmp_path: Path) -> None:
    """Its answers are recorded, too, but are not limited by that budget."""
    async with bank_at(tmp_path) as bank:
        bank.budgets.found = [person(0.000_001, then="openai/sim-2")]
        await bank.sim.script(
            Answer(model="sim", text="Big."), Answer(model="sim-2", text="Small.")
        )
        assert (await bank.ask()).startswith("Big.")
        reply = await bank.ask()
        assert "is used up, so a smaller model answers" in reply
        assert reply.endswith("Small.")
        assert [row[1] for row in bank.requests()] == ["openai/sim", "openai/sim-2"]
        assert bank.sums()[0][0] == sum(int(str(row[5])) for row in bank.requests())


async def test_money_needs_a_known_price_and_tokens_do_not(tmp_path: Path) -> None:
    async with bank_at(tmp_path, llm="openai/org/sim") as bank:
        await bank.sim.say("Fine.")
        bank.budgets.found = [person(5.0)]
        assert "the price of `openai/org/sim` is not known" in await bank.ask()
        assert await bank.sim.streams() == []
        bank.budgets.found = [person(tokens=1_000)]
        assert await bank.ask() == "Fine."
        assert bank.requests()[0][5] is None
        (row,) = await bank.world.store.spending().usage(UsageQuery(), (), limit=1)
        assert (row.requests, row.unpriced, row.cost) == (1, 1, 0)


# ── requests that belong to no person ─────────────────────────────────────────────────────────
async def test_a_transcript_counts_for_the_channel_and_for_no_person(tmp_path: Path) -> None:
    room = person(name="room", scope=BudgetScope.CHANNEL, tokens=1_000, amount=None)
    async with bank_at(tmp_path) as bank:
        bank.budgets.found = [person(1.0), room]
        spender = Spender(key(), purpose=Purpose.TRANSCRIPT)

        async def hear() -> str:
            return "hello there, how are you"

        async def fail() -> str:
            raise AttachmentError(Omission.TIMED_OUT)

        assert await bank.meter.transcribe(spender, "openai/whisper", hear) == await hear()
        with pytest.raises(AttachmentError):
            await bank.meter.transcribe(spender, "openai/whisper", fail)
        ((purpose, who, said_tokens, cost),) = look(
            bank.path, "SELECT purpose, person, output_tokens, cost FROM model_requests"
        )
        assert (purpose, who, cost) == ("transcript", "", None)
        assert bank.sums() == [(0, said_tokens, 0, 0)]
        bank.budgets.found = [replace(room, tokens=1)]
        with pytest.raises(BudgetSpent):
            await bank.meter.transcribe(spender, "openai/whisper", hear)


async def test_a_reservation_left_behind_is_settled_by_the_next_attempt(tmp_path: Path) -> None:
    """The attempt ended, but its process did not. Only the recorded part of the answer is
    charged."""
    async with bank_at(tmp_path) as bank:
        spending, where = bank.world.store.spending(), key("t9")
        receipt = await bank.world.store.accept(said(99, where=where))
        claim = await bank.world.store.claim(receipt.conversation or 0)
        assert claim is not None
        spender, quote = Spender(where, ANN, claim.fence), Quote("openai/sim", 100, 50, 7, 2.0)
        reserved = await spending.reserve(spender, [], quote, "2026-11-30")
        assert isinstance(reserved, Reserved)
        await spending.record_progress(reserved.id, "openai/sim-2", 20)
        again = await bank.world.store.claim(receipt.conversation or 0)
        assert again is not None
        assert bank.requests() == [("settled", "openai/sim-2", 100, 20, 0, 7 + 40, 1)]
        with pytest.raises(LostOwnership):
            await spending.reserve(spender, [], quote, "2026-11-30")
        assert await spending.settle(reserved.id, [], []) == []  # the dead attempt's own, late
        assert len(bank.requests()) == 1
