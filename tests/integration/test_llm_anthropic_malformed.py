"""Malformed events of Anthropic's API, through the real client over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from bot.domain.conversations import Message, Role
from bot.domain.errors import CutOff, ModelError
from bot.domain.model import ChatRequest, Delta
from bot.llm.anthropic import AnthropicModel, make_client
from bot.llm.stream_timeout import StreamTimeouts
from tests.support.anthropic_kit import anthropic_model, anthropic_provider
from tests.support.mutations import HARSH, OTHERS, mutations
from tests.support.provider_corpus import Replay, Shape, replaying, shapes, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = ChatRequest((Message(Role.USER, "hello"),))
WIDE = StreamTimeouts(first_token=30.0, between_tokens=30.0)
RECORDING = next(shape for shape in shapes() if shape.name == "messages-thinking")
TEXT, REASONING = "Hello there.", "Let me think"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replay() -> AsyncIterator[Replay]:
    async with replaying() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model(replay: Replay) -> AsyncIterator[AnthropicModel]:
    provider = anthropic_provider(replay.url)
    client = make_client(provider)
    yield anthropic_model("m", provider, client=client, timeouts=WIDE)
    await client.close()


def events() -> list[dict[str, Any]]:
    """The events of the recording."""
    lines = RECORDING.body.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def body(found: list[Any]) -> bytes:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in found).encode()


async def play(
    replay: Replay, model: AnthropicModel, found: list[Any]
) -> tuple[list[Delta], ModelError | None]:
    """The deltas of an answer and its failure; any other exception fails the test."""
    headers = {"content-type": "text/event-stream"}
    replay.arrange(Shape("", "HTTP/1.1 200 OK", headers, body(found), api="messages"), whole)
    deltas: list[Delta] = []
    try:
        async for delta in model.stream(HELLO):
            deltas.append(delta)
    except ModelError as error:
        return deltas, error
    return deltas, None


def mutated(others: tuple[Any, ...]) -> Iterator[tuple[str, list[Any]]]:
    """The recording with one event changed, with a description."""
    recorded = events()
    for index, event in enumerate(recorded):
        for mutation in mutations(event, others):
            yield (
                f"{index}: {mutation}",
                [
                    *recorded[:index],
                    mutation.payload,
                    *recorded[index + 1 :],
                ],
            )


async def test_the_recording_itself_is_complete(replay: Replay, model: AnthropicModel) -> None:
    deltas, error = await play(replay, model, events())
    assert error is None
    assert "".join(delta.text for delta in deltas) == TEXT
    assert "".join(delta.reasoning for delta in deltas) == REASONING


async def test_a_stream_that_ends_early_is_never_an_answer(
    replay: Replay, model: AnthropicModel
) -> None:
    """Wherever the stream ends before the stop reason."""
    recorded = events()
    end = next(n for n, event in enumerate(recorded) if event["type"] == "message_delta")
    for count in range(end + 1):
        _, error = await play(replay, model, recorded[:count])
        assert error is not None, count
    assert (await play(replay, model, recorded[: end + 1]))[1] is None


async def test_the_end_of_a_message_without_a_stop_reason_proves_nothing(
    replay: Replay, model: AnthropicModel
) -> None:
    """Gateways send it when the stream behind them breaks off."""
    recorded = [event for event in events() if event["type"] != "message_delta"]
    assert recorded[-1]["type"] == "message_stop"
    for found in (recorded, [*recorded[:-1], {"type": "message_delta", "delta": {}}, recorded[-1]]):
        deltas, error = await play(replay, model, found)
        assert isinstance(error, CutOff)
        assert "".join(delta.text for delta in deltas) == TEXT


async def test_empty_events_are_signs_of_life(replay: Replay, model: AnthropicModel) -> None:
    recorded = events()
    _, error = await play(replay, model, [recorded[0], None, [], {}, *recorded[1:]])
    assert error is None


@pytest.mark.parametrize("others", [OTHERS, HARSH], ids=["types", "values"])
async def test_a_malformed_event_costs_at_most_this_answer(
    replay: Replay, model: AnthropicModel, others: tuple[Any, ...]
) -> None:
    """Each field dropped, null or of another type gives a ModelError, or an answer from what is
    left.

    Only the recording's texts are shown, or the text that replaced one of them.
    """
    survived = failed = 0
    for name, found in mutated(others):
        deltas, error = await play(replay, model, found)
        text = "".join(delta.text for delta in deltas)
        kept = [piece for piece in ("Hello", " there", ".") if piece in text]
        assert len(kept) >= 2 or error is not None, name
        usages = [delta.usage for delta in deltas if delta.usage]
        assert all(usage.cached_tokens <= usage.input_tokens for usage in usages), name
        survived, failed = survived + (error is None), failed + (error is not None)
    assert survived > 100 and failed > 20
