"""Old messages are summarized: real clients, real sockets, and a process that is killed."""

from __future__ import annotations

import pytest

from bot.domain import texts
from tests.e2e.test_conversation import until, whole
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import PlatformDriver, ThreadRef

FACT = "The code is 7Q4XK."
SUMMARY = f"<notes>\n- Alice: {FACT}\n</notes>"
WRITE_NOTES = "Write the new notes now."  # the end of each request for a summary
LONG = "and so on " * 12
ANSWER = "I see. " * 25


@pytest.fixture
async def small(model: ModelSim, bot: BotProcess) -> None:
    """A budget that a few turns fill, and answers without pauses."""
    bot.set(CONTEXT_TOKENS="600")
    await model.script(
        Answer(match=WRITE_NOTES, text=SUMMARY, rate=0), Answer(match="", text=ANSWER, rate=0)
    )


async def go_on(driver: PlatformDriver, thread: ThreadRef, first: int, until_number: int) -> None:
    for number in range(first, until_number):
        await driver.say(thread, f"{number}: {LONG}")
        await whole(driver, thread, "I see.", count=number)


@pytest.mark.usefixtures("small")
async def test_a_long_conversation_says_once_that_older_messages_are_summarized(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Later requests contain the summary in place of the messages, even after a restart."""
    async with bot:
        thread = await driver.mention(f"{FACT} {LONG}")
        await whole(driver, thread, "I see.")
        await go_on(driver, thread, 2, 7)
        await bot.wait_for_log("old messages summarized")
        await go_on(driver, thread, 7, 11)
        assert FACT in str((await model.last("10: ")).body)
        assert f"{FACT} {LONG}" not in str((await model.last("10: ")).body)
    async with bot:
        await go_on(driver, thread, 11, 13)
        assert FACT in str((await model.last("12: ")).body)
        replies = [reply.text for reply in await driver.seen(thread)]
        assert len(replies) == 12
        assert sum(texts.OLDER_SUMMARIZED in reply for reply in replies) == 1
        assert not any("notes" in reply for reply in replies)
        assert FACT not in bot.log_text() and "7Q4XK" not in bot.log_text()


@pytest.mark.usefixtures("small")
async def test_a_kill_while_a_summary_is_written_costs_only_that_call(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match=WRITE_NOTES, text=SUMMARY, wait_at=1, times=1))
    async with bot:
        thread = await driver.mention(f"{FACT} {LONG}")
        await whole(driver, thread, "I see.")
        number = 2
        while not await is_summarizing(model):
            await go_on(driver, thread, number, number + 1)
            number += 1
            assert number < 9
        await bot.kill()
    async with bot:
        await go_on(driver, thread, number, number + 1)
        await bot.wait_for_log("old messages summarized")
        await go_on(driver, thread, number + 1, number + 2)
        assert FACT in str((await model.last(f"{number + 1}: ")).body)


async def is_summarizing(model: ModelSim) -> bool:
    return any(WRITE_NOTES in str(record.body) for record in await model.streams())


@pytest.mark.usefixtures("small")
async def test_summaries_can_be_switched_off(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    bot.set(SUMMARY_MODEL="none")
    async with bot:
        thread = await driver.mention(f"{FACT} {LONG}")
        await whole(driver, thread, "I see.")
        await go_on(driver, thread, 2, 10)
        assert not await is_summarizing(model)
        assert FACT not in str((await model.last("9: ")).body)


@pytest.mark.usefixtures("small")
async def test_another_model_writes_the_summaries_if_the_setting_names_one(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    bot.set(SUMMARY_MODEL="openai:sim-2")
    async with bot:
        thread = await driver.mention(f"{FACT} {LONG}")
        await whole(driver, thread, "I see.")
        await go_on(driver, thread, 2, 7)
        await until(lambda: is_summarizing(model), driver)
        asked = {
            record.body["model"]: WRITE_NOTES in str(record.body)
            for record in await model.streams()
        }
        assert asked == {"sim": False, "sim-2": True}
