"""Every shape of the corpus through the real clients over a real socket, however it is cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest
import pytest_asyncio

from bot.domain import errors, texts
from bot.domain.conversations import Message, Role
from bot.domain.errors import ModelError
from bot.domain.model import ChatRequest, Delta, Usage
from bot.llm.chain import Chain
from bot.llm.chunks import DONE
from bot.llm.circuit_breaker import FAILURES, Breaker
from bot.llm.compatible import CompatibleModel
from bot.llm.huggingface import HuggingFaceModel
from bot.llm.openai import OpenAIModel, make_client
from bot.llm.reasoning_split import ReasoningSplitter
from bot.llm.response_body import read_body
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.think_tags import TagQuirk
from bot.ports.model import ChatModel
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
Make = Callable[[str], CompatibleModel]
SYSTEM = Message(Role.SYSTEM, "Be kind.")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay() -> AsyncIterator[Replay]:
    async with replaying() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def make(replay: Replay) -> AsyncIterator[Make]:
    """Makes fresh models; those of one kind share their client, which is slow to build."""
    shared = make_client(api_key="k", base_url=replay.url)

    def build(client: str) -> CompatibleModel:
        if client == "openai":
            return OpenAIModel(model="m", client=shared, limits=LIMITS)
        return HuggingFaceModel(model="m", token="hf_k", base_url=replay.url, limits=LIMITS)

    yield build
    await shared.close()


def request_of(shape: Shape) -> ChatRequest:
    system = (SYSTEM,) if shape.request.get("system") else ()
    return ChatRequest(
        (*system, Message(Role.USER, "Hello!")),
        max_tokens=shape.request.get("max_tokens"),
        temperature=shape.request.get("temperature"),
    )


async def collect(model: ChatModel, request: ChatRequest) -> tuple[list[Delta], ModelError | None]:
    """Every delta, and the failure after them."""
    came: list[Delta] = []
    try:
        async with aclosing(cast(Any, model.stream(request))) as deltas:
            async for delta in deltas:
                came.append(delta)
    except ModelError as error:
        return came, error
    return came, None


def judge(shape: Shape, came: list[Delta], error: ModelError | None) -> None:
    assert "".join(delta.text for delta in came) == shape.text or (
        "".join(delta.text for delta in came).strip() == shape.text.strip()
    )
    assert "".join(delta.reasoning for delta in came) == shape.reasoning
    finish = [delta.finish_reason for delta in came if delta.finish_reason]
    usages = [delta.usage for delta in came if delta.usage]
    if shape.finish is not None:
        assert finish[-1:] == [shape.finish]
    if shape.usage is not None:
        assert usages[-1:] == [Usage(*shape.usage)]
    assert (type(error).__name__ if error else None) == shape.error
    if error is not None:
        assert type(error) is getattr(errors, shape.error or "")
        assert getattr(error, "window", None) == shape.window
        assert error.retry_after == pytest.approx(shape.retry_after)
        sentence = texts.model_failure(error)
        assert sentence.endswith(".") and not any(
            word in sentence for word in ("{", '"', "litellm")
        )
        assert error.said or "finish" in str(error), "the log has the provider's words"


def judge_lesson(shape: Shape, model: CompatibleModel, asked: list[dict[str, Any]]) -> None:
    """The second request is as the refusal wants it, and `doctor` can say so."""
    assert shape.learned in list(model._learned.described())
    assert len(asked) == 2
    again = asked[1]
    assert not set(shape.then.get("absent", ())) & set(again)
    for name, value in shape.then.get("equal", {}).items():
        assert again[name] == value
    for name, value in shape.then.get("below", {}).items():
        assert 0 < again[name] < value
    roles = [message["role"] for message in again["messages"]]
    assert roles == shape.then.get("roles", roles)
    if shape.request.get("system"):
        assert again["messages"][0]["content"].startswith(SYSTEM.content)
        assert again["messages"][-1]["content"].endswith("Hello!")


@pytest.mark.parametrize(("client", "split"), [("openai", single), ("huggingface", at_random(7))])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_a_shape_becomes_what_it_must(
    replay: Replay, make: Make, shape: Shape, client: str, split: Split
) -> None:
    """Byte by byte, and cut at random."""
    replay.arrange(shape, split)
    model = make(client)
    came, error = await collect(model, request_of(shape))
    judge(shape, came, error)
    if shape.learned:
        judge_lesson(shape, model, replay.requests)
        await collect(model, request_of(shape))
        assert len(replay.requests) == 3, "what is learned is not asked for again"
    else:
        assert len(replay.requests) == 1


# ── what it means for others ──────────────────────────────────────────────────────────────────
class Played:
    """A model that plays what a shape became, as often as it is asked."""

    def __init__(self, name: str, came: list[Delta], error: ModelError | None) -> None:
        self.name, self._came, self._error = name, came, error
        self.asked = 0

    async def stream(self, request: ChatRequest) -> AsyncIterator[Delta]:
        self.asked += 1
        for delta in self._came:
            yield delta
        if self._error is not None:
            raise self._error

    async def check(self) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


# Failures that the request is to blame for, and one that passes while everybody waits.
HARMLESS = {"ContentRefused", "ContextTooLong", "ModelLoading"}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_a_shape_has_its_effect_on_the_chain_and_the_breaker(
    replay: Replay, make: Make, shape: Shape
) -> None:
    """The next model is asked before the first word alone; only failures of the model count."""
    replay.arrange(shape, whole)
    came, error = await collect(make("openai"), request_of(shape))

    first = Played("a", came, error)
    second = Played("b", [Delta("Second."), Delta(finish_reason="stop")], None)
    breakers = [Breaker(name, now=time.monotonic) for name in ("a", "b")]
    chain = Chain([first, second], breakers=breakers, first_token_seconds=0.0, clock=Still())
    said, failed = await collect(chain, request_of(shape))
    falls = shape.error not in (None, "ContentRefused") and not shape.text
    assert second.asked == int(falls)
    assert ("Second." in "".join(delta.text for delta in said)) == falls
    assert (failed is None) == (shape.error is None or falls)

    for _ in range(FAILURES):
        await collect(chain, request_of(shape))
    counted = shape.error is not None and shape.error not in HARMLESS
    assert (first.asked < 1 + FAILURES) == counted


class Still:
    """A clock on which nothing is worth waiting for."""

    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


# ── without a socket: every single cut ────────────────────────────────────────────────────────
async def parted(body: bytes, cut: int) -> tuple[str, str]:
    """Text and reasoning of a body that is read in two pieces."""

    async def reads() -> AsyncIterator[bytes]:
        for piece in (body[:cut], body[cut:]):
            yield piece

    parting, reason = ReasoningSplitter(TagQuirk()), ""
    deltas = []
    async for delta in read_body(reads()):
        if delta is not DONE:
            deltas.append(parting.take(delta))
            reason = delta.finish_reason or reason
    deltas.append(parting.flush(cut=reason == "length"))
    return "".join(d.text for d in deltas).strip(), "".join(d.reasoning for d in deltas)


@pytest.mark.parametrize(
    "shape",
    [shape for shape in SHAPES if shape.finish and shape.error is None],
    ids=lambda shape: shape.name,
)
async def test_an_answer_is_the_same_wherever_its_bytes_are_cut(shape: Shape) -> None:
    for cut in range(0, len(shape.body) + 1, 3):
        assert await parted(shape.body, cut) == (shape.text.strip(), shape.reasoning)
