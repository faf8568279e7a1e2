"""The effect of a rejected output limit on later answers."""

from __future__ import annotations

from bot.domain.conversations import Message, Role
from bot.domain.model import ChatRequest
from bot.llm.error_report import ErrorReport
from bot.llm.output_limit import MIN_ANSWER_TOKENS, OutputLimit
from bot.llm.token_counts import TokenCounts, parse_token_counts

LIMIT = 4_096


def question(tokens: int) -> ChatRequest:
    """A request with about this many tokens."""
    return ChatRequest((Message(Role.USER, "abc" * tokens),), max_tokens=LIMIT)


def learn(limits: OutputLimit, text: str, request: ChatRequest, *, too_long: bool) -> bool:
    """Learn from a rejection with status 400."""
    counts = parse_token_counts(ErrorReport.parse(400, text))
    limit = limits.apply(request, LIMIT)
    return limits.learn(counts, text, limit, request, too_long=too_long)


def test_a_maximum_for_answers_counts_for_all_requests() -> None:
    limits = OutputLimit()
    assert learn(limits, "max_tokens: 4096 > 1024", question(9), too_long=False)
    assert limits.apply(question(9), LIMIT) == 1_024
    assert limits.apply(question(9), 500) == 500


def test_a_range_of_another_parameter_is_no_limit() -> None:
    """A limit of one token would end every later answer after its first word."""
    text = "temperature is 3.0 but the supported range is from 0 (inclusive) to 2 (exclusive)"
    limits = OutputLimit()
    assert not learn(limits, text, question(9), too_long=False)
    assert not limits.learn(TokenCounts(max_output=5), text, LIMIT, question(9), too_long=False)
    assert limits.apply(question(9), LIMIT) == LIMIT


def test_a_prompt_that_leaves_little_room_does_not_shorten_later_answers() -> None:
    """The server counts more tokens than our estimate."""
    limits, long = OutputLimit(), question(3_000)
    text = (
        "input length and `max_tokens` exceed context limit: 7500 + 4096 > 8192, decrease input"
        " length or `max_tokens` and try again"
    )
    assert learn(limits, text, long, too_long=True)
    assert MIN_ANSWER_TOKENS <= limits.apply(long, LIMIT) <= 8_192 - 7_500
    assert limits.apply(question(9), LIMIT) > 3_000


def test_a_prompt_that_is_too_long_without_numbers_does_not_shorten_later_answers() -> None:
    """Each attempt halves the answer without success; a short question still gets a long answer."""
    limits, long = OutputLimit(), question(20_000)
    text = "The prompt plus max_tokens is too large for the context window."
    tries = 0
    while learn(limits, text, long, too_long=True):
        tries += 1
    assert 1 < tries < 6 and limits.apply(long, LIMIT) <= 2 * MIN_ANSWER_TOKENS
    assert limits.apply(question(9), LIMIT) == LIMIT


def test_a_limit_that_is_too_large_without_numbers_is_halved() -> None:
    limits = OutputLimit()
    assert learn(limits, "max_tokens is too large", question(9), too_long=False)
    assert limits.apply(question(9), LIMIT) == LIMIT // 2
