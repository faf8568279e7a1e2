"""REST routes of the bot's user, application, commands and DM channels, and of other users.

Commands are registered only if all of them are valid, as with Discord's bulk overwrite.
"""

from __future__ import annotations

from aiohttp import web

from tests.sims.discord import constants as c
from tests.sims.discord import errors as e
from tests.sims.discord.actions import Actions
from tests.sims.discord.commands import CHAT_INPUT, check_commands
from tests.sims.discord.http import JSON, PREFIX, body, items, number, reply
from tests.sims.discord.payloads import user_json
from tests.sims.discord.permissions import in_guild
from tests.sims.discord.state import Guild

COMMANDS = PREFIX + r"/applications/{app:\d+}/commands"
GUILD_COMMANDS = PREFIX + r"/applications/{app:\d+}/guilds/{guild:\d+}/commands"


class ApplicationRoutes:
    """The handlers; `registered` maps a guild's id, or 0 for global commands, to its commands."""

    def __init__(self, actions: Actions) -> None:
        self._actions, self._state = actions, actions.state
        self.registered: dict[int, list[JSON]] = {}
        self.fields: JSON = {"bot_public": False}

    def routes(self) -> list[web.RouteDef]:
        """All routes of this module."""
        return [
            web.get(f"{PREFIX}/users/@me", self.me),
            web.get(PREFIX + r"/users/{user:\d+}", self.user),
            web.get(f"{PREFIX}/users/@me/guilds", self.guilds),
            web.post(f"{PREFIX}/users/@me/channels", self.open_dm),
            web.get(f"{PREFIX}/oauth2/applications/@me", self.application),
            web.get(f"{PREFIX}/applications/@me", self.application),
            web.get(f"{PREFIX}/gateway", self.gateway),
            web.get(f"{PREFIX}/gateway/bot", self.gateway),
            web.get(COMMANDS, self.commands),
            web.put(COMMANDS, self.overwrite),
            web.get(GUILD_COMMANDS, self.commands),
            web.put(GUILD_COMMANDS, self.overwrite),
        ]

    async def me(self, request: web.Request) -> web.Response:
        """GET /users/@me."""
        return reply(user_json(self._state.users[c.BOT]) | {"verified": True, "mfa_enabled": False})

    async def user(self, request: web.Request) -> web.Response:
        """GET /users/{id}."""
        user = self._state.users.get(number(request, "user"))
        if user is None:
            raise e.NotFound("User")
        return reply(user_json(user))

    async def guilds(self, request: web.Request) -> web.Response:
        """GET /users/@me/guilds: with the bot's permissions as a string of bits."""
        inside = [guild for guild in self._state.guilds.values() if guild.bot_inside]
        return reply([self._partial(guild) for guild in inside])

    def _partial(self, guild: Guild) -> JSON:
        bits = in_guild(self._state, c.BOT, guild.id)
        about: JSON = {"id": str(guild.id), "name": guild.name, "features": [], "icon": None}
        return about | {"owner": False, "permissions": str(bits)}

    async def open_dm(self, request: web.Request) -> web.Response:
        """POST /users/@me/channels: the DM channel with a person, the same one each time."""
        user = self._state.users.get(int(body(request).get("recipient_id") or 0))
        if user is None:
            raise e.InvalidForm("recipient_id", "INVALID_RECIPIENT", "Unknown recipient")
        if user.bot:
            raise e.ApiError(400, 50007, "Cannot send messages to this user")
        return reply(self._actions.payloads.channel(self._state.dm(user.id)))

    async def application(self, request: web.Request) -> web.Response:
        """GET /oauth2/applications/@me; its flags show the granted intents."""
        return reply(
            {
                "id": str(c.APPLICATION),
                "name": "Threadline",
                "description": "",
                "icon": None,
                "bot_require_code_grant": False,
                "verify_key": "0" * 64,
                "owner": user_json(self._state.users[c.CAROL]),
                "team": None,
                "summary": "",
                "flags": self._actions.application_flags(),
                "bot": user_json(self._state.users[c.BOT]),
                "integration_types_config": {"0": {}},
                **self.fields,
            }
        )

    async def gateway(self, request: web.Request) -> web.Response:
        """GET /gateway/bot: the gateway's URL, the number of shards, the sessions left today."""
        shards = self._actions.gateway.shards
        limit = {
            "total": shards.total,
            "remaining": max(0, shards.remaining),
            "reset_after": shards.reset_after,
            "max_concurrency": shards.max_concurrency,
        }
        url = f"ws://{request.host}/gateway/"
        found = {"url": url, "shards": shards.recommended, "session_start_limit": limit}
        return reply(found)

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    def _scope(self, request: web.Request) -> int:
        if number(request, "app") != c.APPLICATION:
            raise e.Forbidden(
                20012, "You are not authorized to perform this action on this application"
            )
        guild = int(request.match_info.get("guild", 0))
        if guild and (guild not in self._state.guilds or not self._state.guilds[guild].bot_inside):
            raise e.missing_access()
        return guild

    async def commands(self, request: web.Request) -> web.Response:
        """GET …/commands."""
        return reply(self.registered.get(self._scope(request), []))

    async def overwrite(self, request: web.Request) -> web.Response:
        """PUT …/commands: replaces all; a command with an existing name keeps its id."""
        guild, sent = self._scope(request), items(request)
        check_commands(sent)
        old = {(x["type"], x["name"]): x["id"] for x in self.registered.get(guild, [])}
        self.registered[guild] = [self._registered(command, guild, old) for command in sent]
        return reply(self.registered[guild])

    def _registered(self, command: JSON, guild: int, old: dict[tuple[int, str], str]) -> JSON:
        kind = command.get("type", CHAT_INPUT)
        scope = {"guild_id": str(guild)} if guild else {}
        return {
            "default_member_permissions": None,
            "nsfw": False,
            "description": "",
            "contexts": None,
            "integration_types": [0],
            **command,
            **scope,
            "type": kind,
            "id": old.get((kind, command["name"])) or str(self._state.snowflake()),
            "application_id": str(c.APPLICATION),
            "version": str(self._state.snowflake()),
        }
