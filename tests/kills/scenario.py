"""The first scenario for kills: three people in three threads, for a few seconds.

The bot has run before. Alice asks for a long answer while the bot is down and asks again while the
bot writes. Bob asks, resets and asks again. Carol writes direct messages. Finally, one more
question in each thread sends its history to the model. As in real life, people continue when they
see the answer.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from bot.domain.texts import REMOVED
from tests.kills.world import SYSTEM_PROMPT, World
from tests.sims.discord.client import DiscordSim
from tests.sims.kit import pause_since
from tests.sims.model.answers import Answer
from tests.sims.slack.client import SlackSim
from tests.support.judge import judge
from tests.support.platform_driver import Files, ThreadRef
from tests.support.transcript import Question, Transcript, Verdict, answer_to, question_name

# Enough for a loaded machine; on an idle one, each wait takes a few seconds.
PATIENCE = 45.0
MOST_DEATHS = 3  # in one run
QUIET = 0.4  # seconds without a request
SHORT = 12  # words
# Two pages on each platform: 2,000 and 11,500 characters per page, 12 per word.
LONG = {"discord": 250, "slack": 1_300}
RATE = {"discord": 400.0, "slack": 2_500.0}  # tokens per second of the long answer
PINGS = "@everyone <!channel> <!here> <@U0ALICE001> <@1100000000000000202>"


class NotWithin(AssertionError):
    """A condition was not met in time."""


@dataclass(slots=True)
class Scenario:
    """What people have said so far, and what must be true at the end."""

    settings: ClassVar[Mapping[str, str]] = {}  # additional settings of the bot

    world: World
    questions: list[Question] = field(default_factory=list)
    # documented losses, although the bot finds some of these messages later
    missed: list[Question] = field(default_factory=list)
    threads: dict[str, ThreadRef] = field(default_factory=dict)
    sections: dict[str, int] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    faulty: bool = False
    patience: float = PATIENCE
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.world.bot.check_after_death = self.check_after_death

    # ── the whole ─────────────────────────────────────────────────────────────────────────────
    async def prologue(self) -> None:
        """The bot has run before and is down; Alice asks."""
        await self.first_start()
        name = self.world.driver.name
        await self.begin("and at length", words=LONG[name], rate=RATE[name])

    async def first_start(self) -> None:
        """Run the bot for the first time, and stop it.

        Before its first run the bot cannot miss a message, so there is nothing to test.
        """
        await self.world.bot.start()
        least = {"discord": 2, "slack": 1}[self.world.driver.name]  # the server, direct messages

        async def has_watermarks() -> bool:
            return len(self.world.query("SELECT 1 FROM watermarks")) >= least

        await self.until(has_watermarks, "the first watermark")
        await self.world.bot.stop()

    async def play(self) -> Verdict:
        """Play the scenario after the bot's restart; returns the verdict."""
        try:
            await self.world.connected()
            await asyncio.gather(*self.people())
            await asyncio.gather(*(self._probe(thread) for thread in list(self.threads.values())))
            await self.settle()
        except NotWithin as error:
            self.violations.append(f"late: {error}")
        return await self.verdict()

    def people(self) -> list[Awaitable[None]]:
        """One coroutine for each person."""
        return [self._alice(self.questions[0]), self._bob(), self._carol()]

    async def _alice(self, question: Question) -> None:
        thread = self.threads[question.where]
        await self.until(lambda: self.shows(question, 0), f"the first words for {question.name}")
        second = await self.ask(thread, "while it writes")
        await self.wait_answered(question)
        await self.wait_answered(second)

    async def _bob(self) -> None:
        question = await self.begin("and briefly", user="bob", ping=True)
        thread = self.threads[question.where]
        await self.wait_answered(question)
        await self.reset(thread)
        await self.wait_answered(await self.ask(thread, "after the reset", user="bob"))

    async def _carol(self) -> None:
        question = await self.begin("between us", direct=True)
        patience = {"discord": 6.0, "slack": self.patience}[self.world.driver.name]
        for _ in range(MOST_DEATHS):
            if await self._comes(partial(self._is_stored, question), patience):
                break
            if self.world.driver.name != "discord" or not self.world.bot.deaths:
                raise NotWithin(f"{question.name} in the database")
            # Discord sends a bot no history of direct messages whose channel it does not know.
            self.notes.append("a first direct message was missed, as documented")
            self.questions.remove(question)
            self.missed.append(question)
            question = await self.begin("between us", direct=True)
        await self.wait_answered(question)
        await self.wait_answered(await self.ask(self.threads[question.where], "go on"))

    async def _is_stored(self, question: Question) -> bool:
        return bool(self.world.query("SELECT 1 FROM messages WHERE message_id = ?", question.id))

    async def _probe(self, thread: ThreadRef) -> None:
        await self.wait_answered(await self.ask(thread, "and what did we say?"))

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
        files: Files = (),
    ) -> Question:
        """Ask the first question of a conversation; `channel` defaults to the first one."""
        name = await self._script(words, rate, ping)
        driver = self.world.driver
        said = f"{name}, {text}"
        if direct:
            thread = await driver.direct(said, files=files)
        else:
            thread = await driver.mention(said, user=user, channel=channel, files=files)
        where = self.world.location(thread)
        self.threads[where] = thread
        return self._note(name, where, thread.question, words)

    async def ask(
        self,
        thread: ThreadRef,
        text: str,
        *,
        user: str = "alice",
        words: int = SHORT,
        rate: float = 60.0,
    ) -> Question:
        """Ask in an existing conversation."""
        name = await self._script(words, rate, ping=False)
        said = await self.world.driver.say(thread, f"{name}, {text}", user=user)
        return self._note(name, self.world.location(thread), said, words)

    async def _script(self, words: int, rate: float, ping: bool) -> str:
        name = question_name(next(self._numbers))
        text = answer_to(name, words) + (f" {PINGS}" if ping else "")
        await self.world.model.script(Answer(match=name, text=text, rate=rate))
        return name

    def _note(self, name: str, where: str, identity: Any, words: int) -> Question:
        question = Question(name, where, str(identity), words, self.sections.get(where, 0))
        self.questions.append(question)
        return question

    async def reset(self, thread: ThreadRef) -> None:
        """Reset a conversation, and wait until the reset is recorded."""
        said = str(await self.world.driver.mention_in(thread, "reset"))
        self.commands.append(said)
        where = self.world.location(thread)
        self.sections[where] = self.sections.get(where, 0) + 1

        async def is_done() -> bool:
            return self.recorded(said)

        await self.until(is_done, "the reset")
        if not await self._comes(lambda: self._is_told("Started over"), 3.0):
            self.notes.append("a reset was carried out and not told")
            await self.wait_delivered()

    def recorded(self, said: str) -> bool:
        return bool(self.world.query("SELECT 1 FROM commands WHERE source LIKE ?", f"%/{said}"))

    async def _is_told(self, text: str) -> bool:
        posts = await self.world.posts()
        return any(text in post.text for post in posts) or any(
            text in whisper for whisper in await self.world.driver.whispers()
        )

    # ── waiting ───────────────────────────────────────────────────────────────────────────────
    async def until(
        self, check: Callable[[], Awaitable[Any]], what: str, seconds: float | None = None
    ) -> None:
        """Wait for a condition; raises NotWithin if it is not met in time or the bot has exited."""
        limit = self.patience if seconds is None else seconds
        if not await self._comes(check, limit):
            raise NotWithin(f"{what}, within {limit:g} s. {self.world.bot.failure}")

    async def _comes(self, check: Callable[[], Awaitable[Any]], seconds: float) -> bool:
        began = time.monotonic()
        while not await check():
            if time.monotonic() > began + seconds or self.world.bot.failure:
                return False
            await asyncio.sleep(max(0.05, pause_since(began)))
        return True

    async def shows(self, question: Question, word: int) -> bool:
        """Whether this word of the answer is on the screen."""
        seen = await self.world.driver.seen(self.threads[question.where])
        return any(f"{question.name}w{word:04d}" in message.text for message in seen)

    async def wait_answered(self, question: Question) -> None:
        """Wait until the answer is complete and no longer being written."""

        async def whole() -> bool:
            for message in await self.world.driver.seen(self.threads[question.where]):
                if f"{question.name}w{question.words - 1:04d}" in message.text:
                    return not message.working
            return False

        await self.until(whole, f"the answer to {question.name}")

    async def wait_delivered(self) -> None:
        """Wait until Slack has no pending deliveries."""
        sim = self.world.driver.sim
        if not isinstance(sim, SlackSim):
            return

        async def nothing_pending() -> bool:
            return not (await sim.state())["pending"]

        await self.until(nothing_pending, "the last delivery")

    async def settle(self) -> None:
        """Wait until no turn, delivery, request or sign of work is left."""
        await self.wait_delivered()

        async def over() -> bool:
            return not self.world.query("SELECT 1 FROM turns WHERE state <> 'done'")

        await self.until(over, "the end of every turn")

        async def no_sign() -> bool:
            return not await self.world.signs_of_work()

        # Signs are cleared after the turn, once the rate limit allows, or when the process that
        # removes leftovers reaches them; the judge reports those that stay.
        await self._comes(no_sign, 75.0)
        await self._comes(self._nothing_to_remove, 75.0)
        await self.until(self._quiet, "quiet")

    async def _nothing_to_remove(self) -> bool:
        """Whether every page that could at first only be emptied has been deleted."""
        return all(post.deleted or post.text != REMOVED for post in await self.world.posts())

    async def _quiet(self) -> bool:
        record = await self.world.driver.sim.requests()
        return bool(record) and record[-1]["received"] < time.time() - QUIET

    # ── judging ───────────────────────────────────────────────────────────────────────────────
    async def check_after_death(self) -> None:
        """After a kill, check that every delivery acknowledged to Slack is in the database."""
        sim = self.world.driver.sim
        if isinstance(sim, DiscordSim):
            return
        assert isinstance(sim, SlackSim)
        deliveries = await sim.deliveries()  # first, because other processes keep storing
        stored = {row[0] for row in self.world.query("SELECT message_id FROM messages")}
        stored |= {
            row[0].rpartition("/")[2] for row in self.world.query("SELECT source FROM commands")
        }
        mine = {each.id for each in self.questions} | set(self.commands)
        for event in deliveries:
            if event["acked"] and event["ts"] in mine - stored and _said(event):
                self.violations.append(f"acknowledged: {event['ts']} was, and is not stored")
        self.violations = list(dict.fromkeys(self.violations))

    async def requests(self) -> Sequence[Mapping[str, Any]]:
        """The bodies of the requests to the model, for the judge."""
        return [record.body for record in await self.world.model.streams()]

    async def verdict(self) -> Verdict:
        """The judge's verdict, plus violations found on the way."""
        for late in self.missed:
            if await self._is_stored(late):  # a later message made the channel known
                self.questions.append(late)
                self.questions = [
                    replace(one, beside=late.name) if one.where == late.where else one
                    for one in self.questions
                ]
                self.faulty = True  # answers arrive in another order than the questions
        requests = await self.requests()
        verdict = judge(
            Transcript(
                questions=self.questions,
                posts=await self.world.posts(),
                requests=requests,
                signs=await self.world.signs_of_work(),
                database=self.world.bot.database,
                system_prompt=SYSTEM_PROMPT,
                commands=len(self.commands),
                faulty=self.faulty,
            )
        )
        for violation in self.violations:
            verdict.add(*violation.split(": ", 1))
        if self.world.bot.failure:
            verdict.add("ended", self.world.bot.failure)
        return verdict


def _said(event: dict[str, Any]) -> bool:
    """Whether the delivery announces a person's message."""
    return event["kind"] == "events_api" and event["event"] in ("message", "app_mention")
