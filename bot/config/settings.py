"""Typed settings, read from the environment, `.env` and `threadline.toml`, in this order.

An empty value counts as not set. An invalid value raises SettingsError with the setting's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
)

from bot.config.fields import (
    AdminNames,
    ChannelNames,
    DatabaseUrl,
    DiscordToken,
    FileMessages,
    GuildIds,
    HostNames,
    HostPorts,
    HttpUrl,
    InstallationKeys,
    ModelChoices,
    ModelNames,
    ShardCount,
    SlackAppToken,
    SlackBotToken,
    SlackTeams,
    SummaryModel,
    TimeZoneName,
    Token,
    UserTokens,
    WebSocketUrl,
    database_passwords,
    split,
    split_pairs,
    split_secret,
)
from bot.config.file import ConfigFile
from bot.config.presets import KEY_VARIABLES
from bot.config.variables import Variables
from bot.domain.model import DEMO, ReasoningDisplay

DEFAULT_SYSTEM_PROMPT = (
    "You are Threadline, a helpful assistant in a team's chat. Answer in the language of the "
    "question. Be correct and brief; use Markdown where it helps."
)
NO_PROMPT = "none"
"""The value of SYSTEM_PROMPT that turns the prompt off; an empty value counts as not set."""
DEFAULT_HTTP_PORT = 8080
AUTO_SHARDS = "auto"
"""The value of DISCORD_SHARDS that uses as many shards as Discord recommends."""


class SlackMode(Enum):
    """How Slack delivers events."""

    SOCKET = "socket"
    HTTP = "http"


class Settings(BaseModel):
    """All settings; a field's name in capitals is the name of its environment variable."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    # Discord
    discord_token: DiscordToken | None = None
    discord_api_url: HttpUrl | None = None
    discord_gateway_url: WebSocketUrl | None = None
    discord_guilds: GuildIds = ""
    discord_shards: ShardCount = ""
    # Slack
    slack_bot_token: SlackBotToken | None = None
    slack_app_token: SlackAppToken | None = None
    slack_signing_secret: SecretStr | None = None
    slack_client_id: str = ""
    slack_client_secret: SecretStr | None = None
    slack_install_teams: SlackTeams = ""
    slack_redirect_uri: HttpUrl | None = None
    installation_key: InstallationKeys | None = None
    slack_api_url: HttpUrl | None = None
    slack_command_prefix: str = ""
    # Models
    llm: ModelNames | None = None
    models: ModelChoices = ""
    openai_api_key: SecretStr | None = None
    openai_base_url: HttpUrl | None = None
    hf_token: SecretStr | None = None
    hf_base_url: HttpUrl | None = None
    system_prompt: str = DEFAULT_SYSTEM_PROMPT
    context_tokens: int | None = Field(default=None, ge=256)
    summary_model: SummaryModel = ""
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    timezone: TimeZoneName | None = None
    first_token_seconds: float | None = Field(default=None, gt=0)
    between_tokens_seconds: float = Field(default=30.0, gt=0)
    reasoning: Annotated[ReasoningDisplay, BeforeValidator(str.lower)] = ReasoningDisplay.HIDDEN
    # Attachments
    attachment_max_mb: int = Field(default=20, ge=0)
    attachments_per_message: int = Field(default=10, ge=0)
    attachment_wait_seconds: float = Field(default=45.0, ge=0)
    attachment_pages: int = Field(default=100, ge=1)
    links_per_message: int = Field(default=3, ge=0)
    link_allowed_hosts: HostNames = ""
    link_denied_hosts: HostNames = ""
    link_private_hosts: HostPorts = ""
    transcription_model: str = ""
    # Running
    threadline_config: Path | None = None
    max_concurrent_turns: int = Field(default=200, ge=1)
    max_queued_turns: int = Field(default=2_000, ge=1)
    drain_seconds: float = Field(default=25.0, ge=0)
    missed_question_hours: float = Field(default=12.0, ge=0)
    delete_reply_with_question: bool = False
    file_from_messages: FileMessages = 4
    database_url: DatabaseUrl = Field(default="sqlite:///threadline.db", repr=False)
    database_listen_url: DatabaseUrl | None = Field(default=None, repr=False)
    database_connections: int = Field(default=10, ge=3, le=100)
    database_prepared_statements: bool = True
    erasure_list: Path | None = None
    http_host: str = "127.0.0.1"
    http_port: int | None = Field(default=None, ge=0, le=65_535)
    http_tokens: UserTokens | None = None
    http_allowed_hosts: HostNames = ""
    http_channels: ChannelNames = ""
    http_max_streams: int = Field(default=100, ge=1)
    web_opening: Path | None = None
    metrics_token: Token | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    admins: AdminNames = ""
    control_socket: Path | None = None
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)
    ] = "INFO"
    log_format: Literal["console", "json"] = "console"

    _variables: Variables = PrivateAttr(default_factory=Variables)
    _file: ConfigFile = PrivateAttr(default_factory=ConfigFile)

    # ── the sources ───────────────────────────────────────────────────────────────────────────
    @property
    def variables(self) -> Variables:
        """The environment and `.env`, for keys that are not settings."""
        return self._variables

    @property
    def file(self) -> ConfigFile:
        """`threadline.toml`."""
        return self._file

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the settings are read from, whether they exist or not."""
        paths = (self._variables.path, self._file.path, *self._file.prompt_paths())
        return tuple(path for path in paths if path is not None)

    # ── derived values ────────────────────────────────────────────────────────────────────────
    @property
    def uses_postgres(self) -> bool:
        """Whether the database is PostgreSQL; otherwise it is an SQLite file."""
        return not self.database_url.startswith("sqlite:")

    @property
    def database_path(self) -> Path:
        """The path of the SQLite file; with PostgreSQL, its default path.

        Local files, such as the control socket, are kept beside it.
        """
        return Path(
            "threadline.db" if self.uses_postgres else self.database_url.removeprefix("sqlite:///")
        )

    @property
    def socket_path(self) -> Path:
        """The bot's control socket. Symbolic links to one database file share it."""
        if self.control_socket is not None:
            return self.control_socket
        if not self.database_url.startswith("sqlite:"):
            return Path("threadline.sock")
        database = self.database_path.resolve()
        return database.with_name(f"{database.name}.sock")

    @property
    def attachment_bytes(self) -> int:
        """The largest size of one attachment, in bytes."""
        return self.attachment_max_mb * 1_000_000

    @property
    def prompt(self) -> str:
        """The system prompt; "" if it is turned off."""
        return "" if self.system_prompt.lower() == NO_PROMPT else self.system_prompt

    @property
    def zone(self) -> tzinfo | None:
        """The time zone for the date in the prompt; None for the machine's time zone."""
        return ZoneInfo(self.timezone) if self.timezone else None

    @property
    def llm_chain(self) -> tuple[str, ...]:
        """The models in order of preference; demo if neither `LLM` nor the file names one."""
        return split(self.llm or "") or tuple(self.file.contents.llm) or (DEMO,)

    @property
    def model_choices(self) -> tuple[str, ...]:
        """The models that people may choose with /model."""
        return split(self.models) or tuple(self.file.contents.choices)

    @property
    def discord_servers(self) -> frozenset[str]:
        """The ids of the servers that may use the bot; empty if all may."""
        return frozenset(split(self.discord_guilds))

    @property
    def slack_mode(self) -> SlackMode | None:
        """How Slack delivers events; None if Slack is not configured."""
        if not self.has_slack:
            return None
        return SlackMode.SOCKET if self.slack_app_token is not None else SlackMode.HTTP

    @property
    def has_slack(self) -> bool:
        """Whether Slack is configured, for one workspace or for any that installs the app."""
        return self.slack_bot_token is not None or bool(self.slack_client_id)

    @property
    def has_platform(self) -> bool:
        """Whether a platform's token, or an app to install, is configured."""
        return self.discord_token is not None or self.has_slack

    @property
    def install_teams(self) -> tuple[str, ...]:
        """The Slack workspaces and organizations that may install the app; `*` allows all."""
        return split(self.slack_install_teams)

    @property
    def installation_keys(self) -> tuple[str, ...]:
        """The keys that encrypt stored installations, newest first."""
        return split_secret(self.installation_key)

    @property
    def serves_web(self) -> bool:
        """Whether to open the HTTP port: if it is set, or if no platform is configured."""
        return self.http_port is not None or not self.has_platform

    @property
    def serves_metrics(self) -> bool:
        """Whether to serve /metrics: on METRICS_PORT or, with a token, on the HTTP port."""
        return self.metrics_port is not None or self.metrics_token is not None

    @property
    def serves_site(self) -> bool:
        """Whether the HTTP port serves the page and the API, in addition to /healthz and events.

        Slack's HTTP mode and the pages for installing its app make the port public, so the page and
        the API then require tokens.
        """
        is_public = self.slack_mode is SlackMode.HTTP or bool(self.slack_client_id)
        return self.serves_web and (bool(self.web_tokens) or not is_public)

    @property
    def web_port(self) -> int:
        """The HTTP port; 0 picks a free one."""
        return DEFAULT_HTTP_PORT if self.http_port is None else self.http_port

    @property
    def web_tokens(self) -> Mapping[str, str]:
        """The tokens for the page and the API, by user name."""
        return dict(split_pairs(self.http_tokens))

    @property
    def web_admins(self) -> tuple[str, ...]:
        """The user names of the page's administrators."""
        names = (name.partition(":") for name in split(self.admins))
        return tuple(name for platform, _, name in names if platform == "web")

    @property
    def web_channels(self) -> tuple[str, ...]:
        """The names of the page's shared channels."""
        return split(self.http_channels)

    @property
    def web_hosts(self) -> tuple[str, ...]:
        """The host names, in addition to loopback, that the web adapter accepts."""
        return (*split(self.http_allowed_hosts), self.http_host)

    def secrets(self) -> list[str]:
        """Values that must not reach the log."""
        lists = ("http_tokens", "installation_key")
        fields = (name for name in type(self).model_fields if name not in lists)
        values = (getattr(self, name) for name in fields)
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        addresses = (urlsplit(url) for url in (self.openai_base_url, self.hf_base_url) if url)
        passwords = {parts.password for parts in addresses if parts.password}
        for url in (self.database_url, self.database_listen_url or ""):
            passwords |= database_passwords(url)
        names = {*KEY_VARIABLES, *self.file.variables()}
        keys = {part for name in names for part in _secret_parts(self.variables.get(name))}
        secrets += self.installation_keys
        return [*secrets, *self.web_tokens.values(), *sorted((keys | passwords) - set(secrets))]


def _secret_parts(value: str) -> list[str]:
    """A key and its last word, because libraries may show a token without the `Bearer` before
    it."""
    return [value, value.split()[-1]] if value else []
