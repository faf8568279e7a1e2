"""Anthropic's Messages API, with the real client against the simulated server.

`test_llm_providers` covers the behavior that all providers share.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from bot.common.clock import SystemClock
from bot.domain import errors, texts
from bot.domain.conversations import Effort, ImagePart, Message, Role
from bot.domain.errors import CannotSee, ContextTooLong, ImageRefused, ModelError
from bot.domain.model import ChatRequest, Delta, ModelFacts, Usage
from bot.llm.anthropic import AnthropicModel, make_client
from bot.llm.anthropic_requests import DEFAULT_MAX_TOKENS, OLDER_VERSION
from bot.llm.circuit_breaker import CircuitBreaker
from bot.llm.fallback_chain import FallbackChain
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.sims.model import ModelSim, Record
from tests.sims.model.anthropic_errors import ANTHROPIC
from tests.sims.model.images import SentImage
from tests.support.anthropic_kit import anthropic_model, anthropic_provider
from tests.support.model_kit import huggingface_model, openai_model

pytestmark = pytest.mark.asyncio(loop_scope="module")

Make = Callable[..., AnthropicModel]
WIDE = StreamTimeouts(first_token=30.0, between_tokens=30.0)
HELLO = ChatRequest((Message(Role.USER, "hello"),))
PNG = b"\x89PNG\r\n\x1a\n"
MARK = {"type": "ephemeral"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def sim(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=0, first_delay=0.0)
    return server


@pytest_asyncio.fixture(loop_scope="module")
async def make(sim: ModelSim) -> AsyncIterator[Make]:
    """Builds models of the simulated server, which share one client."""
    provider = anthropic_provider(sim.base_url)
    client = make_client(provider)

    def build(model: str = "sim", facts: ModelFacts | None = None) -> AnthropicModel:
        return anthropic_model(model, provider, client=client, timeouts=WIDE, facts=facts)

    yield build
    await client.close()


async def ask(model: ChatModel, request: ChatRequest = HELLO) -> list[Delta]:
    return [delta async for delta in model.stream(request)]


async def fail(model: ChatModel, request: ChatRequest = HELLO) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(model, request)
    return caught.value


async def ask_usage(model: ChatModel, request: ChatRequest) -> Usage:
    usage = (await ask(model, request))[-1].usage
    assert usage is not None
    return usage


def conversation(*texts: str, system: str = "") -> ChatRequest:
    """A request in which user and assistant alternate."""
    roles = (Role.USER, Role.ASSISTANT)
    messages = [Message(roles[n % 2], text) for n, text in enumerate(texts)]
    return ChatRequest(((Message(Role.SYSTEM, system),) if system else ()) + tuple(messages))


# ── credentials ───────────────────────────────────────────────────────────────────────────────
async def test_the_providers_key_headers_and_query_go_with_every_request(sim: ModelSim) -> None:
    provider = anthropic_provider(sim.url, "right", headers={"x-team": "a"}, query={"route": "b"})
    model = anthropic_model("sim", provider, timeouts=WIDE)
    await sim.key("right")
    await ask(model)
    await model.aclose()
    headers = (await sim.last()).headers
    assert (headers["authorization"], headers["x-team"]) == ("Bearer right", "a")
    assert headers["anthropic-version"] == "2026-10-21"
    assert (await sim.requests("POST /v1/messages"))[-1]["query"] == {"route": "b"}


@pytest.mark.parametrize("header", [None, "x-api-key", "authorization"])
async def test_without_a_key_none_is_looked_for(
    sim: ModelSim, monkeypatch: pytest.MonkeyPatch, header: str | None
) -> None:
    """The client searches neither the environment nor files: a key must not reach a server that it
    is not for."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-another-server")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "of-another-server")
    own = {header: "gateway"} if header else {}
    model = anthropic_model("sim", anthropic_provider(sim.url, None, headers=own), timeouts=WIDE)
    await ask(model)
    await model.aclose()
    headers = (await sim.last()).headers
    assert {headers.get("authorization"), headers.get("x-api-key")} == (
        {None, "gateway"} if header else {None}
    )


