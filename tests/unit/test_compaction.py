"""When the oldest messages are summarized, which ones, and what stops a summary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bot.context.compaction import RUNNING, WAITING, summary_tokens
from bot.context.segments import CATCH_UP_MESSAGES, KEPT
from bot.domain import errors
from bot.domain.attachments import AttachmentKind, Extract
from bot.domain.context import Summary
from bot.domain.errors import BudgetSpent, ContextTooLong, ModelError, StoreUnavailable
from bot.domain.model import ChatRequest, Delta, ModelFacts
from bot.domain.policy import Budget, BudgetScope, Period
from bot.domain.spending import BudgetLine, PeriodSpan, Purpose, Spender
from bot.domain.tokens import message_tokens
from bot.policy.no_meter import NoMeter, PlainStream
from bot.ports.model import ChatModel
from tests.support.compaction_kit import Memory, Summarizer, compactor_of, end_turn, idle
from tests.support.store_kit import until

BUDGET = 2_000

OF_ONE_PERSON = RUNNING - 1  # the last slot is for another person


def text_of(summary: Summary | None) -> str:
    assert summary is not None
    return summary.text


def full_memory(*, fact: str = "FACT: the code is 7Q4") -> Memory:
    """A conversation that fills 90 % of the budget; its first message is `fact`."""
    memory = Memory()
    memory.say(fact)
    memory.say("Noted.", author=None)
    memory.converse(25, size=30)
    return memory


async def test_a_window_with_room_is_left_alone() -> None:
    memory, model = Memory(), Summarizer()
    memory.converse(15, size=30)
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    assert model.requests == [] and memory.reads == 0


async def test_the_oldest_messages_of_an_almost_full_window_are_summarized_ahead() -> None:
    """The window then begins after them, with a question, and is at most `KEPT` full."""
    memory, model = full_memory(), Summarizer()
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    state = memory.state
    assert text_of(state.summary) == "FACT: the code is 7Q4"
    assert state.summary is not None and state.summary.before == state.start > 0
    assert memory.messages[state.start].author is not None
    kept = sum(map(message_tokens, memory.messages[state.start :]))
    assert (KEPT - 0.1) * BUDGET < kept <= KEPT * BUDGET


async def test_one_call_a_turn_catches_up_in_order_and_keeps_the_earlier_notes() -> None:
    """Messages that left the window without a summary are covered, beginning with the oldest."""
    memory, model = Memory(), Summarizer()
    for number in range(8):
        memory.say(f"FACT {number}")
        memory.say("Noted.", author=None)
        memory.converse(12, size=30)
    memory.state = replace(memory.state, start=200)
    compactor, covered = compactor_of(memory, model), []
    for call in range(1, 9):
        await end_turn(compactor, memory, budget=BUDGET)
        assert len(model.requests) <= call
        covered.append(memory.state.summary.before if memory.state.summary else 0)
    assert covered == sorted(covered) and covered[-1] == 200
    assert len(model.requests) == len(set(covered)) > 2
    assert text_of(memory.state.summary).splitlines() == [f"FACT {n}" for n in range(8)]


async def test_the_cost_of_catching_up_does_not_grow_with_the_history() -> None:
    memory, model = Memory(), Summarizer()
    memory.converse(CATCH_UP_MESSAGES, size=3)
    memory.state = replace(memory.state, start=2 * CATCH_UP_MESSAGES - 10)
    await end_turn(compactor_of(memory, model), memory, budget=16_000)
    first = 2 * CATCH_UP_MESSAGES - 10 - CATCH_UP_MESSAGES
    sent = model.requests[0].messages[1].content
    assert sent.index("wrote:\n> question ") == sent.index(f"wrote:\n> question {first}\n")
    assert sum(map(message_tokens, model.requests[0].messages)) <= 16_000


async def test_the_newest_turn_is_never_summarized() -> None:
    """It is left out even if it fills the window, because people edit and retry it."""
    memory, model = Memory(), Summarizer()
    memory.converse(3, size=30)
    memory.say("FACT: " + "long " * 1_500)
    memory.say("Yes.", author=None)
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    assert model.requests == []  # the window shortens it, and keeps older messages
    memory.converse(20, size=60)
    memory.say("FACT: " + "long " * 1_500)
    memory.say("Yes.", author=None)
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    assert "FACT" not in text_of(memory.state.summary).partition("long")[2]
    assert memory.state.summary is not None and 0 < memory.state.summary.before < 48


async def test_a_message_longer_than_a_request_is_summarized_in_part() -> None:
    memory, model = Memory(), Summarizer()
    memory.say("FACT: at the beginning\n" + "long\n" * 9_000)
    memory.say("Yes.", author=None)
    memory.converse(2)
    memory.state = replace(memory.state, start=2)
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    (request,) = model.requests
    assert sum(map(message_tokens, request.messages)) <= BUDGET
    assert text_of(memory.state.summary) == "FACT: at the beginning"


async def test_attachments_are_named_and_the_words_of_a_voice_message_are_summarized() -> None:
    memory, model = Memory(), Summarizer()
    memory.say("look")
    document = Extract(kind=AttachmentKind.DOCUMENT, media_type="", text="the body")
    memory.attach("plan.pdf", extract=document)
    memory.say("Fine.", author=None)
    memory.say("")
    speech = Extract(kind=AttachmentKind.AUDIO, media_type="", text="call me Ishmael")
    memory.attach("voice.ogg", extract=speech, is_voice=True)
    memory.say("Hello, Ishmael.", author=None)
    memory.converse(1)
    memory.state = replace(memory.state, start=4)
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    sent = model.requests[0].messages[1].content
    assert '> [File "plan.pdf"]' in sent and "the body" not in sent
    assert "Ann wrote:\n> call me Ishmael" in sent


@pytest.mark.parametrize("name", ["echo", "openai:x,echo"])
async def test_echo_never_summarizes(name: str) -> None:
    memory, model = full_memory(), Summarizer(name=name)
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    assert model.requests == []


async def test_no_model_and_a_tiny_budget_switch_summaries_off() -> None:
    memory, model = full_memory(), Summarizer()
    await end_turn(compactor_of(memory, None), memory, budget=BUDGET)
    await end_turn(compactor_of(memory, model), memory, budget=256)
    assert model.requests == [] and memory.reads == 0
    assert summary_tokens(256) == 0 and summary_tokens(16_000) == summary_tokens(99_000) == 1_500


# ── failures ──────────────────────────────────────────────────────────────────────────────────
MODEL_ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ModelError) and kind is not ModelError
]
ANSWERS = {
    "empty": "",
    "without notes": "I am sorry, but I cannot help with that.",
    "empty notes": "<notes>\n\n</notes>",
    "punctuation": "<notes>…</notes>",
    "too long": "<notes>" + "word " * 400 + "</notes>",
    "endless": [Delta("word " * 1_000)] * 1_000,
    "endless thoughts": [Delta(reasoning="hm " * 1_000)] * 1_000,
}


@pytest.mark.parametrize("kind", MODEL_ERRORS, ids=lambda kind: kind.__name__)
async def test_a_model_that_fails_changes_nothing(kind: type[ModelError]) -> None:
    memory = full_memory()
    before = memory.state
    model = Summarizer(answer=lambda _: [Delta("<notes>half"), kind()])
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    assert memory.state == before
    assert len(model.requests) == (2 if kind is ContextTooLong else 1)


@pytest.mark.parametrize("name", list(ANSWERS))
async def test_a_useless_answer_changes_nothing(name: str) -> None:
    memory = full_memory()
    before, answer = memory.state, ANSWERS[name]
    model = Summarizer(answer=lambda _: answer)  # type: ignore[arg-type, return-value]
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    assert memory.state == before and len(model.requests) == 1
    assert model.open == 0


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_was_cut_off_changes_nothing(reason: str) -> None:
    memory = full_memory()
    before = memory.state
    await end_turn(compactor_of(memory, Summarizer(finish_reason=reason)), memory, budget=BUDGET)
    assert memory.state == before


async def test_a_model_that_hangs_is_given_up() -> None:
    memory = full_memory()
    before = memory.state
    model = Summarizer(answer=lambda _: [asyncio.Event()])
    await end_turn(compactor_of(memory, model, call_seconds=0.01), memory, budget=BUDGET)
    assert memory.state == before and model.open == 0


async def test_a_summary_that_loses_most_of_the_earlier_one_is_useless() -> None:
    """A refusal inside the notes must not replace the earlier notes."""
    memory, model = full_memory(), Summarizer()
    model.answer = lambda _: "<notes>" + "fact " * 40 + "</notes>"
    compactor = compactor_of(memory, model)
    await end_turn(compactor, memory, budget=BUDGET)
    first = memory.state
    assert first.summary is not None
    memory.converse(12)
    model.answer = lambda _: "<notes>I cannot help with that.</notes>"
    await end_turn(compactor, memory, budget=BUDGET)
    assert len(model.requests) == 2 and memory.state == first


async def test_each_further_failure_pauses_longer_and_a_success_ends_the_pause() -> None:
    """The second call comes after two turns without one, the third after four."""
    memory, model = full_memory(), Summarizer(answer=lambda _: "")
    compactor = compactor_of(memory, model)
    calls = []
    for turn in range(40):
        before = len(model.requests)
        await end_turn(compactor, memory, budget=BUDGET)
        calls += [turn] * (len(model.requests) - before)
    assert calls == [0, 3, 8, 17, 34]
    other = Summarizer(name="other")  # nothing is known about another model
    compactor._summarizer = lambda *_: other
    await end_turn(compactor, memory, budget=BUDGET)
    assert memory.state.summary is not None


async def test_a_segment_that_is_too_long_is_halved_once_and_the_size_remembered() -> None:
    memory = full_memory()

    def answer(request: object) -> str | list[Delta | ModelError]:
        size = len(model.requests[-1].messages[1].content)
        return [ContextTooLong()] if size > 1_500 else "<notes>FACT: short</notes>"

    model = Summarizer(answer=answer)  # type: ignore[arg-type]
    compactor = compactor_of(memory, model)
    await end_turn(compactor, memory, budget=BUDGET)
    assert len(model.requests) == 2
    covered = memory.state.start
    assert 0 < covered < 15
    memory.converse(14)
    await end_turn(compactor, memory, budget=BUDGET)
    assert len(model.requests) == 3 and memory.state.start > covered


async def test_a_window_without_room_for_a_segment_is_never_asked() -> None:
    memory, model = full_memory(), Summarizer(facts=ModelFacts(window=700))
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    assert model.requests == []


async def test_a_database_that_fails_costs_one_summary() -> None:
    memory, model = full_memory(), Summarizer()
    memory.fault = StoreUnavailable("locked")
    compactor = compactor_of(memory, model)
    await end_turn(compactor, memory, budget=BUDGET)
    memory.fault = None
    await end_turn(compactor, memory, budget=BUDGET)
    assert memory.state.summary is not None


async def test_an_unexpected_error_costs_one_summary() -> None:
    memory, model = full_memory(), Summarizer(answer=lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    await end_turn(compactor_of(memory, model), memory, budget=BUDGET)
    assert memory.state.summary is None


# ── changes while it runs ─────────────────────────────────────────────────────────────────────
async def test_a_message_that_changes_while_it_is_summarized_voids_the_summary() -> None:
    memory, gate = full_memory(), asyncio.Event()
    model = Summarizer(answer=lambda _: [gate, Delta("<notes>FACT: the code is 7Q4</notes>")])
    compactor = compactor_of(memory, model)
    compactor.turn_ended(memory.claim(), memory.use(BUDGET))
    await until(lambda: bool(model.requests))
    memory.edit(0, "FACT: the code is secret")
    gate.set()
    await idle(compactor)
    assert memory.state.summary is None and memory.state.start == 0


async def test_a_conversation_is_summarized_once_at_a_time() -> None:
    memory, gate = full_memory(), asyncio.Event()
    model = Summarizer(answer=lambda _: [gate])
    compactor = compactor_of(memory, model)
    for _ in range(3):
        compactor.turn_ended(memory.claim(), memory.use(BUDGET))
        await until(lambda: bool(model.requests))
    assert compactor.busy == len(model.requests) == 1
    gate.set()
    await idle(compactor)


async def test_a_few_conversations_are_summarized_at_a_time_and_a_bounded_number_waits() -> None:
    memory, gate = full_memory(), asyncio.Event()
    model = Summarizer(answer=lambda _: [gate, Delta("<notes>FACT: the code is 7Q4</notes>")])
    compactor = compactor_of(memory, model)
    for conversation in range(RUNNING + WAITING + 10):
        compactor.turn_ended(memory.claim(conversation=conversation), memory.use(BUDGET))
    await until(lambda: model.open == OF_ONE_PERSON)
    assert OF_ONE_PERSON < compactor.busy <= RUNNING + WAITING
    gate.set()
    await idle(compactor)
    assert model.most_open == OF_ONE_PERSON


async def test_a_turn_waits_a_bounded_time_for_a_summary() -> None:
    memory, gate = full_memory(), asyncio.Event()
    model = Summarizer(answer=lambda _: [gate, Delta("<notes>FACT: the code is 7Q4</notes>")])
    compactor = compactor_of(memory, model, wait_seconds=0.01)
    await compactor.wait(1)  # there is nothing to wait for
    compactor.turn_ended(memory.claim(), memory.use(BUDGET))
    await compactor.wait(1)
    assert memory.state.summary is None and compactor.busy == 1
    waiting = asyncio.create_task(compactor_wait_long(compactor))
    gate.set()
    await waiting
    assert memory.state.summary is not None


async def compactor_wait_long(compactor: object) -> None:
    compactor._wait_seconds = 30  # type: ignore[attr-defined]
    await compactor.wait(1)  # type: ignore[attr-defined]


async def test_a_shutdown_cancels_summaries_and_begins_no_more() -> None:
    memory = full_memory()
    model = Summarizer(answer=lambda _: [asyncio.Event()])
    compactor = compactor_of(memory, model)
    for conversation in range(RUNNING + 2):
        compactor.turn_ended(memory.claim(conversation=conversation), memory.use(BUDGET))
    await until(lambda: model.open == OF_ONE_PERSON)
    await compactor.aclose()
    assert compactor.busy == model.open == 0
    await end_turn(compactor, memory, budget=BUDGET)
    assert len(model.requests) == OF_ONE_PERSON


async def test_a_summary_counts_for_its_channel_and_needs_room_in_its_budgets() -> None:
    """No person asked for it, so it counts against no person's budget; a spent budget skips one
    summary."""
    spenders: list[Spender] = []
    budget = Budget(name="b", scope=BudgetScope.CHANNEL, period=Period.DAY, tokens=1)
    line = BudgetLine(budget, "a", PeriodSpan("2026-11-30", 0.0))

    class Recording(NoMeter):
        is_spent = True

        @asynccontextmanager
        async def stream(
            self,
            spender: Spender,
            model: ChatModel,
            request: ChatRequest,
            input_tokens: float,
            *,
            spent: Collection[str] = (),
        ) -> AsyncIterator[PlainStream]:
            spenders.append(spender)
            assert input_tokens > 100
            if self.is_spent:
                raise BudgetSpent(line)
            async with super().stream(spender, model, request, input_tokens) as stream:
                yield stream

    memory, model, meter = full_memory(), Summarizer(), Recording()
    compactor = compactor_of(memory, model, meter=meter)
    await end_turn(compactor, memory, budget=BUDGET)
    assert not model.requests and memory.state.summary is None
    meter.is_spent = False
    for _ in range(3):  # a failure pauses for two turns
        await end_turn(compactor, memory, budget=BUDGET)
    assert len(model.requests) == 1 and memory.state.summary is not None
    key = memory.claim(conversation=1).conversation.key
    assert spenders == [Spender(key, purpose=Purpose.SUMMARY)] * 2
