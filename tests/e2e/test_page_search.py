"""The search palette: from the shortcut to the message, by keyboard alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Route, expect

from tests.support.axe import violations
from tests.support.browser import House, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]


class SlowSearch:
    """Stands in for a server that finds something only in part `found_at` of a search.

    From the second part on, it waits until `free` is set. `asked` lists the requested parts in
    order.
    """

    def __init__(self, found_at: int) -> None:
        self._found_at, self.free, self.asked = found_at, asyncio.Event(), list[str]()

    async def answer(self, route: Route) -> None:
        if self.asked:
            await self.free.wait()
        after = parse_qs(urlsplit(route.request.url).query).get("after", [""])[0]
        self.asked.append(after)
        number, at = len(self.asked), f"2020-05-{20 - len(self.asked)}T12:00:00Z"
        is_over = number == self._found_at
        hit = {"conversation_id": "none", "title": {"text": "found", "marks": []}, "created_at": at}
        shape = {
            "hits": [{**hit, "snippet": None}] if is_over else [],
            "next": None if is_over else f"part {number}",
            "partial": not is_over,
            "reached": None if is_over else at,
            "indexing": False,
        }
        await route.fulfill(json=shape)


async def test_a_message_is_found_and_shown(visit: Visit, house: House) -> None:
    tab = await (await visit(house)).tab()
    page = tab.page
    await tab.mention("where do 🦭 walruses sleep, and <b>why</b>?")
    await tab.wait_reply("walruses")
    await tab.say("and otters?")
    await tab.wait_reply("otters", 1)
    await tab.mention("a recipe for bread")
    await tab.wait_reply("bread")

    async def as_if_longer(route: Route) -> None:
        """The page gets all messages but the first, unless it asks for the part that contains
        it."""
        answer = await route.fetch()
        shape = await answer.json()
        del shape["messages"][:1]
        await route.fulfill(response=answer, json=shape)

    dialog = page.get_by_role("dialog", name="Search conversations")
    box = dialog.get_by_role("combobox")
    options = dialog.get_by_role("option")
    await page.keyboard.press("Control+k")
    await expect(box).to_be_focused()
    await expect(options).to_have_count(2)
    await expect(options.first).to_contain_text("a recipe for bread")
    await box.fill("WALR")
    await expect(dialog.get_by_role("status")).to_contain_text("result")
    found = dialog.get_by_role("group", name="Messages").get_by_role("option")
    await expect(found.last.locator("mark")).to_have_text("walr")
    await expect(found.last).to_contain_text("You: where do 🦭 walruses sleep, and <b>why</b>?")
    await expect(options.first).to_have_attribute("aria-selected", "true")
    assert await violations(page) == []
    await page.keyboard.press("ArrowUp")  # around to the last: the question
    chosen = await box.get_attribute("aria-activedescendant")
    assert chosen == await found.last.get_attribute("id")
    await page.route(re.compile("/app/threads/[0-9a-f-]+$"), as_if_longer)
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    question = tab.questions.first
    await expect(question).to_contain_text("walruses sleep")
    await expect(question).to_be_focused()
    await expect(question).to_be_in_viewport()

    await page.keyboard.press("Control+k")
    await expect(box).to_have_value("WALR")
    await expect(options).not_to_have_count(0)
    slow = SlowSearch(found_at=10)
    await page.route("**/app/search?*", slow.answer)
    await box.fill('"walruses otters"')
    status, further = (
        dialog.get_by_role("status"),
        dialog.get_by_role("button", name="Look further"),
    )
    await expect(status).to_have_text("Nothing since May 19, 2020; looking further back…")
    await expect(options).to_have_count(0)  # earlier results could be opened by mistake
    slow.free.set()
    await expect(status).to_have_text("Nothing matches since May 12, 2020.")
    assert slow.asked == ["", *(f"part {n}" for n in range(1, 8))]
    await further.click()
    await expect(box).to_be_focused()
    await expect(status).to_have_text("Nothing matches since May 11, 2020.")
    await further.click()
    await expect(options).to_have_count(1)
    await expect(status).to_have_text("1 result.")
    await expect(further).to_be_hidden()
    await page.unroute("**/app/search?*")
    await box.fill("zzzz")
    await expect(dialog.get_by_role("status")).to_have_text("Nothing matches.")
    await expect(options).to_have_count(0)
    await expect(box).to_have_attribute("aria-expanded", "false")
    await page.route("**/app/search?*", lambda route: route.abort())
    await box.fill("bread")
    await expect(dialog.get_by_role("status")).to_contain_text("did not arrive")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(question).to_be_focused()
