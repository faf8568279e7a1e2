"""The values of a workspace: users, channels, messages and their versions."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class ApiError(Exception):
    """A Web API error: HTTP 200 with `ok: false`, or 429 with `retry_after` seconds.

    If `retry_after` is a string, it is the raw header, or no header if empty.
    """

    def __init__(self, code: str, *, retry_after: int | str = 0, **more: Any) -> None:
        super().__init__(code)
        self.code, self.retry_after, self.more = code, retry_after, more


def invalid(*messages: str) -> ApiError:
    """Slack's `invalid_arguments`, with messages for the client's log."""
    lines = [f"[ERROR] {message}" for message in messages]
    return ApiError("invalid_arguments", response_metadata={"messages": lines})


@dataclass(slots=True)
class User:
    """A person or a bot user."""

    id: str
    name: str
    team: str
    real_name: str
    bot_id: str = ""
    app_id: str = ""
    deleted: bool = False
    guest: bool = False  # sees only the channels that they are in
    admin: bool = False
    enterprise_user: Json | None = None  # Enterprise Grid's part of the description


@dataclass(slots=True)
class Group:
    """A user group."""

    id: str
    handle: str
    members: set[str] = field(default_factory=set)
    deleted: int = 0  # Unix seconds; 0 is not disabled


@dataclass(slots=True)
class Channel:
    """A channel; `kind` is `channel`, `group`, `im` or `mpim`, as in an event's channel_type."""

    id: str
    name: str
    kind: str
    members: set[str]
    shared: bool = False  # Slack Connect
    archived: bool = False
    messages: dict[str, Message] = field(default_factory=dict)  # by ts, oldest first


@dataclass(slots=True)
class Version:
    """One state of a message; `at` is in Unix seconds."""

    at: float
    how: str  # post, update, start, append, stop, edit, unfurl, tombstone
    text: str
    shown: str
    blocks: list[Json]
    pings: list[str]
    previews: list[str]


@dataclass(slots=True)
class Stream:
    """A native stream: open until it is stopped or older than `lifetime` seconds."""

    begun: float
    lifetime: float
    text: str = ""
    stopped: bool = False
    by_user: bool = False
    full: bool = False

    @property
    def open(self) -> bool:
        """Whether text can be appended."""
        return not (self.stopped or self.full) and time.monotonic() < self.begun + self.lifetime


@dataclass(slots=True)
class Message:
    """A message and all its versions."""

    ts: str
    channel: str
    user: str
    text: str = ""
    bot_id: str = ""
    app_id: str = ""
    team: str = ""
    subtype: str = ""
    username: str = ""
    thread_ts: str = ""  # also on a root, once it has replies
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    files: list[Json] = field(default_factory=list)
    metadata: Json | None = None
    client_msg_id: str = ""
    edited: Json | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    unfurls: bool = False  # link previews are shown
    link_names: bool = False  # plain "@channel" in it is a mention
    stream: Stream | None = None
    deleted: float | None = None
    ephemeral_to: str = ""
    versions: list[Version] = field(default_factory=list)

    @property
    def is_reply(self) -> bool:
        """Whether the message is a reply in a thread."""
        return bool(self.thread_ts) and self.thread_ts != self.ts

    @property
    def streaming(self) -> bool:
        """Whether the message is an open stream."""
        return self.stream is not None and self.stream.open


TRUE = {"1", "true", "True", 1}


class Args:
    """A call's loosely typed arguments, from a form, a query or JSON."""

    def __init__(self, values: Json) -> None:
        self.values = {key: value for key, value in values.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str, default: str = "") -> str:
        """The argument as a string."""
        return str(self.values.get(name, default))

    def need(self, name: str) -> str:
        """A required argument as a string. Raises ApiError (`invalid_arguments`)."""
        if not (value := self.text(name)):
            raise invalid(f"missing required field: {name}")
        return value

    def flag(self, name: str) -> bool | None:
        """The argument as a boolean; None if not given."""
        return self.values[name] in TRUE if name in self.values else None

    def number(self, name: str, default: int) -> int:
        """The argument as an integer."""
        try:
            return int(self.values.get(name, default) or default)
        except (TypeError, ValueError):
            raise ApiError("invalid_limit" if name == "limit" else "invalid_arguments") from None

    def json(self, name: str) -> Any:
        """The argument as JSON, which is a string in forms; None if not given."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ApiError(f"invalid_{name}_format", bad=name) from None
