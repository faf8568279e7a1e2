"""The providers whose models a person can connect, and the person's choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model to connect. An empty `key` keeps the stored key."""

    provider: str
    model: str
    key: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The model's name as written in the setting LLM."""
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class ProviderOffer:
    """A provider. `key` is the name of the setting for its key, "" if it needs none.

    `models` are the models that its server lists; for an internet service, an example.
    """

    name: str
    title: str
    models: Sequence[str] = ()
    key: str = ""
    key_is_set: bool = False


@dataclass(frozen=True, slots=True)
class Offers:
    """The model servers found on this machine, and the well-known services."""

    local: Sequence[ProviderOffer]
    services: Sequence[ProviderOffer]

    def find(self, provider: str) -> ProviderOffer | None:
        """Find a provider's offer; None if there is none."""
        every = (*self.local, *self.services)
        return next((offer for offer in every if offer.name == provider), None)


@dataclass(frozen=True, slots=True)
class Connected:
    """The result of trying a connection. `error` is "" if the model answered and the settings were
    written.

    `answer` is the model's answer; `note` is something people should know.
    """

    answer: str = ""
    error: str = ""
    note: str = ""
