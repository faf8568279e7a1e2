"""The model menu, the settings of a thread and of the browser, links, files and printing."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pypdfium2
import pytest
from playwright.async_api import Locator, expect

from tests.support.axe import violations, violations_in_both
from tests.support.browser import House, Tab, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

# Returns nothing, because a promise would be awaited.
WATCH_PRINT = "() => { window.printed = new Promise((done) => { window.print = done; }); }"
ANSWER = """See [the docs](https://docs.example.org/threading) and https://example.org/races

```python
def a_long_line(first_argument, second_argument, third_argument, fourth_one, fifth_argument): pass
```
"""


async def accessible(tab: Tab) -> None:
    assert await violations(tab.page) == []


def menu(tab: Tab, name: str) -> Locator:
    return tab.page.get_by_role("menuitem", name=name)


async def choose(tab: Tab, name: str) -> None:
    """Open the thread's menu and choose an action."""
    await tab.thread.get_by_role("button", name="More about this thread").click()
    await menu(tab, name).click()


async def test_a_model_is_chosen_from_the_menu(visit: Visit, house: House) -> None:
    """It is chosen by keyboard, for this thread and for new ones. `/model` still works."""
    tab = await (await visit(house)).tab()
    await tab.mention("which one writes here")
    await tab.wait_reply("which one writes here")
    chip, page = tab.thread.locator("#model"), tab.page
    await chip.focus()
    await page.keyboard.press("Enter")
    search = page.get_by_role("combobox", name="Model of this thread")
    await expect(search).to_be_focused()
    options = page.locator(".models").get_by_role("option")
    await expect(options).to_have_count(3)
    await expect(options.first).to_contain_text("Chosen: Default: openai:sim")
    assert await violations_in_both(page) == []
    await page.keyboard.type("sim-2")
    await expect(options).to_have_count(1)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(page.get_by_label("Also for my new threads")).to_be_checked()
    await search.press("Enter")
    await expect(chip).to_have_text("openai:sim-2")
    await expect(chip).to_be_focused()
    await expect(tab.notices).to_have_count(0)
    await tab.say("/model default")
    await expect(chip).to_have_text("openai:sim")
    await tab.channel_box.fill("@threadline another thread")
    await tab.channel_box.press("Enter")
    await tab.wait_reply("another thread")
    await expect(chip).to_have_text("openai:sim-2")
    # The settings show the same choice, and can undo it.
    await page.get_by_role("button", name="Settings").click()
    mine = page.locator("#settings-model")
    await expect(mine).to_have_text("openai:sim-2")
    await mine.click()
    await expect(options).to_have_count(3)
    await expect(options.nth(2)).to_contain_text("For new threads")
    await options.first.click()
    await expect(mine).to_have_text("Default: openai:sim")
    assert await violations_in_both(page) == []


async def test_a_thread_gets_instructions_and_a_temperature(visit: Visit, house: House) -> None:
    """They apply from the next answer on, and the context panel names them."""
    tab = await (await visit(house)).tab()
    await tab.mention("a thread with settings")
    await tab.wait_reply("a thread with settings")
    await choose(tab, "Instructions, temperature")
    dialog = tab.page.get_by_role("dialog", name="Settings of this thread")
    await dialog.get_by_label("Instructions for this thread").fill("Answer in verse.")
    await dialog.get_by_label("Choose the temperature").check()
    await dialog.get_by_role("slider", name="Temperature").fill("0.3")
    await accessible(tab)
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_be_hidden()
    await tab.say("and now with settings?")
    await tab.wait_reply("and now with settings?")
    body = (await house.model.last(match="and now with settings?")).body
    assert body["temperature"] == 0.3
    assert re.match(r"Be brief\.\n\n.*\n\nAnswer in verse\.\n\n", body["messages"][0]["content"])
    await tab.thread.locator("#context").click()
    await expect(tab.thread.get_by_role("rowheader", name="Your instructions")).to_be_visible()
    await tab.page.reload()
    await choose(tab, "Instructions, temperature")
    await expect(dialog.get_by_label("Instructions for this thread")).to_have_value(
        "Answer in verse."
    )


async def test_browser_settings_apply_and_persist(visit: Visit, house: House) -> None:
    """Appearance applies immediately and before the first paint, as do the keys; the language
    applies after closing."""
    tab = await (await visit(house)).tab()
    page, root = tab.page, tab.page.locator("html")
    settings = page.get_by_role("button", name="Settings")
    await settings.click()
    for label, name, value in (
        ("Dark", "theme", "dark"), ("Compact", "density", "compact"), ("Large", "text", "large"),
    ):  # fmt: skip
        await page.get_by_label(label, exact=True).check()
        await expect(root).to_have_attribute(f"data-{name}", value)
    await expect(page.locator("#theme")).to_have_attribute("aria-label", "Theme: dark")
    await page.get_by_label("Wrap long lines of code").check()
    await page.get_by_label("New line; Ctrl Enter sends").check()
    await page.get_by_label(re.compile("Single keys")).uncheck()
    await page.get_by_label("Dates and numbers").select_option("de")
    await accessible(tab)
    async with page.expect_navigation():
        await page.locator("#settings-dialog").get_by_label("Close").click()
    await expect(root).to_have_attribute("data-wrap", "on")
    await expect(root).to_have_attribute("data-text", "large")
    await tab.channel_box.fill("@threadline two")
    await tab.channel_box.press("Enter")
    await tab.channel_box.press_sequentially("lines")
    await expect(tab.channel_box).to_have_value("@threadline two\nlines")
    await tab.channel_box.press("Control+Enter")
    await tab.wait_reply("lines")
    await expect(tab.thread.locator("time").first).to_have_attribute(
        "title", re.compile(r"^\w+, \d+\. \w+ \d{4} um \d\d:\d\d$")
    )
    await expect(page.locator(".row-time").first).to_have_text(re.compile(r"^\d\d:\d\d$"))
    await tab.replies.last.focus()
    await page.keyboard.press("?")
    await expect(page.locator("#shortcuts")).to_be_hidden()


async def test_a_thread_is_shared_read_and_printed(
    visit: Visit, house: House, tmp_path: Path
) -> None:
    """Its link is read-only and works until deleted; on paper, code wraps and links show addresses;
    it can be saved as a file."""
    await house.model.say(ANSWER, match="to be shared")
    owner = await visit(house)
    tab = await owner.tab()
    await tab.mention("to be shared")
    await tab.wait_reply("the docs")
    await choose(tab, "Share with the team")
    dialog = tab.page.get_by_role("dialog", name="Share with the team")
    await accessible(tab)
    await dialog.get_by_role("button", name="Make a link").click()
    field = dialog.get_by_label("Link", exact=True)
    await expect(field).to_have_value(re.compile("^http"))
    link = await field.input_value()
    await accessible(tab)
    await tab.page.keyboard.press("Escape")
    await tab.say("said later")
    await tab.wait_reply("said later")

    reader = await (await visit(house)).tab(link.removeprefix(house.origin))
    shared = reader.page.get_by_role("region", name="to be shared")
    await expect(shared.get_by_role("article")).to_have_count(2)
    await expect(shared).to_contain_text("Shared by user")
    await expect(shared.get_by_role("textbox")).to_have_count(0)
    await expect(reader.page).to_have_title("to be shared · Threadline")
    await accessible(reader)

    await tab.page.evaluate(WATCH_PRINT)
    await choose(tab, "Print")
    await tab.page.evaluate("() => window.printed")
    pdf = tmp_path / "thread.pdf"
    await tab.page.pdf(path=pdf)
    document = pypdfium2.PdfDocument(pdf)
    text = " ".join(page.get_textpage().get_text_range() for page in document)
    squeezed = re.sub(r"\s", "", text)
    assert "(https://docs.example.org/threading)" in squeezed
    assert squeezed.count("https://example.org/races") == 1  # the link text is the address itself
    assert "fifth_argument):pass" in squeezed  # the text was not truncated
    assert "saidlater" in squeezed
    assert "Reply…" not in text
    await tab.page.evaluate("dispatchEvent(new Event('afterprint'))")
    await expect(tab.page.locator("#sheet")).to_have_count(0)

    async with tab.page.expect_download() as saved:
        await choose(tab, "Save as JSON")
    file = await saved.value
    assert re.fullmatch(r"to be shared \d{4}-\d\d-\d\d\.json", file.suggested_filename)
    exported = json.loads(await asyncio.to_thread(Path(await file.path()).read_text))
    assert exported["messages"][0]["content"] == "to be shared"

    # The link still shows the text from before the edit; the page says so at the edit and where the
    # link is updated.
    question = tab.questions.last
    await question.get_by_role("button", name="Edit").click()
    await question.get_by_label("Your question").fill("said otherwise")
    await tab.page.keyboard.press("Control+Enter")
    await tab.wait_reply("said otherwise")
    notice = tab.page.get_by_role("region", name="Notices")
    await expect(notice).to_contain_text("still shows the question as it was")
    await notice.get_by_role("button", name="The link").click()
    await expect(dialog).to_contain_text("it still shows what was edited")
    await dialog.get_by_role("button", name="Update the link").click()
    await expect(dialog).to_contain_text("It shows 4 messages")
    await reader.page.reload()
    await expect(shared.get_by_role("article")).to_have_count(4)
    await dialog.get_by_role("button", name="Delete the link").click()
    await expect(dialog.get_by_role("button", name="Make a link")).to_be_visible()
    await reader.page.reload()
    await expect(
        reader.page.get_by_text("This link does not exist, or not any more.")
    ).to_be_visible()
