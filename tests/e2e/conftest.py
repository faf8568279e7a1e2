"""Fixtures: a platform, a model server and the bot, each a separate process."""

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
from tests.support.browser import CHROMIUM, FLAGS, House, Profiles, Visitor
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """Add text to the end of the test run's output, from any xdist worker."""
    return lambda said: record_property("figures", str(said))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the texts that tests passed to `figures`."""
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
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[PlatformDriver]:
    """Runs each test on every platform."""
    if request.param == "discord":
        async with DiscordSim() as discord:
            yield DiscordDriver(discord)
    else:
        async with SlackSim() as slack:
            yield SlackDriver(slack)


@pytest.fixture
def bot(driver: PlatformDriver, model: ModelSim, tmp_path: Path) -> BotProcess:
    """A bot that is not started yet: `async with bot`."""
    return BotProcess(
        tmp_path,
        {
            **driver.settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-simulated",
            "SYSTEM_PROMPT": "Be brief.",
        },
    )


# ── the page ──────────────────────────────────────────────────────────────────────────────────
@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all page tests; each visitor has a separate profile."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One bot and one model, shared by tests that do not stop them; each test is another user."""
    async with ModelSim() as model:
        house = House(model, tmp_path_factory.mktemp("house"))
        async with house.bot:
            yield house


@pytest_asyncio.fixture(loop_scope="session")
async def own_house(tmp_path: Path) -> AsyncIterator[House]:
    """A bot for one test, without tokens and not started yet: `async with own_house.bot`."""
    async with ModelSim() as model:
        yield House(model, tmp_path, users=0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profiles(browser: Browser) -> Profiles:
    """The profiles of the shared browser."""
    return Profiles(browser)


@pytest_asyncio.fixture(loop_scope="session")
async def visit(profiles: Profiles) -> AsyncIterator[Callable[..., Awaitable[Visitor]]]:
    """Send visitors to a house; fails if an error occurs in a visitor's browser."""
    visits: list[Visitor] = []

    async def arrive(house: House, **options: Any) -> Visitor:
        token = options.pop("token", None) or house.new_token()
        visitor = await profiles.arrive(house.origin, token, **options)
        visits.append(visitor)
        return visitor

    yield arrive
    for visitor in visits:
        await profiles.leave(visitor)
    assert [trouble for visitor in visits for trouble in visitor.trouble.found] == []
