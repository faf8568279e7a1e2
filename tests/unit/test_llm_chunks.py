"""Parsing a chunk into a Delta: other fields never become text of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.domain.model import Delta, Usage
from bot.llm.chunks import DONE, EMPTY, ChunkParser, ErrorEvent, MalformedChunk, parse_chunk


def parse(delta: dict[str, Any] | None, **fields: Any) -> Delta:
    """The Delta of a chunk with one choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": None, **fields}
    return parse_chunk(json.dumps({"choices": [choice]}).encode())


def test_text_is_unchanged() -> None:
    """Spaces and line breaks are part of it."""
    assert parse({"content": " a\n"}) == Delta(text=" a\n")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_separate_from_text(key: str) -> None:
    """Servers use different names for the field."""
    assert parse({key: "hm", "content": None}) == Delta(reasoning="hm")


def test_a_reasoning_object_becomes_its_text() -> None:
    """Gateways to Bedrock send objects; signatures and encrypted reasoning are dropped."""
    assert parse({"reasoning_content": {"text": "hm"}}) == Delta(reasoning="hm")
    assert parse({"reasoning_content": {"signature": "x"}, "content": "a"}) == Delta(text="a")


def test_reasoning_repeated_in_two_fields_counts_once() -> None:
    assert parse({"reasoning_content": "hm", "reasoning": "hm"}) == Delta(reasoning="hm")


def test_reasoning_parts_are_separated_from_text_parts() -> None:
    """Content may be a list that mixes reasoning and text."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "yes"},
    ]
    assert parse({"content": parts}) == Delta(text="yes", reasoning="hm")


def test_a_refusal_is_text() -> None:
    """The refusal comes in a separate field, and people should read it."""
    assert parse({"refusal": "I cannot help with that."}).text == "I cannot help with that."


@pytest.mark.parametrize(
    "delta", [{"role": "assistant", "content": ""}, {"content": None}, {}, None]
)
def test_a_chunk_without_content_is_empty(delta: dict[str, Any] | None) -> None:
    """A role, an empty text and an empty delta are not tokens."""
    assert parse(delta) is EMPTY


def test_the_finish_reason_comes_with_or_without_text() -> None:
    assert parse({}, finish_reason="stop") == Delta(finish_reason="stop")
    assert parse({"content": "x"}, finish_reason="length") == Delta("x", "", "length")


def test_usage_comes_without_choices_or_with_them() -> None:
    """OpenAI sends a separate chunk; others put it next to the finish reason."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    alone = json.dumps({"choices": [], "usage": usage}).encode()
    assert parse_chunk(alone) == Delta(usage=Usage(7, 3))
    choice = {"delta": {}, "finish_reason": "stop"}
    both = json.dumps({"choices": [choice], "usage": usage}).encode()
    assert parse_chunk(both) == Delta(finish_reason="stop", usage=Usage(7, 3))
    assert parse_chunk(b'{"choices":[],"usage":null}') is EMPTY


def test_done_differs_from_empty() -> None:
    """Both have no content; only one ends the stream."""
    assert parse_chunk(b"[DONE]") is DONE
    assert DONE is not EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"choices": 5}',
        b'{"choices": ["x"]}',
        b'{"choices": [{"delta": {"content": 5}}]}',
        b"<html></html>",
    ],
)
def test_invalid_data_is_malformed(data: bytes) -> None:
    """One exception covers every kind of invalid data."""
    with pytest.raises(MalformedChunk):
        parse_chunk(data)


def test_an_error_event_carries_the_providers_object() -> None:
    """The error is an object or a text."""
    with pytest.raises(ErrorEvent) as caught:
        parse_chunk(b'{"error": {"message": "no", "code": 502}}')
    assert caught.value.error == {"message": "no", "code": 502}
    with pytest.raises(ErrorEvent) as caught:
        parse_chunk(b'{"error": "no"}')
    assert caught.value.error == "no"


def test_half_of_a_surrogate_pair_is_kept_for_joining() -> None:
    """A complete pair becomes its character."""
    half = parse_chunk(b'{"choices":[{"delta":{"content":"a\\ud83d"}}]}').text
    assert ascii(half) == r"'a\ud83d'"
    whole = parse_chunk(b'{"choices":[{"delta":{"content":"\\ud83d\\ude00"}}]}').text
    assert whole == "\N{GRINNING FACE}"


def test_a_second_choice_is_ignored() -> None:
    """We request one; some gateways send more, in one chunk or in alternating chunks."""
    one, other = ({"index": i, "delta": {"content": str(i)}} for i in (0, 1))
    for choices, text in (([other, one], "0"), ([one, other], "0"), ([None, one], "0")):
        assert parse_chunk(json.dumps({"choices": choices}).encode()) == Delta(text=text)
    assert parse_chunk(json.dumps({"choices": [other]}).encode()) is EMPTY


@pytest.mark.parametrize("count", ["1e400", "-1", "10e30", '"many"', "[]", "NaN"])
def test_an_invalid_token_count_becomes_zero(count: str) -> None:
    """An invalid count must not cost the answer, and the database cannot store every number."""
    chunk = (
        '{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":%s}}'
    )
    assert parse_chunk((chunk % count).encode()) == Delta("a", usage=Usage(3, 0))
    assert parse_chunk(b'{"choices":[],"usage":[1]}') is EMPTY


def test_excessive_nesting_is_malformed() -> None:
    """Python's parser raises RecursionError."""
    with pytest.raises(MalformedChunk):
        parse_chunk(b'{"choices":' + b"[" * 100_000)


def test_invalid_parts_are_dropped() -> None:
    parts = [None, 5, {"type": "text", "text": None}, {"type": "text", "text": "a"}]
    assert parse({"content": parts}) == Delta(text="a")


@pytest.mark.parametrize("data", [b"null", b"[]", b"{}"])
def test_an_empty_value_is_an_empty_chunk(data: bytes) -> None:
    assert parse_chunk(data) is EMPTY


def test_zeros_are_no_usage() -> None:
    """They would settle an answer that a person stopped at no cost."""
    zeros = {
        "choices": [{"delta": {"content": "a"}}],
        "usage": {"total_tokens": 0, "characters": 0},
    }
    assert parse_chunk(json.dumps(zeros).encode()) == Delta("a")


def chunk(**choice: Any) -> bytes:
    """A chunk with one choice."""
    return json.dumps({"choices": [{"index": 0, **choice}]}).encode()


@pytest.mark.parametrize(
    ("whole", "rest"),
    [("Yes, yes.", ""), (" Yes, yes.\n", ""), ("Yes, yes. No.", " No."), ("Other.", "Other.")],
)
def test_a_whole_message_after_its_pieces_adds_only_what_is_new(whole: str, rest: str) -> None:
    """MiniMax and some gateways end a stream with it."""
    parser = ChunkParser()
    for piece in ("Yes,", " yes."):
        parser.parse(chunk(delta={"content": piece}))
    last = parser.parse(chunk(message={"content": whole}, finish_reason="stop"))
    assert last == Delta(rest, finish_reason="stop")


def test_a_last_piece_that_equals_the_text_so_far_is_not_a_repetition() -> None:
    parser = ChunkParser()
    parts = [
        parser.parse(chunk(delta={"content": "ha"}, finish_reason=end)) for end in (None, "stop")
    ]
    assert "".join(part.text for part in parts) == "haha"
