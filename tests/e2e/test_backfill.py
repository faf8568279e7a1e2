"""Questions asked while the bot was offline are answered once after the start."""

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
    """Wait until the bot's newest message in a thread has `text`; it then has `count` there."""

    async def check() -> bool:
        seen = await stage.seen(place)
        return bool(seen) and text in seen[-1].text

    await until(check, stage)
    assert len(await stage.seen(place)) == count


async def leave(stage: Stage) -> None:
    """From now on Slack delivers nothing; Discord needs no preparation."""
    if isinstance(stage.sim, SlackSim):
        await stage.sim.delivery(retry_scale=0.0)
        await stage.sim.offline()


async def come_back(stage: Stage) -> None:
    """Wait until Slack has given up its deliveries; Discord sends none to a new session."""
    sim = stage.sim
    if isinstance(sim, SlackSim):
        await sim.until(lambda: _given_up(sim))
        await sim.online()


async def _given_up(sim: SlackSim) -> bool:
    return not (await sim.state())["pending"]


async def reads(stage: Stage, since: int) -> int:
    """The number of requests that read messages or look for channels."""
    if isinstance(stage.sim, DiscordSim):
        found = await stage.sim.requests("GET", since)
        return sum("/messages" in x["path"] or "/threads/" in x["path"] for x in found)
    found = await stage.sim.requests("conversations.", since)
    return sum(not x["path"].endswith("conversations.info") for x in found)


async def settled(bot: BotProcess, stage: Stage) -> None:
    """Wait until the stored watermarks no longer move."""

    async def still() -> bool:
        marks = look(bot.folder / "threadline.db", "SELECT * FROM watermarks")
        await stage.sim.call("wait_idle") if stage.name == "discord" else None
        await asyncio.sleep(1.2)  # watermarks are stored once a second
        return bool(marks) and marks == look(
            bot.folder / "threadline.db", "SELECT * FROM watermarks"
        )

    await until(still, stage)


async def test_questions_asked_while_the_bot_was_killed_are_answered_once(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """In a thread that continues, in a new one, and in a direct message."""
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
        await bot.wait_for_log("caught up", 2 if stage.name == "discord" else 1)
        assert len(await model.streams()) == asked + 3
        assert await reads(stage, before) <= 1.2 * fewest(stage)
        assert await stage.throttled() == 0
        await at_rest(stage)
        body = (await model.last("another")).body
        users = [m["content"] for m in body["messages"] if m["role"] == "user"]
        said = [text.partition(": ")[2] or text for m in users for text in m.split("\n\n")]
        assert said == ["the first question", "one more", "and another"]


def fewest(stage: Stage) -> int:
    """The fewest requests that a catch-up needs.

    Discord: the thread, the channel, the direct message. Slack: the list of channels, two channels
    and the direct message, and the two known threads with news.
    """
    return 3 if stage.name == "discord" else 1 + 3 + 2


async def test_questions_that_are_too_old_get_one_apology_per_conversation_and_stay_in_the_history(
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


async def test_a_second_restart_repeats_no_answer(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """The bot is killed right after it answered the missed question."""
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
    await bot.kill()  # possibly before the catch-up is complete
    asked, caught_up = len(await model.streams()), len(bot.events("caught up"))
    async with bot:
        await bot.wait_for_log("caught up", caught_up + 1)
        await answered(stage, await stage.mention("live"), "Found.")
        assert len(await stage.seen(thread)) == 2
        assert len(await model.streams()) == asked + 1


async def test_a_question_edited_while_the_bot_was_offline_gets_its_reply_replaced(
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
