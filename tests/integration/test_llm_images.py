"""Images in requests, with the real clients against the simulated model server."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from bot.common.clock import SystemClock
from bot.domain.conversations import ImagePart, Message, Role
from bot.domain.errors import CannotSee, ImageRefused, ModelError, Overloaded
from bot.domain.health import Verdict
from bot.domain.model import ChatRequest, Delta
from bot.llm.circuit_breaker import FAILURE_THRESHOLD, CircuitBreaker
from bot.llm.fallback_chain import FallbackChain
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.sims.model import ModelSim
from tests.sims.model.images import BLIND, SentImage
from tests.support.model_kit import huggingface_model, openai_model
from tests.support.tcp import tcp_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDE = StreamTimeouts(first_token=20.0, between_tokens=20.0)
PNG = b"\x89PNG\r\n\x1a\n"
Make = Callable[..., ChatModel]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim(apart=True) as running:  # the steps of this loop are measured
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def sim(server: ModelSim) -> ModelSim:
    await server.reset()
    await server.pace(rate=0, first_delay=0.0)
    return server


@pytest_asyncio.fixture(loop_scope="module", params=["openai", "huggingface"])
async def make(request: pytest.FixtureRequest, sim: ModelSim) -> AsyncIterator[Make]:
    """Builds models of one provider for the simulated server."""
    models: list[ChatModel] = []

    def build(model: str = "sim", *, url: str = sim.base_url) -> ChatModel:
        if request.param == "openai":
            models.append(openai_model(model, url, timeouts=WIDE))
        else:
            models.append(huggingface_model(model, url, timeouts=WIDE))
        return models[-1]

    yield build
    for each in models:
        await each.aclose()


def image(size: int = 1_000, *, label: str = "") -> ImagePart:
    """Random bytes behind a PNG's signature."""
    return ImagePart("image/png", PNG + os.urandom(size - len(PNG)), 640, 480, label)


def question(*parts: ImagePart, text: str = "What is this?") -> ChatRequest:
    return ChatRequest((Message(Role.USER, text, parts=parts),))


async def ask(model: ChatModel, request: ChatRequest) -> list[Delta]:
    return [delta async for delta in model.stream(request)]


async def fail(model: ChatModel, request: ChatRequest) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(model, request)
    return caught.value


def chain_of(*models: ChatModel) -> FallbackChain:
    breakers = [CircuitBreaker(model.name, now=time.monotonic) for model in models]
    return FallbackChain(models, breakers=breakers, first_token_seconds=0.0, clock=SystemClock())


# ── requests ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("size", [9, 10, 11, 196_607, 196_608, 196_609, 1_000_003])
async def test_images_arrive_byte_for_byte(sim: ModelSim, make: Make, size: int) -> None:
    """Some images are around the size of the pieces in which they are encoded."""
    part = image(size)
    await ask(make(), question(part))
    record = await sim.last()
    assert record.images == [SentImage(0, "image/png", part.data)]


async def test_only_messages_with_images_have_an_array_as_content(
    sim: ModelSim, make: Make
) -> None:
    """A label precedes its image, and the text comes first."""
    first, second = image(label="page 4"), image(label="page 5")
    messages = (
        Message(Role.SYSTEM, "be kind"),
        Message(Role.USER, "look 🙂\u2028", parts=(first, second)),
        Message(Role.ASSISTANT, "ok", parts=(image(),)),
        Message(Role.USER, "", parts=(first,)),
        Message(Role.USER, "and now?"),
    )
    await ask(make(), ChatRequest(messages))
    record = await sim.last()
    contents = [message["content"] for message in record.body["messages"]]
    assert (contents[0], contents[2], contents[4]) == ("be kind", "ok", "and now?")
    kinds = [part.get("text", part["type"]) for part in contents[1]]
    assert kinds == [
        "look 🙂\u2028",
        "[Image 1: page 4]",
        "image_url",
        "[Image 2: page 5]",
        "image_url",
    ]
    assert [part.get("text", part["type"]) for part in contents[3]] == [
        "[Image 1: page 4]",
        "image_url",
    ]
    assert [sent.data for sent in record.images] == [first.data, second.data, first.data]


async def test_requests_at_the_same_time_keep_their_images_apart(sim: ModelSim, make: Make) -> None:
    model, parts = make(), [image(300_000 + k) for k in range(6)]
    before = len(await sim.streams())
    await asyncio.gather(
        *(ask(model, question(part, text=f"q{k}")) for k, part in enumerate(parts))
    )
    for record in await sim.streams(before):
        number = int(record.body["messages"][0]["content"][0]["text"][1:])
        assert record.images[0].data == parts[number].data


async def test_a_workaround_sends_the_images_again(sim: ModelSim, make: Make) -> None:
    """The first request is rejected because of its system prompt."""
    await sim.refuse("no_system_role")
    part = image()
    before = len(await sim.streams())
    request = ChatRequest((Message(Role.SYSTEM, "be kind"), *question(part).messages))
    await ask(make(), request)
    records = await sim.streams(before)
    assert [[sent.data for sent in record.images] for record in records] == [[part.data]] * 2
    assert records[1].body["messages"][0]["content"][0]["text"] == "be kind\n\nWhat is this?"


