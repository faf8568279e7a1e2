"""The policy tables of `threadline.toml`: defaults, `[profiles.NAME]`, `[[rules]]`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bot.config import model_names
from bot.config.fields import split
from bot.config.policy_amounts import MAX_DOLLARS, check_amount, parse_amount
from bot.config.policy_references import parse_person, parse_place
from bot.domain.conversations import Effort
from bot.domain.money import USD, Currency
from bot.domain.policy import (
    AnswerMode,
    Budget,
    BudgetScope,
    Controllers,
    Limits,
    Period,
    PersonRef,
    PolicyValues,
    Redaction,
)

MAX_DAYS = 36_500


class Table(BaseModel):
    """A table of the file: its keys are the fields, and all others are rejected."""

    # Without a file, the validators are not needed, so building them is deferred to keep the start
    # fast.
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, defer_build=True
    )


# ── checks ────────────────────────────────────────────────────────────────────────────────────
def _check_place(text: str) -> str:
    parse_place(text)
    return text


def _check_person(text: str) -> str:
    parse_person(text)
    return text


def _as_list(value: Any) -> Any:
    """Wrap a single string in a list."""
    return [value] if isinstance(value, str) else value


def split_text(value: Any) -> Any:
    """Split a string into a list, as in `.env`."""
    return list(split(value)) if isinstance(value, str) else value


_Place = Annotated[str, AfterValidator(_check_place)]
_Person = Annotated[str, AfterValidator(_check_person)]
_Places = Annotated[list[_Place], BeforeValidator(_as_list), Field(min_length=1)]
_People = Annotated[list[_Person], BeforeValidator(_as_list)]
_Name = Annotated[str, AfterValidator(model_names.check_name)]
_Names = Annotated[list[_Name], BeforeValidator(split_text), Field(min_length=1)]
_Count = Annotated[int, Field(ge=1, le=1_000_000)]
# The file has strings where the program uses enum members.
_Effort = Annotated[Effort, Field(strict=False)]
_Mode = Annotated[AnswerMode, Field(strict=False)]
_Controllers = Annotated[Controllers, Field(strict=False)]
_Redactions = Annotated[list[Annotated[Redaction, Field(strict=False)]], BeforeValidator(_as_list)]


def people(texts: list[str]) -> tuple[PersonRef, ...]:
    """Parse references that were already validated."""
    return tuple(map(parse_person, texts))


# ── tables ────────────────────────────────────────────────────────────────────────────────────
class LimitsTable(Table):
    """See `bot.domain.policy.Limits`."""

    questions_per_minute: _Count | None = None
    channel_questions_per_minute: _Count | None = None
    concurrent: _Count | None = None
    channel_concurrent: _Count | None = None


class BudgetTable(Table):
    """What may be spent in a period; see `bot.domain.policy.Budget`."""

    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    per: Annotated[BudgetScope, Field(strict=False)] = BudgetScope.PERSON
    period: Annotated[Period, Field(strict=False)] | None = None
    amount: Annotated[str, AfterValidator(check_amount)] | None = None  # such as `2 € a day`
    dollars: Annotated[float, Field(ge=0, le=MAX_DOLLARS, allow_inf_nan=False)] | None = None
    tokens: Annotated[int, Field(ge=0, le=10**12)] | None = None
    who: _People = Field(default_factory=list)
    then: _Name | None = None

    @model_validator(mode="after")
    def _require_one_amount(self) -> Self:
        if sum(each is not None for each in (self.amount, self.dollars, self.tokens)) != 1:
            raise ValueError("a budget needs exactly one of amount, dollars and tokens")
        written = None if self.amount is None else parse_amount(self.amount)
        if written is not None and written.period is not None:
            if self.period is not None:
                raise ValueError("the amount says the period: delete the line with period")
        elif self.period is None:
            raise ValueError('the period is missing: write period = "day" or "month"')
        return self

    def budget(self, place: str, currency: Currency) -> Budget:
        """Convert to a budget; `place` is the name of the surrounding table, for a budget without a
        name."""
        amount, period = self._money()
        # The name in the books says "dollars" in every currency, because it must stay the same when
        # the currency changes.
        unit = "dollars" if self.tokens is None else "tokens"
        who = ",".join(sorted(text.strip() for text in self.who))
        derived = " ".join(filter(None, (place, str(self.per), str(period), unit, who)))
        return Budget(
            name=self.name or derived,
            scope=self.per,
            period=period,
            amount=amount,
            currency=currency,
            tokens=self.tokens,
            who=people(self.who),
            then=self.then or "",
        )

    def money(self) -> Iterator[tuple[str, str]]:
        """The key that holds the amount of money, and the amount as written, if there is one."""
        if self.amount is not None:
            yield "amount", self.amount
        if self.dollars is not None:
            yield "dollars", f"{Decimal(str(self.dollars)):f} USD"

    def _money(self) -> tuple[Decimal | None, Period]:
        """The amount of money (None for a budget in tokens) and the period."""
        if self.amount is not None:
            written = parse_amount(self.amount)
            return written.value, written.period or self.period or Period.DAY
        amount = None if self.dollars is None else Decimal(str(self.dollars))
        return amount, self.period or Period.DAY


class Values(Table):
    """Values that the top level, a profile or a rule may set; None or empty if not set."""

    effort: _Effort | None = None
    prompt: str | None = None  # a path
    answers: _Mode | None = None
    controls: _Controllers | None = None
    allow: _People | None = None
    block: _People = Field(default_factory=list)
    admins: _People = Field(default_factory=list)
    limits: LimitsTable | None = None
    budgets: list[BudgetTable] = Field(default_factory=list)
    retention_days: Annotated[int, Field(ge=0, le=MAX_DAYS)] | None = None
    redact: _Redactions | None = None
    feedback: bool | None = None
    instructions: bool | None = None
    share: bool | None = None

    @property
    def model_names(self) -> list[str]:
        """The models in order of preference; empty if the table names none."""
        return []

    def values(self, *, prompt: str | None, place: str, currency: Currency = USD) -> PolicyValues:
        """Convert to the policy's values, with the text of the prompt file.

        `place` is the name of the table, for budgets without a name; amounts are in `currency`.
        """
        limits = None if self.limits is None else Limits(**self.limits.model_dump())
        return PolicyValues(
            model=",".join(self.model_names) or None,
            effort=self.effort,
            prompt=prompt,
            temperature=getattr(self, "temperature", None),
            answers=self.answers,
            controls=self.controls,
            allow=None if self.allow is None else people(self.allow),
            block=people(self.block),
            admins=people(self.admins),
            limits=limits,
            budgets=tuple(budget.budget(place, currency) for budget in self.budgets),
            retention_days=self.retention_days,
            redact=None if self.redact is None else frozenset(self.redact) | {Redaction.KEYS},
            feedback=self.feedback,
            instructions=self.instructions,
            share=self.share,
        )


class Profile(Values):
    """Named values. At the top level, `llm` takes the place of `model`, and TEMPERATURE is set in
    `.env`."""

    model: _Names | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None

    @property
    def model_names(self) -> list[str]:
        """See `Values.model_names`."""
        return self.model or []


class RuleTable(Profile):
    """Values for certain places. The rule's own values win over its profile's."""

    where: _Places
    profile: str | None = None