# ── messages ──────────────────────────────────────────────────────────────────────────────────
def plain(record: Record) -> list[tuple[str, list[str]]]:
    """The messages of a request: their roles and the texts of their blocks."""
    return [
        (message["role"], [block["text"] for block in message["content"]])
        for message in record.body["messages"]
    ]


async def test_messages_take_the_form_that_the_api_accepts(sim: ModelSim, make: Make) -> None:
    """Several people may write in a row; an answer may be empty, and a question may be only a
    file."""
    messages = (
        Message(Role.SYSTEM, "be kind"),
        Message(Role.SYSTEM, "the summary"),
        Message(Role.ASSISTANT, "an answer whose question is gone"),
        Message(Role.USER, "one"),
        Message(Role.USER, " \n"),
        Message(Role.ASSISTANT, " "),
        Message(Role.USER, "two 🙂\u2028"),
        Message(Role.SYSTEM, "a note"),
    )
    await ask(make(), ChatRequest(messages))
    record = await sim.last()
    assert [block["text"] for block in record.body["system"]] == ["be kind", "the summary"]
    assert plain(record) == [
        ("user", ["(The beginning of the conversation is missing.)"]),
        ("assistant", ["an answer whose question is gone"]),
        ("user", ["one", "(no text)", "two 🙂\u2028", "a note"]),
    ]


async def test_the_beginning_of_an_answer_has_no_space_at_its_end(
    sim: ModelSim, make: Make
) -> None:
    await ask(make("claude-haiku-4-5"), conversation("a poem", "Roses are \n"))
    assert plain(await sim.last())[-1] == ("assistant", ["Roses are"])


# ── the prompt cache ──────────────────────────────────────────────────────────────────────────
PROMPT = "You are a kind assistant. " * 250  # about 1,600 tokens of the simulator
REMARK = "A remark of some length about the weather in the north. " * 10


async def test_the_prompt_and_the_newest_turns_are_breakpoints(sim: ModelSim, make: Make) -> None:
    """A request may have four breakpoints."""
    texts_ = [f"text {n}" for n in range(9)]
    await ask(make(), conversation(*texts_, system="be kind"))
    body = (await sim.last()).body
    assert body["system"] == [{"type": "text", "text": "be kind", "cache_control": MARK}]
    marked = [
        block["text"]
        for message in body["messages"]
        for block in message["content"]
        if "cache_control" in block
    ]
    assert marked == ["text 4", "text 6", "text 8"]


async def test_a_growing_conversation_reads_most_of_itself_from_the_cache(
    sim: ModelSim, make: Make
) -> None:
    """Over 50 turns, every request reads everything that the previous one wrote."""
    model, said, usages = make(), [f"{REMARK} 0"], list[Usage]()
    for n in range(1, 51):
        usages.append(await ask_usage(model, conversation(*said, system=PROMPT)))
        said += [f"Indeed {n}. {REMARK}", f"{REMARK} {n}"]
    for before, usage in pairwise(usages):
        assert usage.cached_tokens == before.cached_tokens + before.cache_write_tokens
    share = sum(u.cached_tokens for u in usages) / sum(u.input_tokens for u in usages)
    assert share > 0.95


@pytest.mark.parametrize("between", [1, 30])
async def test_many_messages_between_two_turns_keep_the_cache(
    sim: ModelSim, make: Make, between: int
) -> None:
    """More than the 20 blocks that a breakpoint looks back."""
    model = make()
    first = conversation(REMARK, system=PROMPT)
    wrote = (await ask_usage(model, first)).cache_write_tokens
    others = tuple(Message(Role.USER, f"{n}: {REMARK}") for n in range(between))
    later = ChatRequest((*first.messages, Message(Role.ASSISTANT, "yes"), *others))
    assert wrote and (await ask_usage(model, later)).cached_tokens == wrote


