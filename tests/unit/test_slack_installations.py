"""Installations: encryption, the store's rows, which one a delivery is for, and the commands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.oauth.installation_store import Bot
from slack_sdk.oauth.installation_store import Installation as SdkInstallation

from adapters.slack import routing
from adapters.slack.events import Identity
from adapters.slack.installation_commands import describe
from adapters.slack.installations import (
    Credentials,
    StoredInstallation,
    from_sdk,
    identity_of,
    renewed,
    to_bot,
    workspace_key,
)
from adapters.slack.oauth import AUTHORIZE, authorize_url
from adapters.slack.scopes import SCOPES
from adapters.slack.vault import SlackInstallationStore, Vault
from bot.__main__ import main
from bot.common.clock import SystemClock
from bot.common.encryption import SecretBox, WrongKey, new_key
from bot.config.consistency import require_consistent
from bot.config.loader import load
from bot.config.settings import Settings, SlackMode
from bot.domain import install_texts
from bot.domain.errors import CannotStart, SettingsError
from bot.domain.installations import Installation
from bot.store.open_store import installations_beside
from bot.store.store import SqlStore
from tests.support.clock import ManualClock
from tests.support.oauth_kit import KEY, OTHER_KEY
from tests.support.store_kit import Place, key, look, opened, said

ME = Identity("T1", "U1", "B1", "threadline", "t1.slack.com")


def stored(workspace: str = "T1", token: str = "xoxb-1", **fields: Any) -> StoredInstallation:
    details = {"bot_user": "U1", "bot": "B1", "bot_name": "threadline", "host": "t1.slack.com"}
    details["scopes"] = ",".join(SCOPES)
    made = Installation("slack", workspace, f"Team {workspace}", 1_000.0, details, **fields)
    return StoredInstallation(made, Credentials(token, "xoxe-1", fields.get("expires_at")))


def vault_on(store: SqlStore, *keys: str) -> Vault:
    return Vault(records=store.installations(), box=SecretBox(keys or (KEY,)), clock=SystemClock())


# ── encryption ────────────────────────────────────────────────────────────────────────────────
def test_a_box_opens_what_any_of_its_keys_sealed_for_the_same_place() -> None:
    old, new = SecretBox([KEY]), SecretBox([new_key(), KEY])
    sealed = old.seal("slack/T1", {"token": "xoxb-1"})
    assert "xoxb" not in sealed
    assert new.open("slack/T1", sealed) == {"token": "xoxb-1"}
    assert (old.is_current(sealed), new.is_current(sealed)) == (True, False)
    for box, place, text in (
        (SecretBox([OTHER_KEY]), "slack/T1", sealed),
        (old, "slack/T2", sealed),  # moved to another record
        (old, "slack/T1", sealed[:-2] + "AA"),
        (old, "slack/T1", "no token"),
    ):
        with pytest.raises(WrongKey):
            box.open(place, text)


def test_a_key_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        SecretBox(["short"])


async def test_a_new_key_takes_over_at_the_start_and_the_old_one_can_go(place: Place) -> None:
    newest = new_key()
    async with opened(place) as store:
        await vault_on(store).save(stored())
        assert len(await vault_on(store, newest, KEY).unlock()) == 1
        found = await vault_on(store, newest).read("T1")
        assert found is not None
        assert found.credentials == Credentials("xoxb-1", "xoxe-1")
        with pytest.raises(CannotStart) as raised:
            await vault_on(store, OTHER_KEY).unlock()
        assert str(raised.value) == install_texts.WRONG_KEY
        # A record that no key opens affects only one workspace.
        await vault_on(store, OTHER_KEY).save(stored("T2"))
        assert len(await vault_on(store, newest).unlock()) == 2
        with pytest.raises(WrongKey):
            await vault_on(store, newest).read("T2")
    assert "xox" not in str(look(place, "SELECT * FROM installations"))


# ── rows ──────────────────────────────────────────────────────────────────────────────────────
async def test_credentials_are_renewed_only_if_they_are_still_the_same(place: Place) -> None:
    async with opened(place) as store:
        vault, rows = vault_on(store), store.installations()
        assert await vault.save(stored(expires_at=5_000.0)) == 1
        first = await vault.read("T1")
        assert first is not None
        await rows.record_problem("slack", "T1", revision=1, problem="token_revoked")
        (marked,) = await rows.list_installations("slack")
        assert (marked.problem, marked.problem_at > 0) == ("token_revoked", True)
        after = renewed(first, _bot(token="xoxb-2", expires_at=9_000))
        assert await vault.renew(after)
        assert not await vault.renew(after)  # of revision 1, which another process has replaced
        await rows.record_problem("slack", "T1", revision=1, problem="late")
        second = await vault.read("T1")
        assert second is not None
        assert (second.revision, second.installation.problem) == (2, "")
        assert second.credentials == Credentials("xoxb-2", "xoxe-1", 9_000)
        assert not await rows.remove("slack", "T1", installed_until=999.0)
        assert await rows.remove("slack", "T1", installed_until=1_000.0)
        assert await vault.read("T1") is None


def _bot(*, token: str, expires_at: int) -> Bot:
    return Bot(
        bot_token=token,
        bot_id="B1",
        bot_user_id="U1",
        bot_token_expires_at=expires_at,
        installed_at=0.0,
    )


async def test_a_state_is_consumed_once_before_it_expires(place: Place) -> None:
    clock = ManualClock()
    async with opened(place, clock=clock) as store:
        rows = store.installations()
        for name in ("a", "b"):
            await rows.issue_state("slack", name, expires_at=clock.time() + 600)
        assert not await rows.consume_state("discord", "a")
        assert await rows.consume_state("slack", "a")
        assert not await rows.consume_state("slack", "a")
        await clock.advance(600)
        assert not await rows.consume_state("slack", "b")


async def test_the_workspaces_of_a_thread_are_those_that_are_installed(place: Place) -> None:
    async with opened(place) as store:
        for workspace in ("w1", "w2"):
            await vault_on(store).save(stored(workspace))
        await store.accept(said(1, where=key("t1", platform="slack")))
        assert await store.installations().workspaces_of("slack", "c1", "t1") == ["w1"]
        assert await store.installations().workspaces_of("slack", "c1", "t2") == []


# ── slack_sdk's interface ─────────────────────────────────────────────────────────────────────
async def test_the_sdks_interface_finds_what_its_flow_saved(place: Place) -> None:
    saved: list[str] = []

    async def identify(_token: str) -> Identity:
        return ME

    async def remember(workspace: str) -> None:
        saved.append(workspace)

    async with opened(place) as store:
        installations = SlackInstallationStore(
            vault=vault_on(store),
            teams=["E1"],
            identify=identify,
            give_back=identify,
            saved=remember,
        )
        granted = SdkInstallation(
            app_id="A1",
            enterprise_id="E1",
            enterprise_name="Org",
            is_enterprise_install=True,
            bot_token="xoxb-9",
            bot_refresh_token="xoxe-9",
            bot_token_expires_in=43_200,
            bot_id="B1",
            bot_user_id="U1",
            bot_scopes="a,b",
            user_id="U2",
            user_token="xoxp-9",
        )
        await installations.async_save(granted)
        assert saved == ["E1"]
        bot = await installations.async_find_bot(
            enterprise_id="E1", team_id="T5", is_enterprise_install=True
        )
        assert bot is not None
        assert (bot.bot_token, bot.team_id, bot.bot_scopes) == ("xoxb-9", None, ("a", "b"))
        bot.bot_token = "xoxb-10"
        await installations.async_save_bot(bot)
        found = await installations.async_find_installation(
            enterprise_id="E1", team_id=None, is_enterprise_install=True
        )
        assert found is not None
        assert (found.bot_token, found.user_token, found.user_id) == ("xoxb-10", None, "")
        await installations.async_delete_all(enterprise_id="E1", team_id=None)
        assert (
            await installations.async_find_bot(
                enterprise_id="E1", team_id=None, is_enterprise_install=True
            )
            is None
        )


def test_the_key_of_an_organization_is_its_own_id() -> None:
    assert workspace_key("E1", "T1", is_org=True) == "E1"
    assert workspace_key("E1", "T1", is_org=False) == "T1"
    assert workspace_key(None, None, is_org=None) == ""
    granted = from_sdk(SdkInstallation(user_id="", team_id="T1", team_name="Home"), ME)
    assert identity_of(granted.installation) == ME
    assert to_bot(granted).team_name == "Home"


def test_the_page_where_people_agree_is_slacks_or_the_compatible_apis() -> None:
    assert authorize_url("https://slack.com/api/") == AUTHORIZE
    assert authorize_url("http://127.0.0.1:9/api/") == "http://127.0.0.1:9/oauth/v2/authorize"


# ── routing ───────────────────────────────────────────────────────────────────────────────────
AUTHORIZED = {"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": False}


@pytest.mark.parametrize(
    ("body", "workspaces"),
    [
        ({"authorizations": [AUTHORIZED], "team_id": "T9"}, ("T1", "E1", "T9")),
        ({"authorizations": [AUTHORIZED | {"is_enterprise_install": True}]}, ("E1", "T1")),
        ({"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": "true"}, ("E1", "T1")),
        ({"team": {"id": "T1", "enterprise_id": "E1"}}, ("T1", "E1")),
        ({"team": None, "enterprise": {"id": "E1"}, "is_enterprise_install": True}, ("E1",)),
        ({"view": {"app_installed_team_id": "T2"}, "team": {"id": "T1"}}, ("T2", "T1")),
        ({"context_team_id": "T3", "user": {"team_id": "T4"}}, ("T3", "T4")),
        ({"authorizations": "no list", "team_id": 17, "team": [], "view": 3}, ()),
        ({}, ()),
    ],
)
def test_a_delivery_names_its_installation(body: Any, workspaces: tuple[str, ...]) -> None:
    assert routing.workspaces_in(body) == workspaces


def test_what_a_message_says_about_its_installation() -> None:
    message = {"type": "message", "user": "U5", "text": "<@U1> and <@U2>", "ts": "2.000000"}
    event = {**message, "channel": "C1", "thread_ts": "1.000000"}
    assert routing.mentioned_in({"event": event}) == ("U1", "U2")
    assert routing.thread_in({"event": event}) == ("C1", "1.000000")
    changed = {"type": "message", "subtype": "message_changed", "channel": "C1", "message": event}
    assert routing.thread_in({"event": changed}) == ("C1", "1.000000")
    assert routing.mentioned_in({"event": {"type": "app_home_opened"}}) == ()
    pressed = {"actions": [{"action_id": "a"}], "message": {"user": "U1"}}
    assert routing.author_of_pressed(pressed) == "U1"
    assert routing.author_of_pressed({"message": {"user": "U1"}}) == ""


# ── settings and commands ─────────────────────────────────────────────────────────────────────
WHOLE = {
    "SLACK_CLIENT_ID": "1.2",
    "SLACK_CLIENT_SECRET": "s" * 32,
    "SLACK_APP_TOKEN": "xapp-1",
    "INSTALLATION_KEY": f"{KEY}, {OTHER_KEY}",
    "HTTP_PORT": "8080",
    "LLM": "echo",
}


def test_an_app_for_many_workspaces_needs_all_of_its_settings() -> None:
    settings = load(WHOLE, None)
    require_consistent(settings)
    assert (settings.slack_mode, settings.has_platform) == (SlackMode.SOCKET, True)
    assert settings.serves_site is False  # the port is public
    assert set(settings.secrets()) >= {KEY, OTHER_KEY, "s" * 32}
    for missing in ("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET", "INSTALLATION_KEY", "HTTP_PORT"):
        with pytest.raises(SettingsError):
            require_consistent(load({n: v for n, v in WHOLE.items() if n != missing}, None))
    with pytest.raises(SettingsError, match="SLACK_BOT_TOKEN"):
        require_consistent(load({**WHOLE, "SLACK_BOT_TOKEN": "xoxb-1"}, None))
    with pytest.raises(SettingsError, match="SLACK_CLIENT_ID"):
        require_consistent(load({n: v for n, v in WHOLE.items() if n != "SLACK_APP_TOKEN"}, None))


@pytest.mark.parametrize(
    ("name", "value"),
    [("INSTALLATION_KEY", "short"), ("SLACK_INSTALL_TEAMS", "T0123,everyone")],
)
def test_an_invalid_value_is_one_sentence(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load({**WHOLE, name: value}, None)
    assert raised.value.setting == name


def test_keys_new_prints_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new"]) == 0
    SecretBox([capsys.readouterr().out.strip()])


async def test_the_list_shows_where_the_app_is_installed(tmp_path: Path) -> None:
    path = tmp_path / "threadline.db"
    beside = installations_beside(Settings(database_url=f"sqlite:///{path}"))
    async with opened(path) as store:
        assert await describe(beside, None) == ["No Slack workspace has installed the app."]
        await vault_on(store).save(stored())
        await vault_on(store).save(stored("T2"))
        await store.installations().record_problem(
            "slack", "T2", revision=1, problem="token_revoked"
        )
        lines = await describe(beside, None)  # while the bot has the database open
        assert lines[0].startswith("T1  Team T1  ")
        assert lines[0].endswith("  all scopes  works")
        assert lines[1].endswith("  refused: token_revoked")
        assert await beside.remove("slack", "T2", installed_until=2_000.0)
        await asyncio.sleep(0)
        assert [each.workspace for each in await beside.list_installations("slack")] == ["T1"]
