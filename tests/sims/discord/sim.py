"""The Discord simulator: REST under `/api/v10`, the gateway under `/gateway/`, the CDN, controls.

Each request is checked in Discord's order: ban, token, limits, then the handler. A refused request
is not applied.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from aiohttp import web

from tests.sims.discord import cdn
from tests.sims.discord import constants as c
from tests.sims.discord.actions import Actions
from tests.sims.discord.cdn import Cdn
from tests.sims.discord.controls import Controls
from tests.sims.discord.errors import ApiError, Unauthorized
from tests.sims.discord.gateway import Gateway
from tests.sims.discord.http import PREFIX, UPLOADS, read_multipart, reply
from tests.sims.discord.interactions import Interactions
from tests.sims.discord.limits import INTERACTION, SEED, LimitResult, RateLimits
from tests.sims.discord.payloads import Payloads
from tests.sims.discord.rest_application import ApplicationRoutes
from tests.sims.discord.rest_channels import ChannelRoutes
from tests.sims.discord.rest_messages import MessageRoutes
from tests.sims.discord.sessions import Session
from tests.sims.discord.state import ServerState
from tests.sims.kit import Sim

# Header of all responses through Discord's edge; discord.py takes a 429 without it for a ban.
VIA = {"Via": "1.1 google"}
BANNED = "<html><body>error code: 1015</body></html>"


class DiscordServer(Sim):
    """A simulated Discord for one bot."""

    name = "discord"

    def setup(self) -> None:
        """Create the state and add all routes and controls."""
        self.state = ServerState()
        self.limits = RateLimits()
        sys.stderr.write(f"simulated Discord: {SEED}={self.limits.seed}\n")
        self.gateway = Gateway(token=c.SIM_TOKEN, granted=self.state.granted)
        self.state.granted.add("message_content")
        self.cdn = Cdn(self.state, lambda: self.url)
        self.actions = Actions(self.state, self.gateway, Payloads(self.state, self.cdn))
        self.messages = MessageRoutes(self.actions, self.limits)
        self.interactions = Interactions(self.actions)
        self.application = ApplicationRoutes(self.actions)
        self.gateway.count_guilds = self._count_guilds
        self.gateway.on_ready = self._ready
        self.gateway.on_members = self._members
        self.busy = 0
        for part in (
            self.messages,
            self.interactions,
            self.application,
            ChannelRoutes(self.actions),
        ):
            self.app.router.add_routes(part.routes())
        self.app.router.add_get("/gateway/", self._gateway)
        self.app.router.add_get(cdn.ROUTE, self.cdn.serve)
        self.app.on_shutdown.append(self._close_sockets)
        Controls(self).offer()

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    async def read_body(self, request: web.Request) -> Any:
        """JSON, or the `payload_json` of a multipart body, whose files go to `uploads`."""
        if request.content_type == "multipart/form-data":
            payload, request[UPLOADS] = await read_multipart(request)
            return payload
        text = await request.text()
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError:
            return text  # the handler refuses it with 50109

    async def _run_handler(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith(PREFIX):
            return await super()._run_handler(request, handler)
        path = request.path.removeprefix(PREFIX)
        result = self.limits.check(request.method, path)
        if result.banned:
            text = {"Content-Type": "text/html", "Retry-After": f"{result.wait:.0f}"}
            return web.Response(status=429, body=BANNED.encode(), headers=text)
        self.busy += 1
        try:
            response = await self._check_and_handle(request, handler, path, result)
        finally:
            self.busy -= 1
        self.limits.count_response(response.status, response.headers.get("X-RateLimit-Scope"))
        return response

    async def _check_and_handle(
        self, request: web.Request, handler: Any, path: str, result: LimitResult
    ) -> web.StreamResponse:
        headers = VIA | result.headers
        try:
            self._authorize(request, path)
            if result.wait:
                raise self._limited(result)
            response: web.StreamResponse = await handler(request)
        except ApiError as error:
            if error.status == 429:
                headers["Retry-After"] = f"{error.extra['retry_after']:.0f}"
            return reply(error.body, error.status, headers)
        except web.HTTPException as error:
            text = {"message": f"{error.status}: {error.reason}", "code": 0}
            return reply(text, error.status, headers)
        response.headers.update(headers)
        return response

    def _authorize(self, request: web.Request, path: str) -> None:
        """Require the bot's token, except where the path contains an interaction's token."""
        if INTERACTION.match(path):
            return
        if request.headers.get("Authorization") != f"Bot {self.gateway.token}":
            raise Unauthorized

    @staticmethod
    def _limited(result: LimitResult) -> ApiError:
        extra = {"retry_after": round(result.wait + 0.0005, 3), "global": result.everywhere}
        text = "You are being rate limited."
        if result.headers.get("X-RateLimit-Scope") == "shared":
            text = "The resource is being rate limited."
        return ApiError(429, 0, text, **extra)

    # ── gateway ───────────────────────────────────────────────────────────────────────────────
    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        return await self.gateway.serve(request, self.rtt / 2)

    def _count_guilds(self, shard: tuple[int, int]) -> int:
        number, count = shard
        return sum(
            g.bot_inside and (g.id >> 22) % count == number for g in self.state.guilds.values()
        )

    def _ready(self, session: Session) -> None:
        mine = [g for g in self.state.guilds.values() if g.bot_inside and session.wants(0, g.id)]
        ready = self.actions.ready(f"ws://127.0.0.1:{self.port}/gateway/")
        ready["session_id"], ready["shard"] = session.id, list(session.shard)
        ready["guilds"] = [{"id": str(guild.id), "unavailable": True} for guild in mine]
        session.add("READY", ready)
        for guild in mine:
            if session.intents & c.INTENTS["guilds"]:
                session.add("GUILD_CREATE", self.actions.payloads.guild_create(guild))

    def _members(self, session: Session, data: dict[str, Any]) -> None:
        """Respond to op 8 with one chunk: members by ids, or by the beginning of their names."""
        guild = self.state.guilds[int(data["guild_id"])]
        asked = data.get("user_ids")
        wanted = {str(x) for x in asked} if isinstance(asked, list) else {str(asked)}
        start = data.get("query") or ""
        found = [
            user
            for user in guild.members
            if (str(user) in wanted if asked else self.state.users[user].name.startswith(start))
        ]
        members = [self.actions.payloads.member(guild.id, user) for user in found]
        chunk = {"guild_id": str(guild.id), "members": members, "chunk_index": 0, "chunk_count": 1}
        session.add("GUILD_MEMBERS_CHUNK", chunk | {"nonce": data.get("nonce"), "not_found": []})

    async def _close_sockets(self, _: web.Application) -> None:
        for connection in list(self.gateway.connections):
            await connection.socket.close(code=1001)
