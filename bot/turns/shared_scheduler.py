"""The scheduler for several processes: sends a signal for turns that may run elsewhere.

Invariant: the database changes before a signal is sent, so a lost signal only causes a delay: the
next renewal of the turn's lease tells the process the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bot.domain.cluster import Signal, SignalKind, key_of, text_of
from bot.domain.conversations import ConversationKey
from bot.domain.turns import Claim, Outcome, Suspect
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster
from bot.ports.store import Store
from bot.ports.tracing import Tracer
from bot.turns.scheduler import Interrupt, Scheduler


class SharedScheduler(Scheduler):
    """A `Scheduler` that asks the other processes about turns that it does not run.

    `look` is called when a signal asks to check everything.
    """

    def __init__(
        self,
        *,
        store: Store,
        work: Callable[[Claim, Interrupt], Awaitable[None]],
        clock: Clock,
        cluster: Cluster,
        suspects: Sequence[Suspect] = (),
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(
            store=store, work=work, clock=clock, suspects=suspects, cluster=cluster, tracer=tracer
        )
        self._look: Callable[[], None] = lambda: None
        cluster.listen(SignalKind.WAKE, self._on_wake)
        cluster.listen(SignalKind.INTERRUPT, self._on_interrupt)
        cluster.listen(SignalKind.RESTART, self._on_restart)
        cluster.listen(SignalKind.GONE, self._on_gone)

    def connect(self, look: Callable[[], None]) -> None:
        """Call `look` when there may be turns that no process holds."""
        self._look = look

    # ── for the inbox ─────────────────────────────────────────────────────────────────────────
    def wake(self, conversation: int) -> None:
        """Like `Scheduler.wake`; while draining, leaves the turn to other processes."""
        if self._draining:
            self._cluster.send(Signal(SignalKind.WAKE, conversation))
        else:
            super().wake(conversation)

    def interrupt(self, conversation: int, reason: Outcome, turn: int | None = None) -> bool:
        """Like `Scheduler.interrupt`; returns whether the turn was running here."""
        here = super().interrupt(conversation, reason, turn)
        if not here:
            signal = Signal(SignalKind.INTERRUPT, conversation, turn or 0, reason=reason.value)
            self._cluster.send(signal)
        return here

    def interrupt_at(self, key: ConversationKey, reason: Outcome, turn: int | None = None) -> bool:
        """Like `Scheduler.interrupt_at`; returns whether the turn was running here."""
        here = self._interrupt_here(key, reason, turn)
        if not here:
            place = text_of(key)
            signal = Signal(SignalKind.INTERRUPT, 0, turn or 0, place, reason.value)
            self._cluster.send(signal)
        return here

    def interrupt_within(self, parent: ConversationKey, reason: Outcome) -> int:
        """Like `Scheduler.interrupt_within`, in all processes; returns how many ran here."""
        signal = Signal(SignalKind.GONE, place=text_of(parent), reason=reason.value)
        self._cluster.send(signal)
        return super().interrupt_within(parent, reason)

    def restart(self, conversation: int, turn: int) -> None:
        """Like `Scheduler.restart`. If another process holds the turn, that process restarts it."""
        running = self._interrupts.get(conversation)
        if running is None or running.turn != turn:
            self._cluster.send(Signal(SignalKind.RESTART, conversation, turn))
        super().restart(conversation, turn)

    # ── for the reaper ────────────────────────────────────────────────────────────────────────
    def wake_here(self, conversation: int) -> None:
        """Look for a turn of this conversation, unless this process is draining."""
        super().wake(conversation)

    def _leave(self, conversation: int) -> None:
        self._cluster.send(Signal(SignalKind.WAKE, conversation))

    # ── what other processes ask ──────────────────────────────────────────────────────────────
    async def _on_wake(self, signal: Signal) -> None:
        if signal.conversation:
            self.wake_here(signal.conversation)
        else:
            self._look()

    async def _on_interrupt(self, signal: Signal) -> None:
        reason, turn, key = Outcome(signal.reason), signal.turn or None, key_of(signal.place)
        if key is not None:
            self._interrupt_here(key, reason, turn)
        else:
            super().interrupt(signal.conversation, reason, turn)

    async def _on_restart(self, signal: Signal) -> None:
        running = self._interrupts.get(signal.conversation)
        if running is not None and running.turn == signal.turn:
            super().restart(signal.conversation, signal.turn)

    async def _on_gone(self, signal: Signal) -> None:
        key = key_of(signal.place)
        if key is not None:
            super().interrupt_within(key, Outcome(signal.reason))

    def _interrupt_here(self, key: ConversationKey, reason: Outcome, turn: int | None) -> bool:
        here = [number for number, running in self._interrupts.items() if running.key == key]
        interrupted = [Scheduler.interrupt(self, number, reason, turn) for number in here]
        return any(interrupted)
