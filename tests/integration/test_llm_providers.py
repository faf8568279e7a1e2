"""What every provider's model must do, with the real clients against the model server."""

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
from bot.llm.huggingface import HuggingFaceModel
from bot.llm.openai import OpenAIModel, make_client
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.sims.model import Answer, ModelSim, count_tokens

pytestmark = pytest.mark.asyncio(loop_scope="module")

Make = Callable[..., ChatModel]
HELLO = ChatRequest(messages=(Message(role=Role.USER, content="hello"),))
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


@pytest_asyncio.fixture(loop_scope="module", params=["openai", "huggingface"])
async def make(request: pytest.FixtureRequest, sim: ModelSim) -> AsyncIterator[Make]:
    """Makes models of one provider that speak to the server."""
    made: list[ChatModel] = []

    def build(
        *, model: str = "sim", limits: StreamTimeouts = WIDE, base_url: str | None = None
    ) -> Any:
        url = base_url or sim.base_url
        if request.param == "openai":
            client = make_client(api_key="right", base_url=url)
            made.append(OpenAIModel(model=model, client=client, limits=limits))
        else:
            made.append(HuggingFaceModel(model=model, token="right", base_url=url, limits=limits))
        return made[-1]

    yield build
    for model in made:
        await model.aclose()


async def answer(model: ChatModel, request: ChatRequest = HELLO) -> list[Delta]:
    return [delta async for delta in model.stream(request)]


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def thoughts(deltas: list[Delta]) -> str:
    return "".join(delta.reasoning for delta in deltas)


async def failing(model: ChatModel) -> tuple[list[Delta], ModelError]:
    """What came before the failure, and the failure."""
    came: list[Delta] = []
    with pytest.raises(ModelError) as caught:
        async for delta in model.stream(HELLO):
            came.append(delta)
    return came, caught.value


# ── an answer ─────────────────────────────────────────────────────────────────────────────────
async def test_an_answer_streams_with_name_finish_reason_and_usage(
    sim: ModelSim, make: Make
) -> None:
    """Each token is a delta of its own."""
    await sim.say(TOKENS)
    model = make()
    deltas = await answer(model)
    assert [delta.text for delta in deltas if delta.text] == TOKENS
    assert deltas[0].model == model.name and model.name.endswith(":sim")
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    asked = count_tokens([{"role": "user", "content": "hello"}])
    assert [delta.usage for delta in deltas if delta.usage] == [Usage(asked, 4)]


async def test_the_request_on_the_wire_is_role_and_content_in_order(
    sim: ModelSim, make: Make
) -> None:
    """System first, the question last, nothing else in a message, and no limit that is not set."""
    said = (
        Message(role=Role.SYSTEM, content="be kind"),
        Message(role=Role.USER, content="one", index=4, id=9, created_at=3.0),
        Message(role=Role.ASSISTANT, content="ok"),
        Message(role=Role.USER, content="naïve 🙂\u2028 two"),
    )
    await answer(make(), ChatRequest(said))
    body = (await sim.last()).body
    assert body["messages"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "naïve 🙂\u2028 two"},
    ]
    assert body["model"] == "sim" and body["stream"] is True
    assert not {"temperature", "max_tokens", "max_completion_tokens"} & set(body)


async def test_limits_of_the_request_are_sent_and_kept(sim: ModelSim, make: Make) -> None:
    """The finish reason tells that the answer is not complete."""
    await sim.say(TOKENS)
    deltas = await answer(make(), ChatRequest(HELLO.messages, max_tokens=2, temperature=0.5))
    assert text(deltas) == "The answer "
    assert deltas[-2].finish_reason == "length"
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
    """Whatever a compatible server does to the framing; the separators are in real texts too."""
    said = ["Zwölf ", "🙂\u2028", "\u0085x ", "\u2029\n", "end"]
    await sim.dialect(**dialect)
    await sim.say(said, rate=400)
    deltas = await answer(make())
    assert text(deltas) == "".join(said)
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    assert any(delta.usage for delta in deltas) == (dialect.get("usage") != "never")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
async def test_reasoning_is_never_text(sim: ModelSim, make: Make, key: str) -> None:
    """It arrives as reasoning, before the text."""
    await sim.dialect(reasoning_key=key)
    await sim.say("Yes.", reasoning="Let me think")
    deltas = await answer(make())
    assert text(deltas) == "Yes."
    assert thoughts(deltas) == "Let me think"
    assert deltas[0].reasoning and deltas[0].model


@pytest.mark.parametrize("split", [1, 3])
async def test_reasoning_in_the_text_is_told_from_it(sim: ModelSim, make: Make, split: int) -> None:
    """Between tags, as servers without a parser for it send it, however the bytes are cut."""
    await sim.dialect(reasoning="tags", split=split)
    await sim.say("Yes: `<think>`.", reasoning="Let me think", rate=400)
    deltas = await answer(make())
    assert text(deltas) == "Yes: `<think>`."
    assert thoughts(deltas).strip() == "Let me think"


