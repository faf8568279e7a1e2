"""Many virtual users under fault injection: they ask, follow up, interrupt and reset.

One seed determines every random decision; only timing differs between runs.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.kills.control_scenario import UserActions
from tests.kills.fault_injection import FaultInjector
from tests.kills.process_pool import ProcessPool
from tests.kills.scenario import LONG, RATE, NotWithin
from tests.kills.world import BotMaker, World, new_world
from tests.support.platform_driver import ThreadRef
from tests.support.transcript import Question, Verdict

USERS = {"discord": 16, "slack": 12}  # concurrent users
CHANNELS = 4
MOST = 1_000  # conversations
# An outcome may take long: circuit breakers and Slack's retries add minutes.
PATIENCE = 150.0
# Extra time where several processes get Slack's events: messages that one of them lost are read
# after its lease by a process that lives long enough to read, while others are killed all the time.
READ_AGAIN = 150.0
# Extra time with several processes: kills prefer the one that holds turns, so toward the end of a
# run a reply may need ten attempts.
KILLED_AGAIN = 90.0
# An outcome may wait for this many of the longest Retry-After that the simulated Slack sends.
THROTTLED_TIMES = 4
# Slack's retries come after this fraction of 60 and 300 seconds.
RETRY_SCALE = 0.1
SLOWEST_COMMIT = 0.15  # seconds
DIRECT, STOPPED = 0.15, 0.08  # fractions of all questions
# Seconds that people wait for an effect. Then they edit again, even if Slack still has the first
# event to deliver. A deletion whose event Slack has given up is never noticed.
EDITED_WITHIN, EDITS = 20.0, 8
DELETED_WITHIN = 60.0
BREATH = 2.0  # seconds
PROBED = 8  # conversations that continue at the end, without faults


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one run."""

    seed: int
    verdict: Verdict
    conversations: int
    questions: int
    faults: Counter[str]
    deaths: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(
            (
                f"seed {self.seed}: {self.conversations} conversations, "
                f"{self.questions} questions, {self.deaths} deaths",
                f"  faults: {self.faults.total()} {dict(self.faults)}",
                f"  outcomes judged: {self.verdict.outcomes.total()} {dict(self.verdict.outcomes)}",
                f"  violations: {dict(self.verdict.kinds)}",
                f"  notes: {dict(Counter(self.notes))}",
            )
        )


