"""The part of `DiscordSim` for roles, categories and membership."""

from __future__ import annotations

from tests.sims.discord import constants as c
from tests.sims.discord.files_client import FilesClient


class MembersClient(FilesClient):
    """The controls of moderators."""

    async def add_role(self, name: str, *allow: str, guild: int = c.GUILD) -> int:
        """Create a role with these permissions and return its id."""
        return await self._id("add_role", name=name, allow=list(allow), guild=guild)

    async def change_role(
        self,
        role: int,
        *,
        name: str = "",
        allow: tuple[str, ...] | None = None,
        guild: int = c.GUILD,
    ) -> None:
        """Change a role's name or replace its permissions."""
        await self.call("change_role", role=role, name=name, allow=allow, guild=guild)

    async def delete_role(self, role: int, *, guild: int = c.GUILD) -> None:
        """Delete a role and take it from its members."""
        await self.call("delete_role", role=role, guild=guild)

    async def set_roles(self, user: int, *roles: int, guild: int = c.GUILD) -> None:
        """Replace the roles of a member."""
        await self.call("set_roles", user=user, roles=list(roles), guild=guild)

    async def leave_guild(self, user: int, *, guild: int = c.GUILD) -> None:
        """Leave a guild, or be removed from it."""
        await self.call("leave_guild", user=user, guild=guild)

    async def move_channel(
        self, channel: int, category: int | None = None, *, name: str | None = None
    ) -> None:
        """Move a channel to a category, or out of it, and rename it if there is a name."""
        await self.call("move_channel", channel=channel, category=category, name=name)
