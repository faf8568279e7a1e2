"""Draws the app's icons from the logo: run `make icons` after the logo has changed."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from PIL import Image
from playwright.async_api import Page, async_playwright

from adapters.web.assets import PAGE
from tests.support.browser import CHROMIUM, FLAGS

COLOURS = 64
"""Colors in the palette: the logo has three, and its edges are smooth."""

# Names with their size in pixels, and whether the system crops the shape. The logo's sign is within
# the middle 80 %, which every shape leaves visible.
ICONS = {
    "icon-192.png": (192, False),
    "icon-512.png": (512, False),
    "icon-maskable-512.png": (512, True),
    "icon-apple-180.png": (180, True),
}


async def _draw(page: Page, svg: str, size: int) -> bytes:
    await page.set_viewport_size({"width": size, "height": size})
    await page.set_content(f"<style>* {{ margin: 0; display: block; }}</style>{svg}")
    drawn = Image.open(io.BytesIO(await page.screenshot(omit_background=True)))
    packed = io.BytesIO()
    few = drawn.convert("RGBA").quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
    few.save(packed, "PNG", optimize=True)
    return packed.getvalue()


async def draw_all(folder: Path) -> None:
    """Write all icons to the folder."""
    svg = (PAGE / "logo.svg").read_text()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        page = await browser.new_page()
        for name, (size, is_cut) in ICONS.items():
            shape = svg.replace('rx="9"', 'rx="0"') if is_cut else svg
            shape = shape.replace("<svg", f'<svg width="{size}" height="{size}"', 1)
            (folder / name).write_bytes(await _draw(page, shape, size))
        await browser.close()


if __name__ == "__main__":
    asyncio.run(draw_all(PAGE))
