"""The list of conversations: begin, find, arrange and delete them by keyboard, mouse and touch."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Locator, Route, expect

from tests.support.axe import violations
from tests.support.browser import PHONE, House, Tab, Visitor, needs_browser, until
from tests.support.store_kit import connected

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]


class Sidebar:
    """The list in one tab."""

    def __init__(self, tab: Tab) -> None:
        self.page = tab.page
        self.node = tab.page.get_by_role("navigation", name="Conversations")
        self.rows = tab.page.locator("#thread-list .thread-row")
        self.groups = self.node.get_by_role("heading", level=3)
        self.toast = tab.page.get_by_role("region", name="Notices")

    def row(self, name: str) -> Locator:
        return self.node.get_by_role("link", name=name)

    async def choose(self, name: str, action: str) -> None:
        """Choose an action in the menu of a row."""
        await self.row(name).click(button="right")
        await self.page.get_by_role("menuitem", name=action, exact=True).click()


async def hold_events(tab: Tab) -> None:
    """Keep the page from reading events until the promise `events` resolves; `arrived` holds their
    text."""
    await tab.page.evaluate(
        """() => {
          const { read } = ReadableStreamDefaultReader.prototype;
          globalThis.arrived = "";
          globalThis.events = Promise.withResolvers();
          ReadableStreamDefaultReader.prototype.read = async function () {
            const part = await read.call(this);
            arrived += part.value ?? "";
            await events.promise;
            return part;
          };
        }"""
    )
    for away in (True, False):  # a new connection, because the old one is already being read
        await tab.look(away=away)


async def test_conversations_are_begun_found_and_arranged_in_every_tab(
    visit: Visit, house: House
) -> None:
    await house.model.say("**Sunny** all day.", match="weather")
    await house.model.say("Slowly it comes. " * 20, match="slow", wait_at=60)
    visitor = await visit(house)
    tab, other = await visitor.tab(), await visitor.tab()
    here, there = Sidebar(tab), Sidebar(other)
    await expect(here.node.get_by_text("Your conversations will be listed here.")).to_be_visible()

    # Begun by keyboard, without a mention; its address can be shared.
    await tab.page.keyboard.press("Control+Shift+O")
    await expect(tab.page.get_by_role("heading", name="What would you like")).to_be_visible()
    await tab.say("what about the weather?")
    await tab.wait_reply("Sunny all day.")
    assert "#/t/" in tab.page.url
    await expect(here.row("what about the weather?")).to_have_attribute("aria-current", "page")
    await expect(there.row("what about the weather?")).to_contain_text("Sunny all day.")
    await expect(there.row("New answer")).to_have_count(0)  # the open thread has been seen

    # An answer in a closed thread is marked in every tab, until the thread is opened in one.
    await other.mention("slow please")
    await expect(other.replies.last).to_contain_text("Slowly it comes.")
    await other.page.keyboard.press("Escape")
    await expect(here.row("Writing an answer")).to_contain_text("slow please")
    await house.model.release("slow")
    await expect(here.row("New answer")).to_contain_text("slow please")
    await expect(there.row("New answer")).to_contain_text("slow please")
    await here.row("slow please").click()
    await expect(there.row("New answer")).to_have_count(0)
    assert await here.rows.locator(".row-title").all_text_contents() == [
        "slow please", "what about the weather?",
    ]  # fmt: skip

    # The list's keyboard support: one tab stop, arrow keys, renaming.
    await tab.page.keyboard.press("Shift+F6")
    await expect(here.row("slow please")).to_be_focused()
    await tab.page.keyboard.press("ArrowDown")
    await expect(here.row("what about the weather?")).to_be_focused()
    await expect(here.node.locator("a[tabindex='0']")).to_have_count(1)
    await tab.page.keyboard.press("F2")
    name = here.node.get_by_label("New name")
    await expect(name).to_have_value("what about the weather?")
    await name.fill("Never mind")
    await name.press("Escape")
    await expect(here.row("what about the weather?")).to_be_focused()
    await tab.page.keyboard.press("F2")
    await name.fill("The weather")
    await name.press("Enter")
    await expect(there.row("The weather")).to_be_visible()

    # Pinned threads are on top, in a separate group.
    await here.choose("The weather", "Pin")
    await expect(there.groups).to_have_text(["Pinned", "Today"])
    await expect(there.rows.first).to_contain_text("The weather")
    assert await violations(tab.page) == []


async def test_a_deleted_conversation_can_be_brought_back_and_an_archived_one_found(
    visit: Visit, house: House
) -> None:
    await house.model.say("Here it is.", match="of mine")
    visitor = await visit(house, color_scheme="dark")
    tab, other = await visitor.tab(), await visitor.tab()
    here, there = Sidebar(tab), Sidebar(other)
    await tab.mention("first of mine")
    await tab.wait_reply("Here it is.")
    menu = tab.thread.get_by_role("button", name="More about this thread")
    await menu.click()
    await hold_events(tab)
    await visitor.fake_clock()
    await tab.page.get_by_role("menuitem", name="Delete").click()
    undo = here.toast.get_by_role("button", name="Undo")
    await expect(undo).to_be_focused()
    await expect(tab.page.locator("#news")).to_contain_text("is deleted. Undo: press Enter.")
    assert await violations(tab.page) == []
    await expect(tab.thread).to_be_hidden()
    await expect(there.rows).to_have_count(0)
    await tab.page.keyboard.press("F8")
    for _ in range(4):  # it stays while it has the focus, and can still undo
        async with tab.page.expect_response("**/hold") as held:
            await tab.page.clock.run_for(3_100)
        assert (await held.value).status == 200
    # The deletion's event arrives after the undo, yet the thread stays open.
    await tab.page.wait_for_function("arrived.includes('event: gone')")
    await tab.page.keyboard.press("Enter")
    await tab.wait_reply("Here it is.")
    await there.choose("first of mine", "Pin")
    await tab.page.evaluate("events.resolve()")
    await expect(here.groups).to_have_text(["Pinned"])
    await expect(tab.thread).to_be_visible()
    await there.choose("first of mine", "Unpin")

    await here.choose("first of mine", "Archive")
    await expect(there.rows).to_have_count(0)
    await there.node.get_by_role("button", name="Archived").click()
    await expect(there.row("first of mine")).to_be_visible()
    await tab.say("news of mine")  # its next message brings it back
    await expect(here.row("first of mine")).to_be_visible()
    await expect(there.node.get_by_text("Nothing is archived.")).to_be_visible()

    # A thread deleted in one tab closes in the other, and is erased even if both tabs are closed.
    await there.node.get_by_role("button", name="Archived").click()
    await there.row("first of mine").click()
    await expect(other.replies).to_have_count(2)
    await other.wait_reply("Here it is.")
    await tab.page.keyboard.press("Shift+F6")
    await expect(here.row("first of mine")).to_be_focused()
    await tab.page.keyboard.press("Delete")
    await expect(other.thread).to_be_hidden()
    too_late = {"status": 404, "json": {"error": "too late"}}
    await tab.page.route("**/hold", lambda route: route.fulfill(**too_late))
    await tab.page.keyboard.press("F8")
    await expect(here.toast).to_contain_text("It is too late to undo that.")
    await expect(undo).to_have_count(0)
    await tab.page.close()

    async def is_erased() -> bool:
        return not await asyncio.to_thread(_names, house.bot.folder, "first of mine")

    await until(is_erased, seconds=60)


async def test_two_thousand_conversations_have_few_rows_and_a_drawer_on_a_phone(
    visit: Visit, own_house: House
) -> None:
    async with own_house.bot:
        await asyncio.to_thread(_fill, own_house.bot.folder, 2_000)
        visitor = await visit(
            own_house,
            viewport=PHONE,
            has_touch=True,
            is_mobile=True,
            reduced_motion="no-preference",
        )
        tab = await visitor.tab()
        here = Sidebar(tab)
        await expect(here.rows).not_to_have_count(0)
        await expect(here.node).to_be_hidden()
        button = tab.page.get_by_role("button", name="Conversations").first
        await button.click()
        await expect(here.row("thread 0,")).to_be_focused()
        assert await violations(tab.page) == []
        assert await here.rows.count() < 60
        for last in (99, 199):  # arrow keys move past the rows loaded first
            await until(lambda last=last: _reaches(here, f"thread {last},"))
        assert await here.rows.count() < 60
        await tab.page.keyboard.press("Home")
        await expect(here.row("thread 0,")).to_be_focused()
        await tab.page.keyboard.press("Escape")
        await expect(here.node).to_be_hidden()
        await expect(button).to_be_focused()
        await button.click()
        await here.row("thread 2,").click()
        await expect(tab.thread).to_be_visible()
        await expect(here.node).to_be_hidden()
        await expect(tab.questions.first).to_contain_text("thread 2,")


async def _reaches(here: Sidebar, name: str) -> bool:
    await here.page.keyboard.press("End")
    return await here.row(name).count() == 1


def _names(folder: Path, name: str) -> list[str]:
    with connected(folder / "threadline.db") as db:
        found = db.execute("SELECT name FROM conversations WHERE name = ?", (name,)).fetchall()
    return [row["name"] for row in found]


def _fill(folder: Path, count: int) -> None:
    """Store threads of the local user, one hour apart, each with one question."""
    now = time.time()
    with connected(folder / "threadline.db") as db:
        for n in range(count):
            uid, at = str(uuid.uuid4()), now - 3_600 * n
            (row,) = db.execute(
                "INSERT INTO conversations (platform, workspace, channel, thread, name, visibility,"
                " created_at, updated_at, active_at, uid) VALUES ('web', 'local', 'general', ?, ?,"
                " 'private', ?, ?, ?, ?) RETURNING id",
                (uid, f"thread {n}, of many", at, at, at, uid),
            ).fetchall()
            (turn,) = db.execute(
                "INSERT INTO turns (conversation_id, epoch, state, outcome, created_at)"
                " VALUES (?, 1, 'done', 'reset', ?) RETURNING id",
                (row["id"], at),
            ).fetchall()
            db.execute(
                "INSERT INTO messages (conversation_id, turn_id, epoch, idx, role, kind, content,"
                " author_id, author_name, created_at) VALUES (?, ?, 1, 0, 'user', 'question', ?,"
                " 'local', 'local', ?)",
                (row["id"], turn["id"], f"thread {n}, of many", at),
            )


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_change_whose_response_is_lost_is_shown_as_it_is_stored(
    visit: Visit, house: House, is_stored: bool
) -> None:
    visitor = await visit(house)
    tab, other = await visitor.tab(), await visitor.tab()
    here, there = Sidebar(tab), Sidebar(other)
    await tab.mention("keep an eye on this")
    await tab.wait_reply("keep an eye on this")
    await expect(there.row("keep an eye on this")).to_be_visible()

    async def lose(route: Route) -> None:
        if is_stored:
            await route.fetch()
            await expect(there.groups).to_have_text(["Pinned"])
        await route.abort()

    await tab.page.route("**/app/threads/*", lose, times=1)
    await here.choose("keep an eye on this", "Pin")
    await expect(tab.thread.get_by_role("alert")).to_be_visible()
    await expect(here.groups).to_have_text(["Pinned" if is_stored else "Today"])
