"""Behavior that all providers share, with the real clients against the simulated model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest
import pytest_asyncio

from bot.domain import texts
from bot.domain.conversations import Message, Role
from bot.domain.errors import (
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
)
from bot.domain.health import Verdict
from bot.domain.model import ChatRequest, Delta, Usage
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.sims.model import Answer, ModelSim, count_tokens
from tests.sims.model.answers import plain_text
from tests.support.anthropic_kit import anthropic_model, anthropic_provider
from tests.support.deltas import HELLO, fail, reasoning, text
from tests.support.model_kit import huggingface_model, openai_model

pytestmark = pytest.mark.asyncio(loop_scope="module")

Make = Callable[..., ChatModel]
WIDE = StreamTimeouts(first_token=20.0, between_tokens=20.0)
TOKENS = ["The ", "answer ", "is ", "42."]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def sim(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=2000, first_delay=0.003)
    return server


@pytest_asyncio.fixture(loop_scope="module", params=["openai", "huggingface", "anthropic"])
async def make(request: pytest.FixtureRequest, sim: ModelSim) -> AsyncIterator[Make]:
    """Builds models of one provider for the simulated server."""
    models: list[ChatModel] = []

    def build(
        *, model: str = "sim", timeouts: StreamTimeouts = WIDE, base_url: str | None = None
    ) -> Any:
        url = base_url or sim.base_url
        if request.param == "openai":
            models.append(openai_model(model, url, key="right", timeouts=timeouts))
        elif request.param == "anthropic":
            provider = anthropic_provider(url, "right")
            models.append(anthropic_model(model, provider, timeouts=timeouts))
        else:
            models.append(huggingface_model(model, url, token="right", timeouts=timeouts))
        return models[-1]

    yield build
    for model in models:
        await model.aclose()


async def answer(model: ChatModel, request: ChatRequest = HELLO) -> list[Delta]:
    return [delta async for delta in model.stream(request)]


# ── an answer ─────────────────────────────────────────────────────────────────────────────────
async def test_an_answer_streams_with_name_finish_reason_and_usage(
    sim: ModelSim, make: Make
) -> None:
    """Each token is a separate delta."""
    await sim.say(TOKENS)
    model = make()
    deltas = await answer(model)
    assert [delta.text for delta in deltas if delta.text] == TOKENS
    assert deltas[0].model == model.name and model.name.endswith("sim")
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    prompt = count_tokens([{"role": "user", "content": "hello"}])
    assert [delta.usage for delta in deltas if delta.usage] == [Usage(prompt, 4)]


async def test_the_request_has_roles_and_contents_in_order(sim: ModelSim, make: Make) -> None:
    """Messages have no other fields, and limits that are not set are not sent."""
    messages = (
        Message(role=Role.SYSTEM, content="be kind"),
        Message(role=Role.USER, content="one", index=4, id=9, created_at=3.0),
        Message(role=Role.ASSISTANT, content="ok"),
        Message(role=Role.USER, content="naïve 🙂\u2028 two"),
    )
    await answer(make(), ChatRequest(messages))
    record = await sim.last()
    sent = [(message["role"], plain_text(message["content"])) for message in record.messages]
    assert sent == [
        ("system", "be kind"),
        ("user", "one"),
        ("assistant", "ok"),
        ("user", "naïve 🙂\u2028 two"),
    ]
    assert all(message.keys() == {"role", "content"} for message in record.messages)
    assert record.body["model"] == "sim" and record.body["stream"] is True
    required = {"max_tokens"} if record.path == "/v1/messages" else set()
    limits = {"temperature", "max_tokens", "max_completion_tokens"}
    assert limits & set(record.body) == required


async def test_the_requests_limits_are_sent(sim: ModelSim, make: Make) -> None:
    """The finish reason says that the answer is incomplete."""
    await sim.say(TOKENS)
    deltas = await answer(make(), ChatRequest(HELLO.messages, max_tokens=2, temperature=0.5))
    assert text(deltas) == "The answer "
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["length"]
    body = (await sim.last()).body
    assert (body["max_tokens"], body["temperature"]) == (2, 0.5)


DIALECTS: list[dict[str, Any]] = [
    {"newline": "\r\n"},
    {"newline": "\r\n", "split": 7},
    {"done": False},
    {"ids": False},
    {"usage": "finish"},
    {"usage": "every"},
    {"usage": "never"},
    {"role": "early"},
    {"role": "every"},
    {"role": "none"},
    {"null_content": True},
    {"keepalive": 0.005, "comment": "OPENROUTER PROCESSING"},
    {"space": False},
    {"event": "message"},
    {"ascii": True},
    {"obfuscation": False},
    {"per_segment": 3},
    {"split": 5},
    {"per_segment": 2, "split": 3, "newline": "\r\n", "space": False, "done": False},
]


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_every_dialect_gives_the_same_text(
    sim: ModelSim, make: Make, dialect: dict[str, Any]
) -> None:
    """Compatible servers frame streams differently; real texts contain these separators too."""
    tokens = ["Zwölf ", "🙂\u2028", "\u0085x ", "\u2029\n", "end"]
    await sim.dialect(**dialect)
    await sim.say(tokens, rate=400)
    deltas = await answer(make())
    assert text(deltas) == "".join(tokens)
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    assert any(delta.usage for delta in deltas) == (dialect.get("usage") != "never")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
async def test_reasoning_is_never_text(sim: ModelSim, make: Make, key: str) -> None:
    """Reasoning arrives as reasoning, before the text."""
    await sim.dialect(reasoning_key=key)
    await sim.say("Yes.", reasoning="Let me think")
    deltas = await answer(make())
    assert text(deltas) == "Yes."
    assert reasoning(deltas) == "Let me think"
    assert deltas[0].reasoning and deltas[0].model


@pytest.mark.parametrize("split", [1, 3])
async def test_reasoning_between_tags_is_separated_from_the_text(
    sim: ModelSim, make: Make, split: int
) -> None:
    """Servers without a reasoning parser send it this way; the bytes may be split anywhere."""
    await sim.dialect(reasoning="tags", split=split)
    await sim.say("Yes: `<think>`.", reasoning="Let me think", rate=400)
    deltas = await answer(make())
    assert text(deltas) == "Yes: `<think>`."
    assert reasoning(deltas).strip() == "Let me think"


async def test_an_opening_tag_in_the_prompt_is_detected_after_one_answer(
    sim: ModelSim, make: Make
) -> None:
    """The first answer shows its reasoning as text; later ones separate it."""
    await sim.dialect(reasoning="unopened")
    await sim.say("Yes.", reasoning="Let me think")
    model = make()
    assert text(await answer(model)) == "Let me think\n</think>\n\nYes."
    for _ in range(2):
        deltas = await answer(model)
        assert (text(deltas), reasoning(deltas)) == ("Yes.", "Let me think\n")
    await sim.dialect()
    await sim.say("No tags any more.")
    assert text(await answer(model)) == "No tags any more."


@pytest.mark.parametrize(("finish", "content"), [("stop", "It is 42."), ("length", "")])
async def test_an_unclosed_tag_loses_no_answer(
    sim: ModelSim, make: Make, finish: str, content: str
) -> None:
    """Reasoning that was cut off is not an answer."""
    await sim.say(["<think>", "It ", "is 42."], finish_reason=finish)
    deltas = await answer(make())
    assert (text(deltas), reasoning(deltas)) == (content, "It is 42.")


@pytest.mark.parametrize("form", ["field", "tags"])
async def test_reasoning_keeps_a_stream_alive(sim: ModelSim, make: Make, form: str) -> None:
    """The reasoning takes far longer than the limit to the first token; only pauses count."""
    await sim.dialect(reasoning=form)
    await sim.say("Yes.", reasoning="one two three four " * 10, rate=20)
    model = make(timeouts=StreamTimeouts(first_token=1.5, between_tokens=1.5))
    assert text(await answer(model)) == "Yes."
    await sim.say("Yes.", reasoning="one two three", breaks="stall", at=2)
    with pytest.raises(TimedOut) as caught:
        await answer(model)
    assert caught.value.started


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_finish_reason_is_passed_on(sim: ModelSim, make: Make, reason: str) -> None:
    """An empty answer is complete too: the turn chooses the sentence to show."""
    await sim.say("", finish_reason=reason)
    deltas = await answer(make())
    assert text(deltas) == "" and deltas[0].finish_reason == reason and deltas[0].model


async def test_concurrent_answers_do_not_mix(sim: ModelSim, make: Make) -> None:
    await sim.pace(rate=100)
    model = make()
    requests = [
        ChatRequest((Message(role=Role.USER, content=f"question number {k}"),)) for k in range(30)
    ]
    answers = await asyncio.gather(*(answer(model, request) for request in requests))
    for k, deltas in enumerate(answers):
        assert text(deltas).endswith(f"the last one says: question number {k}")


# ── error responses ───────────────────────────────────────────────────────────────────────────
REFUSALS: list[tuple[str, type[ModelError]]] = [
    ("rate_limited", RateLimited),
    ("quota", NoCredit),
    ("server_error", Overloaded),
    ("bad_gateway", Overloaded),
    ("unavailable", Overloaded),
    ("gateway_timeout", Overloaded),
    ("overloaded", Overloaded),
    ("bad_key", KeyRefused),
    ("forbidden", KeyRefused),
    ("unknown_model", UnknownModel),
    ("too_long", ContextTooLong),
    ("content_filter", ContentRefused),
    ("bad_request", ModelFailed),
]


@pytest.mark.parametrize("flavor", ["openai", "huggingface"])
@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
async def test_an_error_response_is_translated_with_its_cause(
    sim: ModelSim, make: Make, flavor: str, fault: str, kind: type[ModelError]
) -> None:
    """There is one request and no text, and people see only our own sentence."""
    await sim.flavor(flavor)
    await sim.refuse(fault)
    before = len(await sim.streams())
    model = make()
    deltas, error = await fail(model)
    assert (type(error), error.model, deltas) == (kind, model.name, [])
    assert error.__cause__ is not None
    assert len(await sim.streams(before)) == 1
    sentence = texts.model_failure(error)
    assert str(error) not in sentence and sentence.endswith(".")


@pytest.mark.parametrize(("header", "wait"), [(7, 7.0), (0.5, 0.5), (None, None), ("no", None)])
async def test_a_rate_limit_has_the_providers_wait(
    sim: ModelSim, make: Make, header: Any, wait: float | None
) -> None:
    await sim.refuse("rate_limited", retry_after=header)
    _, error = await fail(make())
    assert isinstance(error, RateLimited) and error.retry_after == wait


async def test_the_server_checks_key_model_and_length(sim: ModelSim, make: Make) -> None:
    """Without a script, it checks the header, the name and the token count."""
    await sim.key("another")
    assert type((await fail(make()))[1]) is KeyRefused
    await sim.key("right")
    assert text(await answer(make()))
    assert type((await fail(make(model="missing")))[1]) is UnknownModel
    await sim.context(5)
    assert type((await fail(make()))[1]) is ContextTooLong


async def test_a_missing_server_is_unreachable(make: Make) -> None:
    """The sentence for people has the address."""
    model = make(base_url="http://127.0.0.1:1/v1")
    deltas, error = await fail(model)
    assert isinstance(error, Unreachable) and deltas == []
    assert "at `127.0.0.1:1`: is it running?" in texts.model_failure(error)


async def test_a_server_that_closes_every_connection_is_overloaded(
    sim: ModelSim, make: Make
) -> None:
    await sim.drop(times=2, path="")
    assert type((await fail(make()))[1]) is Overloaded
    await sim.call("clear")


# ── broken streams ────────────────────────────────────────────────────────────────────────────
BREAKS = ["cut", "fin", "end", "error", "bad_json", "garbage"]


@pytest.mark.parametrize("how", BREAKS)
async def test_a_stream_that_breaks_after_some_text_is_cut_off(
    sim: ModelSim, make: Make, how: str
) -> None:
    """The text so far stays, and the provider's error never becomes text."""
    await sim.say(TOKENS, breaks=how, at=2, wait_at=2, rate=0)
    deltas, error = await fail(make(), sim=sim, released_at="The answer ")
    assert (type(error), text(deltas)) == (CutOff, "The answer ")
    assert "internal-detail-42" not in f"{error} {texts.model_failure(error)}"


