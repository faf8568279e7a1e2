"""One app in many workspaces: the running adapter with slack-bolt's flow, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.slack.rotation import EARLY_SECONDS
from bot.common.clock import SystemClock
from bot.domain import install_texts
from bot.domain.conversations import Author, ConversationKey
from bot.domain.errors import Down, Gone, PlatformError
from bot.domain.health import Verdict
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.sims.slack.local import LocalSlack
from tests.support.oauth_kit import Installer, Rig, run_distributed
from tests.support.slack_kit import claim, until

TEAM_2 = ids.of(ids.TEAM, 2)
GENERAL_2, ALICE_2 = ids.of(ids.GENERAL, 2), ids.of(ids.ALICE, 2)


@pytest.fixture
async def sim() -> AsyncIterator[SlackSim]:
    """A simulator whose default workspace has not installed the app."""
    async with LocalSlack() as slack:
        await slack.add_workspace(2)
        await slack.oauth(installed=False)
        yield slack


@pytest.fixture
async def rig(sim: SlackSim, tmp_path: Path) -> AsyncIterator[Rig]:
    async with run_distributed(sim, tmp_path / "threadline.db") as made:
        yield made


async def ask(sim: SlackSim, text: str, **options: Any) -> str:
    alice, general = ids.of(ids.ALICE, sim.number), ids.of(ids.GENERAL, sim.number)
    return await sim.say(alice, general, text, mention=True, **options)


# ── pages ─────────────────────────────────────────────────────────────────────────────────────
async def test_the_pages_load_nothing_and_the_cookie_is_for_this_server_alone(rig: Rig) -> None:
    page = await rig.person.open()
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha")
    assert page.headers["Cache-Control"] == "no-store"
    flags = set(page.headers["Set-Cookie"].split("; ")[1:])
    assert flags == {"Secure", "HttpOnly", "Path=/", "Max-Age=600", "SameSite=lax"}
    assert "<script" not in page.text
    assert "src=" not in page.text


async def test_a_state_counts_once_and_in_the_browser_that_began(rig: Rig) -> None:
    page = await rig.person.open()
    target = await rig.person.agree(page)
    other = await rig.person.get(target, "another-state")
    assert (other.status, "not the browser" in other.text) == (400, True)
    assert (await rig.person.get(target)).status == 400  # no cookie at all
    assert (await rig.person.get(target, page.cookie)).status == 200
    again = await rig.person.get(target, page.cookie)
    assert (again.status, "was completed before" in again.text) == (401, True)
    assert list(await rig.list_installed()) == [ids.TEAM]


async def test_a_refusal_by_the_person_or_by_slack_stores_nothing(rig: Rig) -> None:
    await rig.sim.consent(denies=True)
    assert "You declined" in (await rig.person.install()).text
    await rig.sim.consent()
    page = await rig.person.open()
    target = (await rig.person.agree(page)).replace("code=", "code=x")
    refused = await rig.person.get(target, page.cookie)
    assert (refused.status, "Slack refused the code" in refused.text) == (401, True)
    assert await rig.list_installed() == {}


async def test_the_app_is_removed_from_an_unlisted_workspace(sim: SlackSim, tmp_path: Path) -> None:
    """An unlisted workspace that has the app may install it again."""
    path = tmp_path / "threadline.db"
    async with run_distributed(sim, path, teams=[TEAM_2]) as rig:
        page = await rig.person.install()
        assert (page.status, ids.TEAM in page.text) == (403, True)
        assert len(await sim.requests("apps.uninstall")) == 1
        await rig.install(2)
    async with run_distributed(sim, path, teams=[]) as rig:
        closed = await rig.person.open()
        assert (closed.status, install_texts.CLOSED in closed.text) == (403, True)
        assert list(await rig.list_installed()) == [TEAM_2]


async def test_only_so_many_installations_begin_in_a_minute(rig: Rig) -> None:
    pages = [await rig.person.open() for _ in range(61)]
    assert [page.status for page in pages] == [200] * 60 + [429]


async def test_only_so_many_installations_end_in_a_minute(rig: Rig) -> None:
    """A made-up state makes the database look for it."""
    address = f"{rig.person.origin}/slack/oauth_redirect?code=1&state=made-up"
    pages = [await rig.person.get(address, "made-up") for _ in range(61)]
    assert [page.status for page in pages] == [401] * 60 + [429]


FAULTS: dict[str, dict[str, Any]] = {
    "5xx": {"status": 503, "body": "<html>", "headers": {"Content-Type": "text/html"}},
    "no answer": {"delay": 60.0},
    "dropped": {"drop": True},
    "dropped after": {"drop": True, "after": True},
    "a list": {"status": 200, "body": ["ok"]},
    "ratelimited": {"status": 200, "body": {"ok": False, "error": "ratelimited"}},
    "internal_error": {"status": 200, "body": {"ok": False, "error": "internal_error"}},
    "no token": {"remove": ["access_token"]},
    "odd": {"put": {"team": 17, "access_token": 17, "expires_in": "soon", "token_type": None}},
}


async def test_a_fault_of_the_exchange_costs_this_attempt_alone(rig: Rig) -> None:
    await rig.install(2)
    for fault in FAULTS.values():
        await rig.sim.call("fault", match="oauth.v2.access", **fault)
        page = await rig.person.install()
        assert page.status in (401, 500, 502)
        assert install_texts.FAILED_TITLE in page.text
        await rig.sim.call("clear")
    await ask(rig.sim.within(2), "still there?")
    await rig.find_received("still there?")
    await rig.install(1)


async def test_a_token_that_slack_does_not_take_back_is_stored_nowhere(
    sim: SlackSim, tmp_path: Path
) -> None:
    """If Slack does not confirm the app's removal, at least the token is revoked."""
    async with run_distributed(sim, tmp_path / "threadline.db", teams=[TEAM_2]) as rig:
        for fault in FAULTS.values():
            since = len(await sim.requests())
            await sim.call("fault", match="apps.uninstall", **fault)
            assert (await rig.person.install()).status == 403
            await sim.call("clear")
            await sim.call("fault", match="apps.uninstall", **FAULTS["5xx"])
            await sim.call("fault", match="auth.revoke", **fault)
            assert (await rig.person.install()).status == 403
            await sim.call("clear")
            assert await sim.requests("auth.revoke", since)
        assert await rig.list_installed() == {}


