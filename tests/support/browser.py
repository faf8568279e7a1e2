"""The page in the machine's Chromium, driven by Playwright, against the real bot.

In every test, a visitor also records what must never happen: an error in the page, a
violation of its Content-Security-Policy, a request to another server.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from tests.sims.kit import pause_since
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess

# The shell is the same engine without windows and toolbars: a third of the CPU time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None,
    reason="the page was not tried: no chromium here (apt-get install chromium-headless-shell)",
)
# Generous, because two browsers may share one busy core; normally a second is enough.
PATIENCE_MS = 15_000
DESKTOP = {"width": 1280, "height": 800}
# Without motion: what fades in has another color each time it is read.
USUAL = {"viewport": DESKTOP, "reduced_motion": "reduce"}
PHONE = {"width": 390, "height": 844}

_WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`violated: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""

expect.set_options(timeout=PATIENCE_MS)


@dataclass
class BrowserErrors:
    """Recorded events that must never happen."""

    found: list[str] = field(default_factory=list)
    provoked: tuple[str, ...] = ()  # words of expected errors

    def heard(self, message: ConsoleMessage) -> None:
        # The console also reports connections that a test cuts.
        forgiven = ("Failed to load resource", *self.provoked)
        if message.type == "error" and not any(words in message.text for words in forgiven):
            self.found.append(message.text)


class House:
    """A bot that serves the page, and its simulated model.

    `users` have a token each, so that every test can be a new user; with 0 the page needs no
    token.
    """

    def __init__(self, model: ModelSim, folder: Path, users: int = 400) -> None:
        self.model = model
        self._tokens = [f"secret-of-sixteen-{n}" for n in range(users)]
        self._needs_token = users > 0
        named = ",".join(f"user{n}:{token}" for n, token in enumerate(self._tokens))
        self.bot = BotProcess(
            folder,
            {
                "LLM": "openai:sim",
                "MODELS": "openai:sim,openai:sim-2",
                "OPENAI_BASE_URL": model.base_url,
                "OPENAI_API_KEY": "sk-simulated",
                "SYSTEM_PROMPT": "Be brief.",
                "HTTP_TOKENS": named,
            },
        )

    @property
    def origin(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.bot.http_port}"

    def new_token(self) -> str | None:
        """The token of a user who has not visited yet; None where the page needs no token."""
        return self._tokens.pop() if self._needs_token else None


class Visitor:
    """One person's browser at the page; its `Tab`s share storage."""

    def __init__(self, context: BrowserContext, origin: str, token: str | None) -> None:
        self.context, self.origin, self.token = context, origin, token
        self.trouble = BrowserErrors()

    @classmethod
    async def arrive(
        cls, browser: Browser, origin: str, token: str | None = None, **options: Any
    ) -> Visitor:
        """`options` are Playwright's context options: viewport, color_scheme, has_touch …"""
        context = await browser.new_context(**USUAL | options)
        context.set_default_timeout(PATIENCE_MS)
        visitor = cls(context, origin, token)
        await context.add_init_script(_WATCH)
        if token is not None:
            await sign_in(context, origin, token)
        context.on("request", lambda request: visitor._requested(request.url))
        return visitor

    async def tab(self, path: str = "/") -> Tab:
        """Open the page in a new tab."""
        page = await self.context.new_page()
        page.on("pageerror", lambda error: self.trouble.found.append(str(error)))
        page.on("console", self.trouble.heard)
        await page.goto(self.origin + path)
        return Tab(page)

    def _requested(self, url: str) -> None:
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self.origin and parts.scheme != "blob":
            self.trouble.found.append(f"a request to {url}")


async def sign_in(context: BrowserContext, origin: str, token: str) -> None:
    """Give the browser the cookie for a token; a wrong token gives none."""
    headers = {"Authorization": f"Bearer {token}", "Origin": origin}
    await context.request.post(f"{origin}/app/session", headers=headers)


class Tab:
    """The page in one tab, with a user's actions as methods."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.channel = page.get_by_role("region", name="general")
        self.channel_box = page.get_by_label("Message to general")
        self.thread = page.locator("#thread")
        self.box = page.get_by_label("Reply in the thread")
        self.stop = page.get_by_role("button", name="Stop")
        self.replies = self.thread.locator("article.from-assistant")
        self.questions = self.thread.locator("article.from-user")
        self.notices = self.thread.locator("article.from-notice")
        self.roots = self.channel.locator("article.root")

    async def mention(self, text: str) -> None:
        """Ask in the channel, and wait for the thread to open."""
        await self.channel_box.fill(f"@threadline {text}")
        await self.channel_box.press("Enter")
        await expect(self.thread).to_be_visible()

    async def say(self, text: str) -> None:
        """Write in the thread."""
        await self.box.fill(text)
        await self.box.press("Enter")

    async def look(self, *, away: bool) -> None:
        """Pretend that another tab covers the window, or that it is visible again."""
        await self.page.evaluate(
            """(away) => {
              Object.defineProperty(document, "hidden", { configurable: true, value: away });
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            away,
        )

    async def wait_reply(self, text: str, n: int = -1) -> Locator:
        """The `n`th reply, once it is complete and contains `text`."""
        reply = self.replies.nth(n)
        await expect(reply.locator(".text")).to_contain_text(text)
        await expect(reply).to_have_attribute("data-state", "done")
        return reply


async def until(check: Callable[[], Awaitable[Any]], seconds: float = PATIENCE_MS / 1000) -> Any:
    """Poll until `check` returns a true value."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(pause_since(began))
    return found
