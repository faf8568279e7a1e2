"""The first scene to be killed in: three people in three places, in some seconds.

The bot has run before. Alice asks something long while it is down, and adds a question while the
answer is written; Bob asks, starts over and asks again; Carol's part is direct messages. At the
end one more question in each place brings its history to the model. People go on as people do:
when they see the answer.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from tests.kills.world import SYSTEM_PROMPT, World
from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.slack.client import SlackSim
from tests.support.judge import judge
from tests.support.scenes import ThreadRef
from tests.support.transcript import Asked, Evidence, Verdict, answer_to, mark

# Long enough for a loaded machine: what is waited for comes within a few seconds on an idle one.
PATIENCE = 45.0
MOST_DEATHS = 3  # in one run
QUIET = 0.4  # seconds without a request
SHORT = 12  # words
# Two pages on each platform: 2,000 and 11,500 characters a page, 12 a word.
LONG = {"discord": 250, "slack": 1_300}
RATE = {"discord": 400.0, "slack": 2_500.0}  # tokens a second of the long answer
PINGS = "@everyone <!channel> <!here> <@U0ALICE001> <@1100000000000000202>"


class NotWithin(AssertionError):
    """Something did not come in time."""


@dataclass(slots=True)
class Scene:
    """What was said so far, and by whom it is waited for."""

    settings: ClassVar[Mapping[str, str]] = {}  # the bot's own, beside the usual ones

    world: World
    asked: list[Asked] = field(default_factory=list)
    missed: list[Asked] = field(default_factory=list)  # documented, but some are found after all
    places: dict[str, ThreadRef] = field(default_factory=dict)
    sections: dict[str, int] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    troubled: bool = False
    patience: float = PATIENCE
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.world.bot.autopsy = self.autopsy

    # ── the whole ─────────────────────────────────────────────────────────────────────────────
    async def prologue(self) -> None:
        """The bot has run before, and is down; Alice asks."""
        await self.first_start()
        name = self.world.stage.name
        await self.begin("and at length", words=LONG[name], rate=RATE[name])

    async def first_start(self) -> None:
        """Run the bot for the first time, and stop it.

        Before it nothing can have been missed, so that is nothing to be killed in.
        """
        await self.world.bot.start()
        least = {"discord": 2, "slack": 1}[self.world.stage.name]  # the guild, direct messages

        async def begun() -> bool:
            return len(self.world.look("SELECT 1 FROM watermarks")) >= least

        await self.until(begun, "the first watermark")
        await self.world.bot.stop()

    async def play(self) -> Verdict:
        """What follows once the bot is started again, to the verdict."""
        try:
            await self.world.connected()
            await asyncio.gather(*self.people())
            await asyncio.gather(*(self._probe(place) for place in list(self.places.values())))
            await self.settle()
        except NotWithin as error:
            self.breaches.append(f"late: {error}")
        return await self.verdict()

    def people(self) -> list[Awaitable[None]]:
        """What each of them does."""
        return [self._alice(self.asked[0]), self._bob(), self._carol()]

    async def _alice(self, question: Asked) -> None:
        place = self.places[question.where]
        await self.until(lambda: self.shows(question, 0), f"the first words for {question.name}")
        meanwhile = await self.ask(place, "while it writes")
        await self.answered(question)
        await self.answered(meanwhile)

    async def _bob(self) -> None:
        question = await self.begin("and briefly", user="bob", ping=True)
        place = self.places[question.where]
        await self.answered(question)
        await self.reset(place)
        await self.answered(await self.ask(place, "after the reset", user="bob"))

    async def _carol(self) -> None:
        question = await self.begin("between us", direct=True)
        patience = {"discord": 6.0, "slack": self.patience}[self.world.stage.name]
        for _ in range(MOST_DEATHS):
            if await self._comes(partial(self._stored, question), patience):
                break
            if self.world.stage.name != "discord" or not self.world.bot.deaths:
                raise NotWithin(f"{question.name} in the database")
            # Discord tells a bot nothing of direct messages that it does not know yet.
            self.notes.append("a first direct message was missed, as documented")
            self.asked.remove(question)
            self.missed.append(question)
            question = await self.begin("between us", direct=True)
        await self.answered(question)
        await self.answered(await self.ask(self.places[question.where], "go on"))

    async def _stored(self, asked: Asked) -> bool:
        return bool(self.world.look("SELECT 1 FROM messages WHERE message_id = ?", asked.id))

    async def _probe(self, place: ThreadRef) -> None:
        await self.answered(await self.ask(place, "and what did we say?"))

    # ── speaking ──────────────────────────────────────────────────────────────────────────────
    async def begin(
        self,
        text: str,
        *,
        user: str = "alice",
        direct: bool = False,
        channel: Any = None,
        words: int = SHORT,
        rate: float = 60.0,
        ping: bool = False,
    ) -> Asked:
        """A question that begins a conversation, in the first channel if in no other."""
        name = await self._script(words, rate, ping)
        stage = self.world.stage
        said = f"{name}, {text}"
        if direct:
            place = await stage.direct(said)
        else:
            place = await stage.mention(said, user=user, channel=channel)
        where = self.world.location(place)
        self.places[where] = place
        return self._note(name, where, place.question, words)

    async def ask(
        self,
        place: ThreadRef,
        text: str,
        *,
        user: str = "alice",
        words: int = SHORT,
        rate: float = 60.0,
    ) -> Asked:
        """A question in a conversation that there is."""
        name = await self._script(words, rate, ping=False)
        said = await self.world.stage.say(place, f"{name}, {text}", user=user)
        return self._note(name, self.world.location(place), said, words)

    async def _script(self, words: int, rate: float, ping: bool) -> str:
        name = mark(next(self._numbers))
        text = answer_to(name, words) + (f" {PINGS}" if ping else "")
        await self.world.model.script(Answer(match=name, text=text, rate=rate))
        return name

    def _note(self, name: str, where: str, identity: Any, words: int) -> Asked:
        asked = Asked(name, where, str(identity), words, self.sections.get(where, 0))
        self.asked.append(asked)
        return asked

    async def reset(self, place: ThreadRef) -> None:
        """Start over, and wait until that is certain."""
        said = str(await self.world.stage.mention_in(place, "reset"))
        self.commands.append(said)
        where = self.world.location(place)
        self.sections[where] = self.sections.get(where, 0) + 1

        async def done() -> bool:
            return self.recorded(said)

        await self.until(done, "the reset")
        if not await self._comes(lambda: self._told("Started over"), 3.0):
            self.notes.append("a reset was carried out and not told")
            await self.delivered()

    def recorded(self, said: str) -> bool:
        return bool(self.world.look("SELECT 1 FROM commands WHERE source LIKE ?", f"%/{said}"))

    async def _told(self, text: str) -> bool:
        posts = await self.world.posts()
        return any(text in post.text for post in posts) or any(
            text in whisper for whisper in await self.world.stage.whispers()
        )

    # ── waiting ───────────────────────────────────────────────────────────────────────────────
    async def until(
        self, check: Callable[[], Awaitable[Any]], what: str, seconds: float | None = None
    ) -> None:
        """Wait for it; NotWithin when it does not come, or the bot is no more."""
        limit = self.patience if seconds is None else seconds
        if not await self._comes(check, limit):
            raise NotWithin(f"{what}, within {limit:g} s. {self.world.bot.failure}")

    async def _comes(self, check: Callable[[], Awaitable[Any]], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not await check():
            if time.monotonic() > deadline or self.world.bot.failure:
                return False
            await asyncio.sleep(0.05)
        return True

    async def shows(self, asked: Asked, word: int) -> bool:
        """Whether that word of the answer is on the screen."""
        seen = await self.world.stage.seen(self.places[asked.where])
        return any(f"{asked.name}w{word:04d}" in message.text for message in seen)

    async def answered(self, asked: Asked) -> None:
        """Wait for the answer's last word in a message that is no longer being written."""

        async def whole() -> bool:
            for message in await self.world.stage.seen(self.places[asked.where]):
                if f"{asked.name}w{asked.words - 1:04d}" in message.text:
                    return not message.working
            return False

        await self.until(whole, f"the answer to {asked.name}")

    async def delivered(self) -> None:
        """Wait until Slack has nothing left to deliver."""
        sim = self.world.stage.sim
        if not isinstance(sim, SlackSim):
            return

        async def nothing_pending() -> bool:
            return not (await sim.state())["pending"]

        await self.until(nothing_pending, "the last delivery")

    async def settle(self) -> None:
        """Wait until nothing is left to do: no turn, no delivery, no request, no sign of work."""
        await self.delivered()

        async def over() -> bool:
            return not self.world.look("SELECT 1 FROM turns WHERE state <> 'done'")

        await self.until(over, "the end of every turn")

        async def no_sign() -> bool:
            return not await self.world.signs_of_work()

        # Signs are cleared behind the turn, once a minute's budget has room; the judge says it if
        # one is left.
        await self._comes(no_sign, 75.0)
        await self.until(self._quiet, "quiet")

    async def _quiet(self) -> bool:
        record = await self.world.stage.sim.requests()
        return bool(record) and record[-1]["received"] < time.time() - QUIET

    # ── judging ───────────────────────────────────────────────────────────────────────────────
    async def autopsy(self) -> None:
        """The bot is dead: whatever Slack was acknowledged must be in the database."""
        sim = self.world.stage.sim
        if isinstance(sim, DiscordSim):
            return
        assert isinstance(sim, SlackSim)
        stored = {row[0] for row in self.world.look("SELECT message_id FROM messages")}
        stored |= {
            row[0].rpartition("/")[2] for row in self.world.look("SELECT source FROM commands")
        }
        mine = {each.id for each in self.asked} | set(self.commands)
        for event in await sim.deliveries():
            if event["acked"] and event["ts"] in mine - stored and _said(event):
                self.breaches.append(f"acknowledged: {event['ts']} was, and is not stored")
        self.breaches = list(dict.fromkeys(self.breaches))

    async def verdict(self) -> Verdict:
        """What the judge says, and what was seen on the way."""
        for late in self.missed:
            if await self._stored(late):  # with a later one the place became known
                self.asked.append(late)
                self.asked = [
                    replace(one, beside=late.name) if one.where == late.where else one
                    for one in self.asked
                ]
                self.troubled = True  # they are answered in another order than they were said
        requests = [record.body for record in await self.world.model.streams()]
        verdict = judge(
            Evidence(
                asked=self.asked,
                posts=await self.world.posts(),
                requests=requests,
                signs=await self.world.signs_of_work(),
                database=self.world.bot.database,
                system_prompt=SYSTEM_PROMPT,
                commands=len(self.commands),
                troubled=self.troubled,
            )
        )
        for breach in self.breaches:
            verdict.add(*breach.split(": ", 1))
        if self.world.bot.failure:
            verdict.add("ended", self.world.bot.failure)
        return verdict


def _said(event: dict[str, Any]) -> bool:
    """Whether the delivery is one that announces a message of a person."""
    return event["kind"] == "events_api" and event["event"] in ("message", "app_mention")
