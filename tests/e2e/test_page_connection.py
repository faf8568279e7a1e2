"""The page loses nothing across reloads, network failures, killed servers and several tabs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Request, Route, expect

from tests.sims.model.answers import Answer
from tests.support.browser import House, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

STORY = "A river of words went on and on. " * 10
NO_STORAGE = """
const refuse = () => { throw new DOMException("The operation is insecure.", "SecurityError"); };
for (const name of ["sessionStorage", "localStorage"]) {
  Object.defineProperty(window, name, { get: refuse });
}
window.BroadcastChannel = class { constructor() { refuse(); } };
for (const name of ["request", "query"]) LockManager.prototype[name] = async () => refuse();
"""


async def test_reload_in_mid_reply_catches_up(visit: Visit, house: House) -> None:
    """The thread, the partial reply and the unsent draft come back; then the reply completes."""
    await house.model.script(Answer(match="reload me", text=STORY, rate=0, wait_at=20))
    tab = await (await visit(house)).tab()
    await tab.mention("reload me")
    await expect(tab.replies.locator(".text")).to_contain_text("A river of words")
    await tab.box.fill("half a thought")
    await tab.page.reload()
    await expect(tab.replies.locator(".text")).to_contain_text("A river of words")
    await expect(tab.replies).to_have_attribute("data-state", "writing")
    await expect(tab.box).to_have_value("half a thought")
    await house.model.release("reload me")
    await tab.wait_reply(STORY.strip())
    await expect(tab.replies).to_have_count(1)


async def test_page_follows_a_change_of_the_models(visit: Visit, own_house: House) -> None:
    """Without reloading the page, the chosen model disappears and another one can be chosen."""
    house = own_house
    house.bot.set(MODELS="")
    file = house.bot.folder / "threadline.toml"
    file.write_text('choices = ["openai:sim-2"]\n')
    async with house.bot:
        tab = await (await visit(house)).tab()
        await tab.mention("which models")
        await tab.wait_reply("which models")
        await tab.say("/model openai:sim-2")
        await expect(tab.thread.locator("#model")).to_have_text("openai:sim-2")
        file.write_text('choices = ["openai:sim-3", "openai:sim-4"]\n')
        await expect(tab.thread.locator("#gone")).to_have_text(
            "openai:sim-2 is not offered any more: openai:sim answers."
        )
        await tab.page.route("**/models", lambda route: route.abort())
        await tab.thread.locator("#model").click()
        options = tab.page.locator(".models").get_by_role("option")
        await expect(options).to_have_count(3)
        await expect(options.nth(2)).to_have_text("openai:sim-4")


async def test_page_shows_why_a_person_may_not_ask(visit: Visit, own_house: House) -> None:
    """The message returns to the box, buttons show the reason too, and earlier messages stay
    readable."""
    house, sentence = own_house, "you are blocked here (the top of threadline.toml)"
    file = house.bot.folder / "threadline.toml"
    file.write_text("controls = 'participants'\n")
    await house.model.say(STORY, match="hold this", rate=40, wait_at=40)
    async with house.bot:
        tab = await (await visit(house)).tab()
        await tab.mention("hold this")
        await expect(tab.replies.locator(".text")).to_contain_text("A river of words")
        file.write_text("block = 'everyone'\n")
        await house.bot.wait_for_log("the configuration was reloaded")
        await tab.say("and this?")
        await expect(tab.thread.get_by_role("alert")).to_contain_text(sentence)
        await expect(tab.box).to_have_value("and this?")
        await tab.stop.click()
        await expect(tab.notices.last).to_contain_text(f"Nothing was changed: {sentence}")
        await house.model.release("hold this")
        await tab.wait_reply(STORY.strip())
        await tab.thread.get_by_role("button", name="Try again", exact=True).click()
        await expect(tab.notices).to_have_count(2)
        await expect(tab.replies).to_have_count(1)
        assert len(await house.model.streams()) == 1


async def test_page_catches_up_after_the_server_is_killed_in_mid_reply(
    visit: Visit, own_house: House
) -> None:
    """The page shows an unobtrusive notice, the reply completes in place, and a question
    written while offline is asked once."""
    house = own_house
    await house.model.script(
        Answer(match="tell all", text=STORY, rate=0, wait_at=20, times=1),
        Answer(match="tell all", text=STORY, rate=200),
    )
    async with house.bot:
        tab = await (await visit(house)).tab()
        await tab.mention("tell all")
        await expect(tab.replies.locator(".text")).to_contain_text("A river of words")
        await house.bot.kill()
        await expect(tab.page.locator("#link")).to_have_text("Reconnecting…")
        await tab.say("written in the dark")
        await expect(tab.questions.last).to_contain_text("Not sent yet")
        await house.bot.start()
        await house.bot.ready()
        await tab.wait_reply(STORY.strip(), 0)
        await tab.wait_reply("written in the dark")
        await expect(tab.page.locator("#link")).to_have_text("")
        await expect(tab.replies).to_have_count(2)
        await expect(tab.questions).to_have_count(2)
    asked = await house.model.streams(match="written in the dark")
    assert len(asked) == 1


async def test_two_tabs_stay_in_sync(visit: Visit, house: House) -> None:
    """A thread started in one tab appears in the other, which can follow and stop its reply."""
    await house.model.say(STORY, match="seen twice", wait_at=20)
    visitor = await visit(house)
    one, two = await visitor.tab(), await visitor.tab()
    await one.mention("seen twice")
    await expect(two.roots).to_contain_text("seen twice")
    await two.roots.get_by_role("button").click()
    await expect(two.replies.locator(".text")).to_contain_text("A river")
    await two.stop.click()
    for tab in (one, two):
        await expect(tab.replies).to_have_attribute("data-state", "stopped")
        await expect(tab.stop).to_be_hidden()
        await expect(tab.roots.get_by_role("button")).to_contain_text("1 reply")
    texts = [await tab.replies.locator(".text").inner_text() for tab in (one, two)]
    assert texts[0] == texts[1]
    await two.say("/reset")
    await expect(one.notices).to_contain_text("Started over")


async def test_message_written_offline_is_sent_once_when_the_network_is_back(
    visit: Visit, house: House
) -> None:
    """The message is marked as unsent, survives a reload, and is sent automatically."""
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("before the tunnel")
    await tab.wait_reply("before the tunnel")
    await visitor.context.set_offline(True)
    await tab.say("inside the tunnel")
    await expect(tab.questions.last).to_contain_text("Not sent yet")
    await visitor.context.set_offline(False)
    await tab.wait_reply("inside the tunnel")
    await expect(tab.questions).to_have_count(2)
    assert len(await house.model.streams(match="inside the tunnel")) == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_lost_response_duplicates_nothing(visit: Visit, house: House, begun: bool) -> None:
    """The response is lost after the server stored the message, or breaks off when it has `begun`,
    so the page sends the same message again."""
    tab = await (await visit(house)).tab()
    sent: list[str] = []

    async def lose_the_first(route: Route) -> None:
        sent.append(str(route.request.post_data))
        response = await route.fetch()
        if len(sent) > 1:
            await route.fulfill(response=response)
        elif begun:
            await route.fulfill(response=response, body=(await response.text())[:20])
        else:
            await route.abort("connectionreset")

    await tab.page.route("**/app/messages", lose_the_first)
    words = f"only once please, {begun}"
    await tab.mention(words)
    await tab.wait_reply(words)
    assert len(sent) == 2 and sent[0] == sent[1]
    await expect(tab.channel.get_by_role("alert")).to_be_hidden()
    await expect(tab.roots).to_have_count(1)
    await expect(tab.questions).to_have_count(1)
    assert len(await house.model.streams(match=words)) == 1


async def test_unsent_message_survives_a_reload(visit: Visit, house: House) -> None:
    """The tab keeps the message until the server has stored it."""
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.page.route("**/app/messages", lambda route: route.abort("connectionrefused"))
    await tab.channel_box.fill("@threadline keep this for me")
    await tab.channel_box.press("Enter")
    await expect(tab.roots).to_contain_text("Not sent yet")
    await tab.page.reload()
    await expect(tab.roots).to_contain_text("Not sent yet")
    await tab.page.unroute("**/app/messages")
    await tab.wait_reply("keep this for me")
    assert len(await house.model.streams(match="keep this for me")) == 1


async def test_duplicated_tab_sends_nothing_twice(visit: Visit, house: House) -> None:
    """Browsers copy a tab's storage into its duplicate, with the messages that are not sent yet."""
    visitor = await visit(house)
    tab = await visitor.tab()
    await visitor.context.route("**/app/messages", lambda route: route.abort("connectionrefused"))
    await tab.channel_box.fill("@threadline from one of two tabs")
    await tab.channel_box.press("Enter")
    await expect(tab.roots).to_contain_text("Not sent yet")
    stored = await tab.page.evaluate("JSON.stringify({ ...sessionStorage })")
    twin = await visitor.tab()
    await twin.page.evaluate(
        "(stored) => Object.assign(sessionStorage, JSON.parse(stored))", stored
    )
    await twin.page.reload()
    await expect(twin.roots).to_contain_text("Not sent yet")
    await visitor.context.unroute("**/app/messages")
    for each in (tab, twin):
        await each.wait_reply("from one of two tabs")
        await expect(each.questions).to_have_count(1)
        await expect(each.roots).to_have_count(1)
    assert len(await house.model.streams(match="from one of two tabs")) == 1


