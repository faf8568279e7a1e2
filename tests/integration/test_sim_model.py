"""The simulated model server is as strict as the real APIs; its scripts and records are exact."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import huggingface_hub
import huggingface_hub.constants
import openai
import pytest
import pytest_asyncio
from huggingface_hub.errors import HfHubHTTPError

from tests.sims.model import Answer, ModelSim, Speech, count_tokens
from tests.sims.model.answers import Pace, resolve

pytestmark = pytest.mark.asyncio(loop_scope="module")
module_fixture = pytest_asyncio.fixture(scope="module", loop_scope="module")

HELLO = [{"role": "user", "content": "hello"}]


@module_fixture
async def server() -> AsyncIterator[ModelSim]:
    async with ModelSim() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def sim(server: ModelSim) -> ModelSim:
    await server.reset()
    return server


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep huggingface_hub from fetching its user agent's details from Hugging Face."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)


@module_fixture
async def client(server: ModelSim) -> AsyncIterator[openai.AsyncOpenAI]:
    client = openai.AsyncOpenAI(api_key="right", base_url=server.base_url, max_retries=0)
    async with client:
        yield client


@module_fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(http: aiohttp.ClientSession, sim: ModelSim, **body: Any) -> tuple[int, bytes]:
    """The status and the raw bytes of the response to a body."""
    body = {"model": "sim", "messages": HELLO, **body}
    async with http.post(f"{sim.base_url}/chat/completions", json=body) as response:
        return response.status, await response.read()


async def stream(http: aiohttp.ClientSession, sim: ModelSim, **body: Any) -> bytes:
    """The raw bytes of a stream that ends normally."""
    status, data = await post(http, sim, stream=True, **body)
    assert status == 200, data
    return data


def chunks(data: bytes) -> list[dict[str, Any]]:
    """The JSON of each event, without `[DONE]`."""
    events = data.split(b"\n\n")
    return [json.loads(event[6:]) for event in events if event.startswith(b"data: {")]


# ── requests that the real API rejects ────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": []}, "messages", "empty_array"),
        ({"prompt_cache_key": "k" * 65}, "prompt_cache_key", "string_above_max_length"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": "hello"}, "messages", "invalid_type"),
        ({"messages": ["hello"]}, "messages[0]", "invalid_type"),
        (
            {"messages": [{"content": "x"}]},
            "messages[0].role",
            "missing_required_parameter",
        ),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
        (
            {"messages": [{"role": "user", "content": 5}]},
            "messages[0].content",
            "invalid_type",
        ),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "invalid_type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "pdf"}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "missing_required_parameter",
        ),
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, "messages[0].content", None),
        (
            {"messages": [{"role": "user", "content": "x", "name": "Ann Other"}]},
            "messages[0].name",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "user", "content": "x", "author": "Ann"}]},
            "messages[0].author",
            "unknown_parameter",
        ),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
            "messages[0].role",
            None,
        ),
        ({"model": ""}, None, None),
        ({"model": 5}, "model", "invalid_type"),
        ({"conversation": "x"}, "conversation", "unknown_parameter"),
        ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_tokens", None),
        ({"stream_options": {"include_usage": True}}, "stream_options", None),
        (
            {"stream": True, "stream_options": {"usage": True}},
            "stream_options.usage",
            "unknown_parameter",
        ),
        ({"stream": "yes"}, "stream", "invalid_type"),
    ],
)
async def test_an_invalid_request_is_rejected_with_its_parameter_and_a_code(
    sim: ModelSim,
    http: aiohttp.ClientSession,
    body: dict[str, Any],
    param: str | None,
    code: str | None,
) -> None:
    """The response is a 400 with OpenAI's error object; the record has the outcome."""
    status, data = await post(http, sim, **body)
    problem = json.loads(data)["error"]
    assert (status, problem["type"]) == (400, "invalid_request_error")
    assert (problem["param"], problem["code"]) == (param, code)
    assert (await sim.last()).outcome == "refused"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "developer", "content": "d"}, *HELLO],
        [{"role": "user", "content": [{"type": "text", "text": "x"}], "name": "Ann_Other"}],
        [
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "x", "tool_call_id": "1"},
        ],
    ],
)
async def test_a_valid_request_is_accepted(
    sim: ModelSim, http: aiohttp.ClientSession, messages: list[dict[str, Any]]
) -> None:
    """Content parts, names, developer messages and answered tool calls are valid."""
    status, data = await post(http, sim, messages=messages)
    assert status == 200, data


