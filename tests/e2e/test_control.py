"""People in control, on every platform: stop, again, on, edit, delete, start over and back."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.scenes import Seen, Stage, ThreadRef, at_rest, ever_said

STORY = "Once there was a thread. " * 12  # about 60 tokens
HELD = 20  # tokens after which a story that is to be interrupted waits


async def until(check: Callable[[], Awaitable[Any]], stage: Stage, seconds: float = 30) -> Any:
    return await stage.sim.until(check, seconds)


async def whole(stage: Stage, place: ThreadRef, *texts: str) -> list[Seen]:
    """The bot's messages in a thread, once each is at its end and contains its text."""

    async def check() -> list[Seen] | None:
        seen = await stage.seen(place)
        done = len(seen) == len(texts) and not any(message.working for message in seen)
        fits = all(text in message.text for text, message in zip(texts, seen, strict=False))
        return seen if done and fits else None

    found: list[Seen] = await until(check, stage)
    return found


async def writes(stage: Stage, place: ThreadRef, text: str) -> None:
    """A message says it, or said it before: what is on the screen for a moment is not missed."""
    await until(lambda: ever_said(stage, place, text), stage)


async def told(stage: Stage, place: ThreadRef, text: str) -> None:
    """A command's answer: in the thread, or only for the person who asked."""

    async def check() -> bool:
        here = [message.text for message in await stage.seen(place)]
        return any(text in said for said in (*here, *await stage.whispers()))

    await until(check, stage)


def said(body: dict[str, Any]) -> list[str]:
    """What a request has after the system prompt, without the names that threads carry."""
    return [message["content"].rpartition(": ")[2] for message in body["messages"][1:]]


async def asked_for(model: ModelSim, match: str) -> list[str]:
    return said((await model.last(match)).body)


# ── stop, try again, go on ────────────────────────────────────────────────────────────────────
async def test_stop_by_anybody_ends_the_models_request_within_a_second(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=HELD)
    async with bot:
        place = await stage.mention("tell me a story")
        await writes(stage, place, "Once there")
        pressed = time.time()
        await stage.press(place, "stop", user="bob")
        ended = await model.ended()
        assert ended.outcome == "disconnected"
        assert ended.ended is not None and ended.ended - pressed < 1
        (reply,) = await whole(stage, place, "Stopped.")
        assert reply.text.startswith("Once")
        assert reply.button("retry") and reply.button("continue")


