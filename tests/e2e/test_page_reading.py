"""Accessibility: keyboard, screen reader, phone, long threads and long replies."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.sims.model.answers import Answer
from tests.support.axe import violations, violations_in_both
from tests.support.browser import PHONE, House, Tab, Visitor, needs_browser, until

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

STORY = "Words upon words upon words. " * 12
RICH = """\
# A heading

Text with `code`, **weight** and [a link](https://example.com/).

```python
def add(a: int, b: int = 0x2A) -> float:  # a comment
    return f"{a + b!r}" if None else True
```

| left | right |
|:-----|------:|
| one  |     1 |

> A quotation

1. first
2. second
"""
SECTION = "## Part {n}\n\nA paragraph of part {n}. {filler}\n\n```python\nprint({n})\n```\n\n"
LONG = "".join(SECTION.format(n=n, filler="More of it. " * 70) for n in range(60)) + "The end."

WATCH_NEWS = """() => {
  window.news = [];
  new MutationObserver(() => {
    const text = document.querySelector("#news").textContent;
    if (text) news.push(text);
  }).observe(document.querySelector("#news"), { childList: true });
}"""
WATCH_TASKS = """() => {
  window.tasks = [0];
  new PerformanceObserver((list) => list.getEntries().forEach((e) => tasks.push(e.duration)))
    .observe({ entryTypes: ["longtask"] });
}"""
SELECT_FIRST = """() => {
  const words = document.querySelector("#thread .from-assistant .text p").firstChild;
  getSelection().setBaseAndExtent(words, 2, words, 11);
}"""


async def test_axe_finds_no_violations(visit: Visit, house: House) -> None:
    """Checks an empty channel, a formatted reply, the completion list and both dialogs, light and
    dark."""
    await house.model.say(RICH, match="be rich")
    visitor = await visit(house)
    tab = await visitor.tab()
    await expect(tab.channel.get_by_role("heading", name="Ask in the channel")).to_be_visible()
    assert await violations_in_both(tab.page) == []
    await tab.mention("be rich")
    await tab.wait_reply("second")
    await tab.say("/help")
    await expect(tab.notices).to_have_count(1)
    await tab.box.fill("/")
    await expect(tab.page.get_by_role("listbox")).to_be_visible()
    assert await violations_in_both(tab.page) == []
    await tab.page.get_by_role("button", name="Help and shortcuts").click()
    assert await violations_in_both(tab.page) == []
    stranger = await (await visit(house, token="wrong")).tab()
    await expect(stranger.page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert await violations_in_both(stranger.page) == []


async def test_everything_can_be_done_by_keyboard(visit: Visit, house: House) -> None:
    """Loads the page, gets a reply, stops another, moves through messages, and leaves the
    thread."""
    await house.model.say(STORY, match="by keys", wait_at=20)
    tab = await (await visit(house)).tab()
    keys = tab.page.keyboard
    await expect(tab.channel_box).to_be_focused()
    await keys.type("@th")
    await expect(tab.page.get_by_role("option")).to_have_count(1)
    await keys.press("Enter")
    await expect(tab.channel_box).to_have_value("@threadline ")
    await keys.type("by keys")
    await keys.press("Enter")
    await expect(tab.box).to_be_focused()
    await expect(tab.replies.locator(".text")).to_contain_text("Words upon")
    await keys.press("Tab")
    await expect(tab.stop).to_be_focused()
    await keys.press("Enter")
    await expect(tab.replies).to_have_attribute("data-state", "stopped")

    await keys.type("by keys again")
    await keys.press("Enter")
    await expect(tab.replies.nth(1).locator(".text")).to_contain_text("Words upon")
    await keys.press("Control+.")
    await expect(tab.replies.nth(1)).to_have_attribute("data-state", "stopped")
    await expect(tab.stop).to_be_hidden()
    await expect(tab.box).to_be_focused()

    await keys.press("ArrowUp")
    await expect(tab.replies.nth(1)).to_be_focused()
    await keys.press("Home")
    await expect(tab.questions.first).to_be_focused()
    await keys.press("ArrowDown")
    await expect(tab.replies.first).to_be_focused()
    await keys.press("?")
    await expect(tab.page.get_by_role("dialog")).to_be_visible()
    await keys.press("Escape")
    await expect(tab.replies.first).to_be_focused()
    await keys.press("Escape")
    await expect(tab.thread).to_be_hidden()
    await expect(tab.roots.first).to_be_focused()
    await keys.press("Enter")
    await expect(tab.box).to_be_focused()
    await keys.press("F6")
    await expect(tab.channel_box).to_be_focused()


async def test_completion_list_is_a_listbox_controlled_by_the_input(
    visit: Visit, house: House
) -> None:
    """Arrow keys move the active option, Escape closes only the list, a click accepts an option."""
    tab = await (await visit(house)).tab()
    await tab.mention("about lists")
    await tab.wait_reply("about lists")
    await tab.box.press_sequentially("/")
    options = tab.page.get_by_role("option")
    await expect(options.nth(3)).to_be_visible()
    for active in (0, 1):
        chosen = await options.nth(active).get_attribute("id")
        await expect(tab.box).to_have_attribute("aria-activedescendant", str(chosen))
        await expect(options.nth(active)).to_have_attribute("aria-selected", "true")
        await tab.box.press("ArrowDown")
    await tab.box.press("Escape")
    await expect(tab.page.get_by_role("listbox")).to_be_hidden()
    await expect(tab.thread).to_be_visible()
    await tab.box.press_sequentially("res")
    await expect(options).to_have_count(1)
    await options.click()
    await expect(tab.box).to_have_value("/reset")
    await expect(tab.box).to_be_focused()


async def test_screen_readers_announce_start_and_end_but_not_every_word(
    visit: Visit, house: House
) -> None:
    """A reply with many edits announces two sentences; the feed reports that it is busy."""
    await house.model.say(STORY, match="to be heard", wait_at=20)
    tab = await (await visit(house)).tab()
    await tab.page.evaluate(WATCH_NEWS)
    await tab.mention("to be heard")
    await expect(tab.thread.get_by_role("feed")).to_have_attribute("aria-busy", "true")
    await house.model.release("to be heard")
    await tab.wait_reply(STORY.strip())
    await expect(tab.thread.get_by_role("feed")).to_have_attribute("aria-busy", "false")
    await expect(tab.page.locator("#news")).to_have_text("Threadline answered, 60 words.")
    assert await tab.page.evaluate("news") == [
        "Threadline is writing.",
        "Threadline answered, 60 words.",
    ]


async def test_phone_shows_one_pane_at_a_time(visit: Visit, house: House) -> None:
    """Nothing is wider than the screen, nothing zooms, and buttons are large enough to tap."""
    await house.model.say(RICH, match="on the phone")
    visitor = await visit(house, viewport=PHONE, has_touch=True, is_mobile=True)
    tab = await visitor.tab()
    await tab.channel_box.fill("@threadline on the phone")
    await tab.channel.get_by_role("button", name="Send").tap()
    await tab.wait_reply("second")
    await expect(tab.channel).to_be_hidden()
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not await tab.page.evaluate(wide)
    size = await tab.box.evaluate("box => parseFloat(getComputedStyle(box).fontSize)")
    assert size >= 16
    for name in ("Send", "Back to the channel"):
        box = await tab.thread.get_by_role("button", name=name).bounding_box()
        assert box is not None and min(box["width"], box["height"]) >= 36
    await tab.thread.get_by_role("button", name="Back to the channel").tap()
    await expect(tab.thread).to_be_hidden()
    await tab.roots.first.get_by_role("button").tap()
    await expect(tab.channel).to_be_hidden()
    await tab.page.go_back()
    await expect(tab.channel).to_be_visible()


@pytest.mark.parametrize("width", [320, 390])
async def test_a_long_name_of_a_user_is_shortened_on_a_phone(
    visit: Visit, house: House, width: int
) -> None:
    """The header keeps its height, and its last button stays on the screen; 320 is 400 % zoom."""
    tab = await (await visit(house, viewport=PHONE | {"width": width})).tab()
    header, user = tab.page.locator("header.bar"), tab.page.locator("#user")
    await expect(user).to_have_attribute("title", re.compile("user"))
    height = "node => node.offsetHeight"
    before = await header.evaluate(height)
    await user.evaluate("node => { node.textContent = 'Bartholomaeus-von-und-zu-'.repeat(3); }")
    assert await header.evaluate(height) == before
    assert await tab.page.locator("#leave").evaluate(
        "node => node.getBoundingClientRect().right <= innerWidth"
    )


async def test_back_closes_the_dialog_and_the_menu_above_the_place(
    visit: Visit, house: House
) -> None:
    """Otherwise they would stand above another thread, or above the channel."""
    tab = await (await visit(house)).tab()
    await tab.mention("a thread to leave")
    await tab.wait_reply("a thread to leave")
    settings = tab.page.locator("#settings-dialog")
    await tab.page.locator("#settings").click()
    await expect(settings).to_be_visible()
    await tab.page.go_back()
    await expect(settings).to_be_hidden()
    await expect(tab.thread).to_be_hidden()
    await tab.page.go_forward()
    menu = tab.page.locator("#thread-actions")
    await tab.page.locator("#thread-menu").click()
    await expect(menu).to_be_visible()
    await tab.page.go_back()
    await expect(menu).to_be_hidden()


async def test_long_reply_keeps_scroll_position_and_selection(
    visit: Visit, house: House, figures: Callable[[object], None]
) -> None:
    """The reply has 50 kB; a reader further up is not scrolled, and sees that there is more
    below."""
    assert len(LONG) > 50_000
    await house.model.say(LONG, match="at length", rate=4000, wait_at=4_000)
    tab = await (await visit(house)).tab()
    await tab.page.evaluate(WATCH_TASKS)
    await tab.mention("at length")
    scroller = tab.thread.locator(".scroll")
    await expect(tab.replies.locator(".text")).to_contain_text("Part 8")
    await tab.page.evaluate(SELECT_FIRST)
    await scroller.evaluate("node => node.scrollTop = 200")
    await house.model.release("at length")
    pill = tab.thread.get_by_role("button", name="New")
    await expect(pill).to_be_visible()
    await tab.wait_reply("The end.")
    assert await scroller.evaluate("node => node.scrollTop") == 200
    assert await tab.page.evaluate("String(getSelection())") == "paragraph"
    await pill.click()
    await expect(pill).to_be_hidden()
    left = "node => node.scrollHeight - node.scrollTop - node.clientHeight"
    assert await scroller.evaluate(left) < 2
    figures(f"longest task of the page, in ms: {await tab.page.evaluate('Math.max(...tasks)')}")


async def test_page_follows_a_growing_reply_at_the_end(visit: Visit, house: House) -> None:
    """The user need not scroll, and no notice of new messages appears."""
    await house.model.say(LONG[:12_000], match="follow along", rate=2000)
    tab = await (await visit(house)).tab()
    await tab.mention("follow along")
    await tab.replies.first.wait_for()
    reply = tab.replies.first
    await expect(reply).to_have_attribute("data-state", "done")
    left = "node => node.scrollHeight - node.scrollTop - node.clientHeight"
    assert await tab.thread.locator(".scroll").evaluate(left) < 2
    await expect(tab.thread.locator(".pill")).to_be_hidden()


async def test_page_follows_after_a_tall_draft_was_sent(visit: Visit, house: House) -> None:
    """The box becomes small again, which moves the text above it without the reader's doing."""
    await house.model.script(Answer(match="fill the view", text="A line.\n\n" * 40, rate=2000))
    await house.model.script(Answer(match="a tall draft", text="The answer to it.", rate=2000))
    tab = await (await visit(house)).tab()
    await tab.mention("fill the view")
    await tab.wait_reply("A line.")
    await tab.say("a tall draft\n" * 40)
    await tab.wait_reply("The answer to it.")
    left = "node => node.scrollHeight - node.scrollTop - node.clientHeight"
    await until(lambda: tab.thread.locator(".scroll").evaluate(f"{left} < 2"))
    await expect(tab.thread.locator(".pill")).to_be_hidden()


async def test_the_beginning_of_a_long_thread_can_be_loaded(visit: Visit, house: House) -> None:
    """The messages on the screen stay where they are, and the whole is there after another reading.

    One response has 500 messages; here, the first one has two.
    """
    tab = await (await visit(house)).tab()
    said = [f"number {n} " + "and so on, " * 150 + "to the end" for n in range(3)]
    await tab.mention(said[0])
    await tab.wait_reply("number 0")
    for text in said[1:]:
        await tab.say(text)
        await tab.wait_reply(text[:8])
    await tab.page.route("**/app/threads/*", _end_only)
    await tab.page.reload()
    articles, earlier = tab.thread.locator("article"), tab.page.locator("#earlier")
    await expect(articles).to_have_count(2)
    await earlier.focus()
    top = "node => Math.round(node.getBoundingClientRect().top)"
    before = await tab.questions.last.evaluate(top)
    await earlier.press("Enter")
    await expect(articles).to_have_count(6)
    assert abs(await tab.questions.last.evaluate(top) - before) <= 1
    await expect(earlier).to_be_hidden()
    await expect(tab.questions.last).to_be_focused()
    await expect(tab.questions.locator(".text")).to_have_text(said)
    async with tab.page.expect_response(lambda answer: "until=" in answer.url):
        await tab.thread.get_by_role("button", name="Try again", exact=True).click()
    await expect(tab.thread.locator(".versions .number")).to_have_text("2 / 2")
    await expect(tab.questions.locator(".text")).to_have_text(said)


async def _end_only(route: Route) -> None:
    """Answer with the newest two messages if the request is not for a certain part."""
    response = await route.fetch()
    thread: dict[str, Any] = await response.json()
    if "until=" not in route.request.url:
        thread |= {"messages": thread["messages"][-2:], "earlier": True}
    await route.fulfill(response=response, body=json.dumps(thread))


async def test_in_a_long_thread_only_the_growing_message_is_rendered(
    visit: Visit, house: House, figures: Callable[[object], None]
) -> None:
    """With 200 earlier messages, rendering another frame of a reply does not touch their nodes."""
    await house.model.script(Answer(match="one more", text=STORY, rate=60))
    tab = await (await visit(house)).tab()
    await tab.mention("the first of many")
    await tab.wait_reply("the first of many")
    await tab.page.route("**/app/threads/*", _with_many)
    await tab.page.reload()
    await expect(tab.thread.locator("article")).to_have_count(202)
    await tab.page.evaluate(WATCH_TASKS)
    await tab.page.evaluate("""() => {
      window.touched = new Set();
      new MutationObserver((changes) => changes.forEach(({ target }) => {
        const node = target.closest?.("article") ?? target.parentElement?.closest("article");
        if (node) touched.add(node);
      })).observe(document.querySelector("#thread .feed"),
        { subtree: true, childList: true, characterData: true, attributes: true });
    }""")
    await tab.say("one more")
    await tab.wait_reply(STORY.strip())
    # the reply, the question, and the message before
    assert await tab.page.evaluate("touched.size") <= 4
    figures(f"longest task of the page, in ms: {await tab.page.evaluate('Math.max(...tasks)')}")


async def _with_many(route: Route) -> None:
    response = await route.fetch()
    thread: dict[str, Any] = await response.json()
    old = thread["messages"][0]
    html = "<p>Something that was said long ago, in a sentence or two.</p>" * 3
    many = [{**old, "id": f"old-{n}", "html": html} for n in range(200)]
    thread["messages"] = [*many, *thread["messages"]]
    await route.fulfill(response=response, body=json.dumps(thread))


async def test_chosen_theme_is_remembered(visit: Visit, house: House) -> None:
    """System, light and dark; the choice applies after a reload and in the other tab."""
    visitor = await visit(house, color_scheme="light")
    tab, other = await visitor.tab(), await visitor.tab()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = await tab.page.evaluate(ground)
    for name in ("light", "dark"):
        await tab.page.get_by_role("button", name="Theme").click()
        await expect(tab.page.get_by_role("button", name=f"Theme: {name}")).to_be_visible()
    assert await tab.page.evaluate(ground) != light
    await expect(other.page.get_by_role("button", name="Theme: dark")).to_be_visible()
    await tab.page.reload()
    assert await tab.page.evaluate(ground) != light


async def test_nothing_blinks_with_reduced_motion(visit: Visit, house: House) -> None:
    """The cursor does not blink."""
    await house.model.script(Answer(match="be still", text=STORY, wait_at=3))
    for wish, name in (("no-preference", "blink"), ("reduce", "none")):
        tab = await (await visit(house, reduced_motion=wish)).tab()
        await tab.mention("be still")
        await expect(tab.replies.locator(".text")).to_contain_text("Words")
        await expect(tab.replies.locator(".cursor")).to_have_css("animation-name", name)
        await tab.stop.click()
        await expect(tab.replies).to_have_attribute("data-state", "stopped")


async def test_first_visit_shows_how_to_start(visit: Visit, own_house: House) -> None:
    """Without any settings, there is an answered sample thread; the page invites the visitor to ask
    a question, and explains how to connect a real model."""
    own_house.bot.set(LLM="", MODELS="", HTTP_TOKENS="")
    async with own_house.bot:
        tab: Tab = await (await visit(own_house)).tab()
        await expect(tab.channel).to_contain_text("the answers are scripted")
        await expect(tab.channel.get_by_role("button", name="Connect a model")).to_be_visible()
        await expect(tab.channel).to_contain_text("What can you do?")
        race = tab.channel.get_by_role("button", name="explain a race condition, in Python")
        await race.click()
        await tab.channel_box.press("Enter")
        await expect(await tab.wait_reply("import threading")).to_contain_text("lock")
        await expect(race).to_be_hidden()
        await expect(tab.questions).to_contain_text("You")
        assert await violations(tab.page) == []