@pytest.mark.parametrize("how", BREAKS)
async def test_a_stream_that_breaks_before_any_text_has_no_deltas(
    sim: ModelSim, make: Make, how: str
) -> None:
    """A chain can therefore ask the next model."""
    await sim.break_off(how, at=0)
    deltas, error = await fail(make())
    assert deltas == []
    assert isinstance(error, CutOff | Overloaded | ModelFailed)


@pytest.mark.parametrize("how", ["cut", "fin", "end", "stall"])
async def test_a_text_without_a_finish_reason_is_cut_off(
    sim: ModelSim, make: Make, how: str
) -> None:
    """All tokens arrived, but nothing says that the answer is complete."""
    await sim.say(TOKENS, breaks=how, at=4, wait_at=4, rate=0)
    timeouts = StreamTimeouts(20.0, 1.0 if how == "stall" else 20.0)
    deltas, error = await fail(make(timeouts=timeouts), sim=sim, released_at="".join(TOKENS))
    assert text(deltas) == "".join(TOKENS)
    assert isinstance(error, TimedOut if how == "stall" else CutOff)


# ── time ──────────────────────────────────────────────────────────────────────────────────────
SLOW_STARTS = [
    ({"hold": 30.0}, {}),
    ({"first_delay": 30.0}, {}),
    ({"first_delay": 30.0}, {"role": "early"}),
    ({"first_delay": 30.0}, {"role": "early", "keepalive": 0.02}),
]