async def test_a_last_message_that_changes_costs_only_its_own_turn(
    sim: ModelSim, make: Make
) -> None:
    """This happens after an edit, or when the message's file has become a stub."""
    model = make()
    said = [REMARK, "yes", f"{REMARK} with a file"]
    wrote = (await ask_usage(model, conversation(REMARK, system=PROMPT))).cache_write_tokens
    await ask(model, conversation(*said, system=PROMPT))
    said[-1] = f"{REMARK} with a stub"
    usage = await ask_usage(model, conversation(*said, "no", REMARK, system=PROMPT))
    assert usage.cached_tokens == wrote > 0


async def test_the_cache_expires_and_belongs_to_one_model(sim: ModelSim, make: Make) -> None:
    request = conversation(REMARK, system=PROMPT)
    first = await ask_usage(make(), request)
    assert (await ask_usage(make(), request)).cached_tokens == first.cache_write_tokens
    assert (await ask_usage(make("sim-2"), request)).cached_tokens == 0
    await sim.pass_time(200)
    assert (await ask_usage(make(), request)).cached_tokens == first.cache_write_tokens
    await sim.pass_time(200)
    assert (await ask_usage(make(), request)).cached_tokens == first.cache_write_tokens
    await sim.pass_time(301)
    assert (await ask_usage(make(), request)).cached_tokens == 0


async def test_a_short_prompt_is_not_cached_and_not_rejected(sim: ModelSim, make: Make) -> None:
    for _ in range(2):
        usage = await ask_usage(make(), conversation("hello", system="be kind"))
        assert (usage.cached_tokens, usage.cache_write_tokens) == (0, 0)


# ── effort, thinking and temperature ──────────────────────────────────────────────────────────
async def bodies(sim: ModelSim, model: ChatModel, request: ChatRequest) -> list[dict[str, Any]]:
    """The bodies of all requests that one question causes."""
    before = len(await sim.streams())
    await ask(model, request)
    return [record.body for record in await sim.streams(before)]


async def test_effort_is_sent_with_thinking_that_shows(sim: ModelSim, make: Make) -> None:
    request = ChatRequest(HELLO.messages, effort=Effort.LOW)
    (body,) = await bodies(sim, make("claude-opus-4-8"), request)
    assert body["output_config"] == {"effort": "low"}
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    (body,) = await bodies(sim, make("claude-opus-4-8"), HELLO)
    assert not {"output_config", "thinking"} & body.keys()


@pytest.mark.parametrize("model", ["claude-sonnet-5", "claude-opus-5-5"])
async def test_a_model_that_thinks_anyway_shows_it(sim: ModelSim, make: Make, model: str) -> None:
    """If not asked to show it, the model would stream nothing while it thinks."""
    (body,) = await bodies(sim, make(model), HELLO)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}


async def test_a_model_without_effort_is_asked_without_it_from_then_on(
    sim: ModelSim, make: Make
) -> None:
    """Claude Haiku 4.5 rejects the effort and adaptive thinking, each once."""
    request = ChatRequest(HELLO.messages, effort=Effort.HIGH, temperature=0.3)
    model = make("claude-haiku-4-5")
    *rejected, accepted = await bodies(sim, model, request)
    options = {"output_config", "thinking"}
    assert [len(options & body.keys()) for body in (*rejected, accepted)] == [2, 1, 0]
    assert accepted["temperature"] == 0.3
    assert await bodies(sim, model, request) == [accepted]
    assert list(model._builder.describe()) == ["without effort", "without thinking"]


async def test_effort_is_not_tried_where_facts_exclude_it(sim: ModelSim, make: Make) -> None:
    request = ChatRequest(HELLO.messages, effort=Effort.HIGH)
    (body,) = await bodies(sim, make("claude-haiku-4-5", ModelFacts(effort=False)), request)
    assert not {"output_config", "thinking"} & body.keys()


