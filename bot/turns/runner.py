"""Runs one turn: context → model → reply → result, stored before its last text is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from bot.common.fair_slots import FairSlots
from bot.common.retry import retry_while_unavailable
from bot.context.compaction import Compactor
from bot.context.context_ports import ContextPorts
from bot.context.turn_attachments import AttachmentPorts
from bot.domain import texts
from bot.domain.errors import (
    Gone,
    LostOwnership,
    ModelError,
    NoBudget,
    NotAllowed,
    QueueFull,
    Refused,
)
from bot.domain.failures import FailureReason
from bot.domain.replies import Control
from bot.domain.turns import Claim, Outcome, TurnResult
from bot.policy.no_meter import NoMeter
from bot.ports import tracing
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.ports.model import ModelCatalog
from bot.ports.platform import Surface
from bot.ports.spending import Meter
from bot.ports.store import Store
from bot.replies.publisher import Publisher
from bot.turns import owners
from bot.turns.access import AskerCheck
from bot.turns.display import ReplyParts
from bot.turns.exchange import ModelExchange
from bot.turns.outcome import (
    MAX_DISPLAY_FAILURES,
    ReplyDraft,
    completed_result,
    controls_for,
    failed_result,
    interrupted_result,
    not_allowed_result,
    notice_for,
    refused_result,
    result_to_show,
    result_without_model,
)
from bot.turns.questions import TurnQuestions
from bot.turns.reasoning import ReasoningView
from bot.turns.scheduler import Interrupt
from bot.turns.turn_ports import TurnPorts

log = structlog.stdlib.get_logger(__name__)


class TurnRunner:
    """Runs turns. `surface` creates a reply's surface; without `compactor`, nothing is summarized.

    `meter` keeps each request within the budgets. `is_shared`: the bot serves several workspaces.
    `observer` receives first texts and ends of turns.
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
        is_shared: bool = False,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        options = context.options
        self.ports = TurnPorts(
            store=store,
            models=models,
            context=context,
            attachments=attachments,
            slots=FairSlots(
                running=options.max_concurrent, queued=options.max_queued, is_shared=is_shared
            ),
            meter=meter or NoMeter(),
            askers=AskerCheck(context.policy, store, context.clock),
        )
        self.surface, self.compactor, self.observer = surface, compactor, observer

    async def run(self, claim: Claim, interrupt: Interrupt) -> None:
        """Bring the claimed turn to exactly one outcome.

        Raises StoreUnavailable if the history cannot be read, and Down while the platform's adapter
        does not run. A cancelled turn stays unfinished in the store.
        """
        try:
            await _Attempt(self, claim, interrupt).run()
        except LostOwnership as error:
            log.info("the attempt lost its turn", reason=str(error))


