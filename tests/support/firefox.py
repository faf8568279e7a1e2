"""The page in Debian's Firefox, driven by WebDriver BiDi over a socket.

Playwright drives only a patched build of Firefox, and Marionette's client depends on a process
manager. BiDi is the standard, and a test of one page needs only ten of its commands.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

FIREFOX = shutil.which("firefox-esr")
needs_firefox = pytest.mark.skipif(
    FIREFOX is None,
    reason="the page was not tried in Firefox: not here (apt-get install firefox-esr)",
)
PATIENCE_SECONDS = 30.0
KEYS = {
    "Enter": "\ue007",
    "Escape": "\ue00c",
    "ArrowUp": "\ue013",
    "ArrowDown": "\ue015",
    "Control": "\ue009",
    "Delete": "\ue017",
    "F2": "\ue032",
    "F6": "\ue036",
    "Shift": "\ue008",
}  # WebDriver's code points

# Without background downloads, reports and preloading, which cost bytes and CPU time.
PREFERENCES: dict[str, bool | int | str] = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.download.always_ask_before_handling_new_types": False,
    "browser.download.folderList": 2,  # into the folder `browser.download.dir`
    "browser.newtabpage.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.safebrowsing.update.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.ipc.processPrelaunch.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "fission.autostart": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "remote.active-protocols": 1,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "ui.prefersReducedMotion": 1,  # moving elements cannot be clicked
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}

_LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_WATCH = """() => addEventListener("securitypolicyviolation", (event) =>
  console.error(`violated: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))"""
_UNTIL = """new Promise((resolve) => {
  const look = () => { const found = (() => %s)(); found ? resolve(found) : setTimeout(look, 20); };
  look();
})"""


class Firefox:
    """One tab of one Firefox. `trouble` has the page's errors and policy violations."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number, self._context = socket, 0, ""
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.trouble: list[str] = []

    async def start(self) -> None:
        """Begin the session, and record what must never happen."""
        await self.call("session.new", capabilities={})
        await self.call("session.subscribe", events=["log.entryAdded"])
        await self.call("script.addPreloadScript", functionDeclaration=_WATCH)
        tree = await self.call("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def receive(self) -> None:
        """Hand out responses until the connection ends."""
        async for message in self._socket:
            said = json.loads(message.data)
            waiting = self._waiting.pop(said.get("id"), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(said)
            elif said.get("method") == "log.entryAdded" and said["params"]["level"] == "error":
                self.trouble.append(said["params"]["text"])

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command. Raises AssertionError if the browser refuses it."""
        self._number += 1
        waiting = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        command = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send_json(command)
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = await waiting
        assert said["type"] == "success", (method, said.get("error"), said.get("message"))
        result: dict[str, Any] = said["result"]
        return result

    # ── the page ──────────────────────────────────────────────────────────────────────────────
    async def go(self, address: str) -> None:
        """Open an address."""
        parameters = {"context": self._context, "url": address, "wait": "complete"}
        await self.call("browsingContext.navigate", **parameters)

    async def reload(self) -> None:
        """Reload the page."""
        await self.call("browsingContext.reload", context=self._context, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression: a string, number, boolean or null; a promise is awaited.

        The script may do things that require a user gesture, such as writing to the clipboard.
        """
        how = {"target": {"context": self._context}, "awaitPromise": True, "userActivation": True}
        result = await self.call("script.evaluate", expression=expression, **how)
        assert result["type"] == "success", result.get("exceptionDetails", {}).get("text")
        return result["result"].get("value")

    async def until(self, condition: str) -> Any:
        """Wait until an expression is true in the page; returns its value."""
        try:
            return await self.evaluate(_UNTIL % condition)
        except TimeoutError:
            raise AssertionError(f"never true in Firefox: {condition}") from None

    async def cookies(self) -> list[dict[str, Any]]:
        """The page's cookies, including those hidden from its scripts."""
        partition = {"type": "context", "context": self._context}
        found = await self.call("storage.getCookies", partition=partition)
        cookies: list[dict[str, Any]] = found["cookies"]
        return cookies

    async def pdf(self) -> bytes:
        """The page on paper."""
        return base64.b64decode(
            (await self.call("browsingContext.print", context=self._context))["data"]
        )

    # ── a person's actions ────────────────────────────────────────────────────────────────────
    async def click(self, selector: str, *, right: bool = False) -> None:
        """Wait for an element, scroll to it and click on its middle.

        Without a screen, the window is never the active one, so keys press no buttons.
        """
        node = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"{node}?.checkVisibility()")
        await self.evaluate(
            f"void {node}.scrollIntoView({{ behavior: 'instant', block: 'center' }})"
        )
        origin = {"type": "element", "element": await self._element(selector)}
        actions = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 2 * right},
            {"type": "pointerUp", "button": 2 * right},
        ]
        await self._perform({"type": "pointer", "id": "mouse", "actions": actions})

    async def type(self, text: str) -> None:
        """Type a text where the focus is."""
        await self._keys(*([key] for key in text))

    async def press(self, *together: str) -> None:
        """Press keys together, by name or character."""
        await self._keys([KEYS.get(key, key) for key in together])

    async def write(self, text: str) -> None:
        """Put text into the focused field, as pasting does; typing costs more."""
        script = f"document.execCommand('insertText', false, {json.dumps(text)})"
        assert await self.evaluate(script) is True, f"no field has the focus for {text!r}"

    async def attach(self, selector: str, *files: Path) -> None:
        """Choose files in a file input."""
        await self.call(
            "input.setFiles",
            context=self._context,
            element=await self._element(selector),
            files=[str(file) for file in files],
        )

    async def _element(self, selector: str) -> dict[str, str]:
        locator = {"type": "css", "value": selector}
        found = await self.call(
            "browsingContext.locateNodes", context=self._context, locator=locator
        )
        assert found["nodes"], f"no {selector} in the page"
        return {"sharedId": found["nodes"][0]["sharedId"]}

    async def _keys(self, *presses: list[str]) -> None:
        actions = [
            {"type": kind, "value": key}
            for keys in presses
            for kind, order in (("keyDown", keys), ("keyUp", keys[::-1]))
            for key in order
        ]
        await self._perform({"type": "key", "id": "keyboard", "actions": actions})

    async def _perform(self, source: dict[str, Any]) -> None:
        await self.call("input.performActions", context=self._context, actions=[source])


@contextlib.asynccontextmanager
async def firefox(profile: Path, downloads: Path) -> AsyncIterator[Firefox]:
    """A Firefox with a new profile in one folder, which saves files in another."""
    preferences = {**PREFERENCES, "browser.download.dir": str(downloads)}
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in preferences.items()]
    (profile / "user.js").write_text("".join(lines))
    process = await asyncio.create_subprocess_exec(
        FIREFOX or "", "--headless", "--no-remote", "--profile", str(profile),
        "--remote-debugging-port", "0", "about:blank", stdout=DEVNULL, stderr=PIPE,
    )  # fmt: skip
    try:
        address = await _address(process)
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{address}/session", max_msg_size=0) as socket,
        ):
            tab = Firefox(socket)
            receiving = asyncio.create_task(tab.receive())
            await tab.start()
            yield tab
            receiving.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def _address(process: Process) -> str:
    """The address where the browser listens, read from its standard error."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for line in process.stderr:
            if found := _LISTENS.search(line.decode(errors="replace")):
                return found[1]
    raise AssertionError("Firefox ended at its start")
