"""Choosing models and efforts on the page, and the tokens below replies, even with old servers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Route, expect

from tests.support.axe import violations_in_both
from tests.support.browser import House, Tab, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]
Change = Callable[[dict[str, Any]], dict[str, Any]]

NARROW = {"width": 320, "height": 568}
WIDE = "document.documentElement.scrollWidth > innerWidth"
HOSTILE = [
    "<img src=x onerror='window.harmed = 1'>",
    "\u202eevil/model",
    "long/" + "name-of-a-model-" * 18 + "the-end",
]
NEW_FIELDS = {
    "answering_model", "effort", "takes_effort", "cached_tokens", "cache_write_tokens",
    "reasoning_tokens", "total_tokens",
}  # fmt: skip


class Models:
    """Answers the page's requests for the list of models."""

    def __init__(self, names: list[str], status: int = 200) -> None:
        self.names, self.status, self.asked = names, status, 0
        self.free = asyncio.Event()  # answers wait for this
        self.free.set()

    async def answer(self, route: Route) -> None:
        self.asked += 1
        await self.free.wait()
        body = {"default": "openai:sim", "models": self.names}
        await route.fulfill(status=self.status, body=json.dumps(body))


def changing(change: Change) -> Callable[[Route], Awaitable[None]]:
    """A handler that changes the JSON of the server's response.

    Leaving or reloading the page cancels requests; their responses are dropped.
    """

    async def handle(route: Route) -> None:
        with suppress(PlaywrightError):
            response = await route.fetch()
            body = json.dumps(change(await response.json()))
            await route.fulfill(response=response, body=body)

    return handle


def with_reply(**fields: Any) -> Change:
    """Changes the replies of a thread."""
    return lambda thread: {
        **thread,
        "messages": [
            {**message, **fields} if message["role"] == "assistant" else message
            for message in thread["messages"]
        ],
    }


def without_new_fields(value: Any) -> Any:
    """The response that a server of an older release would send."""
    if isinstance(value, list):
        return [without_new_fields(each) for each in value]
    if isinstance(value, dict):
        old = {key: each for key, each in value.items() if key not in NEW_FIELDS}
        return {key: without_new_fields(each) for key, each in old.items()}
    return value


async def ask(tab: Tab, text: str) -> None:
    await tab.mention(text)
    await tab.wait_reply(text)


async def open_list(tab: Tab) -> None:
    """Open the command's list of models by typing, as people do; the chip opens the menu
    instead."""
    await tab.box.fill("")
    await tab.box.press_sequentially("/model ")


async def reload_with(tab: Tab, change: Change) -> None:
    """Reload the open thread with its response modified by `change`."""
    await tab.page.unroute("**/app/threads/*")
    await tab.page.route("**/app/threads/*", changing(change))
    await tab.page.evaluate("location.hash = ''")
    await expect(tab.thread).to_be_hidden()
    async with tab.page.expect_response(re.compile("/app/threads/[0-9a-f-]+$")):
        await tab.page.evaluate("history.back()")
    await expect(tab.replies).to_have_count(1)


# ── tokens below a reply ──────────────────────────────────────────────────────────────────────
TOKENS: list[tuple[dict[str, Any], str]] = [
    (
        {"cached_tokens": 1_920, "reasoning_tokens": 300},
        "2,310 tokens in (1,920 cached), 412 out (300 thinking)",
    ),
    ({"cached_tokens": 0, "reasoning_tokens": 0}, "2,310 tokens in, 412 out"),
    ({"cached_tokens": None, "reasoning_tokens": 12}, "2,310 tokens in, 412 out (12 thinking)"),
    ({"input_tokens": None}, ""),
]


async def test_tokens_are_named_by_kind_below_a_reply(visit: Visit, house: House) -> None:
    tab = await (await visit(house)).tab()
    await ask(tab, "what did it cost")
    for fields, said in TOKENS:
        whole = {"input_tokens": 2_310, "output_tokens": 412, "seconds": 3.2, **fields}
        await reload_with(tab, with_reply(**whole))
        costs = " · ".join(part for part in ("openai:sim", said, "3.2 s") if part)
        await expect(tab.replies.locator(".costs")).to_have_text(costs)


