"""The tabs that page tests share: a visitor finds no trace of the previous one."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, Request, expect

from tests.support.browser import PHONE, House, Profiles, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]

_STATE = """async () => ({
  stored: [localStorage.length, sessionStorage.length, document.cookie],
  width: innerWidth,
  isDark: matchMedia("(prefers-color-scheme: dark)").matches,
  isOnline: navigator.onLine,
  notifications: (await navigator.permissions.query({ name: "notifications" })).state,
})"""


async def state_of(page: Page, house: House) -> Any:
    """Everything that a visitor may change, in a tab that shows a picture of the house."""
    await page.goto(f"{house.origin}/static/logo.svg")
    return await page.evaluate(_STATE)


async def test_a_visitor_finds_nothing_of_the_one_before(house: House, profiles: Profiles) -> None:
    first = await profiles.arrive(house.origin, house.new_token())
    page = await first.profile.tab()
    usual = await state_of(page, house)
    assert usual["stored"] == [0, 0, ""]
    heard: list[Request] = []

    def note(request: Request) -> None:  # Playwright takes no method of a list
        heard.append(request)

    first.hear(page, "request", note)
    for each in (first.context, page):
        await each.route("**/app/session", lambda route: route.abort())
    await first.context.grant_permissions(["notifications"], origin=house.origin)
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await page.emulate_media(color_scheme="dark")
    await page.evaluate("localStorage.a = sessionStorage.b = document.cookie = 'left=over'")
    changed = await state_of(page, house)
    assert [key for key in usual if changed[key] == usual[key]] == ["isOnline"]
    await first.context.set_offline(True)
    assert not (await page.evaluate(_STATE))["isOnline"]
    await profiles.leave(first)

    known = len(heard)
    second = await profiles.arrive(house.origin, None)
    assert await second.profile.tab() is page
    assert await state_of(page, house) == usual
    await page.goto(house.origin)
    # Neither the first visitor's session cookie nor the route that held its question remains.
    await expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert len(heard) == known
    await profiles.leave(second)


async def test_a_profile_that_cannot_be_emptied_is_not_used_again(
    house: House, profiles: Profiles
) -> None:
    first = await profiles.arrive(house.origin, None)
    await first.run_first("globalThis.left = true")
    assert await (await first.tab()).page.evaluate("left")
    await profiles.leave(first)
    second = await profiles.arrive(house.origin, None)
    assert await (await second.tab()).page.evaluate("'left' in globalThis") is False
    await profiles.leave(second)
