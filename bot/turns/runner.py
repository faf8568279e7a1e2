"""One turn: context → model → reply → outcome. Its end is stored before its last text is shown."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import partial

import structlog

from bot.common.retry import retry_while_unavailable
from bot.domain import texts
from bot.domain.errors import ContextTooLong, Gone, LostOwnership, ModelError, QueueFull, Refused
from bot.domain.model import ChatRequest, Delta, Reasoning
from bot.domain.replies import Control
from bot.domain.tokens import message_tokens
from bot.domain.turns import Claim, Outcome, TurnResult
from bot.ports.clock import Clock
from bot.ports.model import ChatModel
from bot.ports.platform import Surface
from bot.ports.store import Store
from bot.replies.publisher import Publisher
from bot.turns.context import ContextWindow, Windows, today
from bot.turns.outcome import (
    Draft,
    controls_for,
    ended,
    failed,
    interrupted,
    notice_of,
    showable,
    without_model,
)
from bot.turns.reasoning import Thoughts
from bot.turns.scheduler import Interrupt
from bot.turns.slots import Slots

log = structlog.stdlib.get_logger(__name__)

# Rows of history read at a time: most contexts need one read, and a long one a few.
HISTORY_ROWS = 50


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """What the settings say about answers."""

    system_prompt: str
    context_tokens: int
    zone: tzinfo | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    max_concurrent: int = 200
    max_queued: int = 2_000
    reasoning: Reasoning = Reasoning.HIDDEN


class TurnRunner:
    """Does turns; `surface` makes the place for a reply, `models` are by their names."""

    def __init__(
        self,
        *,
        store: Store,
        surface: Callable[[Claim], Surface],
        default_model: ChatModel,
        models: Mapping[str, ChatModel],
        options: TurnOptions,
        clock: Clock,
    ) -> None:
        self.store, self.surface, self.clock = store, surface, clock
        self.options = options
        self.slots = Slots(running=options.max_concurrent, queued=options.max_queued)
        self._default_model, self._models = default_model, models
        self.windows = Windows()

    async def run(self, claim: Claim, interrupt: Interrupt) -> None:
        """Answer the claimed questions, whatever happens, with exactly one outcome.

        Only bugs, StoreUnavailable (a history that cannot be read) and Down get out; a cancelled
        turn stays unfinished in the store.
        """
        try:
            await _Attempt(self, claim, interrupt).run()
        except LostOwnership as error:
            log.info("the attempt is over", reason=str(error))

    def model(self, claim: Claim) -> ChatModel:
        """The conversation's model, or the default where it chose none that is still offered."""
        chosen = claim.conversation.model
        return self._models.get(chosen, self._default_model) if chosen else self._default_model


