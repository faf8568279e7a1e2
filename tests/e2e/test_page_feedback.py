"""Votes on replies in the page, by mouse and by keyboard."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest
from playwright.async_api import Locator, Route, expect

from tests.support.browser import House, Tab, Visitor, needs_browser, until

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]


def stored(house: House, visitor: Visitor) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(house.bot.folder / "threadline.db")) as db:
        return db.execute(
            "SELECT vote, comment FROM feedback WHERE person = ?",
            (visitor_name(visitor),),
        ).fetchall()


async def have(house: House, visitor: Visitor, expected: list[tuple[Any, ...]]) -> None:
    async def check() -> bool:
        return stored(house, visitor) == expected

    await until(check)


def visitor_name(visitor: Visitor) -> str:
    """The user of the visitor's token (see `House`)."""
    assert visitor.token is not None
    return f"user{visitor.token.rpartition('-')[2]}"


def thumbs(tab: Tab) -> tuple[Locator, Locator]:
    reply = tab.replies.last
    group = reply.get_by_role("group", name="Rate this answer")
    return group.get_by_label("Good answer"), group.get_by_label("Bad answer")


async def test_a_reply_is_rated_by_mouse_and_by_keyboard(visit: Visit, house: House) -> None:
    """A vote is changed, commented on, kept across a reload and taken back; a retry's answer has
    none."""
    await house.model.say("It is 42.", match="rate this")
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("rate this")
    await expect(tab.replies.last).to_contain_text("It is 42.")
    up, down = thumbs(tab)
    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "true")
    await have(house, visitor, [("up", "")])
    await down.focus()
    await tab.page.keyboard.press("Space")
    await expect(down).to_have_attribute("aria-pressed", "true")
    await expect(up).to_have_attribute("aria-pressed", "false")
    field = tab.replies.last.get_by_label("What was wrong?")
    await field.fill("It is <b>43</b>.")
    await field.press("Enter")
    await have(house, visitor, [("down", "It is <b>43</b>.")])
    await tab.page.reload()
    await expect(down).to_have_attribute("aria-pressed", "true")
    await expect(field).to_have_value("It is <b>43</b>.")
    await down.click()
    await expect(down).to_have_attribute("aria-pressed", "false")
    await expect(field).to_be_hidden()
    await have(house, visitor, [])
    async with tab.page.expect_response(lambda response: response.request.method == "PUT"):
        await up.click()
    await have(house, visitor, [("up", "")])
    await tab.replies.last.get_by_role("button", name="Try again", exact=True).click()
    await expect(tab.replies.last).to_contain_text("2 / 2")
    await expect(up).to_have_attribute("aria-pressed", "false")
    await have(house, visitor, [("up", "")])  # of the earlier version, which is kept


async def test_votes_arrive_in_the_order_in_which_they_were_given(
    visit: Visit, house: House
) -> None:
    """On two connections, the first one could arrive last; and its failure changes no later one."""
    visitor = await visit(house)
    tab = await visitor.tab()
    await tab.mention("judge me twice")
    await tab.wait_reply("judge me twice")
    lost, given = asyncio.Event(), list[str]()

    async def lose_the_first(route: Route) -> None:
        given.append(str(route.request.post_data_json["vote"]))
        if len(given) == 1:
            await lost.wait()
            await route.abort()
        else:
            await route.continue_()

    await tab.page.route("**/feedback/*", lose_the_first)
    up, down = thumbs(tab)
    await up.click()
    await down.click()
    await expect(down).to_have_attribute("aria-pressed", "true")
    assert given == ["up"]
    lost.set()
    await have(house, visitor, [("down", "")])
    await expect(tab.thread.get_by_role("alert")).to_be_visible()
    await expect(down).to_have_attribute("aria-pressed", "true")
    await expect(up).to_have_attribute("aria-pressed", "false")
