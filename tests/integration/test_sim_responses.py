"""The simulated Responses API: what the real client may send, and what the real API refuses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.types.responses import ResponseCompletedEvent
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.sims.model import ModelSim

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRAINING = ["The fisherman found a chest in the net, and the chest was full of old coins. " * 9]


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
async def client(sim: ModelSim) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="k", base_url=sim.base_url, max_retries=0) as client:
        yield client


async def test_the_real_client_parses_every_event(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """Their order is the real API's, with consecutive numbers."""
    await sim.say("Hello there.", reasoning="Let me think.")
    events = [
        event
        async for event in await client.responses.create(
            model="sim", input="Hi", stream=True, store=False, reasoning={"summary": "auto"}
        )
    ]
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert kinds[-3:] == [
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent)
    assert last.response.output_text == "Hello there."
    assert [item.type for item in last.response.output] == ["reasoning", "message"]
    assert last.response.usage is not None
    assert last.response.usage.output_tokens_details.reasoning_tokens == 3
    assert last.response.store is False


async def test_without_streaming_the_answer_is_one_object(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """Reasoning stays hidden unless its summary was requested, but it counts."""
    await sim.say("Hello there.", reasoning="Let me think.")
    response = await client.responses.create(model="sim", input=[{"role": "user", "content": "Hi"}])
    assert response.output_text == "Hello there." and response.status == "completed"
    assert [item.type for item in response.output] == ["message"]
    assert response.usage is not None and response.usage.output_tokens == 5


USER = {"role": "user", "content": "Hi"}
PNG_URL = "data:image/png;base64,AAAA"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"n": 2}, "Unknown parameter: 'n'."),
    "a field of the other API": ({"messages": [USER]}, "has moved to 'input'"),
    "the other API's limit": ({"max_tokens": 50}, "has moved to 'max_output_tokens'"),
    "the other API's effort": ({"reasoning_effort": "low"}, "has moved to 'reasoning.effort'"),
    "no input": ({"input": None}, "Missing required parameter: 'input'."),
    "an empty input": ({"input": []}, "empty array"),
    "an unknown item": ({"input": [{"type": "chat"}]}, "Invalid value: 'chat'"),
    "an unknown role": ({"input": [{"role": "bot", "content": "x"}]}, "Invalid value: 'bot'"),
    "another field of an item": ({"input": [USER | {"name": "A"}]}, "'input[0].name'"),
    "a part of the other API": (
        {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        "Invalid value: 'text'",
    ),
    "an assistant's input text": (
        {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
        "Invalid value: 'input_text'. Supported values are: 'output_text', and 'refusal'.",
    ),
    "an image as an object": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": {}}]}]},
        "Invalid type",
    ),
    "a broken image": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PNG_URL}]}]},
        "unsupported image",
    ),
    "a text as a number": (
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]},
        "Invalid type",
    ),
    "a low limit": ({"max_output_tokens": 5}, "Expected a value >= 16"),
    "a limit that is no number": ({"max_output_tokens": "many"}, "Invalid type"),
    "a hot temperature": ({"temperature": 3}, "out of range"),
    "an unknown effort": ({"reasoning": {"effort": "huge"}}, "Invalid value: 'huge'"),
    "an unknown field of reasoning": ({"reasoning": {"tokens": 5}}, "'reasoning.tokens'"),
    "a long cache key": ({"prompt_cache_key": "k" * 65}, "string too long"),
    "storing as a text": ({"store": "no"}, "Invalid type for 'store'"),
    "stream options without a stream": (
        {"stream_options": {"include_obfuscation": False}, "stream": False},
        "only allowed when 'stream' is enabled",
    ),
    "the other API's stream options": (
        {"stream_options": {"include_usage": True}},
        "'stream_options.include_usage'",
    ),
}


@pytest.mark.parametrize(("fields", "words"), REFUSED.values(), ids=REFUSED)
async def test_requests_that_the_real_api_refuses_are_refused(
    sim: ModelSim, client: openai.AsyncOpenAI, fields: dict[str, Any], words: str
) -> None:
    body = {"input": "Hi", "stream": True, **fields}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="sim", extra_body=body)
    assert words in str(caught.value)


async def test_requests_that_the_real_api_accepts_are_accepted(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """A stored response and a reference to an earlier one are not refused, but they are
    recorded."""
    await client.responses.create(
        model="sim",
        instructions="Be kind.",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"role": "assistant", "content": "Hello."},
            {"type": "message", "role": "developer", "content": "Be short."},
            {"role": "user", "content": "And?"},
        ],
        store=True,
        previous_response_id="resp_1",
        prompt_cache_key="k" * 64,
        reasoning={"effort": "low", "summary": "concise"},
        max_output_tokens=16,
        temperature=0.5,
        include=["reasoning.encrypted_content"],
    )
    record = await sim.last("And?")
    assert record.body["store"] is True and record.body["previous_response_id"] == "resp_1"
    assert [message["role"] for message in record.messages] == [
        "system", "user", "assistant", "developer", "user",
    ]  # fmt: skip


async def test_both_apis_report_the_cached_tokens(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """A prefix of one API's requests is no prefix of the other's."""
    long = "word " * 1_500
    counts = []
    for _ in range(2):
        chat = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": long}]
        )
        assert chat.usage is not None and chat.usage.prompt_tokens_details is not None
        response = await client.responses.create(model="sim", input=long)
        assert response.usage is not None
        counts.append(
            (
                chat.usage.prompt_tokens_details.cached_tokens,
                response.usage.input_tokens_details.cached_tokens,
            )
        )
    assert counts == [(0, 0), (1_792, 1_792)]


async def test_tokens_are_counted_with_a_tokenizers_tables(
    sim: ModelSim, client: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    """The test trains the tables; without any, four bytes are a token."""
    tokenizer = Tokenizer(models.BPE(unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.train_from_iterator(
        TRAINING, trainers.BpeTrainer(vocab_size=400, special_tokens=["?"])
    )
    tables = tmp_path / "tokenizer.json"
    tokenizer.save(str(tables))
    await sim.tokenizer(str(tables))
    await sim.say("The fisherman found a chest.")
    response = await client.responses.create(model="sim", input=TRAINING[0])
    assert response.usage is not None
    assert response.usage.input_tokens == len(tokenizer.encode(TRAINING[0]).ids) + 4 + 3
    assert response.usage.output_tokens == len(tokenizer.encode("The fisherman found a chest.").ids)
    await sim.tokenizer(None)
    response = await client.responses.create(model="sim", input=TRAINING[0])
    assert response.usage is not None
    assert response.usage.input_tokens == -(-len(TRAINING[0]) // 4) + 4 + 3
    assert json.loads(tables.read_text())["model"]["type"] == "BPE"
