"""Typed settings, read once from the environment and `.env`; the environment wins.

An empty value counts as not set. A wrong one raises SettingsError, which names it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import tzinfo
from enum import Enum
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from bot.config import env_file
from bot.config.problems import problem_of
from bot.domain.errors import SettingsError
from bot.domain.model import Reasoning

DEFAULT_SYSTEM_PROMPT = (
    "You are Threadline, a helpful assistant in a team's chat. Answer in the language of the "
    "question. Be correct and brief; use Markdown where it helps."
)
NO_PROMPT = "none"
"""What switches the system prompt off: an empty value counts as not set."""
MODEL_KINDS = ("openai", "huggingface", "echo")
DEFAULT_HTTP_PORT = 8080
# Shorter ones can be guessed, and are too short to be kept out of a log.
SHORTEST_TOKEN = 16
# Settings that are prose: a `#` in them is no comment.
PROSE = frozenset({"system_prompt"})
_USER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}")


class SlackMode(Enum):
    """How Slack's events arrive."""

    SOCKET = "socket"
    HTTP = "http"


class Settings(BaseModel):
    """Everything that can be set; the field's name in capitals is the variable's name."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    # Discord
    discord_token: SecretStr | None = None
    discord_api_url: str | None = None
    discord_gateway_url: str | None = None
    discord_guilds: str = ""
    # Slack
    slack_bot_token: SecretStr | None = None
    slack_app_token: SecretStr | None = None
    slack_signing_secret: SecretStr | None = None
    slack_api_url: str | None = None
    slack_command_prefix: str = ""
    # Models
    llm: str | None = None
    models: str = ""
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    hf_token: SecretStr | None = None
    hf_base_url: str | None = None
    system_prompt: str = DEFAULT_SYSTEM_PROMPT
    context_tokens: int = Field(default=16_000, ge=256)
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    timezone: str | None = None
    first_token_seconds: float | None = Field(default=None, gt=0)
    between_tokens_seconds: float = Field(default=30.0, gt=0)
    reasoning: Reasoning = Reasoning.HIDDEN
    # Running
    max_concurrent_turns: int = Field(default=200, ge=1)
    max_queued_turns: int = Field(default=2_000, ge=1)
    drain_seconds: float = Field(default=25.0, ge=0)
    missed_question_hours: float = Field(default=12.0, ge=0)
    delete_reply_with_question: bool = False
    file_from_messages: int = 4
    database_url: str = "sqlite:///threadline.db"
    http_host: str = "127.0.0.1"
    http_port: int | None = Field(default=None, ge=0, le=65_535)
    http_tokens: SecretStr | None = None
    http_allowed_hosts: str = ""
    http_max_streams: int = Field(default=100, ge=1)
    web_opening: Path | None = None
    admins: str = ""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: str) -> str:
        return value.upper()

    @field_validator("reasoning", mode="before")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.lower()

    @field_validator("database_url")
    @classmethod
    def _sqlite(cls, value: str) -> str:
        if not value.startswith("sqlite:///") or value == "sqlite:///":
            raise ValueError("write sqlite:///threadline.db or sqlite:////absolute/path")
        return value

    @field_validator("discord_api_url", "slack_api_url", "openai_base_url", "hf_base_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        return _address(value, ("http", "https"))

    @field_validator("discord_gateway_url")
    @classmethod
    def _websocket(cls, value: str | None) -> str | None:
        return _address(value, ("ws", "wss"))

    @field_validator("llm", "models")
    @classmethod
    def _model_names(cls, value: str | None) -> str | None:
        for name in _split(value or ""):
            kind, _, model = name.partition(":")
            if kind not in MODEL_KINDS or (kind == "echo") == bool(model):
                raise ValueError(
                    f"{name!r} is no model: write openai:MODEL, huggingface:MODEL or echo"
                )
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        try:
            return value if value is None else ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone: write Europe/Berlin, or UTC") from None

    @field_validator("file_from_messages")
    @classmethod
    def _several(cls, value: int) -> int:
        if value < 0 or value == 1:
            raise ValueError("write 0 for never, or from how many messages on: 2 or more")
        return value

    @field_validator("http_tokens")
    @classmethod
    def _user_tokens(cls, value: SecretStr | None) -> SecretStr | None:
        pairs = _pairs(value)
        if value is not None and not pairs:
            raise ValueError("no NAME:TOKEN stands in it: add one, or leave it empty")
        names, tokens = [name for name, _ in pairs], [token for _, token in pairs]
        if not all(_USER.fullmatch(name) for name in names):
            raise ValueError("write NAME:TOKEN,NAME:TOKEN with names of letters, digits, . _ and -")
        if any(len(token) < SHORTEST_TOKEN for token in tokens):
            raise ValueError(
                f"every token must have at least {SHORTEST_TOKEN} characters; this makes one: "
                """python -c 'import secrets; print(secrets.token_urlsafe())'"""
            )
        if any(character.isspace() or not character.isascii() for character in "".join(tokens)):
            raise ValueError("a token must have no blanks and only ASCII characters")
        if len(set(names)) < len(names) or len(set(tokens)) < len(tokens):
            raise ValueError("every name and every token may stand there only once")
        return value

    @field_validator("http_allowed_hosts")
    @classmethod
    def _host_names(cls, value: str) -> str:
        for name in _split(value):
            if not _HOST.fullmatch(name):
                raise ValueError(f"{name!r}: write the name alone, such as chat.example.org")
        return value

    @field_validator("slack_bot_token", "slack_app_token")
    @classmethod
    def _not_swapped(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        kind = (value.get_secret_value() if value is not None else "").partition("-")[0]
        right = "xoxb" if info.field_name == "slack_bot_token" else "xapp"
        if kind in ("xoxb", "xapp") and kind != right:
            raise ValueError(f"a token that begins with {kind}- is another one: write {right}-…")
        return value

    @field_validator("discord_guilds")
    @classmethod
    def _guild_ids(cls, value: str) -> str:
        for name in _split(value):
            if not name.isascii() or not name.isdigit():
                raise ValueError(f"{name!r}: write the servers' ids, separated by commas")
        return value

    @field_validator("admins")
    @classmethod
    def _admin_names(cls, value: str) -> str:
        for name in _split(value):
            parts = name.split(":")
            if (parts[0], len(parts)) not in {("discord", 2), ("slack", 3), ("web", 2)}:
                raise ValueError(f"{name!r}: write discord:ID, slack:TEAM:USER or web:NAME")
        return value

    # ── what they mean together ───────────────────────────────────────────────────────────────
    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        return Path(self.database_url.removeprefix("sqlite:///"))

    @property
    def prompt(self) -> str:
        """The system prompt; "" where it is switched off."""
        return "" if self.system_prompt.lower() == NO_PROMPT else self.system_prompt

    @property
    def zone(self) -> tzinfo | None:
        """The zone whose day the model is told; None is the machine's own."""
        return ZoneInfo(self.timezone) if self.timezone else None

    @property
    def llm_chain(self) -> tuple[str, ...]:
        """The models of `LLM`, first choice first; echo when none is set."""
        return _split(self.llm or "") or ("echo",)

    @property
    def model_choices(self) -> tuple[str, ...]:
        """The models that people may choose with /model."""
        return _split(self.models)

    @property
    def discord_servers(self) -> frozenset[str]:
        """The ids of the servers that may use the bot; empty when all may."""
        return frozenset(_split(self.discord_guilds))

    @property
    def slack_mode(self) -> SlackMode | None:
        """How Slack runs, or None when it does not."""
        if self.slack_bot_token is None:
            return None
        return SlackMode.SOCKET if self.slack_app_token is not None else SlackMode.HTTP

    @property
    def has_platform(self) -> bool:
        """Whether a platform's token is set."""
        return self.discord_token is not None or self.slack_bot_token is not None

    @property
    def serves_web(self) -> bool:
        """Whether the port is open: without a platform the page and the API are all there is."""
        return self.http_port is not None or not self.has_platform

    @property
    def serves_site(self) -> bool:
        """Whether that port has the page and the API, besides /healthz and a platform's events.

        Slack's HTTP mode publishes the port, so there only tokens open them.
        """
        return self.serves_web and (bool(self.web_tokens) or self.slack_mode is not SlackMode.HTTP)

    @property
    def web_port(self) -> int:
        """Where they are served; 0 is any free port."""
        return DEFAULT_HTTP_PORT if self.http_port is None else self.http_port

    @property
    def web_tokens(self) -> Mapping[str, str]:
        """The users of the page and the API, with their tokens."""
        return dict(_pairs(self.http_tokens))

    @property
    def web_admins(self) -> tuple[str, ...]:
        """Those of them who administer."""
        names = (name.partition(":") for name in _split(self.admins))
        return tuple(name for platform, _, name in names if platform == "web")

    @property
    def web_hosts(self) -> tuple[str, ...]:
        """The names that the web adapter answers under, besides those of the loopback."""
        return (*_split(self.http_allowed_hosts), self.http_host)

    def secrets(self) -> list[str]:
        """Values that no log may show."""
        fields = (name for name in type(self).model_fields if name != "http_tokens")
        values = (getattr(self, name) for name in fields)
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        return [*secrets, *self.web_tokens.values()]

    def require_consistent(self) -> None:
        """Raise SettingsError where settings contradict each other."""
        if self.slack_bot_token is None and (self.slack_app_token or self.slack_signing_secret):
            raise SettingsError(
                "SLACK_BOT_TOKEN", "set the bot's token (xoxb-…) too, or remove the other ones"
            )
        if self.slack_bot_token and not (self.slack_app_token or self.slack_signing_secret):
            raise SettingsError(
                "SLACK_BOT_TOKEN",
                "set SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) with it",
            )
        if self.slack_mode is SlackMode.HTTP and self.http_port is None:
            raise SettingsError(
                "HTTP_PORT", "Slack's HTTP mode needs a port to listen on, such as 8080"
            )
        if self.serves_site and not self.web_tokens and not _is_loopback(self.http_host):
            raise SettingsError(
                "HTTP_TOKENS",
                f"anybody could ask on {self.http_host}: set NAME:TOKEN for each user, or let "
                "HTTP_HOST be 127.0.0.1",
            )
        if self.serves_web and not self.web_tokens and _split(self.http_allowed_hosts):
            raise SettingsError(
                "HTTP_ALLOWED_HOSTS",
                "behind a proxy anybody could ask: set HTTP_TOKENS with NAME:TOKEN for each user",
            )
        if self.has_platform and self.llm is None:
            raise SettingsError(
                "LLM",
                "set the model that answers, such as openai:gpt-5-mini "
                "(or echo, to try the connection without one)",
            )


