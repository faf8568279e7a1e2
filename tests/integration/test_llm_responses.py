"""OpenAI's Responses API without server state: the real client against the simulated server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest
import pytest_asyncio
from pydantic import SecretStr
from structlog.testing import capture_logs

from bot.config.providers import ProviderConfig, ProviderKind
from bot.domain import texts
from bot.domain.conversations import Effort, ImagePart, Message, Role
from bot.domain.errors import (
    CannotSee,
    ContentRefused,
    ContextTooLong,
    CutOff,
    KeyRefused,
    ModelError,
    ModelFailed,
    NoCredit,
    Overloaded,
    RateLimited,
    TimedOut,
    UnknownModel,
    Unreachable,
    WrongAddress,
)
from bot.domain.health import Verdict
from bot.domain.model import ChatRequest, Delta, ModelFacts, Usage
from bot.llm.openai_responses import OpenAIResponsesModel, make_client
from bot.llm.stream_timeout import StreamTimeouts
from tests.sims.model import Answer, ModelSim, count_tokens
from tests.support.deltas import fail, reasoning, text
from tests.support.small_files import png

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = ChatRequest((Message(Role.SYSTEM, "Be kind."), Message(Role.USER, "hello")))
WIDE = StreamTimeouts(first_token=20.0, between_tokens=20.0)
TOKENS = ["The ", "answer ", "is ", "42."]
PNG = png()
IMAGE = ImagePart("image/png", PNG, 40, 30, label="the chart")
Make = Callable[..., OpenAIResponsesModel]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def sim(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=2000, first_delay=0.003)
    return server


@pytest_asyncio.fixture(loop_scope="module")
async def make(sim: ModelSim) -> AsyncIterator[Make]:
    models: list[OpenAIResponsesModel] = []

    def build(
        *,
        model: str = "sim",
        timeouts: StreamTimeouts = WIDE,
        url: str | None = None,
        facts: ModelFacts | None = None,
    ) -> OpenAIResponsesModel:
        provider = ProviderConfig(
            name="openai",
            kind=ProviderKind.OPENAI_RESPONSES,
            base_url=url or sim.base_url,
            key=SecretStr("right"),
            key_setting="OPENAI_API_KEY",
            address_setting="OPENAI_BASE_URL",
        )
        models.append(
            OpenAIResponsesModel(
                name=f"openai/{model}",
                model=model,
                provider=provider,
                client=make_client(provider),
                timeouts=timeouts,
                facts=facts or ModelFacts(),
            )
        )
        return models[-1]

    yield build
    for each in models:
        await each.aclose()


async def answer(model: OpenAIResponsesModel, request: ChatRequest = HELLO) -> list[Delta]:
    return [delta async for delta in model.stream(request)]


# ── an answer ─────────────────────────────────────────────────────────────────────────────────
async def test_an_answer_streams_with_name_finish_reason_and_usage(
    sim: ModelSim, make: Make
) -> None:
    """Each token is a separate delta; the counts come with the last event."""
    await sim.say(TOKENS)
    deltas = await answer(make())
    assert [delta.text for delta in deltas if delta.text] == TOKENS
    assert deltas[0].model == "openai/sim"
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    prompt = count_tokens([{"content": "Be kind."}, {"content": "hello"}])
    assert [delta.usage for delta in deltas if delta.usage] == [Usage(prompt, 4)]


async def test_nothing_is_kept_at_the_provider(sim: ModelSim, make: Make) -> None:
    """Each request has the whole conversation and refers to no other one."""
    messages = (
        Message(Role.SYSTEM, "Be kind."),
        Message(Role.USER, "one", index=4, id=9, created_at=3.0),
        Message(Role.ASSISTANT, "ok"),
        Message(Role.USER, "naïve 🙂\u2028 two"),
    )
    await answer(make(), ChatRequest(messages))
    record = await sim.last("two")
    assert record.path == "/v1/responses"
    assert record.body["store"] is False and record.body["stream"] is True
    assert record.body["instructions"] == "Be kind."
    assert record.body["input"] == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "naïve 🙂\u2028 two"},
    ]
    assert set(record.body) == {"model", "input", "store", "stream", "instructions", "reasoning"}
    assert record.body["reasoning"] == {"summary": "auto"}
    assert record.authorization == "Bearer right"


async def test_chosen_options_are_sent(sim: ModelSim, make: Make) -> None:
    """A limit below the API's minimum is raised to it."""
    request = ChatRequest(
        HELLO.messages, max_tokens=3, temperature=0.5, effort=Effort.HIGH, cache_key="k" * 64
    )
    await answer(make(), request)
    body = (await sim.last()).body
    assert body["max_output_tokens"] == 16 and body["temperature"] == 0.5
    assert body["reasoning"] == {"effort": "high", "summary": "auto"}
    assert body["prompt_cache_key"] == "k" * 64


