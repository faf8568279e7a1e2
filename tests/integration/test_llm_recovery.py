"""A model server that starts, restarts or loads: questions are let through, and told the truth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.config.settings import load
from bot.domain import texts
from bot.domain.conversations import Message, Role
from bot.domain.errors import CutOff, ModelError, TimedOut, Unreachable
from bot.domain.health import Verdict
from bot.domain.model import ChatRequest, Delta
from bot.llm.circuit_breaker import FAILURES
from bot.llm.openai import OpenAIModel, make_client
from bot.llm.registry import build_models
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from bot.turns.probe import probe_request
from tests.support.ports import free_port
from tests.support.provider_corpus import ANSWER, Replay, Shape, replaying, shapes

HELLO = ChatRequest((Message(Role.USER, "Hello!"),))
SHAPES = {shape.name: shape for shape in shapes()}
EVENTS = {"content-type": "text/event-stream"}


async def text(model: ChatModel) -> str:
    return "".join([delta.text async for delta in model.stream(HELLO)])


def chain_at(url: str, **settings: str) -> ChatModel:
    """The default model, as the settings make it."""
    environ = {"LLM": "openai:m", "OPENAI_BASE_URL": url, **settings}
    known = load(environ, None)
    return build_models(known, probe=probe_request(known, time.time())).default


async def test_the_first_question_after_the_servers_start_is_answered() -> None:
    """However many found nothing there before; they heard where nothing answers."""
    port, replay = free_port(), Replay()
    model = chain_at(f"http://127.0.0.1:{port}/v1")
    failed = await asyncio.gather(*(text(model) for _ in range(FAILURES)), return_exceptions=True)
    for error in failed:
        assert isinstance(error, Unreachable)
        sentence = texts.model_failure(error)
        assert f"cannot be reached at `127.0.0.1:{port}`: is it running?" in sentence
    replay.arrange(Shape("", "HTTP/1.1 200 OK", EVENTS, ANSWER), lambda body: [body])
    server = await asyncio.start_server(replay.serve, "127.0.0.1", port)
    try:
        assert await text(model) == "Hello there."
    finally:
        server.close()
        await model.aclose()


async def test_answers_that_one_restart_cuts_are_one_failure() -> None:
    """Ten of them; the next question is asked."""
    async with replaying() as replay:
        model = chain_at(replay.url)
        replay.arrange(SHAPES["openai-cut-off"], lambda body: [body])
        failed = await asyncio.gather(*(text(model) for _ in range(10)), return_exceptions=True)
        assert [type(error) for error in failed] == [CutOff] * 10
        replay.arrange(SHAPES["openai-stream"], lambda body: [body])
        assert await text(model) == "Hello there."
        await model.aclose()


# ── cold models ───────────────────────────────────────────────────────────────────────────────
@asynccontextmanager
async def slow(
    limits: StreamTimeouts, *, pieces: int, pause: float, said: bytes, headers_first: bool = True
) -> AsyncIterator[ChatModel]:
    """A server that says `said` so often, with a pause before each, and then answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head if headers_first else b"")
            for _ in range(pieces):
                await asyncio.sleep(pause)
                writer.write(said)
            writer.write((b"" if headers_first else head) + ANSWER)
            await writer.drain()
        except ConnectionError:
            pass  # the client has left
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    model = OpenAIModel(model="m", client=make_client(api_key=None, base_url=url), limits=limits)
    try:
        yield model
    finally:
        await model.aclose()
        server.close()


async def test_a_server_that_gives_signs_of_life_is_given_time() -> None:
    """Comments come for longer than the limit to the first token; people hear of it."""
    limits = StreamTimeouts(first_token=1.5, between_tokens=20.0, loading=20.0)
    async with slow(limits, pieces=8, pause=0.25, said=b": keep-alive\n\n") as model:
        deltas = [delta async for delta in model.stream(HELLO)]
    assert "".join(delta.text for delta in deltas) == "Hello there."
    assert [delta for delta in deltas if delta.loading] == [Delta(loading=True)]


async def test_a_silent_local_server_is_said_to_be_loading() -> None:
    """Ollama writes nothing at all until the model is there."""
    limits = StreamTimeouts(first_token=20.0, between_tokens=20.0, loading_note=0.05)
    async with slow(limits, pieces=1, pause=0.3, said=b"", headers_first=False) as model:
        deltas = [delta async for delta in model.stream(HELLO)]
    assert deltas[0] == Delta(loading=True)
    assert "".join(delta.text for delta in deltas) == "Hello there."


async def test_signs_of_life_are_bounded() -> None:
    limits = StreamTimeouts(first_token=0.2, between_tokens=20.0, loading=0.5)
    async with slow(limits, pieces=100, pause=0.05, said=b": keep-alive\n\n") as model:
        with pytest.raises(TimedOut) as failed:
            await text(model)
    assert not failed.value.started


# ── doctor ────────────────────────────────────────────────────────────────────────────────────
TURN = {
    "SYSTEM_PROMPT": "Be kind.",
    "MAX_OUTPUT_TOKENS": "5000",
    "TEMPERATURE": "0.5",
    "TIMEZONE": "UTC",
}


async def test_doctor_asks_as_a_turn_does_and_says_what_it_learned() -> None:
    """A refused system prompt or limit is found there, and not by the first question."""
    async with replaying() as replay:
        model = chain_at(replay.url, **TURN)
        replay.arrange(SHAPES["vllm-answer-beyond-the-window"], lambda body: [body])
        finding = await model.check()
        await model.aclose()
    first, second = replay.requests
    assert first["messages"][0]["role"] == "system"
    assert first["messages"][0]["content"].startswith("Be kind.\n\nToday is ")
    assert first["stream"] is True and first["stream_options"]
    assert (first["max_tokens"], first["temperature"]) == (5000, 0.5)
    assert second["max_tokens"] < 4096
    assert finding.verdict is Verdict.OK and "a window of 4,096 tokens" in finding.detail


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("web-page", "/v1"),
        ("litellm-budget", "no credit"),
        ("llamacpp-loading", "still loading"),
        ("unknown-finish-reason", "log"),
    ],
)
async def test_doctor_reads_the_answer_to_its_end(name: str, advice: str) -> None:
    async with replaying() as replay:
        replay.arrange(SHAPES[name], lambda body: [body])
        client = make_client(api_key="k", base_url=replay.url)
        model = OpenAIModel(model="m", client=client, limits=StreamTimeouts())
        finding = await model.check()
        await model.aclose()
    assert finding.verdict is Verdict.FAILED and advice in finding.advice


async def test_parallel_questions_learn_a_lesson_together() -> None:
    """Each was refused before any of them knew; all are answered."""
    shape = SHAPES["openai-temperature"]
    async with replaying() as replay:
        replay.arrange(shape, lambda body: [body])
        again = replay.responses[1]
        replay.choose = lambda body: shape if "temperature" in body else again
        model = chain_at(replay.url, TEMPERATURE="0.2")
        request = ChatRequest(HELLO.messages, temperature=0.2)

        async def ask() -> str | ModelError:
            return "".join([delta.text async for delta in model.stream(request)])

        assert await asyncio.gather(*(ask() for _ in range(5))) == ["Hello there."] * 5
        await model.aclose()
