"""The context button and its panel: numbers, loading, keyboard, small screens, hostile text."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Locator, Route, expect

from tests.support.axe import violations_in_both
from tests.support.browser import PHONE, House, Tab, Visitor, needs_browser, until

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

REPORT: dict[str, Any] = {
    "model": "openai:sim",
    "tokens": 9_920,
    "budget": 16_000,
    "window": 128_000,
    "parts": [
        {"kind": "prompt", "tokens": 120, "count": 1},
        {"kind": "summary", "tokens": 400, "count": 1},
        {"kind": "messages", "tokens": 9_000, "count": 41},
        {"kind": "files", "tokens": 400, "count": 2},
    ],
    "cached_tokens": 4_960,
    "summarized": 30,
    "left_out": 1,
    "summary": "They spoke about herons.",
}
HOSTILE = "<img src=x onerror='window.harmed = 1'>"
BACKWARDS = "\u202eevil/model"
LONG = "long/" + "name-of-a-model-" * 18 + "the-end"
NARROW = {"width": 320, "height": 568}
WIDE = "document.documentElement.scrollWidth > innerWidth"
PLACES = """() => [...document.querySelectorAll("#thread .scroll, #thread .box, #thread .title")]
  .map((node) => JSON.stringify(node.getBoundingClientRect()))"""
SHARES = """() => {
  const bar = document.querySelector("#context-panel .meter").getBoundingClientRect();
  const parts = [...document.querySelectorAll("#context-panel .meter > *")];
  return Object.fromEntries(parts.map((node) =>
    [node.className, 100 * node.getBoundingClientRect().width / bar.width]));
}"""


class Contexts:
    """Answers the page's requests for contexts, as the server would."""

    def __init__(self, report: Any = None, status: int = 200) -> None:
        self.report, self.status, self.asked = report or dict(REPORT), status, 0
        self.free = asyncio.Event()  # answers wait for this
        self.free.set()

    async def answer(self, route: Route) -> None:
        self.asked += 1
        await self.free.wait()
        await route.fulfill(status=self.status, body=json.dumps(self.report))


@pytest.fixture
def contexts() -> Contexts:
    return Contexts()


async def open_thread(visitor: Visitor, contexts: Contexts, text: str = "hello") -> Tab:
    """A tab with an answered thread."""
    tab = await visitor.tab()
    await tab.page.route("**/conversation/*/context", contexts.answer)
    await tab.channel_box.fill(f"@threadline {text}")
    await tab.channel.get_by_role("button", name="Send").click()  # on a phone, Enter is a new line
    await tab.wait_reply(text)
    return tab


def button(tab: Tab) -> Locator:
    return tab.thread.locator("#context")


def panel(tab: Tab) -> Locator:
    return tab.page.get_by_role("region", name="Context")


async def rows(tab: Tab) -> list[list[str]]:
    """The table's rows as texts."""
    cells = "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    found: list[list[str]] = await panel(tab).locator("tbody tr").evaluate_all(cells)
    return found


