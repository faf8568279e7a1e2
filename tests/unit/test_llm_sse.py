"""Decoding server-sent events: neither split bytes nor line endings change the events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.llm.sse import MAX_EVENT_BYTES, EventDecoder, EventTooLong

# Any UTF-8, including separators at which str.splitlines would split, but no line ending.
LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
EVENTS = st.lists(LINES.map(lambda text: f"x{text}".encode()), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, split at these positions."""
    positions = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(positions)]


def decode(reads: list[bytes]) -> list[bytes]:
    """All events of these reads."""
    decoder = EventDecoder()
    events = [event for data in reads for event in decoder.feed(data)]
    return events + decoder.flush()


@given(
    EVENTS,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["data: ", "data:"]),
    st.lists(st.integers(0, 10**6), max_size=20),
)
def test_events_do_not_depend_on_splits_line_endings_or_the_space(
    events: list[bytes], end: str, field: str, cuts: list[int]
) -> None:
    """A split may fall inside a character, a field name or a CRLF."""
    newline = end.encode()
    stream = b"".join(
        b": comment" + newline + field.encode() + event + newline * 2 for event in events
    )
    assert decode(pieces(stream, cuts)) == events


@given(EVENTS)
def test_single_byte_reads_give_the_same_events_as_one_read(events: list[bytes]) -> None:
    stream = b"".join(b"data: " + event + b"\n\n" for event in events)
    assert decode([bytes([byte]) for byte in stream]) == decode([stream]) == events


def test_only_data_fields_make_events() -> None:
    """Comments, names, ids and retries are ignored; several data lines form one event."""
    stream = b": hello\n\nevent: message\nid: 1\ndata: a\ndata: b\nretry: 5\n\ndatabase: c\n\n"
    assert decode([stream]) == [b"a\nb"]


def test_an_event_without_data_is_ignored() -> None:
    """Some proxies send empty events to keep a connection open."""
    assert decode([b"data: \n\n"]) == decode([b"data:\n\n", b"event: ping\n\n"]) == []


@pytest.mark.parametrize("name", ["ping", "keepalive", "heartbeat"])
def test_the_data_of_a_heartbeat_is_ignored(name: str) -> None:
    """Older sse-starlette sends the time in it; the next event counts again."""
    heartbeat = f"event: {name}\r\ndata: 2026-04-27 01:35:43.686476\r\n\r\n".encode()
    assert decode([heartbeat + b"data: a\n\n"]) == [b"a"]
    assert decode([heartbeat[:20], heartbeat[20:], b"data: a\n\n"]) == [b"a"]


def test_an_event_is_returned_as_soon_as_it_is_complete() -> None:
    """A token does not wait for the next one."""
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [b"a"]
    assert decoder.feed(b"data: b\r\n\r\n") == [b"b"]
    assert decoder.feed(b"data: c\n\ndata: d\n\nda") == [b"c", b"d"]
    assert decoder.feed(b"ta: e\n\n") == [b"e"]


def test_the_last_event_needs_no_empty_line() -> None:
    """Some servers omit it; no event is returned twice."""
    decoder = EventDecoder()
    assert decoder.feed(b"data: [DONE]") == []
    assert decoder.flush() == [b"[DONE]"]
    assert decoder.flush() == []


def test_an_endless_event_is_an_error() -> None:
    """A server that never ends a line or an event cannot exhaust the memory."""
    with pytest.raises(EventTooLong):
        EventDecoder().feed(b"data: " + b"x" * MAX_EVENT_BYTES)
    decoder = EventDecoder()
    with pytest.raises(EventTooLong):
        for _ in range(20):
            decoder.feed(b"data: " + b"x" * (MAX_EVENT_BYTES // 16) + b"\n")


def test_chunks_without_an_empty_line_between_them_are_separated() -> None:
    """Servers that were tested only with line-based clients omit it."""
    data = b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n'
    assert decode([data]) == [b'{"a":1}', b'{"b":2}', b"[DONE]"]
    assert decode([b'data: {"a":\ndata: {"b":2}}\n\n']) == [b'{"a":\n{"b":2}}']
