"""Watches whether Discord still accepts the token, and stops all requests once it is revoked.

A single route may respond 401 for other reasons; a revoked token is refused everywhere.
"""

from __future__ import annotations

import asyncio

import discord
from discord.http import Route

from adapters.discord.http import Http
from bot.ports.clock import Clock

# Pause between two checks, in seconds: Discord counts invalid requests.
CHECK_SECONDS = 30.0


class TokenWatch:
    """Closes `client` and sets `revoked` once Discord refuses its token."""

    def __init__(self, *, client: discord.Client, http: Http, clock: Clock) -> None:
        self._client, self._http, self._clock = client, http, clock
        self._task: asyncio.Task[None] | None = None
        self.revoked = False

    def start(self) -> None:
        """Watch until `aclose`."""
        self._task = asyncio.create_task(self._watch(), name="token")

    async def aclose(self) -> None:
        """Stop watching."""
        if self._task is None:
            return
        if not self.revoked:  # otherwise the task is closing the client and must finish
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            self._http.token_refused.clear()
            await self._http.token_refused.wait()
            if await self._is_refused():
                self.revoked = True
                await self._client.close()
                return
            await self._clock.sleep(CHECK_SECONDS)

    async def _is_refused(self) -> bool:
        try:
            await self._http.request(Route("GET", "/users/@me"))
        except discord.HTTPException as error:
            return error.status == 401
        except Exception:  # noqa: BLE001 - no response, or an unreadable one, says nothing
            return False
        return False
