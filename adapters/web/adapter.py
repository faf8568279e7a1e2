"""The web adapter: users write in the page's channel, programs in conversations of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from adapters.web.chat import ChatService
from adapters.web.html_pool import HtmlPool
from adapters.web.hub import Hub, LiveReply
from adapters.web.limits import StreamLimit
from adapters.web.live_follower import LiveFollower
from adapters.web.live_sender import LiveSender
from adapters.web.models import PlacedModels
from adapters.web.page_events import PageEvents
from adapters.web.places import EVERYONE, PLATFORM, is_on_page
from adapters.web.ports import WebOptions, WebParts, WebPorts
from adapters.web.sample import open_sample
from adapters.web.sessions import Sessions
from adapters.web.site import SiteOnDemand
from adapters.web.surface import WebSurface, limits
from bot.domain.attachments import Download, Omission
from bot.domain.cluster import Signal, SignalKind
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import AttachmentError
from bot.domain.health import Finding, Health
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.turns import Claim
from bot.policy.open_directory import OpenDirectory
from bot.ports.inbox import Inbox
from bot.ports.platform import Surface
from bot.ports.policy import Directory
from bot.replies.ratelimit.limiter import AccountRateLimiter


class WebAdapter:
    """The page and the API."""

    def __init__(self, ports: WebPorts, options: WebOptions) -> None:
        access, clock = options.access, ports.clock
        self._cluster, self._clock, self._hub = ports.cluster, clock, Hub()
        self._cluster.listen(SignalKind.LIVE, self._on_live)
        self._sample = options.sample and not access.needs_token
        self._rate_limiter = AccountRateLimiter(limits, clock)
        self._html_pool = HtmlPool()
        self._chat = ChatService(
            library=ports.library,
            hub=self._hub,
            clock=clock,
            html_pool=self._html_pool,
            currency=lambda: ports.usage.currency,
            shared=options.shared,
            tell_others=self._tell_others,
        )
        models = PlacedModels(ports.models, ports.assigned)
        self._events = PageEvents(self._chat, models)
        self._sender = LiveSender(cluster=self._cluster, hub=self._hub, clock=clock)
        self._follower = LiveFollower(
            cluster=self._cluster,
            hub=self._hub,
            replies=ports.library,
            clock=clock,
            highlight=self._html_pool.highlight,
            on_text=self._events.push_live_reply,
        )
        self._directory = OpenDirectory(self._tell, is_admin=access.is_admin)
        self.site = SiteOnDemand(self._parts(ports, options, models))

    def _parts(self, ports: WebPorts, options: WebOptions, models: PlacedModels) -> WebParts:
        access, sessions = options.access, None
        if access.needs_token:
            sessions = Sessions(store=ports.sessions, access=access, clock=ports.clock)
        return WebParts(
            ports=ports,
            options=options,
            chat=self._chat,
            events=self._events,
            models=models,
            streams=StreamLimit(options.most_streams),
            sessions=sessions,
        )

    @property
    def name(self) -> str:
        """The platform's name in conversation keys."""
        return PLATFORM

    @property
    def directory(self) -> Directory:
        """The users as a directory: those in ADMINS are administrators, all others members."""
        return self._directory

    async def _tell(self, _key: ConversationKey, author: Author, text: str) -> None:
        """Show a sentence in the user's open pages."""
        self._events.push_notice(author.id, None, text, None)

    async def run(self, inbox: Inbox) -> None:
        """Accept requests until cancelled, then end every stream.

        A failure ends no stream, because the adapter runs again a moment later.
        """
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
        """Make every open page reload its threads and choices, because the offered models
        changed."""
        self._hub.refresh()

    def erased(self) -> None:
        """Make every open page read everything again, here and at other processes, and drop the
        events that have what was erased."""
        self._hub.drop()
        self._hub.refresh()
        self._tell_others(EVERYONE, 0)

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
        """Show a reply's new text on the pages here and at other processes."""
        self._events.push_live_reply(live)
        self._sender.changed()

    async def _tell_state(self, live: LiveReply) -> None:
        """Tell the pages here and at other processes that a reply has begun or ended."""
        await self._events.push_reply(live)
        signal = Signal(SignalKind.LIVE, live.conversation, live.turn, reason=live.workspace)
        self._cluster.send(signal)

    def _tell_others(self, workspace: str, conversation: int) -> None:
        """Tell the pages at other processes that a conversation's display has changed."""
        self._cluster.send(Signal(SignalKind.LIVE, conversation, reason=workspace))

    async def _on_live(self, signal: Signal) -> None:
        """Handle another process's signal that a reply began or ended, or that its page's display
        changed.

        Without a workspace, any of this may have happened anywhere.
        """
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
        """Pass a command's reply to the request that waits for it."""
        self._chat.resolve_command(incoming.message_id, answer)

    async def check(self) -> Sequence[Finding]:
        """No findings: there is no connection to check."""
        return ()

    def health(self) -> Health:
        """Whether the adapter accepts requests."""
        return Health(ok=self._chat.inbox is not None)