async def test_try_again_replaces_the_reply_in_the_same_messages(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    long = " ".join(f"word{n:04d}" for n in range(-(-stage.limit // 8)))
    await model.script(Answer(text=long, rate=2_000, times=1), Answer(text="Short and better."))
    async with bot:
        place = await stage.mention("say something")
        before = await whole(stage, place, "word0000", long[-8:])
        await stage.press(place, "retry")
        (reply,) = await whole(stage, place, "Short and better.")
        assert reply.id == before[0].id
        await stage.say(place, "go on")
        await whole(stage, place, "Short", "Short")
        assert await asked_for(model, "go on") == ["say something", "Short and better.", "go on"]
        await stage.press(place, "retry")  # of the newer one: the older is left alone
        await until(lambda: asked_times(model, "go on", 2), stage)
        again = await whole(stage, place, "Short", "Short")
        assert again[0].id == reply.id


async def asked_times(model: ModelSim, match: str, count: int) -> bool:
    return len(await model.streams(match=match)) == count


async def test_try_again_after_a_failure_answers_in_its_place(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.refuse("bad_key", times=None)
    async with bot:
        place = await stage.mention("will it work?")
        (failed,) = await whole(stage, place, "refused my key")
        await model.reset()
        await model.say("It works.")
        await stage.press(place, "retry")
        (reply,) = await whole(stage, place, "It works.")
        assert reply.id == failed.id
        assert "refused" not in reply.text


async def test_go_on_continues_a_cut_answer_below_it(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    half = Answer(text="Half of the answer is here.", rate=0, breaks="end", at=4, times=1)
    await model.script(half, Answer(text="And here is the rest."))
    async with bot:
        place = await stage.mention("whole please")
        (cut,) = await whole(stage, place, "broke off")
        await stage.press(place, "continue", user="bob")
        seen = await whole(stage, place, "broke off", "the rest")
        assert seen[0].id == cut.id
        question, answer, go_on = await asked_for(model, "whole please")
        assert question == "whole please"
        assert answer.startswith("Half")
        assert go_on.startswith("Go on")


async def test_words_after_a_mention_do_what_the_buttons_do(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        Answer(text="One.", times=1), Answer(text="Two.", times=1), Answer(text="Three.")
    )
    async with bot:
        place = await stage.mention("count")
        await whole(stage, place, "One.")
        await stage.mention_in(place, "retry")
        await whole(stage, place, "Two.")
        await stage.mention_in(place, "continue")
        await whole(stage, place, "Two.", "Three.")


async def test_buttons_work_after_a_kill_and_a_restart(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Before.", times=1)
    await bot.start()
    await bot.ready()
    place = await stage.mention("question")
    (before,) = await whole(stage, place, "Before.")
    await bot.kill()
    await model.say("After.")
    async with bot:
        await stage.press(place, "retry")
        (reply,) = await whole(stage, place, "After.")
        assert reply.id == before.id


# ── edits ─────────────────────────────────────────────────────────────────────────────────────
async def test_editing_the_last_question_replaces_its_reply_in_the_same_message(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="dogs", text="Dogs bark."), Answer(match="", text="Cats purr."))
    async with bot:
        place = await stage.mention("about cats")
        (before,) = await whole(stage, place, "Cats purr.")
        await stage.edit(place, place.question, "about dogs", mention=True)
        (after,) = await whole(stage, place, "Dogs bark.")
        assert after.id == before.id
        assert await asked_for(model, "dogs") == ["about dogs"]


async def test_editing_while_the_reply_is_written_begins_it_anew(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        Answer(match="dogs", text="Dogs bark."), Answer(match="", text=STORY, wait_at=HELD)
    )
    async with bot:
        place = await stage.mention("about cats")
        await writes(stage, place, "Once there")
        (before,) = await stage.seen(place)
        await stage.edit(place, place.question, "about dogs", mention=True)
        (after,) = await whole(stage, place, "Dogs bark.")
        assert after.id == before.id
        assert "Once" not in after.text
        await at_rest(stage)


async def test_editing_an_older_question_changes_later_requests_only(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Yes.")
    async with bot:
        place = await stage.mention("frist")
        await whole(stage, place, "Yes.")
        await stage.say(place, "second")
        await whole(stage, place, "Yes.", "Yes.")
        await stage.edit(place, place.question, "first", mention=True)
        await bot.wait_for_log("a message was edited")
        await stage.say(place, "third")
        await whole(stage, place, "Yes.", "Yes.", "Yes.")
        assert len(await model.streams()) == 3
        expected = ["first", "Yes.", "second", "Yes.", "third"]
        assert await asked_for(model, "third") == expected


# ── deletions ─────────────────────────────────────────────────────────────────────────────────
async def test_a_deleted_question_is_forgotten_and_does_not_come_back(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """Also when its event is delivered once more; its answer stays, as the setting says."""
    await model.say("Yes.")
    async with bot:
        place = await stage.mention("hello")
        await whole(stage, place, "Yes.")
        secret = await stage.say(place, "the secret is hunter2")
        await whole(stage, place, "Yes.", "Yes.")
        await stage.delete(place, secret)
        await bot.wait_for_log("a message was deleted")
        await stage.redeliver(place)
        await stage.say(place, "third")
        await whole(stage, place, "Yes.", "Yes.", "Yes.")
        assert await asked_for(model, "third") == ["hello", "Yes.\n\nYes.", "third"]
        assert await bot.terminate() == 0
    for file in bot.folder.glob("threadline.db*"):
        assert b"hunter2" not in file.read_bytes()


async def test_a_reply_goes_with_its_question_where_that_is_set(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    bot.set(DELETE_REPLY_WITH_QUESTION="true")
    await model.say("Yes.")
    async with bot:
        place = await stage.mention("hello")
        await whole(stage, place, "Yes.")
        second = await stage.say(place, "second")
        before = await whole(stage, place, "Yes.", "Yes.")
        await stage.delete(place, second)
        (left,) = await whole(stage, place, "Yes.")
        assert left.id == before[0].id
        await stage.say(place, "third")
        await whole(stage, place, "Yes.", "Yes.")
        assert await asked_for(model, "third") == ["hello", "Yes.", "third"]


async def test_deleting_the_question_that_is_answered_stops_the_model(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        Answer(match="secret", text=STORY, wait_at=HELD), Answer(match="", text="Yes.")
    )
    async with bot:
        place = await stage.mention("hello")
        await whole(stage, place, "Yes.")
        secret = await stage.say(place, "a secret")
        await writes(stage, place, "Once there")
        await stage.delete(place, secret)
        await whole(stage, place, "Yes.", "Stopped.")
        assert (await model.last("secret")).outcome == "disconnected"
        await at_rest(stage)


async def test_a_deleted_reply_is_out_of_the_history(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(text="Wrong.", times=1), Answer(text="Right."))
    async with bot:
        place = await stage.mention("hello")
        (reply,) = await whole(stage, place, "Wrong.")
        await stage.delete(place, reply.id)
        await bot.wait_for_log("a message was deleted")
        await stage.say(place, "second")
        await whole(stage, place, "Right.")
        assert await asked_for(model, "second") == ["hello\n\nsecond"]


# ── starting over, and back ───────────────────────────────────────────────────────────────────
async def test_reset_is_undone_by_its_button_once(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Yes.")
    async with bot:
        place = await stage.mention("first")
        await whole(stage, place, "Yes.")
        await stage.mention_in(place, "reset")
        press = await until(lambda: stage.undo_offer(place), stage)
        await press()
        await told(stage, place, "Undone")
        if await stage.undo_offer(place) is not None:  # where the button stays
            await press()
            await told(stage, place, "nothing to bring back")
        await stage.say(place, "second")
        await until(lambda: asked_times(model, "second", 1), stage)
        assert await asked_for(model, "second") == ["first", "Yes.", "second"]


async def test_reset_and_its_undo_in_words(stage: Stage, model: ModelSim, bot: BotProcess) -> None:
    await model.say("Yes.")
    async with bot:
        place = await stage.mention("first")
        await whole(stage, place, "Yes.")
        await stage.mention_in(place, "reset")
        await told(stage, place, "Started over")
        await stage.say(place, "second")
        await whole_reply(stage, place, 2)
        assert await asked_for(model, "second") == ["second"]
        await stage.mention_in(place, "undo")
        await told(stage, place, "Undone")
        await stage.say(place, "third")
        await until(lambda: asked_times(model, "third", 1), stage)
        assert await asked_for(model, "third") == ["first", "Yes.", "second", "Yes.", "third"]


async def whole_reply(stage: Stage, place: ThreadRef, count: int) -> None:
    """So many answers of the model are at their end; a command's answer is none."""

    async def check() -> bool:
        seen = [message for message in await stage.seen(place) if message.text == "Yes."]
        return len(seen) == count and not any(message.working for message in seen)

    await until(check, stage)


# ── places that go ────────────────────────────────────────────────────────────────────────────
async def test_a_place_closed_in_mid_reply_ends_the_turn_once_and_nothing_lands_elsewhere(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=HELD)
    async with bot:
        place = await stage.mention("tell me a story")
        await writes(stage, place, "Once there")
        await stage.close(place)
        assert (await model.ended()).outcome == "disconnected"
        await bot.wait_for_log("turn ended")
        assert [entry["outcome"] for entry in bot.events("turn ended")] == ["gone"]
        assert len(await model.streams()) == 1


async def test_root_deleted_in_mid_reply_leaves_nothing_in_the_channel(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=HELD)
    async with bot:
        place = await stage.mention("tell me a story")
        await writes(stage, place, "Once there")
        await stage.delete_root(place)
        assert (await model.ended()).outcome == "disconnected"
        await bot.wait_for_log("turn ended")
        assert len(bot.events("turn ended")) == 1
        assert not bot.events("failed")


# ── who speaks ────────────────────────────────────────────────────────────────────────────────
async def test_two_people_in_one_thread_are_answered_in_turn(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Yes.")
    async with bot:
        place = await stage.mention("first", user="alice")
        await whole(stage, place, "Yes.")
        await stage.say(place, "second", user="bob")
        await whole(stage, place, "Yes.", "Yes.")
        await stage.say(place, "third", user="alice")
        await whole(stage, place, "Yes.", "Yes.", "Yes.")
        contents = [m["content"].lower() for m in (await model.last("third")).body["messages"][1:]]
        assert contents == ["alice: first", "yes.", "bob: second", "yes.", "alice: third"]


async def test_one_person_in_ten_threads_has_ten_conversations(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        *(Answer(match=f"number {n}.", text=f"About {n}.", rate=20) for n in range(10))
    )
    async with bot:
        places = [await stage.mention(f"number {n}.") for n in range(10)]
        for n, place in enumerate(places):
            await whole(stage, place, f"About {n}.")
        for request in await model.streams():
            assert len(request.body["messages"]) == 2


async def test_another_bots_mention_is_no_question_but_a_persons_in_its_thread_is(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """Bots that mention each other would never end; what the thread is about may be quoted."""
    await model.say("Here I am.")
    async with bot:
        place = await stage.other_bot("are you there?")
        await stage.mention_in(place, "can you help?")
        await whole(stage, place, "Here I am.")
        assert len(await model.streams()) == 1
        asked = (await asked_for(model, "can you help"))[-1]
        assert asked.endswith("can you help?")
        if stage.name == "slack":
            assert asked.startswith("otherbot wrote:\n> @threadline are you there?\n\n")
