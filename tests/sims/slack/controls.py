"""Controls that configure the simulated app, disturb its connections and observe the result.

`channel` and `thread` return what people can see, `state` what only the platform knows
(deliveries, 429s, left-over statuses).
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import asdict
from typing import Any

from tests.sims.kit import SlidingLimit
from tests.sims.slack import ids
from tests.sims.slack.delivery import HttpTarget
from tests.sims.slack.limits import LimitProfile, Throttle, random_profile
from tests.sims.slack.manifests import find_manifest_errors
from tests.sims.slack.platform import Platform
from tests.sims.slack.render import pings, previews, shown
from tests.sims.slack.streams import shown_statuses
from tests.sims.slack.values import ApiError, Json, Message


class Controls:
    """The controls that do not act as a person."""

    def __init__(self, slack: Platform) -> None:
        self.slack = slack

    # ── controls: the app's configuration ─────────────────────────────────────────────────────
    def subscribe(self, events: list[str] | None) -> None:
        self.slack.events.subscribed = None if events is None else set(events)

    def scopes(self, scopes: list[str]) -> None:
        self.slack.events.scopes = set(scopes)

    def commands(self, commands: list[str] | None, shortcuts: list[str] | None = None) -> None:
        self.slack.commands = None if commands is None else set(commands)
        self.slack.shortcuts = None if shortcuts is None else set(shortcuts)

    def manifest(self, manifest: Json) -> None:
        """Configure the app from its manifest. Raises ApiError if Slack would refuse it."""
        if found := find_manifest_errors(manifest):
            raise ApiError("invalid_manifest: " + "; ".join(found))
        settings, features = manifest.get("settings", {}), manifest.get("features", {})
        self.subscribe(settings.get("event_subscriptions", {}).get("bot_events", []))
        self.scopes(manifest.get("oauth_config", {}).get("scopes", {}).get("bot", []))
        commands = [item["command"] for item in features.get("slash_commands", [])]
        shortcuts = [item["callback_id"] for item in features.get("shortcuts", [])]
        self.commands(commands, shortcuts)
        home = features.get("app_home", {})
        self.slack.messages_tab = bool(home.get("messages_tab_enabled", True)) and not home.get(
            "messages_tab_read_only_enabled", True
        )
        self.slack.sockets.enabled = bool(settings.get("socket_mode_enabled"))
        self.slack.agent = "agent_view" in features

    async def set_http(
        self,
        events_url: str,
        signing_secret: str = ids.SIGNING_SECRET,
        interactivity_url: str = "",
        commands_url: str = "",
    ) -> bool:
        """Deliver over HTTP; returns whether the URL passed `url_verification`."""
        self.slack.delivery.http = HttpTarget(
            events_url, interactivity_url or events_url, commands_url or events_url, signing_secret
        )
        return await self.slack.delivery.verify()

    def set_socket(self) -> None:
        self.slack.delivery.http = None

    def delivery(
        self,
        ack_seconds: float | None = None,
        retry_scale: float | None = None,
        given_up: str | None = None,
    ) -> None:
        delivery = self.slack.delivery
        if given_up is not None:
            delivery.given_up = re.compile(given_up) if given_up else None
        delivery.ack_seconds = delivery.ack_seconds if ack_seconds is None else ack_seconds
        delivery.retry_scale = delivery.retry_scale if retry_scale is None else retry_scale

    def limits(
        self,
        enabled: bool | None = None,
        scale: float | None = None,
        commercial: bool | None = None,
        events_per_hour: int | None = None,
    ) -> None:
        limits = self.slack.limits
        limits.enabled = limits.enabled if enabled is None else enabled
        limits.scale = limits.scale if scale is None else scale
        limits.commercial = limits.commercial if commercial is None else commercial
        limits.reset()
        if events_per_hour is not None:
            self.slack.events.hourly = SlidingLimit(events_per_hour, 3600.0)

    def randomize(self, seed: int | None) -> Json:
        """Choose undocumented limits by `seed`; None restores the strictest ones."""
        limits = self.slack.limits
        limits.profile = random_profile(seed) if seed is not None else LimitProfile()
        limits.reset()
        return asdict(limits.profile)

    def throttle(
        self,
        method: str,
        seconds: float,
        channel: str = "",
        says: str | None = None,
        in_body: bool = False,
    ) -> None:
        """Throttle one method for `seconds`; 0 ends it."""
        limits = self.slack.limits
        limits.throttles = [one for one in limits.throttles if one.method != method]
        if seconds:
            until = time.monotonic() + seconds
            limits.throttles.append(Throttle(method, until, channel, says, in_body))

    def forget_refusals(self) -> None:
        self.slack.limits.rejections.clear()

    def status_seconds(self, seconds: float) -> None:
        """How long the words under a thread stay; a session's status never ends."""
        self.slack.status_seconds = seconds

    def streams(self, seconds: float | None = None, characters: int | None = None) -> None:
        slack = self.slack
        slack.stream_seconds = slack.stream_seconds if seconds is None else seconds
        slack.stream_characters = slack.stream_characters if characters is None else characters

    def blocks(self, unknown: list[str]) -> None:
        """Refuse messages with blocks of these types, as Slack did before it introduced them."""
        self.slack.unknown_blocks = set(unknown)

    def agent(self, declared: bool) -> None:
        self.slack.agent = declared

    def workspace(self, has_groups: bool = True, enterprise: str = "") -> None:
        self.slack.has_groups, self.slack.home.enterprise = has_groups, enterprise

    def uploads(self, seconds: float | None = None, allowed: bool | None = None) -> None:
        uploads = self.slack.uploads
        uploads.seconds = uploads.seconds if seconds is None else seconds
        uploads.allowed = uploads.allowed if allowed is None else allowed

    def mentions(
        self, first: bool | None = None, files: bool | None = None, gap: float | None = None
    ) -> None:
        mentions = self.slack.workspace.mentions
        mentions.first = mentions.first if first is None else first
        mentions.files = mentions.files if files is None else files
        mentions.gap = mentions.gap if gap is None else gap

    # ── controls: connections ─────────────────────────────────────────────────────────────────
    async def disconnect(
        self, reason: str = "refresh_requested", grace: float = 10.0, number: int | None = None
    ) -> int:
        return await self.slack.sockets.disconnect(reason, grace, number)

    def drop(self) -> int:
        return self.slack.sockets.drop()

    async def frame(self, data: str = "", binary: bool = False, cut: bool = False) -> int:
        """Send a raw frame, truncated if `cut`; returns the number of connections."""
        return await self.slack.sockets.frame(data, binary=binary, cut=cut)

    def links(
        self,
        hello: str | None = None,
        stalls: bool | None = None,
        turns_away: str | None = None,
    ) -> None:
        """Set the first frame of connections ("": none), make them never answer (`stalls`), or
        close each one with this reason after its hello (`turns_away`)."""
        sockets = self.slack.sockets
        sockets.turns_away = sockets.turns_away if turns_away is None else turns_away
        sockets.hello = sockets.hello if hello is None else hello
        sockets.stalls = sockets.stalls if stalls is None else stalls

    def offline(self) -> None:
        self.slack.delivery.offline = self.slack.sockets.offline = True
        self.slack.sockets.drop()

    def online(self) -> None:
        self.slack.delivery.offline = self.slack.sockets.offline = False

    def deliver_again(self, ts: str, same_event_id: bool = True) -> int:
        return self.slack.events.redeliver(ts, same_event_id=same_event_id)

    async def inject(self, kind: str, payloads: list[Any]) -> list[Json]:
        """Deliver raw payloads, a few in parallel; returns the attempts."""
        few = asyncio.Semaphore(20)

        async def one(payload: Any) -> Json:
            async with few:
                return asdict(await self.slack.delivery.deliver_once(kind, payload))

        return list(await asyncio.gather(*map(one, payloads)))

    async def inject_frames(self, frames: list[Any]) -> int:
        return await self.slack.sockets.inject(frames)

    # ── controls: observation ───────────────────────────────────────────────────────────────────
    def channel(self, channel: str) -> list[Json]:
        """The current top-level messages, oldest first, with their `replies`."""
        there = self.slack.workspace.channel(channel)
        top = [m for m in there.messages.values() if not m.is_reply and not _is_deleted(m)]
        return [self._describe(m) | {"replies": self._replies(channel, m.ts)} for m in top]

    def thread(self, channel: str, ts: str) -> list[Json]:
        """The root, unless it was deleted, and its replies."""
        root = self.slack.workspace.channel(channel).messages.get(ts)
        roots = [self._describe(root)] if root is not None and not _is_deleted(root) else []
        return roots + self._replies(channel, ts)

    def _replies(self, channel: str, ts: str) -> list[Json]:
        there = self.slack.workspace.channel(channel)
        return [self._describe(m) for m in self.slack.workspace.replies(there, ts)]

    def ephemeral(self, user: str = "") -> list[Json]:
        ephemerals = self.slack.workspace.ephemerals
        return [
            self._describe(m) | {"ephemeral_to": m.ephemeral_to}
            for m in ephemerals
            if m.ephemeral_to == (user or m.ephemeral_to) and not m.deleted
        ]

    def _describe(self, message: Message) -> Json:
        return self.slack.workspace.serialize(message, metadata=True) | {
            "shown": shown(message),
            "pings": pings(message),
            "previews": previews(message),
            "channel": message.channel,
            "deleted": message.deleted,
            "versions": [asdict(version) for version in message.versions],
        }

    def deliveries(self) -> list[Json]:
        return self.slack.delivery.deliveries()

    def state(self) -> Json:
        slack, workspace = self.slack, self.slack.workspace
        every = [m for c in workspace.channels.values() for m in c.messages.values()]
        return {
            "connections": slack.sockets.describe(),
            "connections_opened": slack.sockets.opened,
            "unknown_acks": slack.sockets.unknown_acks,
            "pending": slack.delivery.pending,
            "lost": slack.delivery.lost,
            "events_sent": len(slack.events.sent),
            "events_dropped": slack.events.dropped,
            "ratelimited": dict(slack.limits.rejections),
            "statuses": _keyed(shown_statuses(slack)),
            "sessions": _keyed(workspace.sessions),
            "streaming": [m.ts for m in every if m.streaming],
            "deleted": [self._describe(m) for m in every if m.deleted],
            "views": slack.views,
            "homes": slack.homes,
            "files": slack.files,
        }


def _keyed(by_thread: dict[tuple[str, str], Json]) -> list[Json]:
    return [{"channel": c, "thread_ts": t} | value for (c, t), value in by_thread.items()]


def _is_deleted(message: Message) -> bool:
    return bool(message.deleted) and message.subtype != "tombstone"
