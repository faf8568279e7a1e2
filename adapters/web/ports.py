"""What the page and the API need: the core's ports, and how they are served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.web.auth import Access
from adapters.web.chat import ChatService
from adapters.web.choices import ChoicePorts
from adapters.web.feedback import FeedbackPorts
from adapters.web.limits import StreamLimit, UploadLimits
from adapters.web.models import Assigned, PlacedModels
from adapters.web.page_events import PageEvents
from adapters.web.privacy import PrivacyRoutes
from adapters.web.sessions import Sessions
from bot.domain.templates import Said
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster
from bot.ports.connecting import ModelConnector
from bot.ports.context import ContextReporter
from bot.ports.library import Library
from bot.ports.model import ModelCatalog
from bot.ports.search import Search
from bot.ports.sessions import SessionStore
from bot.ports.spending import UsageReporter

NO_UPLOADS = UploadLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """How the page and the API are served.

    `hosts` are additional host names to accept, beside loopback; `OriginCheck` explains
    `any_address`. `most_streams` is a limit per user. `opening` starts each thread of the page.
    With the default `uploads` messages have no files. `shared` are the channels of all users.
    `sample`: a new installation shows a thread from the start.
    """

    access: Access
    hosts: Sequence[str] = ()
    any_address: bool = False
    most_streams: int = 100
    opening: Said = ()
    uploads: UploadLimits = NO_UPLOADS
    shared: tuple[str, ...] = ()
    sample: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPorts:
    """The core, as the page and the API see it.

    `assigned` is the model that the rules give a place, `reporter` describes what the model will
    get of a conversation, `usage` what people used. `privacy` erases, exports and audits, `search`
    finds words in users' conversations. `cluster` are the processes that serve the same users.
    With a `connector` the owner connects a model.
    """

    library: Library
    clock: Clock
    cluster: Cluster
    models: ModelCatalog
    assigned: Assigned
    reporter: ContextReporter
    usage: UsageReporter
    privacy: PrivacyRoutes
    feedback: FeedbackPorts
    choices: ChoicePorts
    search: Search
    sessions: SessionStore
    connector: ModelConnector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """What the routes share. Without tokens there are no `sessions`."""

    ports: WebPorts
    options: WebOptions
    chat: ChatService
    events: PageEvents
    models: PlacedModels
    streams: StreamLimit
    sessions: Sessions | None
