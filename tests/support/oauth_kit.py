"""Shared by the tests of one Slack app in many workspaces: settings, and a person's browser."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import aiohttp

from adapters.slack.adapter import SlackAdapter
from adapters.slack.distribution import Distribution
from adapters.slack.many import ManyWorkspaces
from adapters.slack.oauth_client import OAuthApp
from adapters.slack.rotation import Exclusively, alone
from adapters.web.server import HttpServer
from bot.common.clock import SystemClock
from bot.common.encryption import SecretBox
from bot.domain.inbox import Incoming, Watermark
from bot.domain.installations import Installation
from bot.ports.clock import Clock
from bot.store.sqlite import SqliteStore
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.catalog import offering
from tests.support.fake_inbox import FakeInbox
from tests.support.ports import free_port
from tests.support.slack_kit import until
from tests.support.store_kit import opened

KEY = "c2l4dGVlbi1ieXRlcy1zaXh0ZWVuLWJ5dGVzLTMyLWI="
OTHER_KEY = "YW5vdGhlci1rZXktYW5vdGhlci1rZXktMzItYnl0ZXM="
_LINK = re.compile(r'<a class="button" rel="noreferrer" href="([^"]+)"')
_COOKIE = re.compile(r"slack-app-oauth-state=([^;]+)")


def settings(sim: SlackSim, **more: str) -> Mapping[str, str]:
    """The settings of an app in Socket Mode that every workspace may install."""
    return {
        "SLACK_CLIENT_ID": ids.CLIENT_ID,
        "SLACK_CLIENT_SECRET": ids.CLIENT_SECRET,
        "SLACK_APP_TOKEN": ids.APP_TOKEN,
        "SLACK_API_URL": sim.api_url,
        "SLACK_INSTALL_TEAMS": "*",
        "INSTALLATION_KEY": KEY,
        **more,
    }


@dataclass(frozen=True, slots=True)
class PageSeen:
    """A page as a browser receives it."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookie: str = ""

    @property
    def link(self) -> str:
        """The target of its button; "" without one."""
        found = _LINK.search(self.text)
        return unescape(found[1]) if found else ""


class Installer:
    """A person with a browser who installs the app from the bot at `origin`."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    async def open(self) -> PageSeen:
        """Open the page on which an installation begins."""
        return await self.get(f"{self.origin}/slack/install")

    async def get(self, url: str, cookie: str = "") -> PageSeen:
        """Get a page; redirects are not followed."""
        headers = {"Cookie": f"slack-app-oauth-state={cookie}"} if cookie else {}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(url, headers=headers, allow_redirects=False) as response,
        ):
            text = await response.text()
            found = _COOKIE.search(response.headers.get("Set-Cookie", ""))
            target = response.headers.get("Location", "")
            kept = dict(response.headers)
            return PageSeen(response.status, kept, text or target, found[1] if found else "")

    async def agree(self, page: PageSeen) -> str:
        """Press the button and decide at Slack; returns the address that Slack redirects to."""
        return (await self.get(page.link)).text

    async def install(self) -> PageSeen:
        """Begin, agree and return to the bot; returns the last page."""
        page = await self.open()
        assert page.status == 200, page
        return await self.get(await self.agree(page), page.cookie)


@dataclass
class Rig:
    """A running adapter for many workspaces, with its pages on a port."""

    sim: SlackSim
    adapter: SlackAdapter
    store: SqliteStore
    person: Installer
    inbox: FakeInbox

    @property
    def many(self) -> ManyWorkspaces:
        """The workspaces of the running adapter."""
        workspaces = self.adapter._workspaces
        assert isinstance(workspaces, ManyWorkspaces)
        return workspaces

    async def install(self, number: int = 1, *, org_wide: bool = False) -> None:
        """Install the app in a workspace."""
        await self.sim.consent(number, org_wide=org_wide)
        page = await self.person.install()
        assert page.status == 200, page

    async def list_installed(self) -> dict[str, Installation]:
        """The stored installations, by workspace."""
        found = await self.store.installations().list_installations("slack")
        return {each.workspace: each for each in found}

    async def find_received(self, text: str) -> Incoming:
        """The message with this text, once the inbox has it."""

        def find() -> Incoming | None:
            return next((one for one in self.inbox.received if text in one.text), None)

        found = await until(find)
        assert isinstance(found, Incoming)
        return found


@contextlib.asynccontextmanager
async def run_distributed(
    sim: SlackSim,
    path: Path,
    *,
    teams: Sequence[str] = ("*",),
    clock: Clock | None = None,
    exclusively: Exclusively = alone,
    marks: dict[tuple[str, str], Watermark] | None = None,
) -> AsyncIterator[Rig]:
    """An adapter on the database at `path`, connected by Socket Mode, with these watermarks."""
    clock, inbox, port = clock or SystemClock(), FakeInbox(marks=marks or {}), free_port()
    origin = f"http://127.0.0.1:{port}"
    await sim.oauth(redirect_urls=[f"{origin}/slack/oauth_redirect"])
    async with opened(path) as store:
        installations = store.installations()
        adapter = SlackAdapter(
            distribution=Distribution(
                OAuthApp(ids.CLIENT_ID, ids.CLIENT_SECRET, teams),
                SecretBox([KEY]),
                installations,
                installations,
                exclusively,
            ),
            app_token=ids.APP_TOKEN,
            api_url=sim.api_url,
            models=offering(),
            clock=clock,
            request_seconds=2.0,
        )
        server = HttpServer(host="127.0.0.1", port=port, health=dict, apps=adapter.http_apps)
        tasks = [asyncio.create_task(work) for work in (server.run(), adapter.run(inbox))]
        try:
            await sim.connected()
            await until(lambda: inbox.connections, tasks[1])
            yield Rig(sim, adapter, store, Installer(origin), inbox)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
