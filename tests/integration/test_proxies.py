"""HTTPS_PROXY, HTTP_PROXY and NO_PROXY apply to Discord's API and gateway, Slack and models."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.discord.adapter import DiscordAdapter
from adapters.slack.adapter import SlackAdapter
from bot.common import proxies
from bot.common.clock import SystemClock
from bot.domain.errors import CannotStart
from bot.domain.health import Verdict
from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim
from tests.support.catalog import offering
from tests.support.connect_proxy import Proxy, connect_proxy
from tests.support.discord_kit import adapter_for, running, wait_received
from tests.support.fake_inbox import FakeInbox

REST, GATEWAY = "discord.test", "gateway.discord.test"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def sim() -> AsyncIterator[DiscordSim]:
    async with DiscordSim() as sim:
        yield sim


@pytest.fixture
async def proxy(sim: DiscordSim) -> AsyncIterator[Proxy]:
    async with connect_proxy({REST: sim.port, GATEWAY: sim.port}) as proxy:
        yield proxy


def far(sim: DiscordSim) -> dict[str, str]:
    """The simulator, under host names that only the proxy can resolve."""
    return {
        "api_url": f"http://{REST}:{sim.port}/api/v10",
        "gateway_url": f"ws://{GATEWAY}:{sim.port}/gateway/",
    }


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_discord_is_reached_through_the_proxy(
    sim: DiscordSim, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, proxy.url.replace("http://", "http://user:secret@"))
    inbox = FakeInbox()
    async with running(sim, inbox, **far(sim)):
        await wait_received(inbox, await sim.mention("through the proxy"))
    assert any(REST in line and "/users/@me" in line for line in proxy.asked)
    assert any(f"//{GATEWAY}" in line or f" {GATEWAY}" in line for line in proxy.asked)
    assert proxy.credentials


async def test_no_proxy_and_loopback_go_directly(
    sim: DiscordSim, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    inbox = FakeInbox()
    async with running(sim, inbox):
        await wait_received(inbox, await sim.mention("directly"))
    assert proxy.asked == []


async def test_the_proxy_is_chosen_for_each_of_discords_hosts(
    sim: DiscordSim, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway on loopback is reached directly, and the API through the proxy."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    inbox = FakeInbox()
    local = {"api_url": far(sim)["api_url"], "gateway_url": sim.gateway_url}
    async with running(sim, inbox, **local):
        await wait_received(inbox, await sim.mention("both"))
    assert proxy.asked and all("/api/v10/" in line for line in proxy.asked)


async def test_doctor_reports_the_route(
    sim: DiscordSim, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("http://", "http://user:secret@"))
    findings = await adapter_for(sim, **far(sim)).check()
    said = {finding.subject: finding.detail for finding in findings}
    assert said["Discord network"] == f"{REST} is reached through the proxy {proxy.url}"
    assert said["Discord gateway network"].startswith(GATEWAY)
    assert not any("secret" in finding.detail for finding in findings)
    assert all(finding.verdict is not Verdict.FAILED for finding in findings)


async def test_slack_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connect_proxy({}) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        tokens = {"bot_token": "xoxb-x", "clock": SystemClock(), "models": offering()}
        away = SlackAdapter(**tokens, api_url="https://slack.test/api/")  # type: ignore[arg-type]
        [*_, way] = await away.check()
        assert way.detail == f"slack.test is reached through the proxy {proxy.url}"
        assert proxy.asked[0].startswith("CONNECT slack.test:443")
        proxy.asked.clear()
        monkeypatch.setenv("no_proxy", "slack.test")
        [*_, way] = await away.check()
        assert way.detail == "slack.test is reached directly" and proxy.asked == []


async def test_a_proxy_that_is_not_http_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    adapter = DiscordAdapter(token=c.SIM_TOKEN, clock=SystemClock(), models=offering())
    with pytest.raises(CannotStart, match="not an HTTP proxy"):
        await adapter.run(FakeInbox())
    assert any(f.verdict is Verdict.FAILED for f in await adapter.check())


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://discord.com/api", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("wss://gateway.discord.gg", {"https_proxy": "p:1"}, "http://p:1"),
        ("ws://a.test", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://a.test", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.test"}, None),
        ("https://x.a.test", {"HTTPS_PROXY": "http://p:1", "no_proxy": ".a.test"}, None),
        ("https://a.test", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://127.0.0.1:8/x", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://[::1]/x", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://localhost/x", {"ALL_PROXY": "http://p:1"}, None),
        ("https://a.test", {}, None),
        ("https://a.test", {"HTTPS_PROXY": "//p:1"}, "http://p:1"),
        ("https://a.test", {"HTTPS_PROXY": " http://p:1 "}, "http://p:1"),
    ],
)
def test_the_proxy_for_an_address(
    monkeypatch: pytest.MonkeyPatch, url: str, environ: dict[str, str], expected: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert proxies.proxy_for(url) == expected


@pytest.mark.parametrize(
    "value", ["http://h:port", "http://[bad", "http://", "http://u:pass@a b:1"]
)
async def test_an_invalid_proxy_is_reported_without_its_password(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(
        CannotStart, match="not a valid address: write it as http://HOST:PORT"
    ) as refusal:
        proxies.http_proxy_for("https://a.test")
    assert "pass" not in str(refusal.value)
    found = proxies.check_route("Slack", "https://a.test")
    assert found.verdict is Verdict.FAILED and "pass" not in found.detail
    for adapter in (
        DiscordAdapter(token=c.SIM_TOKEN, clock=SystemClock(), models=offering()),
        SlackAdapter(bot_token="xoxb-x", clock=SystemClock(), models=offering()),
    ):
        assert any(f.verdict is Verdict.FAILED for f in await adapter.check())


def test_loopback_is_added_to_no_proxy_for_libraries() -> None:
    environ = {"NO_PROXY": "a.test, localhost"}
    proxies.keep_loopback_direct(environ)
    assert environ["no_proxy"] == environ["NO_PROXY"] == "a.test,localhost,127.0.0.1,::1"
    environ = {"no_proxy": "*"}
    proxies.keep_loopback_direct(environ)
    assert environ["NO_PROXY"] == "*"
