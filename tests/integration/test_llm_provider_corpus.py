"""Every response of the provider corpus, through the real clients over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, cast

import pytest
import pytest_asyncio

from bot.domain import errors, texts
from bot.domain.conversations import Effort, ImagePart, Message, Role
from bot.domain.errors import ModelError
from bot.domain.model import ChatRequest, Delta, ModelFacts, Usage
from bot.llm.anthropic import make_client as make_anthropic_client
from bot.llm.anthropic_events import MessagesParser
from bot.llm.chunks import DONE, ChunkParser
from bot.llm.circuit_breaker import FAILURE_THRESHOLD, CircuitBreaker
from bot.llm.error_report import ErrorReport
from bot.llm.errors import classify
from bot.llm.fallback_chain import FallbackChain
from bot.llm.openai import make_client
from bot.llm.reasoning_splitter import ReasoningSplitter
from bot.llm.response_body import ResponseParser, read_body
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import StreamingModel
from bot.llm.think_tags import StreamQuirks
from bot.ports.model import ChatModel
from tests.sims.model.answers import plain_text
from tests.support.anthropic_kit import anthropic_model, anthropic_provider
from tests.support.model_kit import huggingface_model, openai_model, openai_provider
from tests.support.provider_corpus import (
    Replay,
    Shape,
    Split,
    at_random,
    replaying,
    shapes,
    single,
    whole,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = StreamTimeouts(first_token=30.0, between_tokens=30.0)
SHAPES = shapes()
Make = Callable[[str], StreamingModel]
CLIENTS: dict[str, list[tuple[str, Split]]] = {
    "chat": [("openai", single), ("huggingface", at_random(7))],
    "messages": [("anthropic", single), ("anthropic", at_random(7))],
}
PARSERS = {"chat": ChunkParser, "messages": MessagesParser}
ABOUT_IMAGES = {"images-mentioned-without-images", "messages-too-large"}
SYSTEM = Message(Role.SYSTEM, "Be kind.")
IMAGE = ImagePart("image/png", b"\x89PNG", 64, 64)
FEW = 3


def by_provider(chosen: Sequence[Shape]) -> dict[str, list[Shape]]:
    """Responses by the first word of their names; providers with few responses share the key
    "others".

    One test takes all responses of a provider, because a test for each would cost more than the
    response.
    """
    found: dict[str, list[Shape]] = defaultdict(list)
    for shape in chosen:
        found[shape.name.partition("-")[0]].append(shape)
    few = [name for name, group in found.items() if len(group) < FEW]
    others = [shape for name in few for shape in found.pop(name)]
    return {**found, "others": others}


@contextmanager
def case(name: str) -> Iterator[None]:
    """Names the case in the report of a failure."""
    try:
        yield
    except Exception as error:
        error.add_note(f"The case is {name}.")
        raise


BY_PROVIDER = by_provider(SHAPES)
each_provider = pytest.mark.parametrize("provider", BY_PROVIDER)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay() -> AsyncIterator[Replay]:
    async with replaying() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def make(replay: Replay) -> AsyncIterator[Make]:
    """Builds new models; those of OpenAI and Anthropic share a client, which is slow to build."""
    shared = make_client(openai_provider(replay.url))
    provider = anthropic_provider(replay.url)
    anthropic = make_anthropic_client(provider)

    def build(client: str) -> StreamingModel:
        if client == "anthropic":
            return anthropic_model("m", provider, client=anthropic, timeouts=LIMITS)
        if client == "openai":
            return openai_model("m", replay.url, client=shared, timeouts=LIMITS)
        return huggingface_model("m", replay.url, timeouts=LIMITS)

    yield build
    await shared.close()
    await anthropic.close()


def request_of(shape: Shape) -> ChatRequest:
    system = (SYSTEM,) if shape.request.get("system") else ()
    images = (IMAGE,) * shape.request.get("images", 0)
    return ChatRequest(
        (*system, Message(Role.USER, "Hello!", parts=images)),
        max_tokens=shape.request.get("max_tokens"),
        temperature=shape.request.get("temperature"),
        effort=Effort(shape.request["effort"]) if "effort" in shape.request else None,
    )


async def collect(model: ChatModel, request: ChatRequest) -> tuple[list[Delta], ModelError | None]:
    """Every delta, and the failure at the end if there is one."""
    received: list[Delta] = []
    try:
        async with aclosing(cast(Any, model.stream(request))) as deltas:
            async for delta in deltas:
                received.append(delta)
    except ModelError as error:
        return received, error
    return received, None


def check_result(shape: Shape, deltas: list[Delta], error: ModelError | None) -> None:
    assert "".join(delta.text for delta in deltas) == shape.text or (
        "".join(delta.text for delta in deltas).strip() == shape.text.strip()
    )
    assert "".join(delta.reasoning for delta in deltas) == shape.reasoning
    finish = [delta.finish_reason for delta in deltas if delta.finish_reason]
    usages = [delta.usage for delta in deltas if delta.usage]
    if shape.finish is not None:
        assert finish[-1:] == [shape.finish]
    if shape.usage is not None:
        assert usages[-1:] == [Usage(*shape.usage)]
    assert (type(error).__name__ if error else None) == shape.error
    if error is not None:
        assert type(error) is getattr(errors, shape.error or "")
        assert getattr(error, "window", None) == shape.window
        assert getattr(error, "limit", None) == shape.limit
        assert error.retry_after == pytest.approx(shape.retry_after)
        sentence = texts.model_failure(error)
        assert sentence.endswith(".") and not any(
            word in sentence for word in ("{", '"', "litellm")
        )
        assert error.provider_message or "finish" in str(error), "the log has the provider's words"


def check_workaround(shape: Shape, model: StreamingModel, requests: list[dict[str, Any]]) -> None:
    """The second request satisfies the server, and `doctor` can describe the workaround."""
    assert shape.learned in list(model._builder.describe())
    assert len(requests) == 2
    retry = requests[1]
    assert not set(shape.then.get("absent", ())) & set(retry)
    for name, value in shape.then.get("equal", {}).items():
        assert retry[name] == value
    for name, value in shape.then.get("below", {}).items():
        assert 0 < retry[name] < value
    for word in shape.then.get("nowhere", ()):
        assert word in str(requests[0]) and word not in str(retry)
    roles = [message["role"] for message in retry["messages"]]
    assert roles == shape.then.get("roles", roles)
    if shape.request.get("system"):
        prompt = retry.get("system") or retry["messages"][0]["content"]
        assert plain_text(prompt).startswith(SYSTEM.content)
        assert plain_text(retry["messages"][-1]["content"]).endswith("Hello!")


@each_provider
async def test_a_response_gives_the_documented_result(
    replay: Replay, make: Make, provider: str
) -> None:
    """The response is sent byte by byte, and split at random."""
    for shape in BY_PROVIDER[provider]:
        for client, split in CLIENTS[shape.api]:
            with case(f"{shape.name}, {client}, {split.__name__}"):
                replay.arrange(shape, split)
                await check_response(replay, make(client), shape)


async def check_response(replay: Replay, model: StreamingModel, shape: Shape) -> None:
    """Ask `model` once, and once more if the response teaches a workaround."""
    deltas, error = await collect(model, request_of(shape))
    check_result(shape, deltas, error)
    if shape.learned:
        check_workaround(shape, model, replay.requests)
        await collect(model, request_of(shape))
        assert len(replay.requests) == 3, "the next question uses the workaround from the start"
    else:
        assert len(replay.requests) == 1
    blind, answered = shape.error == "CannotSee", "images" in shape.request and shape.text
    assert model.sees is (False if blind else True if answered else None)


async def test_an_image_in_the_request_changes_no_other_failure() -> None:
    """An overload, a wrong key or a full window is not mistaken for a rejected image."""
    for shape in SHAPES:
        if "images" not in shape.request and shape.name not in ABOUT_IMAGES:
            report = ErrorReport.parse(int(shape.status.split()[1]), shape.body, shape.headers)
            assert classify(report, images=True) is classify(report), shape.name


async def test_doctor_names_the_api_that_has_the_model(replay: Replay, make: Make) -> None:
    shape = next(shape for shape in SHAPES if shape.name == "openai-responses-only")
    replay.arrange(shape, whole)
    assert "openai-responses" in (await make("openai").check()).advice


# ── the effect on a chain ─────────────────────────────────────────────────────────────────────
class Recorded:
    """A model that repeats a response's result for every request."""

    def __init__(self, name: str, deltas: list[Delta], error: ModelError | None) -> None:
        self.name, self._deltas, self._error = name, deltas, error
        self.sees: bool | None = None
        self.facts = ModelFacts()
        self.requests = 0

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        self.requests += 1
        for delta in self._deltas:
            yield delta
        if self._error is not None:
            raise self._error

    async def check(self) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to close."""


# Failures of the request, and the one that the chain waits out.
NOT_COUNTED = {"CannotSee", "ContentRefused", "ContextTooLong", "ImageRefused", "ModelLoading"}


@each_provider
async def test_a_response_has_the_right_effect_on_the_chain_and_the_breaker(
    replay: Replay, make: Make, provider: str
) -> None:
    """The next model is asked only before the first text; only the model's failures count."""
    for shape in BY_PROVIDER[provider]:
        with case(shape.name):
            replay.arrange(shape, whole)
            result = await collect(make(CLIENTS[shape.api][0][0]), request_of(shape))
            await check_effect(shape, *result)


