"""Checks, when a turn is claimed, whether the authors of its questions may still ask.

Invariant: no request contains a question whose author may not ask or is not known. The question
stays stored, and counts again once a later attempt finds that its author may ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from bot.common.retry import Backoff
from bot.domain.errors import NotAllowed
from bot.domain.policy import Access
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.policy import Policy
from bot.ports.store import Store

log = structlog.stdlib.get_logger(__name__)

PAUSES = Backoff(first=1.0, longest=16.0)
"""Pauses before asking a platform again that did not say who a person is."""

ATTEMPTS = 6
"""How often to ask the platform: for half a minute, as long as people wait for a first word."""


class AskerUnknown(Exception):
    """The platform currently does not say whether the author of a question may ask."""


@dataclass(frozen=True, slots=True)
class AskerCheck:
    """Checks the authors of a turn's questions; if `policy` is None, everyone may ask."""

    policy: Policy | None
    store: Store
    clock: Clock

    async def check(self, claim: Claim, *, patient: bool = True) -> Claim:
        """The claim with the questions that may be answered; the others are withheld.

        Raises NotAllowed if no question is left; AskerUnknown if the platform does not answer and
        `patient` is false; LostOwnership or StoreUnavailable.
        """
        if self.policy is None:
            return claim
        access = await self._decide(self.policy, claim, ATTEMPTS if patient else 1)
        if not patient and Access.UNKNOWN in access.values():
            raise AskerUnknown
        refused = {q.id for q in claim.asked if access[q.author.id] is not Access.ALLOWED}
        erased = {q.id for q in claim.questions if q.erased and q.withheld}
        if refused | erased != {q.id for q in claim.questions if q.withheld}:
            await self.store.withhold(claim.fence, refused | erased)
        left = replace(
            claim,
            questions=tuple(
                replace(q, withheld=q.id in erased) for q in claim.questions if q.id not in refused
            ),
        )
        if refused and all(question.late for question in left.asked):
            log.info("no author of the questions may ask", questions=len(refused))
            raise NotAllowed(unknown=Access.REFUSED not in access.values())
        return left

    async def _decide(self, policy: Policy, claim: Claim, attempts: int) -> Mapping[str, Access]:
        """Decide for each author whether they may ask; waits for a silent platform."""
        key = claim.conversation.key
        authors = {question.author.id: question.author for question in claim.asked}
        found = dict.fromkeys(authors, Access.UNKNOWN)
        for attempt in range(1, attempts + 1):
            missing = [each for each in authors.values() if found[each.id] is Access.UNKNOWN]
            verdicts = await asyncio.gather(*(policy.may_ask(key, author) for author in missing))
            for author, verdict in zip(missing, verdicts, strict=True):
                found[author.id] = verdict.access
            if Access.UNKNOWN not in found.values() or attempt == attempts:
                break
            await self.clock.sleep(PAUSES.after(attempt))
        return found
