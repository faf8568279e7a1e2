"""Many conversations in bad weather: people who ask, go on, interrupt and start over.

Everything that is decided by chance comes from one seed; what the machine's own timing adds is not.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kills.control import Acts
from tests.kills.fault_injection import FaultInjector
from tests.kills.process_pool import ProcessPool
from tests.kills.script import LONG, RATE, NotWithin
from tests.kills.world import World, new_world
from tests.support.scenes import ThreadRef
from tests.support.transcript import Asked, Verdict

CROWD = {"discord": 16, "slack": 12}  # people at once
CHANNELS = 4
MOST = 1_000  # conversations
# An outcome may be a while in coming: a model rests, a retry of Slack's takes its time.
PATIENCE = 150.0
# An outcome may wait for this many of the longest Retry-After that the simulated Slack draws.
THROTTLED_TIMES = 4
# Slack's retries come after so many times 60 and 300 seconds.
RETRY_SCALE = 0.1
SLOWEST_COMMIT = 0.15  # seconds
DIRECT, STOPPED = 0.15, 0.08  # of all questions
# People wait for so many seconds to see what they did. An edit is made again then, also where
# Slack still delivers the first; a deletion that no try of Slack's brought is never learned of.
EDITED_WITHIN, EDITS = 20.0, 8
DELETED_WITHIN = 60.0
BREATH = 2.0  # seconds
PROBED = 8  # conversations that are gone on with at the end, in calm


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    seed: int
    verdict: Verdict
    conversations: int
    questions: int
    troubles: Counter[str]
    deaths: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        kinds = self.verdict.kinds
        return "\n".join(
            (
                f"seed {self.seed}: {self.conversations} conversations, "
                f"{self.questions} questions, {self.deaths} deaths",
                f"  troubles: {self.troubles.total()} {dict(self.troubles)}",
                f"  outcomes judged: {self.verdict.outcomes.total()} {dict(self.verdict.outcomes)}",
                f"  lost {kinds['lost']}, doubled {kinds['doubled']}, cut {kinds['cut']}, "
                f"all faults: {dict(kinds)}",
                f"  notes: {dict(Counter(self.notes))}",
            )
        )


class VirtualUsers(Acts):
    """A scene of some length: its people begin conversations for so many `seconds`."""

    def __init__(self, world: World, dice: random.Random, seconds: float, patience: float) -> None:
        super().__init__(world, troubled=True, patience=patience)
        self._dice, self._seconds, self._until = dice, seconds, 0.0
        self._outcomes: dict[str, str] = {}
        self.said: list[Any] = []
        self.begun = 0

    async def run(self, weather: FaultInjector) -> Verdict:
        """People and trouble until the time is over, then calm, some last questions, a verdict."""
        await self.world.connected()
        self._until = time.monotonic() + self._seconds
        watching = asyncio.create_task(self._watch())
        blowing = asyncio.create_task(weather.blow())
        try:
            await asyncio.gather(*(self._person() for _ in range(CROWD[self.world.stage.name])))
        finally:
            blowing.cancel()
            await asyncio.wait({blowing})
            await weather.calm()
        if not blowing.cancelled():
            blowing.result()
        try:
            await self._last_words()
            await self.settle()
        except NotWithin as error:
            self.breaches.append(f"late: {error}")
        finally:
            watching.cancel()
        return await self.verdict()

    async def _last_words(self) -> None:
        answered = {asked.where for asked in self.asked if asked.id in self._outcomes}
        for where in self._dice.sample(sorted(answered), min(PROBED, len(answered))):
            asked = await self.ask(self.places[where], "and what did we say?")
            await self.ended(asked)
            while self._turn(asked, "outcome") == "failed":  # the model may still be resting
                await asyncio.sleep(BREATH)
                await self.retry(asked)
            await self.answered(asked)

    # ── people ────────────────────────────────────────────────────────────────────────────────
    async def _person(self) -> None:
        """Conversation after conversation; one that waited in vain says so, and begins another."""
        while time.monotonic() < self._until and self.begun < MOST:
            self.begun += 1
            try:
                await self._chat()
            except NotWithin as error:
                self.breaches.append(f"late: {error}")

    async def _chat(self) -> None:
        """One conversation of a few questions, and of what people do beside asking."""
        direct = self.world.stage.name == "slack" and self._dice.random() < DIRECT
        user = "alice" if direct else self._dice.choice(("alice", "bob"))
        asked = await self._begun(user, direct)
        place = self.places[asked.where]
        for _ in range(self._dice.choice((0, 1, 1, 2))):
            if time.monotonic() > self._until:
                return
            asked = await self._more(place, user, asked)

    async def _begun(self, user: str, direct: bool) -> Asked:
        """The first question, in some channel or in private."""
        channel = self._dice.choice(self.world.stage.channels)
        return await self._heard(
            await self.begin("first", user=user, direct=direct, channel=channel, **self._length())
        )

    async def _more(self, place: ThreadRef, user: str, asked: Asked) -> Asked:
        """What follows on `asked`; gives the question that is the last then."""
        act = self._dice.choices(
            (self._go_on, self._two_at_once, self._again, self._otherwise, self._forget, self._new),
            (6, 2, 2, 2, 1, 2),
        )[0]
        return await act(place, user, asked)

    async def _go_on(self, place: ThreadRef, user: str, _: Asked) -> Asked:
        return await self._heard(await self.ask(place, "and then?", user=user, **self._length()))

    async def _two_at_once(self, place: ThreadRef, user: str, _: Asked) -> Asked:
        one = await self.ask(place, "this", user=user)
        other = await self.ask(place, "and that", user=user)
        one = self.change(one, beside=other.name)
        other = self.change(other, beside=one.name)
        await self.ended(one)
        await self.ended(other)
        return await self._go_on(place, user, other)  # which of the two is the last nobody knows

    async def _again(self, place: ThreadRef, user: str, asked: Asked) -> Asked:
        """A retry, which is one of the whole turn."""
        await self.retry(asked)
        return await self._go_on(place, user, asked)

    async def _otherwise(self, place: ThreadRef, user: str, asked: Asked) -> Asked:
        """An edit; one whose event never came and that nothing else tells of is made again."""
        for number in range(EDITS):
            with suppress(NotWithin):
                await self.edit(asked, f"or rather {number}", within=EDITED_WITHIN)
                break
            self.notes.append("an edit was made again")
        return await self._go_on(place, user, asked)

    async def _forget(self, place: ThreadRef, user: str, _: Asked) -> Asked:
        """A deletion, and what is said after it."""
        asked = await self._go_on(place, user, _)
        try:
            await self.delete(asked, within=DELETED_WITHIN)
        except NotWithin:
            self.change(asked, gone=False, perhaps=True)
            self.notes.append("a deletion was not learned of")
        return await self._go_on(place, user, asked)

    async def _new(self, place: ThreadRef, user: str, asked: Asked) -> Asked:
        """A new beginning, which some regret."""
        await self.reset(place)
        if self._dice.random() < 0.5:
            await self.undo(place)
        return await self._go_on(place, user, asked)

    def _length(self) -> dict[str, Any]:
        name = self.world.stage.name
        if self._dice.random() < 0.08:
            return {"words": LONG[name], "rate": RATE[name]}
        return {"words": self._dice.randint(3, 30), "rate": self._dice.choice((40.0, 80.0, 0.0))}

    # ── what has an outcome ───────────────────────────────────────────────────────────────────
    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            rows = self.world.look(
                "SELECT message_id, outcome FROM messages JOIN turns ON turns.id = turn_id"
                " WHERE kind = 'question' AND state = 'done'"
            )
            self._outcomes = dict(rows)

    async def _heard(self, asked: Asked) -> Asked:
        """Its outcome is there; some have lost patience before, and whoever reads of a failure
        takes a breath.
        """
        self.said.append(self.native(asked))
        if self._dice.random() < STOPPED:
            await self._lose_patience(asked)
        await self.ended(asked)
        if self._outcomes.get(asked.id) == "failed":
            await asyncio.sleep(BREATH)
        return asked

    async def _lose_patience(self, asked: Asked) -> None:
        async def something() -> bool:
            return asked.id in self._outcomes or await self.shows(asked, 0)

        await self.until(something, f"anything about {asked.name}")
        self.change(asked, ends="stopped")
        await self.word(self.places[asked.where], "stop")

    async def ended(self, asked: Asked) -> None:
        """Wait for the outcome of a question, whatever it is."""

        async def there() -> bool:
            return asked.id in self._outcomes

        await self.until(there, f"an outcome for {asked.name}")


async def run(
    platform: str, seed: int, nursery: ProcessPool, folder: Path, *, seconds: float
) -> Outcome:
    """One run of at least `seconds`, and what came of it."""
    dice = random.Random(seed)
    slow = {"SLOW_COMMITS": f"{seed} {SLOWEST_COMMIT}"}
    async with new_world(platform, nursery, folder, **VirtualUsers.settings) as world:
        await world.stage.widen(CHANNELS)
        patience = PATIENCE
        if platform != "discord":
            await world.stage.sim.call("delivery", retry_scale=RETRY_SCALE)
            limits = await world.stage.sim.randomize(seed)
            patience += THROTTLED_TIMES * max(limits["retry_after"] or (0,))
        world.bot.later = slow
        crowd = VirtualUsers(world, dice, seconds, patience)
        await crowd.first_start()
        await world.bot.start()
        weather = FaultInjector(world, random.Random(seed + 1), crowd.said)
        verdict = await crowd.run(weather)
        return Outcome(
            seed=seed,
            verdict=verdict,
            conversations=crowd.begun,
            questions=len(crowd.asked),
            troubles=weather.counts,
            deaths=world.bot.deaths,
            notes=tuple(crowd.notes),
        )
