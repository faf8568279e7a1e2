"""From an event's data to a Delta: what is no text of the answer never becomes text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.domain.model import Delta, Usage
from bot.llm.chunks import DONE, NOTHING, ErrorEvent, Malformed, read_chunk


def read(delta: dict[str, Any] | None, **fields: Any) -> Delta:
    """The Delta of a chunk with one choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": None, **fields}
    return read_chunk(json.dumps({"choices": [choice]}).encode())


def test_text_is_taken_as_it_is() -> None:
    """Spaces and line ends belong to it."""
    assert read({"content": " a\n"}) == Delta(text=" a\n")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_no_text(key: str) -> None:
    """Whatever the server calls it."""
    assert read({key: "hm", "content": None}) == Delta(reasoning="hm")


def test_reasoning_as_an_object_is_its_text() -> None:
    """Gateways to Bedrock send one; a signature, or what is encrypted, says nothing."""
    assert read({"reasoning_content": {"text": "hm"}}) == Delta(reasoning="hm")
    assert read({"reasoning_content": {"signature": "x"}, "content": "a"}) == Delta(text="a")


def test_reasoning_in_both_fields_counts_once() -> None:
    assert read({"reasoning_content": "hm", "reasoning": "hm"}) == Delta(reasoning="hm")


def test_reasoning_parts_are_told_apart_from_text_parts() -> None:
    """Content may be a list, in which thoughts and text are mixed."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "yes"},
    ]
    assert read({"content": parts}) == Delta(text="yes", reasoning="hm")


def test_a_refusal_is_what_the_model_says() -> None:
    """It comes in a field of its own, and people should read it."""
    assert read({"refusal": "I cannot help with that."}).text == "I cannot help with that."


@pytest.mark.parametrize(
    "delta", [{"role": "assistant", "content": ""}, {"content": None}, {}, None]
)
def test_a_chunk_that_says_nothing_is_nothing(delta: dict[str, Any] | None) -> None:
    """A role, an empty text and an empty delta are no tokens."""
    assert read(delta) is NOTHING


def test_the_finish_reason_comes_with_or_without_text() -> None:
    """Both forms exist."""
    assert read({}, finish_reason="stop") == Delta(finish_reason="stop")
    assert read({"content": "x"}, finish_reason="length") == Delta("x", "", "length")


def test_usage_comes_without_choices_or_with_them() -> None:
    """OpenAI sends a chunk of its own; others put it next to the finish reason."""
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    alone = json.dumps({"choices": [], "usage": usage}).encode()
    assert read_chunk(alone) == Delta(usage=Usage(7, 3))
    choice = {"delta": {}, "finish_reason": "stop"}
    both = json.dumps({"choices": [choice], "usage": usage}).encode()
    assert read_chunk(both) == Delta(finish_reason="stop", usage=Usage(7, 3))
    assert read_chunk(b'{"choices":[],"usage":null}') is NOTHING


def test_done_is_told_apart_from_nothing() -> None:
    """Both are empty; only one ends the stream."""
    assert read_chunk(b"[DONE]") is DONE
    assert DONE is not NOTHING


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
def test_what_is_no_chunk_is_malformed(data: bytes) -> None:
    """One error for everything that is not understood, and no other."""
    with pytest.raises(Malformed):
        read_chunk(data)


def test_an_error_event_carries_the_providers_object() -> None:
    """As an object or as a text."""
    with pytest.raises(ErrorEvent) as caught:
        read_chunk(b'{"error": {"message": "no", "code": 502}}')
    assert caught.value.error == {"message": "no", "code": 502}
    with pytest.raises(ErrorEvent) as caught:
        read_chunk(b'{"error": "no"}')
    assert caught.value.error == "no"


def test_half_of_a_surrogate_pair_is_left_to_be_joined() -> None:
    """A whole pair is its character."""
    half = read_chunk(b'{"choices":[{"delta":{"content":"a\\ud83d"}}]}').text
    assert ascii(half) == r"'a\ud83d'"
    whole = read_chunk(b'{"choices":[{"delta":{"content":"\\ud83d\\ude00"}}]}').text
    assert whole == "\N{GRINNING FACE}"


def test_a_second_answer_is_not_mixed_into_the_first() -> None:
    """One was asked for; some gateways send more, in one chunk or by turns."""
    one, other = ({"index": i, "delta": {"content": str(i)}} for i in (0, 1))
    for choices, text in (([other, one], "0"), ([one, other], "0"), ([None, one], "0")):
        assert read_chunk(json.dumps({"choices": choices}).encode()) == Delta(text=text)
    assert read_chunk(json.dumps({"choices": [other]}).encode()) is NOTHING


@pytest.mark.parametrize("count", ["1e400", "-1", "10e30", '"many"', "[]", "NaN"])
def test_a_count_that_is_none_costs_no_answer(count: str) -> None:
    """Nor can the database store every number."""
    chunk = (
        '{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":%s}}'
    )
    assert read_chunk((chunk % count).encode()) == Delta("a", usage=Usage(3, 0))
    assert read_chunk(b'{"choices":[],"usage":[1]}') is NOTHING


def test_what_is_nested_without_end_is_malformed() -> None:
    """Python's parser gives up in a way of its own."""
    with pytest.raises(Malformed):
        read_chunk(b'{"choices":' + b"[" * 100_000)


def test_parts_that_are_none_are_left_out() -> None:
    parts = [None, 5, {"type": "text", "text": None}, {"type": "text", "text": "a"}]
    assert read({"content": parts}) == Delta(text="a")


@pytest.mark.parametrize("data", [b"null", b"[]", b"{}"])
def test_an_empty_value_says_nothing(data: bytes) -> None:
    assert read_chunk(data) is NOTHING