# ── the numbers ───────────────────────────────────────────────────────────────────────────────
async def test_nothing_is_loaded_before_the_panel_is_opened(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    """Once opened, the panel lists every number in a table, and the button shows the share in
    use."""
    tab = await open_thread(await visit(house), contexts)
    await expect(button(tab)).to_have_text("Context")
    assert contexts.asked == 0
    await button(tab).click()
    await expect(button(tab)).to_have_text("Context 62%")
    await expect(button(tab)).to_have_attribute("aria-expanded", "true")
    await expect(panel(tab)).to_contain_text(
        "The next question sends about 9,920 of at most 16,000 tokens to openai:sim."
    )
    assert await rows(tab) == [
        ["System prompt", "120", "1%"],
        ["Summary", "400", "3%"],
        ["Messages (41)", "9,000", "56%"],
        ["Files (2)", "400", "3%"],
        ["Free", "6,080", "38%"],
        ["Cached, last time", "4,960", "31%"],
    ]
    await expect(panel(tab)).to_contain_text("30 older messages are summarized.")
    await expect(panel(tab)).to_contain_text("1 older message is left out.")
    await expect(panel(tab)).to_contain_text("The model’s window has 128,000 tokens.")
    summary = panel(tab).get_by_role("group", name="Summary")
    await expect(summary).to_be_hidden()
    await panel(tab).get_by_text("Text of the summary").click()
    await expect(summary).to_have_text("They spoke about herons.")
    await expect(tab.page.locator("#news")).to_contain_text("9,920 of 16,000 tokens")


async def test_real_contexts_are_described_by_the_panel_and_by_the_command(
    visit: Visit, house: House
) -> None:
    """Both come from the bot that will send the request, so they report the same number of
    tokens."""
    tab = await (await visit(house)).tab()
    await tab.mention("what do you get")
    await tab.wait_reply("what do you get")
    await button(tab).click()
    await expect(button(tab)).to_have_text(re.compile(r"^Context (under 1|\d+)%$"))
    names = [row[0] for row in await rows(tab)]
    assert names[:2] == ["System prompt", "Messages (2)"]
    assert "Free" in names
    said = await panel(tab).locator("p").first.text_content()
    count = re.search(r"about ([\d,]+) of at most ([\d,]+) tokens to openai:sim", said or "")
    assert count is not None, said
    await tab.say("/context")
    await expect(tab.notices.last).to_contain_text(f"{count[1]} tokens")
    await expect(tab.notices.last).to_contain_text(count[2])


async def test_bar_has_the_shares_of_the_table_and_hatches_the_cached_beginning(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    """Both writing directions are checked."""
    tab = await open_thread(await visit(house), contexts)
    await button(tab).click()
    await expect(panel(tab).locator("table")).to_be_visible()
    wanted = {"prompt": 0.75, "summary": 2.5, "messages": 56.25, "files": 2.5, "free": 38}
    shares: dict[str, float] = await tab.page.evaluate(SHARES)
    assert shares == {
        **{f"part kind-{kind}": pytest.approx(share, abs=0.5) for kind, share in wanted.items()},
        "cached": pytest.approx(31, abs=0.5),
    }
    for direction in ("ltr", "rtl"):
        await tab.page.evaluate("way => { document.documentElement.dir = way; }", direction)
        ends: list[list[float]] = await tab.page.evaluate(
            """() => [".meter", ".meter .kind-prompt", ".meter .cached"]
              .map((name) => document.querySelector(`#context-panel ${name}`))
              .map((node) => node.getBoundingClientRect())
              .map(({ left, right }) => [left, right])"""
        )
        edge = 0 if direction == "ltr" else 1
        assert all(abs(end[edge] - ends[0][edge]) <= 2 for end in ends), ends
        assert not await tab.page.evaluate(WIDE)


async def test_panel_is_updated_after_each_reply_while_it_is_open(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    """An open summary stays open while it is being read; a closed panel forgets its numbers."""
    tab = await open_thread(await visit(house), contexts)
    await button(tab).click()
    await panel(tab).get_by_text("Text of the summary").click()
    contexts.report = {**REPORT, "parts": [{"kind": "messages", "tokens": 12_000, "count": 43}]}
    contexts.free.clear()
    await tab.say("more")
    await tab.wait_reply("more")
    summary = panel(tab).get_by_role("group", name="Summary")
    await summary.focus()
    contexts.free.set()
    await expect(button(tab)).to_have_text("Context 75%")
    await expect(summary).to_be_focused()
    await button(tab).click()
    await expect(panel(tab)).to_be_hidden()
    asked = contexts.asked
    await tab.say("still more")
    await tab.wait_reply("still more")
    await expect(button(tab)).to_have_text("Context")
    assert contexts.asked == asked


async def test_panel_is_updated_after_a_program_changed_the_thread(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    visitor = await visit(house)
    tab = await open_thread(visitor, contexts)
    await button(tab).click()
    await expect(button(tab)).to_have_text("Context 62%")
    contexts.report = {**REPORT, "parts": [{"kind": "prompt", "tokens": 4_000, "count": 1}]}
    thread = tab.page.url.rpartition("/")[2]
    changed = await visitor.context.request.patch(
        f"{house.origin}/conversation/{thread}",
        data={"effort": "high"},
        headers={"Authorization": f"Bearer {visitor.token}"},
    )
    assert changed.ok
    await expect(button(tab)).to_have_text("Context 25%")
    await expect(tab.thread.locator("#effort")).to_have_text("Effort: high")


async def test_another_thread_never_shows_the_first_ones_context(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    """The response for a thread that the reader has left is dropped."""
    tab = await open_thread(await visit(house), contexts, "the first one")
    contexts.free.clear()
    await button(tab).click()
    await expect(panel(tab)).to_contain_text("Loading")
    await tab.mention("the second one")
    await tab.wait_reply("the second one")
    await expect(panel(tab)).to_be_hidden()
    contexts.free.set()
    contexts.report = {**REPORT, "parts": [{"kind": "prompt", "tokens": 1_600, "count": 1}]}
    await button(tab).click()
    await expect(button(tab)).to_have_text("Context 10%")
    await expect(panel(tab)).not_to_contain_text("9,000")


# ── missing, late and odd responses ───────────────────────────────────────────────────────────
STRANGE: list[tuple[dict[str, Any], str, str]] = [
    ({"parts": []}, "Context", "The next question sends about 0 tokens to the model."),
    (
        {
            "model": "m",
            "parts": [{"kind": "prompt"}, {"tokens": 50}, None, {"kind": "tool", "tokens": 50}],
        },
        "Context",
        "The next question sends about 100 tokens to m.",
    ),
    ({**REPORT, "budget": 0, "window": None}, "Context", "about 9,920 tokens to"),
    ({**REPORT, "budget": 5_000}, "Context 198%", "about 9,920 of at most 5,000 tokens"),
    (
        {**REPORT, "parts": "none", "cached_tokens": "many", "summary": 5},
        "Context 0%",
        "about 0 of",
    ),
]
FAILURES = [
    (404, {"error": "Not Found"}, "This server does not describe the context of a thread."),
    (503, {"error": "My database cannot be reached."}, "My database cannot be reached."),
    (500, "<html>Bad gateway</html>", "The server could not do this."),
]


async def test_missing_and_strange_fields_are_tolerated(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    tab = await open_thread(await visit(house), contexts)
    for report, label, said in STRANGE:
        contexts.report = report
        await button(tab).click()
        await expect(panel(tab)).to_contain_text(said)
        await expect(button(tab)).to_have_text(label)
        assert "NaN" not in (await panel(tab).text_content() or "")
        await button(tab).click()
        await expect(panel(tab)).to_be_hidden()


async def test_an_error_is_one_sentence(visit: Visit, house: House, contexts: Contexts) -> None:
    """The sentence stays until the panel is opened again and the server responds."""
    tab = await open_thread(await visit(house), contexts)
    for status, body, said in FAILURES:
        contexts.report, contexts.status = body, status
        await button(tab).click()
        await expect(panel(tab).get_by_role("alert")).to_have_text(said)
        contexts.report, contexts.status = REPORT, 200
        await button(tab).click()
        await button(tab).click()
        await expect(button(tab)).to_have_text("Context 62%")
        await expect(panel(tab).get_by_role("alert")).to_have_count(0)
        await button(tab).click()
        await expect(panel(tab)).to_be_hidden()


async def test_without_a_connection_the_panel_says_so(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    tab = await open_thread(await visit(house), contexts)
    await tab.page.unroute("**/conversation/*/context")
    await tab.page.route("**/conversation/*/context", lambda route: route.abort())
    await button(tab).click()
    await expect(panel(tab)).to_have_text(re.compile("The server cannot be reached."))


async def test_hostile_text_stays_text_in_the_panel(visit: Visit, house: House) -> None:
    """Markup, direction overrides and endless words, in every text field."""
    report = {
        **REPORT,
        "model": f"{BACKWARDS}/{HOSTILE}/{LONG}",
        "parts": [{"kind": HOSTILE, "tokens": 5, "count": 1}, {"kind": LONG, "tokens": 5}],
        "summary": f"{HOSTILE}\n{'x' * 5_000}\n\u202e{'back ' * 900}",
    }
    tab = await open_thread(await visit(house, viewport=NARROW), Contexts(report))
    await button(tab).click()
    await panel(tab).get_by_text("Text of the summary").click()
    await expect(panel(tab).get_by_role("group", name="Summary")).to_contain_text("onerror")
    await expect(panel(tab).locator("img, script")).to_have_count(0)
    assert await tab.page.evaluate("window.harmed") is None
    assert not await tab.page.evaluate(WIDE)
    inside = "node => node.scrollWidth <= node.clientWidth"
    assert await panel(tab).evaluate(inside)


# ── people ────────────────────────────────────────────────────────────────────────────────────
async def test_panel_by_keyboard(visit: Visit, house: House, contexts: Contexts) -> None:
    """Open it with the button, read it with Tab, and close it with Escape, which keeps the thread
    open."""
    tab = await open_thread(await visit(house), contexts)
    keys = tab.page.keyboard
    await button(tab).focus()
    await keys.press("Enter")
    await expect(panel(tab).locator("table")).to_be_visible()
    await expect(button(tab)).to_be_focused()
    await keys.press("Tab")
    await expect(tab.page.get_by_role("button", name="Close the context")).to_be_focused()
    await keys.press("Tab")
    await keys.press("Enter")
    await keys.press("Tab")
    await expect(panel(tab).get_by_role("group", name="Summary")).to_be_focused()
    await keys.press("Escape")
    await expect(panel(tab)).to_be_hidden()
    await expect(button(tab)).to_be_focused()
    await expect(button(tab)).to_have_attribute("aria-expanded", "false")
    await expect(tab.thread).to_be_visible()
    await tab.box.focus()
    await button(tab).click()
    await tab.box.focus()
    await keys.press("Escape")
    await expect(panel(tab)).to_be_hidden()
    await expect(tab.box).to_be_focused()
    await keys.press("Escape")
    await expect(tab.thread).to_be_hidden()


async def test_axe_finds_no_violations_in_the_panel(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    tab = await open_thread(await visit(house), contexts)
    await button(tab).click()
    await panel(tab).get_by_text("Text of the summary").click()
    assert await violations_in_both(tab.page) == []


async def test_panel_fits_a_narrow_screen(visit: Visit, house: House, contexts: Contexts) -> None:
    """The whole panel can be reached by scrolling, and its buttons are large enough to tap."""
    visitor = await visit(house, viewport=PHONE, has_touch=True, is_mobile=True)
    tab = await open_thread(visitor, contexts)
    await button(tab).tap()
    await expect(panel(tab).locator("table")).to_be_visible()
    for size in (PHONE, NARROW):
        await tab.page.set_viewport_size(size)  # type: ignore[arg-type]
        await check_fit(tab, size)


async def check_fit(tab: Tab, size: dict[str, int]) -> None:
    assert not await tab.page.evaluate(WIDE)
    place = await panel(tab).bounding_box()
    assert place is not None
    assert place["x"] >= 0
    assert place["y"] >= 0
    assert place["x"] + place["width"] <= size["width"]
    await panel(tab).get_by_text("Text of the summary").scroll_into_view_if_needed()
    for part in (button(tab), tab.thread.locator("#model")):
        box = await part.bounding_box()
        assert box is not None
        assert box["height"] >= 32
        assert box["x"] + box["width"] <= size["width"]


async def test_opening_and_updating_moves_nothing_else(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    """Neither the messages, nor the message box, nor the other buttons in the row move."""
    tab = await open_thread(await visit(house, reduced_motion="reduce"), contexts)
    before = await tab.page.evaluate(PLACES)
    model = await tab.thread.locator("#model").bounding_box()
    own = await button(tab).bounding_box()
    await button(tab).click()
    await expect(button(tab)).to_have_text("Context 62%")
    assert await tab.page.evaluate(PLACES) == before
    assert await tab.thread.locator("#model").bounding_box() == model
    assert await button(tab).bounding_box() == own


async def test_an_opened_panel_asks_once_at_a_time(
    visit: Visit, house: House, contexts: Contexts
) -> None:
    """Replies that end while the server is slow cause one more request in total, not one each."""
    tab = await open_thread(await visit(house), contexts)
    contexts.free.clear()
    await button(tab).click()
    for text in ("two", "three"):
        await tab.say(text)
        await tab.wait_reply(text)
    assert contexts.asked == 1
    contexts.free.set()

    async def is_settled() -> bool:
        return contexts.asked == 2

    await until(is_settled)
    await expect(button(tab)).to_have_text("Context 62%")
