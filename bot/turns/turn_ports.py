"""The parts that all turns of a process share, and the rules for the place of a turn."""

from __future__ import annotations

from dataclasses import dataclass

from bot.common.fair_slots import FairSlots
from bot.context.context_ports import ContextPorts, TurnOptions
from bot.context.requests import RequestBuilder
from bot.context.turn_attachments import AttachmentPorts, TurnAttachments
from bot.domain.policy import Limits
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.model import ChatModel, ModelCatalog
from bot.ports.spending import Meter
from bot.ports.store import Store
from bot.turns.access import AskerCheck


@dataclass(frozen=True, slots=True)
class TurnPorts:
    """The parts that turns work with; none of them holds a turn's state."""

    store: Store
    models: ModelCatalog
    context: ContextPorts
    attachments: AttachmentPorts
    slots: FairSlots
    meter: Meter
    askers: AskerCheck

    @property
    def clock(self) -> Clock:
        """The clock used for requests."""
        return self.context.clock

    @property
    def options(self) -> TurnOptions:
        """The settings for turns."""
        return self.context.options

    async def limits(self, claim: Claim) -> Limits:
        """The limits on answers written at the same time, for the place of the turn."""
        policy = self.context.policy
        if policy is None:
            return Limits()
        return (await policy.effective(claim.conversation.key)).limits.value

    async def is_rateable(self, claim: Claim) -> bool:
        """Whether replies at this place have vote buttons."""
        policy = self.context.policy
        if policy is None:
            return False
        return (await policy.effective(claim.conversation.key)).feedback.value

    async def prepare(
        self, claim: Claim, attachments: TurnAttachments, instead: str | None = None
    ) -> tuple[ChatModel, RequestBuilder]:
        """The model that answers an attempt, and the builder of its requests.

        `instead` is the model that a spent budget names as its replacement.
        """
        profile = await self.context.profile(claim.conversation)
        requests = RequestBuilder(
            ports=self.context, claim=claim, attachments=attachments, profile=profile
        )
        if instead is not None:
            return self.models.get(None, instead), requests
        return profile.model(self.models, claim.conversation), requests
