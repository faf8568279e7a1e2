"""Editing a question, trying again and going back to earlier versions, in two tabs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, Response, Route, expect

from tests.support.axe import COLORS, violations
from tests.support.browser import PHONE, House, Tab, Visitor, needs_browser, until

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]


async def expect_shown(tab: Tab, *texts: str) -> None:
    await expect(tab.thread.locator("article .text")).to_have_text(list(texts))


def switch(article: Locator, words: str) -> Locator:
    return article.get_by_role("group", name=words)


async def arrow(article: Locator, name: str) -> Locator:
    """The arrow of a version switch, once no answer is in progress."""
    button = article.get_by_role("button", name=name)
    await expect(button).not_to_have_attribute("aria-disabled", "true")
    return button


async def request_with(house: House, match: str) -> list[str]:
    """The newest request whose messages contain `match`, without the system message."""
    record = await house.model.last(match)
    return [each["content"] for each in record.messages[1:]]


class Held:
    """Holds the page's requests to one address until `free` is set."""

    def __init__(self) -> None:
        self.free, self._over = asyncio.Event(), list[int]()

    async def watch(self, visitor: Visitor, page: Page, path: str) -> None:
        """Begin to hold a tab's requests to addresses that end with `path`."""
        visitor.hear(page, "response", lambda response: self._answered(response, path))
        await page.route(f"**{path}", self._hold)

    async def are_over(self, count: int) -> bool:
        """Whether this many requests were answered."""
        assert all(status == 200 for status in self._over), self._over
        return len(self._over) == count

    async def _hold(self, route: Route) -> None:
        await self.free.wait()
        await route.continue_()

    def _answered(self, response: Response, path: str) -> None:
        if response.url.endswith(path):
            self._over.append(response.status)


# A question waits at most five seconds for a switch. Without that limit, a question waiting for the
# wrong switch would never be sent.
_NO_TIME_LIMIT = """() => {
  const begin = globalThis.setTimeout;
  globalThis.setTimeout = (run, wait, ...rest) => (wait === 5_000 ? 0 : begin(run, wait, ...rest));
}"""


async def picture(tab: Tab, name: str) -> None:
    """Save a screenshot for people to look at."""
    if folder := os.environ.get("SCREENSHOTS"):
        await tab.page.screenshot(path=Path(folder) / f"{name}.png")


