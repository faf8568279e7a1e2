"""The panel “Connect a model”: from the demo to a real model without a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.sims.model.client import ModelSim
from tests.support.axe import violations
from tests.support.browser import Visitor, needs_browser
from tests.support.harness import BotProcess

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
KEY = "sk-secret-of-the-test"


@pytest_asyncio.fixture(loop_scope="session")
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        await sim.key(KEY)
        yield sim


async def test_a_newcomer_goes_from_the_demo_to_a_real_model(
    browser: Browser, model: ModelSim, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_BASE_URL={model.base_url}\n")
    async with BotProcess(tmp_path, {}) as bot:
        visitor = await Visitor.arrive(browser, f"http://127.0.0.1:{bot.http_port}")
        tab = await visitor.tab()
        await expect(tab.channel.get_by_role("article")).to_have_count(1)  # the sample thread
        await tab.page.get_by_role("button", name="Connect a model").click()
        panel = tab.page.get_by_role("dialog", name="Connect a model")
        await panel.get_by_label("Provider").select_option("OpenAI")
        await expect(panel.get_by_label("Model")).to_have_value("gpt-5-mini")
        await panel.get_by_label("Model").fill("sim")
        await panel.get_by_label("Key").fill("sk-wrong-key-of-the-test")
        await panel.get_by_role("button", name="Try it and use it").click()
        await expect(panel.get_by_role("alert")).to_contain_text("Check OPENAI_API_KEY")
        await expect(panel.get_by_label("Key")).to_have_value("")
        assert await violations(tab.page) == []

        await model.say("Ready.")
        await panel.get_by_label("Key").fill(KEY)
        await panel.get_by_role("button", name="Try it and use it").click()
        await expect(panel.get_by_role("status")).to_contain_text("It answers: “Ready.”")
        await panel.get_by_role("button", name="Close").click()
        await expect(tab.page.locator(".no-model")).to_be_hidden()  # the bot has read its file
        await model.say("From the real model.")
        await tab.mention("who are you?")
        await expect(tab.replies).to_contain_text("From the real model.")
        await visitor.context.close()
        assert visitor.trouble.found == []
