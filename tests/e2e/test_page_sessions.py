"""A tab whose user's session ends keeps nothing for the next user of the tab."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Route, expect

from tests.support.browser import House, Visitor, needs_browser, sign_in

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]


async def test_unsent_message_is_not_sent_as_the_user_who_signs_in_next(
    visit: Visit, house: House
) -> None:
    """The dialog signs another user in while the tab still has the first one's message."""
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.page.route("**/app/messages", lambda route: route.abort())
    await tab.channel_box.fill("@threadline private and unsent")
    await tab.channel_box.press("Enter")
    await expect(tab.roots).to_contain_text("Not sent yet")
    await visitor.context.clear_cookies()
    dialog = tab.page.get_by_role("dialog", name="Sign in")
    signed_in, tried = asyncio.Event(), asyncio.Event()
    statuses: list[int] = []

    async def hold(route: Route) -> None:
        if route.request.method == "POST":
            await route.fulfill(response=await route.fetch())
            signed_in.set()
        else:
            if signed_in.is_set():
                await tried.wait()
            await route.continue_()

    async def look(route: Route) -> None:
        counts = signed_in.is_set()
        response = await route.fetch()
        if counts:
            statuses.append(response.status)
            tried.set()
        await route.fulfill(response=response)

    await tab.page.route("**/app/session", hold)
    await tab.page.unroute("**/app/messages")
    await tab.page.route("**/app/messages", look)
    await expect(dialog).to_be_visible()
    token = house.new_token() or ""
    await dialog.get_by_label("Token").fill(token)
    await dialog.get_by_label("Token").press("Enter")
    await expect(tab.page.locator("#user")).to_have_text(f"user{token.rpartition('-')[2]}")
    assert statuses and set(statuses) == {401}


async def test_unsent_message_does_not_outlive_its_users_sign_out(
    visit: Visit, house: House
) -> None:
    """The outbox tries again while the browser already leaves the page."""
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("private matters")
    await tab.wait_reply("private matters")
    tried, left = asyncio.Semaphore(0), asyncio.Event()

    async def refuse(route: Route) -> None:
        await route.abort()
        if left.is_set():
            tried.release()

    async def hold(route: Route) -> None:
        left.set()
        for _ in range(
            2
        ):  # the second one is sent after the tab has stored the failure of the first
            await tried.acquire()
        await route.continue_()

    await tab.page.route("**/app/messages", refuse)
    await tab.say("private and unsent")
    await expect(tab.questions.last).to_contain_text("Not sent yet")
    await tab.page.route(visitor.origin + "/", hold)
    await tab.page.get_by_role("button", name="Sign out").click()
    await expect(tab.page.get_by_role("dialog", name="Sign in")).to_be_visible()
    await expect(tab.page.locator("article")).to_have_count(0)
    assert "private" not in await tab.page.evaluate("JSON.stringify({ ...sessionStorage })")


async def test_page_whose_session_has_ended_does_not_say_that_a_thread_is_missing(
    visit: Visit, house: House
) -> None:
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("still there")
    await tab.wait_reply("still there")
    await tab.page.keyboard.press("Escape")
    await visitor.context.clear_cookies()
    await tab.roots.get_by_role("button").click()
    await expect(tab.page.get_by_role("dialog", name="Sign in")).to_be_visible()
    await expect(tab.channel.get_by_role("alert")).to_be_hidden()
    await sign_in(visitor.context, visitor.origin, visitor.token or "")
