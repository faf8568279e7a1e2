"""Rates, limits of concurrent answers, and floods, with the core on a real database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.domain import texts
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Address, Receipt
from bot.domain.model import ChatRequest, Usage
from bot.domain.policy import Limits, PolicyConfig, PolicyValues
from bot.domain.spending import Quote
from bot.inbox.commands import CONTINUE, RETRY
from bot.policy.meter import BudgetMeter
from bot.policy.rates import MINUTE
from bot.policy.rules import PolicyRules
from bot.ports.model import ChatModel
from tests.support.core_kit import CLOCK, World, until, world_at, world_of
from tests.support.policy_kit import FixedDirectory, NoBudgets
from tests.support.store_kit import ANN, BEN, key, look, opened, said


def limited(directory: FixedDirectory | None = None, **limits: int) -> dict[str, Any]:
    """Options of a world with these limits everywhere."""
    policy = PolicyRules(PolicyConfig(default=PolicyValues(limits=Limits(**limits))))
    return {"policy": policy, "directory": directory or FixedDirectory()}


async def ask(world: World, number: int, text: str = "why?", **more: Any) -> Receipt:
    """Send a message now, and wait until every turn has ended."""
    receipt = await world.inbox.receive(replace(said(number, text, **more), sent_at=CLOCK.time()))
    await world.idle()
    return receipt


async def test_a_question_over_the_rate_is_not_stored_and_gets_one_notice(tmp_path: Path) -> None:
    """Only the author gets a notice, which says when to ask again; other people can ask."""
    directory = FixedDirectory()
    async with world_at(tmp_path / "t.db", **limited(directory, questions_per_minute=2)) as world:
        assert await ask(world, 1) is Receipt.QUESTION
        assert await ask(world, 2, where=key("t2", "c2")) is Receipt.QUESTION
        for number in (3, 4):
            assert await ask(world, number) is Receipt.TOO_EARLY
        assert await ask(world, 5, address=Address.ASIDE) is Receipt.HISTORY
        assert await ask(world, 1) is Receipt.KNOWN  # delivered again
        assert await ask(world, 6, author=BEN) is Receipt.QUESTION
        await world.inbox.aclose()
        [(person, sentence)] = directory.told
        assert person == ANN.id
        assert sentence.startswith("You have reached the number of questions a minute here.")
        assert len(world.model.requests) == 3
        assert look(world.path, "SELECT count(*) FROM messages WHERE source LIKE '%m3'") == [(0,)]
        assert 1 <= await world.inbox.wait_seconds(key(), ANN) <= MINUTE


async def test_retries_and_continuations_count_and_are_refused(tmp_path: Path) -> None:
    """Actions without effect do not count, and the refusal is private."""
    async with world_at(tmp_path / "t.db", **limited(questions_per_minute=3)) as world:
        await ask(world, 1)
        assert (await world.command(RETRY, "999")).text == texts.NOTHING_TO_RETRY
        assert (await world.command(CONTINUE)).text == ""
        await world.idle()
        assert (await world.command(RETRY)).text == ""
        await world.idle()
        for name in (RETRY, CONTINUE):
            reply = await world.command(name)
            assert reply.refused and "ask again in" in reply.text
        assert len(world.model.requests) == 3
        edited = replace(said(1), text="why now?")
        await world.inbox.edited(edited, CLOCK.time())
        assert await ask(world, 2) is Receipt.TOO_EARLY


async def test_the_rate_of_a_channel_counts_all_people_in_it(tmp_path: Path) -> None:
    async with world_at(tmp_path / "t.db", **limited(channel_questions_per_minute=2)) as world:
        assert await ask(world, 1) is Receipt.QUESTION
        assert await ask(world, 2, where=key("t2"), author=BEN) is Receipt.QUESTION
        assert await ask(world, 3, where=key("t3"), author=BEN) is Receipt.TOO_EARLY
        assert await ask(world, 4, where=key("t4", "c2"), author=BEN) is Receipt.QUESTION


async def test_missed_questions_count_at_the_time_when_they_were_sent(tmp_path: Path) -> None:
    async with world_at(tmp_path / "t.db", **limited(questions_per_minute=2)) as world:
        now = CLOCK.time()
        sent = [now - 900, now - 600, now - 599, now - 598, now - 300]
        await world.inbox.missed(
            [
                replace(said(number, where=key(f"t{number}")), sent_at=at)
                for number, at in enumerate(sent, 1)
            ]
        )
        await world.idle()
        stored = look(world.path, "SELECT position FROM messages WHERE kind = 'question'")
        assert stored == [(1,), (2,), (3,), (5,)]


class NoPrices:
    """Implements `PriceList`: no price is known."""

    async def quote(self, _model: ChatModel, _request: ChatRequest, input_tokens: int) -> Quote:
        return Quote("scripted", input_tokens, 100)

    async def cost(self, _model: str, _usage: Usage) -> int | None:
        return None


async def test_the_rate_survives_a_restart(tmp_path: Path) -> None:
    """Questions are counted from their rows, and retries from the requests that they caused."""
    path, options = tmp_path / "t.db", limited(questions_per_minute=4)
    async with opened(path) as store:
        meter = BudgetMeter(
            store=store.spending(), prices=NoPrices(), budgets=NoBudgets(), clock=CLOCK
        )
        world = world_of(path, store, meter=meter, **options)
        await ask(world, 1)
        await ask(world, 2, where=key("t2"))
        await world.command(RETRY)
        await world.idle()
        await world.content.fetcher.aclose()
    async with world_at(path, **options) as world:
        assert not await world.store.has_several_workspaces()
        world.rates.restore(await world.store.recent_questions(CLOCK.time() - MINUTE))
        assert await ask(world, 4) is Receipt.QUESTION
        assert await ask(world, 5) is Receipt.TOO_EARLY
        assert await ask(world, 6, author=BEN) is Receipt.QUESTION
        await ask(world, 7, where=replace(key(), workspace="w2"))
        assert await world.store.has_several_workspaces()


# ── concurrent answers ────────────────────────────────────────────────────────────────────────
async def flood(world: World, count: int, workspace: str = "w1", people: int = 1) -> None:
    for number in range(count):
        where = ConversationKey("sim", workspace, "flooded", f"f{number}")
        author = replace(BEN, id=f"B{number % people}")
        await world.inbox.receive(said(1_000 + number, "flood", where=where, author=author))


def texts_of(world: World) -> list[str]:
    """The questions that the model received, in order, without their authors' names."""
    return [request.messages[-1].content.partition(": ")[2] for request in world.model.requests]


