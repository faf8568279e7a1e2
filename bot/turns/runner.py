"""One turn: context → model → reply → result, which is stored before its last text is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from bot.common.retry import retry_while_unavailable
from bot.context.compaction import Compactor
from bot.context.requests import ContextPorts, RequestBuilder
from bot.context.segments import WindowUse
from bot.context.turn_attachments import AttachmentPorts, TurnAttachments
from bot.domain import attachment_labels, spending_texts, texts
from bot.domain.errors import (
    BudgetHeld,
    BudgetSpent,
    CannotSee,
    ContextTooLong,
    Gone,
    ImageRefused,
    LostOwnership,
    ModelError,
    NoBudget,
    QueueFull,
    Refused,
)
from bot.domain.failures import FailureReason
from bot.domain.model import ChatRequest, Delta
from bot.domain.replies import Control
from bot.domain.spending import Spender
from bot.domain.turns import Claim, Outcome, TurnResult
from bot.policy.no_meter import NoMeter
from bot.ports.model import ChatModel, ModelCatalog
from bot.ports.platform import Surface
from bot.ports.spending import Meter
from bot.ports.store import Store
from bot.replies.publisher import Publisher
from bot.turns.display import ReplyParts
from bot.turns.outcome import (
    ReplyDraft,
    completed_result,
    controls_for,
    failed_result,
    interrupted_result,
    notice_for,
    refused_result,
    result_to_show,
    result_without_model,
)
from bot.turns.reasoning import ReasoningView
from bot.turns.scheduler import Interrupt
from bot.turns.slots import TurnSlots

log = structlog.stdlib.get_logger(__name__)

READING_NOTE_SECONDS = 1.0
"""Seconds after which the reply says that files are being read."""


class TurnRunner:
    """Runs turns. `surface` makes the surface of a reply; None as `compactor`: no summaries.

    `meter` keeps each request within the budgets.
    """

    def __init__(
        self,
        *,
        store: Store,
        surface: Callable[[Claim], Surface],
        models: ModelCatalog,
        context: ContextPorts,
        attachments: AttachmentPorts,
        compactor: Compactor | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.store, self.surface, self.clock = store, surface, context.clock
        self.options, self.attachments = context.options, attachments
        self.slots = TurnSlots(running=self.options.max_concurrent, queued=self.options.max_queued)
        self.compactor, self.meter = compactor, meter or NoMeter()
        self._models, self._context = models, context

    async def run(self, claim: Claim, interrupt: Interrupt) -> None:
        """Bring the claimed turn to exactly one outcome.

        Raises StoreUnavailable if the history cannot be read, and Down while the platform's adapter
        does not run. A cancelled turn stays unfinished in the store.
        """
        try:
            await _Attempt(self, claim, interrupt).run()
        except LostOwnership as error:
            log.info("the attempt lost its turn", reason=str(error))

    async def is_rateable(self, claim: Claim) -> bool:
        """Whether people may vote on the claim's reply."""
        return (await self._context.profile(claim.conversation)).feedback

    async def prepare(
        self, claim: Claim, attachments: TurnAttachments, instead: str | None = None
    ) -> tuple[ChatModel, RequestBuilder]:
        """The model that answers an attempt, and what builds the requests to it.

        `instead` is the model that a budget names for when it is spent.
        """
        profile = await self._context.profile(claim.conversation)
        requests = RequestBuilder(
            ports=self._context, claim=claim, attachments=attachments, profile=profile
        )
        if instead is not None:
            return self._models.get(None, instead), requests
        return profile.model(self._models, claim.conversation), requests


