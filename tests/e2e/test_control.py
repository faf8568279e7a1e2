"""What people can do, on every platform: stop, retry, continue, edit, delete, reset and undo."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import PlatformDriver, Seen, ThreadRef, at_rest, ever_said

STORY = "Once there was a thread. " * 12  # about 60 tokens
HELD = 20  # tokens after which a story pauses, to be interrupted


async def until(
    check: Callable[[], Awaitable[Any]], driver: PlatformDriver, seconds: float = 60
) -> Any:
    return await driver.sim.until(check, seconds)


async def whole(driver: PlatformDriver, thread: ThreadRef, *texts: str) -> list[Seen]:
    """The bot's messages in a thread, once each is complete and contains its expected text."""

    async def check() -> list[Seen] | None:
        seen = await driver.seen(thread)
        done = len(seen) == len(texts) and not any(message.working for message in seen)
        fits = all(text in message.text for text, message in zip(texts, seen, strict=False))
        return seen if done and fits else None

    found: list[Seen] = await until(check, driver)
    return found


async def writes(driver: PlatformDriver, thread: ThreadRef, text: str) -> None:
    """Whether a message contains the text, or did in an earlier version."""
    await until(lambda: ever_said(driver, thread, text), driver)


async def wait_command_reply(driver: PlatformDriver, thread: ThreadRef, text: str) -> None:
    """Wait for a command's reply, whether in the thread or shown only to the person."""

    async def check() -> bool:
        here = [message.text for message in await driver.seen(thread)]
        return any(text in said for said in (*here, *await driver.whispers()))

    await until(check, driver)


def said(body: dict[str, Any]) -> list[str]:
    """The messages of a request after the system prompt, without their authors' names."""
    return [message["content"].rpartition(": ")[2] for message in body["messages"][1:]]


async def ask_for(model: ModelSim, match: str) -> list[str]:
    return said((await model.last(match)).body)


# ── stop, try again, continue ──────────────────────────────────────────────────────────────────
async def test_anyones_stop_ends_the_model_request_within_a_second(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=HELD)
    async with bot:
        thread = await driver.mention("tell me a story")
        await writes(driver, thread, "Once there")
        pressed = time.time()
        await driver.press(thread, "stop", user="bob")
        ended = await model.wait_ended()
        assert ended.outcome == "disconnected"
        assert ended.ended is not None and ended.ended - pressed < 1
        (reply,) = await whole(driver, thread, "Stopped.")
        assert reply.text.startswith("Once")
        assert reply.button("retry") and reply.button("continue")


