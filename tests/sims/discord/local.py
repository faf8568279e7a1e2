"""The simulator inside the test's own loop: starts in milliseconds, over the same real sockets.

For tests of the simulator and of an adapter in one process; end-to-end tests use `DiscordSim`.
"""

from __future__ import annotations

from typing import Self

import aiohttp

from tests.sims.discord.client import DiscordSim
from tests.sims.discord.sim import DiscordSimulator


class LocalDiscord(DiscordSim):
    """A `DiscordSim` that is no process of its own; `simulator` is the running one."""

    def __init__(self, *, rtt: float = 0.0) -> None:
        super().__init__(rtt=rtt)
        self.simulator = DiscordSimulator(rtt=rtt)

    async def __aenter__(self) -> Self:
        self._runner = await self.simulator.start()
        self.port = self.simulator.port
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._runner.cleanup()
