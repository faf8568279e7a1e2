"""Shared by the tests of one Slack app in many workspaces: settings, and a person's browser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape

import aiohttp

from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim

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
    """A page as a browser gets it."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookie: str = ""

    @property
    def link(self) -> str:
        """Where its button leads; "" without one."""
        found = _LINK.search(self.text)
        return unescape(found[1]) if found else ""


class Installer:
    """A person with a browser, who installs the app that the bot at `origin` serves."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    async def open(self) -> PageSeen:
        """Open the page where an installation begins."""
        return await self.get(f"{self.origin}/slack/install")

    async def get(self, url: str, cookie: str = "") -> PageSeen:
        """Open a page; redirects are not followed."""
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
        """Press the button and decide at Slack; returns where Slack leads the browser."""
        return (await self.get(page.link)).text

    async def install(self) -> PageSeen:
        """Begin, agree and return; the last page."""
        page = await self.open()
        assert page.status == 200, page
        return await self.get(await self.agree(page), page.cookie)
