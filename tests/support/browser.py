"""The page in the machine's Chromium, driven by Playwright, against the real bot.

In every test, a visitor also records what must never happen: an error in the page, a violation of
its Content-Security-Policy, or a request to another server.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect
from playwright.async_api import Error as PlaywrightError

from tests.sims.kit import pause_since
from tests.sims.model.client import ModelSim
from tests.support.harness import BotProcess

# The headless shell is the same engine without windows and toolbars, at a third of the CPU time.
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
    # A request to another server fails, and the console says so: `BrowserErrors`.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None,
    reason="the page was not tried: no chromium here (apt-get install chromium-headless-shell)",
)
# Generous, because two browsers may share one busy core; normally a second is enough.
PATIENCE_MS = 15_000
DESKTOP = {"width": 1280, "height": 800}
# Without motion: elements that fade in would have another color each time they are read.
USUAL: dict[str, Any] = {
    "viewport": DESKTOP,
    "color_scheme": "light",
    "reduced_motion": "reduce",
    "forced_colors": "none",
}
KEPT_TABS = 2  # open tabs per profile; few visitors need more
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
        # The console also reports connections that a test cuts, but tests never break name lookups.
        forgiven = ("Failed to load resource", *self.provoked)
        is_foreign = "ERR_NAME_NOT_RESOLVED" in message.text
        is_forgiven = not is_foreign and any(words in message.text for words in forgiven)
        if message.type == "error" and not is_forgiven:
            self.found.append(message.text)


class House:
    """A bot that serves the page, and its simulated model.

    Each of the `users` has a token, so that every test can be a new user; with 0 users, the page
    needs no token.
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
        """The token of a user who has not visited yet; None if the page needs no token."""
        return self._tokens.pop() if self._needs_token else None


class Profile:
    """A browser profile, which the visitors of one house may use one after the other.

    A new process for a tab costs as much CPU time as the rest of a short visit. Tabs are therefore
    kept open on a picture of the house, cleared of everything that the last visitor stored and
    changed. If a visitor uses something that Playwright cannot undo (init scripts, a faked clock,
    exposed functions), its `is_last` is set, and its profile is closed.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self._spare: list[Page] = []

    @classmethod
    async def create(cls, browser: Browser, **options: Any) -> Profile:
        """`options` are Playwright's context options: viewport, color_scheme, has_touch …"""
        context = await browser.new_context(**USUAL | options)
        context.set_default_timeout(PATIENCE_MS)
        await context.add_init_script(_WATCH)
        return cls(context)

    async def tab(self, **looks: Any) -> Page:
        """A tab in which nothing is stored. `looks` are some of USUAL."""
        is_new = not self._spare
        page = await self.context.new_page() if is_new else self._spare.pop(0)
        if looks or not is_new:
            media = USUAL | looks
            await page.set_viewport_size(media.pop("viewport"))
            await page.emulate_media(media="null", **media)
        return page

    async def clear(self, origin: str) -> None:
        """Make the profile ready for another visitor. Raises PlaywrightError if the house is
        closed."""
        await self.context.unroute_all(behavior="ignoreErrors")
        await self.context.clear_permissions()
        await self.context.set_offline(False)
        pages = self.context.pages
        for page in pages[KEPT_TABS:]:
            await page.close()
        for page in pages[:KEPT_TABS]:
            await page.unroute_all(behavior="ignoreErrors")
            await page.mouse.move(-1, -1)
            # about:blank would start another process, and a response from a route would empty the
            # caches.
            await page.goto(f"{origin}/static/logo.svg")
            await page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
        await self.context.clear_cookies()
        self._spare = self.context.pages


class Profiles:
    """A worker's profiles. Options other than USUAL need a new profile, which is closed
    afterwards."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[str, list[Profile]] = {}

    async def arrive(self, origin: str, token: str | None, **options: Any) -> Visitor:
        """A visitor whose profile has no trace of another visitor."""
        free = self._free.get(origin, [])
        if is_special(options):
            visitor = Visitor(await Profile.create(self._browser, **options), origin, token)
            visitor.is_last = True
        else:
            profile = free.pop() if free else await Profile.create(self._browser)
            visitor = Visitor(profile, origin, token, **options)
        await visitor.enter()
        return visitor

    async def leave(self, visitor: Visitor) -> None:
        """Keep the visitor's profile for the next one, or close it."""
        visitor.leave()
        if not visitor.is_last:
            with suppress(PlaywrightError):
                await visitor.profile.clear(visitor.origin)
                self._free.setdefault(visitor.origin, []).append(visitor.profile)
                return
        await visitor.context.close()


def is_special(options: dict[str, Any]) -> bool:
    """Whether some of these options cannot be set on an open tab."""
    return bool(options.keys() - USUAL.keys())


class Visitor:
    """One person's browser on the page; its `Tab`s share storage.

    `is_last`: no other visitor gets the profile.
    """

    def __init__(self, profile: Profile, origin: str, token: str | None, **looks: Any) -> None:
        self.profile, self.context = profile, profile.context
        self.origin, self.token, self._looks = origin, token, looks
        self.trouble = BrowserErrors()
        self.is_last = False
        self._heard: list[tuple[Page, str, Callable[[Any], None]]] = []

    @classmethod
    async def arrive(
        cls, browser: Browser, origin: str, token: str | None = None, **options: Any
    ) -> Visitor:
        """Arrive with a new profile. `options` are Playwright's context options."""
        visitor = cls(await Profile.create(browser, **options), origin, token)
        await visitor.enter()
        return visitor

    async def enter(self) -> None:
        """Sign in, if the visitor has a token."""
        if self.token is not None:
            await sign_in(self.context, self.origin, self.token)

    async def tab(self, path: str = "/") -> Tab:
        """Open the page in a new tab."""
        page = await self.profile.tab(**self._looks)
        self.hear(page, "pageerror", lambda error: self.trouble.found.append(str(error)))
        self.hear(page, "console", self.trouble.heard)
        await page.goto(self.origin + path)
        return Tab(page)

    async def fake_clock(self) -> None:
        """Give tests control of the time of all tabs: `page.clock`."""
        self.is_last = True
        await self.context.clock.install()

    async def run_first(self, script: str) -> None:
        """Run a script in each tab before the page's own."""
        self.is_last = True
        await self.context.add_init_script(script)

    def leave(self) -> None:
        """Stop listening: the next visitor may get the same tabs."""
        for page, event, hear in self._heard:
            page.remove_listener(event, hear)  # type: ignore[arg-type]

    def hear(self, page: Page, event: str, hear: Callable[[Any], None]) -> None:
        """Call `hear` at every `event` of a tab while the visitor is there."""
        page.on(event, hear)  # type: ignore[call-overload]
        self._heard.append((page, event, hear))


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