async def test_versions_are_made_and_switched_and_all_tabs_agree(
    visit: Visit, house: House
) -> None:
    say = house.model.say
    await say("Paris.", match="capital of France", times=1)
    await say("The Seine.", match="its river")
    await say("Rome.", match="capital of Italy")
    await say("Parisii.", match="older name")
    await say("Lutetia.", match="older name", model="sim-2")  # comes before the one above
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("capital of France?")
    await tab.wait_reply("Paris.")
    await tab.say("and its river?")
    await tab.wait_reply("The Seine.")
    other = await visitor.tab(tab.page.url.removeprefix(house.origin))
    before = ["capital of France?", "Paris.", "and its river?", "The Seine."]
    await expect_shown(other, *before)

    # Esc leaves the question as it is; Ctrl-Enter runs it again from there.
    question = tab.questions.first
    await question.hover()
    await question.get_by_role("button", name="Edit").click()
    box = tab.thread.get_by_label("Your question")
    await expect(box).to_be_focused()
    await box.fill("nothing")
    await tab.page.keyboard.press("Escape")
    await expect(box).to_have_count(0)
    await expect(question.get_by_role("button", name="Edit")).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await expect(box).to_have_value("capital of France?")
    await box.fill("capital of Italy?")
    await picture(tab, "editing")
    await tab.page.keyboard.press("Control+Enter")
    for each in (tab, other):
        await expect_shown(each, "capital of Italy?", "Rome.")
        await expect(switch(each.questions.first, "Version 2 of 2")).to_be_visible()
    assert await request_with(house, "Italy") == ["capital of Italy?"]

    # By keyboard: the focus stays on the arrow of the same group, and the other tab follows.
    await (await arrow(tab.questions.first, "Earlier version")).press("Enter")
    for each in (tab, other):
        await expect_shown(each, *before)
    await expect(tab.page.locator("#news")).to_have_text("Version 1 of 2 is shown.")
    await expect(tab.questions.first.get_by_role("button", name="Later version")).to_be_focused()
    await tab.questions.first.focus()
    await tab.page.keyboard.press("ArrowRight")
    italy = ["capital of Italy?", "Rome."]
    for each in (tab, other):
        await expect_shown(each, *italy)
    await expect(tab.page.locator("#news")).to_have_text("Version 2 of 2 is shown.")

    # While a switch is in progress, the next press and the next question start from its
    # destination.
    switches = Held()
    await switches.watch(visitor, tab.page, "/shown")
    await expect(tab.questions.first.get_by_role("button", name="Earlier version")).to_be_focused()
    await tab.page.keyboard.press("ArrowLeft")
    await tab.page.keyboard.press("ArrowRight")
    switches.free.set()
    await until(lambda: switches.are_over(2))
    for each in (tab, other):
        await expect_shown(each, *italy)
    await tab.page.evaluate(_NO_TIME_LIMIT)
    await expect(tab.questions.first.get_by_role("button", name="Earlier version")).to_be_focused()
    switches.free.clear()
    await tab.page.keyboard.press("ArrowLeft")
    await tab.page.keyboard.press("Control+Shift+O")
    await tab.say("another matter")  # in another conversation, so it does not wait
    await tab.wait_reply("another matter")
    switches.free.set()
    await tab.page.go_back()
    for each in (tab, other):
        await expect_shown(each, *before)
    await tab.questions.first.focus()
    await tab.page.keyboard.press("ArrowRight")
    for each in (tab, other):
        await expect_shown(each, *italy)
    await expect(tab.questions.first.get_by_role("button", name="Earlier version")).to_be_focused()
    switches.free.clear()
    await tab.page.keyboard.press("ArrowLeft")
    await tab.say("an older name?")
    await expect(tab.questions.last).to_have_attribute("data-state", "sending")
    switches.free.set()
    await tab.wait_reply("Parisii.")
    await expect(tab.box).to_be_focused()
    assert await request_with(house, "older name") == [*before, "an older name?"]

    # Another model answers once; the first answer is kept, and the thread's model does not change.
    more = tab.replies.last.get_by_role("button", name="Try again with…")
    await more.click()
    menu = tab.page.get_by_role("menu", name="Try again with")
    await expect(menu.get_by_role("menuitem").first).to_be_focused()
    await picture(tab, "models")
    await menu.get_by_role("menuitem", name="openai:sim-2").click()
    await tab.wait_reply("Lutetia.")
    await expect(switch(tab.replies.last, "Version 2 of 2")).to_be_visible()
    await expect(tab.replies.last.locator(".costs")).to_contain_text("openai:sim-2")
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim")
    await expect_shown(other, *before, "an older name?", "Lutetia.")
    await (await arrow(other.replies.last, "Earlier version")).click()
    await expect_shown(tab, *before, "an older name?", "Parisii.")
    await tab.page.reload()
    await expect_shown(tab, *before, "an older name?", "Parisii.")
    await expect(switch(tab.replies.last, "Version 1 of 2")).to_be_visible()

    await tab.questions.first.hover()
    assert await violations(tab.page) == []
    await picture(tab, "versions-light")
    await tab.page.emulate_media(color_scheme="dark")
    assert await violations(tab.page, COLORS) == []
    await picture(tab, "versions-dark")
    await tab.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await tab.questions.first.get_by_role("button", name="Edit").click()
    no_bar = {"rules": {"page-has-heading-one": {"enabled": False}}}  # a thread fills a phone
    assert await violations(tab.page, no_bar) == []
    await picture(tab, "phone")
    await tab.page.keyboard.press("Escape")
    assert not await tab.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert visitor.trouble.found == []


async def test_another_text_is_another_edit_even_after_a_lost_response(
    visit: Visit, house: House
) -> None:
    """The server would take it for a repetition, and keep the first text."""
    tab = await (await visit(house)).tab()
    await tab.mention("a question")
    await tab.wait_reply("a question")
    sent: list[dict[str, str]] = []

    async def lose(route: Route) -> None:
        sent.append(route.request.post_data_json)
        await route.abort()

    await tab.page.route("**/edits", lose)
    await tab.questions.first.hover()
    await tab.questions.first.get_by_role("button", name="Edit").click()
    form = tab.questions.first.locator("form.edit")
    problem, box = form.get_by_role("alert"), form.get_by_label("Your question")
    for text in ("another", None, "a third"):
        if text is not None:
            await box.fill(text)
        await form.get_by_role("button", name="Run again").click()
        await expect(problem).to_be_visible()
        await expect(box).to_be_editable()
    first, again, third = (each["client_id"] for each in sent)
    assert first == again != third
