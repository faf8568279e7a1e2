"""One app for many workspaces: what its installations, pages and commands share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator
from starlette.types import ASGIApp

from adapters.slack import handshake
from adapters.slack.api import WebApi, web_client
from adapters.slack.budgets import workspace_limiter
from adapters.slack.events import PLATFORM, Identity
from adapters.slack.installation_check import check_installations
from adapters.slack.installations import StoredInstallation, unseal
from adapters.slack.many import ManyWorkspaces
from adapters.slack.oauth import InstallPages, StateStore
from adapters.slack.oauth_client import OAuthApp, give_back
from adapters.slack.rotation import Exclusively, StoredToken, alone
from adapters.slack.session import SessionMaker
from adapters.slack.token import FixedToken
from adapters.slack.vault import SlackInstallationStore, Vault
from adapters.slack.workspace import Workspace
from adapters.slack.workspaces import Workspaces, choose, open_workspace
from bot.common.encryption import SecretBox, WrongKey
from bot.domain import install_texts
from bot.domain.errors import CannotStart
from bot.domain.health import Finding
from bot.domain.installations import SealedInstallation
from bot.ports.clock import Clock
from bot.ports.installations import InstallationReader, InstallationStore


@dataclass(frozen=True, slots=True)
class Distribution:
    """The app's credentials, the keys that encrypt its tokens, and the store of installations.

    `store` is None for commands that run beside the bot and only read. `exclusively` is
    `bot.ports.cluster.Cluster.exclusively`; the default is for a single process.
    """

    app: OAuthApp
    box: SecretBox = field(repr=False)
    reader: InstallationReader
    store: InstallationStore | None = None
    exclusively: Exclusively = alone

    def unseal(self, sealed: SealedInstallation) -> StoredInstallation | None:
        """An installation with its tokens; None if no key decrypts them."""
        try:
            return unseal(self.box, sealed)
        except WrongKey:
            return None


class DistributedApp:
    """Builds the parts that serve one app's installations."""

    def __init__(self, distribution: Distribution, clock: Clock) -> None:
        self._distribution, self._clock = distribution, clock
        self._pages = InstallPages(distribution.app, clock)

    @property
    def apps(self) -> Mapping[str, ASGIApp]:
        """The installation pages, by path."""
        return self._pages.apps

    def workspaces(self, make: SessionMaker) -> Workspaces:
        """The workspaces that have installed the app, or will. Raises CannotStart."""
        distribution = self._distribution
        if distribution.store is None:
            raise CannotStart(install_texts.READ_ONLY)
        vault = Vault(records=distribution.store, box=distribution.box, clock=self._clock)
        client = web_client("", make.api_url, make.http)
        rotator = AsyncTokenRotator(
            client_id=distribution.app.client_id,
            client_secret=distribution.app.client_secret,
            client=client,
        )

        def make_token(workspace: str) -> StoredToken:
            return StoredToken(
                workspace=workspace,
                vault=vault,
                rotator=rotator,
                exclusively=distribution.exclusively,
            )

        async def welcome(workspace: str) -> None:
            await many.welcome(workspace)

        pages = self._pages.serving(
            client=client,
            store=SlackInstallationStore(
                vault=vault,
                teams=distribution.app.teams,
                identify=partial(_identify, make),
                give_back=partial(give_back, client, distribution.app),
                saved=welcome,
            ),
            states=StateStore(distribution.store, self._clock),
        )
        many = ManyWorkspaces(vault=vault, make=make, make_token=make_token, pages=pages)
        return many

    # ── doctor ────────────────────────────────────────────────────────────────────────────────
    async def check(self, http: aiohttp.ClientSession, api_url: str | None) -> Sequence[Finding]:
        """A finding for each installation. Raises StoreUnavailable."""
        return await check_installations(
            await self._distribution.reader.list_sealed(PLATFORM),
            unseal=self._distribution.unseal,
            api_with=partial(self._api_with, http, api_url),
            teams=self._distribution.app.teams,
            now=self._clock.time(),
        )

    def _api_with(self, http: aiohttp.ClientSession, api_url: str | None, token: str) -> WebApi:
        """The Web API with one token, without watching it: doctor calls auth.test itself."""
        return WebApi(
            client=web_client(token, api_url, http),
            session=http,
            rate_limiter=workspace_limiter(self._clock),
            clock=self._clock,
        )

    @asynccontextmanager
    async def open_workspaces(
        self, api_url: str | None, wanted: Collection[str]
    ) -> AsyncIterator[Sequence[Workspace]]:
        """The wanted workspaces whose tokens work, for a few questions by `doctor`."""
        async with AsyncExitStack() as closing:
            found: list[Workspace] = []
            every = await self._distribution.reader.list_sealed(PLATFORM)
            usable = {
                each.installation.workspace: each for each in every if not each.installation.problem
            }
            for workspace in choose(usable, wanted):
                stored = self._distribution.unseal(usable[workspace])
                if stored is not None:
                    opening = open_workspace(stored.credentials.token, api_url, self._clock)
                    with contextlib.suppress(Exception):  # `check` says what is wrong with it
                        found.append(await closing.enter_async_context(opening))
            yield found


async def _identify(make: SessionMaker, token: str) -> Identity:
    """Ask Slack whose token a new one is. Raises a PlatformError."""
    return handshake.read_identity(await make.api(FixedToken(token)).read("auth.test"))
