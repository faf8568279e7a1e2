"""The /docs page: rendered from /openapi.json, with requests sent from the browser."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from urllib.parse import urljoin

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.axe import violations
from tests.support.browser import House, Visitor, needs_browser

Visit = Callable[..., Awaitable[Visitor]]
pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]


def operation(page: Page, method: str, path: str) -> Locator:
    """The box of one operation."""
    head = page.locator("summary", has_text=path).filter(has_text=method)
    return page.locator("details", has=head).first


async def count_operations(page: Page) -> int:
    """The number of operations in the API's description."""
    address = urljoin(page.url, "/openapi.json")  # the page has no base address from its context
    description = await (await page.request.get(address)).json()
    return sum(len(methods) for methods in description["paths"].values())


async def try_operation(box: Locator, body: str, **fields: str) -> Locator:
    """Fill in the form, submit it, and return the element that shows the response."""
    await box.locator("summary").click()
    for name, value in fields.items():
        await box.get_by_label(name).fill(value)
    await box.get_by_label("body").fill(body)
    await box.get_by_role("button", name="Send").click()
    return box.get_by_role("status")


async def test_every_operation_is_shown_and_can_be_sent(house: House, visit: Visit) -> None:
    """Creates a conversation with this tab's token, and streams its answer into the page."""
    await house.model.say("Seen in the description.", match="describe yourself")
    page = (await (await visit(house)).tab("/docs")).page
    await expect(page.locator("details")).to_have_count(await count_operations(page))
    answer = await try_operation(operation(page, "POST", "/conversation"), '{"name": "tried"}')
    await expect(answer).to_contain_text('"messages": []')
    made = json.loads((await answer.inner_text()).partition("\n\n")[2])
    completion = operation(page, "POST", "/conversation/completion/")
    body = '{"message": "describe yourself", "stream": true}'
    streamed = await try_operation(completion, body, conversation_id=made["id"])
    await expect(streamed).to_contain_text("event: done")
    await expect(streamed).to_contain_text("Seen in the description.")


async def test_the_description_passes_the_accessibility_check(house: House, visit: Visit) -> None:
    page = (await (await visit(house)).tab("/docs")).page
    await expect(page.locator("details")).to_have_count(await count_operations(page))
    await page.locator("summary").first.click()
    assert await violations(page) == []
