"""Types of single settings. Each parses or checks its value, and explains an error in a
sentence."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, SecretStr

from bot.config.model_names import check_choice, check_name, check_summarizer
from bot.config.problems import quote

MIN_TOKEN_CHARACTERS = 16
"""The shortest allowed token. Shorter ones are easy to guess, and too common as text to redact from
the log."""

KEY_BYTES = 32
"""The length of a key for `bot.common.encryption`."""

_SLACK_TEAM = re.compile(r"[TE][A-Z0-9]{2,30}")
MOST_CHANNELS = 50
_CHANNEL = re.compile(r"[a-z0-9_-]{1,50}")
_USER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
# An IPv6 address needs brackets before a port.
_HOST_PORT = re.compile(
    r"[A-Za-z0-9_.-]{1,253}(?::(?P<port>[0-9]{1,5}))?"
    r"|\[[0-9A-Fa-f:.]{2,45}\](?::(?P<port6>[0-9]{1,5}))?"
    r"|[0-9A-Fa-f:.]{2,45}"
)

# Values that the portals show near the tokens, and that people copy by mistake.
_NO_SLACK_TOKEN = (
    (re.compile(r"xoxp-.*"), "a person's token"),
    (re.compile(r"xoxe[.-].*"), "a token for configuring or refreshing"),
    (re.compile(r"[0-9a-f]{32}"), "the signing secret or the client secret"),
    (re.compile(r"[0-9]{8,20}\.[0-9]{8,20}"), "the client id"),
)
_NO_DISCORD_TOKEN = (
    (re.compile(r"xox[a-z]-.*|xapp-.*"), "a token for Slack"),
    (re.compile(r"[0-9]{17,20}"), "the application id"),
    (re.compile(r"[0-9a-f]{64}"), "the public key"),
    (re.compile(r"[A-Za-z0-9_-]{32}"), "the client secret of “OAuth2”"),
    (re.compile(r"https?://.*"), "an address"),
    (re.compile(r"bot\s.*", re.I), "a value of the header “Authorization”"),
)


def split(value: str) -> tuple[str, ...]:
    """The parts of a comma-separated list."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def split_secret(value: SecretStr | None) -> tuple[str, ...]:
    """The parts of a secret comma-separated list."""
    return split(value.get_secret_value()) if value is not None else ()


def split_pairs(value: SecretStr | None) -> list[tuple[str, str]]:
    """The names and tokens in NAME:TOKEN,NAME:TOKEN."""
    parts = (entry.partition(":") for entry in split_secret(value))
    return [(name.strip(), token.strip()) for name, _, token in parts]


def database_passwords(url: str) -> set[str]:
    """The password in a PostgreSQL URL, as written there and as sent.

    Such a URL may name several hosts, which `urlsplit` does not understand.
    """
    found = re.findall(r"\A\w+://[^:@/?]*:([^@/?]+)@|[?&]password=([^&]+)", url)
    written = {part for parts in found for part in parts if part}
    return written | {unquote(part) for part in written}


# ── checks ────────────────────────────────────────────────────────────────────────────────────
def _check_database(value: str) -> str:
    """Check the address of a database. The message never repeats it, because it may contain a
    password."""
    if value.startswith(("postgresql://", "postgres://")) and not value.endswith("://"):
        return value
    if not value.startswith("sqlite:///") or value == "sqlite:///":
        raise ValueError(
            "write sqlite:///threadline.db, sqlite:////absolute/path, or"
            " postgresql://user:password@host/database"
        )
    return value


def _check_shards(value: str) -> str:
    number = value.strip().lower()
    if number != "auto" and not (re.fullmatch("[0-9]{1,5}", number) and int(number)):
        raise ValueError("write a number of shards from 1 on, or auto")
    return number


def _check_url(value: str, *schemes: str) -> str:
    """Check an address. The message never repeats it, because it may contain a password."""
    try:
        parts = urlsplit(value)
        ok = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        ok = False
    if not ok or any(character.isspace() for character in value):
        raise ValueError(
            f"this is not an address: write {schemes[-1]}://HOST or {schemes[0]}://HOST"
        )
    return value


def _check_models(value: str) -> str:
    """Check only the form, because `threadline.toml` may define more providers."""
    if not split(value):
        raise ValueError("it names no model: write PROVIDER/MODEL, such as openai/gpt-5-mini")
    for name in split(value):
        check_name(name)
    return value


def _check_choices(value: str) -> str:
    for name in split(value):
        check_choice(name)
    return value


def _check_time_zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{quote(value)} is not a time zone: write Europe/Berlin, or UTC"
        ) from None


def _check_file_messages(value: int) -> int:
    if value < 0 or value == 1:
        raise ValueError("write 0 to never send files, or a number of messages from 2")
    return value


def _check_user_tokens(value: SecretStr) -> SecretStr:
    pairs = split_pairs(value)
    if not pairs:
        raise ValueError("it contains no NAME:TOKEN: add one, or leave it empty")
    names, tokens = [name for name, _ in pairs], [token for _, token in pairs]
    if not all(_USER.fullmatch(name) for name in names):
        raise ValueError("write NAME:TOKEN,NAME:TOKEN with names of letters, digits, . _ and -")
    if any(len(token) < MIN_TOKEN_CHARACTERS for token in tokens):
        raise ValueError(
            f"every token needs {MIN_TOKEN_CHARACTERS} characters or more; this makes one: "
            """python -c 'import secrets; print(secrets.token_urlsafe())'"""
        )
    if any(character.isspace() or not character.isascii() for character in "".join(tokens)):
        raise ValueError("a token must consist of ASCII characters without spaces")
    if len(set(names)) < len(names) or len(set(tokens)) < len(tokens):
        raise ValueError("each name and each token may occur only once")
    return value


