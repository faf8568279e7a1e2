"""The memory of messages that a platform announces twice."""

from __future__ import annotations

from bot.domain.inbox import Accepted, Receipt
from bot.inbox.order import Place
from bot.inbox.twins import TWIN_SECONDS, Twins
from tests.support.clock import ManualClock
from tests.support.store_kit import said


async def test_only_what_was_stored_a_moment_ago_is_known() -> None:
    clock, place = ManualClock(), Place()
    twins = Twins(clock.monotonic)
    for receipt, known in (
        (Receipt.IGNORED, False),
        (Receipt.REFUSED, False),
        (Receipt.TOO_EARLY, False),
        (Receipt.QUESTION, True),
        (Receipt.HISTORY, True),
    ):
        message = said(list(Receipt).index(receipt))
        assert not await twins.is_stored(message, place)
        twins.received(message, Accepted(receipt))
        assert await twins.is_stored(message, place) is known
        clock.jump(TWIN_SECONDS)
        assert not await twins.is_stored(message, place)
