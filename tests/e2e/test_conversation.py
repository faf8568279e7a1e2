"""The main path on every platform: mention, thread, streaming, follow-up, reset."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bot.domain import texts
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import PlatformDriver, Seen, ThreadRef, at_rest, ever_said

STORY = "Once there was a thread. " * 12  # about 60 tokens: several seconds at 20 tokens/s


async def until(
    check: Callable[[], Awaitable[Any]], driver: PlatformDriver, seconds: float = 60
) -> Any:
    return await driver.sim.until(check, seconds)


async def whole(driver: PlatformDriver, thread: ThreadRef, text: str, count: int = 1) -> list[Seen]:
    """The bot's messages in a thread, once the newest contains `text` and none is being written."""

    async def check() -> list[Seen] | None:
        seen = await driver.seen(thread)
        done = len(seen) >= count and text in seen[-1].text and not seen[-1].working
        return seen if done else None

    found: list[Seen] = await until(check, driver)
    return found


def sent(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The messages sent to the model, without the date at the end of the system prompt."""
    messages = [(message["role"], message["content"]) for message in body["messages"]]
    assert "\n\nToday is " in messages[0][1]
    return [(role, text.partition("\n\nToday is ")[0]) for role, text in messages]


async def test_mention_is_answered_in_a_thread_by_edits_of_one_message(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """The first text comes early, then several edits, then the rest; no pings, no 429."""
    await model.say(STORY, rate=20)
    async with bot:
        thread = await driver.mention("tell me a story")

        (reply,) = await whole(driver, thread, STORY.strip())
        first = next(text for text in reply.past if "Once" in text)
        assert len(first) < len(STORY) / 2
        assert reply.text.strip() == STORY.strip()
        assert reply.versions >= 3
        assert reply.notified == ()
        assert await driver.count_throttled() == 0
        await at_rest(driver)


async def test_a_reply_in_the_thread_continues_with_the_history(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """No mention is needed; the model gets the system prompt, then role and content in index
    order."""
    await model.script(Answer(match="first", text="One."), Answer(match="second", text="Two."))
    async with bot:
        thread = await driver.mention("the first question")
        await whole(driver, thread, "One.")
        await driver.say(thread, "the second question")
        await whole(driver, thread, "Two.", count=2)
        body = (await model.last("second")).body
        assert sent(body) == [
            ("system", "Be brief."),
            ("user", f"{driver.speaker}: the first question"),
            ("assistant", "One."),
            ("user", f"{driver.speaker}: the second question"),
        ]
        assert all(set(message) == {"role", "content"} for message in body["messages"])
        assert body["stream"] is True


@pytest.mark.parametrize("form", ["field", "tags"])
async def test_reasoning_is_indicated_and_neither_shown_nor_resent(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess, form: str
) -> None:
    """Reasoning is only indicated (on Slack by the status); no version or request contains its
    text."""
    await model.dialect(reasoning=form)
    thoughts = "ponder " * 50
    await model.script(
        Answer(match="first", text="One: `<think>`.", reasoning=thoughts, rate=10),
        Answer(match="second", text="Two.", reasoning="ponder"),
    )
    async with bot:
        thread = await driver.mention("the first question")
        (reply,) = await whole(driver, thread, "One: `<think>`.")
        if driver.name == "discord":
            assert any(texts.THINKING in text for text in reply.past)
        else:
            assert await driver.sim.requests("agents.sessions.setStatus")
        assert reply.text.strip() == "One: `<think>`."
        await driver.say(thread, "the second question")
        seen = await whole(driver, thread, "Two.", count=2)
        assert not any("ponder" in message.text for message in seen)
        assert sent((await model.last("second")).body) == [
            ("system", "Be brief."),
            ("user", f"{driver.speaker}: the first question"),
            ("assistant", "One: `<think>`."),
            ("user", f"{driver.speaker}: the second question"),
        ]
        assert "ponder" not in str((await model.last("second")).body)


async def test_shown_reasoning_is_small_above_the_answer_and_not_sent_again(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """It streams before the answer, and its markup never reaches the answer."""
    bot.set(REASONING="shown")
    await model.script(
        Answer(match="first", text="**One.**", reasoning="```\nponder " * 20, rate=10),
        Answer(match="second", text="Two."),
    )
    async with bot:
        thread = await driver.mention("the first question")
        (reply,) = await whole(driver, thread, "**One.**")
        assert any("ponder" in text for text in reply.past)
        quote, _, answer = reply.text.strip().rpartition("\n")
        assert answer == "**One.**" and reply.versions > 2
        assert all(line.startswith(">") for line in quote.strip().splitlines())
        await driver.say(thread, "the second question")
        await whole(driver, thread, "Two.", count=2)
        assert ("assistant", "**One.**") in sent((await model.last("second")).body)
        assert "ponder" not in str((await model.last("second")).body)


async def test_reset_word_starts_over_in_the_same_thread(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="first", text="One."), Answer(match="second", text="Two."))
    async with bot:
        thread = await driver.mention("the first question")
        await whole(driver, thread, "One.")
        await driver.mention_in(thread, "reset")
        await until(lambda: shows_command_reply(driver, thread, "Started over"), driver)
        await driver.say(thread, "the second question")
        await until(lambda: shows(driver, thread, "Two."), driver)
        assert sent((await model.last("second")).body) == [
            ("system", "Be brief."),
            ("user", f"{driver.speaker}: the second question"),
        ]


async def test_two_threads_at_once_stay_apart(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        Answer(match="cats", text="Cats purr. " * 10, rate=30),
        Answer(match="dogs", text="Dogs bark. " * 10, rate=30),
    )
    async with bot:
        cats = await driver.mention("about cats")
        dogs = await driver.mention("about dogs", user="bob")
        (of_cats,) = await whole(driver, cats, ("Cats purr. " * 10).strip())
        (of_dogs,) = await whole(driver, dogs, ("Dogs bark. " * 10).strip())
        assert "Dogs" not in of_cats.text
        assert "Cats" not in of_dogs.text
        assert len(sent((await model.last("cats")).body)) == 2


async def test_the_same_event_twice_gives_one_reply(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Slack always sends a mention both as app_mention and as message; here it also arrives
    again."""
    await model.say("Just once. " * 8, rate=20)
    async with bot:
        thread = await driver.mention("only once please")
        await driver.redeliver(thread)
        await whole(driver, thread, "Just once.")
        await driver.redeliver(thread)
        # A second reply would appear before the reply to this question.
        follow_up = await driver.say(thread, "and now?")
        assert follow_up
        seen = await whole(driver, thread, "Just once.", count=2)
        assert len(seen) == 2
        assert len(await model.streams()) == 2


async def test_long_answer_flows_into_the_next_messages(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """6,000 characters arrive complete and in order, in messages within the platform's limit."""
    words = [f"word{n:04d}" for n in range(670)]
    await model.say(" ".join(words), rate=400)
    async with bot:
        thread = await driver.mention("a long one")
        seen = await whole(driver, thread, words[-1], count=-(-6_000 // driver.limit))
        assert " ".join(message.text for message in seen).split() == words
        assert all(len(message.text) <= driver.limit for message in seen)
        assert await driver.count_throttled() == 0


async def test_questions_sent_while_it_writes_are_answered_together(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="begin", text="First answer.", wait_at=2))
    await model.script(Answer(match="three", text="All three."))
    async with bot:
        thread = await driver.mention("begin")
        await until(lambda: shows(driver, thread, "Fi"), driver)
        for text in ("one", "two", "and three"):
            await driver.say(thread, text)
        await bot.wait_for_log("message", 4)
        await model.release()
        seen = await whole(driver, thread, "All three.", count=2)
        assert len(seen) == 2
        who = driver.speaker
        assert sent((await model.last("three")).body) == [
            ("system", "Be brief."),
            ("user", f"{who}: begin"),
            ("assistant", "First answer."),
            ("user", f"{who}: one\n\n{who}: two\n\n{who}: and three"),
        ]


async def test_people_in_a_shared_thread_carry_their_names(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="me too", text="Yes."), Answer(match="", text="Hm."))
    async with bot:
        thread = await driver.mention("I am here")
        await whole(driver, thread, "Hm.")
        await driver.say(thread, "me too", user="bob")
        await whole(driver, thread, "Yes.", count=2)
        users = [text for role, text in sent((await model.last()).body) if role == "user"]
        assert [text.lower() for text in users] == ["alice: i am here", "bob: me too"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("rate_limited", "too many requests"),
        ("bad_key", "refused my key"),
        ("unknown_model", "does not exist"),
        ("too_long", "too long for the model"),
    ],
)
async def test_a_model_that_fails_shows_a_sentence_and_the_next_message_works(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess, fault: str, sentence: str
) -> None:
    await model.refuse(fault, times=None)
    async with bot:
        thread = await driver.mention("will it work?")
        (reply,) = await whole(driver, thread, sentence)
        assert "Error" not in reply.text
        assert "sk-" not in reply.text
        await model.reset()
        await model.say("Now it works.")
        await driver.say(thread, "again")
        await whole(driver, thread, "Now it works.", count=2)
        await at_rest(driver)


async def test_an_answer_cut_off_keeps_what_was_shown_and_says_so(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Half of the answer is here.", rate=0, breaks="end", at=4)
    async with bot:
        thread = await driver.mention("whole please")
        (reply,) = await whole(driver, thread, "broke off")
        assert reply.text.startswith("Half")


async def test_files_that_cannot_be_read_are_named(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """A video next to a question is named in one sentence, and the question itself is answered."""
    await model.say("A fine cat.")
    async with bot:
        video = ("cat.mp4", "video/mp4", b"\0\0\0\x18ftypmp42" + bytes(100))
        thread = await driver.mention("what is this?", files=[video])
        line = "I could not read “cat.mp4” (I cannot read this kind of file)."
        (reply,) = await whole(driver, thread, line)
        assert reply.text.startswith("A fine cat.")
        question = (await model.last()).body["messages"][-1]["content"]
        assert question.startswith(f"{driver.speaker}: what is this?")
        assert '[Attachment "cat.mp4": not readable' in question


async def test_direct_message_needs_no_mention(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Hello, just us.")
    async with bot:
        thread = await driver.direct("hi there")
        await whole(driver, thread, "Hello, just us.")
        assert sent((await model.last()).body)[-1] == ("user", "hi there")


async def test_model_output_never_pings(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(
        "Hey @everyone <!channel> <!here> <@U0ALICE001> <@1100000000000000202>!", rate=50
    )
    async with bot:
        thread = await driver.mention("wake them all")
        (reply,) = await whole(driver, thread, "everyone")
        assert reply.notified == ()


async def test_stop_ends_the_model_call_and_keeps_what_was_shown(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=20)
    async with bot:
        thread = await driver.mention("tell me a story")
        await until(lambda: shows(driver, thread, "Once there"), driver)
        await driver.press_stop(thread)
        (reply,) = await whole(driver, thread, "Stopped.")
        assert reply.text.startswith("Once")
        assert (await model.wait_ended()).outcome == "disconnected"


async def test_a_restart_after_a_kill_completes_the_reply_in_the_same_message(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """SIGKILL while writing: after the restart there is one complete message, and the history is
    correct."""
    await model.say(STORY, wait_at=20, times=1)
    await bot.start()
    await bot.ready()
    thread = await driver.mention("tell me a story")
    await until(lambda: shows(driver, thread, "Once there"), driver)
    await bot.kill()
    await model.say("After the restart.")
    async with bot:
        (reply,) = await whole(driver, thread, "After the restart.")
        assert "Once" not in reply.text
        await driver.say(thread, "go on")
        await whole(driver, thread, "After the restart.", count=2)
        assert sent((await model.last("go on")).body) == [
            ("system", "Be brief."),
            ("user", f"{driver.speaker}: tell me a story"),
            ("assistant", "After the restart."),
            ("user", f"{driver.speaker}: go on"),
        ]
        await at_rest(driver)


async def test_terminate_lets_the_running_reply_finish(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=20)
    async with bot:
        thread = await driver.mention("tell me a story")
        await until(lambda: shows(driver, thread, "Once"), driver)
        ending = asyncio.create_task(bot.terminate())
        await bot.wait_for_log("draining")
        await model.release()
        assert await ending == 0
        (reply,) = await driver.seen(thread)
        assert reply.text.strip() == STORY.strip()
        assert not reply.working


async def test_any_second_signal_ends_the_process_immediately(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Ctrl-C while draining after SIGTERM; the next start completes the reply."""
    await model.script(Answer(match="", text=STORY, wait_at=3))
    async with bot:
        thread = await driver.mention("tell me a story")
        await until(model.streams, driver)
        bot.process.send_signal(signal.SIGTERM)
        await bot.wait_for_log("draining")
        bot.process.send_signal(signal.SIGINT)
        assert await bot.wait_exit() != 0
        assert not bot.events("unfinished turns"), "the second signal does not wait for draining"
        await model.say("After the restart.")
        await bot.start()
        await whole(driver, thread, "After the restart.")


async def test_turns_above_the_limit_wait_visibly(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    bot.set(MAX_CONCURRENT_TURNS="1")
    await model.script(Answer(match="first", text="One.", wait_at=0), Answer(match="", text="Two."))
    async with bot:
        first = await driver.mention("the first")
        await until(model.streams, driver)
        second = await driver.mention("the next")
        await until(lambda: shows(driver, second, "In the queue"), driver)
        await model.release()
        await whole(driver, first, "One.")
        (reply,) = await whole(driver, second, "Two.")
        assert "queue" not in reply.text


# ── helpers ─────────────────────────────────────────────────────────────────
async def shows(driver: PlatformDriver, thread: ThreadRef, text: str) -> bool:
    return await ever_said(driver, thread, text)


async def shows_command_reply(driver: PlatformDriver, thread: ThreadRef, text: str) -> bool:
    """Whether a command's reply is in the thread or shown only to the person."""
    return await shows(driver, thread, text) or any(text in t for t in await driver.whispers())
