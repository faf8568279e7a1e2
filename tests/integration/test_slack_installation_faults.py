"""Faults of one installation: each affects only that installation, and no other workspace.

The adapter runs for many workspaces against the simulated Slack, on a real database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.slack import many
from adapters.slack.installations import StoredInstallation
from bot.common.clock import SystemClock
from bot.domain.errors import Down, Gone, LostOwnership, StoreUnavailable, Unsettled
from bot.domain.health import Verdict
from bot.domain.policy import PersonKind, PersonRef
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.sims.slack.local import LocalSlack
from tests.support.oauth_kit import Rig, run_distributed
from tests.support.slack_kit import claim, until

TEAM_2, TEAM_3 = ids.of(ids.TEAM, 2), ids.of(ids.TEAM, 3)
GENERAL_2, ALICE_2, BOT_2 = (ids.of(one, 2) for one in (ids.GENERAL, ids.ALICE, ids.BOT_USER))
THROTTLED = {"status": 429, "headers": {"Retry-After": "300"}, "times": 1_000}


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    """A simulator where no workspace has installed the app."""
    async with LocalSlack() as slack:
        await slack.add_workspace(2)
        await slack.oauth(installed=False)
        yield slack


@pytest.fixture
async def rig(sim: SlackSim, tmp_path: Path) -> AsyncIterator[Rig]:
    async with run_distributed(sim, tmp_path / "threadline.db") as made:
        yield made


def event(kind: str, team: str, **fields: Any) -> dict[str, Any]:
    """An event for the installation in `team`."""
    return {
        "type": "event_callback",
        "event_id": f"Ev{kind}{team}",
        "team_id": team,
        "authorizations": [{"team_id": team, "is_bot": True}],
        "event": {"type": kind},
        **fields,
    }


# ── removal ───────────────────────────────────────────────────────────────────────────────────
async def test_removing_a_workspaces_own_installation_leaves_its_organizations(rig: Rig) -> None:
    """A redelivered event finds the workspace's installation gone, and must not remove the
    organization's."""
    await rig.sim.add_workspace(3, enterprise=ids.ENTERPRISE)
    await rig.install(3, org_wide=True)
    named = {"team_id": TEAM_3, "enterprise_id": ids.ENTERPRISE, "is_enterprise_install": False}
    body = event("app_uninstalled", TEAM_3, enterprise_id=ids.ENTERPRISE, authorizations=[named])
    (attempt,) = await rig.sim.inject("events_api", [body])
    assert attempt["acked"]
    assert list(await rig.list_installed()) == [ids.ENTERPRISE]
    assert rig.inbox.gone_keys == []


async def test_an_installation_that_the_operator_removed_is_forgotten_with_slacks_event(
    rig: Rig,
) -> None:
    """`threadline slack uninstall` deletes it, and Slack reports the app's removal only
    afterwards."""
    await rig.install()
    store = rig.store.installations()
    assert await store.remove("slack", ids.TEAM, installed_until=SystemClock().time())
    (attempt,) = await rig.sim.inject("events_api", [event("app_uninstalled", ids.TEAM)])
    assert attempt["acked"]
    await until(lambda: rig.inbox.gone_keys)
    assert rig.adapter.health().details["workspaces"] == "0"
    assert [key.workspace for key in rig.inbox.gone_keys] == [ids.TEAM]


