"""The bench's measurements: ages, percentiles and kinds of requests from records."""

from __future__ import annotations

import pytest

from tests.bench import age
from tests.bench.age import Sight, Version


def test_words_are_matched_across_any_text_between_them() -> None:
    """Every chunk's number can be read from any rendering that preserves words."""
    text = "".join(age.chunks(800))
    assert age.words(text) == set(range(800))
    assert age.words(text.replace(" ", "\n> ")) == set(range(800))
    assert age.words("What is a quay?") == set()


def test_a_gap_between_two_messages_hides_what_follows_it() -> None:
    """Text counts as seen up to the first word that is missing on the screen."""
    parts = age.chunks(6)
    versions = [
        Version(1.0, "a", "".join(parts[:2])),
        Version(2.0, "b", "".join(parts[4:])),
        Version(3.0, "a", "".join(parts[:4])),
    ]
    assert age.sights(versions) == [Sight(1.0, 2), Sight(3.0, 6)]


def test_age_rises_from_the_oldest_unseen_chunk_to_its_showing() -> None:
    """Chunks at 0, 1 and 2; two are visible at 1.5, all at 3: the ramps are 0-1.5 and 0-1."""
    found = age.aged((0.0, 1.0, 2.0), [Sight(1.5, 2), Sight(3.0, 3)], until=9.0)
    assert found.ramps == ((0.0, 1.5), (0.0, 1.0))
    assert found.mean == pytest.approx((1.5**2 / 2 + 0.5) / 3)
    assert (found.first, found.last) == (1.5, 1.0)


def test_text_written_during_an_edit_has_an_age_when_the_edit_arrives() -> None:
    """An edit at 1.5 shows the text written by 0; the chunk written at 1 is then half a second
    old."""
    found = age.aged((0.0, 1.0), [Sight(1.5, 1), Sight(2.0, 2)], until=9.0)
    assert found.ramps == ((0.0, 1.5), (0.5, 1.0))


def test_a_reply_that_is_never_complete_ages_until_the_end() -> None:
    """It has no `last`, and its age keeps growing."""
    found = age.aged((0.0, 1.0), [Sight(0.5, 1)], until=5.0)
    assert found.last is None
    assert found.ramps == ((0.0, 0.5), (0.0, 4.0))


def test_a_percentile_is_over_time() -> None:
    """For one ramp from 0 to 10 in 10 s, 95 % of the time is spent below 9.5."""
    found = age.aged((0.0,), [Sight(10.0, 1)], until=10.0)
    assert age.percentile([found], 0.95) == pytest.approx(9.5, abs=1e-3)
    assert age.percentile([found, found], 0.5) == pytest.approx(5.0, abs=1e-3)


def test_requests_are_counted_by_kind_with_their_429s() -> None:
    """Discord's routes get a word that we chose; Slack's methods keep their names."""
    asked = [
        {"method": "POST", "path": "/api/v10/channels/1/messages", "status": 200},
        {"method": "PATCH", "path": "/api/v10/channels/1/messages/2", "status": 429},
        {"method": "POST", "path": "/api/v10/channels/1/messages/2/threads", "status": 201},
        {"method": "GET", "path": "/api/v10/users/@me", "status": 200},
        {"method": "POST", "path": "/api/chat.update", "status": 429},
    ]
    assert age.kinds(asked) == {
        "chat.update": (1, 1),
        "edit": (1, 1),
        "other": (1, 0),
        "post": (1, 0),
        "thread": (1, 0),
    }
