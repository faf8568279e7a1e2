"""Computes the figures of a comparison, for the old answers and for the new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from bot.domain.evaluation import Answer, Case
from bot.domain.feedback import Vote
from bot.evaluation.case_lines import Json, dollars

Pair = tuple[Case, Answer]


@dataclass(frozen=True, slots=True)
class Side:
    """The figures of one side. Seconds are medians and 95th percentiles; None without a value.

    `cost` is the sum of the known costs, in billionths of a dollar; `unpriced` counts the other
    answers.
    """

    models: str
    answers: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: int
    unpriced: int
    first_token: tuple[float | None, float | None]
    total: tuple[float | None, float | None]

    def json(self) -> Json:
        """The figures for the report's JSON file."""
        return {
            "models": self.models,
            "answers": self.answers,
            "failed": self.failed,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "dollars": dollars(self.cost),
            "answers_without_price": self.unpriced,
            "first_token_seconds": {"p50": self.first_token[0], "p95": self.first_token[1]},
            "seconds": {"p50": self.total[0], "p95": self.total[1]},
        }


def side_of(answers: Sequence[Answer]) -> Side:
    """The figures of some answers."""
    models = Counter(answer.model for answer in answers if answer.model)
    usages = [answer.usage for answer in answers if answer.usage is not None]
    costs = [answer.cost for answer in answers if answer.cost is not None]
    return Side(
        models=", ".join(name for name, _ in models.most_common()),
        answers=sum(bool(answer.text) for answer in answers),
        failed=sum(bool(answer.error) for answer in answers),
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cost=sum(costs),
        unpriced=len(answers) - len(costs),
        first_token=_percentiles(answer.first_token_seconds for answer in answers),
        total=_percentiles(answer.seconds for answer in answers if not answer.error),
    )


def votes(cases: Iterable[Case]) -> dict[Vote, int]:
    """The number of votes for and against the old answers."""
    counted = Counter(rating.vote for case in cases for rating in case.ratings)
    return {vote: counted[vote] for vote in Vote}


def _percentiles(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None, None
    return known[(len(known) - 1) // 2], known[ceil(0.95 * len(known)) - 1]
