"""Judges a person by a policy: allowed, refused by a rule, or unknown."""

from __future__ import annotations

from bot.domain import policy_texts
from bot.domain.policy import ALLOWED, Access, EffectivePolicy, PersonRef, Resolved, Verdict
from bot.policy.people import Purpose
from bot.policy.person import PersonAt


async def judge(policy: EffectivePolicy, person: PersonAt) -> Verdict:
    """Whether the person may ask. A certain refusal takes precedence over unknown facts."""
    verdicts = [await _is_blocked(each, person) for each in policy.block]
    verdicts.append(await _is_allowed(policy.allow, person))
    if person.is_gone:
        verdicts.append(Verdict(Access.REFUSED, policy_texts.NOT_HERE))
    for access in (Access.REFUSED, Access.UNKNOWN):
        for verdict in verdicts:
            if verdict.access is access:
                return verdict
    return ALLOWED


async def _is_blocked(block: Resolved[tuple[PersonRef, ...]], person: PersonAt) -> Verdict:
    """Whether the list blocks the person. If one of its names does not exist, it blocks everyone,
    because the name may have been meant for this person."""
    found = await person.is_one_of(block.value, Purpose.BLOCK)
    if found:
        return refused(policy_texts.BLOCKED, block.source)
    known = await person.are_known(block.value)
    if known is False:
        return refused(policy_texts.UNKNOWN_BLOCKED, block.source)
    if found is None or known is None:
        return Verdict(Access.UNKNOWN, policy_texts.DIRECTORY_SILENT)
    return ALLOWED


async def _is_allowed(allow: Resolved[tuple[PersonRef, ...] | None], person: PersonAt) -> Verdict:
    if allow.value is None:
        stranger = await person.is_stranger()
        if stranger is None and not person.is_gone:
            return Verdict(Access.UNKNOWN, policy_texts.DIRECTORY_SILENT)
        return refused(policy_texts.STRANGERS_NOT_ALLOWED, "") if stranger else ALLOWED
    found = await person.is_one_of(allow.value, Purpose.ALLOW)
    if found is None and not person.is_gone:
        return Verdict(Access.UNKNOWN, policy_texts.DIRECTORY_SILENT)
    return ALLOWED if found else refused(policy_texts.NOT_ALLOWED, allow.source)


def refused(reason: str, source: str) -> Verdict:
    """Create a refusal by the rule `source`."""
    return Verdict(Access.REFUSED, policy_texts.refusal(reason, source) if source else reason)
