"""Slack's rate limits: how often each method may be called, and which limit a 429 belongs to."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.replies import Limit, Pace
from bot.ports.clock import Clock

# Calls a minute for each method in a workspace, which Slack gives as "20+", "50+", "100+". One or
# two fewer, because our clock and Slack's differ.
# https://docs.slack.dev/apis/web-api/rate-limits
_MINUTE = 60.0
TIER_2, TIER_3, TIER_4 = 19, 49, 98
_COUNTS = {
    "chat.delete": TIER_3,
    "conversations.replies": TIER_3,
    "conversations.info": TIER_3,
    "conversations.members": TIER_4,
    "conversations.history": TIER_3,
    "users.conversations": TIER_3,
    "users.info": TIER_4,
    "usergroups.list": TIER_2,
    "conversations.list": TIER_2,
    "chat.postEphemeral": TIER_4,
    "assistant.threads.setStatus": TIER_3,
    "assistant.threads.setSuggestedPrompts": TIER_3,
    "agents.sessions.setStatus": TIER_3,
    "files.getUploadURLExternal": TIER_4,
    "files.completeUploadExternal": TIER_4,
    "conversations.open": TIER_3,
    "files.delete": TIER_3,
    "files.info": TIER_4,
    "views.open": TIER_4,
}
POSTS, EDITS, DELETIONS = "chat.postMessage", "chat.update", "chat.delete"
STARTS, APPENDS, STOPS = "chat.startStream", "chat.appendStream", "chat.stopStream"
UPLOADS, COMPLETIONS = "files.getUploadURLExternal", "files.completeUploadExternal"
VIEWS = "views.open"
OPENINGS = "conversations.open"
FILE_DELETIONS, FILE_DETAILS = "files.delete", "files.info"
# 429s in this many channels at the same time are taken for the workspace's limit. A guess.
CHANNELS_THROTTLED = 3
_LIMITS = {
    # "several hundred messages per minute" in a workspace, for each channel "1 per second".
    POSTS: Limit(count=280, seconds=_MINUTE, pace=Pace.NONE),
    EDITS: Limit(count=TIER_3, seconds=_MINUTE, pace=Pace.FORECAST),
    STARTS: Limit(count=TIER_2, seconds=_MINUTE, pace=Pace.NONE),
    APPENDS: Limit(count=TIER_4, seconds=_MINUTE, pace=Pace.FORECAST, then=EDITS),
    STOPS: Limit(count=TIER_2, seconds=_MINUTE, pace=Pace.NONE),
}


def post_scopes(channel: str) -> tuple[str, ...]:
    """The scopes of a post: the channel's rate limit and the workspace's."""
    return (f"{POSTS}:{channel}", POSTS)


class PostThrottles:
    """Decides which rate limit a 429 for a post belongs to, since Slack does not say.

    It is the channel's, the tighter one, unless posts in several channels are refused at the same
    time: then it must be the workspace's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def record(self, channel: str, seconds: float) -> tuple[str, ...]:
        """Record a 429 in `channel` for `seconds`; returns the scopes that are exhausted."""
        now = self._clock.monotonic()
        self._until = {known: until for known, until in self._until.items() if until > now}
        self._until[channel] = now + seconds
        scopes = post_scopes(channel)
        return scopes if len(self._until) >= CHANNELS_THROTTLED else scopes[:1]


CATCHING_UP = "catching up:"
"""Prefixes a method's name for the process that reads what others missed: it gets half of the limit
for itself.

With a share like every other process's, it could read only a few threads a minute.
"""
NAMES = "names:"
"""Prefixes a method's name for the names in messages, which get half of its limit.

Anyone can mention a hundred people; rules must still find out who a person is.
"""
CAUGHT_UP_WITH = frozenset({"conversations.history", "conversations.replies"})


def limit_for(scope: str, members: int = 1) -> Limit:
    """The rate limit of a scope, and how to spread interim requests over it.

    Any process may answer in any channel, so all limits are divided among the processes.
    """
    method = scope.removeprefix(CATCHING_UP)
    limit = _limit_for(method)
    half = limit.count // 2 if members > 1 and method in CAUGHT_UP_WITH else 0
    if method != scope:
        return replace(limit, count=half or limit.count)
    return replace(limit, count=limit.count - half, divided=True)


def _limit_for(scope: str) -> Limit:
    if scope in _LIMITS:
        return _LIMITS[scope]
    if scope.startswith(NAMES):
        whole = _limit_for(scope.removeprefix(NAMES))
        return replace(whole, count=whole.count // 2)
    if scope.startswith(f"{POSTS}:"):
        return Limit(count=3, seconds=3.15, pace=Pace.NONE)  # Slack allows short bursts
    return Limit(count=_COUNTS.get(scope, TIER_2), seconds=_MINUTE)
