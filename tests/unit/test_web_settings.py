"""The settings of the page and the API: access, addresses, and reasons to refuse to start."""

from __future__ import annotations

import pytest

from adapters.web.auth import LOCAL_USER, Access, is_loopback, is_wildcard
from bot.config.consistency import require_consistent
from bot.config.loader import load
from bot.domain.errors import SettingsError


def test_tokens_are_read_by_name_and_kept_secret() -> None:
    tokens = ["secret-of-sixteen", "se:cret=2-of-sixteen"]
    settings = load({"HTTP_TOKENS": f"alice:{tokens[0]}, bob:{tokens[1]} "}, None)
    assert settings.web_tokens == {"alice": tokens[0], "bob": tokens[1]}
    assert settings.secrets() == tokens
    assert "se:cret" not in repr(settings)


@pytest.mark.parametrize(
    "value",
    [
        "alice",
        "alice:",
        ":secret",
        "alice:secret-of-fifteen"[:21],
        "al ice:secret-of-sixteen",
        "al/ice:secret-of-sixteen",
        "alice:sec ret-of-sixteen",
        "alice:sécret-token-sixteen",
        "alice:secret-of-sixteen,alice:another-of-sixteen",
        "alice:secret-of-sixteen,bob:secret-of-sixteen",
        ",",
        " , ,, ",
        ":",
    ],
)
def test_invalid_tokens_are_refused_without_showing_them(value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"HTTP_TOKENS": value}, None)
    assert caught.value.setting == "HTTP_TOKENS"
    assert "secret-" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("example.org", False),
    ],
)
def test_without_tokens_only_loopback_hosts_are_allowed(host: str, alone: bool) -> None:
    settings = load({"HTTP_HOST": host}, None)
    if alone:
        require_consistent(settings)
    else:
        with pytest.raises(SettingsError, match="HTTP_TOKENS"):
            require_consistent(settings)
    require_consistent(load({"HTTP_HOST": host, "HTTP_TOKENS": "alice:secret-of-sixteen"}, None))


def test_the_page_is_served_alone_or_with_platforms_if_a_port_is_set() -> None:
    platform = {"DISCORD_TOKEN": "token-of-discord", "LLM": "echo"}
    assert (load({}, None).serves_web, load({}, None).web_port) == (True, 8080)
    assert not load(platform, None).serves_web
    assert load({**platform, "HTTP_PORT": "9000"}, None).serves_web
    require_consistent(load({**platform, "HTTP_HOST": "0.0.0.0"}, None))  # nothing listens there
    assert load({"HTTP_PORT": "0"}, None).web_port == 0


def test_a_too_short_token_is_refused_with_advice() -> None:
    with pytest.raises(SettingsError, match=r"16 characters or more.*token_urlsafe"):
        load({"HTTP_TOKENS": "alice:fifteen-letters"}, None)


SLACK = {"SLACK_BOT_TOKEN": "xoxb-1", "LLM": "echo", "HTTP_PORT": "8080"}
HTTP_MODE = {**SLACK, "SLACK_SIGNING_SECRET": "signing"}
SOCKET_MODE = {**SLACK, "SLACK_APP_TOKEN": "xapp-1"}
DISCORD = {"DISCORD_TOKEN": "token-of-discord", "LLM": "echo"}
SIGNED = {"HTTP_TOKENS": "alice:secret-of-sixteen"}


@pytest.mark.parametrize(
    ("environ", "site"),
    [
        ({}, True),
        (SIGNED | {"HTTP_HOST": "0.0.0.0"}, True),
        (SIGNED | {"HTTP_ALLOWED_HOSTS": "chat.example.org"}, True),
        (HTTP_MODE, False),
        (HTTP_MODE | {"HTTP_HOST": "0.0.0.0"}, False),  # as in a container
        (HTTP_MODE | SIGNED | {"HTTP_HOST": "0.0.0.0"}, True),
        (SOCKET_MODE, True),
        (DISCORD, False),
        (DISCORD | {"HTTP_PORT": "8080"}, True),
        (DISCORD | {"HTTP_ALLOWED_HOSTS": "chat.example.org"}, False),  # nothing listens
    ],
)
def test_whether_the_page_and_the_api_are_served(environ: dict[str, str], site: bool) -> None:
    """Without tokens, they are never served where the port is published."""
    settings = load(environ, None)
    require_consistent(settings)
    assert settings.serves_site == site


@pytest.mark.parametrize(
    ("environ", "setting"),
    [
        ({"HTTP_ALLOWED_HOSTS": "chat.example.org"}, "HTTP_ALLOWED_HOSTS"),
        (HTTP_MODE | {"HTTP_ALLOWED_HOSTS": "chat.example.org"}, "HTTP_ALLOWED_HOSTS"),
        (SOCKET_MODE | {"HTTP_HOST": "0.0.0.0"}, "HTTP_TOKENS"),
        (DISCORD | {"HTTP_PORT": "8080", "HTTP_HOST": "0.0.0.0"}, "HTTP_TOKENS"),
    ],
)
def test_a_site_open_to_everyone_refuses_to_start(environ: dict[str, str], setting: str) -> None:
    with pytest.raises(SettingsError, match=setting):
        require_consistent(load(environ, None))


@pytest.mark.parametrize(
    "value",
    [
        "https://chat.example.org",
        "chat.example.org:8443",
        "chat.example.org/",
        "*",
        "*.example.org",
    ],
)
def test_an_allowed_host_that_would_never_match_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"HTTP_ALLOWED_HOSTS.*only the name"):
        load({"HTTP_ALLOWED_HOSTS": f"a.example, {value}"}, None)


@pytest.mark.parametrize(
    ("setting", "token"), [("SLACK_BOT_TOKEN", "xapp-1"), ("SLACK_APP_TOKEN", "xoxb-1")]
)
def test_swapped_slack_tokens_are_refused(setting: str, token: str) -> None:
    with pytest.raises(SettingsError, match=f"{setting}: a token that starts with"):
        load({setting: token}, None)


def test_only_listed_users_are_administrators() -> None:
    assert load({"ADMINS": "web:alice,discord:1,slack:T:U,web:bob"}, None).web_admins == (
        "alice",
        "bob",
    )


def test_a_token_identifies_its_user() -> None:
    access = Access({"alice": "secret-a", "bob": "secret-b"}, admins=["bob"])
    assert [access.user_of(token) for token in ("secret-a", "secret-b")] == ["alice", "bob"]
    assert [access.user_of(token) for token in ("", None, "secret", "\ud800")] == [None] * 4
    assert (access.is_admin("alice"), access.is_admin("bob")) == (False, True)
    assert access.needs_token


def test_without_tokens_everyone_is_the_local_user() -> None:
    access = Access({})
    assert [access.user_of(token) for token in (None, "anything")] == [LOCAL_USER] * 2
    assert not access.needs_token


def test_loopback_and_wildcard_addresses_are_distinguished() -> None:
    assert all(map(is_loopback, ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("localhost.example", "128.0.0.1", "::", "0.0.0.0", "")))
    assert all(map(is_wildcard, ("0.0.0.0", "::")))
    assert not any(map(is_wildcard, ("127.0.0.1", "localhost")))