class _Attempt:
    """One attempt at one turn, with all of its state."""

    def __init__(self, runner: TurnRunner, claim: Claim, interrupt: Interrupt) -> None:
        self._runner, self._ports, self._interrupt = runner, runner.ports, interrupt
        self._store, self._fence = runner.ports.store, claim.fence
        reasoning = ReasoningView(runner.ports.options.reasoning)
        self._draft = ReplyDraft(notice_for(claim), reasoning)
        self._questions = TurnQuestions(runner.ports, claim, self._draft)
        self._result = claim.result
        self._exchange: ModelExchange | None = None  # set once there is something to ask

    @property
    def _claim(self) -> Claim:
        return self._questions.claim

    @property
    def _platform(self) -> str:
        return self._claim.conversation.key.platform

    async def run(self) -> None:
        """Run from the claim to the last page."""
        try:
            result = await self._show()
        except Gone as error:
            log.warning("the reply's channel is gone", reason=str(error))
            result = await self._conclude(self._draft.to_result(Outcome.GONE))
        except Refused as error:
            if self._claim.failures < MAX_DISPLAY_FAILURES:
                raise
            log.error("the platform takes no reply here at all", reason=str(error))
            result = await self._conclude(self._draft.to_result(Outcome.GONE))
        with tracing.span("finish"):
            await retry_while_unavailable(
                lambda: self._store.finish(self._fence), self._ports.clock.sleep
            )
        tracing.current().ended(result)
        self._runner.observer.turn_ended(self._platform, result.outcome, result.failure)
        log.info(
            "turn ended",
            outcome=result.outcome.value,
            attempt=self._fence.attempt,
            model=result.model,
            error=result.failure and result.failure.value,
        )
        use = self._exchange.use if self._exchange is not None else None
        if self._runner.compactor is not None and use is not None:
            self._runner.compactor.turn_ended(self._claim, use)

    async def _show(self) -> TurnResult:
        async with self._publisher() as reply:
            result = self._result
            if result is None:
                without_model = result_without_model(self._claim, self._draft)
                result = await self._conclude(without_model or await self._answer(reply))
            shown = result_to_show(self._claim, result)
            if shown is not result:
                log.error("the reply cannot be shown", failures=self._claim.failures)
            rateable = await self._ports.is_rateable(self._claim)
            with tracing.span("show result"):
                await _show_result(reply, controls_for(shown, rateable=rateable), shown.display)
            return result

    @asynccontextmanager
    async def _publisher(self) -> AsyncIterator[Publisher]:
        publisher = Publisher(
            surface=self._runner.surface(self._claim),
            ledger=self._store,
            fence=self._fence,
            clock=self._ports.clock,
            pages=self._claim.pages,
            controls=(Control.STOP,),
            owner=owners.reply_owner(self._claim),
            on_visible=self._report_first_text,
            lease=self._interrupt.lease,
        )
        async with publisher as reply:
            with self._runner.observer.watch_reply(self._platform, reply):
                yield reply

    def _report_first_text(self) -> None:
        """Report how long people waited for the first text.

        Skipped if people saw something earlier: in a rewritten reply, or one that a dead process
        began.
        """
        asked = [question.sent_at for question in self._claim.asked if not question.late]
        if asked and not self._claim.pages:
            seconds = max(0.0, self._ports.clock.time() - min(asked))
            self._runner.observer.first_text_shown(self._platform, seconds)

    async def _conclude(self, result: TurnResult) -> TurnResult:
        """Store the turn's result and return it; a result that is already stored wins."""
        if self._result is None:
            # Only this process has the answer, so it keeps retrying while the database fails.
            with tracing.span("conclude"):
                await retry_while_unavailable(
                    lambda: self._store.conclude(self._fence, result), self._ports.clock.sleep
                )
            self._result = result
        return self._result

    async def _answer(self, reply: Publisher) -> TurnResult:
        draft = self._draft
        if self._claim.pages and self._claim.tries == 1:  # reopened by a person, not after a crash
            reply.note(texts.note(texts.AGAIN))
        try:
            completed = await self._interrupt.guard(self._stream(reply))
        except QueueFull as error:
            sentence = texts.TOO_MANY_OF_YOURS if error.own else texts.TOO_BUSY
            return draft.to_result(Outcome.FAILED, sentence, FailureReason.QUEUE_FULL)
        except NoBudget as error:
            log.info("no budget", error=repr(error))
            return refused_result(draft, error, self._ports.options.zone)
        except NotAllowed as error:
            return not_allowed_result(draft, error)
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
        """Stream the model's answer into `reply`.

        Returns True, because `Interrupt.guard` returns None if the work was interrupted.
        """
        with tracing.span("check askers"):
            await self._questions.check_askers()
        with tracing.span("receive attachments"):
            await self._questions.receive_attachments(reply)
        if not self._questions.has_nothing_to_ask():
            self._exchange = ModelExchange(self._ports, self._questions, self._draft, reply)
            await self._exchange.run()
        return True


async def _show_result(reply: Publisher, controls: tuple[Control, ...], display: str) -> None:
    """Show the whole reply. If the platform refuses its Markdown, show plain text; if it refuses
    the words (a filter of a server or a workspace), say so."""
    plain = texts.SHOWN_PLAINLY + "\n\n" + _indent(display)
    for text in (display, plain):
        try:
            reply.finish(text, controls=controls)
            return await reply.wait_until_shown()
        except Refused as error:
            log.error("the platform refused the reply", error=str(error))
    sentence = ReplyParts(sentences=(texts.NOT_ACCEPTED,)).markdown()
    reply.finish(sentence, controls=controls)
    return await reply.wait_until_shown()


def _indent(markdown: str) -> str:
    """Indent the text as a code block, so that nothing in it is markup."""
    return "\n".join("    " + line for line in markdown.splitlines())
