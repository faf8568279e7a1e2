"""The real discord.py client, pointed at the simulator.

Only its two documented addresses are replaced, and put back afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.sims.discord import constants as c
from tests.sims.discord.client import DiscordSim

ClientT = TypeVar("ClientT", bound=discord.Client)


@asynccontextmanager
async def pointed_at(sim: DiscordSim) -> AsyncIterator[None]:
    """discord.py speaks to the simulator inside this block."""
    base, gateway = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = sim.api_url, yarl.URL(sim.gateway_url)
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = base, gateway


@asynccontextmanager
async def running(sim: DiscordSim, client: ClientT) -> AsyncIterator[ClientT]:
    """`client` logged in, connected and ready; closed at the end."""
    async with pointed_at(sim), client:
        task = asyncio.create_task(client.start(c.SIM_TOKEN))
        ready = asyncio.create_task(client.wait_until_ready())
        try:
            done, _ = await asyncio.wait({task, ready}, timeout=20, return_when="FIRST_COMPLETED")
            assert ready in done, f"not connected: {task}"
            yield client
        finally:
            ready.cancel()
            await client.close()
            await asyncio.gather(task, ready, return_exceptions=True)


class PromptClient(discord.Client):
    """A client that identifies again at once: discord.py itself waits five seconds first."""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait."""


def new_client(**options: Any) -> discord.Client:
    """A client with the message-content intent that lets nothing ping.

    It is ready as soon as the guild has come, instead of two seconds later.
    """
    intents = discord.Intents.default()
    intents.message_content = True
    settings: dict[str, Any] = {
        "intents": intents,
        "allowed_mentions": discord.AllowedMentions.none(),
        "guild_ready_timeout": 0.05,
    }
    return PromptClient(**(settings | options))