async def test_a_temperature_goes_with_the_version_that_has_it(sim: ModelSim, make: Make) -> None:
    """It is in this API's range, which ends at 1."""
    (body,) = await bodies(sim, make(), ChatRequest(HELLO.messages, temperature=1.5))
    assert body["temperature"] == 1.0
    assert (await sim.last()).headers["anthropic-version"] == OLDER_VERSION
    (body,) = await bodies(sim, make("claude-opus-5"), ChatRequest(HELLO.messages, temperature=0.5))
    assert "temperature" not in body
    model = make("claude-opus-4-8")
    tried = await bodies(sim, model, ChatRequest(HELLO.messages, temperature=0.5))
    assert ["temperature" in body for body in tried] == [True, False]
    assert (await sim.last()).headers["anthropic-version"] == "2026-10-21"


# ── the answer's length ───────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("limit", "facts", "sent"),
    [
        (None, ModelFacts(), DEFAULT_MAX_TOKENS),
        (None, ModelFacts(max_output=4_096), 4_096),
        (None, ModelFacts(window=8_000), 2_000),
        (500, ModelFacts(window=8_000, max_output=4_096), 500),
        (9_000, ModelFacts(max_output=4_096), 4_096),
    ],
)
async def test_the_required_limit_respects_request_and_facts(
    sim: ModelSim, make: Make, limit: int | None, facts: ModelFacts, sent: int
) -> None:
    (body,) = await bodies(sim, make(facts=facts), ChatRequest(HELLO.messages, max_tokens=limit))
    assert body["max_tokens"] == sent


async def test_a_limit_that_is_too_high_is_learned(sim: ModelSim, make: Make) -> None:
    model, request = make(), ChatRequest(HELLO.messages, max_tokens=100_000)
    assert [body["max_tokens"] for body in await bodies(sim, model, request)] == [100_000, 64_000]
    assert [body["max_tokens"] for body in await bodies(sim, model, request)] == [64_000]


async def test_older_models_need_room_for_the_answer_in_the_window(
    sim: ModelSim, make: Make
) -> None:
    """Input and limit together exceed the window, so a smaller limit helps."""
    await sim.context(3_000)
    request = ChatRequest(
        (Message(Role.SYSTEM, PROMPT), Message(Role.USER, "hello")), max_tokens=2_000
    )
    first, second = await bodies(sim, make("claude-3-7-sonnet-20250219"), request)
    assert first["max_tokens"] == 2_000
    assert 256 <= second["max_tokens"] < 1_400


async def test_a_prompt_that_is_too_long_has_the_servers_numbers(sim: ModelSim, make: Make) -> None:
    await sim.context(1_000)
    error = await fail(make(), conversation(PROMPT))
    assert isinstance(error, ContextTooLong)
    assert error.window == 1_000 and error.asked is not None and error.asked > 1_000


# ── errors ────────────────────────────────────────────────────────────────────────────────────
KINDS = {
    "rate_limited": "RateLimited",
    "quota": "NoCredit",
    "usage_limit": "NoCredit",
    "billing": "NoCredit",
    "server_error": "Overloaded",
    "unavailable": "Overloaded",
    "gateway_timeout": "Overloaded",
    "overloaded": "Overloaded",
    "no_key": "KeyRefused",
    "bad_key": "KeyRefused",
    "bad_token": "KeyRefused",
    "forbidden": "KeyRefused",
    "unknown_model": "UnknownModel",
    "wrong_path": "WrongAddress",
    "too_long": "ContextTooLong",
    "too_large": "ContextTooLong",
    "content_filter": "ContentRefused",
    "bad_request": "ModelFailed",
}