def load(environ: Mapping[str, str], dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings from `environ` and the file `dotenv`.

    Raises SettingsError that names all wrong ones.
    """
    values: dict[str, Any] = {}
    file = env_file.read(dotenv) if dotenv is not None else {}
    for name in Settings.model_fields:
        variable = name.upper()
        given = env_file.unquoted(environ.get(variable, ""), prose=name in PROSE)
        value = given or file.get(variable, "").strip()
        if value:
            values[name] = value
    try:
        return Settings(**values)
    except ValidationError as error:
        secret = {name for name, field in Settings.model_fields.items() if _is_secret(field)}
        found = [problem_of(each, values, secret) for each in error.errors()]
        (setting, problem), *others = found
        raise SettingsError(setting, problem, others=others) from None


def unknown_names(environ: Mapping[str, str], dotenv: Path | None = Path(".env")) -> dict[str, str]:
    """Names that look like settings and are none, each with the one that is probably meant."""
    known = [name.upper() for name in Settings.model_fields]
    file = env_file.read(dotenv) if dotenv is not None else {}
    return env_file.misspelled(known, file, environ)


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _pairs(value: SecretStr | None) -> list[tuple[str, str]]:
    """NAME:TOKEN,NAME:TOKEN in its parts."""
    entries = _split(value.get_secret_value()) if value is not None else ()
    parts = (entry.partition(":") for entry in entries)
    return [(name.strip(), token.strip()) for name, _, token in parts]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(value: str | None, schemes: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.netloc:
        raise ValueError(f"{value!r} is no address: it must begin with {schemes[0]}://")
    return value
