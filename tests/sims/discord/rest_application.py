"""The bot itself over REST: its user, its application, its commands, people and DM channels.

Commands are registered only when every one of them is valid, as with Discord's bulk overwrite.
"""

from __future__ import annotations

import time

from aiohttp import web

from tests.sims.discord import constants as c
from tests.sims.discord import errors as e
from tests.sims.discord.commands import CHAT_INPUT, check_commands
from tests.sims.discord.http import JSON, PREFIX, body, items, number, reply
from tests.sims.discord.payloads import user_json
from tests.sims.discord.permissions import in_guild
from tests.sims.discord.scene import Scene
from tests.sims.discord.world import Guild

COMMANDS = PREFIX + r"/applications/{app:\d+}/commands"
GUILD_COMMANDS = PREFIX + r"/applications/{app:\d+}/guilds/{guild:\d+}/commands"
DAILY_IDENTIFIES = 1000


class ApplicationRoutes:
    """The handlers; `registered` maps a guild's id, 0 for everywhere, to its commands."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._world = scene, scene.world
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
        return reply(user_json(self._world.users[c.BOT]) | {"verified": True, "mfa_enabled": False})

    async def user(self, request: web.Request) -> web.Response:
        """GET /users/{id}."""
        user = self._world.users.get(number(request, "user"))
        if user is None:
            raise e.Missing("User")
        return reply(user_json(user))

    async def guilds(self, request: web.Request) -> web.Response:
        """GET /users/@me/guilds: with the bot's permissions as a string of bits."""
        inside = [guild for guild in self._world.guilds.values() if guild.bot_inside]
        return reply([self._partial(guild) for guild in inside])

    def _partial(self, guild: Guild) -> JSON:
        bits = in_guild(self._world, c.BOT, guild.id)
        about: JSON = {"id": str(guild.id), "name": guild.name, "features": [], "icon": None}
        return about | {"owner": False, "permissions": str(bits)}

    async def open_dm(self, request: web.Request) -> web.Response:
        """POST /users/@me/channels: the DM channel with a person, the same one each time."""
        user = self._world.users.get(int(body(request).get("recipient_id") or 0))
        if user is None:
            raise e.InvalidForm("recipient_id", "INVALID_RECIPIENT", "Unknown recipient")
        if user.bot:
            raise e.ApiError(400, 50007, "Cannot send messages to this user")
        return reply(self._scene.payloads.channel(self._world.dm(user.id)))

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
                "owner": user_json(self._world.users[c.CAROL]),
                "team": None,
                "summary": "",
                "flags": self._scene.application_flags(),
                "bot": user_json(self._world.users[c.BOT]),
                "integration_types_config": {"0": {}},
                **self.fields,
            }
        )

    async def gateway(self, request: web.Request) -> web.Response:
        """GET /gateway/bot: where to connect and how many sessions are left today."""
        gateway = self._scene.gateway
        today = [at for at in gateway.identifies if at > time.time() - 86_400]
        limit = {
            "total": DAILY_IDENTIFIES,
            "remaining": max(0, DAILY_IDENTIFIES - len(today)),
            "reset_after": 86_400_000,
            "max_concurrency": gateway.max_concurrency,
        }
        url = f"ws://{request.host}/gateway/"
        return reply({"url": url, "shards": 1, "session_start_limit": limit})

    # ── commands ──────────────────────────────────────────────────────────────────────────────
    def _scope(self, request: web.Request) -> int:
        if number(request, "app") != c.APPLICATION:
            raise e.Forbidden(
                20012, "You are not authorized to perform this action on this application"
            )
        guild = int(request.match_info.get("guild", 0))
        if guild and (guild not in self._world.guilds or not self._world.guilds[guild].bot_inside):
            raise e.missing_access()
        return guild

    async def commands(self, request: web.Request) -> web.Response:
        """GET …/commands."""
        return reply(self.registered.get(self._scope(request), []))

    async def overwrite(self, request: web.Request) -> web.Response:
        """PUT …/commands: these and no others; a command of the same name keeps its id."""
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
            "id": old.get((kind, command["name"])) or str(self._world.snowflake()),
            "application_id": str(c.APPLICATION),
            "version": str(self._world.snowflake()),
        }
