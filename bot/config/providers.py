"""The configured model servers, the models they offer, and facts about these models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import SecretStr

from bot.domain.model import ModelFacts


class ProviderKind(StrEnum):
    """The API that a provider's server implements."""

    OPENAI = "openai"  # chat completions
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    HUGGINGFACE = "huggingface"


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One model server. If `base_url` is None, the address of the kind's own service applies.

    `headers` and `query` are sent with every request, as Azure and gateways require. `key_setting`
    and `address_setting` name the settings of the key and the address, for use in advice.
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
    """The configured models by name, such as `openai/gpt-5` (or, in the older form,
    `openai:gpt-5`).

    `chain` answers unless another model of `choices` is chosen; a choice such as `ollama/*` stands
    for all models that the server offers. `facts` are the operator's, by model name. `summaries` is
    the model that writes summaries: None is the answering model, "none" turns summaries off.
    `assigned` are the models named in profiles, rules and budgets.
    """

    chain: tuple[str, ...]
    choices: tuple[str, ...] = ()
    providers: Mapping[str, ProviderConfig] = field(default_factory=dict)
    facts: Mapping[str, ModelFacts] = field(default_factory=dict)
    summaries: str | None = None
    assigned: tuple[str, ...] = ()
