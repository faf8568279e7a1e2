"""Controls for roles, categories and guild membership.

GUILD_MEMBER_UPDATE and GUILD_MEMBER_REMOVE need the members intent; a member's roles in message
events and from REST need none.
"""

from __future__ import annotations

from typing import Any

from tests.sims.discord import constants as c
from tests.sims.discord.actions import Actions
from tests.sims.discord.payloads import role_json, user_json
from tests.sims.discord.people import People, refused
from tests.sims.discord.permissions import bits
from tests.sims.discord.state import Channel, Guild, Role

JSON = dict[str, Any]


class Membership:
    """The controls of moderators."""

    def __init__(self, actions: Actions, people: People) -> None:
        self._actions, self._people, self._state = actions, people, actions.state

    # ── roles ─────────────────────────────────────────────────────────────────────────────────
    def add_role(self, name: str, allow: list[str] | None = None, guild: int = c.GUILD) -> int:
        """Create a role with these permissions and return its id."""
        role = Role(self._state.snowflake(), name, bits(allow or []))
        self._state.guilds[guild].roles[role.id] = role
        self._tell_role("GUILD_ROLE_CREATE", guild, {"role": role_json(role)})
        return role.id

    def change_role(
        self, role: int, name: str = "", allow: list[str] | None = None, guild: int = c.GUILD
    ) -> None:
        """Change a role's name or replace its permissions."""
        found = self._state.guilds[guild].roles[role]
        found.name = name or found.name
        found.permissions = found.permissions if allow is None else bits(allow)
        self._tell_role("GUILD_ROLE_UPDATE", guild, {"role": role_json(found)})

    def delete_role(self, role: int, guild: int = c.GUILD) -> None:
        """Delete a role and take it from its members."""
        found = self._state.guilds[guild]
        del found.roles[role]
        for roles in found.members.values():
            if role in roles:
                roles.remove(role)
        self._tell_role("GUILD_ROLE_DELETE", guild, {"role_id": str(role)})

    def _tell_role(self, name: str, guild: int, data: JSON) -> None:
        data |= {"guild_id": str(guild)}
        self._actions.gateway.dispatch(name, data, intents=c.INTENTS["guilds"], guild=guild)

    # ── members ───────────────────────────────────────────────────────────────────────────────
    def set_roles(self, user: int, roles: list[int], guild: int = c.GUILD) -> None:
        """Replace the roles of a member."""
        found = self._guild_of(user, guild)
        if unknown := set(roles) - set(found.roles):
            raise refused(f"no roles {unknown}")
        found.members[user] = list(roles)
        data = self._actions.payloads.member(guild, user) | {"guild_id": str(guild)}
        self._tell_members("GUILD_MEMBER_UPDATE", guild, data)

    def leave_guild(self, user: int, guild: int = c.GUILD) -> None:
        """Leave a guild, or be removed from it."""
        del self._guild_of(user, guild).members[user]
        data = {"guild_id": str(guild), "user": user_json(self._state.users[user])}
        self._tell_members("GUILD_MEMBER_REMOVE", guild, data)

    def _guild_of(self, user: int, guild: int) -> Guild:
        found = self._state.guilds[guild]
        if user not in found.members:
            raise refused(f"{user} is no member")
        return found

    def _tell_members(self, name: str, guild: int, data: JSON) -> None:
        self._actions.gateway.dispatch(name, data, intents=c.INTENTS["members"], guild=guild)

    # ── places ────────────────────────────────────────────────────────────────────────────────
    def move_channel(
        self, channel: int, category: int | None = None, name: str | None = None
    ) -> None:
        """Move a channel to a category, or out of it, and rename it if there is a name."""
        found: Channel = self._people.channel_of(channel)
        found.category = category
        found.name = found.name if name is None else name
        self._actions.tell_channel("CHANNEL_UPDATE", found)