@pytest.mark.parametrize(("pace", "dialect"), SLOW_STARTS)
async def test_no_first_token_is_a_timeout(
    sim: ModelSim, make: Make, pace: dict[str, Any], dialect: dict[str, Any]
) -> None:
    """Headers, a role and comments extend the wait only up to a maximum.

    The timeout closes the connection immediately.
    """
    await sim.dialect(**dialect)
    await sim.say("late", **pace)
    deltas, error = await fail(make(timeouts=StreamTimeouts(0.3, 20.0, loading=0.6)))
    assert isinstance(error, TimedOut) and not error.started
    assert all(delta.loading for delta in deltas)
    assert (await sim.wait_ended()).outcome == "disconnected"


@pytest.mark.parametrize("dialect", [{}, {"keepalive": 0.02}], ids=str)
async def test_a_stall_between_tokens_is_a_timeout(
    sim: ModelSim, make: Make, dialect: dict[str, Any]
) -> None:
    """Comments do not extend it; the text so far is kept."""
    await sim.dialect(**dialect)
    await sim.say(TOKENS, breaks="stall", at=2)
    deltas, error = await fail(make(timeouts=StreamTimeouts(20.0, 1.0)))
    assert isinstance(error, TimedOut) and error.started
    assert text(deltas) == "The answer "
    assert (await sim.wait_ended()).outcome == "disconnected"