async def test_the_event_loop_runs_while_images_are_sent(sim: ModelSim, make: Make) -> None:
    """No step takes as long as encoding everything in one go."""
    model, request = make(), question(*(image(4_000_000) for _ in range(10)))
    await ask(model, question(image()))  # lazy imports
    asking = asyncio.create_task(ask(model, request))
    lags = [0.0]
    while not asking.done():
        began = time.thread_time()
        await asyncio.sleep(0)
        lags.append(time.thread_time() - began)
    await asking
    sent = (await sim.last()).images
    assert [each.data for each in sent] == [part.data for part in request.messages[0].parts]
    await sim.forget_bodies()
    assert max(lags) < 0.05


# ── models that take no images ────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("form", BLIND)
async def test_a_model_that_takes_no_images_is_remembered(
    sim: ModelSim, make: Make, form: str
) -> None:
    """Text is still answered, and does not change what is known."""
    await sim.images(blind={"sim": form})
    model = make()
    assert model.sees is None
    assert type(await fail(model, question(image()))) is CannotSee
    assert model.sees is False
    assert await ask(model, question())
    assert model.sees is False


async def test_an_answer_shows_that_a_model_takes_images(sim: ModelSim, make: Make) -> None:
    """A later rejection is then about the image, whatever it says."""
    model = make()
    await ask(model, question())
    assert model.sees is None
    await ask(model, question(image()))
    assert model.sees is True
    await sim.images(blind={"sim": "groq"})
    assert type(await fail(model, question(image()))) is ImageRefused
    assert model.sees is True


async def test_a_broken_image_is_refused_without_a_verdict_on_the_model(make: Make) -> None:
    model = make()
    broken = ImagePart("image/png", b"GIF89a", 1, 1)
    error = await fail(model, question(broken))
    assert type(error) is ImageRefused and error.limit is None
    assert model.sees is None


async def test_an_unknown_rejection_of_images_is_about_the_images(
    sim: ModelSim, make: Make
) -> None:
    await sim.refuse("bad_request")
    assert type(await fail(make(), question(image()))) is ImageRefused
    await sim.refuse("bad_request")
    assert type(await fail(make(), question())) is not ImageRefused


async def test_too_many_images_carry_the_limit(sim: ModelSim, make: Make) -> None:
    await sim.images(limit=1)
    error = await fail(make(), question(image(), image()))
    assert isinstance(error, ImageRefused) and error.limit == 1


async def test_doctor_says_whether_a_model_takes_images(sim: ModelSim, make: Make) -> None:
    assert (await make().check()).detail.endswith("; takes images")
    await sim.images(blind={"sim": "lm-studio"})
    finding = await make().check()
    assert finding.detail.endswith("; cannot see images") and finding.verdict is Verdict.OK
    await sim.images()
    await sim.refuse("server_error", skip=1, times=None)
    assert "image" not in (await make().check()).detail


async def test_a_proxy_may_reject_the_body_before_it_has_come(make: Make) -> None:
    """Reverse proxies answer 413 immediately, and then read the rest."""

    async def reject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        while await reader.read(1 << 16):
            pass

    async with tcp_server(reject) as port:
        model = make(url=f"http://127.0.0.1:{port}/v1")
        assert type(await fail(model, question(image(5_000_000)))) is ImageRefused
        await model.aclose()


# ── chains ────────────────────────────────────────────────────────────────────────────────────
async def test_a_chain_asks_the_model_that_sees(sim: ModelSim, make: Make) -> None:
    """The model without vision gets one request with an image, and all requests without one."""
    await sim.images(blind={"sim": "openai"})
    chain, part = chain_of(make("sim"), make("sim-2")), image()
    before = len(await sim.streams())
    assert chain.sees is None
    for _ in range(2):
        await ask(chain, question(part))
    await ask(chain, question())
    models = [record.body["model"] for record in await sim.streams(before)]
    assert models == ["sim", "sim-2", "sim-2", "sim"]
    assert chain.sees is True


async def test_a_blind_chain_says_so_and_still_answers_texts(sim: ModelSim, make: Make) -> None:
    """The circuit breakers stay closed: only the first request with an image is sent."""
    await sim.images(blind={"sim": "vllm", "sim-2": "openrouter"})
    chain = chain_of(make("sim"), make("sim-2"))
    before = len(await sim.streams())
    for _ in range(2 * FAILURE_THRESHOLD):
        assert type(await fail(chain, question(image()))) is CannotSee
    assert chain.sees is False
    assert len(await sim.streams(before)) == 2
    assert await ask(chain, question())


async def test_an_overload_of_the_seeing_model_leaves_the_choice_to_the_turn(
    sim: ModelSim, make: Make
) -> None:
    """Without the image, the other model can answer."""
    await sim.images(blind={"sim": "ollama"})
    await sim.refuse("unavailable", times=None, model="sim-2")
    chain = chain_of(make("sim"), make("sim-2"))
    assert type(await fail(chain, question(image()))) is CannotSee
    assert await ask(chain, question())
    alone = chain_of(make("sim-2"))
    assert type(await fail(alone, question(image()))) is Overloaded


async def test_refused_images_do_not_open_the_breaker(sim: ModelSim, make: Make) -> None:
    chain: Any = chain_of(make("sim"))
    broken = ImagePart("image/png", b"?", 1, 1)
    for _ in range(2 * FAILURE_THRESHOLD):
        assert type(await fail(chain, question(broken))) is ImageRefused
    assert await ask(chain, question(image()))