async def test_a_model_without_effort_gets_none(sim: ModelSim, make: Make) -> None:
    """Either the operator or the built-in table says that the model has none."""
    request = ChatRequest(HELLO.messages, effort=Effort.HIGH)
    await answer(make(facts=ModelFacts(effort=False)), request)
    assert "reasoning" not in (await sim.last()).body


async def test_a_summary_of_the_reasoning_is_reasoning(sim: ModelSim, make: Make) -> None:
    await sim.say("Yes.", reasoning="Let me think")
    deltas = await answer(make())
    assert (text(deltas), reasoning(deltas)) == ("Yes.", "Let me think")
    (usage,) = (delta.usage for delta in deltas if delta.usage)
    assert usage.reasoning_tokens == 3 and usage.output_tokens == 4


async def test_a_refusal_is_text(sim: ModelSim, make: Make) -> None:
    await sim.say([], refusal="I cannot help with that.")
    assert text(await answer(make())) == "I cannot help with that."


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_incomplete_response_says_why(sim: ModelSim, make: Make, reason: str) -> None:
    """The usage comes with it."""
    await sim.say(TOKENS, finish_reason=reason)
    deltas = await answer(make())
    expected = {"length": "length", "content_filter": "content_filter"}[reason]
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == [expected]
    assert text(deltas) == "".join(TOKENS) and any(delta.usage for delta in deltas)


@pytest.mark.parametrize(
    "dialect",
    [
        {"newline": "\r\n", "split": 7},
        {"keepalive": 0.005},
        {"space": False},
        {"ascii": True},
        {"per_segment": 3},
        {"per_segment": 2, "split": 5, "newline": "\r\n"},
        {"role": "early"},
        {"role": "none"},
    ],
    ids=str,
)
async def test_every_framing_gives_the_same_text(
    sim: ModelSim, make: Make, dialect: dict[str, Any]
) -> None:
    tokens = ["Zwölf ", "🙂\u2028", "\u0085x ", "\u2029\n", "end"]
    await sim.dialect(**dialect)
    await sim.say(tokens, rate=400)
    deltas = await answer(make())
    assert text(deltas) == "".join(tokens)
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]


async def test_the_last_event_may_be_large(sim: ModelSim, make: Make) -> None:
    """It repeats the answer and the instructions, here with escapes of six bytes per character."""
    await sim.dialect(ascii=True)
    await sim.say(["漢字" * 40_000], rate=0)
    request = ChatRequest((Message(Role.SYSTEM, "漢字" * 60_000), HELLO.messages[-1]))
    deltas = await answer(make(), request)
    assert len(text(deltas)) == 80_000
    assert deltas[-1].finish_reason == "stop"


# ── images ────────────────────────────────────────────────────────────────────────────────────
async def test_images_arrive_byte_for_byte(sim: ModelSim, make: Make) -> None:
    """They are in the message that contains them, after its text."""
    request = ChatRequest((Message(Role.USER, "what is this?", parts=(IMAGE,)),))
    model = make()
    await answer(model, request)
    record = await sim.last("what is this?")
    assert [image.data for image in record.images] == [PNG]
    (item,) = record.body["input"]
    assert [part["type"] for part in item["content"]] == ["input_text", "input_text", "input_image"]
    assert item["content"][1]["text"] == "[Image 1: the chart]"
    assert model.sees is True


async def test_a_model_that_takes_no_images_is_recognized(sim: ModelSim, make: Make) -> None:
    await sim.images(blind={"sim": "ollama"})
    request = ChatRequest((Message(Role.USER, "what is this?", parts=(IMAGE,)),))
    model = make()
    assert type((await fail(model, request))[1]) is CannotSee
    assert model.sees is False


