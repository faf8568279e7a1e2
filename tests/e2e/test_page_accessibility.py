"""The page on other screens, with other settings and scripts: see docs/accessibility.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.axe import violations
from tests.support.browser import DESKTOP, PHONE, House, Tab, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]

Visit = Callable[..., Awaitable[Visitor]]

# Both text directions and scripts without spaces; code and a table wider than a phone.
MIXED = """\
# כותרת בעברית

טקסט עם `code` ו-**הדגשה**, and English in it.

```python
def add(a: int, b: int = 0x2A) -> float:  # a comment that is much longer than a phone is wide
```

| 項目 | 値段 | 長い見出しの列 |
|:-----|------:|:--|
| 一つ  |     1 | これは日本語の長い文章で、改行されるはずです。 |
"""
SCREENS: dict[str, dict[str, Any]] = {
    # 1280 × 1024 at a zoom of 400 %: WCAG 2.2, 1.4.10 (reflow)
    "zoomed": {"viewport": {"width": 320, "height": 256}},
    "wide": {"viewport": {"width": 2_560, "height": 1_440}, "color_scheme": "dark"},
    "forced colours": {"viewport": DESKTOP, "forced_colors": "active"},
}
MOBILE: dict[str, Any] = {"viewport": PHONE, "has_touch": True, "is_mobile": True}

# Elements that extend beyond the page sideways, except inside scrollable ones.
_STICKS_OUT = """() => [...document.querySelectorAll("body *")].filter((node) => {
  const { left, right, width } = node.getBoundingClientRect();
  if (!width || (left >= -1 && right <= innerWidth + 1)) return false;
  for (let box = node.parentElement; box; box = box.parentElement) {
    if (getComputedStyle(box).overflowX !== "visible") return false;
  }
  return !node.matches(".sr, .skip");
}).map((node) => node.outerHTML.slice(0, 120))"""
_OVERFLOWS = """(selector) => [...document.querySelectorAll(selector)]
  .filter((node) => node.scrollWidth > node.clientWidth + 1)
  .map((node) => node.id || node.className)"""
_MOVES = """() => document.getAnimations()
  .filter(({ effect }) => effect.getComputedTiming().duration > 1)
  .map(({ animationName }) => animationName ?? "transition")"""
# In forced colors every background has the canvas color, so an icon drawn as one would vanish.
_ICON = """() => {
  const icon = document.querySelector("#help .icon");
  return [icon, document.body].map((node) => getComputedStyle(node).backgroundColor);
}"""


async def check(tab: Tab, name: str) -> None:
    """Check that the thread and the help violate no axe rule and that nothing scrolls sideways."""
    await expect(tab.box).to_be_in_viewport(ratio=1)
    await expect(tab.thread.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    await _check_width(tab, name)
    assert await violations(tab.page) == [], name
    await tab.page.evaluate("document.querySelector('#shortcuts').showModal()")
    await expect(tab.page.get_by_role("checkbox", name="Notify me")).to_be_attached()
    await _check_width(tab, f"{name}, help")
    assert await violations(tab.page) == [], f"{name}, help"
    await tab.page.evaluate("document.querySelector('#shortcuts').close()")


async def _check_width(tab: Tab, name: str) -> None:
    assert await tab.page.evaluate(_STICKS_OUT) == [], name
    assert await tab.page.evaluate(_OVERFLOWS, "html, body, .scroll, dialog[open]") == [], name


async def test_every_screen_shows_everything(visit: Visit, house: House) -> None:
    """A thread and the help on a zoomed, a small and a wide screen, and in the system's colors."""
    await house.model.say(MIXED, match="two directions")
    token = house.new_token()
    tab = await (await visit(house, token=token, viewport=SCREENS["zoomed"]["viewport"])).tab()
    await tab.mention("שלום, two directions, 日本語の質問")
    await tab.wait_reply("一つ")
    for name, screen in SCREENS.items():
        await tab.page.set_viewport_size(screen["viewport"])
        media = {key: value for key, value in screen.items() if key != "viewport"}
        await tab.page.emulate_media(**media)
        await check(tab, name)
    sign, behind = await tab.page.evaluate(_ICON)
    assert sign != behind
    assert await tab.page.evaluate(_MOVES) == []
    phone = await (await visit(house, token=token, **MOBILE)).tab()
    await phone.roots.first.click()
    await phone.wait_reply("一つ")
    await check(phone, "phone")
