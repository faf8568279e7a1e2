"""The simulator in the test's event loop: starts in milliseconds and uses the same real sockets.

For tests of the simulator and of the adapter; end-to-end tests use `DiscordSim`.
"""

from __future__ import annotations

from typing import Self

import aiohttp

from tests.sims.discord.client import DiscordSim
from tests.sims.discord.sim import DiscordServer


class LocalDiscord(DiscordSim):
    """A `DiscordSim` that always runs in this process; `server` is the running simulator."""

    server: DiscordServer

    async def __aenter__(self) -> Self:
        self.server = DiscordServer(rtt=self.rtt)
        self._runner = await self.server.start()
        self.port = self.server.port
        self._session = aiohttp.ClientSession()
        return self