# ── what servers refuse ───────────────────────────────────────────────────────────────────────
async def learn(
    sim: ModelSim, model: OpenAIResponsesModel, request: ChatRequest
) -> tuple[list[str], dict[str, Any]]:
    """The workarounds learned from one question, and the next question's request, which needs
    none."""
    with capture_logs() as lines:
        assert text(await answer(model, request))
    before = len(await sim.streams())
    await answer(model, request)
    records = await sim.streams(before)
    assert len(records) == 1, "the next question knows from the start"
    return [line["workaround"] for line in lines if "workaround" in line], records[0].body


async def test_an_organization_that_is_not_verified_gets_no_summary(
    sim: ModelSim, make: Make
) -> None:
    await sim.efforts(verified=False)
    request = ChatRequest(HELLO.messages, effort=Effort.LOW)
    learned, body = await learn(sim, make(), request)
    assert learned == ["no reasoning.summary"] and body["reasoning"] == {"effort": "low"}


async def test_a_model_that_does_not_reason_gets_neither_effort_nor_summary(
    sim: ModelSim, make: Make
) -> None:
    await sim.efforts(plain=("sim",))
    request = ChatRequest(HELLO.messages, effort=Effort.LOW)
    learned, body = await learn(sim, make(), request)
    assert sorted(learned) == ["no reasoning.effort", "no reasoning.summary"]
    assert "reasoning" not in body


async def test_a_rejected_effort_is_not_sent_again_but_another_one_is(
    sim: ModelSim, make: Make
) -> None:
    await sim.efforts(values={"sim": ["medium", "high"]})
    model = make()
    learned, body = await learn(sim, model, ChatRequest(HELLO.messages, effort=Effort.LOW))
    assert learned == ["no reasoning.effort low"] and body["reasoning"] == {"summary": "auto"}
    await answer(model, ChatRequest(HELLO.messages, effort=Effort.HIGH))
    assert (await sim.last()).body["reasoning"] == {"effort": "high", "summary": "auto"}


async def test_a_reasoning_model_gets_no_temperature(sim: ModelSim, make: Make) -> None:
    await sim.models(reasoning=("sim",))
    learned, body = await learn(sim, make(), ChatRequest(HELLO.messages, temperature=0.2))
    assert learned == ["no temperature"] and "temperature" not in body


@pytest.mark.parametrize(
    ("param", "request_fields", "absent"),
    [
        ("prompt_cache_key", {"cache_key": "k"}, "prompt_cache_key"),
        ("max_output_tokens", {"max_tokens": 500}, "max_output_tokens"),
    ],
)
async def test_what_a_compatible_server_does_not_know_is_left_out(
    sim: ModelSim, make: Make, param: str, request_fields: dict[str, Any], absent: str
) -> None:
    body = {"error": {"message": f"Unknown parameter: '{param}'.", "param": param}}
    await sim.script(Answer(status=400, body=body, times=1))
    learned, sent = await learn(sim, make(), ChatRequest(HELLO.messages, **request_fields))
    assert learned == [f"no {param}"] and absent not in sent


async def test_a_server_that_does_not_stream_is_asked_for_the_whole_answer(
    sim: ModelSim, make: Make
) -> None:
    """Reasoning is not part of the text."""
    await sim.refuse("no_streaming")
    await sim.script(Answer(text="Hello there.", reasoning="Hm."))
    await sim.refuse("no_streaming")
    model = make()
    deltas = await answer(model)
    assert text(deltas) == "Hello there." and deltas[-1].finish_reason == "stop"
    assert (await sim.last()).body["stream"] is False


async def test_storing_is_never_given_up(sim: ModelSim, make: Make) -> None:
    """A server that rejects the parameter is not asked without it, because it might store the
    answer."""
    body = {"error": {"message": "Unknown parameter: 'store'.", "param": "store"}}
    await sim.script(Answer(status=400, body=body))
    before = len(await sim.streams())
    assert type((await fail(make()))[1]) is ModelFailed
    assert all(record.body["store"] is False for record in await sim.streams(before))


async def test_doctor_shows_what_was_learned(sim: ModelSim, make: Make) -> None:
    await sim.efforts(plain=("sim",))
    finding = await make().check()
    assert finding.verdict is Verdict.OK
    assert "needs requests without reasoning.summary" in finding.detail
    await sim.key("another")
    finding = await make().check()
    assert finding.verdict is Verdict.FAILED and "OPENAI_API_KEY" in finding.advice