def _check_channels(value: str) -> str:
    names = split(value)
    if not all(_CHANNEL.fullmatch(name) for name in names):
        raise ValueError("write names of 1 to 50 lower-case letters, digits, _ and -: general,ops")
    if len(set(names)) < len(names):
        raise ValueError("each channel may occur only once")
    if len(names) > MOST_CHANNELS:
        raise ValueError(f"name at most {MOST_CHANNELS} channels")
    return value


def _check_token(value: SecretStr) -> SecretStr:
    token = value.get_secret_value()
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise ValueError(
            f"it needs {MIN_TOKEN_CHARACTERS} characters or more; this makes one: "
            """python -c 'import secrets; print(secrets.token_urlsafe())'"""
        )
    if any(character.isspace() or not character.isascii() for character in token):
        raise ValueError("it must consist of ASCII characters without spaces")
    return value


def _check_hosts(value: str) -> str:
    for name in split(value):
        if not _HOST.fullmatch(name):
            raise ValueError(f"{quote(name)}: write only the name, such as chat.example.org")
    return value


def _check_host_ports(value: str) -> str:
    for entry in split(value):
        found = _HOST_PORT.fullmatch(entry)
        if found is None or int(found["port"] or found["port6"] or 80) not in range(1, 65_536):
            raise ValueError(
                f"{quote(entry)}: write HOST or HOST:PORT, such as wiki.example.org:8090"
            )
    return value


def _check_slack_token(value: SecretStr, expected: str) -> SecretStr:
    """Reject what people copy by mistake for the token. The message never repeats it."""
    token = value.get_secret_value()
    kind = token.partition("-")[0]
    if kind in ("xoxb", "xapp") and kind != expected:
        raise ValueError(
            f"a token that starts with {kind}- belongs to the other setting: write {expected}-…"
        )
    found = next((what for form, what in _NO_SLACK_TOKEN if form.fullmatch(token)), None)
    if found is not None:
        raise ValueError(f"this is {found}: write {expected}-…")
    return value


def _check_discord_token(value: SecretStr) -> SecretStr:
    """Reject what people copy by mistake for the token. The message never repeats it."""
    token = value.get_secret_value()
    found = next((what for form, what in _NO_DISCORD_TOKEN if form.fullmatch(token)), None)
    if found is None and len(token.split()) > 1:
        found = "more than one word"
    if found is not None:
        raise ValueError(
            f"this is {found}, not the bot's token: copy the one that “Reset Token” shows on the "
            "application's page “Bot” in the Developer Portal"
        )
    return value


def _check_slack_teams(value: str) -> str:
    for name in split(value):
        if name != "*" and not _SLACK_TEAM.fullmatch(name):
            raise ValueError(
                f"{quote(name)}: write ids of workspaces (T…) or organizations (E…), separated by "
                "commas, or * for all"
            )
    return value


def _check_installation_keys(value: SecretStr) -> SecretStr:
    keys = split_secret(value)
    if not keys or not all(map(_is_key, keys)):
        raise ValueError(
            "each key is 32 bytes in base64: `threadline keys new` makes one; separate several "
            "with commas, the newest first"
        )
    return value


def _is_key(text: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text.encode())) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _check_guilds(value: str) -> str:
    for name in split(value):
        if not name.isascii() or not name.isdigit():
            raise ValueError(f"{quote(name)}: write the servers' ids, separated by commas")
    return value


def _check_admins(value: str) -> str:
    for name in split(value):
        parts = name.split(":")
        if (parts[0], len(parts)) not in {("discord", 2), ("slack", 3), ("web", 2)}:
            raise ValueError(f"{quote(name)}: write discord:ID, slack:TEAM:USER or web:NAME")
    return value


# ── types ─────────────────────────────────────────────────────────────────────────────────────
DatabaseUrl = Annotated[str, AfterValidator(_check_database)]
HttpUrl = Annotated[str, AfterValidator(lambda value: _check_url(value, "http", "https"))]
WebSocketUrl = Annotated[str, AfterValidator(lambda value: _check_url(value, "ws", "wss"))]
DiscordToken = Annotated[SecretStr, AfterValidator(_check_discord_token)]
ModelNames = Annotated[str, AfterValidator(_check_models)]
ModelChoices = Annotated[str, AfterValidator(_check_choices)]
SummaryModel = Annotated[str, AfterValidator(check_summarizer)]
TimeZoneName = Annotated[str, AfterValidator(_check_time_zone)]
FileMessages = Annotated[int, AfterValidator(_check_file_messages)]
Token = Annotated[SecretStr, AfterValidator(_check_token)]
UserTokens = Annotated[SecretStr, AfterValidator(_check_user_tokens)]
ChannelNames = Annotated[str, AfterValidator(_check_channels)]
HostNames = Annotated[str, AfterValidator(_check_hosts)]
HostPorts = Annotated[str, AfterValidator(_check_host_ports)]
SlackBotToken = Annotated[
    SecretStr, AfterValidator(lambda value: _check_slack_token(value, "xoxb"))
]
SlackAppToken = Annotated[
    SecretStr, AfterValidator(lambda value: _check_slack_token(value, "xapp"))
]
SlackTeams = Annotated[str, AfterValidator(_check_slack_teams)]
InstallationKeys = Annotated[SecretStr, AfterValidator(_check_installation_keys)]
GuildIds = Annotated[str, AfterValidator(_check_guilds)]
ShardCount = Annotated[str, AfterValidator(_check_shards)]
AdminNames = Annotated[str, AfterValidator(_check_admins)]
