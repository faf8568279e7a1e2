"""Model servers that start, restart or load a model: questions are answered, or fail precisely."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.config.loader import load
from bot.doctor import probe_request
from bot.domain import texts
from bot.domain.conversations import Message, Role
from bot.domain.errors import CutOff, ModelError, TimedOut, Unreachable
from bot.domain.health import Verdict
from bot.domain.model import ChatRequest, Delta
from bot.llm.circuit_breaker import FAILURE_THRESHOLD
from bot.llm.stream_timeout import StreamTimeouts
from bot.ports.model import ChatModel
from tests.support.model_kit import openai_model, registry
from tests.support.ports import free_port
from tests.support.provider_corpus import CHAT_ANSWER, Replay, Shape, replaying, shapes
from tests.support.tcp import tcp_server

HELLO = ChatRequest((Message(Role.USER, "Hello!"),))
SHAPES = {shape.name: shape for shape in shapes()}
EVENTS = {"content-type": "text/event-stream"}


async def text(model: ChatModel) -> str:
    return "".join([delta.text async for delta in model.stream(HELLO)])


def chain_at(url: str, **settings: str) -> ChatModel:
    """The default model of these settings, with the probe that `doctor` uses."""
    loaded = load({"LLM": "openai:m", "OPENAI_BASE_URL": url, **settings}, None)
    return registry(loaded, probe=probe_request(loaded, time.time())).chain(loaded.llm_chain)


async def test_the_first_question_after_the_server_starts_is_answered() -> None:
    """Earlier questions failed with the address in the message, and did not open the breaker."""
    port, replay = free_port(), Replay()
    model = chain_at(f"http://127.0.0.1:{port}/v1")
    failed = await asyncio.gather(
        *(text(model) for _ in range(FAILURE_THRESHOLD)), return_exceptions=True
    )
    for error in failed:
        assert isinstance(error, Unreachable)
        sentence = texts.model_failure(error)
        assert f"cannot be reached at `127.0.0.1:{port}`: is it running?" in sentence
    replay.arrange(Shape("", "HTTP/1.1 200 OK", EVENTS, CHAT_ANSWER), lambda body: [body])
    async with tcp_server(replay.serve, port):
        assert await text(model) == "Hello there."
        await model.aclose()


async def test_answers_cut_by_one_restart_count_as_one_failure() -> None:
    """After ten cut answers, the next question still reaches the model."""
    async with replaying() as replay:
        model = chain_at(replay.url)
        replay.arrange(SHAPES["openai-cut-off"], lambda body: [body])
        failed = await asyncio.gather(*(text(model) for _ in range(10)), return_exceptions=True)
        assert [type(error) for error in failed] == [CutOff] * 10
        replay.arrange(SHAPES["openai-stream"], lambda body: [body])
        assert await text(model) == "Hello there."
        await model.aclose()


# ── models that are loading ───────────────────────────────────────────────────────────────────
@asynccontextmanager
async def slow_server(
    timeouts: StreamTimeouts, *, count: int, pause: float, filler: bytes, headers_first: bool = True
) -> AsyncIterator[ChatModel]:
    """A server that sends `filler` `count` times, with a pause before each, and then answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head if headers_first else b"")
            for _ in range(count):
                await asyncio.sleep(pause)
                writer.write(filler)
            writer.write((b"" if headers_first else head) + CHAT_ANSWER)
            await writer.drain()
        except ConnectionError:
            pass  # the client has left

    async with tcp_server(serve) as port:
        model = openai_model("m", f"http://127.0.0.1:{port}/v1", key=None, timeouts=timeouts)
        try:
            yield model
        finally:
            await model.aclose()


async def test_signs_of_life_extend_the_wait_for_the_first_token() -> None:
    """Comments keep arriving beyond the limit; one notice tells people that the model is
    loading."""
    timeouts = StreamTimeouts(first_token=1.5, between_tokens=20.0, loading=20.0)
    async with slow_server(timeouts, count=8, pause=0.25, filler=b": keep-alive\n\n") as model:
        deltas = [delta async for delta in model.stream(HELLO)]
    assert "".join(delta.text for delta in deltas) == "Hello there."
    assert [delta for delta in deltas if delta.loading] == [Delta(loading=True)]


async def test_a_silent_local_server_gets_a_loading_notice() -> None:
    """Ollama sends nothing until the model is loaded."""
    timeouts = StreamTimeouts(first_token=20.0, between_tokens=20.0, loading_note=0.05)
    async with slow_server(timeouts, count=1, pause=0.3, filler=b"", headers_first=False) as model:
        deltas = [delta async for delta in model.stream(HELLO)]
    assert deltas[0] == Delta(loading=True)
    assert "".join(delta.text for delta in deltas) == "Hello there."


async def test_signs_of_life_extend_the_wait_only_up_to_a_maximum() -> None:
    timeouts = StreamTimeouts(first_token=0.2, between_tokens=20.0, loading=0.5)
    async with slow_server(timeouts, count=100, pause=0.05, filler=b": keep-alive\n\n") as model:
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


async def test_doctor_sends_a_turns_request_and_reports_workarounds() -> None:
    """`doctor` finds a rejected system prompt or limit before the first question does.

    The last request has an image.
    """
    async with replaying() as replay:
        model = chain_at(replay.url, **TURN)
        replay.arrange(SHAPES["vllm-answer-beyond-the-window"], lambda body: [body])
        finding = await model.check()
        await model.aclose()
    first, second, with_image = replay.requests
    assert first["messages"][0]["role"] == "system"
    assert first["messages"][0]["content"].startswith("Be kind.\n\nToday is ")
    assert first["stream"] is True and first["stream_options"]
    assert (first["max_tokens"], first["temperature"]) == (5000, 0.5)
    assert second["max_tokens"] < 4096
    assert with_image["messages"][0]["content"][1]["type"] == "image_url"
    assert finding.verdict is Verdict.OK and "a window of 4,096 tokens" in finding.detail


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("web-page", "/v1"),
        ("litellm-budget", "no credit"),
        ("llamacpp-loading", "still loading"),
        ("unknown-finish-reason", "LOG_LEVEL"),
    ],
)
async def test_doctor_reads_the_whole_answer(name: str, advice: str) -> None:
    async with replaying() as replay:
        replay.arrange(SHAPES[name], lambda body: [body])
        model = openai_model("m", replay.url)
        finding = await model.check()
        await model.aclose()
    assert finding.verdict is Verdict.FAILED and advice in finding.advice


async def test_parallel_questions_share_a_workaround() -> None:
    """All were rejected before any of them had learned it, and all are answered."""
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
