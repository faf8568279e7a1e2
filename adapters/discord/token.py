"""Whether Discord still takes the token: one refusal is looked into, and nothing is asked in vain.

A single route may answer 401 for reasons of its own; a token that was reset is refused everywhere.
"""

from __future__ import annotations

import asyncio

import discord
from discord.http import Route

from adapters.discord.http import Http
from bot.ports.clock import Clock

# The least time between two looks: invalid requests are counted.
LOOK_SECONDS = 30.0


class TokenWatch:
    """Closes `client` once its token is refused for good; `revoked` says so."""

    def __init__(self, *, client: discord.Client, http: Http, clock: Clock) -> None:
        self._client, self._http, self._clock = client, http, clock
        self._task: asyncio.Task[None] | None = None
        self.revoked = False

    def begin(self) -> None:
        """Watch from now on, until `aclose`."""
        self._task = asyncio.create_task(self._watch(), name="token")

    async def aclose(self) -> None:
        """End watching."""
        if self._task is None:
            return
        if not self.revoked:  # else it closes the client, which must not be cut off
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
            await self._clock.sleep(LOOK_SECONDS)

    async def _is_refused(self) -> bool:
        try:
            await self._http.request(Route("GET", "/users/@me"))
        except discord.HTTPException as error:
            return error.status == 401
        except Exception:  # noqa: BLE001 - no answer, or an odd one, says nothing of the token
            return False
        return False
