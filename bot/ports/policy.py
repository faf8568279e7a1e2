"""The ports of policy: what platforms know about people and places, and what the rules say."""

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
    """What one platform knows about people and places. Every adapter has one.

    Answers may be up to a minute old. Methods raise a PlatformError if the platform does not
    answer, which never allows anyone anything.
    """

    @property
    def has_strangers(self) -> bool:
        """Whether people of other organizations can write here. If not, a place without rules about
        people needs no facts about them.
        """
        ...

    async def place(self, key: ConversationKey) -> PlaceFacts:
        """The place of a conversation, with the names that rules may use."""
        ...

    async def person(self, key: ConversationKey, author: Author) -> PersonFacts:
        """A person in the workspace of `key`. Raises Gone if they are not (or no longer) there."""
        ...

    async def is_stranger(self, key: ConversationKey, author: Author) -> bool:
        """Whether a person is of another organization; raises as `person`.

        Asked for each message where no rule is about people, so adapters answer from what events
        say of their authors, and call the platform only if those did not say it. Always False
        without `has_strangers`.
        """
        ...

    async def can_read(self, channel: ConversationKey, user: str) -> bool:
        """Whether a person can read a channel (a key without thread) at this moment.

        The key's channel may be a name: `#ops`, without capitals. No if there is no such channel.
        """
        ...

    async def unknown(self, refs: Sequence[PlaceRef | PersonRef]) -> Sequence[str]:
        """The references, as written, that name no one and nothing here.

        For `doctor`, and for block lists, which block all people if a reference names no one. The
        references of block lists have the workspace that they are applied in.
        """
        ...

    async def tell(self, key: ConversationKey, author: Author, text: str) -> None:
        """Show `text` to one person where they wrote, or else in a direct message.

        Raises a PlatformError if neither is possible.
        """
        ...


class Policy(Protocol):
    """The rules, applied to a place and a person at this moment. Nothing here raises."""

    def listens(self, key: ConversationKey, category: str = "") -> bool:
        """Whether messages that do not address the bot may be questions in this channel.

        Needs no platform, so adapters may ask it for every message. `category` is Discord's id.
        """
        ...

    async def effective(self, key: ConversationKey) -> EffectivePolicy:
        """The policy of a place; what a person chose for the conversation is not included."""
        ...

    async def may_ask(self, key: ConversationKey, author: Author) -> Verdict:
        """Whether this person may ask here now."""
        ...

    async def may_control(
        self, key: ConversationKey, author: Author, *, took_part: bool
    ) -> Verdict:
        """Whether this person may stop, retry, continue, undo or reset here now."""
        ...

    async def is_admin(self, key: ConversationKey, author: Author) -> bool:
        """Whether this person administers the bot in this workspace; no if that is unknown."""
        ...


class PolicyStore(Protocol):
    """What administrators set by command. Methods raise StoreUnavailable if the database fails."""

    async def list_overrides(self) -> Sequence[Override]:
        """All values of all channels."""
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
        """Set a value of a channel, or take it back with None; both are written to the audit.

        `source` is as in `Store`: raises CommandDone if the command was executed before.
        """
        ...
