"""The database's encrypted installations, for slack_sdk's flow and the token sources."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from logging import Logger

import structlog
from slack_bolt.error import BoltError
from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore

from adapters.slack.api import quiet_logger
from adapters.slack.events import PLATFORM, Identity
from adapters.slack.installations import (
    StoredInstallation,
    from_sdk,
    renewed,
    seal,
    to_bot,
    unseal,
    workspace_key,
)
from bot.common.encryption import SecretBox, WrongKey
from bot.domain import install_texts
from bot.domain.errors import CannotStart
from bot.domain.installations import Installation as KnownInstallation
from bot.ports.clock import Clock
from bot.ports.installations import InstallationStore

log = structlog.stdlib.get_logger(__name__)

ANYWHERE = "*"
"""The value of SLACK_INSTALL_TEAMS that lets every workspace install the app."""


class InstallRefused(BoltError):
    """The installation must not be stored. `reason` is one of `oauth_pages.FAILURES`."""

    def __init__(self, reason: str, workspace: str = "") -> None:
        super().__init__(reason)
        self.reason, self.workspace = reason, workspace


class Vault:
    """Reads and writes installations with their tokens. Methods raise StoreUnavailable."""

    def __init__(self, *, records: InstallationStore, box: SecretBox, clock: Clock) -> None:
        self.records, self.clock, self._box = records, clock, box

    async def read(self, workspace: str) -> StoredInstallation | None:
        """Read an installation. Raises WrongKey."""
        found = await self.records.read(PLATFORM, workspace)
        return None if found is None else unseal(self._box, found)

    async def save(self, stored: StoredInstallation) -> int:
        """Store an installation in place of any earlier one; returns its revision."""
        return await self.records.save(stored.installation, seal(self._box, stored))

    async def renew(self, stored: StoredInstallation) -> bool:
        """Store new credentials, unless those of `stored.revision` have since been replaced."""
        return await self.records.renew(
            PLATFORM,
            stored.installation.workspace,
            revision=stored.revision,
            sealed=seal(self._box, stored),
            expires_at=stored.credentials.expires_at,
        )

    async def unlock(self) -> Sequence[KnownInstallation]:
        """Return all installations, re-encrypting their credentials with the newest key.

        An installation that no key decrypts stays unchanged, and its workspace is down. Raises
        CannotStart if that is true of all of them.
        """
        every = await self.records.list_sealed(PLATFORM)
        locked = 0
        for each in every:
            try:
                stored = unseal(self._box, each)
            except WrongKey:
                locked += 1
                log.error("no key decrypts an installation", workspace=each.installation.workspace)
                continue
            if not self._box.is_current(each.sealed):
                await self.renew(stored)
        if every and locked == len(every):
            raise CannotStart(install_texts.WRONG_KEY)
        return await self.records.list_installations(PLATFORM)


class SlackInstallationStore(AsyncInstallationStore):
    """slack_sdk's interface to the installations.

    `teams` are the workspaces and organizations that may install the app; those that have it may
    install it again. `identify` calls auth.test with a token, `give_back` returns a token to Slack,
    and `saved` is awaited with the workspace of each new installation.
    """

    def __init__(
        self,
        *,
        vault: Vault,
        teams: Sequence[str],
        identify: Callable[[str], Awaitable[Identity]],
        give_back: Callable[[str], Awaitable[object]],
        saved: Callable[[str], Awaitable[None]],
    ) -> None:
        self._vault, self._teams = vault, frozenset(teams)
        self._identify, self._give_back, self._saved = identify, give_back, saved

    @property
    def logger(self) -> Logger:
        """The logger for Slack's libraries."""
        logger: logging.Logger = quiet_logger()
        return logger

    async def async_save(self, installation: Installation) -> None:
        """Store the installation that the flow was granted. Raises InstallRefused."""
        workspace = workspace_key(
            installation.enterprise_id,
            installation.team_id,
            is_org=installation.is_enterprise_install,
        )
        if not workspace or not installation.bot_token:
            raise InstallRefused("no_bot_token", workspace)
        if not await self._may_install(workspace, installation.enterprise_id or ""):
            await self._give_back(installation.bot_token)
            raise InstallRefused("not_allowed", workspace)
        installation.installed_at = self._vault.clock.time()
        stored = from_sdk(installation, await self._identify(installation.bot_token))
        await self._vault.save(stored)
        log.info("a Slack workspace installed the app", workspace=workspace)
        await self._saved(workspace)

    async def _may_install(self, workspace: str, enterprise: str) -> bool:
        if self._teams & {ANYWHERE, workspace, enterprise}:
            return True
        return await self._vault.records.read(PLATFORM, workspace) is not None

    async def async_save_bot(self, bot: Bot) -> None:
        """Store an installation's renewed tokens."""
        stored = await self._find(bot.enterprise_id, bot.team_id, bot.is_enterprise_install)
        if stored is not None:
            await self._vault.renew(renewed(stored, bot))

    async def async_find_bot(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        is_enterprise_install: bool | None = False,
    ) -> Bot | None:
        """The bot of a workspace or an organization."""
        stored = await self._find(enterprise_id, team_id, is_enterprise_install)
        return None if stored is None else to_bot(stored)

    async def async_find_installation(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None = None,
        is_enterprise_install: bool | None = False,
    ) -> Installation | None:
        """The bot as an installation: the app never asks for a person's token."""
        bot = await self.async_find_bot(
            enterprise_id=enterprise_id,
            team_id=team_id,
            is_enterprise_install=is_enterprise_install,
        )
        return None if bot is None else Installation(user_id="", **bot.to_dict_for_copying())

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Remove a workspace's installation or, without a workspace, an organization's."""
        workspace = workspace_key(enterprise_id, team_id, is_org=team_id is None)
        now = self._vault.clock.time()
        await self._vault.records.remove(PLATFORM, workspace, installed_until=now)

    async def async_delete_installation(
        self, *, enterprise_id: str | None, team_id: str | None, user_id: str | None = None
    ) -> None:
        """Do nothing: a person's part of an installation is not stored."""

    async def _find(
        self, enterprise: str | None, team: str | None, is_org: bool | None
    ) -> StoredInstallation | None:
        workspace = workspace_key(enterprise, team, is_org=is_org)
        return await self._vault.read(workspace) if workspace else None