# ── failures ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limited", RateLimited),
        ("quota", NoCredit),
        ("server_error", Overloaded),
        ("bad_gateway", Overloaded),
        ("unavailable", Overloaded),
        ("bad_key", KeyRefused),
        ("unknown_model", UnknownModel),
        ("too_long", ContextTooLong),
        ("content_filter", ContentRefused),
        ("wrong_path", WrongAddress),
        ("bad_request", ModelFailed),
    ],
)
async def test_an_error_response_is_translated_with_its_cause(
    sim: ModelSim, make: Make, fault: str, kind: type[ModelError]
) -> None:
    await sim.refuse(fault)
    before = len(await sim.streams())
    deltas, error = await fail(make())
    assert (type(error), error.model, deltas) == (kind, "openai/sim", [])
    assert error.__cause__ is not None and len(await sim.streams(before)) == 1
    assert str(error) not in texts.model_failure(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", Overloaded),
        ("rate_limit_exceeded", RateLimited),
        ("invalid_prompt", ContentRefused),
        ("bio_policy", ContentRefused),
        ("misalignment_policy_violation", ContentRefused),
        ("something_new", ModelFailed),
    ],
)
async def test_a_failed_response_is_an_error(
    sim: ModelSim, make: Make, code: str, kind: type[ModelError]
) -> None:
    """The status was 200; after some text the answer is cut off instead, unless it was filtered."""
    await sim.say([], finish_reason=code)
    deltas, error = await fail(make())
    assert (type(error), deltas) == (kind, [])
    assert "internal-detail-42" not in f"{error} {texts.model_failure(error)}"
    await sim.say(TOKENS, finish_reason=code)
    deltas, error = await fail(make())
    assert type(error) is (kind if kind is ContentRefused else CutOff)
    assert text(deltas) == "".join(TOKENS)


async def test_a_missing_server_is_unreachable(make: Make) -> None:
    _, error = await fail(make(url="http://127.0.0.1:1/v1"))
    assert isinstance(error, Unreachable)


async def test_a_chat_completions_server_without_this_api_is_the_wrong_address(
    sim: ModelSim, make: Make
) -> None:
    """llama.cpp and others respond this way to an unknown path."""
    await sim.script(Answer(status=404, body={"error": {"code": 404, "message": "File Not Found"}}))
    assert type((await fail(make()))[1]) is WrongAddress


BREAKS = ["cut", "fin", "end", "error", "bad_json", "garbage"]


@pytest.mark.parametrize("how", BREAKS)
async def test_a_stream_that_breaks_is_cut_off(sim: ModelSim, make: Make, how: str) -> None:
    """The text so far stays; before any text, a chain can ask the next model."""
    await sim.say(TOKENS, breaks=how, at=2, wait_at=2, rate=0)
    deltas, error = await fail(make(), sim=sim, released_at="The answer ")
    assert (type(error), text(deltas)) == (CutOff, "The answer ")
    assert "internal-detail-42" not in f"{error} {texts.model_failure(error)}"
    await sim.break_off(how, at=0)
    deltas, error = await fail(make())
    assert deltas == [] and isinstance(error, CutOff | Overloaded | ModelFailed)


@pytest.mark.parametrize("how", ["cut", "fin", "end"])
async def test_a_whole_text_without_the_last_event_is_cut_off(
    sim: ModelSim, make: Make, how: str
) -> None:
    await sim.say(TOKENS, breaks=how, at=4, wait_at=4, rate=0)
    deltas, error = await fail(make(), sim=sim, released_at="".join(TOKENS))
    assert (type(error), text(deltas)) == (CutOff, "".join(TOKENS))


@pytest.mark.parametrize("pace", [{"hold": 30.0}, {"first_delay": 30.0}], ids=str)
async def test_no_first_token_is_a_timeout(sim: ModelSim, make: Make, pace: dict[str, Any]) -> None:
    await sim.dialect(role="early")
    await sim.say("late", **pace)
    _, error = await fail(make(timeouts=StreamTimeouts(0.3, 20.0, loading=0.6)))
    assert isinstance(error, TimedOut) and not error.started
    assert (await sim.wait_ended()).outcome == "disconnected"


async def test_a_stall_between_tokens_is_a_timeout(sim: ModelSim, make: Make) -> None:
    await sim.say(TOKENS, breaks="stall", at=2)
    deltas, error = await fail(make(timeouts=StreamTimeouts(20.0, 1.0)))
    assert isinstance(error, TimedOut) and error.started
    assert text(deltas) == "The answer "