@pytest.mark.parametrize("fault", ANTHROPIC)
async def test_every_error_has_its_class_and_sentence(
    sim: ModelSim, make: Make, fault: str
) -> None:
    await sim.refuse(fault, retry_after=7)
    before = len(await sim.streams())
    error = await fail(make())
    assert type(error) is getattr(errors, KINDS[fault])
    assert len(await sim.streams(before)) == 1
    if not isinstance(error, ContextTooLong):
        assert error.retry_after == 7.0
    sentence = texts.model_failure(error)
    assert sentence.endswith(".") and "error" not in sentence.partition(" ")[0]
    assert error.provider_message and error.provider_message not in sentence


async def test_a_chain_over_three_providers_answers_in_one_turn(sim: ModelSim, make: Make) -> None:
    """Anthropic is overloaded, Hugging Face fails before its first word, OpenAI answers."""
    await sim.say("Yes.")
    await sim.refuse("overloaded", model="claude-opus-5")
    await sim.break_off("cut", at=0, model="org/sim")
    models: list[ChatModel] = [
        make("claude-opus-5"),
        huggingface_model("org/sim", sim.base_url, timeouts=WIDE),
        openai_model("sim", sim.base_url, timeouts=WIDE),
    ]
    breakers = [CircuitBreaker(model.name, now=time.monotonic) for model in models]
    chain = FallbackChain(models, breakers=breakers, first_token_seconds=0.0, clock=SystemClock())
    deltas = await ask(chain)
    await models[1].aclose()
    await models[2].aclose()
    assert "".join(delta.text for delta in deltas) == "Yes."
    assert deltas[0].model == "openai:sim"


# ── images ────────────────────────────────────────────────────────────────────────────────────
def picture(size: int, *, side: int = 640, label: str = "", media: str = "image/png") -> ImagePart:
    """The beginning of a PNG, then random bytes."""
    head = PNG + struct.pack(">I4sII", 13, b"IHDR", side, side)
    return ImagePart(media, head + os.urandom(size - len(head)), side, side, label)


def shown(*parts: ImagePart) -> ChatRequest:
    return ChatRequest((Message(Role.USER, "What is this?", parts=parts),))


async def test_images_arrive_byte_for_byte_behind_their_labels(sim: ModelSim, make: Make) -> None:
    """This includes an image that is sent in several pieces."""
    small, large = picture(1_000, label="page 4"), picture(3_000_000)
    model = make()
    await ask(model, shown(small, large))
    record = await sim.last()
    assert record.images == [SentImage(0, "image/png", part.data) for part in (small, large)]
    blocks = record.body["messages"][0]["content"]
    assert [block.get("text", block["type"]) for block in blocks] == [
        "What is this?",
        "[Image 1: page 4]",
        "image",
        "image",
    ]
    assert blocks[-1]["cache_control"] == MARK
    assert model.sees is True


@pytest.mark.parametrize(
    "part",
    [
        picture((5 << 20) + 1),
        picture(1_000, side=8_001),
        picture(1_000, media="image/bmp"),
        ImagePart("image/png", b"not a picture", 640, 640),
    ],
    ids=["bytes", "pixels", "type", "content"],
)
async def test_an_image_beyond_the_limits_is_refused(
    sim: ModelSim, make: Make, part: ImagePart
) -> None:
    model = make()
    assert type(await fail(model, shown(part))) is ImageRefused
    assert model.sees is None


async def test_a_model_that_takes_no_images_is_known_as_such(sim: ModelSim, make: Make) -> None:
    await sim.images(blind={"sim": "openai"})
    model = make()
    assert type(await fail(model, shown(picture(1_000)))) is CannotSee
    assert model.sees is False


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
async def test_the_check_names_the_workarounds(sim: ModelSim, make: Make) -> None:
    model = make("claude-haiku-4-5")
    model._probe = ChatRequest(HELLO.messages, effort=Effort.LOW)
    finding = await model.check()
    assert "needs requests without effort, without thinking; takes images" in finding.detail
