"""The web as a platform: users talk in the page's channel, and programs in conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.types import ASGIApp

from adapters.web.auth import Access
from adapters.web.chat import CHANNEL, PLATFORM, ChatService
from adapters.web.html_pool import Rendering
from adapters.web.hub import Hub, Live
from adapters.web.limits import Streams
from adapters.web.site import build_site
from adapters.web.surface import WebSurface, limits
from adapters.web.workspace import Workspace
from adapters.web.wrong_tokens import Guesses
from bot.domain.conversations import Role
from bot.domain.health import Finding, Health
from bot.domain.inbox import CommandReply, Incoming
from bot.domain.turns import Claim
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.library import Library
from bot.ports.platform import Surface
from bot.replies.ratelimit.limiter import Pacer


class WebAdapter:
    """The page and the API. `hosts` are the names that it answers under besides loopback's.

    `opening` is already said where a thread of the page begins; `most_streams` is per user.
    """

    def __init__(
        self,
        *,
        library: Library,
        clock: Clock,
        access: Access,
        models: Sequence[str],
        default_model: str,
        hosts: Sequence[str] = (),
        any_address: bool = False,
        most_streams: int = 100,
        opening: tuple[tuple[Role, str], ...] = (),
    ) -> None:
        self._clock, self._hub = clock, Hub()
        self._pacer = Pacer(limits, clock)
        self._rendering = Rendering()
        self._talk = ChatService(
            library=library, hub=self._hub, clock=clock, rendering=self._rendering
        )
        streams = Streams(most_streams)
        self._workspace = Workspace(
            talk=self._talk,
            streams=streams,
            models=models,
            default_model=default_model,
            needs_token=access.needs_token,
            opening=opening,
        )
        self.site: ASGIApp = build_site(
            talk=self._talk,
            workspace=self._workspace,
            streams=streams,
            access=access,
            models=models,
            hosts=hosts,
            any_address=any_address,
            guesses=Guesses(clock),
        )

    @property
    def name(self) -> str:
        """The platform's word."""
        return PLATFORM

    async def run(self, inbox: Inbox) -> None:
        """Let the site's requests in until cancelled; then every stream ends."""
        self._talk.inbox = inbox
        try:
            await inbox.connected(PLATFORM)
            await asyncio.get_running_loop().create_future()
        finally:
            self._talk.inbox = None
            self._hub.close()
            self._rendering.close()

    def surface(self, claim: Claim) -> Surface:
        """The reply in the hub; only threads of the page's channel are the page's."""
        key = claim.conversation.key
        live = Live(
            turn=claim.fence.turn,
            conversation=claim.conversation.id,
            user=key.workspace,
            thread=key.thread if key.channel == CHANNEL else None,
            begun_at=self._clock.time(),
            colour=self._rendering.colour,
        )
        return WebSurface(
            claim,
            hub=self._hub,
            live=live,
            grants=self._pacer,
            told=self._workspace.told,
            grew=self._workspace.tell_live,
        )

    async def backlog(self, incoming: Incoming) -> Sequence[Incoming]:
        """Nothing is said here that is not known already."""
        return ()

    async def say(self, incoming: Incoming, answer: CommandReply) -> None:
        """Hand a command's answer to the request that waits for it."""
        self._talk.answered(incoming.message_id, answer)

    async def check(self) -> Sequence[Finding]:
        """There is nothing to connect to."""
        return ()

    def health(self) -> Health:
        """Whether requests are let in."""
        return Health(ok=self._talk.inbox is not None)
