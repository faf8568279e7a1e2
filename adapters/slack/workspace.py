"""One installation: who the bot is there, its Web API, and whom and what it knows by name.

Reading an event never waits long for Slack: what is not known in time has no name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.slack import content, events, payloads
from adapters.slack import text as slack_text
from adapters.slack.api import WebApi
from adapters.slack.events import DIRECT, Identity
from adapters.slack.lookups import Lookups
from adapters.slack.payloads import Payload, table
from bot.domain.conversations import ConversationKey
from bot.domain.inbox import Address, Incoming
from bot.ports.clock import Clock

# Slack wants an event acknowledged within 3 s; this much may go into names, in seconds.
NAMES_SECONDS = 0.5
MOST_PLACES = 20  # channels of one message whose names are asked for: conversations.info is Tier 3
# How much of an old thread the model gets to see.
BACKLOG = 100
# conversations.replies gives the oldest first, so the newest are had only by reading all; 1,000
# is the most that one request gives.
PAGE = 1_000


class Workspace:
    """What events of one workspace need."""

    def __init__(self, *, me: Identity, api: WebApi, clock: Clock) -> None:
        self.me, self.api = me, api
        self._people = Lookups(fetch=self._name_of, clock=clock)
        self._kinds = Lookups(fetch=self._kind_of, clock=clock)
        self._places = Lookups(fetch=self._place_name, clock=clock)

    async def incoming(
        self,
        body: Mapping[str, Any],
        names_within: float = NAMES_SECONDS,
        otherwise: Address | None = None,
    ) -> Incoming | None:
        """The event as a message to the bot; None when it is none of our business.

        `otherwise` is how one that does not address the bot counts, if it is to count.
        """
        event = table(body, "event")
        if not events.is_said(event, self.me):
            return None
        kind = await self._kind(event)
        address = events.address_of(event, kind, self.me) or otherwise
        if address is None:
            return None
        names = await self._names([event], names_within)
        team = events.workspace_of(body, self.me.team)
        return events.message(event, self.me, names, team, kind, address)

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """What people said in the thread before `incoming`, oldest first.

        Raises a PlatformError.
        """
        answer = await self.api.paced_read(
            "conversations.replies",
            channel=incoming.channel,
            ts=incoming.key.thread,
            latest=incoming.message_id,
            limit=PAGE,
        )
        before = [
            message
            for found in answer.messages()
            if events.ts_of(message := {**found, "channel": incoming.channel})
            and events.position(events.ts_of(message)) < incoming.position
        ]
        said = [message for message in before if events.is_said(message, self.me)][-BACKLOG:]
        root = [m for m in before[:1] if m not in said and self._is_quotable(m, incoming)]
        names = await self._names([*root, *said], NAMES_SECONDS)
        return [
            *(self._quoted(message, incoming, names) for message in root),
            *(self._said_before(message, incoming, names) for message in said),
        ]

    def _said_before(
        self, message: Payload, incoming: Incoming, names: Mapping[str, str]
    ) -> Incoming:
        kind = incoming.route.get("kind", "")
        workspace = incoming.key.workspace
        return events.message(message, self.me, names, workspace, kind, Address.FOLLOW_UP)

    def _is_quotable(self, root: Payload, incoming: Incoming) -> bool:
        """Whether the thread is under what another bot or a workflow posted (an alert, say)."""
        ours = payloads.ident(root, "user") == self.me.user or root.get("bot_id") == self.me.bot
        return events.ts_of(root) == incoming.key.thread and not ours and not is_gone(root)

    def _quoted(self, root: Payload, incoming: Incoming, names: Mapping[str, str]) -> Incoming:
        """A root that no person wrote, as what the one who asks below it refers to."""
        asker = {"user": incoming.author.id, "channel": incoming.channel}
        plain = {**root, **asker, "type": "message", "subtype": "", "bot_id": None}
        message = self._said_before(plain, incoming, names)
        return replace(
            message,
            author=incoming.author,
            text=content.quotation(root, names),
            edited_at=None,
        )

    async def whisper(
        self, *, channel: str, user: str, thread: str | None, body: Mapping[str, Any]
    ) -> None:
        """Show a message to one person; raises a PlatformError."""
        await self.api.paced_write(
            "chat.postEphemeral", channel=channel, user=user, thread_ts=thread, **body
        )

    def key(self, channel: str, thread: str = "") -> ConversationKey:
        """The conversation of a thread here, or without one the channel as a place."""
        return ConversationKey(events.PLATFORM, self.me.team, channel, thread)

    async def aclose(self) -> None:
        """Give up look-ups that are under way."""
        await self._people.aclose()
        await self._kinds.aclose()
        await self._places.aclose()

    async def _names(self, messages: Sequence[Payload], within: float) -> dict[str, str]:
        """The names of the people and channels in messages that are known within so many seconds.

        A channel's id begins with C, D or G, a person's with U or W.
        """
        wanted = dict.fromkeys(id_ for m in messages for id_ in events.ids_in(m, self.me) if id_)
        places = [id_ for id_ in wanted if id_[0] in "CDG"][:MOST_PLACES]
        people = [id_ for id_ in wanted if id_[0] not in "CDG" and id_ != self.me.user]
        found = await asyncio.gather(
            self._people.get(people, within), self._places.get(places, within)
        )
        return {self.me.user: self.me.name, **found[0], **found[1]}

    async def _kind(self, event: Payload) -> str:
        """The channel's kind: in the event, or asked for, because app_mention does not say.

        "" where Slack does not tell: what is said there counts as private.
        """
        channel, kind = payloads.ident(event, "channel"), events.channel_kind(event)
        if kind:
            self._kinds.learn(channel, kind)
            return kind
        kinds = await self._kinds.get((channel,), NAMES_SECONDS)
        return kinds.get(channel) or (DIRECT if channel.startswith("D") else "")

    async def _name_of(self, user: str) -> str:
        answer = await self.api.paced_read("users.info", user=user)
        person = answer.mapping("user")
        profile = payloads.table(person, "profile")
        names = (
            payloads.text(profile, "display_name"),
            payloads.text(profile, "real_name"),
            payloads.text(person, "name"),
        )
        return next(filter(None, map(slack_text.name, names)), "")

    async def _kind_of(self, channel: str) -> str:
        found = await self._info(channel)
        self._places.learn(channel, name_of(found))
        return kind_of(found)

    async def _place_name(self, channel: str) -> str:
        found = await self._info(channel)
        self._kinds.learn(channel, kind_of(found))
        return name_of(found)

    async def _info(self, channel: str) -> Payload:
        answer = await self.api.paced_read("conversations.info", channel=channel)
        return answer.mapping("channel")


def kind_of(channel: Payload) -> str:
    """A channel's kind, as events name it in `channel_type`; "" where the answer does not say.

    Only one that says so is public: whoever sees a public conversation may not see a private one.
    """
    if channel.get("is_im"):
        return DIRECT
    if channel.get("is_mpim"):
        return "mpim"
    if channel.get("is_private") or channel.get("is_group"):
        return "group"
    return "channel" if channel.get("is_private") is False else ""


def name_of(channel: Payload) -> str:
    """A channel's name, as people see it behind its #; "" of a direct message."""
    return slack_text.name(payloads.text(channel, "name"))


def is_gone(message: Payload) -> bool:
    """Whether only a tombstone is left of it."""
    return events.subtype(message) == "tombstone"
