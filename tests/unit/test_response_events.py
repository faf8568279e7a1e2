"""Events of the Responses API: whatever they contain, no part of an answer is silently lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bot.domain.conversations import Message, Role
from bot.domain.errors import ContentRefused, CutOff, ModelError, Overloaded
from bot.domain.model import ChatRequest, Delta, Usage
from bot.llm.chunks import EMPTY, ErrorEvent, MalformedChunk
from bot.llm.error_report import ErrorReport
from bot.llm.images import ImageUploads
from bot.llm.response_events import ResponseEvents
from bot.llm.responses_requests import ResponsesRequests
from bot.llm.stream_timeout import StreamTimeouts
from bot.llm.streaming_model import StreamingModel
from tests.sims.model.answers import make_usage
from tests.sims.model.encoder import Dialect
from tests.sims.model.response_encoder import ResponseEncoder
from tests.support.mutations import mutations

HELLO = ChatRequest((Message(Role.USER, "hello"),))
TEXT = "Hello there, you."
Event = dict[str, Any]


def encoded(finish: str = "stop") -> bytes:
    """A stream as the simulator sends it: a summary, tokens for two messages, the end."""
    body = {"model": "m", "reasoning": {"summary": "auto"}, "instructions": "Be kind."}
    encoder = ResponseEncoder(Dialect(), body, make_usage(9, 4, 2, 3))
    parts = [encoder.role(), encoder.reasoning("Hm"), encoder.reasoning(".")]
    parts += [encoder.content(token) for token in ("Hello ", "there, ", "you.")]
    return b"".join([*parts, encoder.finish(finish), encoder.end()])


def events(finish: str = "stop") -> list[Event]:
    lines = encoded(finish).decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data:")]


class Replayed:
    """An endpoint that answers every request with the same bytes."""

    address, key_setting, address_setting = "example.org", "KEY", "ADDRESS"
    errors: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, sent: Sequence[Any]) -> None:
        self._sent = sent

    @asynccontextmanager
    async def open(
        self, parameters: Mapping[str, Any], images: ImageUploads
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        yield self._reads()

    async def _reads(self) -> AsyncGenerator[bytes]:
        for event in self._sent:
            yield f"event: x\ndata: {json.dumps(event)}\n\n".encode()

    def report(self, error: Exception) -> ErrorReport | None:
        return None

    def is_unreachable(self, error: Exception) -> bool:
        return False

    def is_redirect_loop(self, error: Exception) -> bool:
        return False

    async def aclose(self) -> None:
        """Nothing to close."""


async def receive(sent: Sequence[Any]) -> tuple[list[Delta], ModelError | None]:
    model = StreamingModel(
        name="m",
        model="m",
        endpoint=Replayed(sent),
        builder=ResponsesRequests(),
        make_parser=ResponseEvents,
        timeouts=StreamTimeouts(),
    )
    deltas: list[Delta] = []
    try:
        async for delta in model.stream(HELLO):
            deltas.append(delta)
    except ModelError as error:
        return deltas, error
    return deltas, None


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


# ── whole streams ─────────────────────────────────────────────────────────────────────────────
async def test_a_stream_becomes_text_reasoning_finish_reason_and_usage() -> None:
    deltas, error = await receive(events())
    assert error is None and text(deltas) == TEXT
    assert "".join(delta.reasoning for delta in deltas) == "Hm."
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    assert [delta.usage for delta in deltas if delta.usage] == [Usage(9, 6, 3, 0, 2)]


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
async def test_a_stream_without_its_end_is_cut_off(finish: str) -> None:
    """Wherever it ends, even if everything but the last event arrived."""
    sent = events(finish)
    for length in range(len(sent)):
        deltas, error = await receive(sent[:length])
        assert type(error) is CutOff and TEXT.startswith(text(deltas)), length


async def test_a_stream_without_one_of_its_events_is_whole_or_an_error() -> None:
    """The last event repeats the text, so a missing end is restored, while a gap in it is an
    error."""
    sent = events()
    outcomes = set()
    for index, event in enumerate(sent):
        deltas, error = await receive(sent[:index] + sent[index + 1 :])
        outcomes.add((event["type"], error is None))
        assert error is not None or text(deltas) == TEXT, event["type"]
    assert ("response.completed", False) in outcomes
    assert ("response.created", True) in outcomes


@pytest.mark.parametrize("index", range(len(events())), ids=[e["type"] for e in events()])
async def test_a_mutated_event_costs_the_answer_or_nothing(index: int) -> None:
    """Each field of each event is dropped, null, of another type, or joined by a new one.

    The only exceptions are ModelErrors, and a success has the whole text.
    """
    sent = events()
    tried = list(mutations(sent[index]))
    assert len(tried) > 20
    for k, mutation in enumerate(tried):
        deltas, error = await receive([*sent[:index], mutation.payload, *sent[index + 1 :]])
        assert error is not None or text(deltas) == TEXT, mutation
        for usage in (delta.usage for delta in deltas if delta.usage):
            assert usage.cached_tokens <= usage.input_tokens, mutation
        if k % 50 == 0:
            await asyncio.sleep(0)


async def test_a_mutated_end_of_an_incomplete_answer_never_makes_it_complete() -> None:
    sent = events("length")
    for mutation in mutations(sent[-1]):
        deltas, error = await receive([*sent[:-1], mutation.payload])
        finish = [delta.finish_reason for delta in deltas if delta.finish_reason]
        assert error is not None or finish == ["length"], mutation


# ── single events ─────────────────────────────────────────────────────────────────────────────
def parse(parser: ResponseEvents, kind: str, **fields: Any) -> Delta:
    return parser.parse(json.dumps({"type": kind, **fields}).encode())


def end(parser: ResponseEvents, kind: str = "response.completed", **response: Any) -> Delta:
    return parse(parser, kind, response=response)


@pytest.mark.parametrize(
    "kind",
    ["response.created", "response.queued", "keepalive", "response.output_item.added", "codex.new"],
)
def test_other_events_are_ignored(kind: str) -> None:
    assert parse(ResponseEvents(), kind, item={"type": "a new one"}, delta="text") is EMPTY


@pytest.mark.parametrize("data", [b"null", b"{}", b"[]", b"[DONE]"])
def test_empty_values_are_signs_of_life(data: bytes) -> None:
    """`[DONE]` of a compatible server does not make an answer complete."""
    assert ResponseEvents().parse(data) is EMPTY


@pytest.mark.parametrize("data", [b"7", b'"text"', b"[1]", b'{"type": 5}', b"{", b"<html>"])
def test_what_is_no_event_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedChunk):
        ResponseEvents().parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"error","code":"server_error","message":"no","param":null}',
        b'{"type":"error","error":{"type":"server_error","message":"no"}}',
        b'{"error":{"type":"server_error","message":"no"}}',
        b'{"type":"upstream_error","error":{"code":"server_error","message":"no"}}',
        b'{"type":"response.failed","response":{"error":{"code":"server_error","message":"no"}}}',
        b'{"type":"response.completed","response":{"status":"failed","error":{"code":"server_error"}}}',
    ],
)
def test_errors_have_several_forms_in_a_stream(data: bytes) -> None:
    with pytest.raises(ErrorEvent) as caught:
        ResponseEvents().parse(data)
    assert "server_error" in ErrorReport.parse(None, caught.value.error).codes


async def test_an_error_before_the_text_has_its_class_and_one_after_it_cuts_the_answer() -> None:
    error = {"type": "error", "code": "server_error", "message": "no", "param": None}
    sent = events()
    assert type((await receive([*sent[:2], error]))[1]) is Overloaded
    started = next(k for k, event in enumerate(sent) if event["type"].endswith("output_text.delta"))
    assert type((await receive([*sent[: started + 1], error]))[1]) is CutOff
    refused = error | {"code": "invalid_prompt"}
    assert type((await receive([*sent[:2], refused]))[1]) is ContentRefused


def test_two_messages_are_separated() -> None:
    """Models write a comment before the answer."""
    parser = ResponseEvents()
    first = parse(parser, "response.output_text.delta", delta="Let me see.", output_index=1)
    second = parse(parser, "response.output_text.delta", delta="It is 42.", output_index=2)
    assert (first.text, second.text) == ("Let me see.", "\n\nIt is 42.")
    output = [
        {"type": "message", "content": [{"type": "output_text", "text": each}]}
        for each in ("Let me see.", "It is 42.")
    ]
    assert end(parser, status="completed", output=output).text == ""


def test_parts_of_a_summary_are_separated() -> None:
    parser = ResponseEvents()
    added, delta = "response.reasoning_summary_part.added", "response.reasoning_summary_text.delta"
    pieces = [
        parse(parser, added, summary_index=0),
        parse(parser, delta, delta="First."),
        parse(parser, added, summary_index=1),
        parse(parser, delta, delta="Second."),
    ]
    assert "".join(piece.reasoning for piece in pieces) == "First.\n\nSecond."


def test_reasoning_that_comes_twice_counts_once() -> None:
    """Some servers send the reasoning and a summary with the same words."""
    parser = ResponseEvents()
    assert parse(parser, "response.reasoning_text.delta", delta="Hm.").reasoning == "Hm."
    assert parse(parser, "response.reasoning_summary_text.delta", delta="Hm.") is EMPTY


@pytest.mark.parametrize(
    ("kind", "response", "finish"),
    [
        ("completed", {"status": "completed"}, "stop"),
        ("completed", {}, "stop"),
        (
            "incomplete",
            {"incomplete_details": {"reason": "max_output_tokens"}},
            "max_output_tokens",
        ),
        ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ("completed", {"status": "incomplete", "incomplete_details": None}, None),
        ("incomplete", {"incomplete_details": {"reason": "steered"}}, "steered"),
        ("cancelled", {"status": "cancelled"}, "cancelled"),
        ("completed", {"status": "in_progress"}, "in_progress"),
    ],
)
def test_the_last_event_says_how_the_answer_ended(
    kind: str, response: dict[str, Any], finish: str | None
) -> None:
    reason = end(ResponseEvents(), f"response.{kind}", **response).finish_reason
    assert reason == finish or (finish is None and reason not in (None, "stop"))


def test_a_server_that_sends_no_pieces_still_answers() -> None:
    """The last event has the text."""
    part = {"type": "output_text", "text": "Hello."}
    response = {"status": "completed", "output": [{"type": "message", "content": [part]}]}
    assert end(ResponseEvents(), **response).text == "Hello."
    (document,) = ResponseEvents().split(json.dumps(response).encode())
    assert ResponseEvents().parse(document).text == "Hello."


def test_a_repeated_last_event_adds_no_text() -> None:
    parser = ResponseEvents()
    parse(parser, "response.output_text.delta", delta="Hel")
    part = {"type": "output_text", "text": "Hello."}
    whole = {"status": "completed", "output": [{"type": "message", "content": [part]}]}
    assert [end(parser, **whole).text for _ in range(2)] == ["lo.", ""]


def test_trimmed_blanks_are_no_missing_text() -> None:
    parser = ResponseEvents()
    parse(parser, "response.output_text.delta", delta="\n\nHello \n")
    part = {"type": "output_text", "text": "Hello"}
    whole = {"status": "completed", "output": [{"type": "message", "content": [part]}]}
    assert end(parser, **whole).text == ""


def test_another_document_is_an_error() -> None:
    """The body may be an error object, or a response of another API."""
    for body in ({"error": {"message": "no"}}, {"choices": []}, [1]):
        with pytest.raises(ErrorEvent):
            ResponseEvents().split(json.dumps(body).encode())
