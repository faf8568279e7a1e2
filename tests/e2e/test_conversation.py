"""The main job, on every platform: mention, thread, streaming, going on, starting over."""

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
from tests.support.scenes import Seen, Stage, ThreadRef, at_rest, ever_said

STORY = "Once there was a thread. " * 12  # about 60 tokens: several seconds at 20 tokens/s


async def until(check: Callable[[], Awaitable[Any]], stage: Stage, seconds: float = 30) -> Any:
    return await stage.sim.until(check, seconds)


async def whole(stage: Stage, place: ThreadRef, text: str, count: int = 1) -> list[Seen]:
    """The bot's messages in a thread, once the newest contains `text` and nothing is in work."""

    async def check() -> list[Seen] | None:
        seen = await stage.seen(place)
        done = len(seen) >= count and text in seen[-1].text and not seen[-1].working
        return seen if done else None

    found: list[Seen] = await until(check, stage)
    return found


def sent(body: dict[str, Any]) -> list[tuple[str, str]]:
    """What the model got, without the day at the end of the system prompt."""
    messages = [(message["role"], message["content"]) for message in body["messages"]]
    assert "\n\nToday is " in messages[0][1]
    return [(role, text.partition("\n\nToday is ")[0]) for role, text in messages]


async def test_mention_is_answered_in_a_thread_by_edits_of_one_message(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """First text early, then several edits, then the whole; nobody is pinged; no 429."""
    await model.say(STORY, rate=20)
    async with bot:
        place = await stage.mention("tell me a story")

        (reply,) = await whole(stage, place, STORY.strip())
        first = next(text for text in reply.past if "Once" in text)
        assert len(first) < len(STORY) / 2
        assert reply.text.strip() == STORY.strip()
        assert reply.versions >= 3
        assert reply.notified == ()
        assert await stage.throttled() == 0
        await at_rest(stage)


async def test_reply_in_the_thread_goes_on_with_the_history(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """Without a mention; on the wire: system, then role and content in index order."""
    await model.script(Answer(match="first", text="One."), Answer(match="second", text="Two."))
    async with bot:
        place = await stage.mention("the first question")
        await whole(stage, place, "One.")
        await stage.say(place, "the second question")
        await whole(stage, place, "Two.", count=2)
        body = (await model.last("second")).body
        assert sent(body) == [
            ("system", "Be brief."),
            ("user", "the first question"),
            ("assistant", "One."),
            ("user", "the second question"),
        ]
        assert all(set(message) == {"role", "content"} for message in body["messages"])
        assert body["stream"] is True


@pytest.mark.parametrize("form", ["field", "tags"])
async def test_reasoning_is_named_and_neither_shown_nor_sent_again(
    stage: Stage, model: ModelSim, bot: BotProcess, form: str
) -> None:
    """A model that thinks for long is seen to, on Slack by Slack's own sign; its thoughts are in no
    version and no request.
    """
    await model.dialect(reasoning=form)
    thoughts = "ponder " * 50
    await model.script(
        Answer(match="first", text="One: `<think>`.", reasoning=thoughts, rate=10),
        Answer(match="second", text="Two.", reasoning="ponder"),
    )
    async with bot:
        place = await stage.mention("the first question")
        (reply,) = await whole(stage, place, "One: `<think>`.")
        if stage.name == "discord":
            assert any(texts.THINKING in text for text in reply.past)
        else:
            assert await stage.sim.requests("agents.sessions.setStatus")
        assert reply.text.strip() == "One: `<think>`."
        await stage.say(place, "the second question")
        seen = await whole(stage, place, "Two.", count=2)
        assert not any("ponder" in message.text for message in seen)
        assert sent((await model.last("second")).body) == [
            ("system", "Be brief."),
            ("user", "the first question"),
            ("assistant", "One: `<think>`."),
            ("user", "the second question"),
        ]
        assert "ponder" not in str((await model.last("second")).body)


async def test_shown_reasoning_is_small_above_the_answer_and_not_sent_again(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """It streams there before the answer does, and no markup of it reaches the answer."""
    bot.set(REASONING="shown")
    await model.script(
        Answer(match="first", text="**One.**", reasoning="```\nponder " * 20, rate=10),
        Answer(match="second", text="Two."),
    )
    async with bot:
        place = await stage.mention("the first question")
        (reply,) = await whole(stage, place, "**One.**")
        assert any("ponder" in text for text in reply.past)
        quote, _, answer = reply.text.strip().rpartition("\n")
        assert answer == "**One.**" and reply.versions > 2
        assert all(line.startswith(">") for line in quote.strip().splitlines())
        await stage.say(place, "the second question")
        await whole(stage, place, "Two.", count=2)
        assert ("assistant", "**One.**") in sent((await model.last("second")).body)
        assert "ponder" not in str((await model.last("second")).body)


async def test_reset_word_starts_over_in_the_same_thread(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="first", text="One."), Answer(match="second", text="Two."))
    async with bot:
        place = await stage.mention("the first question")
        await whole(stage, place, "One.")
        await stage.mention_in(place, "reset")
        await until(lambda: told(stage, place, "Started over"), stage)
        await stage.say(place, "the second question")
        await until(lambda: answered(stage, place, "Two."), stage)
        assert sent((await model.last("second")).body) == [
            ("system", "Be brief."),
            ("user", "the second question"),
        ]


async def test_two_threads_at_once_stay_apart(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(
        Answer(match="cats", text="Cats purr. " * 10, rate=30),
        Answer(match="dogs", text="Dogs bark. " * 10, rate=30),
    )
    async with bot:
        cats = await stage.mention("about cats")
        dogs = await stage.mention("about dogs", user="bob")
        (of_cats,) = await whole(stage, cats, ("Cats purr. " * 10).strip())
        (of_dogs,) = await whole(stage, dogs, ("Dogs bark. " * 10).strip())
        assert "Dogs" not in of_cats.text
        assert "Cats" not in of_dogs.text
        assert len(sent((await model.last("cats")).body)) == 2


async def test_the_same_event_twice_gives_one_reply(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """Slack announces a mention as app_mention and as message anyway; here it comes again."""
    await model.say("Just once. " * 8, rate=20)
    async with bot:
        place = await stage.mention("only once please")
        await stage.redeliver(place)
        await whole(stage, place, "Just once.")
        await stage.redeliver(place)
        follow_up = await stage.say(place, "and now?")  # what follows proves the order
        assert follow_up
        seen = await whole(stage, place, "Just once.", count=2)
        assert len(seen) == 2
        assert len(await model.streams()) == 2


async def test_long_answer_flows_into_the_next_messages(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """6,000 characters arrive whole and in order, in messages within the platform's limit."""
    words = [f"word{n:04d}" for n in range(670)]
    await model.say(" ".join(words), rate=400)
    async with bot:
        place = await stage.mention("a long one")
        seen = await whole(stage, place, words[-1], count=-(-6_000 // stage.limit))
        assert " ".join(message.text for message in seen).split() == words
        assert all(len(message.text) <= stage.limit for message in seen)
        assert await stage.throttled() == 0


async def test_questions_sent_while_it_writes_are_answered_together(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="begin", text="First answer.", wait_at=2))
    await model.script(Answer(match="three", text="All three."))
    async with bot:
        place = await stage.mention("begin")
        await until(lambda: answered(stage, place, "Fi"), stage)
        for text in ("one", "two", "and three"):
            await stage.say(place, text)
        await bot.wait_for_log("message", 4)
        await model.release()
        seen = await whole(stage, place, "All three.", count=2)
        assert len(seen) == 2
        assert sent((await model.last("three")).body) == [
            ("system", "Be brief."),
            ("user", "begin"),
            ("assistant", "First answer."),
            ("user", "one\n\ntwo\n\nand three"),
        ]


async def test_people_in_a_shared_thread_carry_their_names(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.script(Answer(match="me too", text="Yes."), Answer(match="", text="Hm."))
    async with bot:
        place = await stage.mention("I am here")
        await whole(stage, place, "Hm.")
        await stage.say(place, "me too", user="bob")
        await whole(stage, place, "Yes.", count=2)
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
    stage: Stage, model: ModelSim, bot: BotProcess, fault: str, sentence: str
) -> None:
    await model.refuse(fault, times=None)
    async with bot:
        place = await stage.mention("will it work?")
        (reply,) = await whole(stage, place, sentence)
        assert "Error" not in reply.text
        assert "sk-" not in reply.text
        await model.reset()
        await model.say("Now it works.")
        await stage.say(place, "again")
        await whole(stage, place, "Now it works.", count=2)
        await at_rest(stage)


async def test_an_answer_cut_off_keeps_what_was_shown_and_says_so(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Half of the answer is here.", rate=0, breaks="end", at=4)
    async with bot:
        place = await stage.mention("whole please")
        (reply,) = await whole(stage, place, "broke off")
        assert reply.text.startswith("Half")


async def test_what_it_cannot_use_is_named(stage: Stage, model: ModelSim, bot: BotProcess) -> None:
    """An image beside a question: one sentence, and the words are answered."""
    await model.say("A fine cat.")
    async with bot:
        place = await stage.attach("what is this?")
        (reply,) = await whole(stage, place, "A fine cat.")
        assert "cannot use an image yet" in reply.text
        assert "cannot use" not in str((await model.last()).body["messages"])


async def test_direct_message_needs_no_mention(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("Hello, just us.")
    async with bot:
        place = await stage.direct("hi there")
        await whole(stage, place, "Hello, just us.")
        assert sent((await model.last()).body)[-1] == ("user", "hi there")


async def test_nothing_that_the_model_writes_pings(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(
        "Hey @everyone <!channel> <!here> <@U0ALICE001> <@1100000000000000202>!", rate=50
    )
    async with bot:
        place = await stage.mention("wake them all")
        (reply,) = await whole(stage, place, "everyone")
        assert reply.notified == ()


async def test_stop_ends_the_model_call_and_keeps_what_was_shown(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=20)
    async with bot:
        place = await stage.mention("tell me a story")
        await until(lambda: answered(stage, place, "Once there"), stage)
        await stage.press_stop(place)
        (reply,) = await whole(stage, place, "Stopped.")
        assert reply.text.startswith("Once")
        assert (await model.ended()).outcome == "disconnected"


async def test_kill_in_mid_reply_and_restart_ends_the_reply_in_the_same_message(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """SIGKILL while it writes: after the restart one message, whole, and the history is right."""
    await model.say(STORY, wait_at=20, times=1)
    await bot.start()
    await bot.ready()
    place = await stage.mention("tell me a story")
    await until(lambda: answered(stage, place, "Once there"), stage)
    await bot.kill()
    await model.say("After the restart.")
    async with bot:
        (reply,) = await whole(stage, place, "After the restart.")
        assert "Once" not in reply.text
        await stage.say(place, "go on")
        await whole(stage, place, "After the restart.", count=2)
        assert sent((await model.last("go on")).body) == [
            ("system", "Be brief."),
            ("user", "tell me a story"),
            ("assistant", "After the restart."),
            ("user", "go on"),
        ]
        await at_rest(stage)


async def test_terminate_lets_the_running_reply_finish(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    await model.say(STORY, wait_at=20)
    async with bot:
        place = await stage.mention("tell me a story")
        await until(lambda: answered(stage, place, "Once"), stage)
        ending = asyncio.create_task(bot.terminate())
        await bot.wait_for_log("draining")
        await model.release()
        assert await ending == 0
        (reply,) = await stage.seen(place)
        assert reply.text.strip() == STORY.strip()
        assert not reply.working


async def test_a_second_signal_ends_it_at_once_whichever_it_is(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    """Ctrl-C while it drains after a SIGTERM; the reply is written to its end at the next start."""
    await model.script(Answer(match="", text=STORY, wait_at=3))
    async with bot:
        place = await stage.mention("tell me a story")
        await until(model.streams, stage)
        bot.process.send_signal(signal.SIGTERM)
        await bot.wait_for_log("draining")
        bot.process.send_signal(signal.SIGINT)
        assert await bot.wait_exit(20) != 0
        await model.say("After the restart.")
        await bot.start()
        await whole(stage, place, "After the restart.")


async def test_more_turns_than_allowed_wait_visibly(
    stage: Stage, model: ModelSim, bot: BotProcess
) -> None:
    bot.set(MAX_CONCURRENT_TURNS="1")
    await model.script(Answer(match="first", text="One.", wait_at=0), Answer(match="", text="Two."))
    async with bot:
        first = await stage.mention("the first")
        await until(model.streams, stage)
        second = await stage.mention("the next")
        await until(lambda: answered(stage, second, "In the queue"), stage)
        await model.release()
        await whole(stage, first, "One.")
        (reply,) = await whole(stage, second, "Two.")
        assert "queue" not in reply.text


# ── small words of the scenes ─────────────────────────────────────────────────────────────────
async def answered(stage: Stage, place: ThreadRef, text: str) -> bool:
    return await ever_said(stage, place, text)


async def told(stage: Stage, place: ThreadRef, text: str) -> bool:
    """A command's answer: in the thread, or only for the person who asked."""
    return await answered(stage, place, text) or any(text in t for t in await stage.whispers())