async def test_invalid_json_is_rejected(sim: ModelSim, http: aiohttp.ClientSession) -> None:
    """The API answers with 400; the HTTP server must not answer with 500."""
    async with http.post(f"{sim.base_url}/chat/completions", data=b"{") as response:
        assert response.status == 400
        assert "parse the JSON body" in (await response.json())["error"]["message"]


STRICT = [
    ([("user", "a"), ("user", "b")], "must alternate"),
    ([("assistant", "a"), ("user", "b")], "must alternate"),
    ([("user", "a"), ("system", "b")], "must alternate"),
    ([("user", "a"), ("assistant", "b")], "last role"),
    ([("user", "")], "non-empty"),
]


@pytest.mark.parametrize(("turns", "words"), STRICT)
async def test_a_strict_template_rejects_roles_that_do_not_alternate(
    sim: ModelSim, client: openai.AsyncOpenAI, turns: list[tuple[str, str]], words: str
) -> None:
    await sim.models("sim", strict=("strict",))
    messages: Any = [{"role": role, "content": text} for role, text in turns]
    with pytest.raises(openai.BadRequestError, match=words):
        await client.chat.completions.create(model="strict", messages=messages)
    await client.chat.completions.create(model="sim", messages=messages)


async def test_a_reasoning_model_rejects_the_old_limit_and_a_temperature(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """Only older models accept `max_tokens`; all accept `max_completion_tokens`."""
    await sim.models("sim", reasoning=("thinker",))
    create = client.chat.completions.create
    with pytest.raises(openai.BadRequestError) as caught:
        await create(model="thinker", messages=HELLO, max_tokens=5)
    assert (caught.value.param, caught.value.code) == ("max_tokens", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError) as caught:
        await create(model="thinker", messages=HELLO, temperature=0.2)
    assert (caught.value.param, caught.value.code) == ("temperature", "unsupported_value")
    completion = await create(model="thinker", messages=HELLO, max_completion_tokens=2)
    assert completion.choices[0].finish_reason == "length"


async def test_the_key_is_checked_if_one_is_set(
    sim: ModelSim, client: openai.AsyncOpenAI, http: aiohttp.ClientSession
) -> None:
    """A missing header and a wrong key give 401 with different codes, on every route."""
    await sim.key("right")
    assert (await client.models.retrieve("sim")).id == "sim"
    await sim.key("another")
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.chat.completions.create(model="sim", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        await client.models.list()
    status, data = await post(http, sim)
    assert (status, json.loads(data)["error"]["code"]) == (401, None)


async def test_an_unknown_model_is_404(sim: ModelSim, client: openai.AsyncOpenAI) -> None:
    """Completions and `/v1/models/{id}` name the model in the message."""
    with pytest.raises(openai.NotFoundError, match="gpt-nope") as caught:
        await client.chat.completions.create(model="gpt-nope", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="gpt-nope"):
        await client.models.retrieve("gpt-nope")
    assert [model.id async for model in client.models.list()] == ["sim", "sim-2", "org/sim"]
    assert (await client.models.retrieve("org/sim")).id == "org/sim"


async def test_an_unknown_path_is_404_with_the_apis_message(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """A base URL without `/v1` is the usual mistake."""
    async with http.post(f"{sim.url}/chat/completions", json={}) as response:
        assert response.status == 404
        assert "Invalid URL" in (await response.json())["error"]["message"]


async def test_a_request_beyond_the_context_window_is_rejected(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """The limit covers all messages; a request of exactly the limit is accepted."""
    long = [{"role": "system", "content": "s" * 40}, {"role": "user", "content": "u" * 400}]
    await sim.context(count_tokens(long) - 1)
    with pytest.raises(openai.BadRequestError, match=f"resulted in {count_tokens(long)}") as caught:
        await client.chat.completions.create(model="sim", messages=long)
    assert caught.value.code == "context_length_exceeded"
    await sim.context(count_tokens(long))
    await client.chat.completions.create(model="sim", messages=long)


# ── streams ───────────────────────────────────────────────────────────────────────────────────
async def test_a_stream_has_openais_exact_framing(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """The role, a chunk per token, the finish reason, the usage if requested, then `[DONE]`."""
    await sim.say(["Hel", "lo ", "wörld"])
    data = await stream(http, sim, stream_options={"include_usage": True})
    events = data.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    assert all(event.startswith(b"data: {") for event in events[:-2])
    first, *middle, finish, usage = chunks(data)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [c["choices"][0]["delta"] for c in middle] == [
        {"content": text} for text in ("Hel", "lo ", "wörld")
    ]
    assert (finish["choices"][0]["delta"], finish["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 3)
    assert all(each["usage"] is None for each in (first, *middle, finish))
    assert len({each["id"] for each in chunks(data)}) == 1
    assert "wörld".encode() in data


async def test_usage_comes_only_if_requested(sim: ModelSim, http: aiohttp.ClientSession) -> None:
    """Without `include_usage` no chunk has a `usage` key, and every chunk has choices."""
    data = await stream(http, sim)
    assert all(each["choices"] and "usage" not in each for each in chunks(data))


async def test_the_openai_client_reads_the_stream(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """The client's parser returns the text, the finish reason and the usage."""
    await sim.say("The answer, with spaces\nand lines.", match="hello")
    stream = await client.chat.completions.create(
        model="sim", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    received = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in received if c.choices)
    assert text == "The answer, with spaces\nand lines."
    assert received[-2].choices[0].finish_reason == "stop"
    assert received[-1].usage is not None and received[-1].usage.prompt_tokens == count_tokens(
        HELLO
    )


async def test_the_default_answer_counts_and_repeats(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """Without a script, the answer shows which messages arrived."""
    messages: list[Any] = [{"role": "system", "content": "be kind"}, *HELLO]
    whole = await client.chat.completions.create(model="sim", messages=messages)
    text = whole.choices[0].message.content
    assert text == "I received 2 messages; the last one says: hello"


async def test_the_token_limit_ends_an_answer(sim: ModelSim, http: aiohttp.ClientSession) -> None:
    """Both names of the limit work, and the finish reason is `length`."""
    await sim.say([str(k) for k in range(10)])
    for name in ("max_tokens", "max_completion_tokens"):
        got = chunks(await stream(http, sim, **{name: 4}))
        assert len(got) == 1 + 4 + 1
        assert got[-1]["choices"][0]["finish_reason"] == "length"


async def test_reasoning_comes_before_the_text(sim: ModelSim, http: aiohttp.ClientSession) -> None:
    """Reasoning has a separate key, whose name differs between servers."""
    await sim.say(["Yes"], reasoning="Let me")
    deltas = [c["choices"][0]["delta"] for c in chunks(await stream(http, sim))]
    assert deltas[1:4] == [
        {"reasoning_content": "Let"},
        {"reasoning_content": " me"},
        {"content": "Yes"},
    ]
    await sim.dialect(reasoning_key="reasoning")
    assert {"reasoning": "Let"} in [
        c["choices"][0]["delta"] for c in chunks(await stream(http, sim))
    ]


async def test_reasoning_in_the_text_is_between_tags(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """Tags are separate tokens; the opening tag may have been part of the prompt."""
    await sim.say(["Yes"], reasoning="Let me")
    for form, opening in (("tags", ["<think>", "\n"]), ("unopened", [])):
        await sim.dialect(reasoning=form)
        deltas = [c["choices"][0]["delta"] for c in chunks(await stream(http, sim))]
        texts = [delta["content"] for delta in deltas if delta.get("content")]
        assert texts == [*opening, "Let", " me", "\n", "</think>", "\n\n", "Yes"]
        assert not any("reasoning_content" in delta for delta in deltas)


async def test_each_dialect_option_changes_the_framing(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """Each option changes the bytes in the documented way."""
    await sim.say(["a", "b"])

    async def with_dialect(**fields: Any) -> bytes:
        await sim.dialect(**fields)
        return await stream(http, sim, stream_options={"include_usage": True})

    crlf = await with_dialect(newline="\r\n")
    assert crlf.endswith(b"data: [DONE]\r\n\r\n") and b"}\n" not in crlf
    assert b"[DONE]" not in await with_dialect(done=False)
    assert b'"id":' not in await with_dialect(ids=False)
    assert b"data:{" in await with_dialect(space=False)
    assert (await with_dialect(event="message")).startswith(b"event: message\ndata: ")
    finish = chunks(await with_dialect(usage="finish"))[-1]
    assert finish["choices"][0]["finish_reason"] == "stop" and finish["usage"]["total_tokens"]
    assert all(each["usage"] for each in chunks(await with_dialect(usage="every"))[1:])
    assert chunks(await with_dialect(usage="never"))[-1]["choices"]
    assert b"assistant" not in await with_dialect(role="none")
    every = chunks(await with_dialect(role="every"))
    assert every[0]["choices"][0]["delta"] == {"role": "assistant", "content": "a"}
    nulls = chunks(await with_dialect(null_content=True))
    assert nulls[0]["choices"][0]["delta"]["content"] is None


async def test_events_are_merged_into_segments_and_split(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """The reads differ, but the bytes stay the same."""
    await sim.say(["ä", "ö", "ü", "ß"], rate=200)

    async def reads(**fields: Any) -> list[bytes]:
        await sim.dialect(obfuscation=False, **fields)
        body = {"model": "sim", "messages": HELLO, "stream": True}
        async with http.post(f"{sim.base_url}/chat/completions", json=body) as response:
            return [data async for data in response.content.iter_any()]

    async def differ() -> tuple[list[bytes], list[bytes], list[bytes]] | None:
        """Whether the reads differ; retried if a busy machine has read several segments
        together."""
        single, merged, split = await reads(), await reads(per_segment=3), await reads(split=3)
        joined = max(read.count(b"data: ") for read in merged) >= 3
        cut = any(b"data: " not in read for read in split)
        return (
            (single, merged, split)
            if joined and cut and len(merged) < len(single) < len(split)
            else None
        )

    single, merged, split = await sim.until(differ)
    texts = [
        [c["choices"][0]["delta"].get("content") for c in chunks(b"".join(r))]
        for r in (single, merged, split)
    ]
    assert texts[0] == texts[1] == texts[2]


async def test_comments_keep_a_stream_alive(sim: ModelSim, http: aiohttp.ClientSession) -> None:
    """Comment lines come between the role and the first token."""
    await sim.dialect(keepalive=0.02, role="early")
    await sim.say("late", first_delay=0.1)
    data = await stream(http, sim)
    before = data[: data.index(b'"content":"late"')]
    assert before.startswith(b'data: {"id"') and before.count(b": keep-alive\n\n") >= 3


# ── time ──────────────────────────────────────────────────────────────────────────────────────
async def test_tokens_are_written_on_schedule(sim: ModelSim, http: aiohttp.ClientSession) -> None:
    """A late token does not delay the following ones, so there is no drift."""
    await sim.say(["x"] * 40, rate=100, first_delay=0.1)
    await stream(http, sim)
    record = await sim.wait_ended()
    assert record.began is not None and len(record.times) == 40
    late = [at - record.began - (0.1 + k / 100) for k, at in enumerate(record.times)]
    assert min(late) > -0.01
    assert sorted(late)[20] < 0.05, "half of the tokens are late"


async def test_the_same_seed_gives_the_same_jitter() -> None:
    """The gaps are uneven but reproducible; tokens stay in order and do not drift."""

    def offsets(seed: int) -> list[float]:
        answer = Answer(chunks=["x"] * 50, rate=20, first_delay=0.5, jitter=1.0, seed=seed)
        return list(resolve(answer, {"messages": HELLO}, Pace()).offsets())

    first = offsets(4)
    assert first == offsets(4) != offsets(5)
    assert first == sorted(first)
    assert all(0 <= at - (0.5 + k / 20) < 1 / 20 for k, at in enumerate(first))
    gaps = [b - a for a, b in itertools.pairwise(first)]
    assert max(gaps) > 2 * min(gaps)


async def test_a_round_trip_delays_every_token(http: aiohttp.ClientSession) -> None:
    """Half of it passes before the request is received, half before the first byte returns."""
    async with ModelSim(rtt=0.2) as far:
        await far.say(["x", "y"], rate=0, first_delay=0.0)
        started = asyncio.get_running_loop().time()
        await stream(http, far)
        took = asyncio.get_running_loop().time() - started
        record = await far.last()
    assert took >= 0.2
    assert record.times[0] - record.at >= 0.1


async def test_an_answer_pauses_until_it_is_released(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """A test can hold an answer in its middle for as long as it needs to."""
    await sim.say(["a", "b", "c"], wait_at=2, rate=0)
    waiting = asyncio.create_task(stream(http, sim))

    async def two_written() -> bool:
        return len((await sim.last()).texts) == 2

    await asyncio.sleep(0.05)
    await sim.until(two_written)
    assert not waiting.done()
    assert await sim.call("release", match="another question") == 0
    assert await sim.release("hello") == 1
    assert b'"c"' in await waiting


async def test_many_streams_are_open_at_the_same_time(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """Two hundred streams run in one process."""
    await sim.say(["x"] * 10, rate=0, wait_at=3)
    before = len(await sim.streams())

    async def are_open() -> bool:
        return len([one for one in await sim.streams(before) if len(one.times) == 3]) == 200

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as many:
        streams = asyncio.gather(*(stream(many, sim) for _ in range(200)))
        await sim.until(are_open)
        await sim.release()
        await streams
    records = await sim.streams(before)
    assert [record.outcome for record in records] == ["done"] * 200


# ── faults ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ("rate_limited", 429, openai.RateLimitError),
        ("quota", 429, openai.RateLimitError),
        ("server_error", 500, openai.InternalServerError),
        ("bad_gateway", 502, openai.InternalServerError),
        ("unavailable", 503, openai.InternalServerError),
        ("gateway_timeout", 504, openai.InternalServerError),
        ("overloaded", 529, openai.InternalServerError),
        ("bad_key", 401, openai.AuthenticationError),
        ("forbidden", 403, openai.PermissionDeniedError),
        ("unknown_model", 404, openai.NotFoundError),
        ("too_long", 400, openai.BadRequestError),
        ("content_filter", 400, openai.BadRequestError),
    ],
)
async def test_an_error_response_is_sent_once(
    sim: ModelSim,
    client: openai.AsyncOpenAI,
    fault: str,
    status: int,
    error: type[openai.APIStatusError],
) -> None:
    """The next request fails as scripted; the following one is answered."""
    await sim.refuse(fault, retry_after=7 if status == 429 else None)
    with pytest.raises(error) as caught:
        await client.chat.completions.create(model="sim", messages=HELLO)
    assert caught.value.status_code == status
    assert caught.value.response.headers.get("retry-after") == ("7" if status == 429 else None)
    await client.chat.completions.create(model="sim", messages=HELLO)


async def test_a_fault_applies_to_matching_requests_only(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """`match`, `model`, `skip` and `times` select the requests that fail."""
    await sim.refuse("unavailable", match="other")
    await sim.refuse("server_error", model="sim-2", skip=1, times=2)
    create = client.chat.completions.create
    await create(model="sim", messages=HELLO)
    await create(model="sim-2", messages=HELLO)
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            await create(model="sim-2", messages=HELLO)
    await create(model="sim-2", messages=HELLO)
    with pytest.raises(openai.InternalServerError):
        await create(model="sim", messages=[{"role": "user", "content": "the other one"}])


async def test_an_unknown_fault_is_an_error(sim: ModelSim) -> None:
    """A misspelled name must not let a test pass."""
    with pytest.raises(AssertionError, match="no such fault"):
        await sim.refuse("unavailible")
    with pytest.raises(ValueError, match="breaks is one of"):
        Answer(breaks="cutt")


@pytest.mark.parametrize("how", ["cut", "fin"])
async def test_a_cut_connection_fails_in_the_middle(
    sim: ModelSim, http: aiohttp.ClientSession, how: str
) -> None:
    """The text before the cut arrives, and the body is incomplete."""
    await sim.say(["a", "b", "c"], breaks=how, at=2, first_delay=0.02)
    body = {"model": "sim", "messages": HELLO, "stream": True}
    got = b""
    with pytest.raises((aiohttp.ClientPayloadError, ConnectionError)):
        async with http.post(f"{sim.base_url}/chat/completions", json=body) as response:
            async for data in response.content.iter_any():
                got += data
    record = await sim.wait_ended()
    assert (record.outcome, record.texts) == ("broken", ["a", "b"])
    if how == "fin":  # a reset may overtake data in transit
        assert got.count(b'"content":"') == 3


async def test_a_clean_end_looks_complete(sim: ModelSim, http: aiohttp.ClientSession) -> None:
    """`[DONE]` and the finish reason are missing, without a transport error."""
    await sim.say(["a", "b"], breaks="end", at=1)
    data = await stream(http, sim)
    assert b"[DONE]" not in data and b'"finish_reason":"' not in data and b'"a"' in data
    assert (await sim.wait_ended()).outcome == "broken"


@pytest.mark.parametrize(
    ("how", "error"), [("error", openai.APIError), ("bad_json", json.JSONDecodeError)]
)
async def test_a_broken_event_reaches_the_clients_parser(
    sim: ModelSim, client: openai.AsyncOpenAI, how: str, error: type[Exception]
) -> None:
    """An error object or malformed JSON arrives in mid-stream, after text."""
    await sim.break_off(how, at=3)
    stream = await client.chat.completions.create(model="sim", messages=HELLO, stream=True)
    seen = []
    with pytest.raises(error):
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)
    assert len([text for text in seen if text]) == 3


async def test_garbage_fails_to_decode(sim: ModelSim, client: openai.AsyncOpenAI) -> None:
    """Bytes that are not UTF-8 arrive in place of an event."""
    await sim.break_off("garbage", at=1)
    stream = await client.chat.completions.create(model="sim", messages=HELLO, stream=True)
    with pytest.raises(UnicodeDecodeError):
        async for _ in stream:
            pass


async def test_an_empty_answer_has_a_finish_reason(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """A stream without text is valid."""
    await sim.say("", finish_reason="content_filter")
    first, finish = chunks(await stream(http, sim))
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert finish["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(text="never", hold=30),
        Answer(text="never", first_delay=30),
        Answer(text="some of it", breaks="stall", at=1, first_delay=0),
        Answer(text="slow and slower", rate=0.01, first_delay=0),
    ],
    ids=["before the status", "before the first token", "between tokens", "very slow"],
)
async def test_a_disconnected_client_is_noticed(
    sim: ModelSim, http: aiohttp.ClientSession, answer: Answer
) -> None:
    """The record says so within a second, whatever the server is waiting for."""
    before = len(await sim.streams())
    await sim.script(answer)
    task = asyncio.create_task(stream(http, sim))

    async def has_arrived() -> bool:
        return len(await sim.streams(before)) == 1

    await sim.until(has_arrived)
    await asyncio.sleep(0.05)
    task.cancel()
    assert (await sim.wait_ended()).outcome == "disconnected"


async def test_a_dropped_connection_gives_no_answer(
    sim: ModelSim, client: openai.AsyncOpenAI
) -> None:
    """The kit's fault closes the connection before the API receives the request."""
    await sim.drop()
    with pytest.raises(openai.APIConnectionError):
        await client.chat.completions.create(model="sim", messages=HELLO)
    await client.chat.completions.create(model="sim", messages=HELLO)


# ── Hugging Face ──────────────────────────────────────────────────────────────────────────────
async def test_the_hugging_face_client_streams_with_a_provider_in_the_model(sim: ModelSim) -> None:
    """Only the huggingface flavor accepts `model:provider`."""
    await sim.flavor("huggingface")
    async with huggingface_hub.AsyncInferenceClient(base_url=sim.base_url, api_key="x") as hf:
        stream = await hf.chat_completion(HELLO, model="org/sim:fastest", stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == "I received 1 messages; the last one says: hello"
    assert (await sim.last()).body["model"] == "org/sim:fastest"
    await sim.flavor("openai")
    async with huggingface_hub.AsyncInferenceClient(base_url=sim.base_url, api_key="x") as hf:
        with pytest.raises(HfHubHTTPError):
            await hf.chat_completion(HELLO, model="org/sim:fastest")


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("rate_limited", 429, {"error": "Rate limit"}),
        ("overloaded", 429, {"error": "Model is overloaded", "error_type": "overloaded"}),
        ("quota", 402, {"error": "You have exceeded"}),
        ("bad_key", 401, {"error": "Invalid credentials"}),
        ("too_long", 422, {"error": "Input validation error", "error_type": "validation"}),
        ("unknown_model", 400, None),
    ],
)
async def test_the_router_has_its_own_error_format(
    sim: ModelSim,
    http: aiohttp.ClientSession,
    fault: str,
    status: int,
    body: dict[str, str] | None,
) -> None:
    """`error` is a text, except for models that the router does not know."""
    await sim.flavor("huggingface")
    await sim.refuse(fault)
    got_status, data = await post(http, sim)
    got = json.loads(data)
    assert got_status == status
    if body is None:
        assert got["error"]["code"] == "model_not_found"
    else:
        assert got["error"].startswith(body["error"])
        assert got.get("error_type") == body.get("error_type")


# ── images ────────────────────────────────────────────────────────────────────────────────────
PNG = "data:image/png;base64,iVBORw0KGgo="


def looking(url: Any, role: str = "user") -> list[dict[str, Any]]:
    """Messages with an image."""
    return [{"role": role, "content": [{"type": "image_url", "image_url": url}]}]


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (looking(PNG), "invalid_type"),
        (looking({"url": 5}), "invalid_type"),
        (looking({"url": "data:image/png;base64,@"}), "invalid_base64_image"),
        (looking({"url": "image.png"}), "invalid_base64_image"),
        (looking({"url": PNG.replace("png", "jpeg")}), "invalid_image_format"),
        (looking({"url": PNG}, role="assistant"), "invalid_value"),
    ],
)
async def test_images_are_checked_like_the_real_api_does(
    sim: ModelSim, http: aiohttp.ClientSession, messages: Any, code: str
) -> None:
    status, data = await post(http, sim, messages=messages)
    assert (status, json.loads(data)["error"]["code"]) == (400, code)


async def test_images_are_recorded_and_can_be_refused(
    sim: ModelSim, http: aiohttp.ClientSession
) -> None:
    """Some models refuse them, each in its server's format, and servers refuse too many of them."""
    messages = looking({"url": PNG, "detail": "low"})
    assert (await post(http, sim, messages=messages))[0] == 200
    assert [image.data for image in (await sim.last()).images] == [b"\x89PNG\r\n\x1a\n"]
    await sim.images(blind={"sim": "openrouter"}, limit=1)
    assert (await post(http, sim, messages=messages))[0] == 404
    assert (await post(http, sim, messages=messages, model="sim-2"))[0] == 200
    status, data = await post(http, sim, messages=messages * 2, model="sim-2")
    assert status == 400 and b"At most 1 image(s)" in data


# ── transcripts ───────────────────────────────────────────────────────────────────────────────
async def test_a_transcript_has_openais_shapes(sim: ModelSim, client: openai.AsyncOpenAI) -> None:
    """The real client parses both; a file with another extension is rejected."""
    file = ("a.wav", b"RIFF", "audio/wav")
    await sim.speak(Speech(text="Hello there.", segments=[" Hello", " there."]))
    create = client.audio.transcriptions.create
    assert (await create(file=file, model="whisper-1")).text == "Hello there."
    verbose = await create(file=file, model="whisper-1", response_format="verbose_json")
    assert [segment.text for segment in verbose.segments or ()] == [" Hello", " there."]
    with pytest.raises(openai.BadRequestError, match="Invalid file format"):
        await create(file=("a.txt", b"x", "text/plain"), model="whisper-1")
    await sim.key("other")
    with pytest.raises(openai.AuthenticationError):
        await create(file=file, model="whisper-1")
    recordings = await sim.recordings()
    assert [(each.name, each.bytes) for each in recordings[:1]] == [("a.wav", b"RIFF")]
