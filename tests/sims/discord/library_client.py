"""The real discord.py client, connected to the simulator through its two documented URLs."""

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
async def redirected_to(sim: DiscordSim) -> AsyncIterator[None]:
    """Connects discord.py to the simulator inside this block."""
    base, gateway = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = sim.api_url, yarl.URL(sim.gateway_url)
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = base, gateway


@asynccontextmanager
async def running(sim: DiscordSim, client: ClientT) -> AsyncIterator[ClientT]:
    """Yields `client` once it is ready, and closes it at the end."""
    async with redirected_to(sim), client:
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
    """A client that identifies without discord.py's pause of five seconds."""

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait."""


def new_client(**options: Any) -> discord.Client:
    """A client with the message-content intent whose messages ping no one.

    It is ready when the guild arrives, instead of two seconds later.
    """
    intents = discord.Intents.default()
    intents.message_content = True
    settings: dict[str, Any] = {
        "intents": intents,
        "allowed_mentions": discord.AllowedMentions.none(),
        "guild_ready_timeout": 0.05,
    }
    return PromptClient(**(settings | options))