# ── tokens ────────────────────────────────────────────────────────────────────────────────────
class FastClock(SystemClock):
    """Moves the time of day forward; everything else is real."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def test_an_expiring_token_is_renewed_once_whoever_needs_it(
    sim: SlackSim, tmp_path: Path
) -> None:
    """Early in the background, or at the latest before anything is sent, even by two processes."""
    await sim.oauth(rotates=True)
    clock, lock = FastClock(), asyncio.Lock()
    path = tmp_path / "threadline.db"
    async with run_distributed(sim, path, clock=clock, exclusively=lambda _name: lock) as rig:
        await rig.install()
        api = rig.many.session(ids.TEAM).api
        first = await api.bearer()
        clock.ahead = 43_200 - EARLY_SECONDS + 60
        assert await api.bearer() == first  # still valid while another is being fetched
        await until(lambda: rig.many.session(ids.TEAM).tokens.busy is False)
        second = await api.bearer()
        assert second != first
        await sim.oauth(token_seconds=1e7)  # slack_sdk counts from the real time
        clock.ahead += 50_000
        other = rig.adapter._make_workspaces(rig.many._make)  # as another process would have it
        async with other.running():
            sessions = (rig.many.session(ids.TEAM), other.session(ids.TEAM))
            tokens = await asyncio.gather(*(s.api.bearer() for s in sessions for _ in range(10)))
        assert len({second, *tokens}) == 2
        assert len(await sim.requests("oauth.v2.access")) == 3  # the code, and two renewals
        assert (await api.read("auth.test")).text("team_id") == ids.TEAM


async def test_a_failed_renewal_costs_its_own_workspace_and_is_retried(
    sim: SlackSim, tmp_path: Path
) -> None:
    await sim.oauth(rotates=True)
    clock = FastClock()
    async with run_distributed(sim, tmp_path / "threadline.db", clock=clock) as rig:
        await rig.install(1)
        await rig.install(2)
        clock.ahead = 50_000  # both have expired by our clock
        for fault in ("5xx", "dropped", "a list", "ratelimited", "internal_error", "no token"):
            await sim.call("fault", match="oauth.v2.access", **FAULTS[fault])
            with pytest.raises(PlatformError) as raised:
                await rig.many.session(ids.TEAM).api.read("auth.test")
            assert not isinstance(raised.value, Gone), fault
            rig.many.session(ids.TEAM).tokens._retry_at = 0.0  # type: ignore[attr-defined]
            await sim.call("clear")
        assert (await rig.many.session(TEAM_2).api.read("auth.test")).text("team_id") == TEAM_2
        refusal = {"status": 200, "body": {"ok": False, "error": "invalid_refresh_token"}}
        await sim.call("fault", match="oauth.v2.access", **refusal)
        with pytest.raises(Gone, match="invalid_refresh_token"):
            await rig.many.session(ids.TEAM).api.read("auth.test")

        async def is_recorded() -> bool:
            return (await rig.list_installed())[ids.TEAM].problem == "invalid_refresh_token"

        await sim.until(is_recorded)
        found = {finding.subject: finding for finding in await rig.adapter.check()}
        assert found[f"Slack {ids.TEAM} (Home)"].verdict is Verdict.FAILED
        assert found[f"Slack {TEAM_2} (Home 2)"].verdict is Verdict.OK


async def test_a_dead_token_marks_its_own_workspace_and_doctor_says_so(rig: Rig) -> None:
    await rig.install(1)
    await rig.install(2)
    await rig.sim.subscribe([])  # Slack does not say that it was revoked
    await rig.sim.revoke()
    with pytest.raises(Gone, match="token_revoked"):
        await rig.many.session(ids.TEAM).api.read("users.info", user=ids.ALICE)

    async def is_recorded() -> bool:
        return (await rig.list_installed())[ids.TEAM].problem == "token_revoked"

    await rig.sim.until(is_recorded)
    since = len(await rig.sim.requests())
    with pytest.raises(Gone):
        await rig.many.session(ids.TEAM).api.read("users.info", user=ids.ALICE)
    assert await rig.sim.requests("users.info", since) == []
    await rig.many.session(TEAM_2).api.read("users.info", user=ALICE_2)
    found = {finding.subject: finding for finding in await rig.adapter.check()}
    assert "token_revoked" in found[f"Slack {ids.TEAM} (Home)"].detail
    assert found[f"Slack {TEAM_2} (Home 2)"].detail == "@threadline, with all scopes"
    assert rig.adapter.health().ok
    assert rig.adapter.health().details["workspaces_refused"] == "1"


# ── removal ───────────────────────────────────────────────────────────────────────────────────
async def test_a_late_event_does_not_remove_an_app_that_was_installed_again(rig: Rig) -> None:
    await rig.install()
    await rig.sim.revoke(uninstall=True)
    await until(lambda: rig.inbox.gone_keys)
    assert rig.inbox.gone_keys[0] == ConversationKey("slack", ids.TEAM, "", "")
    with pytest.raises(Down):
        rig.adapter.surface(claim(ids.GENERAL, "1.000001"))
    await until(lambda: rig.many._index.is_absent(ids.TEAM))
    with pytest.raises(Gone, match="app_uninstalled"):
        rig.adapter.surface(claim(ids.GENERAL, "1.000001"))
    await rig.install()
    body = {
        "type": "event_callback",
        "event_id": "Ev77",
        "event_time": int((await rig.list_installed())[ids.TEAM].installed_at) - 30,
        "team_id": ids.TEAM,
        "authorizations": [{"team_id": ids.TEAM, "is_bot": True}],
        "event": {"type": "app_uninstalled"},
    }
    (attempt,) = await rig.sim.inject("events_api", [body])
    assert attempt["acked"]
    await ask(rig.sim, "and now?")
    await rig.find_received("and now?")
    assert ids.TEAM in await rig.list_installed()


async def test_an_event_before_the_installation_is_stored_comes_again(rig: Rig) -> None:
    await rig.sim.delivery(retry_scale=0.001)
    await rig.install(2)
    body = {
        "type": "event_callback",
        "event_id": "Ev78",
        "team_id": ids.TEAM,
        "event": {"type": "app_mention", "user": ids.ALICE, "channel": ids.GENERAL, "ts": "1.1"},
    }
    attempts = await rig.sim.inject("events_api", [body])
    assert not attempts[0]["acked"]


# ── isolation and idleness ────────────────────────────────────────────────────────────────────
async def test_a_workspace_without_answers_does_not_delay_another_ones_questions(rig: Rig) -> None:
    await rig.install(1)
    await rig.install(2)
    await rig.sim.call("fault", match="/api/", having=ids.ALICE, delay=60.0, times=1_000)
    await asyncio.gather(*(ask(rig.sim, f"slow {number}") for number in range(20)))
    await ask(rig.sim.within(2), "quick")
    assert (await rig.find_received("quick")).key.workspace == TEAM_2
    assert (await rig.find_received("quick")).author.name == "alice"
    one, two = rig.many.session(ids.TEAM), rig.many.session(TEAM_2)
    assert one.limiter is not two.limiter
    await rig.sim.call("clear")


async def test_an_idle_session_ends_and_the_next_question_opens_another(rig: Rig) -> None:
    await rig.install()
    await ask(rig.sim, "first")
    await rig.find_received("first")
    session = rig.many.session(ids.TEAM)
    await until(lambda: not session.busy)
    session.used_at -= 3_600
    rig.many._trim()
    assert rig.many._sessions == {}
    await ask(rig.sim, "second")
    await rig.find_received("second")
    assert rig.many.session(ids.TEAM) is not session
    assert rig.adapter.surface(claim(ids.GENERAL, "1.000001")) is not None
    assert not rig.many.session(ids.TEAM)._surfaces  # it was collected with its turn


# ── Enterprise Grid, Slack Connect ────────────────────────────────────────────────────────────
async def test_an_organization_is_one_workspace_in_the_keys(rig: Rig) -> None:
    sim, org = rig.sim, ids.ENTERPRISE
    three = await sim.add_workspace(3, enterprise=org)
    four = await sim.add_workspace(4, enterprise=org)
    await rig.install(3, org_wide=True)
    await ask(three, "from three")
    await ask(four, "from four")
    keys = {(await rig.find_received(text)).key.workspace for text in ("from three", "from four")}
    assert keys == {org}
    assert list(await rig.list_installed()) == [org]
    workspace = rig.many.session(org).workspace
    general_4 = ids.of(ids.GENERAL, 4)
    assert await workspace.facts.channel_id("private") == ids.of(ids.PRIVATE, 3)
    assert (await workspace.facts.channels.get(general_4)).name == "general"
    posted = await workspace.api.write("chat.postMessage", channel=general_4, text="hello")
    assert posted.text("ts")
    # Only members of the channel's own workspaces can open it.
    directory, key = rig.adapter.directory, ConversationKey("slack", org, general_4, "")
    alice_3, alice_4 = ids.of(ids.ALICE, 3), ids.of(ids.ALICE, 4)
    assert not await directory.can_read(key, alice_3)
    assert await directory.can_read(key, alice_4)
    about = {"enterprise_id": org, "teams": [ids.of(ids.TEAM, 4)]}
    await four.describe_person(alice_4, enterprise_user=about)
    person = await directory.person(key, Author(alice_4, "alice"))
    assert person.standing is not None


async def test_an_organization_without_a_list_of_its_workspaces_is_still_answered(rig: Rig) -> None:
    """Only features that need the list wait: channel names in rules, and missed messages."""
    three = await rig.sim.add_workspace(3, enterprise=ids.ENTERPRISE)
    await rig.install(3, org_wide=True)
    odd = {"none": {"put": {"teams": []}}, "no ids": {"put": {"teams": [{}]}}}
    for name, fault in (FAULTS | odd).items():
        await rig.sim.call("fault", match="auth.teams.list", **fault | {"times": 1_000})
        await ask(three, f"although {name}")
        await rig.find_received(f"although {name}")
        if name not in ("no token", "odd"):  # the answer has neither of these fields
            facts = rig.many.session(ids.ENTERPRISE).workspace.facts
            facts.teams._known.clear()
            with pytest.raises(PlatformError):
                await facts.teams.arguments()
        await rig.sim.call("clear")


async def test_in_a_shared_channel_the_mentioned_installation_answers(rig: Rig) -> None:
    """Slack names the other installation; if the message mentions a bot that is there, its one
    counts."""
    await rig.install(1)
    await rig.install(2)

    async def deliver(text: str, ts: str, *, thread: str = "", channel: str = GENERAL_2) -> str:
        event = {"type": "message", "user": ALICE_2, "channel": channel, "ts": ts, "text": text}
        event |= {"channel_type": "channel", **({"thread_ts": thread} if thread else {})}
        body = {
            "type": "event_callback",
            "event_id": f"Ev{ts}",
            "team_id": TEAM_2,
            "is_ext_shared_channel": True,
            "authorizations": [{"team_id": ids.TEAM, "is_bot": True}],
            "event": event,
        }
        (attempt,) = await rig.sim.inject("events_api", [body])
        assert attempt["acked"]
        found = [one for one in rig.inbox.received if one.message_id == ts]
        return found[0].key.workspace if found else ""

    bot_2 = ids.of(ids.BOT_USER, 2)
    assert await deliver(f"<@{bot_2}> why?", "1700000001.000001") == TEAM_2
    # The second bot is not in that channel, so its id there asks no one of team 2.
    other = await deliver(f"<@{bot_2}> hm?", "1700000002.000001", channel=ids.GENERAL)
    assert other in ("", ids.TEAM)


# ── changes in the database ───────────────────────────────────────────────────────────────────
async def test_installations_changed_by_another_process_are_noticed(
    rig: Rig, tmp_path: Path
) -> None:
    """A delivery shows the change immediately; otherwise it is noticed within a minute."""
    await rig.install(1)
    store = rig.store.installations()
    found = await store.read("slack", ids.TEAM)
    assert found is not None
    await store.remove("slack", ids.TEAM, installed_until=found.installation.installed_at)
    session = rig.many.session(ids.TEAM)
    await rig.many._index.refresh()
    await until(lambda: rig.inbox.gone_keys)
    with pytest.raises(Gone, match="app_uninstalled"):
        await session.api.read("auth.test")
    await store.save(found.installation, found.sealed)
    await ask(rig.sim, "back?")
    await rig.find_received("back?")


async def test_without_a_running_adapter_the_pages_say_so(sim: SlackSim, tmp_path: Path) -> None:
    async with run_distributed(sim, tmp_path / "threadline.db") as rig:
        rig.adapter._distributed._pages._flow = None  # type: ignore[union-attr]
        page = await Installer(rig.person.origin).open()
        assert (page.status, install_texts.NOT_READY in page.text) == (503, True)


async def test_messages_that_a_workspace_missed_are_read_after_an_outage(
    sim: SlackSim, tmp_path: Path
) -> None:
    """Each workspace is read with a separate token, and none slows the others."""
    path = tmp_path / "threadline.db"
    async with run_distributed(sim, path) as rig:
        for number in (1, 2):
            await rig.install(number)
            await ask(sim.within(number), f"before {number}")
            await rig.find_received(f"before {number}")
        marks = rig.inbox.marks
        await until(lambda: {workspace for workspace, _ in marks} >= {ids.TEAM, TEAM_2})
    await asyncio.gather(*(ask(sim.within(number), f"missed {number}") for number in (1, 2)))
    async with run_distributed(sim, path, marks=marks) as rig:

        def read() -> set[str]:
            return {one.key.workspace for page in rig.inbox.read for one in page}

        await until(lambda: read() == {ids.TEAM, TEAM_2})