async def test_an_old_servers_replies_and_threads_are_shown(visit: Visit, house: House) -> None:
    """A tab may stay open while the server is rolled back to an older release."""
    visitor = await visit(house)
    await visitor.context.route("**/app/threads*", changing(without_new_fields))
    await visitor.context.route("**/app/threads/*", changing(without_new_fields))

    def old_session(session: dict[str, Any]) -> dict[str, Any]:
        known = [each for each in session["commands"] if each["name"] not in ("effort", "context")]
        return {**session, "commands": known}

    await visitor.context.route("**/app/session", changing(old_session))
    await visitor.context.route("**/models", lambda route: route.fulfill(status=404, body="{}"))
    tab = await visitor.tab()
    await ask(tab, "still there")
    await tab.page.reload()
    costs = re.compile(r"^openai:sim · \d+ tokens in, \d+ out")
    await expect(tab.replies.locator(".costs")).to_have_text(costs)
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim")
    await expect(tab.thread.locator("#effort")).to_be_hidden()
    await expect(tab.thread.locator("#gone")).to_be_hidden()
    await tab.thread.locator("#model").click()
    await expect(tab.page.get_by_role("option")).to_have_count(3)


# ── the list of models ────────────────────────────────────────────────────────────────────────
async def test_list_is_loaded_when_it_opens_and_searched_by_any_part(
    visit: Visit, house: House
) -> None:
    """Uses only the keyboard; the choice is sent as a command."""
    models = Models(["openai:sim", "openai:sim-2", *(f"router/maker/m{n}" for n in range(400))])
    tab = await (await visit(house)).tab()
    await tab.page.route("**/models", models.answer)
    await ask(tab, "hundreds of models")
    assert models.asked == 0
    await open_list(tab)
    options = tab.thread.get_by_role("option")
    await expect(options).to_have_count(403)
    assert models.asked == 1
    await tab.page.keyboard.type("SIM")
    await expect(options).to_have_text(["openai:sim", "openai:sim-2"])
    for _ in "SIM":
        await tab.page.keyboard.press("Backspace")
    await tab.page.keyboard.type("m39")
    await expect(options).to_have_count(11)  # m39 and m390 to m399
    for _ in "m39":
        await tab.page.keyboard.press("Backspace")
    await tab.page.keyboard.type("sim-2")
    await expect(options).to_have_count(1)
    await tab.page.keyboard.press("Enter")
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim-2")
    await expect(tab.box).to_have_value("")
    assert models.asked == 1


async def test_names_that_arrive_leave_the_readers_place_in_the_list(
    visit: Visit, house: House
) -> None:
    """The active option stays active, and a list that was closed stays closed."""
    models = Models(["local/new", "openai:sim", "openai:sim-2"])
    models.free.clear()
    tab = await (await visit(house)).tab()
    await tab.page.route("**/models", models.answer)
    await ask(tab, "a late list")
    await open_list(tab)
    options = tab.thread.get_by_role("option")
    await expect(options).to_have_count(3)
    await tab.box.press("ArrowDown")
    models.free.set()
    await expect(options).to_have_count(4)
    await expect(options.nth(2)).to_have_attribute("aria-selected", "true")
    await tab.box.press("Tab")
    await expect(tab.box).to_have_value("/model openai:sim-2")

    models.free.clear()
    await tab.page.reload()
    await expect(tab.replies).to_have_count(1)
    await open_list(tab)
    await tab.box.press("Escape")
    await expect(options).to_have_count(0)
    async with tab.page.expect_event(
        "requestfinished", lambda request: request.url.endswith("/models")
    ):
        models.free.set()
    # Once the page has this response, it has long read the previous one.
    await tab.page.evaluate("() => fetch('/static/logo.svg').then((response) => response.text())")
    await expect(options).to_have_count(0)


async def test_enter_in_an_untouched_list_only_writes_the_name(visit: Visit, house: House) -> None:
    """A bare `/model` and Enter must not choose the first model, but a click on a name does choose
    it."""
    tab = await (await visit(house)).tab()
    await ask(tab, "untouched")
    await open_list(tab)
    options = tab.thread.get_by_role("option")
    await expect(options).to_have_count(3)
    await tab.box.press("Enter")
    await expect(tab.box).to_have_value("/model openai:sim")
    await open_list(tab)
    await options.filter(has_text="openai:sim-2").click()
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim-2")
    await expect(tab.notices).to_have_count(1)


