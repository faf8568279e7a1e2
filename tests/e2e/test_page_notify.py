"""Answers that end in background tabs: tab titles and notifications."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Route, async_playwright, expect

from tests.support.browser import FLAGS, House, Profiles, Tab, Visitor, needs_browser, until

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]

Visit = Callable[..., Awaitable[Visitor]]

CHROMIUM = shutil.which("chromium")  # its headless shell shows no notifications


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def profiles() -> AsyncIterator[Profiles]:
    """Profiles of a browser with notifications, in place of the shared browser."""
    if CHROMIUM is None:
        pytest.skip("notifications were not tried: no chromium here (apt-get install chromium)")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield Profiles(launched)
        await launched.close()


# The browser's own notifications, which the test can also see.
_RECORD = """
globalThis.shown = [];
const Browsers = Notification;
globalThis.Notification = class extends Browsers {
  constructor(title, options) {
    super(title, options);
    const click = () => this.dispatchEvent(new Event("click"));
    shown.push({ title, body: options.body, click });
  }
};
"""


async def read_shown(*tabs: Tab) -> list[list[str]]:
    """Title and text of the notifications that the tabs have shown."""
    found = [
        await tab.page.evaluate("shown.map(({ title, body }) => [title, body])") for tab in tabs
    ]
    return [each for some in found for each in some]


async def choose(tab: Tab, *names: str) -> None:
    """Turn on notifications in the dialog."""
    await tab.page.get_by_role("button", name="Help and shortcuts").click()
    for name in names:
        await tab.page.get_by_role("checkbox", name=name).check()
    await tab.page.keyboard.press("Escape")


async def test_an_answer_that_ends_in_hidden_tabs_causes_one_notification(
    visit: Visit, house: House
) -> None:
    """All of them show it in their titles, and one notification opens the thread."""
    visitor = await visit(house)
    await visitor.run_first(_RECORD)
    await visitor.context.grant_permissions(["notifications"], origin=house.origin)
    tabs = [await visitor.tab(), await visitor.tab()]
    await choose(tabs[0], "Notify me")
    word = f"lighthouse-{uuid.uuid4().hex[:8]}"
    await house.model.say("Some secret words.", wait_at=1, times=1, match=word)
    await tabs[0].mention(word)
    await expect(tabs[1].roots).to_have_count(1)
    for tab in tabs:
        await tab.look(away=True)
        await expect(tab.page).to_have_title(re.compile(r"^… writing · .*Threadline$"))
    await house.model.release(word)
    for tab in tabs:
        await expect(tab.page).to_have_title(f"(1) ● answered · {word}")
    assert await until(lambda: read_shown(*tabs)) == [[word, "The answer has ended."]]
    # Looking at one tab counts as looking at all of them.
    await tabs[1].look(away=False)
    for tab in tabs:
        await expect(tab.page).not_to_have_title(re.compile("answered"))
    # A visible tab shows the next answer itself.
    await choose(tabs[1], "first words")
    await tabs[0].look(away=True)
    await tabs[1].mention("and another one")
    await tabs[1].wait_reply("another one")
    # Only by choice does it contain the text; clicking it opens the thread.
    await house.model.say("Some *secret* words.", wait_at=1, times=1, match=f"more of {word}")
    await tabs[1].say(f"more of {word}")
    await expect(tabs[1].replies).to_have_count(2)
    await expect(tabs[1].replies.last).to_have_attribute("data-state", "writing")
    await tabs[1].look(away=True)
    await house.model.release(word)
    assert len(await until(lambda: _several(tabs))) == 2
    assert (await read_shown(*tabs))[-1][1].startswith("Some *secret* words.")
    for tab in tabs:
        await tab.page.evaluate("shown.at(-1)?.click()")
    await expect(tabs[1].thread).to_be_visible()


async def _several(tabs: list[Tab]) -> list[list[str]]:
    found = await read_shown(*tabs)
    return found if len(found) > 1 else []


async def test_an_answer_below_the_newest_threads_is_announced_after_everything_was_read_again(
    visit: Visit, house: House
) -> None:
    """The page reads the newest threads again, and the open one."""
    await house.model.say("It takes its time. " * 9, match="continue below", wait_at=3)
    visitor = await visit(house)
    threads: list[str] = []
    for text in ("the old one", "another", "and another", "and the newest"):
        body = {"text": f"@threadline {text}", "client_id": str(uuid.uuid4())}
        threads.append((await post(visitor, "POST", "/app/messages", body))["thread"])

    async def read_one(route: Route) -> None:
        await route.continue_(url=route.request.url.replace("limit=50", "limit=1"))

    await visitor.context.route("**/app/threads?*", read_one)
    tab = await visitor.tab(f"/#/t/{threads[0]}")
    await tab.wait_reply("the old one")
    await tab.say("continue below")
    await expect(tab.replies.last.locator(".text")).to_contain_text("It takes")
    await tab.look(away=True)
    await expect(tab.page).to_have_title(re.compile("writing"))
    async with tab.page.expect_response(lambda response: "/app/list" in response.url):
        await post(visitor, "PATCH", f"/conversation/{threads[3]}", {"name": "by a program"})
    await house.model.release("continue below")
    await expect(tab.page).to_have_title(re.compile(r"^\(1\) ● answered"))


async def post(visitor: Visitor, method: str, path: str, body: dict[str, str]) -> Any:
    """The JSON of a program's request."""
    headers = {"Authorization": f"Bearer {visitor.token}"}
    url = visitor.origin + path
    response = await visitor.context.request.fetch(url, method=method, data=body, headers=headers)
    assert response.ok, await response.text()
    return await response.json()
