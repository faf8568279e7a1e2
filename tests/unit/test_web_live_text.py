"""The growing text of a reply on its way to another process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.web.live_text import MAX_BYTES, Assembly, Differences, LiveState, decode, encode

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
STATES = st.lists(st.builds(LiveState, ANY, ANY, st.booleans()), min_size=1, max_size=6)


@given(STATES, st.integers(1, 4))
def test_a_reader_shows_each_state_that_was_sent(states: list[LiveState], most: int) -> None:
    """A text may not continue the previous one, or may need several pieces."""
    sent, received = Differences(7, 1, {"user": "ann"}), Assembly(1)
    for state in states:
        shown = None
        while not sent.is_sent(state):
            for piece in sent.pieces(state, most):
                arrived = decode(encode(piece))
                assert arrived == piece
                shown = received.add(arrived) or shown
        assert shown is None or shown == state
    assert received.add(next(sent.pieces(LiveState("the end"), 9))) == LiveState("the end")


def test_pieces_have_bounded_sizes_and_are_shown_together() -> None:
    """Characters that take up to twelve bytes each, in a text longer than one pass sends."""
    text, note = "\U0001f600\x00é" * 40_000, "n" * 200
    sent, received = Differences(7, 1, {"user": "u" * 100, "thread": "t" * 36}), Assembly(1)
    state, shown, passes = LiveState(text, note), [], 0
    while not sent.is_sent(state):
        passes += 1
        for piece in sent.pieces(state, 64):
            assert len(encode(piece)) <= MAX_BYTES
            shown.append(received.add(piece))
    assert passes > 1
    assert shown[-1] == state
    assert set(shown[:-1]) == {None}


def test_a_missing_piece_is_noticed() -> None:
    sent, received = Differences(7, 1, {}), Assembly(1)
    received.add(next(sent.pieces(LiveState("one"), 1)))
    next(sent.pieces(LiveState("one two"), 1))
    third = next(sent.pieces(LiveState("one two three"), 1))
    try:
        received.add(third)
    except ValueError:
        whole = next(Differences(7, 1, {}).pieces(LiveState("one two three"), 1))
        assert received.add(whole) == LiveState("one two three")
    else:
        raise AssertionError("it was not noticed")


def test_what_another_version_sends_is_ignored() -> None:
    assert decode("no piece") is None
    assert decode('{"turn":1}') is None
    assert decode('{"colour":"red"}') is None