class _Attempt:
    """One attempt at one turn: its state lives here and nowhere else."""

    def __init__(self, runner: TurnRunner, claim: Claim, interrupt: Interrupt) -> None:
        self._runner, self._claim, self._interrupt = runner, claim, interrupt
        self._store = runner.store
        self._draft = Draft(notice_of(claim), Thoughts(runner.options.reasoning))
        self._conclusion = claim.conclusion

    async def run(self) -> None:
        """From the claim to the last page."""
        try:
            conclusion = await self._show()
        except Gone as error:
            log.warning("the reply's place is gone", reason=str(error))
            conclusion = await self._conclude(self._draft.conclude(Outcome.GONE))
        fence = self._claim.fence
        await retry_while_unavailable(lambda: self._store.finish(fence), self._runner.clock.sleep)
        log.info(
            "turn ended",
            outcome=conclusion.outcome.value,
            attempt=self._claim.fence.attempt,
            model=conclusion.model,
            error=conclusion.error,
        )

    async def _show(self) -> TurnResult:
        async with Publisher(
            surface=self._runner.surface(self._claim),
            ledger=self._store,
            fence=self._claim.fence,
            clock=self._runner.clock,
            pages=self._claim.pages,
            controls=(Control.STOP,),
        ) as reply:
            conclusion = self._conclusion
            if conclusion is None:
                without = without_model(self._claim, self._draft)
                conclusion = await self._conclude(without or await self._answer(reply))
            end = showable(self._claim, conclusion)
            if end is not conclusion:
                log.error("the reply cannot be shown", failures=self._claim.failures)
            await _show_end(reply, end)
            return conclusion

    async def _conclude(self, conclusion: TurnResult) -> TurnResult:
        """Store the end, unless there is one already: the first counts."""
        if self._conclusion is None:
            # The answer is here and nowhere else: a database that fails is waited for.
            fence = self._claim.fence
            await retry_while_unavailable(
                lambda: self._store.conclude(fence, conclusion), self._runner.clock.sleep
            )
            self._conclusion = conclusion
        return self._conclusion

    async def _answer(self, reply: Publisher) -> TurnResult:
        draft = self._draft
        if self._claim.pages and self._claim.tries == 1:  # a person asked for it again
            reply.note(texts.note(texts.AGAIN))
        try:
            done = await self._interrupt.guard(self._stream(reply))
        except QueueFull as error:
            sentence = texts.TOO_MANY_OF_YOURS if error.own else texts.TOO_BUSY
            return draft.conclude(Outcome.FAILED, sentence, "queue full")
        except ModelError as error:
            log.warning(
                "the model failed",
                error=repr(error),
                cause=repr(error.__cause__),
                said=error.said,
            )
            return failed(draft, error)
        if self._interrupt.again:
            raise LostOwnership("the turn begins anew")
        if done is None:
            return interrupted(draft, self._interrupt.reason or Outcome.STOPPED)
        return ended(draft)

    async def _stream(self, reply: Publisher) -> bool:
        """Bring the model's answer to the reply. True, so that `guard` can tell it from None."""
        draft = self._draft
        waits = partial(reply.note, texts.note(texts.QUEUED))
        async with self._runner.slots.take(_person(self._claim), on_wait=waits):
            model = self._runner.model(self._claim).name
            budget = self._runner.windows.budget(model, self._runner.options.context_tokens)
            request = await self._request(budget)
            if draft.notice:
                reply.write(draft.notice + "\n\n")
            async with reply.while_alive():
                await self._ask_as_much_as_fits(model, request, reply)
        return True

    async def _ask_as_much_as_fits(
        self, model: str, request: ChatRequest, reply: Publisher
    ) -> None:
        while True:
            try:
                return await self._ask(request, reply)
            except ContextTooLong as error:
                shorter = None
                if not self._draft.text:
                    shorter = await self._shorter(model, request, error)
                if shorter is None:
                    raise
                request = shorter

    async def _shorter(
        self, model: str, request: ChatRequest, error: ContextTooLong
    ) -> ChatRequest | None:
        """The request with less history; None when there is none left to leave out."""
        tokens = _tokens(request)
        budget = self._runner.windows.learn(model, tokens, request.max_tokens, error)
        while budget > 0:
            shorter = await self._request(budget)
            if shorter.messages != request.messages:
                log.info("too long for the model: asking again", tokens=tokens, budget=budget)
                return shorter
            budget //= 2
        return None

    async def _ask(self, request: ChatRequest, reply: Publisher) -> None:
        thoughts = self._draft.thoughts
        async with _deltas(self._runner.model(self._claim), request) as deltas:
            async for delta in deltas:
                if delta.loading:
                    reply.note(texts.note(texts.LOADING))
                    continue
                self._draft.take(delta, self._runner.clock.time())
                if delta.reasoning:
                    now = self._runner.clock.monotonic()
                    thoughts.tell(now, note=reply.note, sign=reply.sign)
                if delta.text:
                    if thoughts.pending:
                        reply.write(thoughts.above() + "\n\n")
                    reply.write(delta.text)

    async def _request(self, budget: int) -> ChatRequest:
        options = replace(self._runner.options, context_tokens=budget)
        now = self._runner.clock.time()
        window = await read_context(self._store, self._claim, options, now)
        self._draft.shortened = window.shortened
        return ChatRequest(
            messages=window.messages(),
            max_tokens=options.max_output_tokens,
            temperature=options.temperature,
        )


def _person(claim: Claim) -> tuple[str, str, str]:
    """Who asked first: edits, retries and new questions are all that person's."""
    key, author = claim.conversation.key, claim.asked[0].author if claim.asked else None
    return key.platform, key.workspace, author.id if author is not None else ""


def _tokens(request: ChatRequest) -> int:
    """What a request costs, by our own estimate."""
    return sum(map(message_tokens, request.messages))


async def _show_end(reply: Publisher, conclusion: TurnResult) -> None:
    """Show the whole reply; where the platform will not take its form, the bare words."""
    controls = controls_for(conclusion)
    try:
        reply.finish(conclusion.display, controls=controls)
        await reply.settled()
    except Refused as error:
        log.error("the platform refused the reply", error=str(error))
        plainly = texts.SHOWN_PLAINLY + "\n\n" + _plain(conclusion.display)
        reply.finish(plainly, controls=controls)
        await reply.settled()


def _plain(markdown: str) -> str:
    """The text as an indented block, which no renderer takes for markup."""
    return "\n".join("    " + line for line in markdown.splitlines())


@asynccontextmanager
async def _deltas(model: ChatModel, request: ChatRequest) -> AsyncIterator[AsyncIterator[Delta]]:
    """The model's stream, closed at once when we leave it early."""
    stream = model.stream(request)
    try:
        yield stream
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


async def read_context(
    store: Store, claim: Claim, options: TurnOptions, now: float
) -> ContextWindow:
    """What the model gets: read newest first, and only as far as the budget goes (invariant 9)."""
    before = claim.reply_index
    window = ContextWindow(
        budget=options.context_tokens,
        system_prompt=options.system_prompt,
        today=today(now, options.zone),
        questions=frozenset(question.id for question in claim.asked if not question.late),
    )
    while not window.full:
        rows = await store.history(
            claim.conversation.id, epoch=claim.epoch, before=before, limit=HISTORY_ROWS
        )
        window.add(rows)
        if len(rows) < HISTORY_ROWS:
            break
        before = rows[-1].index
    return window
