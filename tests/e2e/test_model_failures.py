"""Every model failure, on every platform.

One sentence appears, the text so far stays, and the next question works. A single bot process goes
through all failures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bot.llm.circuit_breaker import FAILURE_THRESHOLD
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import PlatformDriver, Seen, ThreadRef, at_rest

HALF = "Half of the answer is here, and the rest of it is missing."
FIRST_TOKEN, BETWEEN_TOKENS = 4.0, 2.0  # seconds; enough for a busy machine


@dataclass(frozen=True)
class Fault:
    """How the model fails at the question `name`, and what people see."""

    name: str
    sentence: str
    answer: dict[str, Any] = field(default_factory=dict)
    kept: str = ""  # the beginning of the reply: text shown before the failure


def broken(name: str, breaks: str, sentence: str = "broke off") -> Fault:
    """The stream breaks in the middle."""
    return Fault(name, sentence, {"text": HALF, "rate": 0, "breaks": breaks, "at": 4}, "Half of")


# Each group is asked concurrently and has too few failures to open the circuit breaker; temporary
# failures are tried three times.
GROUPS = (
    (
        Fault("limited", "too many requests right now", {"fault": "rate_limited"}),
        Fault("no-money", "refused my key", {"fault": "quota"}),
    ),
    (
        Fault("broken-server", "overloaded right now", {"fault": "server_error"}),
        Fault("bad-key", "refused my key", {"fault": "bad_key"}),
    ),
    (
        Fault("bad-gateway", "overloaded right now", {"fault": "bad_gateway"}),
        Fault("no-model", "does not exist", {"fault": "unknown_model"}),
    ),
    (
        Fault("unavailable", "overloaded right now", {"fault": "unavailable"}),
        Fault("too-long", "too long for the model", {"fault": "too_long"}),
        Fault("filtered", "content filter refused", {"fault": "content_filter"}),
        Fault("odd", "The model failed", {"fault": "bad_request"}),
    ),
    (
        Fault("empty", "gave an empty answer", {"text": ""}),
        Fault("silent", "took too long to begin", {"text": HALF, "hold": 60.0}),
        Fault("slow-start", "took too long to begin", {"text": HALF, "first_delay": 60.0}),
        Fault("junk-at-once", "The model failed", {"text": HALF, "breaks": "garbage", "at": 0}),
        broken("stalls", "stall", "stopped in the middle"),
    ),
    (
        broken("is-cut", "cut"),
        broken("is-closed", "fin"),
        broken("ends-early", "end"),
        broken("has-an-error", "error"),
    ),
    (
        broken("has-bad-json", "bad_json"),
        broken("has-garbage", "garbage"),
        Fault("moderated", "content filter refused", {"fault": "moderated"}),
        Fault("misled", "there is no model", {"fault": "wrong_path"}),
    ),
    (
        Fault(
            "strange-end", "broke off", {"text": HALF, "finish_reason": "something_new"}, "Half of"
        ),
        Fault(
            "flagged", "content filter refused", {"text": HALF, "finish_reason": "SAFETY"}, "Half"
        ),
        Fault("thinks", "used up its length limit", {"text": "", "finish_reason": "length"}),
    ),
)


async def whole(driver: PlatformDriver, thread: ThreadRef, text: str, count: int = 1) -> Seen:
    """The newest message in a thread, once it contains `text` and nothing is being written."""

    async def check() -> Seen | None:
        seen = await driver.seen(thread)
        done = len(seen) == count and text in seen[-1].text and not seen[-1].working
        return seen[-1] if done else None

    return await until(check, driver, f"{text!r} in message {count} of {thread}")


async def until(
    check: Callable[[], Awaitable[Any]], driver: PlatformDriver, what: str, seconds: float = 60
) -> Any:
    try:
        return await driver.sim.until(check, seconds)
    except AssertionError as error:
        raise AssertionError(f"not within {seconds} s: {what}") from error


async def test_every_failure_has_its_sentence_keeps_what_was_shown_and_ends(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """No sign of work is left, no provider's text is shown, and a retry is offered."""
    bot.set(FIRST_TOKEN_SECONDS=str(FIRST_TOKEN), BETWEEN_TOKENS_SECONDS=str(BETWEEN_TOKENS))
    faults = [fault for group in GROUPS for fault in group]
    await model.script(*(Answer(match=fault.name, **fault.answer) for fault in faults))
    await model.say("Now it works.", match="and now", rate=0)
    async with bot:
        for group in GROUPS:
            threads = [await driver.mention(f"this one is {fault.name}") for fault in group]
            for fault, thread in zip(group, threads, strict=True):
                judge(fault, await whole(driver, thread, fault.sentence))
            await driver.say(threads[-1], "and now?")
            await whole(driver, threads[-1], "Now it works.", count=2)
        await at_rest(driver)
        assert await driver.count_throttled() == 0
        assert not bot.events("a turn failed")
        assert not bot.events("circuit breaker opened"), "it would hide what comes after"


