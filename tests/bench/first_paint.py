"""The page's first paint on a slow network, cold and warm, in Chromium over CDP.

The profile is a slow 4G: 400 ms from a request to its response, and 400 kbit/s in both directions.
Chromium adds the latency to each request, not to each TCP handshake. A warm visit without the
profile, in the same round, is what the machine itself takes to draw the page.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import CDPSession, Page, async_playwright

from tests.sims.model.client import ModelSim
from tests.support.browser import CHROMIUM, FLAGS, House, Visitor

KINDS = ("cold", "warm", "warm, without the profile")
LATENCY_MS, BYTES_PER_SECOND = 400, 50_000
ROUNDS = 5

_PAINTED = """() => new Promise((resolve) => {
  new PerformanceObserver((list) => {
    const paint = list.getEntriesByName("first-contentful-paint")[0];
    if (paint) resolve(Math.round(paint.startTime));
  }).observe({ type: "paint", buffered: true });
})"""
_LOADED = """() => {
  const kinds = ["resource", "navigation"];
  const files = kinds.flatMap((kind) => performance.getEntriesByType(kind));
  const sent = files.filter(({ transferSize }) => transferSize > 0);
  const html = performance.getEntriesByType("navigation")[0].responseEnd;
  return [sent.length, sent.reduce((sum, { transferSize }) => sum + transferSize, 0),
    Math.round(html)];
}"""
_READY = (
    "() => document.querySelector('.empty:not([hidden]), article') && Math.round(performance.now())"
)


async def _slow_down(page: Page) -> CDPSession:
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    limits = {"downloadThroughput": BYTES_PER_SECOND, "uploadThroughput": BYTES_PER_SECOND}
    conditions = {"offline": False, "latency": LATENCY_MS, **limits}
    await session.send("Network.emulateNetworkConditions", conditions)
    return session


async def _visit(page: Page, origin: str) -> dict[str, Any]:
    await page.goto(origin, wait_until="commit")
    painted = await page.evaluate(_PAINTED)
    ready = await (await page.wait_for_function(_READY, polling=20)).json_value()
    requests, size, html = await page.evaluate(_LOADED)
    return {"html": html, "painted": painted, "ready": ready, "requests": requests, "bytes": size}


async def run() -> None:
    """Print the medians of several cold and several warm visits."""
    seen: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        async with ModelSim() as model, async_playwright() as playwright:
            house = House(model, Path(folder))
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
            async with house.bot:
                for _ in range(ROUNDS):
                    visitor = await Visitor.arrive(browser, house.origin, house.new_token())
                    for kind in KINDS:
                        page = await visitor.context.new_page()
                        if kind != KINDS[-1]:
                            await _slow_down(page)
                        seen[kind].append(await _visit(page, house.origin))
                        await page.close()
                    await visitor.context.close()
            await browser.close()
    for kind, visits in seen.items():
        middle = {name: sorted(v[name] for v in visits)[ROUNDS // 2] for name in visits[0]}
        print(kind, middle)


if __name__ == "__main__":
    asyncio.run(run())