async def test_an_opening_tag_in_the_prompt_is_noticed_once(sim: ModelSim, make: Make) -> None:
    """The first answer cannot be told while it comes; from the second on it is."""
    await sim.dialect(reasoning="unopened")
    await sim.say("Yes.", reasoning="Let me think")
    model = make()
    assert text(await answer(model)) == "Let me think\n</think>\n\nYes."
    for _ in range(2):
        deltas = await answer(model)
        assert (text(deltas), thoughts(deltas)) == ("Yes.", "Let me think\n")
    await sim.dialect()
    await sim.say("No tags any more.")
    assert text(await answer(model)) == "No tags any more."


@pytest.mark.parametrize(("finish", "said"), [("stop", "It is 42."), ("length", "")])
async def test_a_tag_that_never_closes_loses_no_answer(
    sim: ModelSim, make: Make, finish: str, said: str
) -> None:
    """Reasoning that was cut off is none."""
    await sim.say(["<think>", "It ", "is 42."], finish_reason=finish)
    deltas = await answer(make())
    assert (text(deltas), thoughts(deltas)) == (said, "It is 42.")


@pytest.mark.parametrize("form", ["field", "tags"])
async def test_reasoning_keeps_a_stream_alive(sim: ModelSim, make: Make, form: str) -> None:
    """It takes far longer than the limit to the first token; the pauses are what counts."""
    await sim.dialect(reasoning=form)
    await sim.say("Yes.", reasoning="one two three four " * 10, rate=20)
    model = make(limits=StreamTimeouts(first_token=1.5, between_tokens=1.5))
    assert text(await answer(model)) == "Yes."
    await sim.say("Yes.", reasoning="one two three", breaks="stall", at=2)
    with pytest.raises(TimedOut) as failed:
        await answer(model)
    assert failed.value.started


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_finish_reason_is_passed_on(sim: ModelSim, make: Make, reason: str) -> None:
    """An empty answer is a whole one too: the turn knows what to say then."""
    await sim.say("", finish_reason=reason)
    deltas = await answer(make())
    assert text(deltas) == "" and deltas[0].finish_reason == reason and deltas[0].model


async def test_many_answers_at_once_stay_apart(sim: ModelSim, make: Make) -> None:
    """Each stream has its own text."""
    await sim.pace(rate=100)
    model = make()
    asked = [
        ChatRequest((Message(role=Role.USER, content=f"question number {k}"),)) for k in range(30)
    ]
    answers = await asyncio.gather(*(answer(model, request) for request in asked))
    for k, deltas in enumerate(answers):
        assert text(deltas).endswith(f"the last one says: question number {k}")


# ── refusals ──────────────────────────────────────────────────────────────────────────────────
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


@pytest.mark.parametrize("flavour", ["openai", "huggingface"])
@pytest.mark.parametrize(("fault", "kind"), REFUSALS)
async def test_a_refusal_is_translated_once_with_its_cause(
    sim: ModelSim, make: Make, flavour: str, fault: str, kind: type[ModelError]
) -> None:
    """Whoever words it; one request, no text, and a sentence that is ours alone."""
    await sim.flavour(flavour)
    await sim.refuse(fault)
    before = len(await sim.streams())
    model = make()
    came, error = await failing(model)
    assert (type(error), error.model, came) == (kind, model.name, [])
    assert error.__cause__ is not None
    assert len(await sim.streams(before)) == 1
    sentence = texts.model_failure(error)
    assert str(error) not in sentence and sentence.endswith(".")


@pytest.mark.parametrize(("header", "wait"), [(7, 7.0), (0.5, 0.5), (None, None), ("no", None)])
async def test_a_rate_limit_tells_the_wait(
    sim: ModelSim, make: Make, header: Any, wait: float | None
) -> None:
    """In seconds, when the provider said it."""
    await sim.refuse("rate_limited", retry_after=header)
    _, error = await failing(make())
    assert isinstance(error, RateLimited) and error.retry_after == wait


async def test_the_real_checks_refuse_key_model_and_length(sim: ModelSim, make: Make) -> None:
    """Not scripted: the server checks the header, the name and the count itself."""
    await sim.key("another")
    assert type((await failing(make()))[1]) is KeyRefused
    await sim.key("right")
    assert text(await answer(make()))
    assert type((await failing(make(model="missing")))[1]) is UnknownModel
    await sim.context(5)
    assert type((await failing(make()))[1]) is ContextTooLong


async def test_a_server_that_is_not_there_is_unreachable(make: Make) -> None:
    """People hear where nothing answered."""
    model = make(base_url="http://127.0.0.1:1/v1")
    came, error = await failing(model)
    assert isinstance(error, Unreachable) and came == []
    assert "at `127.0.0.1:1`: is it running?" in texts.model_failure(error)


async def test_a_server_that_closes_every_connection_is_overloaded(
    sim: ModelSim, make: Make
) -> None:
    """Before any answer, more than once."""
    await sim.drop(times=2)
    assert type((await failing(make()))[1]) is Overloaded
    await sim.call("clear")


# ── broken streams ────────────────────────────────────────────────────────────────────────────
BREAKS = ["cut", "fin", "end", "error", "bad_json", "garbage"]


