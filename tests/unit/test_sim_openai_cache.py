"""The simulated prompt cache of OpenAI follows the published rules, at their strictest."""

from __future__ import annotations

import pytest

from tests.sims.model.openai_cache import (
    IDLE_SECONDS,
    MAX_SECONDS,
    REQUESTS_PER_MINUTE,
    OpenAICache,
)

LONG = list(range(2_000))


def test_only_beginnings_hit_in_steps_of_128_from_1024_on() -> None:
    cache = OpenAICache()
    assert cache.look_up("m", "", LONG, 0.0) == 0
    assert cache.look_up("m", "", LONG, 1.0) == 1_920
    assert cache.look_up("m", "", [*LONG[:1_500], *[-1] * 500], 2.0) == 1_408
    assert cache.look_up("m", "", [*LONG[:1_100], *[-2] * 900], 3.0) == 1_024
    assert cache.look_up("m", "", [*LONG[:1_000], *[-3] * 900], 4.0) == 0
    assert cache.look_up("m", "", [-4, *LONG], 5.0) == 0


@pytest.mark.parametrize(("length", "hit"), [(1_023, 0), (1_024, 1_024), (1_151, 1_024)])
def test_short_requests_are_not_cached(length: int, hit: int) -> None:
    cache = OpenAICache()
    for expected in (0, hit):
        assert cache.look_up("m", "", LONG[:length], 0.0) == expected


def test_an_entry_lives_while_it_is_used_but_not_forever() -> None:
    cache = OpenAICache()
    now = 0.0
    cache.look_up("m", "", LONG, now)
    while now + IDLE_SECONDS <= MAX_SECONDS:
        now += IDLE_SECONDS
        assert cache.look_up("m", "", LONG, now) == 1_920
    assert cache.look_up("m", "", LONG, now + IDLE_SECONDS) == 0
    assert cache.look_up("m", "", LONG, now + 3 * IDLE_SECONDS) == 0


def test_the_model_and_the_effort_are_part_of_the_beginning() -> None:
    cache = OpenAICache()
    cache.look_up(("chat", "m", "low"), "", LONG, 0.0)
    assert cache.look_up(("chat", "m", "high"), "", LONG, 1.0) == 0
    assert cache.look_up(("chat", "m", "low"), "", LONG, 2.0) == 1_920


def test_many_conversations_with_one_beginning_share_a_machine_only_by_their_key() -> None:
    """Beyond a number of requests a minute, further ones go to other machines; a key keeps
    conversations apart."""
    shared, keyed = OpenAICache(), OpenAICache()
    lengths = [
        (
            shared.look_up("m", "", LONG, float(k)),
            keyed.look_up("m", f"conversation {k % 10}", LONG, float(k)),
        )
        for k in range(2 * REQUESTS_PER_MINUTE)
    ]
    assert [without for without, _ in lengths].count(0) == 2
    assert all(length == 1_920 for _, length in lengths[10:])