async def test_retry_replaces_the_reply_in_the_same_messages(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    long = " ".join(f"word{n:04d}" for n in range(-(-driver.limit // 8)))
    await model.script(Answer(text=long, rate=2_000, times=1), Answer(text="Short and better."))
    async with bot:
        thread = await driver.mention("say something")
        before = await whole(driver, thread, "word0000", long[-8:])
        await driver.press(thread, "retry")
        (reply,) = await whole(driver, thread, "Short and better.")
        assert reply.id == before[0].id
        await driver.say(thread, "go on")
        await whole(driver, thread, "Short", "Short")
        assert await ask_for(model, "go on") == ["say something", "Short and better.", "go on"]
        await driver.press(thread, "retry")  # of the newer reply; the older one is unaffected
        await until(lambda: has_asked_times(model, "go on", 2), driver)
        again = await whole(driver, thread, "Short", "Short")
        assert again[0].id == reply.id


async def has_asked_times(model: ModelSim, match: str, count: int) -> bool:
    return len(await model.streams(match=match)) == count


async def test_retry_after_a_failure_answers_in_the_same_message(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.refuse("bad_key", times=None)
    async with bot:
        thread = await driver.mention("will it work?")
        (failed,) = await whole(driver, thread, "refused my key")
        await model.reset()
        await model.say("It works.")
        await driver.press(thread, "retry")
        (reply,) = await whole(driver, thread, "It works.")
        assert reply.id == failed.id
        assert "refused" not in reply.text


async def test_continue_extends_a_cut_answer_below_it(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    half = Answer(text="Half of the answer is here.", rate=0, breaks="end", at=4, times=1)
    await model.script(half, Answer(text="And here is the rest."))
    async with bot:
        thread = await driver.mention("whole please")
        (cut,) = await whole(driver, thread, "broke off")
        await bot.wait_for_log("turn ended")  # so that the id of its page is stored
        await driver.press(thread, "continue", user="bob")
        seen = await whole(driver, thread, "broke off", "the rest")
        assert seen[0].id == cut.id
        question, answer, go_on = await ask_for(model, "whole please")
        assert question == "whole please"
        assert answer.startswith("Half")
        assert go_on.startswith("Go on")


async def test_words_after_a_mention_do_what_the_buttons_do(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        Answer(text="One.", times=1), Answer(text="Two.", times=1), Answer(text="Three.")
    )
    async with bot:
        thread = await driver.mention("count")
        await whole(driver, thread, "One.")
        await driver.mention_in(thread, "retry")
        await whole(driver, thread, "Two.")
        await driver.mention_in(thread, "continue")
        await whole(driver, thread, "Two.", "Three.")


async def test_buttons_work_after_a_kill_and_a_restart(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Before.", times=1)
    await bot.start()
    await bot.ready()
    thread = await driver.mention("question")
    (before,) = await whole(driver, thread, "Before.")
    await bot.kill()
    await model.say("After.")
    async with bot:
        await driver.press(thread, "retry")
        (reply,) = await whole(driver, thread, "After.")
        assert reply.id == before.id


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
async def test_editing_the_last_question_replaces_its_reply_in_the_same_message(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="dogs", text="Dogs bark."), Answer(match="", text="Cats purr."))
    async with bot:
        thread = await driver.mention("about cats")
        (before,) = await whole(driver, thread, "Cats purr.")
        await driver.edit(thread, thread.question, "about dogs", mention=True)
        (after,) = await whole(driver, thread, "Dogs bark.")
        assert after.id == before.id
        assert await ask_for(model, "dogs") == ["about dogs"]


async def test_an_edit_during_the_reply_restarts_it(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        Answer(match="dogs", text="Dogs bark."), Answer(match="", text=STORY, wait_at=HELD)
    )
    async with bot:
        thread = await driver.mention("about cats")
        await writes(driver, thread, "Once there")
        (before,) = await driver.seen(thread)
        await driver.edit(thread, thread.question, "about dogs", mention=True)
        (after,) = await whole(driver, thread, "Dogs bark.")
        assert after.id == before.id
        assert "Once" not in after.text
        await at_rest(driver)


async def test_editing_an_older_question_changes_later_requests_only(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Yes.")
    async with bot:
        thread = await driver.mention("frist")
        await whole(driver, thread, "Yes.")
        await driver.say(thread, "second")
        await whole(driver, thread, "Yes.", "Yes.")
        await driver.edit(thread, thread.question, "first", mention=True)
        await bot.wait_for_log("a message was edited")
        await driver.say(thread, "third")
        await whole(driver, thread, "Yes.", "Yes.", "Yes.")
        assert len(await model.streams()) == 3
        expected = ["first", "Yes.", "second", "Yes.", "third"]
        assert await ask_for(model, "third") == expected


# ── deletions ─────────────────────────────────────────────────────────────────────────────────
async def test_a_deleted_question_is_forgotten_and_does_not_come_back(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """This holds even if its event is delivered again. The answer stays, as the setting says."""
    await model.say("Yes.")
    async with bot:
        thread = await driver.mention("hello")
        await whole(driver, thread, "Yes.")
        secret = await driver.say(thread, "the secret is hunter2")
        await whole(driver, thread, "Yes.", "Yes.")
        await driver.delete(thread, secret)
        await bot.wait_for_log("a message was deleted")
        await driver.redeliver(thread)
        await driver.say(thread, "third")
        await whole(driver, thread, "Yes.", "Yes.", "Yes.")
        assert await ask_for(model, "third") == ["hello", "Yes.\n\nYes.", "third"]
        assert await bot.terminate() == 0
    for file in bot.folder.glob("threadline.db*"):
        assert b"hunter2" not in file.read_bytes()


async def test_a_reply_is_deleted_with_its_question_if_configured(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    bot.set(DELETE_REPLY_WITH_QUESTION="true")
    await model.say("Yes.")
    async with bot:
        thread = await driver.mention("hello")
        await whole(driver, thread, "Yes.")
        second = await driver.say(thread, "second")
        before = await whole(driver, thread, "Yes.", "Yes.")
        await driver.delete(thread, second)
        (left,) = await whole(driver, thread, "Yes.")
        assert left.id == before[0].id
        await driver.say(thread, "third")
        await whole(driver, thread, "Yes.", "Yes.")
        assert await ask_for(model, "third") == ["hello", "Yes.", "third"]


async def test_deleting_the_question_being_answered_stops_the_model(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        Answer(match="secret", text=STORY, wait_at=HELD), Answer(match="", text="Yes.")
    )
    async with bot:
        thread = await driver.mention("hello")
        await whole(driver, thread, "Yes.")
        secret = await driver.say(thread, "a secret")
        await writes(driver, thread, "Once there")
        await driver.delete(thread, secret)
        await whole(driver, thread, "Yes.", "Stopped.")
        assert (await model.last("secret")).outcome == "disconnected"
        await at_rest(driver)


async def test_a_deleted_reply_leaves_the_history(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(text="Wrong.", times=1), Answer(text="Right."))
    async with bot:
        thread = await driver.mention("hello")
        (reply,) = await whole(driver, thread, "Wrong.")
        await driver.delete(thread, reply.id)
        await bot.wait_for_log("a message was deleted")
        await driver.say(thread, "second")
        await whole(driver, thread, "Right.")
        (asked,) = (await model.last("second")).body["messages"][1:]
        assert asked["content"] == f"{driver.speaker}: hello\n\n{driver.speaker}: second"


# ── reset and undo ─────────────────────────────────────────────────────────────────────────────
async def test_reset_is_undone_by_its_button_once(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Yes.")
    async with bot:
        thread = await driver.mention("first")
        await whole(driver, thread, "Yes.")
        await driver.mention_in(thread, "reset")
        press = await until(lambda: driver.undo_offer(thread), driver)
        await press()
        await wait_command_reply(driver, thread, "Undone")
        if await driver.undo_offer(thread) is not None:  # where the button remains
            await press()
            await wait_command_reply(driver, thread, "nothing to bring back")
        await driver.say(thread, "second")
        await until(lambda: has_asked_times(model, "second", 1), driver)
        assert await ask_for(model, "second") == ["first", "Yes.", "second"]


async def test_reset_and_its_undo_in_words(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Yes.")
    async with bot:
        thread = await driver.mention("first")
        await whole(driver, thread, "Yes.")
        await driver.mention_in(thread, "reset")
        await wait_command_reply(driver, thread, "Started over")
        await driver.say(thread, "second")
        await whole_reply(driver, thread, 2)
        assert await ask_for(model, "second") == ["second"]
        await driver.mention_in(thread, "undo")
        await wait_command_reply(driver, thread, "Undone")
        await driver.say(thread, "third")
        await until(lambda: has_asked_times(model, "third", 1), driver)
        assert await ask_for(model, "third") == ["first", "Yes.", "second", "Yes.", "third"]


async def whole_reply(driver: PlatformDriver, thread: ThreadRef, count: int) -> None:
    """Wait until the model has completed this many answers; replies to commands do not count."""

    async def check() -> bool:
        seen = [message for message in await driver.seen(thread) if message.text == "Yes."]
        return len(seen) == count and not any(message.working for message in seen)

    await until(check, driver)


# ── deleted and closed threads ─────────────────────────────────────────────────────────────────
async def test_losing_access_mid_reply_ends_the_turn_once_and_posts_nothing_elsewhere(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY * 10, rate=20)  # the next edit meets the refusal
    async with bot:
        thread = await driver.mention("tell me a story")
        await writes(driver, thread, "Once there")
        await driver.close(thread)
        assert (await model.wait_ended()).outcome == "disconnected"
        await bot.wait_for_log("turn ended")
        assert [entry["outcome"] for entry in bot.events("turn ended")] == ["gone"]
        assert len(await model.streams()) == 1


async def test_deleting_the_root_mid_reply_leaves_nothing_in_the_channel(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=HELD)
    async with bot:
        thread = await driver.mention("tell me a story")
        await writes(driver, thread, "Once there")
        await driver.delete_root(thread)
        assert (await model.wait_ended()).outcome == "disconnected"
        await bot.wait_for_log("turn ended")
        assert len(bot.events("turn ended")) == 1
        assert not bot.events("failed")


# ── authors ───────────────────────────────────────────────────────────────────────────────────
async def test_two_people_in_one_thread_are_answered_in_turn(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Yes.")
    async with bot:
        thread = await driver.mention("first", user="alice")
        await whole(driver, thread, "Yes.")
        await driver.say(thread, "second", user="bob")
        await whole(driver, thread, "Yes.", "Yes.")
        await driver.say(thread, "third", user="alice")
        await whole(driver, thread, "Yes.", "Yes.", "Yes.")
        contents = [m["content"].lower() for m in (await model.last("third")).body["messages"][1:]]
        assert contents == ["alice: first", "yes.", "bob: second", "yes.", "alice: third"]


async def test_one_person_in_ten_threads_has_ten_conversations(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        *(Answer(match=f"number {n}.", text=f"About {n}.", rate=20) for n in range(10))
    )
    async with bot:
        threads = [await driver.mention(f"number {n}.") for n in range(10)]
        for n, thread in enumerate(threads):
            await whole(driver, thread, f"About {n}.")
        for request in await model.streams():
            assert len(request.body["messages"]) == 2


async def test_another_bots_mention_is_ignored_but_a_persons_in_its_thread_is_answered(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """Bots that answered each other's mentions would loop forever. The message that began the
    thread is quoted."""
    await model.say("Here I am.")
    async with bot:
        thread = await driver.other_bot("are you there?")
        await driver.mention_in(thread, "can you help?")
        await whole(driver, thread, "Here I am.")
        assert len(await model.streams()) == 1
        asked = (await model.last("can you help")).body["messages"][-1]["content"]
        assert asked.endswith("can you help?")
        if driver.name == "slack":
            assert asked.startswith("alice: otherbot wrote:\n> @threadline are you there?\n\n")