@pytest.mark.parametrize("how", BREAKS)
async def test_a_stream_that_breaks_after_text_was_cut_off(
    sim: ModelSim, make: Make, how: str
) -> None:
    """What came before stays, and nothing of the provider's error is text."""
    await sim.say(TOKENS, breaks=how, at=2, rate=50)
    came, error = await failing(make())
    assert (type(error), text(came)) == (CutOff, "The answer ")
    assert "internal-detail-42" not in f"{error} {texts.model_failure(error)}"


@pytest.mark.parametrize("how", BREAKS)
async def test_a_stream_that_breaks_before_text_has_no_deltas(
    sim: ModelSim, make: Make, how: str
) -> None:
    """So that a chain can still fall over."""
    await sim.break_off(how, at=0)
    came, error = await failing(make())
    assert came == []
    assert isinstance(error, CutOff | Overloaded | ModelFailed)


@pytest.mark.parametrize("how", ["cut", "fin", "end", "stall"])
async def test_a_whole_text_without_a_finish_reason_is_cut_off(
    sim: ModelSim, make: Make, how: str
) -> None:
    """All tokens came, but nobody said that they are all."""
    await sim.say(TOKENS, breaks=how, at=4, rate=0)
    came, error = await failing(make(limits=StreamTimeouts(20.0, 1.0)))
    assert text(came) == "".join(TOKENS)
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
    """Headers, a role and comments are signs of life, but no token: there is a bound to them. The
    connection is closed at once."""
    await sim.dialect(**dialect)
    await sim.say("late", **pace)
    came, error = await failing(make(limits=StreamTimeouts(0.3, 20.0, loading=0.6)))
    assert isinstance(error, TimedOut) and not error.started
    assert all(delta.loading for delta in came)
    assert (await sim.ended(seconds=10)).outcome == "gone"


@pytest.mark.parametrize("dialect", [{}, {"keepalive": 0.02}], ids=str)
async def test_a_stall_between_tokens_is_a_timeout(
    sim: ModelSim, make: Make, dialect: dict[str, Any]
) -> None:
    """Comments do not keep it alive; what came is kept."""
    await sim.dialect(**dialect)
    await sim.say(TOKENS, breaks="stall", at=2)
    came, error = await failing(make(limits=StreamTimeouts(20.0, 1.0)))
    assert isinstance(error, TimedOut) and error.started
    assert text(came) == "The answer "
    assert (await sim.ended(seconds=10)).outcome == "gone"


async def test_a_slow_but_steady_model_is_not_cut(sim: ModelSim, make: Make) -> None:
    """The whole answer may take longer than both limits; so may a consumer's own work."""
    await sim.say(TOKENS, rate=2, first_delay=0.2)
    taken = []
    async for delta in make(limits=StreamTimeouts(1.5, 1.5)).stream(HELLO):
        taken.append(delta)
        if len(taken) == 2:
            await asyncio.sleep(1.6)
    assert text(taken) == "".join(TOKENS)


@pytest.mark.parametrize(
    "script",
    [
        Answer(text="never", hold=30),
        Answer(text="never", first_delay=30),
        Answer(chunks=TOKENS, wait_at=2),
    ],
    ids=["before the headers", "before the first token", "between tokens"],
)
async def test_a_cancelled_task_closes_the_connection_at_once(
    sim: ModelSim, make: Make, script: Answer
) -> None:
    """The server stops working for us within a second."""
    before = len(await sim.streams())
    await sim.script(script)
    task = asyncio.create_task(answer(make()))
    expected = script.wait_at or 0

    async def reached() -> bool:
        seen = await sim.streams(before)
        return bool(seen) and len(seen[0].texts) == expected

    await sim.until(reached)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await sim.ended(seconds=10)).outcome == "gone"


async def test_leaving_the_stream_closes_the_connection_at_once(sim: ModelSim, make: Make) -> None:
    """A consumer that has enough closes the iterator."""
    await sim.say(TOKENS, wait_at=2)
    async with aclosing(cast(Any, make().stream(HELLO))) as deltas:
        async for delta in deltas:
            assert delta.text == "The "
            break
    assert (await sim.ended(seconds=10)).outcome == "gone"


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("arrange", "advice"),
    [
        (lambda sim: sim.key("another"), ("OPENAI_API_KEY", "HF_TOKEN")),
        (lambda sim: sim.models("other"), ("LLM",)),
        (lambda sim: sim.refuse("unavailable"), ("network",)),
    ],
)
async def test_the_check_says_what_to_do(
    sim: ModelSim,
    make: Make,
    arrange: Callable[[ModelSim], Awaitable[None]],
    advice: tuple[str, ...],
) -> None:
    """A real call is made; a failure names the setting, and nothing is raised."""
    finding = await make().check()
    assert finding.verdict is Verdict.OK and finding.subject.endswith(":sim")
    await arrange(sim)
    finding = await make().check()
    assert finding.verdict is Verdict.FAILED
    assert any(word in finding.advice for word in advice)
