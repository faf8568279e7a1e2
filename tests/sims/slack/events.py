"""Decides which events an app receives, and wraps them in envelopes.

An event is delivered if the app subscribes to it, has its scope and is in the channel. Beyond
`EVENTS_PER_HOUR`, Slack drops events and sends `app_rate_limited` once a minute.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from tests.sims.kit import SlidingLimit
from tests.sims.slack import ids
from tests.sims.slack.home import Home
from tests.sims.slack.values import Channel, Json

EVENTS_PER_HOUR = 30_000
_KINDS = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}
_SCOPES = {
    "app_mention": "app_mentions:read",
    "assistant_thread_started": "assistant:write",
    "assistant_thread_context_changed": "assistant:write",
    "agent_session_stopped": "chat:write",
    "file_deleted": "files:read",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
    "member_joined_channel": "channels:read",
    "member_left_channel": "channels:read",
    "channel_archive": "channels:read",
    "group_archive": "groups:read",
    "channel_left": "channels:read",
    "group_left": "groups:read",
    "channel_rename": "channels:read",
    "group_rename": "groups:read",
    "subteam_created": "usergroups:read",
    "subteam_members_changed": "usergroups:read",
    "subteam_updated": "usergroups:read",
}
# An app outside the channel receives these as well.
_ANYWHERE = {"channel_left", "group_left", "member_left_channel"}


def subscription(event: Json) -> str:
    """The name of an event's subscription, such as `message.channels`."""
    kind = event["type"]
    return f"message.{_KINDS[event['channel_type']]}" if kind == "message" else str(kind)


class Events:
    """Filters, numbers and wraps events, and passes them to `deliver(payload)`."""

    def __init__(self, deliver: Callable[[Json], None], home: Home) -> None:
        self.deliver, self.home = deliver, home
        self.installed = True
        self.org_wide = False  # the installation is the whole organization's
        self.scopes = set(ids.SCOPES)
        self.subscribed: set[str] | None = None  # None: all events
        self.sent: list[Json] = []
        self.dropped = 0
        self.hourly = SlidingLimit(EVENTS_PER_HOUR, 3600.0)
        self._rate_limited_at = float("-inf")
        self._numbers = itertools.count(1)

    def subscribes(self, name: str) -> bool:
        """Whether the app subscribes to events of this name and has their scope."""
        if self.subscribed is not None and name not in self.subscribed:
            return False
        kind, _, where = name.partition(".")
        scope = f"{where}:history" if kind == "message" else _SCOPES.get(name)
        return scope is None or scope in self.scopes

    def publish(self, event: Json, channel: Channel | None, author_team: str) -> None:
        """Deliver `event` if the app should receive it."""
        if not self.installed or not self.subscribes(subscription(event)):
            return
        there = channel is None or self.home.bot_user in channel.members
        if not there and event["type"] not in _ANYWHERE:
            return
        payload = self.wrap(event, channel, author_team or self.home.team)
        self.sent.append(payload)
        if self.hourly.take():
            self._drop()
        else:
            self.deliver(payload)

    def wrap(self, event: Json, channel: Channel | None, author_team: str) -> Json:
        """The `event_callback` for an event; `authorizations[0]` is the installation."""
        enterprise = self.home.enterprise or None
        authorization: dict[str, Any] = {"enterprise_id": enterprise, "team_id": self.home.team}
        authorization |= {"user_id": self.home.bot_user, "is_bot": True}
        authorization["is_enterprise_install"] = self.org_wide
        number = next(self._numbers)
        return {
            "token": ids.VERIFICATION_TOKEN,
            "team_id": author_team,  # the author's team, which differs in Slack Connect
            "context_team_id": self.home.team,
            "context_enterprise_id": enterprise,
            "api_app_id": ids.APP,
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{self.home.number}{number:08d}",
            "event_time": int(time.time()),
            "authorizations": [authorization],
            "is_ext_shared_channel": bool(channel and channel.shared),
            "event_context": f"4-{number:09d}",
        }

    def redeliver(self, ts: str, *, same_event_id: bool) -> int:
        """Redeliver the events that announced message `ts`; returns their number."""
        found = [payload for payload in self.sent if _about(payload["event"]) == ts]
        for payload in found:
            fresh = {} if same_event_id else {"event_id": f"Ev{next(self._numbers):09d}"}
            self.deliver(payload | fresh)
        return len(found)

    def _drop(self) -> None:
        self.dropped += 1
        if time.monotonic() < self._rate_limited_at + 60:
            return
        self._rate_limited_at = time.monotonic()
        self.deliver(
            {
                "token": ids.VERIFICATION_TOKEN,
                "type": "app_rate_limited",
                "team_id": self.home.team,
                "minute_rate_limited": int(time.time()),
                "api_app_id": ids.APP,
            }
        )


def _about(event: Json) -> str:
    """The ts of the message that an event announces; a change has a different ts."""
    return str(event.get("ts", ""))
