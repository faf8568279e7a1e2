"""Which model servers there are, which models they offer, and facts about these models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import SecretStr

from bot.domain.model import ModelFacts


class ProviderKind(StrEnum):
    """The API that a provider's server has."""

    OPENAI = "openai"  # chat completions
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    HUGGINGFACE = "huggingface"


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One model server. None as `base_url` is the address of the kind's own service.

    `headers` and `query` go with every request, as Azure and gateways require. `key_setting` and
    `address_setting` name the settings of the key and the address, for advice.
    """

    name: str
    kind: ProviderKind
    base_url: str | None = None
    key: SecretStr | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may contain keys
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    first_token_seconds: float | None = None
    key_setting: str = ""
    address_setting: str = ""


@dataclass(frozen=True, slots=True)
class ModelsConfig:
    """The configured models by name, such as `openai/gpt-5` (or `openai:gpt-5`, as before).

    `chain` answers unless another model of `choices` is chosen; a choice such as `ollama/*` stands
    for all models that the server offers. `facts` are the operator's, by model name. `summaries` is
    the model that writes summaries, None for the one that answers; "none" for no summaries.
    `assigned` are the models that profiles, rules and budgets name.
    """

    chain: tuple[str, ...]
    choices: tuple[str, ...] = ()
    providers: Mapping[str, ProviderConfig] = field(default_factory=dict)
    facts: Mapping[str, ModelFacts] = field(default_factory=dict)
    summaries: str | None = None
    assigned: tuple[str, ...] = ()
