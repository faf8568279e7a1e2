"""Installations in Slack workspaces: what is stored about each, and how its tokens are encrypted.

Invariant: tokens exist only in memory and, encrypted, in the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from slack_sdk.oauth.installation_store import Bot
from slack_sdk.oauth.installation_store import Installation as SdkInstallation

from adapters.slack.events import PLATFORM, Identity
from bot.common.encryption import SecretBox
from bot.domain.installations import Installation, SealedInstallation

IDENTITY = ("bot_user", "bot", "bot_name", "host", "enterprise", "is_org")
"""The details that `identity_of` reads."""

_TOKEN, _REFRESH_TOKEN = "token", "refresh_token"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An installation's tokens. `expires_at` is in Unix seconds, None for never."""

    token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class StoredInstallation:
    """An installation with its credentials."""

    installation: Installation
    credentials: Credentials

    @property
    def revision(self) -> int:
        """See `Installation.revision`."""
        return self.installation.revision


def workspace_key(enterprise: str | None, team: str | None, *, is_org: bool | None) -> str:
    """The workspace in an installation's conversation keys; "" if the ids are missing."""
    return (enterprise if is_org else team) or ""


def identity_of(installation: Installation) -> Identity:
    """The bot's identity in this installation."""
    known = installation.details
    return Identity(
        team=installation.workspace,
        user=known.get("bot_user", ""),
        bot=known.get("bot", ""),
        name=known.get("bot_name", ""),
        host=known.get("host", ""),
        enterprise=known.get("enterprise", ""),
        is_org=is_org_wide(installation),
    )


def is_org_wide(installation: Installation) -> bool:
    """Whether the app is installed in a whole Enterprise Grid organization."""
    return bool(installation.details.get("is_org"))


def scopes_of(installation: Installation) -> Sequence[str]:
    """The scopes that people granted to the installation."""
    return tuple(filter(None, installation.details.get("scopes", "").split(",")))


def from_sdk(granted: SdkInstallation, me: Identity) -> StoredInstallation:
    """The installation granted by the OAuth flow, with the identity from auth.test."""
    is_org = bool(granted.is_enterprise_install)
    workspace = workspace_key(granted.enterprise_id, granted.team_id, is_org=is_org)
    details = {
        "app": granted.app_id or "",
        "enterprise": granted.enterprise_id or "",
        "is_org": "1" if is_org else "",
        "bot_user": me.user,
        "bot": me.bot,
        "bot_name": me.name,
        "host": me.host,
        "scopes": ",".join(granted.bot_scopes or ()),
    }
    expires_at = granted.bot_token_expires_at
    name = granted.enterprise_name if is_org else granted.team_name
    return StoredInstallation(
        Installation(
            platform=PLATFORM,
            workspace=workspace,
            name=name or workspace,
            installed_at=granted.installed_at,
            details={key: value for key, value in details.items() if value},
            expires_at=expires_at,
        ),
        Credentials(granted.bot_token or "", granted.bot_refresh_token or "", expires_at),
    )


def to_bot(stored: StoredInstallation) -> Bot:
    """Convert an installation to slack_sdk's type."""
    installation, known = stored.installation, stored.installation.details
    expires_at = stored.credentials.expires_at
    is_org = is_org_wide(installation)
    return Bot(
        app_id=known.get("app"),
        enterprise_id=known.get("enterprise"),
        enterprise_name=installation.name if is_org else None,
        team_id=None if is_org else installation.workspace,
        team_name=None if is_org else installation.name,
        bot_token=stored.credentials.token,
        bot_id=known.get("bot", ""),
        bot_user_id=known.get("bot_user", ""),
        bot_scopes=scopes_of(installation),
        bot_refresh_token=stored.credentials.refresh_token or None,
        bot_token_expires_at=None if expires_at is None else int(expires_at),
        is_enterprise_install=is_org,
        installed_at=installation.installed_at,
    )


def renewed(stored: StoredInstallation, bot: Bot) -> StoredInstallation:
    """The installation with the tokens from `bot`."""
    expires_at = bot.bot_token_expires_at
    return StoredInstallation(
        replace(stored.installation, expires_at=expires_at),
        Credentials(
            bot.bot_token,
            # docs.slack.dev/authentication/using-token-rotation: each answer has a new one.
            bot.bot_refresh_token or stored.credentials.refresh_token,
            expires_at,
        ),
    )


def seal(box: SecretBox, stored: StoredInstallation) -> str:
    """Encrypt the credentials."""
    secrets = {
        _TOKEN: stored.credentials.token,
        _REFRESH_TOKEN: stored.credentials.refresh_token,
    }
    return box.seal(_place(stored.installation), secrets)


def unseal(box: SecretBox, sealed: SealedInstallation) -> StoredInstallation:
    """Decrypt an installation's credentials. Raises WrongKey."""
    installation = sealed.installation
    secrets: Mapping[str, str] = box.open(_place(installation), sealed.sealed)
    credentials = Credentials(
        secrets.get(_TOKEN, ""), secrets.get(_REFRESH_TOKEN, ""), installation.expires_at
    )
    return StoredInstallation(installation, credentials)


def _place(installation: Installation) -> str:
    return f"{installation.platform}/{installation.workspace}"
