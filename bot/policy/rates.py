"""Limits how many questions people and channels may ask per minute.

Invariant: in the minute before each question, no more questions were counted than the rules allow
at its place, even across restarts. Only the last second of other processes may be missing. A
person's questions in all channels of a workspace count together. A question counts at the time at
which it was sent, so an hour of missed questions is not a burst when it arrives.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from cachetools import TTLCache

from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import CountedQuestion
from bot.domain.policy import Limits
from bot.ports.clock import Clock
from bot.ports.policy import Policy

MINUTE = 60.0

ASK_SECONDS = 1.0
"""The maximum age of the counts of other processes."""

MAX_ACCOUNTS = 100_000
"""The most people and channels to remember, to bound the memory; more than will ask within a
minute."""

MAX_TIMES = 10_000
"""Questions to remember per account: the highest limit that can be enforced exactly."""


@dataclass(frozen=True, slots=True)
class RateRefusal:
    """A question came too early, by `seconds`. `own`: the person reached their own limit."""

    seconds: float
    own: bool


class QuestionRates:
    """Counts questions, retries and continuations. Without a `policy`, nothing is limited.

    `stored` returns the last minute's questions of all processes, if there may be others. It is
    called at most once a second, and only where a limit applies.
    """

    def __init__(
        self,
        policy: Policy | None,
        clock: Clock,
        stored: Callable[[], Awaitable[Iterable[CountedQuestion]]] | None = None,
    ) -> None:
        self._policy, self._clock, self._stored = policy, clock, stored
        self._asked_at = -ASK_SECONDS
        # The times of the questions of each person and channel, in order.
        self._times: TTLCache[Hashable, list[float]] = TTLCache(
            MAX_ACCOUNTS, MINUTE, clock.monotonic
        )

    @property
    def is_shared(self) -> bool:
        """Whether other processes accept questions, too."""
        return self._stored is not None

    def restore(self, questions: Iterable[CountedQuestion]) -> None:
        """Count questions that were asked before the process started."""
        for question in questions:
            self.add(question.key, question.author, question.at)

    async def count(self, key: ConversationKey, author: Author, at: float) -> RateRefusal | None:
        """Count a question that was sent at `at`, in Unix seconds, unless it is refused."""
        refusal = await self.refusal(key, author, at)
        if refusal is None:  # do not await between the decision and the count
            self.add(key, author.id, at)
        return refusal

    async def refusal(self, key: ConversationKey, author: Author, at: float) -> RateRefusal | None:
        """The refusal of a question that was sent at `at`; None if it is allowed."""
        limits = Limits()
        if self._policy is not None:
            limits = (await self._policy.effective(key)).limits.value
        if (
            limits.questions_per_minute is not None
            or limits.channel_questions_per_minute is not None
        ):
            await self._learn()
        person, channel = _accounts(key, author.id)
        waits = (
            (self._wait(person, limits.questions_per_minute, at), True),
            (self._wait(channel, limits.channel_questions_per_minute, at), False),
        )
        seconds, own = max(waits, key=lambda wait: wait[0])
        return RateRefusal(seconds, own) if seconds > 0 else None

    async def _learn(self) -> None:
        """Add the questions that other processes have accepted since the last call."""
        now = self._clock.monotonic()
        if self._stored is None or now - self._asked_at < ASK_SECONDS:
            return
        self._asked_at = now
        with suppress(StoreUnavailable):  # only this process's questions count until then
            for question in await self._stored():
                for account in _accounts(question.key, question.author):
                    if question.at not in self._times.get(account, ()):
                        self._count(account, question.at)

    def add(self, key: ConversationKey, person: str, at: float) -> None:
        """Count a question without checking whether it is allowed."""
        for account in _accounts(key, person):
            self._count(account, at)

    def _count(self, account: Hashable, at: float) -> None:
        times = self._times.get(account, [])
        insort(times, at)
        del times[:-MAX_TIMES]
        self._times[account] = times

    def take_back(self, key: ConversationKey, author: Author, at: float) -> None:
        """Undo the count of a message that turned out not to be a question."""
        for account in _accounts(key, author.id):
            times = self._times.get(account, [])
            if at in times:
                times.remove(at)

    def _wait(self, account: Hashable, limit: int | None, at: float) -> float:
        """Seconds until the account has room for another question; 0 if it has room now."""
        times = self._times.get(account, [])
        last = bisect_right(times, at)
        if limit is None or last - bisect_right(times, at - MINUTE, 0, last) < limit:
            return 0.0
        oldest = times[last - limit]
        return min(MINUTE, max(1.0, oldest + MINUTE - self._clock.time()))


def _accounts(key: ConversationKey, person: str) -> tuple[Hashable, Hashable]:
    return (
        (key.platform, key.counting_workspace(person), "person", person),
        (key.platform, key.workspace, "channel", key.channel),
    )
