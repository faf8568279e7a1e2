"""The choices for connecting a model: the providers on offer, and what a person has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model to connect. An empty `key` keeps the one that is set."""

    provider: str
    model: str
    key: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The model's name in LLM."""
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class ProviderOffer:
    """A provider: `key` names the setting with its key, "" if it needs none.

    `models` are those that its server lists; for a service on the internet, an example.
    """

    name: str
    title: str
    models: Sequence[str] = ()
    key: str = ""
    key_is_set: bool = False


@dataclass(frozen=True, slots=True)
class Offers:
    """The servers that answer on this machine, and the well-known services."""

    local: Sequence[ProviderOffer]
    services: Sequence[ProviderOffer]

    def find(self, provider: str) -> ProviderOffer | None:
        """The offer of a provider; None if there is none."""
        every = (*self.local, *self.services)
        return next((offer for offer in every if offer.name == provider), None)


@dataclass(frozen=True, slots=True)
class Connected:
    """The result of a try. `error` is "" if the model answered and the settings were written.

    `answer` is the model's own; `note` says what people should know.
    """

    answer: str = ""
    error: str = ""
    note: str = ""
