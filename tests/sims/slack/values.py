"""What a workspace is made of: users, channels, messages and all their versions."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class Refused(Exception):
    """A Web API refusal: HTTP 200 with `ok: false`, or 429 with `retry_after` seconds.

    A text is the header as it is; an empty one leaves it out.
    """

    def __init__(self, error: str, *, retry_after: int | str = 0, **more: Any) -> None:
        super().__init__(error)
        self.error, self.retry_after, self.more = error, retry_after, more


def invalid(*messages: str) -> Refused:
    """Slack's `invalid_arguments`, with the messages that its clients log."""
    listed = [f"[ERROR] {message}" for message in messages]
    return Refused("invalid_arguments", response_metadata={"messages": listed})


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


@dataclass(slots=True)
class Channel:
    """A conversation; `kind` is `channel`, `group`, `im` or `mpim` as in events' channel_type."""

    id: str
    name: str
    kind: str
    members: set[str]
    shared: bool = False  # Slack Connect
    archived: bool = False
    messages: dict[str, Message] = field(default_factory=dict)  # by ts, oldest first


@dataclass(slots=True)
class Version:
    """One state that a message was in; `at` is `time.time()` in seconds."""

    at: float
    how: str  # post, update, start, append, stop, edit, unfurl, tombstone
    text: str
    shown: str
    blocks: list[Json]
    pings: list[str]
    previews: list[str]


@dataclass(slots=True)
class Stream:
    """A native stream: open until stopped, too old (`lifetime` seconds) or stopped by a person."""

    begun: float
    lifetime: float
    text: str = ""
    stopped: bool = False
    by_user: bool = False
    full: bool = False

    @property
    def open(self) -> bool:
        """Whether it still takes text."""
        return not (self.stopped or self.full) and time.monotonic() < self.begun + self.lifetime


@dataclass(slots=True)
class Message:
    """A message as it is now, with every version it had."""

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
    unfurls: bool = False  # previews of its links are shown
    link_names: bool = False  # plain "@channel" in it is a mention
    stream: Stream | None = None
    deleted: float | None = None
    ephemeral_to: str = ""
    versions: list[Version] = field(default_factory=list)

    @property
    def is_reply(self) -> bool:
        """Whether it is shown inside a thread."""
        return bool(self.thread_ts) and self.thread_ts != self.ts

    @property
    def streaming(self) -> bool:
        """Whether a stream is open on it."""
        return self.stream is not None and self.stream.open


TRUE = {"1", "true", "True", 1}


class Args:
    """A call's arguments, from a form, a query or JSON, with Slack's loose typing."""

    def __init__(self, values: Json) -> None:
        self.values = {key: value for key, value in values.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str, default: str = "") -> str:
        """The argument as a string."""
        return str(self.values.get(name, default))

    def need(self, name: str) -> str:
        """The argument as a string; `invalid_arguments` when it is missing or empty."""
        if not (value := self.text(name)):
            raise invalid(f"missing required field: {name}")
        return value

    def flag(self, name: str) -> bool | None:
        """The argument as a boolean; None when it is not given."""
        return self.values[name] in TRUE if name in self.values else None

    def number(self, name: str, default: int) -> int:
        """The argument as an integer."""
        try:
            return int(self.values.get(name, default) or default)
        except (TypeError, ValueError):
            raise Refused("invalid_limit" if name == "limit" else "invalid_arguments") from None

    def json(self, name: str) -> Any:
        """The argument as JSON, which forms carry as a string; None when it is not given."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise Refused(f"invalid_{name}_format", bad=name) from None
