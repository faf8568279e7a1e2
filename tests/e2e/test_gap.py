"""Asked while the bot was not there: answered once after the start, on every platform."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.scenes import Stage, ThreadRef, at_rest
from tests.support.store_kit import look


async def until(check: Callable[[], Awaitable[Any]], stage: Stage, seconds: float = 40) -> Any:
    return await stage.sim.until(check, seconds)


async def answered(stage: Stage, place: ThreadRef, text: str, count: int = 1) -> None:
    """Wait until the bot's newest message in a place has `text`; it has `count` there then."""

    async def check() -> bool:
        seen = await stage.seen(place)
        return bool(seen) and text in seen[-1].text

    await until(check, stage)
    assert len(await stage.seen(place)) == count


async def leave(stage: Stage) -> None:
    """From now on nothing that is said is delivered, now or later."""
    if isinstance(stage.sim, SlackSim):
        await stage.sim.delivery(retry_scale=0.0)
        await stage.sim.offline()


async def come_back(stage: Stage) -> None:
    """Slack has given up what was said meanwhile; Discord sends nothing to a new session."""
    sim = stage.sim
    if isinstance(sim, SlackSim):
        await sim.until(lambda: _given_up(sim))
        await sim.online()


async def _given_up(sim: SlackSim) -> bool:
    return not (await sim.state())["pending"]


async def reads(stage: Stage, since: int) -> int:
    """Requests that read messages, or ask where there are some."""
    if isinstance(stage.sim, DiscordSim):
        found = await stage.sim.requests("GET", since)
        return sum("/messages" in x["path"] or "/threads/" in x["path"] for x in found)
    found = await stage.sim.requests("conversations.", since)
    return sum(not x["path"].endswith("conversations.info") for x in found)


async def settled(bot: BotProcess, stage: Stage) -> None:
    """Wait until the watermarks on the disk have stopped to move."""

    async def still() -> bool:
        marks = look(bot.folder / "threadline.db", "SELECT * FROM watermarks")
        await stage.sim.call("wait_idle") if stage.name == "discord" else None
        await asyncio.sleep(1.2)  # the keeper stores once a second
        return bool(marks) and marks == look(
            bot.folder / "threadline.db", "SELECT * FROM watermarks"
        )

    await until(still, stage)


async def test_what_was_asked_while_it_was_dead_is_answered_once(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """Killed; meanwhile people go on in a thread, begin another one, and write in private."""
    await model.say("Before.", times=2)
    await bot.start()
    await bot.ready()
    thread = await stage.mention("the first question")
    await answered(stage, thread, "Before.")
    private = await stage.direct("a secret")
    await answered(stage, private, "Before.")
    await settled(bot, stage)
    await bot.kill()

    await leave(stage)
    await stage.say(thread, "one more")
    await stage.say(thread, "and another", user="bob")
    fresh = await stage.mention("a new question", user="bob")
    await stage.say(private, "still secret")
    await come_back(stage)
    await model.script(
        Answer(match="another", text="Of the thread."),
        Answer(match="new question", text="Of the new one."),
        Answer(match="still secret", text="In private."),
    )
    asked, before = len(await model.streams()), len(await stage.sim.requests())
    async with bot:
        await answered(stage, thread, "Of the thread.", 2)
        await answered(stage, fresh, "Of the new one.")
        await answered(stage, private, "In private.", 2)
        await bot.logged("caught up", 2 if stage.name == "discord" else 1)
        assert len(await model.streams()) == asked + 3
        assert await reads(stage, before) <= 1.2 * fewest(stage)
        assert await stage.throttled() == 0
        await at_rest(stage)
        body = (await model.last("another")).body
        users = [m["content"] for m in body["messages"] if m["role"] == "user"]
        said = [text.partition(": ")[2] or text for m in users for text in m.split("\n\n")]
        assert said == ["the first question", "one more", "and another"]


def fewest(stage: Stage) -> int:
    """Discord: the thread, the channel, the direct message (whose news nobody tells). Slack: where
    the bot is, its two channels and the direct message, the two known threads that have news.
    """
    return 3 if stage.name == "discord" else 1 + 3 + 2


async def test_what_is_too_old_gets_one_apology_a_conversation_and_is_history(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Before.", times=1)
    async with bot:
        thread = await stage.mention("the first question")
        await answered(stage, thread, "Before.")
        await settled(bot, stage)
        await bot.terminate()
    await leave(stage)
    for text in ("one", "two", "three"):
        await stage.say(thread, text)
    fresh = await stage.mention("never mind")
    await come_back(stage)
    bot.set(MISSED_QUESTION_HOURS="0")
    asked = len(await model.streams())
    async with bot:
        await answered(stage, thread, "Sorry, I was not running", 2)
        await answered(stage, fresh, "Sorry, I was not running")
        assert len(await model.streams()) == asked
        await model.say("Now.")
        await stage.say(thread, "four")
        await answered(stage, thread, "Now.", 3)
        body = (await model.last("four")).body
        users = [m["content"] for m in body["messages"] if m["role"] == "user"]
        said = [text for message in users for text in message.split("\n\n")]
        assert said == ["the first question", "one", "two", "three", "four"]


async def test_a_second_restart_answers_nothing_again(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """Killed once more right after it answered what it had missed."""
    await model.say("Before.", times=1)
    async with bot:
        thread = await stage.mention("the first question")
        await answered(stage, thread, "Before.")
    await leave(stage)
    await stage.say(thread, "missed")
    await come_back(stage)
    await model.say("Found.")
    await bot.start()
    await answered(stage, thread, "Found.", 2)
    await bot.kill()  # whether it had caught up with everything or not
    asked, caught_up = len(await model.streams()), len(bot.events("caught up"))
    async with bot:
        await bot.logged("caught up", caught_up + 1)
        await answered(stage, await stage.mention("live"), "Found.")
        assert len(await stage.seen(thread)) == 2
        assert len(await model.streams()) == asked + 1


async def test_a_question_that_was_edited_meanwhile_is_answered_anew_in_place(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="cats", text="Cats."), Answer(match="dogs", text="Dogs."))
    async with bot:
        thread = await stage.mention("about cats")
        await answered(stage, thread, "Cats.")
        await settled(bot, stage)
        await bot.terminate()
    await leave(stage)
    await stage.edit(thread, thread.question, "about dogs", mention=True)
    await come_back(stage)
    async with bot:
        await answered(stage, thread, "Dogs.")
        assert await stage.throttled() == 0
