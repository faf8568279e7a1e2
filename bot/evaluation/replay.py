"""Asks a model past questions, a few at a time, without any platform.

Invariant: each case gets exactly one answer; a failure is also an answer, with a sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo

from bot.context.budgets import ContextBudgets
from bot.context.roles import add_names
from bot.context.window import ContextWindow, today
from bot.domain import texts
from bot.domain.conversations import Author, Message
from bot.domain.errors import ContextTooLong, ModelError
from bot.domain.evaluation import Answer, Case
from bot.domain.model import ChatRequest, Usage
from bot.domain.policy import Redaction
from bot.domain.prompts import Prompt
from bot.domain.tokens import count_tokens, message_tokens
from bot.ports.clock import Clock
from bot.ports.model import ChatModel
from bot.ports.spending import PriceList

MOST_TRIES = 4
"""Requests for one case, each half as long as the last: a window may be smaller than announced."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The parts of each request apart from its conversation. None means the provider's default.

    `prompts` are those of profiles; they replace `prompt` for replies that were made with these
    profiles. `redact`: see `ChatRequest`; a case does not record the rules of its place.
    """

    prompt: Prompt
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    zone: tzinfo | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    redact: tuple[Redaction, ...] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected size of a replay. `cost`: billionths of a dollar; None if a price is unknown."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost: int | None


class Replay:
    """Replays cases with one model."""

    def __init__(
        self,
        *,
        model: ChatModel,
        prices: PriceList,
        budgets: ContextBudgets,
        clock: Clock,
        options: ReplayOptions,
    ) -> None:
        self._model, self._prices, self._clock = model, prices, clock
        self._budgets, self._options = budgets, options

    async def estimate(self, cases: Sequence[Case]) -> Estimate:
        """Estimate the answers to `cases`, assuming that they are as long as the old ones."""
        asked = said = 0
        cost: int | None = 0
        for case in cases:
            request = self.request(case, self._budgets.get(self._model))
            tokens, answer = sum(map(message_tokens, request.messages)), _expected(case)
            quote = await self._prices.quote(self._model, request, tokens)
            asked, said = asked + tokens, said + answer
            if cost is None or quote.input_cost is None or quote.output_price is None:
                cost = None
            else:
                cost += quote.input_cost + round(quote.output_price * answer)
        return Estimate(len(cases), asked, said, cost)

    def request(self, case: Case, budget: int) -> ChatRequest:
        """The request for a case within `budget` tokens, with the date of the case."""
        messages = [
            Message(each.role, each.content, _author(each.author), index, index + 1)
            for index, each in enumerate(case.messages)
        ]
        questions = frozenset(message.id for message in messages[-case.questions :])
        window = ContextWindow(
            budget=budget,
            prompt=self._options.prompts.get(case.profile, self._options.prompt),
            questions=questions,
            today=today(case.at, self._options.zone),
        )
        window.add(reversed(add_names(messages) if case.shared else messages))
        return ChatRequest(
            window.messages(),
            self._options.max_tokens,
            temperature=self._options.temperature,
            redact=frozenset(self._options.redact),
        )

    async def run(
        self,
        cases: Sequence[Case],
        *,
        at_once: int,
        done: Callable[[Case, Answer], Awaitable[None]],
    ) -> None:
        """Answer all cases, `at_once` at a time; `done` receives each answer as it completes."""
        waiting = iter(cases)

        async def work() -> None:
            for case in waiting:
                await done(case, await self.answer(case))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(cases))):
                group.create_task(work())

    async def answer(self, case: Case) -> Answer:
        """The model's answer to a case. Errors that concern only this case are not raised."""
        budget = self._budgets.get(self._model)
        for _ in range(MOST_TRIES):
            request = self.request(case, budget)
            attempt = _Attempt(self._clock)
            try:
                await attempt.stream(self._model, request)
            except ContextTooLong as error:
                if not attempt.text:
                    attempt.error = texts.model_failure(error)
                    budget = sum(map(message_tokens, request.messages)) // 2
                    continue
            except ModelError as error:
                attempt.error = texts.model_failure(error)
            break
        return await self._add_cost(attempt.result())

    async def _add_cost(self, answer: Answer) -> Answer:
        if answer.usage is None:
            return answer
        return replace(answer, cost=await self._prices.cost(answer.model, answer.usage))


class _Attempt:
    """One request, and its answer so far."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._begun = clock, clock.monotonic()
        self._first: float | None = None
        self._usage: Usage | None = None
        self._model, self.text, self.error = "", "", ""

    async def stream(self, model: ChatModel, request: ChatRequest) -> None:
        """Read the answer. Raises ModelError, but keeps the text read so far."""
        async for delta in model.stream(request):
            if delta.text and self._first is None:
                self._first = self._clock.monotonic() - self._begun
            self.text += delta.text
            self._model = delta.model or self._model
            self._usage = delta.usage or self._usage
        if not self.text.strip():
            self.error = texts.EMPTY_ANSWER

    def result(self) -> Answer:
        """The answer so far."""
        return Answer(
            text=self.text.strip(),
            model=self._model,
            usage=self._usage,
            first_token_seconds=self._first,
            seconds=self._clock.monotonic() - self._begun,
            error=self.error,
        )


def _author(name: str) -> Author | None:
    return Author(name, name) if name else None


def _expected(case: Case) -> int:
    """The tokens of an answer as long as the old one."""
    usage = case.reply.usage
    return count_tokens(case.reply.text) if usage is None else usage.output_tokens
