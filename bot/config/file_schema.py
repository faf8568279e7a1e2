"""The contents of `threadline.toml`, as tables of validated values.

`docs/threadline.toml` explains every key; a test compares it with these classes.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bot.config import model_names
from bot.config.policy_amounts import check_currency, check_rate
from bot.config.policy_schema import Profile, RuleTable, Table, Values, split_text
from bot.config.problems import quote
from bot.config.variables import referenced_name
from bot.domain.model import BUILT_IN, ModelFacts
from bot.domain.model import Prices as ModelPrices

NO_KEY_IN_FILE = (
    "write env:NAME, where NAME is a variable of the environment or .env: the key itself must not "
    "be in this file"
)

# Names of headers and parameters whose value is a key.
_CREDENTIAL = re.compile(r"auth|key|token|secret|password|cookie|credential", re.IGNORECASE)
_PROFILE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,50}")
# RFC 9110, section 5.6.2: the characters of a header's name.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


# ── checks ────────────────────────────────────────────────────────────────────────────────────
def _check_provider_name(name: str) -> str:
    if name in BUILT_IN or not model_names.PROVIDER_NAME.fullmatch(name):
        raise ValueError(
            "a provider's name consists of letters, digits, . _ and -, and is neither demo nor echo"
        )
    return name


def _check_profile_name(name: str) -> str:
    if not _PROFILE_NAME.fullmatch(name):
        raise ValueError("a profile's name consists of letters, digits, . _ and -")
    return name


def _check_address(value: str) -> str:
    """Check an address. The message never repeats it: its user part or query may be a secret."""
    try:
        parts = urlsplit(value)
        ok = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        ok = False
    if not ok:
        raise ValueError("this is not an address: it must start with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("write the address without a user name and password; use key or headers")
    if parts.query or parts.fragment or any(character.isspace() for character in value):
        raise ValueError("write the address without ?, # and spaces; parameters belong in query")
    return value.rstrip("/")


def _check_key(value: str) -> str:
    if referenced_name(value) is None:
        raise ValueError(NO_KEY_IN_FILE)
    return value


def _check_extras(values: dict[str, str]) -> dict[str, str]:
    """Check headers or parameters: no keys, and nothing that a client refuses to send."""
    for name, value in values.items():
        if referenced_name(value) is not None:
            continue
        if value.strip().startswith("env:") or _CREDENTIAL.search(name):
            raise ValueError(f"{name}: {NO_KEY_IN_FILE}")
        if not is_sendable(value):
            raise ValueError(f"{name}: the value must be one line of ASCII characters")
    return values


def _check_headers(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        if not _HEADER_NAME.fullmatch(name):
            shown = quote(name.partition(":")[0])  # after a colon, there may be a key
            raise ValueError(f"{shown} is not the name of a header: write NAME = VALUE")
    return _check_extras(values)


def is_sendable(value: str) -> bool:
    """Whether a client accepts this value in a header."""
    return value.isascii() and value.isprintable()


def _require_any(names: list[str]) -> list[str]:
    """Reject an empty list, which would silently mean demo."""
    if not names:
        raise ValueError("name a model, or delete this line")
    return names


# ── tables ────────────────────────────────────────────────────────────────────────────────────
_Name = Annotated[str, AfterValidator(model_names.check_name)]
_Choice = Annotated[str, AfterValidator(model_names.check_choice)]
_Tokens = Annotated[int, Field(ge=1, le=1_000_000_000)]
_Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Kind = Literal["openai", "openai-responses", "anthropic", "huggingface"]


class Prices(Table):
    """Prices in US dollars per million tokens."""

    input: _Dollars
    output: _Dollars
    cached: _Dollars | None = None
    cache_write: _Dollars | None = None


class Model(Table):
    """Facts about one model; None if unknown."""

    context: Annotated[_Tokens, Field(ge=256)] | None = None
    max_output: _Tokens | None = None
    context_tokens: Annotated[_Tokens, Field(ge=256)] | None = None
    sees: bool | None = None
    tools: bool | None = None
    effort: bool | None = None
    price: Prices | None = None

    @model_validator(mode="after")
    def _fit_the_window(self) -> Self:
        for name in ("max_output", "context_tokens"):
            if (getattr(self, name) or 0) > (self.context or 10**9):
                raise ValueError(f"{name} is more than context, which includes the answer")
        return self

    def facts(self) -> ModelFacts:
        """Convert to the facts that the rest of the program uses."""
        prices = None if self.price is None else ModelPrices(**self.price.model_dump())
        return ModelFacts(
            window=self.context,
            max_output=self.max_output,
            sees=self.sees,
            tools=self.tools,
            effort=self.effort,
            prices=prices,
            context_tokens=self.context_tokens,
            is_configured=self.context is not None,
        )


class Provider(Table):
    """A model server; fields that are None come from the preset of the same name."""

    kind: Kind | None = None
    base_url: Annotated[str, AfterValidator(_check_address)] | None = None
    key: Annotated[str, AfterValidator(_check_key)] | None = None
    headers: Annotated[dict[str, str], AfterValidator(_check_headers)] = Field(default_factory=dict)
    query: Annotated[dict[str, str], AfterValidator(_check_extras)] = Field(default_factory=dict)
    first_token_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None

    def variables(self) -> list[str]:
        """The environment variables that the table refers to."""
        values = (self.key or "", *self.headers.values(), *self.query.values())
        return [name for value in values if (name := referenced_name(value)) is not None]


class Contents(Values):
    """The whole file; `Contents.model_construct()` creates an empty one."""

    llm: Annotated[list[_Name], BeforeValidator(split_text), AfterValidator(_require_any)] = Field(
        default_factory=list
    )
    choices: Annotated[list[_Choice], BeforeValidator(split_text)] = Field(default_factory=list)
    summaries: Annotated[str, AfterValidator(model_names.check_summarizer)] | None = None
    providers: dict[Annotated[str, AfterValidator(_check_provider_name)], Provider] = Field(
        default_factory=dict
    )
    models: dict[_Name, Model] = Field(default_factory=dict)
    profiles: dict[Annotated[str, AfterValidator(_check_profile_name)], Profile] = Field(
        default_factory=dict
    )
    rules: list[RuleTable] = Field(default_factory=list)
    currency: Annotated[str, AfterValidator(check_currency)] | None = None
    usd_rate: Annotated[float, AfterValidator(check_rate)] | None = None
