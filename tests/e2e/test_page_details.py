"""Details of the page: event order, scrolling, suggestions, long pastes, printing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Route, expect

from tests.sims.model.answers import Answer
from tests.support.browser import House, Visitor, needs_browser, until

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

STORY = "Once there was a thread that grew.\n\n" * 120

# Applies a thread's events in a given order and returns the thread's final state.
PLAY = """async (order) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { State } = await import(address("state.js"));
  const state = new State();
  const at = "2026-11-28T10:00:00.000Z";
  const said = { text: "why?", html: "", turn: 7, epoch: 1, created_at: at };
  const question = { id: "q", role: "user", ...said };
  const reply = { id: "turn-7", role: "assistant", text: "", html: "", created_at: at };
  const events = {
    asked: (id) => state.takeMessage({ thread: "t", ...question, state: "queued" }, id),
    begun: (id) => state.takeReply({ thread: "t", ...reply, state: "writing" }, id),
    ended: (id) => state.takeReply({ thread: "t", ...reply, text: "Done.", state: "done" }, id),
    read: () => state.takeThread({ id: "t", name: "", model: null, epoch: 1, event: "e-3",
      messages: [{ ...question, state: "done" }, { ...reply, text: "Done.", state: "done" }] }),
  };
  const numbers = { asked: "e-1", begun: "e-2", ended: "e-3", read: null };
  state.openId = "t";
  state.takeThread({ id: "t", name: "", model: null, epoch: 1, event: "e-0", messages: [] });
  for (const name of order) events[name](numbers[name]);
  return state.threadItems([]).map(({ id, state }) => `${id} ${state}`);
}"""


async def test_question_is_queued_only_until_its_reply_begins_in_any_event_order(
    visit: Visit, house: House
) -> None:
    """Tries every order in which the events, and a snapshot that includes their effects, can
    arrive."""
    tab = await (await visit(house)).tab()
    names = ["asked", "begun", "ended", "read"]
    for order in itertools.permutations(names):
        shown = await tab.page.evaluate(PLAY, list(order))
        if order.index("begun") < order.index("ended") or order[-1] == "read":
            assert sorted(shown) == ["q done", "turn-7 done"], order
        assert "q queued" not in shown, order
        assert shown[0].startswith("q "), order


async def test_scrolling_up_a_little_stops_following_a_streaming_reply(
    visit: Visit, house: House
) -> None:
    """A trackpad scrolls by a few pixels; only reaching the end while scrolling down follows
    again."""
    text = STORY * 2
    await house.model.say(text, match="at length", rate=1_500, wait_at=1_500)
    tab = await (await visit(house, viewport={"width": 1000, "height": 600})).tab()
    await tab.mention("at length")
    scroller = tab.thread.locator(".scroll")
    await expect(tab.replies.locator(".text > p").nth(30)).to_be_attached()
    await scroller.hover()
    await tab.page.mouse.wheel(0, -30)
    left = "node => node.scrollHeight - node.scrollTop - node.clientHeight"

    async def has_scrolled() -> bool:
        return bool(await scroller.evaluate(left) > 2)

    await until(has_scrolled)  # the browser scrolls a moment after the wheel event
    grown = tab.replies.locator(".text > p")
    count = await grown.count()
    await house.model.release("at length")
    await expect(grown.nth(count + 20)).to_be_attached()
    assert await scroller.evaluate(left) > 100

    async def at_the_end() -> bool:
        await tab.page.mouse.wheel(0, 100_000)
        return bool(await scroller.evaluate(left) < 2)

    await until(at_the_end)
    await tab.wait_reply("that grew.")
    assert await scroller.evaluate(left) < 2


async def test_model_whose_name_is_a_prefix_of_another_can_be_chosen(
    visit: Visit, house: House
) -> None:
    """`openai:sim` is offered as well as `openai:sim-2`; Enter chooses it."""
    await house.model.say("Yes.", match="name a model")
    tab = await (await visit(house)).tab()
    await tab.mention("name a model")
    await tab.wait_reply("Yes.")
    await tab.box.press_sequentially("/model OPENAI:S")
    await expect(tab.thread.get_by_role("option")).to_have_count(2)
    await tab.box.press("Enter")
    await expect(tab.box).to_have_value("")
    await expect(tab.notices.last).to_contain_text("openai:sim")
    await tab.box.press_sequentially("/model openai:sim")
    await expect(tab.thread.get_by_role("option")).to_have_count(2)
    await tab.box.press("Enter")
    await expect(tab.notices).to_have_count(2)


async def test_help_in_the_channel_is_complete_and_describes_the_page(
    visit: Visit, house: House
) -> None:
    tab = await (await visit(house)).tab()
    await tab.channel_box.fill("/help")
    await tab.channel_box.press("Enter")
    help_text = tab.channel.locator(".from-notice .text")
    await expect(help_text).to_contain_text("/help")
    assert "direct message" not in await help_text.inner_text()
    assert await help_text.evaluate("node => node.scrollHeight <= node.clientHeight + 1")


async def test_too_long_paste_stays_in_the_box_with_an_explanation(
    visit: Visit, house: House
) -> None:
    tab = await (await visit(house)).tab()
    await tab.channel_box.fill("@threadline " + "x" * 70_000)
    await tab.channel_box.press("Enter")
    await expect(tab.channel.get_by_role("alert")).to_contain_text("70,012 characters")
    assert len(await tab.channel_box.input_value()) == 70_012


async def test_enter_that_ends_a_composition_sends_nothing(visit: Visit, house: House) -> None:
    """Safari reports this Enter after the composition has ended, marked only by key code 229."""
    tab = await (await visit(house)).tab()
    await tab.channel_box.fill("@threadline にほんご")
    await tab.channel_box.evaluate("""box => box.dispatchEvent(new KeyboardEvent("keydown",
      { key: "Enter", keyCode: 229, bubbles: true, cancelable: true }))""")
    await expect(tab.channel_box).to_have_value("@threadline にほんご")
    await tab.channel_box.press("Enter")
    await expect(tab.channel_box).to_have_value("")


async def test_cut_off_answer_says_so(visit: Visit, house: House) -> None:
    await house.model.script(
        Answer(match="break off", text="Half of it is here.", rate=0, breaks="fin", at=4)
    )
    tab = await (await visit(house)).tab()
    await tab.mention("break off")
    await expect(tab.replies.locator(".state")).to_have_text("Broken off")


async def test_link_to_a_missing_thread_says_so(visit: Visit, house: House) -> None:
    visitor = await visit(house)
    tab = await visitor.tab("/#/t/00000000-0000-4000-8000-000000000000")
    await expect(tab.channel.get_by_role("alert")).to_contain_text("does not exist")
    await expect(tab.thread).to_be_hidden()


async def test_whole_thread_is_printed(visit: Visit, house: House) -> None:
    """Prints the whole thread, not just the visible part."""
    await house.model.say(STORY, match="print me", rate=0)
    tab = await (await visit(house)).tab()
    await tab.mention("print me")
    await tab.wait_reply("that grew.")
    await tab.page.emulate_media(media="print")
    shown = "document.body.scrollHeight > document.querySelector('#thread .feed').scrollHeight - 5"
    assert await tab.page.evaluate(shown)
    await expect(tab.box).to_be_hidden()


async def test_unknown_address_links_back_to_the_page(visit: Visit, house: House) -> None:
    visitor = await visit(house)
    tab = await visitor.tab("/nowhere")
    await tab.page.get_by_role("link", name="Open Threadline").click()
    await expect(tab.channel_box).to_be_visible()


async def test_what_is_typed_before_the_script_arrives_stays(visit: Visit, house: House) -> None:
    """On a slow network, the boxes are there seconds before the script; so is the theme's sign."""
    visitor = await visit(house)
    arrives = asyncio.Event()

    async def wait(route: Route) -> None:
        await arrives.wait()
        await route.continue_()

    tab = await visitor.tab("/static/logo.svg")
    await tab.page.route("**/static/app*.js*", wait)
    await tab.page.goto(visitor.origin, wait_until="commit")
    box = tab.page.locator("#message")
    await box.click()
    await tab.page.keyboard.type("@threadline an early bird")
    assert "icon-" in (await tab.page.locator("#theme .icon").get_attribute("class") or "")
    arrives.set()
    await expect(tab.page.get_by_role("button", name="Theme: system")).to_be_visible()
    await expect(tab.page.locator(".empty")).to_be_visible()
    await expect(box).to_have_value("@threadline an early bird")
    await box.press("Enter")
    await tab.wait_reply("an early bird")