async def test_known_models_are_offered_while_the_server_is_silent(
    visit: Visit, house: House
) -> None:
    """Names that arrive later join the open list, and questions can still be asked."""
    models = Models(["openai:sim", "openai:sim-2", "local/new"])
    models.free.clear()
    tab = await (await visit(house)).tab()
    await tab.page.route("**/models", models.answer)
    await ask(tab, "a silent server")
    await open_list(tab)
    options = tab.thread.get_by_role("option")
    await expect(options).to_have_text(["openai:sim", "openai:sim-2", re.compile("^default")])
    await tab.box.fill("asked while it is silent")
    await tab.box.press("Enter")
    await tab.wait_reply("asked while it is silent")
    await open_list(tab)
    await expect(options).to_have_count(3)
    models.free.set()
    await expect(options).to_have_count(4)
    await expect(options.nth(2)).to_have_text("local/new")


@pytest.mark.parametrize(
    ("status", "names", "said", "enabled"),
    [
        (503, [], "The list of models did not arrive: try again.", True),
        (200, [], "There is only one model here.", False),
    ],
)
async def test_without_any_name_the_page_says_why(
    visit: Visit, house: House, status: int, names: list[str], said: str, enabled: bool
) -> None:
    models = Models(names, status)
    visitor = await visit(house)
    await visitor.context.route("**/app/session", changing(lambda known: {**known, "models": []}))
    await visitor.context.route("**/models", models.answer)
    tab = await visitor.tab()
    await ask(tab, "nothing to choose")
    await open_list(tab)
    await expect(tab.thread.locator("form").get_by_role("alert")).to_have_text(said)
    await expect(tab.thread.locator("#model")).to_be_enabled(enabled=enabled)


async def test_hostile_names_of_models_stay_text(visit: Visit, house: House) -> None:
    """They appear in the list, in the row below the message box, below a reply, and on a narrow
    screen."""
    visitor = await visit(house, viewport=NARROW)
    tab = await visitor.tab()
    await tab.page.route("**/models", Models(HOSTILE).answer)
    await ask(tab, "who are you")
    everything = "".join(HOSTILE)
    await reload_with(
        tab,
        lambda thread: {
            **with_reply(model=everything)(thread),
            "model": everything,
            "answering_model": HOSTILE[1],
        },
    )
    await open_list(tab)
    options = tab.thread.get_by_role("option")
    await expect(options).to_have_count(4)
    await expect(options.first).to_have_text(HOSTILE[0])
    await expect(tab.thread.locator("#gone")).to_contain_text("is not offered any more")
    await expect(tab.replies.locator(".costs")).to_contain_text("onerror")
    isolated = "node => getComputedStyle(node).unicodeBidi"
    for place in ("#model", "#gone bdi >> nth=0", ".costs bdi", "[role=option] bdi >> nth=1"):
        assert await tab.thread.locator(place).evaluate(isolated) == "isolate"
    await expect(tab.page.locator("main img[src=x]")).to_have_count(0)
    assert await tab.page.evaluate("window.harmed") is None
    assert not await tab.page.evaluate(WIDE)


async def test_a_draft_returns_after_an_effort_was_chosen(visit: Visit, house: House) -> None:
    """This works even if the command is deleted, or if the page is reloaded in between."""
    tab = await (await visit(house)).tab()
    await ask(tab, "before the draft")
    chip = tab.thread.locator("#effort")
    await tab.box.fill("a long question")
    await chip.click()
    await tab.box.press_sequentially("low")
    await tab.box.press("Enter")
    await expect(chip).to_have_text("Effort: low")
    await expect(tab.box).to_have_value("a long question")
    await tab.box.fill("/etc/hosts has a line that I do not know")
    await chip.click()
    await tab.box.press_sequentially("default")
    await tab.box.press("Enter")
    await expect(chip).to_have_text("Effort: default")
    await expect(tab.box).to_have_value("/etc/hosts has a line that I do not know")
    await tab.box.fill("a long question")
    await chip.click()
    await tab.box.press("Control+a")
    await tab.box.press("Backspace")
    await expect(tab.box).to_have_value("a long question")
    await chip.click()
    await expect(tab.box).to_have_value("/effort ")
    await tab.page.reload()
    await expect(tab.box).to_have_value("a long question")


