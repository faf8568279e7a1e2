"""Accessibility violations that axe-core finds in a page."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Page

# Nothing but colors depends on the color scheme.
COLORS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}

# Elements that are fading in have less contrast for a moment.
_SETTLED = """() => Promise.allSettled(document.getAnimations()
  .filter(({ effect }) => Number.isFinite(effect.getComputedTiming().endTime))
  .map(({ finished }) => finished))"""
_RUN = """async (options) => (await axe.run({ resultTypes: ["violations"], ...options }))
  .violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))"""


async def violations(page: Page, options: dict[str, Any] | None = None) -> list[str]:
    """The violations of all of axe's rules, one line each. `options` are passed to axe."""
    await page.evaluate(_SETTLED)
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    found: list[str] = await page.evaluate(_RUN, options or {})
    return found


async def violations_in_both(page: Page) -> list[str]:
    """Like `violations`, but also checks the color rules in the dark color scheme."""
    light = await violations(page)
    await page.emulate_media(color_scheme="dark")
    dark = await violations(page, COLORS)
    await page.emulate_media(color_scheme="light")
    return light + [f"dark: {each}" for each in dark]
