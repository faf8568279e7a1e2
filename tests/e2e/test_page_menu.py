"""The thread's menu, by keyboard and by mouse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import expect

from tests.support.browser import House, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]


async def test_the_menu_of_a_thread_is_used_by_keyboard_and_by_mouse(
    visit: Visit, house: House
) -> None:
    await house.model.say("Here.", match="a menu")
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("a menu")
    await expect(tab.replies.last).to_contain_text("Here.")
    button = tab.thread.get_by_role("button", name="More about this thread")
    menu = tab.page.get_by_role("menu", name="More about this thread")
    copies = menu.get_by_role("menuitem", name="Copy the link")
    await button.press("ArrowUp")
    await expect(menu.get_by_role("menuitem").last).to_be_focused()
    await tab.page.keyboard.press("Home")
    await expect(menu.get_by_role("menuitem").first).to_be_focused()
    await tab.page.keyboard.press("c")
    await expect(copies).to_be_focused()
    await tab.page.keyboard.press("Escape")
    await expect(menu).to_be_hidden()
    await expect(button).to_be_focused()
    await expect(tab.thread).to_be_visible()  # Escape closed the menu only
    await button.click()
    await expect(button).to_have_attribute("aria-expanded", "true")
    await copies.click()
    await expect(menu).to_be_hidden()
    await expect(tab.page.locator("#news")).to_have_text("The link is copied.")
    await button.click()
    await expect(menu).to_be_visible()
    await button.click()
    await expect(menu).to_be_hidden()
