"""`doctor` checks Slack with real calls and says how to fix problems."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.slack import manifest_path, new_app_link
from adapters.slack.adapter import SlackAdapter
from bot.common.clock import SystemClock
from bot.config.loader import load
from bot.doctor import check_names
from bot.domain.health import Finding, Verdict
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.catalog import offering
from tests.support.slack_kit import socket_adapter


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    async with SlackSim() as sim:
        await sim.manifest(json.loads(manifest_path("socket").read_text()))
        yield sim


def by_verdict(findings: Any, verdict: Verdict) -> dict[str, Finding]:
    return {one.subject: one for one in findings if one.verdict is verdict}


async def test_an_app_created_from_the_manifest_passes(sim: SlackSim) -> None:
    findings = await socket_adapter(sim).check()
    assert by_verdict(findings, Verdict.FAILED) == {}
    assert set(by_verdict(findings, Verdict.OK)) == {
        "Slack network",
        "SLACK_BOT_TOKEN",
        "Slack scopes",
        "Slack channels",
        "SLACK_APP_TOKEN",
    }
    for finding in by_verdict(findings, Verdict.WARNING).values():
        assert "manifest-socket.json" in finding.advice


async def test_a_network_failure_is_not_blamed_on_the_tokens(sim: SlackSim) -> None:
    for method in ("auth.test", "apps.connections.open"):
        await sim.call("fault", match=method, status=503, times=9)
    failed = by_verdict(await socket_adapter(sim).check(), Verdict.FAILED)
    assert set(failed) == {"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"}
    assert {finding.advice for finding in failed.values()} == {
        "check the network, HTTPS_PROXY and SLACK_API_URL"
    }


async def test_each_missing_scope_is_named_with_its_consequence(sim: SlackSim) -> None:
    await sim.scopes(["chat:write", "channels:read", "groups:read", "app_mentions:read"])
    findings = await socket_adapter(sim).check()
    failed = by_verdict(findings, Verdict.FAILED)
    assert "Slack scope users:read" in failed
    warned = by_verdict(findings, Verdict.WARNING)["Slack scope usergroups:read"]
    assert "@oncall" in warned.detail  # the rules that need it; everything else works
    assert "names" in failed["Slack scope users:read"].detail
    assert "OAuth & Permissions" in failed["Slack scope users:read"].advice
    assert "Slack scope chat:write" not in failed


async def test_names_in_rules_are_looked_up_without_running_the_bot(
    sim: SlackSim, tmp_path: Path
) -> None:
    """`doctor` reports a name that no one has, and a rule that lacks a scope, with the scope."""
    place = f"slack:{ids.TEAM}"
    (tmp_path / "threadline.toml").write_text(
        f"[[rules]]\nwhere = ['{place}/#general', '{place}/#generl']\n"
        "allow = ['@oncall', '@oncal', 'channel:#private']\n"
    )
    settings = load({}, tmp_path / ".env")

    async def check() -> list[str]:
        return [one.detail async for one in check_names(settings, socket_adapter(sim))]

    assert await check() == [
        f"'{place}/#generl' names no one and nothing",
        "'@oncal' names no one and nothing",
    ]
    await sim.scopes([scope for scope in ids.SCOPES if scope != "usergroups:read"])
    (finding,) = await check()
    assert "'@oncall' needs the scope usergroups:read" in finding


@pytest.mark.parametrize(
    ("options", "subject", "advice"),
    [
        ({"bot_token": "xoxb-wrong"}, "SLACK_BOT_TOKEN", "Bot User OAuth Token"),
        ({"app_token": "xapp-wrong"}, "SLACK_APP_TOKEN", "connections:write"),
    ],
)
async def test_refused_tokens_are_failures(
    sim: SlackSim, options: dict[str, str], subject: str, advice: str
) -> None:
    failed = by_verdict(await socket_adapter(sim, **options).check(), Verdict.FAILED)
    assert list(failed) == [subject]
    assert advice in failed[subject].advice


async def test_disabled_socket_mode_is_a_failure(sim: SlackSim) -> None:
    await sim.manifest(json.loads(manifest_path("http").read_text()))
    failed = by_verdict(await socket_adapter(sim).check(), Verdict.FAILED)
    assert "Socket Mode" in failed["SLACK_APP_TOKEN"].advice


@pytest.mark.parametrize(
    ("secret", "verdict"), [(ids.SIGNING_SECRET, Verdict.WARNING), ("oops", Verdict.FAILED)]
)
async def test_a_signing_secret_is_only_checked_for_its_format(
    sim: SlackSim, secret: str, verdict: Verdict
) -> None:
    adapter = SlackAdapter(
        bot_token=ids.BOT_TOKEN,
        signing_secret=secret,
        api_url=sim.api_url,
        clock=SystemClock(),
        models=offering(),
    )
    found = by_verdict(await adapter.check(), verdict)["SLACK_SIGNING_SECRET"]
    assert secret not in f"{found.detail} {found.advice}"


async def test_a_bot_in_no_channel_gets_a_warning(sim: SlackSim) -> None:
    await sim.remove_from_channel(ids.GENERAL)
    await sim.remove_from_channel(ids.PRIVATE)
    warned = by_verdict(await socket_adapter(sim).check(), Verdict.WARNING)
    assert "invite" in warned["Slack channels"].advice


async def test_an_outage_of_slack_is_a_finding(tmp_path: Path) -> None:
    adapter = SlackAdapter(
        bot_token="xoxb-1",
        app_token="xapp-1",
        api_url="http://127.0.0.1:9/api/",
        clock=SystemClock(),
        models=offering(),
    )
    failed = by_verdict(await adapter.check(), Verdict.FAILED)
    assert set(failed) == {"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"}


async def test_without_an_app_doctor_offers_the_link_that_creates_one(sim: SlackSim) -> None:
    findings = await socket_adapter(sim, bot_token="xoxb-wrong", command_prefix="tl-").check()
    advice = by_verdict(findings, Verdict.WARNING)["Slack app"].advice
    assert advice.endswith(new_app_link("socket", prefix="tl-"))
