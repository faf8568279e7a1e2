"""Summarizes the oldest messages of conversations in the background, between two turns.

Invariants: at most one model call per ended turn, and one at a time per conversation. No answer
depends on a summary: without one, the oldest messages are simply left out. If a message is edited
or erased while a summary is being written, the summary is not stored. See
docs/decisions/2026-11-29-old-messages-are-summarized.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog
from cachetools import TTLCache

from bot.common.fair_slots import FairSlots, SlotOwner
from bot.context.segments import Segment, SegmentReader, WindowUse
from bot.context.summary_answer import SummaryAnswer, read_answer
from bot.context.summary_prompt import (
    answer_tokens,
    build_request,
    empty_request_tokens,
    is_useful,
    read_notes,
)
from bot.domain.context import ContextState, Summary
from bot.domain.conversations import Conversation
from bot.domain.errors import ContextTooLong, ModelError, NoBudget, QueueFull, StoreUnavailable
from bot.domain.model import BUILT_IN
from bot.domain.spending import Purpose, Spender
from bot.domain.tokens import message_tokens
from bot.domain.turns import Claim
from bot.policy.no_meter import NoMeter
from bot.ports.attachments import AttachmentStore
from bot.ports.context import ContextStore
from bot.ports.model import ChatModel
from bot.ports.spending import Meter
from bot.ports.store import Store

log = structlog.stdlib.get_logger(__name__)

SUMMARY_SHARE = 0.1
"""The size of a summary, as a share of the budget."""

MAX_SUMMARY_TOKENS = 1_500
"""About a page: each turn pays for a summary's tokens, and models rarely write a longer one."""

MIN_SUMMARY_TOKENS = 50
"""Below this size no summary is written: two sentences cannot represent a conversation."""

CALL_SECONDS = 300.0
"""The longest call in seconds: without a GPU, 16,000 tokens take a model a few minutes."""

WAIT_SECONDS = 5.0
"""Seconds that a turn with a full window waits for a summary in progress."""

RUNNING, WAITING = 4, 200
"""Concurrent calls, and conversations waiting for one. Conversations beyond these limits are tried
again after their next turn."""

MAX_PAUSE = 64
"""The most turns that a conversation skips after repeated failures."""

REMEMBERED_FAILURES = 10_000
FORGET_FAILURES_SECONDS = 86_400.0


def summary_tokens(budget: int) -> int:
    """The size of a summary for requests of `budget` tokens; 0 if it would be too small."""
    tokens = min(int(SUMMARY_SHARE * budget), MAX_SUMMARY_TOKENS)
    return tokens if tokens >= MIN_SUMMARY_TOKENS else 0


def _owner(claim: Claim) -> SlotOwner:
    """The owner of the slot: the person who asked last."""
    key, authors = claim.conversation.key, [question.author.id for question in claim.asked]
    return SlotOwner((key.platform, key.workspace), authors[-1] if authors else "")


