"""The policy ports: what platforms know about people and places, and what the rules say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.domain.conversations import Author, ConversationKey
from bot.domain.policy import (
    EffectivePolicy,
    Override,
    OverrideName,
    PersonFacts,
    PersonRef,
    PlaceFacts,
    PlaceRef,
    Verdict,
)


class Directory(Protocol):
    """What one platform knows about people and places. Every adapter has a directory.

    Answers may be up to a minute old. Methods raise a PlatformError if the platform does not
    answer; callers must never treat this as permission.
    """

    @property
    def has_strangers(self) -> bool:
        """Whether people from other organizations can write here. If not, a place without rules
        about people needs no facts about them."""
        ...

    async def place(self, key: ConversationKey) -> PlaceFacts:
        """Look up the place of a conversation, with the names that rules may use."""
        ...

    async def person(self, key: ConversationKey, author: Author) -> PersonFacts:
        """Look up a person in the workspace of `key`. Raises Gone if they are not, or no longer,
        there."""
        ...

    async def is_stranger(self, key: ConversationKey, author: Author) -> bool:
        """Whether a person belongs to another organization; raises as `person` does.

        Called for each message if no rule is about people, so adapters answer from the author data
        in events, and call the platform only if the events lack it. Always False without
        `has_strangers`.
        """
        ...

    async def can_read(self, channel: ConversationKey, user: str) -> bool:
        """Whether a person can currently read a channel (a key without a thread).

        The key's channel may be a name: `#ops`, in lower case. False if there is no such channel.
        """
        ...

    async def unknown(self, refs: Sequence[PlaceRef | PersonRef]) -> Sequence[str]:
        """The references, as written, that match no person and no place here.

        Used by `doctor`, and for block lists, which block everyone if one of their references
        matches nothing. References from block lists carry the workspace in which they are applied.
        """
        ...

    async def tell(self, key: ConversationKey, author: Author, text: str) -> None:
        """Show `text` to one person where they wrote, otherwise in a direct message.

        Raises a PlatformError if neither is possible.
        """
        ...


class Policy(Protocol):
    """The rules, applied to a place and a person at this moment. No method raises."""

    def listens(self, key: ConversationKey, category: str = "") -> bool:
        """Whether messages that do not address the bot may count as questions in this channel.

        Does not query the platform, so adapters may call it for every message. `category` is
        Discord's id.
        """
        ...

    async def effective(self, key: ConversationKey) -> EffectivePolicy:
        """The policy of a place, without what a person chose for the conversation."""
        ...

    async def may_ask(self, key: ConversationKey, author: Author) -> Verdict:
        """Whether this person may currently ask here."""
        ...

    async def may_control(
        self, key: ConversationKey, author: Author, *, took_part: bool
    ) -> Verdict:
        """Whether this person may currently stop, retry, continue, undo or reset here."""
        ...

    async def is_admin(self, key: ConversationKey, author: Author) -> bool:
        """Whether this person administers the bot in this workspace; False if unknown."""
        ...


class PolicyStore(Protocol):
    """The values that administrators set by command. Methods raise StoreUnavailable if the database
    fails."""

    async def list_overrides(self) -> Sequence[Override]:
        """All overrides of all channels."""
        ...

    async def set_override(
        self,
        channel: ConversationKey,
        name: OverrideName,
        value: str | None,
        *,
        by: Author,
        source: str = "",
    ) -> Override | None:
        """Set a value of a channel, or remove it with None; both are recorded in the audit.

        `source` is as in `Store`: raises CommandDone if the command was executed before.
        """
        ...
