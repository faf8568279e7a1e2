"""A platform, a model server and the bot, each a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.sims.discord.client import DiscordSim
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.browser import CHROMIUM, FLAGS, House, Visitor
from tests.support.harness import BotProcess
from tests.support.scenes import DiscordStage, SlackStage, Stage


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """Say something that stands at the end of the run's output, whichever process said it."""
    return lambda said: record_property("figures", str(said))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests said through `figures`."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if report.when == "call"
    ]
    said = [
        said for report in reports for name, said in report.user_properties if name == "figures"
    ]
    if said:
        terminalreporter.section("figures")
        for text in said:
            terminalreporter.write_line(str(text))


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        yield sim


@pytest.fixture(params=["discord", "slack"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Each scene is played on every platform."""
    if request.param == "discord":
        async with DiscordSim() as discord:
            yield DiscordStage(discord)
    else:
        async with SlackSim() as slack:
            yield SlackStage(slack)


@pytest.fixture
def bot(stage: Stage, model: ModelSim, tmp_path: Path) -> BotProcess:
    """Not started yet: `async with bot`."""
    return BotProcess(
        tmp_path,
        {
            **stage.settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-simulated",
            "SYSTEM_PROMPT": "Be brief.",
        },
    )


# ── the page ──────────────────────────────────────────────────────────────────────────────────
@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of the page; each visitor has a profile of their own in it."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One bot and one model for all tests that leave them alone; each test is another user."""
    async with ModelSim() as model:
        house = House(model, tmp_path_factory.mktemp("house"))
        async with house.bot:
            yield house


@pytest_asyncio.fixture(loop_scope="session")
async def own_house(tmp_path: Path) -> AsyncIterator[House]:
    """A bot of the test's own, without tokens and not started yet: `async with own_house.bot`."""
    async with ModelSim() as model:
        yield House(model, tmp_path, users=0)


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Visitor]]]:
    """Send visitors to a house; nothing may have gone wrong in their browsers."""
    visitors: list[Visitor] = []

    async def arrive(house: House, **options: Any) -> Visitor:
        token = options.pop("token", None) or house.new_token()
        visitors.append(await Visitor.arrive(browser, house.origin, token, **options))
        return visitors[-1]

    yield arrive
    for visitor in visitors:
        await visitor.context.close()
    assert [trouble for visitor in visitors for trouble in visitor.trouble.found] == []