class Compactor:
    """Summarizes conversations after their turns.

    `summarizer` returns the model that summarizes a conversation, or None to leave the conversation
    as it is; its second argument is the model that the rules assign to the place. `budget` is the
    largest request to a model, in tokens. `meter` charges the requests to the conversation's
    channel, not to a person.
    """

    def __init__(
        self,
        *,
        store: Store,
        contexts: ContextStore,
        attachments: AttachmentStore,
        summarizer: Callable[[Conversation, str | None], ChatModel | None],
        budget: Callable[[ChatModel], int],
        call_seconds: float = CALL_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
        meter: Meter | None = None,
    ) -> None:
        self._store, self._contexts, self._attachments = store, contexts, attachments
        self._summarizer, self._budget = summarizer, budget
        self._call_seconds, self._wait_seconds = call_seconds, wait_seconds
        self._meter = meter or NoMeter()
        self._running = FairSlots(running=RUNNING, queued=RUNNING + WAITING)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._failures = _Failures()
        # By model: the segment size in tokens after a longer segment was refused.
        self._rooms: TTLCache[str, int] = TTLCache(1_000, FORGET_FAILURES_SECONDS)
        self._stopping = False

    @property
    def busy(self) -> int:
        """The number of conversations that are being summarized or waiting for it."""
        return len(self._tasks)

    def turn_ended(self, claim: Claim, use: WindowUse) -> None:
        """Start summarizing the turn's conversation, if that is due and possible.

        Call this once the reply is shown. Returns immediately and raises nothing.
        """
        conversation, tokens = claim.conversation, summary_tokens(use.budget)
        if not (use.start or use.is_full) or not tokens or self._is_taken(conversation.id):
            return
        model = self._summarizer(conversation, use.assigned)
        if model is None or not set(BUILT_IN).isdisjoint(model.name.split(",")):
            return
        if self._failures.is_pausing(conversation.id, model.name):
            return
        job = _Job(claim, use, model, tokens)
        task = asyncio.create_task(self._run(job), name=f"compaction-{conversation.id}")
        self._tasks[conversation.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(conversation.id, None))

    def _is_taken(self, conversation: int) -> bool:
        full = len(self._tasks) >= RUNNING + WAITING
        return self._stopping or full or conversation in self._tasks

    async def wait(self, conversation: int) -> None:
        """Wait a few seconds for this conversation's summary, if one is being written."""
        task = self._tasks.get(conversation)
        if task is not None:
            await asyncio.wait({task}, timeout=self._wait_seconds)

    def stop(self) -> None:
        """Start no more summaries."""
        self._stopping = True

    async def aclose(self) -> None:
        """Cancel all summaries; their conversations are summarized after a later turn."""
        self.stop()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # ── one conversation ──────────────────────────────────────────────────────────────────────
    async def _run(self, job: _Job) -> None:
        """Summarize the next segment; errors do not propagate."""
        conversation, model = job.claim.conversation.id, job.model.name
        try:
            async with self._running.take(_owner(job.claim)), asyncio.timeout(self._call_seconds):
                failure = await self._summarize(job)
        except (ModelError, NoBudget, TimeoutError) as error:
            failure = type(error).__name__
        except StoreUnavailable as error:
            log.warning("no summary: the database failed", error=str(error))
            return
        except QueueFull:
            log.info("no summary: too many are waiting", conversation=conversation)
            return
        except Exception:
            # The task's boundary: an unexpected error costs only this summary, and a pause.
            log.exception("no summary", conversation=conversation)
            failure = "unexpected"
        if failure:
            pause = self._failures.record(conversation, model)
            log.warning("no summary", conversation=conversation, why=failure, pause_turns=pause)
        elif failure is not None:
            self._failures.forget(conversation, model)

    async def _summarize(self, job: _Job) -> str | None:
        """Summarize and store. Returns why that failed, "" on success, or None if nothing is due.

        Raises ModelError, NoBudget or StoreUnavailable.
        """
        claim, conversation = job.claim, job.claim.conversation.id
        # Read before the messages: it changes with each of them.
        state = await self._contexts.read_state(
            conversation, epoch=claim.epoch, model=job.model.name
        )
        segment = await self._next_segment(job, state)
        if segment is None:
            return None
        answer, segment = await self._ask(job, state, segment)
        notes = read_notes(answer.text)
        earlier = state.summary.text if state.summary is not None else ""
        if not answer.is_complete or not is_useful(
            notes, earlier=earlier, source_tokens=segment.tokens, tokens=job.tokens
        ):
            return f"useless: {answer.describe(notes)}"
        summary = Summary(notes, segment.before, answer.model or job.model.name)
        if not await self._contexts.save_summary(
            conversation, epoch=claim.epoch, revision=state.revision, summary=summary
        ):
            return "the conversation changed"
        answer.log_usage(conversation, segment)
        return ""

    async def _next_segment(self, job: _Job, state: ContextState) -> Segment | None:
        notes = state.summary.text if state.summary is not None else ""
        budget = min(job.use.budget, self._budget(job.model))
        facts = job.model.facts
        if facts.window is not None:
            budget = min(budget, facts.window - answer_tokens(job.tokens, facts))
        room = min(budget - empty_request_tokens(notes), self._rooms.get(job.model.name, budget))
        if room < job.tokens:  # summarizing a segment of this size would not save room
            log.info("no summary: the model's window is too small", model=job.model.name)
            return None
        reader = SegmentReader(store=self._store, attachments=self._attachments, claim=job.claim)
        return await reader.next_segment(state, job.use, room)

    async def _ask(
        self, job: _Job, state: ContextState, segment: Segment
    ) -> tuple[SummaryAnswer, Segment]:
        """Ask for a summary of the segment, or of about half if the whole is too long."""
        try:
            return await self._call(job, state, segment), segment
        except ContextTooLong:
            half = segment.half()
            if half is None:
                raise
        self._rooms[job.model.name] = half.tokens
        return await self._call(job, state, half), half

    async def _call(self, job: _Job, state: ContextState, segment: Segment) -> SummaryAnswer:
        request = build_request(
            [message.quoted() for message in segment.messages],
            notes=state.summary.text if state.summary is not None else "",
            tokens=job.tokens,
            facts=job.model.facts,
        )
        request = replace(request, redact=job.use.redact)
        spender = Spender(job.claim.conversation.key, purpose=Purpose.SUMMARY)
        tokens = sum(map(message_tokens, request.messages))
        async with self._meter.stream(spender, job.model, request, tokens) as stream:
            return await read_answer(stream.deltas, request)


@dataclass(frozen=True, slots=True)
class _Job:
    """A conversation to summarize after a turn, in a summary of up to `tokens`."""

    claim: Claim
    use: WindowUse
    model: ChatModel
    tokens: int


class _Failures:
    """The turns to skip after failures, by conversation and model: 2, 4, 8 …"""

    def __init__(self) -> None:
        self._pauses: TTLCache[tuple[int, str], tuple[int, int]] = TTLCache(
            REMEMBERED_FAILURES, FORGET_FAILURES_SECONDS
        )

    def is_pausing(self, conversation: int, model: str) -> bool:
        """Whether to skip this turn; counts the turn."""
        failures, turns = self._pauses.get((conversation, model), (0, 0))
        if turns:
            self._pauses[conversation, model] = failures, turns - 1
        return turns > 0

    def record(self, conversation: int, model: str) -> int:
        """Record a failure; return the number of turns to skip."""
        failures = self._pauses.get((conversation, model), (0, 0))[0] + 1
        turns: int = min(2**failures, MAX_PAUSE)
        self._pauses[conversation, model] = failures, turns
        return turns

    def forget(self, conversation: int, model: str) -> None:
        """Reset after the model has summarized the conversation."""
        self._pauses.pop((conversation, model), None)