async def check_effect(shape: Shape, deltas: list[Delta], error: ModelError | None) -> None:
    first = Recorded("a", deltas, error)
    second = Recorded("b", [Delta("Second."), Delta(finish_reason="stop")], None)
    breakers = [CircuitBreaker(name, now=time.monotonic) for name in ("a", "b")]
    chain = FallbackChain(
        [first, second], breakers=breakers, first_token_seconds=0.0, clock=StoppedClock()
    )
    answer, failed = await collect(chain, request_of(shape))
    falls_back = shape.error not in (None, "ContentRefused") and not shape.text
    assert second.requests == int(falls_back)
    assert ("Second." in "".join(delta.text for delta in answer)) == falls_back
    assert (failed is None) == (shape.error is None or falls_back)

    for _ in range(FAILURE_THRESHOLD):
        await collect(chain, request_of(shape))
    counted = shape.error is not None and shape.error not in NOT_COUNTED
    assert (first.requests < 1 + FAILURE_THRESHOLD) == counted


class StoppedClock:
    """A clock whose time stands still."""

    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


# ── without a socket: every split ─────────────────────────────────────────────────────────────
async def read_in_two(body: bytes, cut: int, parser: ResponseParser) -> tuple[str, str]:
    """The text and reasoning of a body that arrives in two pieces."""

    async def reads() -> AsyncIterator[bytes]:
        for piece in (body[:cut], body[cut:]):
            yield piece

    splitter, reason = ReasoningSplitter(StreamQuirks()), ""
    deltas = []
    async for delta in read_body(reads(), parser):
        if delta is not DONE:
            deltas.append(splitter.split(delta))
            reason = delta.finish_reason or reason
    deltas.append(splitter.flush(cut=reason == "length"))
    return "".join(d.text for d in deltas).strip(), "".join(d.reasoning for d in deltas)


@each_provider
async def test_an_answer_does_not_depend_on_where_its_bytes_are_split(provider: str) -> None:
    for shape in BY_PROVIDER[provider]:
        if not shape.finish or shape.error is not None:
            continue
        for cut in range(0, len(shape.body) + 1, 7):
            parser = PARSERS[shape.api]()
            result = await read_in_two(shape.body, cut, parser)
            assert result == (shape.text.strip(), shape.reasoning), (shape.name, cut)
