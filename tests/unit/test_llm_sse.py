"""The event decoder: however the bytes are cut and whatever the server's line ends, same events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.llm.sse import MAX_EVENT_BYTES, EventDecoder, EventTooLong

# Raw UTF-8 with everything that other ways of cutting lines trip over, but no line end.
LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
EVENTS = st.lists(LINES.map(lambda text: f"x{text}".encode()), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def decoded(parts: list[bytes]) -> list[bytes]:
    """All events of these reads."""
    decoder = EventDecoder()
    found = [event for part in parts for event in decoder.feed(part)]
    return found + decoder.flush()


@given(
    EVENTS,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["data: ", "data:"]),
    st.lists(st.integers(0, 10**6), max_size=20),
)
def test_events_do_not_depend_on_cuts_line_ends_or_the_space(
    events: list[bytes], end: str, field: str, cuts: list[int]
) -> None:
    """Cuts may fall into a character, a field's name or a CRLF."""
    newline = end.encode()
    stream = b"".join(
        b": comment" + newline + field.encode() + event + newline * 2 for event in events
    )
    assert decoded(pieces(stream, cuts)) == events


@given(EVENTS)
def test_one_byte_at_a_time_is_the_same_as_all_at_once(events: list[bytes]) -> None:
    """The two extremes: every byte is a read of its own, and one read has everything."""
    stream = b"".join(b"data: " + event + b"\n\n" for event in events)
    assert decoded([bytes([byte]) for byte in stream]) == decoded([stream]) == events


def test_only_data_counts() -> None:
    """Comments, names, ids and retries are passed over; several data lines are one event."""
    stream = b": hello\n\nevent: message\nid: 1\ndata: a\ndata: b\nretry: 5\n\ndatabase: c\n\n"
    assert decoded([stream]) == [b"a\nb"]


def test_an_event_without_data_is_none() -> None:
    """Some proxies send empty ones to keep a connection open."""
    assert decoded([b"data: \n\n"]) == decoded([b"data:\n\n", b"event: ping\n\n"]) == []


def test_an_event_is_given_when_it_is_complete_and_not_later() -> None:
    """A token is not held back until the next one comes."""
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [b"a"]
    assert decoder.feed(b"data: b\r\n\r\n") == [b"b"]
    assert decoder.feed(b"data: c\n\ndata: d\n\nda") == [b"c", b"d"]
    assert decoder.feed(b"ta: e\n\n") == [b"e"]


def test_the_last_event_needs_no_empty_line() -> None:
    """Some servers end with the bare line; nothing comes twice."""
    decoder = EventDecoder()
    assert decoder.feed(b"data: [DONE]") == []
    assert decoder.flush() == [b"[DONE]"]
    assert decoder.flush() == []


def test_an_endless_line_is_an_error() -> None:
    """A server that never ends a line cannot fill the memory, whichever way it tries."""
    with pytest.raises(EventTooLong):
        EventDecoder().feed(b"data: " + b"x" * MAX_EVENT_BYTES)
    decoder = EventDecoder()
    with pytest.raises(EventTooLong):
        for _ in range(20):
            decoder.feed(b"data: " + b"x" * (MAX_EVENT_BYTES // 16) + b"\n")


def test_chunks_without_an_empty_line_between_are_told_apart() -> None:
    """Servers that were tried with line-based clients alone leave it out."""
    data = b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n'
    assert decoded([data]) == [b'{"a":1}', b'{"b":2}', b"[DONE]"]
    assert decoded([b'data: {"a":\ndata: {"b":2}}\n\n']) == [b'{"a":\n{"b":2}}']