async def test_a_slow_but_steady_model_does_not_time_out(sim: ModelSim, make: Make) -> None:
    """The whole answer, and a consumer's own work, may take longer than both limits."""
    await sim.say(TOKENS, rate=2, first_delay=0.2)
    deltas = []
    async for delta in make(timeouts=StreamTimeouts(1.5, 1.5)).stream(HELLO):
        deltas.append(delta)
        if len(deltas) == 2:
            await asyncio.sleep(1.6)
    assert text(deltas) == "".join(TOKENS)


@pytest.mark.parametrize(
    "script",
    [
        Answer(text="never", hold=30),
        Answer(text="never", first_delay=30),
        Answer(chunks=TOKENS, wait_at=2),
    ],
    ids=["before the headers", "before the first token", "between tokens"],
)
async def test_cancelling_the_task_closes_the_connection_immediately(
    sim: ModelSim, make: Make, script: Answer
) -> None:
    """The server notices within a second."""
    before = len(await sim.streams())
    await sim.script(script)
    task = asyncio.create_task(answer(make()))
    expected = script.wait_at or 0

    async def is_reached() -> bool:
        seen = await sim.streams(before)
        return bool(seen) and len(seen[0].texts) == expected

    await sim.until(is_reached)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await sim.wait_ended()).outcome == "disconnected"


async def test_closing_the_iterator_closes_the_connection_immediately(
    sim: ModelSim, make: Make
) -> None:
    await sim.say(TOKENS, wait_at=2)
    async with aclosing(cast(Any, make().stream(HELLO))) as deltas:
        async for delta in deltas:
            assert delta.text == "The "
            break
    assert (await sim.wait_ended()).outcome == "disconnected"


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("arrange", "advice"),
    [
        (lambda sim: sim.key("another"), ("OPENAI_API_KEY", "HF_TOKEN", "ANTHROPIC_API_KEY")),
        (lambda sim: sim.models("other"), ("LLM",)),
        (lambda sim: sim.refuse("unavailable"), ("network",)),
        (lambda sim: sim.say([]), ("another model",)),
    ],
)
async def test_a_failed_check_advises_what_to_do(
    sim: ModelSim,
    make: Make,
    arrange: Callable[[ModelSim], Awaitable[None]],
    advice: tuple[str, ...],
) -> None:
    """The check makes a real call; the advice names the setting, and nothing is raised."""
    finding = await make().check()
    assert finding.verdict is Verdict.OK and finding.subject.endswith("sim")
    await arrange(sim)
    finding = await make().check()
    assert finding.verdict is Verdict.FAILED
    assert any(word in finding.advice for word in advice)
