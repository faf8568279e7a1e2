"""Checks whether a reference in the file matches a person; pure.

None means that the platform did not say. A person from another organization is admitted only by
their id, `strangers` or `everyone`; sharing a channel with the team is not enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from bot.domain.conversations import Author, ConversationKey
from bot.domain.policy import PersonFacts, PersonKind, PersonRef, Standing

_STANDINGS = {
    PersonKind.MEMBERS: Standing.MEMBER,
    PersonKind.GUESTS: Standing.GUEST,
    PersonKind.STRANGERS: Standing.STRANGER,
}

Reads = Mapping[PersonRef, bool | None]
"""For each reference to a channel, whether the person can read that channel."""


class Purpose(Enum):
    """The purpose of a list: to let people in, or to keep them out."""

    ALLOW = "allow"
    BLOCK = "block"


def applying(refs: Iterable[PersonRef], key: ConversationKey) -> list[PersonRef]:
    """The references that can match someone in the workspace of `key`."""
    return [
        ref
        for ref in refs
        if ref.platform in ("", key.platform) and ref.workspace in ("", key.workspace)
    ]


def needs_person(ref: PersonRef, purpose: Purpose) -> bool:
    """Whether checking the reference requires the platform's description of the person."""
    if ref.kind is PersonKind.CHANNEL:
        return purpose is Purpose.ALLOW  # a stranger may be able to read it, too
    return ref.kind not in (PersonKind.USER, PersonKind.EVERYONE)


def means(
    ref: PersonRef, author: Author, person: PersonFacts | None, reads: Reads, purpose: Purpose
) -> bool | None:
    """Whether `ref` matches the person, who is unknown if `person` is None."""
    if ref.kind is PersonKind.USER:
        return ref.value == author.id
    if ref.kind is PersonKind.EVERYONE:
        return True
    if ref.kind in _STANDINGS:
        return None if person is None else person.standing is _STANDINGS[ref.kind]
    if ref.kind is PersonKind.CHANNEL and purpose is Purpose.BLOCK:
        return reads.get(ref)
    if person is None:
        return None
    if purpose is Purpose.ALLOW and person.standing is Standing.STRANGER:
        return False
    if ref.kind is PersonKind.CHANNEL:
        return reads.get(ref)
    if ref.kind in (PersonKind.GROUP, PersonKind.NAME):
        is_in = ref.value in (person.groups if ref.kind is PersonKind.GROUP else person.group_names)
        return is_in or (False if person.groups_are_known else None)
    return person.is_workspace_admin


def any_means(
    refs: Iterable[PersonRef],
    author: Author,
    person: PersonFacts | None,
    reads: Reads,
    purpose: Purpose,
) -> bool | None:
    """Whether one of the references matches the person; None if that depends on unknown facts."""
    answers = [means(ref, author, person, reads, purpose) for ref in refs]
    if True in answers:
        return True
    return None if None in answers else False