class _Attempt:
    """One attempt at one turn, with all of its state."""

    def __init__(self, runner: TurnRunner, claim: Claim, interrupt: Interrupt) -> None:
        self._runner, self._claim, self._interrupt = runner, claim, interrupt
        self._store = runner.store
        self._draft = ReplyDraft(notice_for(claim), ReasoningView(runner.options.reasoning))
        self._result = claim.result
        self._attachments = TurnAttachments(runner.attachments, claim)
        self._use: WindowUse | None = None  # once the model has answered
        self._spent: dict[str, str] = {}  # budgets that are spent, and the model that answers then
        self._has_opening = False
        # Known before the answer, so that a silent directory does not delay its end.
        self._is_rateable: bool | None = None

    async def run(self) -> None:
        """Run from the claim to the last page."""
        try:
            result = await self._show()
        except Gone as error:
            log.warning("the reply's channel is gone", reason=str(error))
            result = await self._conclude(self._draft.to_result(Outcome.GONE))
        fence = self._claim.fence
        await retry_while_unavailable(lambda: self._store.finish(fence), self._runner.clock.sleep)
        log.info(
            "turn ended",
            outcome=result.outcome.value,
            attempt=self._claim.fence.attempt,
            model=result.model,
            error=result.failure and result.failure.value,
        )
        if self._runner.compactor is not None and self._use is not None:
            self._runner.compactor.turn_ended(self._claim, self._use)

    async def _show(self) -> TurnResult:
        async with Publisher(
            surface=self._runner.surface(self._claim),
            ledger=self._store,
            fence=self._claim.fence,
            clock=self._runner.clock,
            pages=self._claim.pages,
            controls=(Control.STOP,),
        ) as reply:
            result = self._result
            if result is None:
                without_model = result_without_model(self._claim, self._draft)
                result = await self._conclude(without_model or await self._answer(reply))
            shown = result_to_show(self._claim, result)
            if shown is not result:
                log.error("the reply cannot be shown", failures=self._claim.failures)
            rateable = self._is_rateable
            if rateable is None:  # an earlier attempt asked the model
                rateable = await self._runner.is_rateable(self._claim)
            await _show_result(reply, controls_for(shown, rateable=rateable), shown.display)
            return result

    async def _conclude(self, result: TurnResult) -> TurnResult:
        """Store the turn's result and return it; an earlier result wins."""
        if self._result is None:
            # Only this process has the answer, so it waits for a database that fails.
            fence = self._claim.fence
            await retry_while_unavailable(
                lambda: self._store.conclude(fence, result), self._runner.clock.sleep
            )
            self._result = result
        return self._result

    async def _answer(self, reply: Publisher) -> TurnResult:
        draft = self._draft
        if self._claim.pages and self._claim.tries == 1:  # reopened by a person, not by a crash
            reply.note(texts.note(texts.AGAIN))
        try:
            completed = await self._interrupt.guard(self._stream(reply))
        except QueueFull as error:
            sentence = texts.TOO_MANY_OF_YOURS if error.own else texts.TOO_BUSY
            return draft.to_result(Outcome.FAILED, sentence, FailureReason.QUEUE_FULL)
        except NoBudget as error:
            log.info("no budget", error=repr(error))
            return refused_result(draft, error, self._runner.options.zone)
        except ModelError as error:
            log.warning(
                "the model failed",
                error=repr(error),
                cause=repr(error.__cause__),
                provider_message=error.provider_message,
            )
            return failed_result(draft, error)
        if self._interrupt.restarting:
            raise LostOwnership("the turn was reopened")
        if completed is None:
            return interrupted_result(draft, self._interrupt.reason or Outcome.STOPPED)
        return completed_result(draft)

    async def _stream(self, reply: Publisher) -> bool:
        """Stream the model's answer into `reply`. True, so that `guard` can tell it from None."""
        await self._receive_attachments(reply)
        if self._has_nothing_to_ask():
            return True
        while True:
            try:
                return await self._take_turn(reply)
            except BudgetHeld as error:
                reply.note(texts.note(spending_texts.WAITING), queued=True)
                await self._runner.meter.wait_for_room(error)
            except BudgetSpent as error:
                self._use_cheaper_model(error)

    async def _take_turn(self, reply: Publisher) -> bool:
        """Ask the model when there is a slot. Raises NoBudget, also when another try may help."""
        on_wait = partial(reply.note, texts.note(texts.QUEUED), queued=True)
        async with self._runner.slots.take(_person(self._claim), on_wait=on_wait):
            instead = next(reversed(self._spent.values()), None)
            model, requests = await self._runner.prepare(self._claim, self._attachments, instead)
            self._is_rateable = requests.is_rateable
            async with reply.cancel_on_failure():
                await self._ask_with_less(model, requests, reply)
        return True

    def _use_cheaper_model(self, error: BudgetSpent) -> None:
        """Let the model answer that the budget names for when it is spent; else raise `error`."""
        budget = error.line.budget
        if not budget.then or budget.name in self._spent:
            raise error
        self._spent[budget.name] = budget.then
        notice = (self._draft.notice, spending_texts.cheaper(error.line))
        self._draft.notice = " ".join(filter(None, notice))

    async def _receive_attachments(self, reply: Publisher) -> None:
        """Wait for the questions' files and links, and say so if that takes long."""
        note = texts.note(attachment_labels.READING)
        timer = asyncio.get_running_loop().call_later(READING_NOTE_SECONDS, reply.note, note)
        try:
            await self._attachments.arrive()
        finally:
            timer.cancel()
        notice = (self._draft.notice, await self._attachments.spoken())
        self._draft.notice = " ".join(filter(None, notice))

    def _has_nothing_to_ask(self) -> bool:
        """Whether there is only an attachment that cannot be read; the draft then says why."""
        if any(question.text for question in self._claim.asked) or self._attachments.can_be_read:
            return False
        self._draft.unasked = self._attachments.has_any
        self._draft.omissions = self._attachments.unread()
        return self._draft.unasked

    async def _ask_with_less(
        self, model: ChatModel, requests: RequestBuilder, reply: Publisher
    ) -> None:
        """Ask the model, with less in the request for as long as that is why it is refused."""
        request = await requests.first(model)
        while True:
            self._draft.shortened = requests.shortened
            self._draft.omissions = requests.omissions
            self._draft.summarized = requests.has_new_summary
            self._draft.request_tokens = requests.tokens
            self._draft.made_with = requests.made_with
            try:
                await self._ask(model, request, requests.expected_tokens, reply)
                self._use = requests.use(self._draft.content)
                return await requests.record_answer(self._draft.model, self._draft.usage)
            except (ContextTooLong, CannotSee, ImageRefused) as error:
                if self._draft.text:
                    raise
                less = await requests.with_less(model, request, error)
                if less is None:
                    raise
                request = less

    async def _ask(
        self, model: ChatModel, request: ChatRequest, tokens: float, reply: Publisher
    ) -> None:
        spender, stream = _spender(self._claim), None
        try:
            async with self._runner.meter.stream(
                spender, model, request, tokens, spent=self._spent
            ) as stream:
                self._open(reply)
                async for delta in stream.deltas:
                    self._show_delta(delta, reply)
        finally:
            if stream is not None:
                self._draft.budget_notices += spending_texts.notices(stream.nearly_spent)

    def _open(self, reply: Publisher) -> None:
        """Write what is above the answer, once."""
        opening = ReplyParts(notice=self._draft.notice).opening()
        if opening and not self._has_opening:
            reply.write(opening)
        self._has_opening = True

    def _show_delta(self, delta: Delta, reply: Publisher) -> None:
        if delta.loading:
            reply.note(texts.note(texts.LOADING))
            return
        reasoning = self._draft.reasoning
        self._draft.add(delta, self._runner.clock.time())
        if delta.reasoning:
            now = self._runner.clock.monotonic()
            reasoning.show_progress(now, note=reply.note, sign=reply.note_working)
        if delta.text:
            if reasoning.pending:
                reply.write(ReplyParts(reasoning=reasoning.text()).opening())
            reply.write(delta.text)


def _spender(claim: Claim) -> Spender:
    """The author of the first question pays, also for edits and retries."""
    author = claim.asked[0].author if claim.asked else None
    return Spender(claim.conversation.key, author, claim.fence)


def _person(claim: Claim) -> tuple[str, str, str]:
    """The person whose slot the turn takes: the author of its first question, also for retries."""
    key, author = claim.conversation.key, claim.asked[0].author if claim.asked else None
    return key.platform, key.workspace, author.id if author is not None else ""


async def _show_result(reply: Publisher, controls: tuple[Control, ...], display: str) -> None:
    """Show the whole reply; as plain text if the platform refuses its Markdown."""
    try:
        reply.finish(display, controls=controls)
        await reply.wait_until_shown()
    except Refused as error:
        log.error("the platform refused the reply", error=str(error))
        plain = texts.SHOWN_PLAINLY + "\n\n" + _indent(display)
        reply.finish(plain, controls=controls)
        await reply.wait_until_shown()


def _indent(markdown: str) -> str:
    """The text as an indented code block, in which nothing is markup."""
    return "\n".join("    " + line for line in markdown.splitlines())
