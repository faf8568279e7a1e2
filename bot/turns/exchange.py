"""Sends requests to the model, one after the other, until one is answered.

A request waits for a slot and for room in the budgets. If it does not fit the model, it is repeated
with less content; if a budget refuses it, it is repeated with the cheaper model that this budget
names.
"""

from __future__ import annotations

import asyncio
import contextlib

from bot.common.fair_slots import WaitReason
from bot.context.requests import RequestBuilder
from bot.context.segments import WindowUse
from bot.domain import spending_texts, texts
from bot.domain.errors import BudgetHeld, BudgetSpent, CannotSee, ContextTooLong, ImageRefused
from bot.domain.model import ChatRequest, Delta
from bot.ports import tracing
from bot.ports.model import ChatModel
from bot.replies.publisher import Publisher
from bot.turns import owners
from bot.turns.access import AskerUnknown
from bot.turns.display import ReplyParts
from bot.turns.outcome import ReplyDraft
from bot.turns.questions import TurnQuestions
from bot.turns.turn_ports import TurnPorts

_WAITING = {WaitReason.BUSY: texts.QUEUED, WaitReason.LIMIT: texts.WAITS_ITS_TURN}


class ModelExchange:
    """Asks the model the questions of one attempt, and writes the answer to draft and reply.

    `use` is how much of the window the answered request used; None before the answer.
    """

    def __init__(
        self, ports: TurnPorts, questions: TurnQuestions, draft: ReplyDraft, reply: Publisher
    ) -> None:
        self._ports, self._questions = ports, questions
        self._draft, self._reply = draft, reply
        self._spent: dict[str, str] = {}  # spent budgets → the model that answers instead
        self._has_opening = False
        self.use: WindowUse | None = None

    async def run(self) -> None:
        """Ask until the model has answered.

        Raises QueueFull, NoBudget, NotAllowed or a ModelError.
        """
        while True:
            try:
                return await self._take_slot()
            except BudgetHeld as error:
                self._reply.note(texts.note(spending_texts.WAITING), queued=True)
                await self._ports.meter.wait_for_room(error)
                await self._check_askers()
            except AskerUnknown:  # release the slot to others while the platform does not answer
                await self._check_askers()
            except BudgetSpent as error:
                self._use_cheaper_model(error)

    async def _take_slot(self) -> None:
        """Wait for a slot, then ask the model.

        Raises NoBudget and AskerUnknown, even if another try could succeed.
        """
        queued = asyncio.Event()

        def say_why(reason: WaitReason) -> None:
            queued.set()
            self._reply.note(texts.note(_WAITING[reason]), queued=True)

        questions = self._questions
        owner = owners.slot_owner(questions.claim, await self._ports.limits(questions.claim))
        async with contextlib.AsyncExitStack() as stack:
            with tracing.span("wait for slot"):
                await stack.enter_async_context(self._ports.slots.take(owner, on_wait=say_why))
            if queued.is_set():  # the askers were checked a while ago
                await self._check_askers(patient=False)
            instead = next(reversed(self._spent.values()), None)
            with tracing.span("prepare context"):
                model, requests = await self._ports.prepare(
                    questions.claim, questions.attachments, instead
                )
            async with self._reply.cancel_on_failure():
                await self._ask_with_less(model, requests)

    async def _check_askers(self, *, patient: bool = True) -> None:
        if await self._questions.check_askers(patient=patient):
            await self._questions.receive_attachments(self._reply)

    def _use_cheaper_model(self, error: BudgetSpent) -> None:
        """Switch to the model that the spent budget names instead; else raise `error`."""
        budget = error.line.budget
        if not budget.then or budget.name in self._spent:
            raise error
        self._spent[budget.name] = budget.then
        self._draft.add_notice(spending_texts.cheaper(error.line))

    async def _ask_with_less(self, model: ChatModel, requests: RequestBuilder) -> None:
        """Ask the model; while the request is too large for it, retry with less."""
        with tracing.span("build request"):
            request = await requests.first(model)
        while True:
            self._draft.shortened = requests.shortened
            self._draft.omissions = requests.omissions
            self._draft.summarized = requests.has_new_summary
            self._draft.request_tokens = requests.tokens
            self._draft.made_with = requests.made_with
            try:
                await self._ask(model, request, requests.expected_tokens)
                self.use = requests.use(self._draft.content)
                return await requests.record_answer(self._draft.model, self._draft.usage)
            except (ContextTooLong, CannotSee, ImageRefused) as error:
                if self._draft.text:
                    raise
                less = await requests.with_less(model, request, error)
                if less is None:
                    raise
                request = less

    async def _ask(self, model: ChatModel, request: ChatRequest, tokens: float) -> None:
        spender, stream = owners.spender(self._questions.claim), None
        try:
            async with self._ports.meter.stream(
                spender, model, request, tokens, spent=self._spent
            ) as stream:
                self._open()
                async for delta in stream.deltas:
                    self._show_delta(delta)
        finally:
            if stream is not None:
                self._draft.budget_notices += spending_texts.notices(stream.nearly_spent)

    def _open(self) -> None:
        """Write the text above the answer, once."""
        opening = ReplyParts(notice=self._draft.notice).opening()
        if opening and not self._has_opening:
            self._reply.write(opening)
        self._has_opening = True

    def _show_delta(self, delta: Delta) -> None:
        reply, reasoning = self._reply, self._draft.reasoning
        if delta.loading:
            reply.note(texts.note(texts.LOADING))
            return
        self._draft.add(delta, self._ports.clock.time())
        if delta.reasoning:
            now = self._ports.clock.monotonic()
            reasoning.show_progress(now, note=reply.note, sign=reply.note_working)
        if delta.text:
            if reasoning.pending:
                reply.write(ReplyParts(reasoning=reasoning.text()).opening())
            reply.write(delta.text)
