"""Failing downloads, and models that accept no images: answers arrive and say what is missing."""

from __future__ import annotations

from bot.domain import attachment_labels as words
from tests.e2e.test_conversation import whole
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.attachment_driver import break_downloads, user_texts
from tests.support.harness import BotProcess
from tests.support.platform_driver import PlatformDriver
from tests.support.small_files import png

PLAIN = "text/plain"
WAIT = 5.0  # seconds that an answer waits for its files
TROUBLES = ("throttled", "slow", "endless", "never")
PICTURE = ("shot.png", "image/png", png())


# ── downloads ─────────────────────────────────────────────────────────────────────────────────
async def test_download_failures_briefly_delay_only_their_answers(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Responses of 429 for five minutes, an occasional byte, endless bytes, and no response at
    all."""
    bot.set(ATTACHMENT_WAIT_SECONDS=str(WAIT), ATTACHMENT_MAX_MB="1")
    for trouble in TROUBLES:
        await break_downloads(driver, trouble, trouble)
    await model.say("Answered.")
    async with bot:
        threads = {}
        for trouble in TROUBLES:
            name = f"{trouble}.txt"
            files = [(name, PLAIN, b"x" * 900), ("here.txt", PLAIN, f"near {name}".encode())]
            threads[trouble] = await driver.mention(f"read {trouble}", files=files)
        fine = await driver.mention(
            "and this", user="bob", files=[("fine.txt", PLAIN, b"all is well")]
        )
        (reply,) = await whole(driver, fine, "Answered.")
        assert "I could not read" not in reply.text
        assert "all is well" in user_texts(await model.last("and this"))[0]
        for trouble, thread in threads.items():
            (reply,) = await whole(driver, thread, "I could not read")
            assert reply.text.startswith("Answered.")
            why = "it is too large" if trouble == "endless" else words.NOT_IN_TIME
            assert f"“{trouble}.txt” ({why})" in reply.text
            (question,) = user_texts(await model.last(f"read {trouble}"))
            assert f"near {trouble}.txt" in question
            assert "xxx" not in question


async def test_many_downloads_that_never_end_leave_others_their_turn(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Ten files of one message hang, while another person's file is read as usual."""
    bot.set(ATTACHMENT_WAIT_SECONDS="100")
    await break_downloads(driver, "hangs", "never")
    await model.say("Answered.")
    async with bot:
        hanging = [(f"hangs{n}.txt", PLAIN, b"x") for n in range(10)]
        await driver.mention("read these", files=hanging)
        await driver.sim.until(lambda: driver.sim.requests("hangs"))
        fine = await driver.mention(
            "and this", user="bob", files=[("fine.txt", PLAIN, b"all is well")]
        )
        await whole(driver, fine, "Answered.")
        assert "all is well" in user_texts(await model.last("and this"))[0]
        assert await model.streams(match="read these") == []


# ── models ────────────────────────────────────────────────────────────────────────────────────
async def test_a_model_that_takes_no_images_answers_without_them_and_gets_no_more(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.images(blind={"sim": "openai"})
    await model.script(Answer(match="corner", text="Two."), Answer(match="", text="One."))
    async with bot:
        thread = await driver.mention("what is it?", files=[PICTURE])
        (reply,) = await whole(driver, thread, words.CANNOT_SEE)
        assert reply.text.startswith("One.")
        first, second = await model.streams()
        assert (first.outcome, len(first.images), len(second.images)) == ("refused", 1, 0)
        await driver.say(thread, "and in the corner?", files=[("other.png", "image/png", png(50))])
        *_, reply = await whole(driver, thread, words.CANNOT_SEE, count=2)
        assert reply.text.startswith("Two.")
        records = await model.streams()
        assert [len(record.images) for record in records] == [1, 0, 0]


async def test_the_second_model_of_a_chain_sees_what_the_first_cannot(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    bot.set(LLM="openai:sim,openai:sim-2")
    await model.images(blind={"sim": "vllm"})
    await model.script(Answer(model="sim-2", text="A picture."), Answer(text="Blind."))
    async with bot:
        thread = await driver.mention("what is it?", files=[PICTURE])
        (reply,) = await whole(driver, thread, "A picture.")
        assert words.CANNOT_SEE not in reply.text
        last = await model.last()
        assert (last.body["model"], len(last.images)) == ("sim-2", 1)