async def test_an_installation_made_while_an_old_removal_is_verified_stays(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """auth.test refuses the old token while people are installing the app again."""
    await rig.install()
    first = (await rig.list_installed())[ids.TEAM]
    session = rig.many.session(ids.TEAM)

    async def read(_method: str, **_fields: Any) -> None:
        await rig.install()
        raise Gone(code="token_revoked")

    monkeypatch.setattr(session.api, "read", read)
    await rig.many._verify(ids.TEAM)
    assert (await rig.list_installed())[ids.TEAM].installed_at > first.installed_at


async def test_only_a_dead_token_confirms_an_old_removal(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.install()
    session = rig.many.session(ids.TEAM)
    for code in ("cannot_decrypt", "org_login_required", "missing_scope"):

        async def read(_method: str, code: str = code, **_fields: Any) -> None:
            raise Gone(code=code)

        monkeypatch.setattr(session.api, "read", read)
        await rig.many._verify(ids.TEAM)
        assert list(await rig.list_installed()) == [ids.TEAM], code


async def test_a_request_that_waits_for_its_token_is_not_sent_after_the_removal(rig: Rig) -> None:
    await rig.install()
    session = rig.many.session(ids.TEAM)
    has_asked, may_go_on = asyncio.Event(), asyncio.Event()
    get = session.tokens.get

    async def slow() -> str:
        has_asked.set()
        await may_go_on.wait()
        return await get()

    session.tokens.get = slow  # type: ignore[method-assign]
    sending = asyncio.create_task(session.api.read("users.info", user=ids.ALICE))
    await has_asked.wait()
    session.end("app_uninstalled")
    may_go_on.set()
    with pytest.raises(Gone, match="app_uninstalled"):
        await sending
    assert await rig.sim.requests("users.info") == []


async def test_a_lookup_that_ends_with_its_session_is_unknown_and_cancels_no_one(rig: Rig) -> None:
    """A turn looks up the author while people are installing the app again."""
    await rig.install()
    session = rig.many.session(ids.TEAM)
    await rig.sim.call("fault", match="users.info", delay=60.0)
    asking = asyncio.create_task(session.workspace.facts.people.get(ids.ALICE))
    await until(lambda: session.workspace.facts.people._tasks)
    await rig.install()
    with pytest.raises(Unsettled):
        await asyncio.wait_for(asking, 10)


# ── the database ──────────────────────────────────────────────────────────────────────────────
async def test_a_slow_database_makes_no_workspace_absent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event from a workspace that is not known yet is redelivered, and its turns wait."""

    async def hang(_platform: str) -> None:
        await asyncio.sleep(3_600)

    monkeypatch.setattr(rig.many._vault.records, "list_installations", hang, raising=False)
    with pytest.raises(Unsettled):  # not acknowledged, whatever the attempt
        await rig.many.find(event("app_mention", ids.TEAM))
    with pytest.raises(Down):
        rig.many.session(ids.TEAM)


# ── renewal ───────────────────────────────────────────────────────────────────────────────────
class Ahead(SystemClock):
    """A clock that is ahead, so that all tokens have expired."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Lease:
    """A lock that is lost while its holder waits, as PostgreSQL's is in an outage."""

    def __init__(self) -> None:
        self.body: asyncio.Task[Any] | None = None
        self.is_lost = False

    @contextlib.asynccontextmanager
    async def __call__(self, _name: str) -> AsyncIterator[None]:
        self.body = asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError:
            if self.is_lost and self.body is not None and self.body.uncancel() == 0:
                raise LostOwnership("the lease is lost") from None
            raise

    def lose(self) -> None:
        self.is_lost = True
        assert self.body is not None
        self.body.cancel()


async def test_a_token_that_slack_renewed_is_stored_although_the_lock_is_lost(
    sim: SlackSim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack has revoked the earlier refresh token, so losing the new one would lose the
    workspace."""
    await sim.oauth(rotates=True)
    clock, lease = Ahead(), Lease()
    path = tmp_path / "threadline.db"
    async with run_distributed(sim, path, clock=clock, exclusively=lease) as rig:
        await rig.install()
        clock.ahead = 50_000
        await sim.oauth(token_seconds=1e7)
        vault, is_down, tried = rig.many._vault, True, asyncio.Event()
        renew: Callable[[StoredInstallation], Any] = vault.renew

        async def fail_first(stored: StoredInstallation) -> bool:
            tried.set()
            if is_down:
                raise StoreUnavailable("down")
            return bool(await renew(stored))

        monkeypatch.setattr(vault, "renew", fail_first)
        api = rig.many.session(ids.TEAM).api
        asking = asyncio.create_task(api.bearer())
        await tried.wait()
        lease.lose()
        with pytest.raises(Unsettled):  # LostOwnership would end the turn without a word
            await asking
        is_down = False

        async def has_token() -> bool:
            with contextlib.suppress(Unsettled):
                return bool(await api.bearer())
            return False

        await sim.until(has_token)
        assert len(await sim.requests("oauth.v2.access")) == 2  # the code, and one renewal
        assert (await api.read("auth.test")).text("team_id") == ids.TEAM


async def test_a_refused_renewal_uses_what_people_installed_meanwhile(
    sim: SlackSim, tmp_path: Path
) -> None:
    await sim.oauth(rotates=True)
    clock = Ahead()
    async with run_distributed(sim, tmp_path / "threadline.db", clock=clock) as rig:
        await rig.install()
        clock.ahead = 50_000
        refusal = {"ok": False, "error": "invalid_refresh_token"}
        await sim.call("fault", match="oauth.v2.access", status=200, body=refusal, delay=0.5)
        api = rig.many.session(ids.TEAM).api
        asking = asyncio.create_task(api.bearer())
        await until(lambda: rig.many.session(ids.TEAM).tokens.busy)
        vault = rig.many._vault
        found = await vault.read(ids.TEAM)
        assert found is not None
        await sim.oauth(token_seconds=1e7)
        await vault.save(found)  # by another process
        with contextlib.suppress(Unsettled):
            await asking
        assert (await rig.list_installed())[ids.TEAM].problem == ""


# ── other workspaces ──────────────────────────────────────────────────────────────────────────
async def test_a_name_in_a_rule_is_looked_up_in_its_workspace_alone(rig: Rig) -> None:
    """A name that Slack refuses in one workspace must not decide who may ask in another; idle ones
    stay idle."""
    await rig.install(1)
    await rig.install(2)
    await until(lambda: not any(session.busy for session in rig.many._sessions.values()))
    rig.many._sessions.clear()
    ref = PersonRef(PersonKind.NAME, "oncall", "slack", TEAM_2, "@oncall")
    assert await rig.adapter.directory.unknown([ref]) == []
    assert list(rig.many._sessions) == [TEAM_2]
    # A reference without a workspace may be about any of them, and one fault hides no other result.
    await rig.sim.call("fault", match="/api/", having="xoxb-threadline-bot", **THROTTLED)
    await rig.sim.call("fault", match="usergroups.list", **THROTTLED | {"times": 1})
    anywhere = PersonRef(PersonKind.NAME, "oncall", "slack", "", "@oncall")
    assert await rig.adapter.directory.unknown([anywhere]) == []


async def test_a_question_in_a_shared_channel_comes_again_if_slack_does_not_say_who_is_there(
    rig: Rig,
) -> None:
    """conversations.info for the mentioned workspace is throttled, but the question is not lost."""
    await rig.install(1)
    await rig.install(2)
    message = {
        "type": "message",
        "user": ALICE_2,
        "channel": GENERAL_2,
        "channel_type": "channel",
        "ts": "1700000001.000001",
        "text": f"<@{BOT_2}> why?",
    }
    body = event("message", ids.TEAM, is_ext_shared_channel=True, event=message)
    await rig.sim.call("fault", match="conversations.info", times=1, status=429)
    (attempt,) = await rig.sim.inject("events_api", [body])
    assert not attempt["acked"]
    await rig.sim.call("clear")

    async def is_acknowledged() -> bool:
        (attempt,) = await rig.sim.inject("events_api", [body])
        return bool(attempt["acked"])

    await rig.sim.until(is_acknowledged)
    assert (await rig.find_received("why?")).key.workspace == TEAM_2


async def test_the_stop_button_reaches_the_installation_whose_thread_it_is(rig: Rig) -> None:
    """In a channel that both share, Slack may name either."""
    await rig.install(1)
    await rig.install(2)
    rig.many._finder._homes[GENERAL_2, "1700000001.000001"] = TEAM_2
    stopped = {
        "type": "agent_session_stopped",
        "user": ALICE_2,
        "channel": GENERAL_2,
        "thread_ts": "1700000001.000001",
    }
    body = event("agent_session_stopped", ids.TEAM, is_ext_shared_channel=True, event=stopped)
    (attempt,) = await rig.sim.inject("events_api", [body])
    assert attempt["acked"]
    await until(lambda: rig.inbox.commands)
    assert rig.inbox.commands[-1].key.workspace == TEAM_2


async def test_more_sessions_than_usual_end_only_once_they_rest(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's question may be waiting for a lookup in a session that is otherwise idle."""
    monkeypatch.setattr(many, "MAX_SESSIONS", 1)
    await rig.install(1)
    await rig.install(2)
    first, second = rig.many.session(ids.TEAM), rig.many.session(TEAM_2)
    await until(lambda: not first.busy and not second.busy)
    rig.many._trim()
    assert set(rig.many._sessions) == {ids.TEAM, TEAM_2}
    first.used_at -= many.RECENT_SECONDS
    rig.many._trim()
    assert set(rig.many._sessions) == {TEAM_2}


async def test_a_stopped_adapter_begins_nothing(sim: SlackSim, tmp_path: Path) -> None:
    """Its turns wait for the next connection, instead of using one that is closed."""
    async with run_distributed(sim, tmp_path / "threadline.db") as rig:
        await rig.install()
        assert rig.adapter.surface(claim(ids.GENERAL, "1.000001")) is not None
    with pytest.raises(Down):
        rig.adapter.surface(claim(ids.GENERAL, "1.000001"))


async def test_doctor_blames_no_one_for_scopes_that_slack_did_not_list(rig: Rig) -> None:
    await rig.install()
    answer = {"ok": True, "user": "threadline", "team_id": ids.TEAM, "user_id": ids.BOT_USER}
    await rig.sim.call("fault", match="auth.test", times=1, status=200, body=answer)
    (_, found, *_) = await rig.adapter.check()
    assert (found.verdict, "did not list" in found.detail) == (Verdict.WARNING, True)


# ── the pages ─────────────────────────────────────────────────────────────────────────────────
async def test_a_refusal_that_anyone_can_cause_is_no_problem_of_the_operators(rig: Rig) -> None:
    """The redirect address is public, and a flood of refusals must not hide a real problem."""
    redirect = f"{rig.person.origin}/slack/oauth_redirect"
    with capture_logs() as logged:
        for query in ("", "?state=x&code=y", f"?error={'e' * 3_000}"):
            assert (await rig.person.get(redirect + query, "x")).status in (200, 400, 401)
    refused = [one for one in logged if one["event"] == "an installation was refused"]
    assert [one["log_level"] for one in refused] == ["info"] * 3
    assert max(len(one["reason"]) for one in refused) == 60


async def test_a_fault_of_auth_test_is_not_called_a_wrong_code(rig: Rig) -> None:
    """The exchange succeeded, so the page must not blame the client secret."""
    for fault in ({"status": 503}, {"status": 429, "headers": {"Retry-After": "300"}}):
        await rig.sim.call("fault", match="auth.test", times=1_000, **fault)
        page = await rig.person.install()
        assert page.status == 502
        assert "client id" not in page.text
        await rig.sim.call("clear")
    await rig.install()


async def test_a_workspace_that_is_not_listed_is_given_back_whatever_auth_test_says(
    sim: SlackSim, tmp_path: Path
) -> None:
    async with run_distributed(sim, tmp_path / "threadline.db", teams=[TEAM_2]) as rig:
        await sim.call("fault", match="auth.test", times=1_000, status=503)
        assert (await rig.person.install()).status == 403
        assert len(await sim.requests("apps.uninstall")) == 1
