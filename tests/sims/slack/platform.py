"""The parts of the simulated Slack together: what every Web API method and control works on."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from tests.sims.slack.delivery import Delivery
from tests.sims.slack.events import Events
from tests.sims.slack.limits import Limits
from tests.sims.slack.sockets import SocketMode
from tests.sims.slack.values import Channel, Json
from tests.sims.slack.workspace import Workspace

STREAM_SECONDS = 300.0  # a stream's life, whatever is appended (reported: 300 to 306)
STREAM_CHARACTERS = 11_500  # of all its text; reported: between 11,000 and 12,000
TRIGGER_SECONDS = 3.0
RESPONSE_URL_SECONDS = 1800.0
RESPONSE_URL_USES = 5


@dataclass(slots=True)
class Trigger:
    """A trigger_id: good for one view, for three seconds."""

    user: str
    expires: float
    used: bool = False


@dataclass(slots=True)
class Hook:
    """A response_url and what the app answered there and in its acknowledgement."""

    channel: str
    user: str
    message_ts: str = ""  # what `replace_original` replaces
    expires: float = field(default_factory=lambda: time.monotonic() + RESPONSE_URL_SECONDS)
    answers: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class Uploads:
    """Files on their way: `seconds` from the completion to the message that shows the file."""

    seconds: float = 0.0
    allowed: bool = True  # an administrator may forbid them
    completed: set[str] = field(default_factory=set)


class Platform:
    """One app installed in one workspace."""

    def __init__(self) -> None:
        self.url = ""
        self.sockets = SocketMode()
        self.delivery = Delivery(self.sockets)
        self.events = Events(self.delivery.event)
        self.workspace = Workspace(self.events.publish)
        self.limits = Limits()
        self.revoked = ""  # the error that the bot token gives, once it is no longer good
        self.stream_seconds = STREAM_SECONDS
        self.stream_characters = STREAM_CHARACTERS
        self.triggers: dict[str, Trigger] = {}
        self.hooks: dict[str, Hook] = {}
        self.views: dict[str, Json] = {}
        self.homes: dict[str, Json] = {}  # by user
        self.files: dict[str, Json] = {}
        self.contents: dict[str, bytes] = {}
        self.uploads = Uploads()
        self.commands: set[str] | None = None  # the slash commands of the manifest; None: any
        self.shortcuts: set[str] | None = None
        self.agent = True  # the app is declared as an agent
        self.messages_tab = True  # people can write in the app's direct messages

    def scope_error(self, needed: str) -> Json:
        """What `missing_scope` says beside its name."""
        return {"needed": needed, "provided": ",".join(sorted(self.events.scopes))}

    def trigger(self, user: str) -> str:
        """A fresh trigger_id."""
        trigger = uuid.uuid4().hex
        self.triggers[trigger] = Trigger(user, time.monotonic() + TRIGGER_SECONDS)
        return trigger

    def hook(self, channel: Channel, user: str, message_ts: str = "") -> str:
        """The id of a fresh response_url."""
        name = uuid.uuid4().hex
        self.hooks[name] = Hook(channel.id, user, message_ts)
        return name

    def hook_url(self, name: str) -> str:
        """The response_url of a hook."""
        return f"{self.url}/respond/{name}"
