"""Serves with one client of discord.py after the other, until Discord refuses the bot for good."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import aiohttp
import discord
import structlog

from adapters.discord.client import ThreadlineClient
from adapters.discord.doctor import INTENT_ADVICE, TOKEN_ADVICE
from adapters.discord.errors import attempt
from adapters.discord.listeners import MessageListener
from adapters.discord.rest import RestApi
from adapters.discord.session_starts import SessionStarts
from adapters.discord.shards import TOO_MANY_GUILDS
from adapters.discord.token import TokenWatch
from bot.common.retry import Backoff
from bot.domain.errors import CannotStart, PlatformError, Unsettled
from bot.domain.health import Health
from bot.ports.cluster import Cluster
from bot.ports.inbox import Inbox

log = structlog.stdlib.get_logger(__name__)

# How long to wait for messages that are being accepted when the adapter stops, in seconds.
LAST_MESSAGES_SECONDS = 5.0
LOGIN_BACKOFF = Backoff(first=1.0, longest=30.0)

AUTHENTICATION_FAILED, INVALID_SHARD = 4004, 4010  # documented close codes
# The gateway has refused valid tokens during outages, so another login has to confirm a refusal, at
# most this many times within REFUSAL_SECONDS.
MAX_REFUSALS, REFUSAL_SECONDS = 3, 600.0


class ClientRunner:
    """Logs in, decides the number of shards, and connects; `client` is the one that serves.

    The processes of `cluster` divide `shards` among themselves; None: as many as Discord
    recommends.
    """

    def __init__(self, *, token: str, rest: RestApi, cluster: Cluster, shards: int | None) -> None:
        self._token, self._rest, self._cluster = token, rest, cluster
        self._shards = shards
        self._refused_shards = 0  # a number that Discord found too small
        self._may_request_members = True
        self._was_accepted = False  # whether Discord has ever accepted the token
        self._refusals: deque[float] = deque(maxlen=MAX_REFUSALS)
        self.client: ThreadlineClient | None = None

    async def run(
        self,
        inbox: Inbox,
        *,
        make_client: Callable[[], ThreadlineClient],
        make_listener: Callable[[], MessageListener],
    ) -> None:
        """Serve until cancelled. Raises CannotStart with advice."""
        for pause in LOGIN_BACKOFF:
            await self._serve(inbox, make_client(), make_listener())
            log.warning("Discord cannot be reached, retrying", seconds=pause)
            await self._rest.clock.sleep(pause)

    async def _serve(
        self, inbox: Inbox, client: ThreadlineClient, listener: MessageListener
    ) -> None:
        """Serve with one client until cancelled; returns if Discord cannot be reached."""
        client.listener = listener
        token = TokenWatch(client=client, http=client.http_client, clock=self._rest.clock)
        self.client = client
        try:
            await _log_in(client, self._token, self._rest.timeouts.login)
            self._was_accepted = True
            self._may_request_members = self._may_request_members and client.request_members()
            self._rest.connect(client, inbox)
            await self._set_shards(client)
            token.start()
            await client.connect()
        except discord.LoginFailure as error:
            raise CannotStart(self._token_problem()) from error
        except discord.PrivilegedIntentsRequired as error:
            if self._may_request_members:  # it was taken away since the login
                self._may_request_members = False
                return
            raise CannotStart(f"The message content intent is off: {INTENT_ADVICE}") from error
        except discord.ConnectionClosed as error:
            if error.code == TOO_MANY_GUILDS and client.shard_count != self._refused_shards:
                self._refused_shards = client.shard_count or 0
                return  # with as many as Discord recommends now
            if error.code == AUTHENTICATION_FAILED and self._may_log_in_again():
                return
            raise _cannot_reconnect(error) from error
        except (OSError, aiohttp.ClientError, discord.GatewayNotFound, PlatformError) as e:
            log.warning("Discord failed", error=str(e) or repr(e))
        finally:
            await token.aclose()
            await listener.backfills.aclose()
            await listener.drain(LAST_MESSAGES_SECONDS)
            self._rest.disconnect()
            self.client = None
            await client.close()
        if token.revoked:
            raise CannotStart(self._token_problem())

    def _may_log_in_again(self) -> bool:
        """Whether another login may tell if Discord really refuses the token."""
        now = self._rest.clock.monotonic()
        oldest = self._refusals[0] if len(self._refusals) == MAX_REFUSALS else -math.inf
        self._refusals.append(now)
        return now - oldest > REFUSAL_SECONDS

    def _token_problem(self) -> str:
        problem = "no longer accepts" if self._was_accepted else "refused"
        return f"Discord {problem} DISCORD_TOKEN: {TOKEN_ADVICE}"

    async def _set_shards(self, client: ThreadlineClient) -> None:
        """Decide the number of shards. Raises a PlatformError if Discord must be asked and cannot
        answer.
        """
        starts = SessionStarts(
            rest=self._rest, cluster=self._cluster, application=client.application_id or 0
        )
        count = self._shards
        if count is None or self._refused_shards:
            count = max((await starts.read()).shards, count or 1)
            log.info("Discord recommends shards", shards=count)
        client.set_shards(count, starts)

    def health(self) -> Health:
        """Healthy while each shard of this process is connected, also without any."""
        client, shards = self.client, self.client.shards if self.client is not None else None
        if client is None or shards is None:
            return Health(ok=False, details={"gateway": "not connected"})
        details = shards.describe()
        if not shards.is_connected:
            return Health(ok=False, details=details)
        details["guilds"] = str(len(client.guilds))
        if math.isfinite(shards.latency):  # infinite before the first heartbeat
            details["latency"] = f"{shards.latency * 1000:.0f} ms"
        return Health(ok=True, details=details)


async def _log_in(client: discord.Client, token: str, seconds: float) -> None:
    """Log in. Raises LoginFailure if Discord refuses the token, otherwise a PlatformError."""
    try:
        await attempt(client.login(token), within=seconds)
    except Unsettled as error:
        if isinstance(error.__cause__, discord.LoginFailure):
            raise error.__cause__ from None
        raise


def _cannot_reconnect(error: discord.ConnectionClosed) -> CannotStart:
    if error.code == AUTHENTICATION_FAILED:
        return CannotStart(f"Discord no longer accepts DISCORD_TOKEN: {TOKEN_ADVICE}")
    if error.code in (INVALID_SHARD, TOO_MANY_GUILDS):
        return CannotStart(
            f"Discord refused the number of shards (code {error.code}): set DISCORD_SHARDS=auto."
        )
    return CannotStart(f"Discord closed the connection for good (code {error.code}).")
