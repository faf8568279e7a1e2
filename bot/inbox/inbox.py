"""Stores each message, command and edit in one transaction before the platform gets its
acknowledgement (invariant 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import structlog

from bot.common.retry import retry_while_unavailable
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import (
    Accepted,
    Address,
    Choice,
    Command,
    CommandReply,
    Incoming,
    Receipt,
)
from bot.inbox import commands
from bot.inbox.access import Admission
from bot.inbox.attachments import AttachmentIntake
from bot.inbox.catch_up_records import CatchUpRecords
from bot.inbox.command_executor import CommandExecutor
from bot.inbox.edits import RECENT_EDIT_SECONDS, EditHandler
from bot.inbox.gates import Gates
from bot.inbox.notices import StorageNotices
from bot.inbox.order import ArrivalOrder, Place
from bot.inbox.twins import Twins
from bot.ports.clock import Clock
from bot.ports.metrics import NO_OBSERVER, Observer
from bot.ports.model import ModelCatalog
from bot.ports.store import Store
from bot.ports.tracing import NullTracer, Tracer
from bot.turns.scheduler import Scheduler

log = structlog.stdlib.get_logger(__name__)

RECENT_CHOICES = 5
"""The most conversations of a person to offer for a reset in a channel."""


class DurableInbox(CatchUpRecords):
    """Implements `bot.ports.inbox.Inbox` on the store."""

    def __init__(
        self,
        *,
        store: Store,
        scheduler: Scheduler,
        commands: commands.Commands,
        models: ModelCatalog,
        gates: Gates,
        edits: EditHandler,
        clock: Clock,
        missed_seconds: float,
        intake: AttachmentIntake,
        observer: Observer = NO_OBSERVER,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(store, clock)
        self._tracer = tracer or NullTracer()
        self._observer = observer
        self._scheduler = scheduler
        self._models, self._edits = models, edits
        self._missed_seconds, self._intake = missed_seconds, intake
        self._gate, self._rates = gates.access, gates.rates
        self._backlog, self._replies = gates.backlog, gates.replies
        self._commands = CommandExecutor(
            commands=commands,
            store=store,
            gate=self._gate,
            rates=self._rates,
            replies=self._replies,
        )
        self._notices = StorageNotices(clock.monotonic)
        self._order, self._twins = ArrivalOrder(), Twins(clock.monotonic)
        self._connected: set[str] = set()

    # ── access ────────────────────────────────────────────────────────────────────────────────
    def listens(self, channel: ConversationKey, category: str = "") -> bool:
        """Whether messages that address no one may be questions in this channel."""
        return self._gate.listens(channel, category)

    async def refusal(self, key: ConversationKey, author: Author) -> str:
        """The reason why a person may not ask here; "" if they may, or if that is unknown."""
        return await self._gate.refusal(key, author)

    async def wait_seconds(self, key: ConversationKey, author: Author) -> float:
        """Seconds until a person may ask here again; 0 means now."""
        return await self._rates.wait_seconds(key, author)

    # ── messages ──────────────────────────────────────────────────────────────────────────────
    async def receive(self, incoming: Incoming) -> Receipt:
        """Accept a message. Raises StoreUnavailable if it could not be stored."""
        self._observer.event_received(incoming.key.platform)
        command = commands.parse(incoming, self._models.names)
        with self._order.enter(incoming.key) as place:
            if command is not None:
                if command.name != commands.STOP:  # a stop never waits
                    await place.wait()
                return await self._commands.receive(incoming, command)
            if await self._twins.is_stored(incoming, place):
                return Receipt.KNOWN
            with self._waking_conversations() as accepted:
                accepted.append(await self._accept(incoming, place))
            self._twins.received(incoming, accepted[0])
            return accepted[0].receipt

    async def apology_due(self, incoming: Incoming) -> bool:
        """Whether to tell the author now that this message could not be stored."""
        addressed = incoming.address in (Address.MENTION, Address.DIRECT)
        with suppress(StoreUnavailable):  # a database that rejects writes may still be readable
            admission = await self._gate.admit(incoming)
            addressed = admission is not None and not (
                admission.refused or admission.incoming.address is Address.ASIDE
            )
        return addressed and self._notices.is_due(incoming)

    async def edited(self, incoming: Incoming, edited_at: float) -> None:
        """Apply an edit, or receive the message if only the edit makes it address the bot.

        So is a message that the edit has overtaken. An edit by a person who may not ask changes
        nothing.
        """
        self._observer.event_received(incoming.key.platform)
        await self._order.settle(incoming.key)  # the message itself may still be arriving
        is_known = await self._store.conversation_of(incoming.source) is not None
        if not is_known and not incoming.address.begins:
            if await self._is_on_its_way(incoming):
                await self.receive(incoming)
            return
        admission = await self._gate.judge_edit(incoming)
        if is_known and admission.refused:
            if self._clock.time() - edited_at < RECENT_EDIT_SECONDS:  # not an old edit, read again
                await self._gate.refuse(admission)
            return
        if not await self._apply_edit(admission, edited_at):
            await self.receive(incoming)
        self._intake.wake(incoming)

    async def _is_on_its_way(self, incoming: Incoming) -> bool:
        """Whether an unknown message may still arrive, with its older text.

        It was sent just now, after its conversation had begun.

        Another process may be storing it, or the platform delivers it again after a failure.
        """
        is_recent = self._clock.time() - incoming.sent_at < RECENT_EDIT_SECONDS
        return is_recent and await self._store.has_message_before(incoming.key, incoming.position)

    async def _apply_edit(self, admission: Admission, edited_at: float) -> bool:
        prepared = self._intake.prepare(admission.incoming)
        return await self._edits.apply_edit(
            prepared,
            edited_at,
            withheld=admission.withheld,
            on_reopened=lambda: self._rates.count_edit(prepared),
        )

    async def deleted(self, source: str) -> None:
        """Apply a deletion."""
        await self._edits.apply_deletion(source)

    async def replaced(self, source: str) -> None:
        """Erase a message that another one replaces."""
        await self._edits.apply_replacement(source)

    async def gone(self, place: ConversationKey) -> None:
        """End the turns within a thread, channel or workspace that is no longer reachable."""
        self._edits.interrupt_within(place)

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    async def command(self, command: Command) -> CommandReply:
        """Execute a slash command, button or shortcut."""
        self._observer.event_received(command.key.platform)
        return await self._commands.run(command)

    async def conversation_of(self, source: str) -> ConversationKey | None:
        """The conversation that a platform message belongs to."""
        conversation = await self._store.conversation_of(source)
        return conversation.key if conversation else None

    async def recent(self, place: ConversationKey, author: str) -> Sequence[Choice]:
        """The person's latest conversations in a channel, each as a button to reset it."""
        found = await self._store.recent(place, author, RECENT_CHOICES)
        return [
            Choice(label=conversation.name, command=commands.RESET, key=conversation.key)
            for conversation in found
        ]

    # ── catching up ───────────────────────────────────────────────────────────────────────────
    async def connected(self, platform: str) -> None:
        """Continue this platform's unfinished turns, now that its events are arriving."""
        self._connected.add(platform)
        self._intake.progress.wake(platform)
        unfinished = await retry_while_unavailable(
            lambda: self._store.list_unfinished(platform), self._clock.sleep
        )
        if unfinished:
            log.info("continuing unfinished turns", platform=platform, turns=len(unfinished))
        for conversation in unfinished:
            self._scheduler.wake(conversation)

    def has_connected(self, platform: str) -> bool:
        """Whether this platform has ever connected."""
        return platform in self._connected

    async def missed(self, messages: Sequence[Incoming]) -> None:
        """Accept messages whose events were missed; their turns start after the last one.

        A message that was stored before may have been edited since; such an edit is applied, too.
        """
        too_old = self._clock.time() - self._missed_seconds
        with self._waking_conversations() as accepted:
            for incoming in messages:
                command = commands.parse(incoming, self._models.names)
                if command is not None:
                    await self._commands.receive_missed(incoming, command)
                else:
                    late = incoming.sent_at < too_old
                    if late and await self._is_passed_by(incoming):
                        continue
                    if await self._is_from_before(incoming):
                        continue
                    # Reading the channel around each missed mention would double the cost of the
                    # catch-up.
                    missed = replace(incoming, late=late, stands_alone=False)
                    with self._order.enter(missed.key) as place:
                        accepted.append(await self._accept(missed, place))
                    if accepted[-1].receipt is Receipt.KNOWN and incoming.edited_at is not None:
                        admission = await self._gate.judge_edit(incoming)
                        if not admission.refused:
                            await self._apply_edit(admission, incoming.edited_at)

    async def _is_from_before(self, incoming: Incoming) -> bool:
        """Whether people wrote this message among themselves, before anyone called the bot there.

        Such a message is history, read together with the mention if possible.
        """
        return incoming.address is Address.FOLLOW_UP and not await self._store.has_message_before(
            incoming.key, incoming.position
        )

    async def _is_passed_by(self, incoming: Incoming) -> bool:
        """Whether to skip a message that is too old to answer, addressed no one and is not stored.

        No one is waiting for its answer, and each apology would open a thread.
        """
        if incoming.address is not Address.CHANNEL:
            return False
        return await self._store.conversation_of(incoming.source) is None

    async def aclose(self) -> None:
        """Wait until all replies in progress are shown."""
        await self._replies.aclose()

    # ── parts ─────────────────────────────────────────────────────────────────────────────────
    async def _accept(self, incoming: Incoming, place: Place) -> Accepted:
        since = self._clock.time()
        admission = await self._gate.admit(incoming)
        if await place.wait() and admission is None:  # the conversation may exist now
            admission = await self._gate.admit(incoming)
        if admission is None:
            return Accepted(Receipt.IGNORED)
        if admission.refused:
            known = await self._store.conversation_of(incoming.source)
            return Accepted(Receipt.KNOWN if known else await self._gate.refuse(admission))
        accepted = await self._rates.accept(admission.incoming, partial(self._store_it, admission))
        self._tracer.received(incoming.key, accepted, since)
        return accepted

    async def _store_it(self, admission: Admission) -> Accepted:
        incoming = self._intake.prepare(admission.incoming)
        backlog = [self._intake.prepare(one) for one in await self._backlog.read(incoming)]
        accepted = await self._store.accept(incoming, backlog, withheld=admission.withheld)
        for each in (incoming, *backlog):
            self._intake.wake(each)
        log.debug("message", source=incoming.source, receipt=accepted.receipt.value)
        return accepted

    @contextmanager
    def _waking_conversations(self) -> Iterator[list[Accepted]]:
        """Wake the conversations of questions accepted in the block, even if it raises."""
        accepted: list[Accepted] = []
        try:
            yield accepted
        finally:
            for each in accepted:
                if each.receipt is Receipt.QUESTION and each.conversation is not None:
                    self._scheduler.wake(each.conversation)