async def test_hidden_tab_holds_no_connection_and_catches_up(visit: Visit, house: House) -> None:
    """Browsers open six connections per server, yet seven tabs of the page must all work."""
    visitor = await visit(house)
    others = []
    for _ in range(6):
        others.append(await visitor.tab())
        await expect(others[-1].channel.locator(".empty")).to_be_visible()
        await others[-1].look(away=True)
    tab = await visitor.tab()
    await tab.mention("from the seventh tab")
    await tab.wait_reply("from the seventh tab")
    await expect(others[0].roots).to_have_count(0)
    asked: list[Request] = []

    def note(request: Request) -> None:
        if "/app/" in request.url:
            asked.append(request)

    visitor.hear(others[0].page, "request", note)
    await others[0].look(away=False)
    await expect(others[0].roots.get_by_role("button").first).to_contain_text("1 reply")
    # The stream resumes after the last event received; nothing is loaded again.
    assert [urlsplit(request.url).path for request in asked] == ["/app/events"]
    assert await asked[0].header_value("last-event-id")


async def test_what_does_not_fit_into_storage_leaves_no_earlier_value(
    visit: Visit, house: House
) -> None:
    """The tab remembers it until it closes; a reload must not bring back what is out of date."""
    tab = await (await visit(house)).tab()
    kept = await tab.page.evaluate(
        """async () => {
          const { tab } = await import("/static/dom.js");
          tab.set("kept", "earlier");
          tab.set("kept", "x".repeat(20_000_000));
          return [tab.get("kept").length, sessionStorage.getItem("threadline.kept")];
        }"""
    )
    assert kept == [20_000_000, None]


