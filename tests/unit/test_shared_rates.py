"""Questions per minute when several processes accept them."""

from __future__ import annotations

from collections.abc import Iterable

from bot.domain.conversations import TEAM, Author, ConversationKey
from bot.domain.errors import StoreUnavailable
from bot.domain.inbox import CountedQuestion
from bot.domain.policy import Limits, PolicyConfig, PolicyValues
from bot.policy.rates import ASK_SECONDS, QuestionRates
from bot.policy.rules import PolicyRules
from tests.support.clock import ManualClock

KEY, ANN = ConversationKey("sim", "w1", "c1", "t1"), Author("U1", "Ann")


class Elsewhere:
    """What all processes together have stored."""

    def __init__(self) -> None:
        self.questions: list[CountedQuestion] = []
        self.asked, self.fails = 0, False

    async def __call__(self) -> Iterable[CountedQuestion]:
        self.asked += 1
        if self.fails:
            raise StoreUnavailable("away")
        return self.questions


def rates_of(elsewhere: Elsewhere, clock: ManualClock, **limits: int) -> QuestionRates:
    config = PolicyConfig(PolicyValues(limits=Limits(**limits)))
    return QuestionRates(PolicyRules(config), clock, elsewhere)


async def test_questions_at_other_processes_count() -> None:
    """Each question counts once, although the store also has those that this process has
    counted."""
    clock, elsewhere = ManualClock(), Elsewhere()
    rates = rates_of(elsewhere, clock, questions_per_minute=3)
    now = clock.time()
    assert await rates.count(KEY, ANN, now) is None
    elsewhere.questions = [
        CountedQuestion(KEY, ANN.id, now),
        CountedQuestion(KEY, ANN.id, now + 0.1),
        CountedQuestion(KEY, ANN.id, now + 0.2),
    ]
    await clock.advance(ASK_SECONDS)
    assert await rates.count(KEY, ANN, clock.time()) is not None


async def test_a_shared_channel_of_the_page_is_no_second_rate() -> None:
    clock, elsewhere = ManualClock(), Elsewhere()
    rates = rates_of(elsewhere, clock, questions_per_minute=1)
    own, shared = (ConversationKey("web", name, "general", "t") for name in (ANN.id, TEAM))
    assert await rates.count(own, ANN, clock.time()) is None
    assert await rates.count(shared, ANN, clock.time()) is not None
    assert await rates.count(shared, Author("U2", "Ben"), clock.time()) is None


async def test_the_store_is_asked_once_a_second_and_only_where_a_limit_applies() -> None:
    clock, elsewhere = ManualClock(), Elsewhere()
    unlimited = rates_of(elsewhere, clock)
    assert await unlimited.count(KEY, ANN, clock.time()) is None
    assert elsewhere.asked == 0
    rates = rates_of(elsewhere, clock, channel_questions_per_minute=50)
    for _ in range(20):
        await rates.count(KEY, ANN, clock.time())
        await clock.advance(0.1)
    assert elsewhere.asked == 2


async def test_a_failing_database_leaves_the_own_count() -> None:
    clock, elsewhere = ManualClock(), Elsewhere()
    elsewhere.fails = True
    rates = rates_of(elsewhere, clock, questions_per_minute=1)
    assert await rates.count(KEY, ANN, clock.time()) is None
    assert await rates.count(KEY, ANN, clock.time()) is not None
