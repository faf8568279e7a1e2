"""Attributes a turn to the author of its first question, also for edits and retries; pure."""

from __future__ import annotations

from bot.common.fair_slots import SlotOwner
from bot.domain.conversations import Author
from bot.domain.policy import Limits
from bot.domain.replies import ReplyOwner
from bot.domain.spending import Spender
from bot.domain.turns import Claim


def spender(claim: Claim) -> Spender:
    """The person whose budgets pay for the turn's requests."""
    return Spender(claim.conversation.key, _author(claim), claim.fence)


def reply_owner(claim: Claim) -> ReplyOwner:
    """The person whose share of the platform's rate limits the reply uses."""
    key, author = claim.conversation.key, _author(claim)
    person = author.id if author is not None else ""
    return ReplyOwner(f"{key.platform}/{key.workspace}", person)


def slot_owner(claim: Claim, limits: Limits) -> SlotOwner:
    """The person and the channel whose share of the slots the turn takes."""
    key, author = claim.conversation.key, _author(claim)
    person = author.id if author is not None else ""
    return SlotOwner(
        workspace=f"{key.platform}/{key.counting_workspace(person)}",
        person=person,
        channel=(key.platform, key.workspace, key.channel),
        most=limits.concurrent,
        channel_most=limits.channel_concurrent,
    )


def _author(claim: Claim) -> Author | None:
    return claim.asked[0].author if claim.asked else None
