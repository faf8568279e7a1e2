"""Shared channels in the page: two users in two browsers."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from playwright.async_api import Browser, expect

from tests.sims.model.client import ModelSim
from tests.support.axe import violations
from tests.support.browser import Visitor, needs_browser
from tests.support.harness import BotProcess
from tests.support.web_kit import HTTP_TOKENS, TOKENS

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]


# The channel's threads that would notify the reader.
CONCERNS = """async () => {
  const { State } = await import("/static/state.js");
  const state = new State();
  state.session = await (await fetch("/app/session")).json();
  const { threads } = await (await fetch("/app/threads?channel=ops")).json();
  return Object.fromEntries(threads.map((thread) => [thread.name, state.concerns(thread)]));
}"""


async def test_two_people_talk_in_a_shared_channel(browser: Browser, tmp_path: Path) -> None:
    async with ModelSim() as model:
        await model.pace(rate=2_000, first_delay=0.0)
        await model.say("It is full.", match="disk")
        await model.say("It is sda.", match="which")
        settings = {
            "HTTP_TOKENS": HTTP_TOKENS, "HTTP_CHANNELS": "ops,general",
            "LLM": "openai:sim", "OPENAI_BASE_URL": model.base_url,
        }  # fmt: skip
        async with BotProcess(tmp_path, settings) as bot:
            url = f"http://127.0.0.1:{bot.http_port}"
            alice = await Visitor.arrive(browser, url, TOKENS["alice"])
            bob = await Visitor.arrive(browser, url, TOKENS["bob"])
            one, two = await alice.tab(), await bob.tab()
            for tab in (one, two):
                await expect(tab.page.get_by_role("button", name="Only you")).to_be_visible()
            await one.page.get_by_role("button", name="ops").click()
            box = one.page.get_by_label("Message to ops")
            await box.fill("@threadline why is the disk slow?")
            await box.press("Enter")
            await expect(one.replies.last).to_contain_text("It is full.")
            # The other user sees that there is a new message, and continues the thread.
            await two.page.get_by_role("button", name="ops, new messages").click()
            root = two.page.get_by_role("region", name="ops").locator("article.root")
            await expect(root).to_contain_text("alice")
            assert await violations(two.page) == []
            await root.get_by_role("button", name="open the thread").click()
            await two.say("which one?")
            await expect(one.questions.last).to_contain_text("which one?")
            await expect(one.replies.last).to_contain_text("It is sda.")
            # A user who takes no part in a thread sees only the channel's mark, not a notification.
            await two.page.keyboard.press("Escape")
            await two.page.get_by_role("button", name="Only you").click()
            await expect(two.page.get_by_role("button", name="ops", exact=True)).to_be_visible()
            await box.fill("@threadline is her disk fine?")
            await box.press("Enter")
            await expect(one.replies.last).to_contain_text("It is full.")
            marked = two.page.get_by_role("button", name="ops, new messages")
            await expect(marked).to_be_visible()
            # Another device of his has seen only what came before.
            origin = {"Origin": url}
            listed = await bob.context.request.get(f"{url}/app/threads?channel=ops")
            newest = max(each["active_at"] for each in (await listed.json())["threads"])
            seen = {"until": newest - 0.000_5}
            await bob.context.request.post(
                f"{url}/app/channels/ops/read", data=seen, headers=origin
            )
            message = {"text": "@threadline hi", "channel": "general", "client_id": str(uuid4())}
            await alice.context.request.post(f"{url}/app/messages", data=message, headers=origin)
            later = two.page.get_by_role("button", name="general, new messages")
            await expect(later).to_be_visible()
            await expect(marked).to_be_visible()
            await two.page.reload()
            await expect(marked).to_be_visible()
            waits = await two.page.evaluate(CONCERNS)
            assert waits == {"why is the disk slow?": True, "is her disk fine?": False}
            # The search finds the thread, with its channel and author; Enter opens it.
            await two.page.keyboard.press("Control+k")
            await two.page.get_by_role("combobox").fill("her disk")
            hit = two.page.get_by_role("option").last
            await expect(hit).to_contain_text("#ops")
            await expect(hit).to_contain_text("alice: is her disk fine?")
            await hit.click()
            await expect(two.questions.last).to_contain_text("is her disk fine?")
            # A thread's address opens its channel; the user's own channel shows none of this.
            await two.page.reload()
            await expect(two.page.get_by_role("region", name="ops")).to_be_visible()
            await two.page.keyboard.press("Escape")
            await two.page.get_by_role("button", name="Only you").click()
            own = two.page.get_by_role("region", name="Only you")
            await expect(own).to_be_visible()
            await expect(own.get_by_role("article")).to_have_count(0)
            for visitor in (alice, bob):
                await visitor.context.close()
                assert visitor.trouble.found == []