async def test_a_person_has_no_more_answers_at_the_same_time_than_the_rules_allow(
    tmp_path: Path,
) -> None:
    """Further questions wait their turn, and no one else waits for them."""
    async with world_at(tmp_path / "t.db", **limited(concurrent=1)) as world:
        world.model.hold = asyncio.Event()
        await flood(world, 3)
        await until(lambda: len(world.model.requests) == 1)
        await world.inbox.receive(said(1, "hers"))
        await until(lambda: len(world.model.requests) == 2)
        assert texts_of(world) == ["flood", "hers"]
        await until(
            lambda: any(texts.WAITS_ITS_TURN in str(world.shown(f"f{n}")) for n in range(3))
        )
        world.model.hold.set()
        await world.idle()
        assert texts_of(world) == ["flood", "hers", "flood", "flood"]


async def test_the_next_model_request_is_that_of_a_person_or_workspace_without_one(
    tmp_path: Path,
) -> None:
    """Two hundred questions by one person, or by many people in one workspace, are running or
    waiting."""
    for people, running in ((1, 3), (200, 4)):
        async with world_at(tmp_path / f"{people}.db", max_concurrent=5) as world:
            await ask(world, 1, "earlier", where=key("e"))
            world.model.hold = asyncio.Event()
            await flood(world, 200, "w2", people)
            await until(lambda world=world, n=1 + running: len(world.model.requests) == n)
            await world.inbox.receive(said(2, "hers"))
            await until(lambda world=world: "hers" in texts_of(world))
            assert texts_of(world) == ["earlier", *["flood"] * running, "hers"]
            world.model.hold.set()
            await world.idle()
            assert world.outcomes() == [("answered", None)] * 202