class VirtualUsers(UserActions):
    """A scenario in which people begin conversations for `seconds`."""

    def __init__(self, world: World, rng: random.Random, seconds: float, patience: float) -> None:
        super().__init__(world, faulty=True, patience=patience)
        self._rng, self._seconds, self._until = rng, seconds, 0.0
        self._outcomes: dict[str, str] = {}
        self.said: list[Any] = []
        self.begun = 0

    async def run(self, injector: FaultInjector) -> Verdict:
        """Play users and faults until the time is over; then clear the faults, ask once more, and
        judge."""
        await self.world.connected()
        self._until = time.monotonic() + self._seconds
        watching = asyncio.create_task(self._watch())
        injecting = asyncio.create_task(injector.run())
        try:
            await asyncio.gather(*(self._person() for _ in range(USERS[self.world.driver.name])))
        finally:
            injecting.cancel()
            await asyncio.wait({injecting})
            await injector.clear()
        if not injecting.cancelled():
            injecting.result()
        try:
            await self._last_words()
            await self.settle()
        except NotWithin as error:
            self.violations.append(f"late: {error}")
        finally:
            watching.cancel()
        return await self.verdict()

    async def _last_words(self) -> None:
        answered = {question.where for question in self.questions if question.id in self._outcomes}
        for where in self._rng.sample(sorted(answered), min(PROBED, len(answered))):
            question = await self.ask(self.threads[where], "and what did we say?")
            await self.wait_outcome(question)
            while (
                self._turn(question, "outcome") == "failed"
            ):  # the circuit breaker may still be open
                await asyncio.sleep(BREATH)
                await self.retry(question)
            await self.wait_answered(question)

    # ── people ────────────────────────────────────────────────────────────────────────────────
    async def _person(self) -> None:
        """Have one conversation after another; a timeout is recorded as a violation."""
        while time.monotonic() < self._until and self.begun < MOST:
            self.begun += 1
            try:
                await self._chat()
            except NotWithin as error:
                self.violations.append(f"late: {error}")

    async def _chat(self) -> None:
        """One conversation of a few questions and other actions."""
        direct = self.world.driver.name == "slack" and self._rng.random() < DIRECT
        user = "alice" if direct else self._rng.choice(("alice", "bob"))
        question = await self._begin_conversation(user, direct)
        thread = self.threads[question.where]
        for _ in range(self._rng.choice((0, 1, 1, 2))):
            if time.monotonic() > self._until:
                return
            question = await self._more(thread, user, question)

    async def _begin_conversation(self, user: str, direct: bool) -> Question:
        """Ask the first question, in a random channel or a direct message."""
        channel = self._rng.choice(self.world.driver.channels)
        return await self._hear_outcome(
            await self.begin("first", user=user, direct=direct, channel=channel, **self._length())
        )

    async def _more(self, thread: ThreadRef, user: str, question: Question) -> Question:
        """Take a random action after `question`; returns the newest question."""
        act = self._rng.choices(
            (self._go_on, self._two_at_once, self._again, self._otherwise, self._forget, self._new),
            (6, 2, 2, 2, 1, 2),
        )[0]
        return await act(thread, user, question)

    async def _go_on(self, thread: ThreadRef, user: str, _: Question) -> Question:
        return await self._hear_outcome(
            await self.ask(thread, "and then?", user=user, **self._length())
        )

    async def _two_at_once(self, thread: ThreadRef, user: str, _: Question) -> Question:
        one = await self.ask(thread, "this", user=user)
        other = await self.ask(thread, "and that", user=user)
        one = self.change(one, beside=other.name)
        other = self.change(other, beside=one.name)
        await self.wait_outcome(one)
        await self.wait_outcome(other)
        return await self._go_on(thread, user, other)  # the order of the two is unknown

    async def _again(self, thread: ThreadRef, user: str, question: Question) -> Question:
        """Retry the whole turn."""
        await self.retry(question)
        return await self._go_on(thread, user, question)

    async def _otherwise(self, thread: ThreadRef, user: str, question: Question) -> Question:
        """Edit the question, and edit again if the event got lost and the bot did not notice.

        Any event may fall into a time without connection, after which only the most recent
        conversations are checked for edits, as documented.
        """
        for number in range(EDITS):
            with suppress(NotWithin):
                await self.edit(question, f"or rather {number}", within=EDITED_WITHIN)
                break
            self.notes.append("an edit was made again")
        else:
            self.change(question, edited="")
            self.notes.append("an edit was not learned of")
        return await self._go_on(thread, user, question)

    async def _forget(self, thread: ThreadRef, user: str, _: Question) -> Question:
        """Delete a question and ask another."""
        question = await self._go_on(thread, user, _)
        try:
            await self.delete(question, within=DELETED_WITHIN)
        except NotWithin:
            self.change(question, gone=False, perhaps=True)
            self.notes.append("a deletion was not learned of")
        return await self._go_on(thread, user, question)

    async def _new(self, thread: ThreadRef, user: str, question: Question) -> Question:
        """Reset the conversation, and sometimes undo that."""
        await self.reset(thread)
        if self._rng.random() < 0.5:
            await self.undo(thread)
        return await self._go_on(thread, user, question)

    def _length(self) -> dict[str, Any]:
        name = self.world.driver.name
        if self._rng.random() < 0.08:
            return {"words": LONG[name], "rate": RATE[name]}
        return {"words": self._rng.randint(3, 30), "rate": self._rng.choice((40.0, 80.0, 0.0))}

    # ── outcomes ──────────────────────────────────────────────────────────────────────────────────
    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            rows = self.world.query(
                "SELECT message_id, outcome FROM messages JOIN turns ON turns.id = turn_id"
                " WHERE kind = 'question' AND state = 'done'"
            )
            self._outcomes = dict(rows)

    async def _hear_outcome(self, question: Question) -> Question:
        """Wait for the question's outcome; some people stop it first, and pause after a failure."""
        self.said.append(self.native(question))
        if self._rng.random() < STOPPED:
            await self._lose_patience(question)
        await self.wait_outcome(question)
        if self._outcomes.get(question.id) == "failed":
            await asyncio.sleep(BREATH)
        return question

    async def _lose_patience(self, question: Question) -> None:
        async def something() -> bool:
            return question.id in self._outcomes or await self.shows(question, 0)

        await self.until(something, f"anything about {question.name}")
        self.change(question, ends="stopped")
        await self.word(self.threads[question.where], "stop")

    async def wait_outcome(self, question: Question) -> None:
        """Wait for any outcome of a question."""

        async def there() -> bool:
            return question.id in self._outcomes

        await self.until(there, f"an outcome for {question.name}")


async def _save_evidence(world: World, folder: Path) -> None:
    """Write every message of the bot with its versions, and every request to the platform."""
    lines = [asdict(post) for post in await world.posts()]
    lines += await world.driver.sim.requests()
    text = "\n".join(json.dumps(line, default=str) for line in lines)
    await asyncio.to_thread((folder / "evidence.jsonl").write_text, text)


async def run(
    platform: str,
    seed: int,
    pool: ProcessPool,
    folder: Path,
    *,
    seconds: float,
    make_bot: BotMaker | None = None,
) -> RunResult:
    """Play one run of at least `seconds`; see `new_world` for `make_bot`."""
    rng = random.Random(seed)
    slow = {"SLOW_COMMITS": f"{seed} {SLOWEST_COMMIT}"}
    async with new_world(platform, pool, folder, make_bot, **VirtualUsers.settings) as world:
        await world.driver.widen(CHANNELS)
        patience = PATIENCE + (KILLED_AGAIN if make_bot is not None else 0.0)
        if platform != "discord":
            await world.driver.sim.call("delivery", retry_scale=RETRY_SCALE)
            limits = await world.driver.sim.randomize(seed)
            patience += THROTTLED_TIMES * max(limits["retry_after"] or (0,))
            patience += READ_AGAIN if make_bot is not None else 0.0
        world.bot.later_environ = slow
        users = VirtualUsers(world, rng, seconds, patience)
        await users.first_start()
        await world.bot.start()
        injector = FaultInjector(world, random.Random(seed + 1), users.said)
        verdict = await users.run(injector)
        if verdict.violations:
            await _save_evidence(world, folder)
        return RunResult(
            seed=seed,
            verdict=verdict,
            conversations=users.begun,
            questions=len(users.questions),
            faults=injector.counts,
            deaths=world.bot.deaths,
            notes=tuple(users.notes),
        )
