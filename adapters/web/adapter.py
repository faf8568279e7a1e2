"""The web adapter: users write in the page's channel, programs in conversations of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp

from adapters.web.auth import Access
from adapters.web.chat import ChatService
from adapters.web.choices import ChoicePorts
from adapters.web.connect import may_connect
from adapters.web.feedback import FeedbackPorts
from adapters.web.html_pool import HtmlPool
from adapters.web.hub import Hub, LiveReply
from adapters.web.limits import StreamLimit, UploadLimits
from adapters.web.live_follower import LiveFollower
from adapters.web.live_sender import LiveSender
from adapters.web.models import Assigned, PlacedModels
from adapters.web.page_events import PageEvents
from adapters.web.places import PLATFORM, is_on_page
from adapters.web.privacy import PrivacyRoutes
from adapters.web.sample import open_sample
from adapters.web.search import SearchRoutes
from adapters.web.sessions import Sessions
from adapters.web.site import build_site
from adapters.web.surface import WebSurface, limits
from adapters.web.workspace import Workspace
from adapters.web.wrong_tokens import WrongTokenThrottle
from bot.common.local_cluster import LocalCluster
from bot.domain.attachments import Download, Omission
from bot.domain.cluster import Signal, SignalKind
from bot.domain.conversations import Author, ConversationKey, Role
from bot.domain.errors import AttachmentError
from bot.domain.health import Finding, Health
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.money import USD
from bot.domain.turns import Claim
from bot.policy.open_directory import OpenDirectory
from bot.ports.clock import Clock
from bot.ports.cluster import Cluster
from bot.ports.connecting import ModelConnector
from bot.ports.context import ContextReporter
from bot.ports.inbox import Inbox
from bot.ports.library import Library
from bot.ports.model import ModelCatalog
from bot.ports.platform import Surface
from bot.ports.policy import Directory
from bot.ports.search import Search
from bot.ports.sessions import SessionStore
from bot.ports.spending import UsageReporter
from bot.replies.ratelimit.limiter import AccountRateLimiter


class WebAdapter:
    """The page and the API. `hosts` are additional host names to accept, beside loopback.

    `opening` starts each thread of the page; `most_streams` is a limit per user. Without `uploads`
    messages have no files. `reporter` describes what the model will get of a conversation, `usage`
    what people used, and `assigned` the model that the rules give a place. `privacy` erases,
    exports and audits. Without `feedback`, answers cannot be rated. `cluster` are the processes
    that serve the same users. `sample`: a new installation shows a thread from the start.
    `connector` lets the owner connect a model. Without `sessions`, every request needs a token.
    With `choices`, threads have settings and links. `search` finds words in users' conversations.
    `shared` are the channels of all users.
    """

    def __init__(
        self,
        *,
        library: Library,
        clock: Clock,
        access: Access,
        models: ModelCatalog,
        reporter: ContextReporter,
        hosts: Sequence[str] = (),
        any_address: bool = False,
        most_streams: int = 100,
        opening: tuple[tuple[Role, str], ...] = (),
        uploads: UploadLimits | None = None,
        assigned: Assigned = lambda _place: None,
        usage: UsageReporter | None = None,
        privacy: PrivacyRoutes | None = None,
        feedback: FeedbackPorts | None = None,
        cluster: Cluster | None = None,
        sample: bool = False,
        connector: ModelConnector | None = None,
        shared: tuple[str, ...] = (),
        sessions: SessionStore | None = None,
        choices: ChoicePorts | None = None,
        search: Search | None = None,
    ) -> None:
        self._cluster = cluster or LocalCluster()
        self._cluster.listen(SignalKind.LIVE, self._on_live)
        self._sample = sample and not access.needs_token
        placed = PlacedModels(models, assigned)
        self._clock, self._hub = clock, Hub()
        self._rate_limiter = AccountRateLimiter(limits, clock)
        self._html_pool = HtmlPool()
        self._chat = ChatService(
            library=library,
            hub=self._hub,
            clock=clock,
            html_pool=self._html_pool,
            currency=lambda: USD if usage is None else usage.currency,
            shared=shared,
        )
        streams, uploads = StreamLimit(most_streams), uploads or UploadLimits()
        browsers = None
        if sessions is not None and access.needs_token:
            browsers = Sessions(store=sessions, access=access, clock=clock)
        self._events = PageEvents(self._chat, placed)
        self._sender = LiveSender(cluster=self._cluster, hub=self._hub, clock=clock)
        self._follower = LiveFollower(
            cluster=self._cluster,
            hub=self._hub,
            replies=library,
            clock=clock,
            highlight=self._html_pool.highlight,
            on_text=self._events.push_live_reply,
        )
        self._directory = OpenDirectory(self._tell, is_admin=access.is_admin)
        workspace = Workspace(
            chat=self._chat,
            events=self._events,
            streams=streams,
            models=placed,
            needs_token=access.needs_token,
            opening=opening,
            uploads=uploads,
            feedback=feedback,
            may_connect=lambda user: connector is not None and may_connect(access, user),
            choices=choices,
            tell_others=self._tell_others,
        )
        self.site: ASGIApp = build_site(
            chat=self._chat,
            workspace=workspace,
            streams=streams,
            access=access,
            models=placed,
            reporter=reporter,
            hosts=hosts,
            any_address=any_address,
            throttle=WrongTokenThrottle(clock),
            uploads=uploads,
            usage=usage,
            privacy=privacy,
            feedback=feedback,
            connector=connector,
            sessions=browsers,
            choices=choices,
            search=None if search is None else SearchRoutes(search),
        )

    @property
    def name(self) -> str:
        """The platform's name in conversation keys."""
        return PLATFORM

    @property
    def directory(self) -> Directory:
        """The users: administrators are those of ADMINS, all others are members."""
        return self._directory

    async def _tell(self, _key: ConversationKey, author: Author, text: str) -> None:
        """Show a sentence in the user's open pages."""
        self._events.push_notice(author.id, None, text, None)

    async def run(self, inbox: Inbox) -> None:
        """Accept requests until cancelled; then end every stream. After a failure it can run
        again, so that only refuses requests meanwhile."""
        self._chat.inbox = inbox
        try:
            await inbox.connected(PLATFORM)
            if self._sample:
                await open_sample(self._chat)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sender.run(), name="live sender")
                tasks.create_task(self._follower.run(), name="live follower")
        except asyncio.CancelledError:
            self._hub.close()
            self._html_pool.close()
            raise
        finally:
            self._chat.inbox = None

    def models_changed(self) -> None:
        """Other models are offered: every open page reads its threads and choices again."""
        self._hub.refresh()

    def surface(self, claim: Claim) -> Surface:
        """The surface of a reply in the hub."""
        key = claim.conversation.key
        live = LiveReply(
            turn=claim.fence.turn,
            conversation=claim.conversation.id,
            workspace=key.workspace,
            thread=key.thread if is_on_page(key) else None,
            begun_at=self._clock.time(),
            highlight=self._html_pool.highlight,
            attempt=claim.fence.attempt,
        )
        return WebSurface(
            claim,
            hub=self._hub,
            live=live,
            rate_limiter=self._rate_limiter,
            on_state=self._tell_state,
            on_text=self._show_text,
        )

    def _show_text(self, live: LiveReply) -> None:
        """A reply has new text: show it on the pages here, and on those at other processes."""
        self._events.push_live_reply(live)
        self._sender.changed()

    async def _tell_state(self, live: LiveReply) -> None:
        """A reply has begun or ended: tell the pages here, and those at other processes."""
        await self._events.push_reply(live)
        signal = Signal(SignalKind.LIVE, live.conversation, live.turn, reason=live.workspace)
        self._cluster.send(signal)

    def _tell_others(self, workspace: str, conversation: int) -> None:
        """Another branch is shown: tell the pages at other processes."""
        self._cluster.send(Signal(SignalKind.LIVE, conversation, reason=workspace))

    async def _on_live(self, signal: Signal) -> None:
        """A workspace's reply at another process has begun or ended, or another branch is shown;
        without a workspace, all of this may have happened."""
        if signal.reason:
            self._follower.changed(signal.turn, signal.reason)
            self._hub.wake(signal.turn)
            self._hub.refresh(signal.reason)
        else:
            self._follower.missed()
            self._hub.wake_all()
            self._hub.refresh()

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Empty: the web has no messages from before the conversation."""
        return ()

    def is_own_link(self, _url: str) -> bool:
        """See `Adapter.is_own_link`."""
        return False

    async def download(
        self, key: ConversationKey, locator: Mapping[str, str], *, limit: int
    ) -> Download:
        """See `Adapter.download`."""
        raise AttachmentError(Omission.GONE)

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Hand a command's reply to the request that waits for it."""
        self._chat.resolve_command(incoming.message_id, answer)

    async def check(self) -> Sequence[Finding]:
        """Nothing to check: there is no connection."""
        return ()

    def health(self) -> Health:
        """Whether the adapter accepts requests."""
        return Health(ok=self._chat.inbox is not None)