async def test_page_works_where_the_browser_forbids_storage(visit: Visit, own_house: House) -> None:
    """Firefox forbids all of this together with cookies, which the page of a single user does not
    need."""
    async with own_house.bot:
        visitor = await visit(own_house)
        await visitor.run_first(NO_STORAGE)
        tab = await visitor.tab()
        await tab.mention("without a trace")
        await tab.wait_reply("without a trace")


async def test_a_stop_that_arrives_late_does_not_stop_the_next_answer(
    visit: Visit, house: House
) -> None:
    await house.model.say(STORY, match="stop this one", wait_at=20)
    await house.model.say(STORY, match="and not this", wait_at=20)
    tab = await (await visit(house)).tab()
    arrives, answered = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        await arrives.wait()
        await route.fulfill(response=await route.fetch())
        answered.set()

    await tab.page.route("**/app/commands", hold)
    await tab.mention("stop this one")
    await expect(tab.replies.locator(".text")).to_contain_text("A river of words")
    await tab.say("and not this")
    await expect(tab.questions).to_have_count(2)
    await tab.stop.click()
    await house.model.release("stop this one")
    await expect(tab.replies).to_have_count(2)
    await expect(tab.replies.last.locator(".text")).to_contain_text("A river of words")
    arrives.set()
    await answered.wait()
    await house.model.release("and not this")
    await tab.wait_reply(STORY.strip(), 1)
