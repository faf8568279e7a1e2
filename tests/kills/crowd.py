"""Many conversations in bad weather: people who ask, go on, interrupt and start over.

Everything that is decided by chance comes from one seed; what the machine's own timing adds is not.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.judge import Asked, Verdict
from tests.kills.nursery import Nursery
from tests.kills.scene import LONG, RATE, NotWithin, Scene
from tests.kills.weather import Weather
from tests.kills.world import World, new_world

# People at once: Slack takes one post a second in a channel, Discord many in threads of their own.
CROWD = {"discord": 16, "slack": 6}
MOST = 1_000  # conversations
# An outcome may be a while in coming: a model rests, a retry of Slack's takes its time.
PATIENCE = 150.0
# Slack's retries come after so many times 60 and 300 seconds.
RETRY_SCALE = 0.1
SLOWEST_COMMIT = 0.15  # seconds
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


class Crowd(Scene):
    """A scene of some length: its people begin conversations for so many `seconds`."""

    def __init__(self, world: World, dice: random.Random, seconds: float) -> None:
        super().__init__(world, troubled=True, patience=PATIENCE)
        self._dice, self._seconds, self._until = dice, seconds, 0.0
        self._done: set[str] = set()
        self.said: list[Any] = []
        self.begun = 0

    async def run(self, weather: Weather) -> Verdict:
        """People and trouble until the time is over, then calm, some last questions, a verdict."""
        await self.world.connected()
        self._until = time.monotonic() + self._seconds
        watching = asyncio.create_task(self._watch())
        blowing = asyncio.create_task(weather.blow())
        try:
            await asyncio.gather(*(self._person() for _ in range(CROWD[self.world.stage.name])))
        except NotWithin as error:
            self.breaches.append(f"late: {error}")
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
        places = self._dice.sample(list(self.places.values()), min(PROBED, len(self.places)))
        for place in places:
            await self.answered(await self.ask(place, "and what did we say?"))

    # ── people ────────────────────────────────────────────────────────────────────────────────
    async def _person(self) -> None:
        while time.monotonic() < self._until and self.begun < MOST:
            self.begun += 1
            await self._talk()

    async def _talk(self) -> None:
        """One conversation of a few questions."""
        user = self._dice.choice(("alice", "bob"))
        first = await self.begin("to begin with", user=user, **self._length())
        self.said.append(self._native(first))
        place = self.places[first.where]
        await self.ended(first)
        for _ in range(self._dice.choice((0, 1, 1, 2))):
            if time.monotonic() > self._until:
                return
            match self._dice.randrange(5):
                case 0:
                    await self.reset(place)
                case 1:
                    await self._two_at_once(place, user)
                case _:
                    asked = await self.ask(place, "and then?", user=user, **self._length())
                    self.said.append(self._native(asked))
                    await self.ended(asked)

    async def _two_at_once(self, place: Any, user: str) -> None:
        one = await self.ask(place, "this", user=user)
        other = await self.ask(place, "and that", user=user)
        pair = (replace(one, beside=other.name), replace(other, beside=one.name))
        for plain, marked in zip((one, other), pair, strict=True):
            self.asked[self.asked.index(plain)] = marked
        await self.ended(one)
        await self.ended(other)

    def _length(self) -> dict[str, Any]:
        name = self.world.stage.name
        if self._dice.random() < 0.08:
            return {"words": LONG[name], "rate": RATE[name]}
        return {"words": self._dice.randint(3, 30), "rate": self._dice.choice((40.0, 80.0, 0.0))}

    def _native(self, asked: Asked) -> Any:
        return int(asked.id) if self.world.stage.name == "discord" else asked.id

    # ── what has an outcome ───────────────────────────────────────────────────────────────────
    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            rows = self.world.look(
                "SELECT message_id FROM messages JOIN turns ON turns.id = turn_id"
                " WHERE kind = 'question' AND state = 'done'"
            )
            self._done = {row[0] for row in rows}

    async def ended(self, asked: Asked) -> None:
        """Wait for the outcome of a question, whatever it is."""

        async def there() -> bool:
            return asked.id in self._done

        await self.until(there, f"an outcome for {asked.name}")


async def run(
    platform: str, seed: int, nursery: Nursery, folder: Path, *, seconds: float
) -> Outcome:
    """One run of at least `seconds`, and what came of it."""
    dice = random.Random(seed)
    slow = {"SLOW_COMMITS": f"{seed} {SLOWEST_COMMIT}"}
    async with new_world(platform, nursery, folder) as world:
        if platform != "discord":
            await world.stage.sim.call("delivery", retry_scale=RETRY_SCALE)
        world.bot.later = slow
        crowd = Crowd(world, dice, seconds)
        await crowd.first_start()
        await world.bot.start()
        weather = Weather(world, random.Random(seed + 1), crowd.said)
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
