"""The simulated Messages API is as strict as Anthropic's."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bot.llm.anthropic import make_client
from tests.sims.model import ModelSim
from tests.support.anthropic_kit import anthropic_provider

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEADERS = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
OLDER = {**HEADERS, "anthropic-version": "2023-06-01"}
HELLO = {"role": "user", "content": "hello"}
VALID: dict[str, Any] = {"model": "sim", "max_tokens": 100, "messages": [HELLO]}
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


async def post(
    sim: ModelSim, body: Any, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """The status and the body of a response."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{sim.url}/v1/messages", json=body, headers=headers or HEADERS) as response,
    ):
        return response.status, await response.json()


def blocks(*found: Any) -> dict[str, Any]:
    """A request whose message has these blocks."""
    return {"messages": [{"role": "user", "content": list(found)}]}


def text(words: str = "hello", **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def image(data: bytes = b"\x89PNG\r\n\x1a\n", media_type: str = "image/png") -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    source = {"type": "base64", "media_type": media_type, "data": encoded}
    return {"type": "image", "source": source}


def png(side: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", side, 1) + bytes(60)


def role(name: str, content: Any = "hello") -> dict[str, Any]:
    return {"role": name, "content": content}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 100_000}, "max_tokens: 100000 > 64000, which is the maximum allowed number"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": [role("system")]}, 'messages: Unexpected role "system"'),
    ({"messages": [role("assistant"), HELLO]}, 'first message must use the "user" role'),
    ({"messages": [HELLO, role("assistant")]}, "does not support assistant message prefill"),
    ({"messages": [role("user", "")]}, "messages.0: all messages must have non-empty content"),
    ({"messages": [{**HELLO, "name": "x"}]}, "messages.0.name: Extra inputs are not permitted"),
    (blocks(text("")), "messages: text content blocks must be non-empty"),
    (blocks(text(" \n")), "messages: text content blocks must contain non-whitespace text"),
    (blocks(text("", cache_control=MARK)), "cache_control cannot be set for empty text blocks"),
    (blocks(text(foo=1)), "messages.0.content.0.text.foo: Extra inputs are not permitted"),
    (blocks({"type": "image_url"}), "Input tag 'image_url' found using 'type'"),
    (blocks(text(cache_control={"type": "x"})), "cache_control.type: Input should be 'ephemeral'"),
    (blocks(text(cache_control={**MARK, "ttl": "2h"})), "ttl: Input should be '5m' or '1h'"),
    (
        blocks(*(text(str(n), cache_control=MARK) for n in range(5))),
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (blocks(image(media_type="image/bmp")), "media_type: Input should be 'image/jpeg'"),
    (blocks(image(b"GIF89a")), "Could not process image"),
    (blocks(image(png(8_001))), "dimensions exceed max allowed size: 8000 pixels"),
    (
        blocks(*[image(png(2_001))] * 21),
        "dimensions exceed max allowed size for many-image requests: 2000 pixels",
    ),
    ({"system": [text("")]}, "system: text content blocks must be non-empty"),
    ({"system": [image()]}, "system.0.type: Input should be 'text'"),
    ({"temperature": 1}, "temperature: Extra inputs are not permitted"),
    ({"frequency_penalty": 1}, "frequency_penalty: Extra inputs are not permitted"),
    ({"output_config": {"effort": "huge"}}, "output_config.effort: Input should be 'low'"),
    ({"thinking": {"type": "adaptive", "budget_tokens": 9}}, "thinking.adaptive.budget_tokens"),
    ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "greater than or equal to 1024"),
    ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, "must be greater than"),
    ({"stream": "yes"}, "stream: Input should be a valid boolean"),
    (
        {"model": "claude-opus-5", "thinking": {"type": "enabled"}},
        "is not supported for this model",
    ),
    (
        {"model": "claude-haiku-4-5", "output_config": {"effort": "low"}},
        "This model does not support the effort parameter.",
    ),
    (
        {"model": "claude-haiku-4-5", "thinking": {"type": "adaptive"}},
        "adaptive thinking is not supported on this model",
    ),
    (
        {"model": "claude-haiku-4-5", "messages": [HELLO, role("assistant", "So ")]},
        "final assistant content cannot end with trailing whitespace",
    ),
]


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=lambda value: str(value)[:50])
async def test_an_invalid_request_is_refused_in_anthropics_words(
    sim: ModelSim, change: dict[str, Any], words: str
) -> None:
    status, body = await post(sim, VALID | change)
    assert status == 400 and body["error"]["type"] == "invalid_request_error"
    assert words in body["error"]["message"]


@pytest.mark.parametrize("field", ["model", "messages", "max_tokens"])
async def test_required_fields_are_required(sim: ModelSim, field: str) -> None:
    status, body = await post(sim, {name: VALID[name] for name in VALID if name != field})
    assert (status, body["error"]["message"]) == (400, f"{field}: Field required")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"temperature": 0.5, "top_p": 0.5}, "cannot both be specified"),
        ({"temperature": 0.5, "thinking": {"type": "adaptive"}}, "may only be set to 1 when"),
        ({"temperature": 0.5, "model": "claude-opus-5"}, "`temperature` is deprecated"),
    ],
)
async def test_the_older_version_takes_a_temperature_from_some_models(
    sim: ModelSim, change: dict[str, Any], words: str
) -> None:
    assert (await post(sim, VALID | {"temperature": 0.5}, OLDER))[0] == 200
    status, body = await post(sim, VALID | change, OLDER)
    assert status == 400 and words in body["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"x-api-key": "k"}, 400, "anthropic-version: header is required"),
        ({"x-api-key": "k", "anthropic-version": "1"}, 400, "is not a valid version"),
        ({"anthropic-version": "2026-10-21"}, 401, "x-api-key header is required"),
        ({**HEADERS, "x-api-key": "wrong"}, 401, "invalid x-api-key"),
        ({**HEADERS, "Authorization": "Bearer wrong"}, 401, "Invalid bearer token"),
    ],
)
async def test_the_headers_are_checked(
    sim: ModelSim, headers: dict[str, str], status: int, words: str
) -> None:
    await sim.key("k")
    answered, body = await post(sim, VALID, headers)
    assert answered == status and words in body["error"]["message"]


async def test_consecutive_messages_of_one_role_are_accepted(sim: ModelSim) -> None:
    status, body = await post(sim, VALID | {"messages": [HELLO, HELLO]})
    assert status == 200 and body["stop_reason"] == "end_turn"
    assert body["content"][0]["type"] == "text"


async def test_events_have_the_real_order_and_names(sim: ModelSim) -> None:
    await sim.say(["Yes", "."], reasoning="Hm")
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{sim.url}/v1/messages", json=VALID | {"stream": True}, headers=HEADERS
        ) as response,
    ):
        lines = (await response.text()).splitlines()
    names = [line[7:] for line in lines if line.startswith("event: ")]
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert names == [event["type"] for event in data]
    assert names == [
        "message_start",
        "ping",
        *("content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "content_block_start", "content_block_delta"),
        *("content_block_delta", "content_block_stop", "message_delta", "message_stop"),
    ]


async def test_the_real_client_lists_the_models(sim: ModelSim) -> None:
    client = make_client(anthropic_provider(sim.base_url))
    found = {model.id: model async for model in client.models.list()}
    haiku = await client.models.retrieve("claude-haiku-4-5")
    await client.close()
    assert found["claude-haiku-4-5"] == haiku and "sim" in found
    assert haiku.capabilities is not None and not haiku.capabilities.effort.supported
    assert (haiku.max_input_tokens, haiku.max_tokens) == (200_000, 64_000)