async def test_default_answers_for_a_model_that_is_gone(visit: Visit, house: House) -> None:
    """A sentence above the message box says so, until another model is chosen."""
    tab = await (await visit(house)).tab()
    await ask(tab, "gone by now")
    gone = {"model": "old/one", "answering_model": "openai:sim"}
    await reload_with(tab, lambda thread: {**thread, **gone})
    await expect(tab.thread.locator("#gone")).to_have_text(
        "old/one is not offered any more: openai:sim answers."
    )
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim")
    await tab.page.unroute("**/app/threads/*")
    await tab.say("/model openai:sim-2")
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim-2")
    await expect(tab.thread.locator("#gone")).to_be_hidden()


# ── effort ────────────────────────────────────────────────────────────────────────────────────
async def test_effort_is_chosen_beside_the_model(visit: Visit, house: House) -> None:
    """It is chosen by keyboard; the choice survives a reload, and `default` undoes it."""
    tab = await (await visit(house)).tab()
    await ask(tab, "think hard")
    effort = tab.thread.locator("#effort")
    await expect(effort).to_have_text("Effort: default")
    await effort.focus()
    await tab.page.keyboard.press("Enter")
    options = tab.thread.get_by_role("option")
    await expect(options.locator(".option")).to_have_text(["low", "medium", "high", "default"])
    await tab.page.keyboard.type("hi")
    await tab.page.keyboard.press("Enter")
    await expect(effort).to_have_text("Effort: high")
    await expect(tab.notices.last).to_contain_text("high")
    await tab.page.reload()
    await expect(effort).to_have_text("Effort: high")
    await tab.say("/effort default")
    await expect(effort).to_have_text("Effort: default")


async def test_effort_is_hidden_for_a_model_that_is_known_to_take_none(
    visit: Visit, house: House
) -> None:
    tab = await (await visit(house)).tab()
    await ask(tab, "no thinking")
    for takes, visible in ((True, True), (False, False), (None, True)):
        await reload_with(tab, lambda thread, takes=takes: {**thread, "takes_effort": takes})
        await expect(tab.thread.locator("#model")).to_have_text("openai:sim")
        await expect(tab.thread.locator("#effort")).to_be_visible(visible=visible)


async def test_effort_chosen_in_one_tab_is_shown_in_the_other(visit: Visit, house: House) -> None:
    visitor = await visit(house)
    tab = await visitor.tab()
    await ask(tab, "two tabs")
    other = await visitor.tab(tab.page.url.removeprefix(house.origin))
    await expect(other.replies).to_have_count(1)
    await tab.say("/effort low")
    await expect(other.thread.locator("#effort")).to_have_text("Effort: low")


# ── commands as words ─────────────────────────────────────────────────────────────────────────
async def test_commands_about_the_model_work_as_words(visit: Visit, house: House) -> None:
    """They are in the completion list, and their replies are notices."""
    tab = await (await visit(house)).tab()
    await ask(tab, "words for it")
    await tab.box.press_sequentially("/")
    offered = tab.thread.get_by_role("option").locator(".option")
    for name in ("/model", "/effort", "/context"):
        await expect(offered.get_by_text(name, exact=True)).to_have_count(1)
    await tab.say("/effort")
    await expect(tab.notices.last).to_contain_text("openai:sim")
    await tab.say("/model openai:sim-2")
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim-2")
    await tab.say("/model nonsense")
    await expect(tab.notices).to_have_count(3)
    await expect(tab.thread.locator("#model")).to_have_text("openai:sim-2")


async def test_axe_finds_no_violations_in_the_row_and_the_list(visit: Visit, house: House) -> None:
    tab = await (await visit(house)).tab()
    await ask(tab, "for everyone")
    gone = {"model": "old/one", "answering_model": "openai:sim"}
    await reload_with(tab, lambda thread: {**thread, **gone})
    for chip, shown in (("#effort", tab.thread), ("#model", tab.page.locator(".models"))):
        await tab.thread.locator(chip).click()
        await expect(shown.get_by_role("option").first).to_be_visible()
        assert await violations_in_both(tab.page) == []