def judge(fault: Fault, reply: Seen) -> None:
    assert reply.text.startswith(fault.kept), fault.name
    assert "retry" in str(reply.buttons), fault.name
    assert reply.text.count("model") <= 1, f"more than a sentence: {reply.text}"
    for foreign in ("Error", "sk-", "{", "Traceback", "status", "Limit 3"):
        assert foreign not in reply.text, f"{fault.name}: {reply.text}"


async def test_a_providers_retry_after_is_respected_or_announced(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """A short wait goes unnoticed; a long one is announced, and the model is not asked until
    then."""
    await model.refuse("rate_limited", match="short", retry_after=1)
    await model.refuse("rate_limited", match="long", times=None, retry_after=600)
    async with bot:
        short = await driver.mention("a short wait")
        reply = await whole(driver, short, "a short wait")
        assert "too many requests" not in reply.text
        first, second = [x.at for x in await model.streams(match="a short wait")]
        assert second - first >= 1
        long = await driver.mention("a long wait")
        await whole(driver, long, "ask again in 10 minutes")
        asked = len(await model.streams())
        other = await driver.mention("another one")
        await whole(driver, other, "ask again in")
        assert len(await model.streams()) == asked


async def test_a_failing_model_rests_and_the_next_one_answers(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    bot.set(LLM="openai:sim,openai:sim-2")
    await model.refuse("unavailable", model="sim", times=None)
    await model.say("From the second.", model="sim-2")
    async with bot:
        for n in range(FAILURE_THRESHOLD):  # one after another: concurrent failures count once
            await whole(driver, await driver.mention(f"question {n}"), "From the second.")
        await bot.wait_for_log("circuit breaker opened")
        asked = len([x for x in await model.streams() if x.body["model"] == "sim"])
        assert asked == FAILURE_THRESHOLD
        for n in range(3):
            thread = await driver.mention(f"later {n}")
            await whole(driver, thread, "From the second.")
        assert len([x for x in await model.streams() if x.body["model"] == "sim"]) == asked
        assert len(bot.events("circuit breaker opened")) == 1


async def test_waiting_for_a_server_to_load_its_model_is_shown(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """A note is shown while the server loads, and then becomes the answer."""
    await model.refuse("loading", times=None)

    async def shows_note() -> bool:
        return "The model is loading" in " ".join(seen.text for seen in await driver.seen(thread))

    async with bot:
        thread = await driver.mention("a cold one")
        await until(shows_note, driver, "the note")
        await model.say("Ready now.", match="a cold one")
        reply = await whole(driver, thread, "Ready now.")
        assert "loading" not in reply.text


async def test_a_history_too_long_for_the_model_is_shortened_silently(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    await model.say("x" * 1_500, match="tell", rate=0)
    await model.say("Short.", match="in short", rate=0)
    async with bot:
        thread = await driver.mention("tell me more 1")
        await whole(driver, thread, "x")
        for n in range(2, 5):
            await driver.say(thread, f"tell me more {n}")
            await whole(driver, thread, "x", count=n)
        await model.context(1_400)
        await driver.say(thread, "in short?")
        reply = await whole(driver, thread, "Short.", count=5)
        assert "too long" not in reply.text
        long, short = await model.streams(match="in short")
        assert long.status == 400
        before, after = long.body["messages"], short.body["messages"]
        assert (after[0]["role"], after[-1]) == ("system", before[-1])
        size, less = (sum(len(each["content"]) for each in sent) for sent in (before, after))
        assert len(after[0]["content"]) + len(after[-1]["content"]) < less < size


async def has_asked(bot: BotProcess, count: int) -> bool:
    receipts = [line.get("receipt") for line in bot.events("message")]
    return receipts.count("question") == count


async def test_a_strict_chat_template_accepts_every_history(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """A failed question, a deleted one and several concurrent ones would each break the
    alternation of roles that such templates require."""
    await model.models(strict=("sim",))
    await model.script(
        Answer(match="fails", fault="bad_key", times=1),
        Answer(match="slowly", text="Yes. Yes.", wait_at=1),
    )
    async with bot:
        thread = await driver.mention("this fails")
        await whole(driver, thread, "refused my key")
        gone = await driver.say(thread, "and this is deleted")
        await whole(driver, thread, "I received", count=2)
        await driver.delete(thread, gone)
        await bot.wait_for_log("a message was deleted")
        await driver.say(thread, "slowly")
        await until(lambda: model.streams(match="slowly"), driver, "the third answer to begin")
        for text in ("one", "two", "three"):
            await driver.say(thread, text)
        await until(lambda: has_asked(bot, 6), driver, "six questions in the database")
        await model.release()
        await whole(driver, thread, "I received", count=4)
    requests = await model.streams()
    assert {request.status for request in requests} <= {200, 401}
    last = [message["content"] for message in requests[-1].body["messages"]]
    who = driver.speaker
    assert last[1] == f"{who}: this fails"
    assert last[-1] == f"{who}: one\n\n{who}: two\n\n{who}: three"
