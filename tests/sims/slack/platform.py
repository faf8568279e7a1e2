"""The simulated Slack's state, which all Web API methods and controls share."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.sims.slack.delivery import Delivery
from tests.sims.slack.events import Events
from tests.sims.slack.home import Home
from tests.sims.slack.limits import RateLimits
from tests.sims.slack.sockets import SocketMode
from tests.sims.slack.values import Channel, Json
from tests.sims.slack.workspace import Workspace

STREAM_SECONDS = 300.0  # a stream's lifetime (reported: 300 to 306)
STATUS_SECONDS = 120.0  # of the words under a thread (documented)
STREAM_CHARACTERS = 11_500  # of a stream's text (reported: between 11,000 and 12,000)
TRIGGER_SECONDS = 3.0
RESPONSE_URL_SECONDS = 1800.0
RESPONSE_URL_USES = 5


@dataclass(slots=True)
class Trigger:
    """A trigger_id, valid for one view within three seconds."""

    user: str
    expires: float
    used: bool = False


@dataclass(slots=True)
class Hook:
    """A response_url, and the app's responses there and in its acknowledgement."""

    channel: str
    user: str
    message_ts: str = ""  # the message that `replace_original` replaces
    expires: float = field(default_factory=lambda: time.monotonic() + RESPONSE_URL_SECONDS)
    responses: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class Uploads:
    """The state of uploads; a file appears `seconds` after its upload was completed."""

    seconds: float = 0.0
    allowed: bool = True  # an administrator may forbid them
    completed: set[str] = field(default_factory=set)


class Platform:
    """The app in one workspace; `beside` is another workspace of the same app."""

    def __init__(self, home: Home | None = None, beside: Platform | None = None) -> None:
        self.url: str = beside.url if beside else ""
        self.home = home or Home()
        self.sockets: SocketMode = beside.sockets if beside else SocketMode()
        self.delivery: Delivery = beside.delivery if beside else Delivery(self.sockets)
        self.events = Events(self.delivery.event, self.home)
        self.workspace = Workspace(self.events.publish, self.home)
        self.organization = [self]  # the workspaces of its installation
        self.revoke: Callable[[str], None] = lambda _code: None  # ends its tokens
        self.accepts: Callable[[str], bool] = lambda _token: True
        self.limits = RateLimits()
        self.uses_oauth = False
        self.revoked = ""  # the error code once the bot token is revoked
        self.stream_seconds = STREAM_SECONDS
        self.stream_characters = STREAM_CHARACTERS
        self.status_seconds = STATUS_SECONDS
        self.triggers: dict[str, Trigger] = {}
        self.hooks: dict[str, Hook] = {}
        self.views: dict[str, Json] = {}
        self.homes: dict[str, Json] = {}  # by user
        self.files: dict[str, Json] = {}
        self.contents: dict[str, bytes] = {}
        self.uploads = Uploads()
        self.commands: set[str] | None = None  # the slash commands of the manifest; None: any
        self.shortcuts: set[str] | None = None
        self.unknown_blocks: set[str] = set()  # block types that the workspace refuses
        self.agent = True  # the app is declared as an agent
        self.has_groups = True  # the plan has user groups
        self.messages_tab = True  # people can write direct messages to the app

    def covered(self) -> list[Home]:
        """The workspaces that the installation has access to."""
        return [one.home for one in self.organization]

    def end_installation(self) -> None:
        """Stop sending anything to the app, if it was installed with OAuth."""
        for one in self.organization if self.home.number > 1 or self.uses_oauth else ():
            one.events.installed = False

    def scope_error(self, needed: str) -> Json:
        """The fields that accompany `missing_scope`."""
        return {"needed": needed, "provided": ",".join(sorted(self.events.scopes))}

    def trigger(self, user: str) -> str:
        """A new trigger_id."""
        trigger = uuid.uuid4().hex
        self.triggers[trigger] = Trigger(user, time.monotonic() + TRIGGER_SECONDS)
        return trigger

    def hook(self, channel: Channel, user: str, message_ts: str = "") -> str:
        """The id of a new response_url."""
        name = uuid.uuid4().hex
        self.hooks[name] = Hook(channel.id, user, message_ts)
        return name

    def hook_url(self, name: str) -> str:
        """The response_url of a hook."""
        return f"{self.url}/respond/{name}"