async def test_a_summary_keeps_a_stream_alive(sim: ModelSim, make: Make) -> None:
    """The reasoning takes far longer than the limit to the first token."""
    await sim.say("Yes.", reasoning="one two three four " * 10, rate=20)
    deltas = await answer(make(timeouts=StreamTimeouts(first_token=1.5, between_tokens=1.5)))
    assert text(deltas) == "Yes."


async def test_keepalives_keep_a_model_that_thinks_silently(sim: ModelSim, make: Make) -> None:
    """The pause after a part of the summary takes longer than the limit of a silent server."""
    await sim.dialect(keepalive=0.1)
    await sim.say("Yes.", reasoning="one", rate=0.4)
    deltas = await answer(make(timeouts=StreamTimeouts(first_token=20.0, between_tokens=0.6)))
    assert text(deltas) == "Yes."


async def test_cancelling_closes_the_connection_immediately(sim: ModelSim, make: Make) -> None:
    before = len(await sim.streams())
    await sim.say(TOKENS, wait_at=2)
    task = asyncio.create_task(answer(make()))

    async def is_reached() -> bool:
        seen = await sim.streams(before)
        return bool(seen) and len(seen[0].texts) == 2

    await sim.until(is_reached)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await sim.wait_ended()).outcome == "disconnected"


async def test_closing_the_iterator_closes_the_connection(sim: ModelSim, make: Make) -> None:
    await sim.say(TOKENS, wait_at=2)
    async with aclosing(cast(Any, make().stream(HELLO))) as deltas:
        async for delta in deltas:
            assert delta.text == "The "
            break
    assert (await sim.wait_ended()).outcome == "disconnected"


async def test_concurrent_answers_do_not_mix(sim: ModelSim, make: Make) -> None:
    model = make()
    requests = [ChatRequest((Message(Role.USER, f"question {k}."),)) for k in range(20)]
    answers = await asyncio.gather(*(answer(model, request) for request in requests))
    for k, deltas in enumerate(answers):
        assert text(deltas).endswith(f"the last one says: question {k}.")


# ── the prompt cache ──────────────────────────────────────────────────────────────────────────
TURNS = 50
QUESTION = (
    "Please go on with the story, and tell me what the fisherman found in the net this time. "
)


async def converse(
    sim: ModelSim, model: OpenAIResponsesModel, system: Callable[[int], str]
) -> list[Usage]:
    """The counts of each turn in a growing conversation, with 20 seconds between turns."""
    messages: list[Message] = []
    usages: list[Usage] = []
    for turn in range(TURNS):
        messages.append(Message(Role.USER, f"{turn}: {QUESTION * 5}"))
        request = ChatRequest(
            (Message(Role.SYSTEM, system(turn)), *messages),
            cache_key=hashlib.sha256(b"conversation").hexdigest(),
        )
        deltas = await answer(model, request)
        usages += [delta.usage for delta in deltas if delta.usage]
        messages.append(Message(Role.ASSISTANT, text(deltas)))
        await sim.pass_time(20.0)
    return usages


def cached_share(usages: list[Usage]) -> float:
    return sum(each.cached_tokens for each in usages) / sum(each.input_tokens for each in usages)


async def test_a_growing_conversation_hits_the_prompt_cache(sim: ModelSim, make: Make) -> None:
    """At least 90 % of the input over 50 turns, as long as nothing before the end changes."""
    await sim.say("The net held a chest. " * 20, rate=0)
    usages = await converse(sim, make(), lambda turn: "You tell stories. " * 40)
    assert len(usages) == TURNS
    assert cached_share(usages) >= 0.9
    assert all(usage.cached_tokens % 128 == 0 for usage in usages)
    changed = await converse(sim, make(), lambda turn: f"It is minute {turn}. " * 40)
    assert cached_share(changed) == 0.0, "the cache compares beginnings"


async def test_the_cache_forgets_after_some_minutes(sim: ModelSim, make: Make) -> None:
    """A short request is never cached."""
    long = ChatRequest((Message(Role.USER, QUESTION * 80),), cache_key="k")
    model = make()

    async def read_cached(request: ChatRequest) -> int:
        return max(d.usage.cached_tokens for d in await answer(model, request) if d.usage)

    assert [await read_cached(long), await read_cached(HELLO), await read_cached(HELLO)] == [
        0,
        0,
        0,
    ]
    assert await read_cached(long) >= 1_024
    await sim.pass_time(301.0)
    assert await read_cached(long) == 0
