"""One installation: who the bot is there, its Web API, and whom and what it knows by name.

Reading an event never waits long for Slack: what is not known in time is left as its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.slack import events
from adapters.slack.answers import mapping
from adapters.slack.events import DIRECT, Identity
from adapters.slack.lookups import Lookups
from adapters.slack.web import WebApi
from bot.domain import Address, ConversationKey, Incoming
from bot.ports import Clock

# Slack wants an event acknowledged within 3 s; this much may go into names, in seconds.
NAMES_SECONDS = 0.5
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

    async def incoming(
        self,
        body: Mapping[str, Any],
        names_within: float = NAMES_SECONDS,
        otherwise: Address | None = None,
    ) -> Incoming | None:
        """The event as a message to the bot; None when it is none of our business.

        `otherwise` is how one that does not address the bot counts, if it is to count.
        """
        event = body["event"]
        if not events.is_said(event, self.me):
            return None
        kind = await self._kind(event)
        address = events.address_of(event, kind, self.me) or otherwise
        if address is None:
            return None
        names = await self._people.get(events.people_in(event), names_within)
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
        said = [
            message
            for found in answer.messages()
            if events.is_said(message := {**found, "channel": incoming.channel}, self.me)
            and events.position(message["ts"]) < incoming.position
        ][-BACKLOG:]
        names = await self._people.get(
            (id_ for message in said for id_ in events.people_in(message)), NAMES_SECONDS
        )
        return [
            events.message(
                message,
                self.me,
                names,
                incoming.key.workspace,
                incoming.route.get("kind", ""),
                Address.FOLLOW_UP,
            )
            for message in said
        ]

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

    async def _kind(self, event: Mapping[str, Any]) -> str:
        """The channel's kind: in the event, or asked for, because app_mention does not say.

        "" where Slack does not tell: what is said there counts as private.
        """
        channel, kind = str(event["channel"]), str(event.get("channel_type") or "")
        if kind:
            self._kinds.learn(channel, kind)
            return kind
        kinds = await self._kinds.get((channel,), NAMES_SECONDS)
        return kinds.get(channel) or (DIRECT if channel.startswith("D") else "")

    async def _name_of(self, user: str) -> str:
        answer = await self.api.paced_read("users.info", user=user)
        person = answer.mapping("user")
        profile = mapping(person.get("profile"))
        names = (profile.get("display_name"), profile.get("real_name"), person.get("name"))
        return next((name for name in names if isinstance(name, str) and name), "")

    async def _kind_of(self, channel: str) -> str:
        answer = await self.api.paced_read("conversations.info", channel=channel)
        return kind_of(answer.mapping("channel"))


def kind_of(channel: Mapping[str, Any]) -> str:
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
