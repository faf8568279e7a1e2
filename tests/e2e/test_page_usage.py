"""The dialog that shows a person's usage: numbers, chart, budgets, hostile reports,
accessibility."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Locator, Route, expect

from tests.support.axe import violations_in_both
from tests.support.browser import House, Tab, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]
HOSTILE = "<img src=x onerror='window.harmed = 1'>"
AMOUNTS: dict[str, Any] = {"requests": 2, "total_tokens": 1_500, "cost": 0.25, "currency": "EUR"}
REPORT: dict[str, Any] = {
    "today": AMOUNTS,
    "month": AMOUNTS | {"requests": 9, "requests_without_price": 1},
    "budgets": [
        {
            "scope": "person",
            "period": "day",
            "unit": "money",
            "currency": "EUR",
            "limit": 2,
            "spent": 0.25,
            "left": 1.75,
            "full_at": "2026-12-01T00:00:00Z",
        }
    ],
    "first_day": "2026-11-01",
    "last_day": "2026-11-30",
    "days": [{"day": "2026-11-03", "cost": 1.5}, {"day": "2026-11-30", "cost": 0.25}],
}


def dialog(tab: Tab) -> Locator:
    return tab.page.get_by_role("dialog", name="Your usage")


async def open_dialog(tab: Tab, report: Any = None, status: int = 200) -> None:
    async def answer(route: Route) -> None:
        await route.fulfill(status=status, body=json.dumps(report))

    if report is not None:
        await tab.page.route("**/usage", answer)
    await tab.page.get_by_role("button", name="Your usage").click()


async def test_usage_is_shown_with_a_chart_and_what_is_left(visit: Visit, house: House) -> None:
    tab = await (await visit(house)).tab()
    await open_dialog(tab, REPORT)
    shown = dialog(tab)
    await expect(shown).to_contain_text("Today: 1,500 tokens in 2 requests, €0.25.")
    await expect(shown).to_contain_text("This month: 1,500 tokens in 9 requests, €0.25.")
    await expect(shown).to_contain_text("Your budget for today: €1.75 of €2.00 left (13% used)")
    await expect(shown).to_contain_text(
        "Money (EUR) by day, Nov 1, 2026 to Nov 30, 2026; at most €1.50"
    )
    await expect(shown).to_contain_text("The price of 1 request this month is not known")
    heights = await shown.locator("rect.day").evaluate_all(
        "bars => bars.map(bar => +bar.getAttribute('height'))"
    )
    assert len(heights) == 30
    assert (heights[2], heights[29], sum(map(bool, heights))) == (120, 20, 2)
    assert await violations_in_both(tab.page) == []
    await tab.page.keyboard.press("Escape")
    await expect(shown).to_be_hidden()


async def test_real_usage_is_counted_and_shown_below_the_reply(visit: Visit, house: House) -> None:
    """The simulated model has no price, so tokens are shown but no money."""
    tab = await (await visit(house)).tab()
    await tab.mention("how much")
    await tab.wait_reply("how much")
    await open_dialog(tab)
    await expect(dialog(tab)).to_contain_text("in 1 request, $0.00")
    await expect(dialog(tab)).to_contain_text("The price of 1 request this month is not known")
    await expect(dialog(tab).locator("rect.day")).to_have_count(30)


async def test_everything_known_about_a_person_can_be_exported_once_an_hour(
    visit: Visit, own_house: House
) -> None:
    """A button exports it, and then says when the next export is possible."""
    async with own_house.bot:
        tab = await (await visit(own_house)).tab()
        await tab.mention("remember zanzibarite")
        await tab.wait_reply("zanzibarite")
        await tab.page.get_by_role("button", name="Your usage").click()
        save = dialog(tab).get_by_role("button", name="Save everything that is known of you")
        async with tab.page.expect_download() as saving:
            await save.click()
        saved = await saving.value
        assert saved.suggested_filename == "threadline-export.jsonl"
        lines = [json.loads(line) for line in (await saved.path()).read_text().splitlines()]
        assert "remember zanzibarite" in [line.get("text") for line in lines]
        await expect(dialog(tab).get_by_role("status")).to_have_text("Saved.")
        await save.click()
        await expect(dialog(tab).get_by_role("status")).to_contain_text("once an hour: ask again")


async def test_a_wrong_report_is_harmless(visit: Visit, house: House) -> None:
    tab = await (await visit(house)).tab()
    wrong = {"scope": HOSTILE, "unit": HOSTILE, "limit": None, "left": HOSTILE, "full_at": "soon"}
    days = [None, {"day": HOSTILE, "cost": HOSTILE, "currency": HOSTILE}]
    await open_dialog(tab, {"budgets": [wrong], "days": days, "first_day": HOSTILE, "last_day": 7})
    await expect(dialog(tab)).to_contain_text("Today: 0 tokens in 0 requests, $0.00.")
    await expect(dialog(tab)).to_contain_text(
        "A budget for today: 0 tokens of 0 tokens left (none used)."
    )
    assert await tab.page.evaluate("window.harmed") is None
    await tab.page.keyboard.press("Escape")
    await tab.page.unroute_all()
    await open_dialog(tab, {"error": "The database rests."}, 503)
    await expect(dialog(tab).get_by_role("alert")).to_have_text("The database rests.")
