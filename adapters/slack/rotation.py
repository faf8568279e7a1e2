"""One installation's stored token, renewed before it expires.

Invariants: renewals never overlap, not even across processes, because Slack revokes a used refresh
token; and a failed renewal affects only one workspace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import structlog
from slack_sdk.errors import SlackApiError, SlackTokenRotationError
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from adapters.slack.errors import DEAD_TOKEN, translate_error
from adapters.slack.events import PLATFORM
from adapters.slack.installations import StoredInstallation, renewed, to_bot
from adapters.slack.shared_tasks import result_of
from adapters.slack.vault import Vault
from bot.common.encryption import WrongKey
from bot.common.retry import Backoff, retry_while_unavailable
from bot.domain.errors import (
    Gone,
    LostOwnership,
    PlatformError,
    StoreUnavailable,
    Unsettled,
)

log = structlog.stdlib.get_logger(__name__)

Exclusively = Callable[[str], AbstractAsyncContextManager[None]]
"""`bot.ports.cluster.Cluster.exclusively`."""

EARLY_SECONDS = 7_200.0
"""How long before it expires a token is renewed in the background.

Slack's tokens last 12 hours; slack_sdk's default is the same 2 hours.
https://docs.slack.dev/authentication/using-token-rotation
"""

LAST_SECONDS = 60.0
"""A token that expires within this time is renewed before anything is sent: our clock may be
slow."""

ALWAYS = 10 * 365 * 24 * 60
"""In minutes, long enough that slack_sdk always renews: this module decides when, and slack_sdk
would ask another clock."""

RENEW_SECONDS = 30.0
"""How long acquiring the lock may take, and then Slack's response."""

RETRIES = Backoff(first=5.0, longest=300.0)

UNINSTALLED = "app_uninstalled"
LOCKED = "cannot_decrypt"
LOST = DEAD_TOKEN | {"invalid_refresh_token", "cannot_find_installation"}
"""Errors after which only reinstalling the app helps."""


def alone(_name: str) -> AbstractAsyncContextManager[None]:
    """`Exclusively` for a single process."""
    return nullcontext()


class StoredToken:
    """`TokenSource` for one installation."""

    remedy = "people must install the app again (/slack/install)"

    def __init__(
        self,
        *,
        workspace: str,
        vault: Vault,
        rotator: AsyncTokenRotator,
        exclusively: Exclusively = alone,
    ) -> None:
        self._workspace, self._vault, self._rotator = workspace, vault, rotator
        self._exclusively, self._clock = exclusively, vault.clock
        self._known: StoredInstallation | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._exchanging: asyncio.Task[None] | None = None
        self._failures, self._retry_at = 0, float("-inf")
        self._failure: PlatformError | None = None
        self._reports: set[asyncio.Task[None]] = set()

    async def get(self) -> str:
        """Return the token. Raises Gone if there is no installation, and Unsettled on a
        temporary failure."""
        known = self._known or await self._load()
        left = self._seconds_left(known)
        if left <= LAST_SECONDS:
            known = await self._renew()
        elif left <= EARLY_SECONDS and self._clock.monotonic() >= self._retry_at:
            self._start_renewing()
        return known.credentials.token

    async def replaced(self, refused: str) -> bool:
        """Whether another process renewed the token, or people reinstalled the app."""
        return (await self._load()).credentials.token != refused

    def report(self, refusal: str) -> None:
        """Record that Slack refuses the token, or accepts it again."""
        if self._known is not None:
            self._record(refusal, self._known.revision)

    @property
    def busy(self) -> bool:
        """Whether the database is being written to."""
        return any(not task.done() for task in self._tasks())

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {task for task in (self._renewing, self._exchanging, *self._reports) if task}

    async def aclose(self) -> None:
        """Wait for a running renewal, because the new tokens must be stored."""
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=RENEW_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ── the database ──────────────────────────────────────────────────────────────────────────
    async def _load(self) -> StoredInstallation:
        try:
            found = await self._vault.read(self._workspace)
        except StoreUnavailable as error:
            raise Unsettled(f"the token cannot be read: {error}") from error
        except WrongKey as error:
            raise Gone("INSTALLATION_KEY does not decrypt the token", code=LOCKED) from error
        if found is None:
            raise Gone(code=UNINSTALLED)
        self._known = found
        return found

    def _record(self, problem: str, revision: int) -> None:
        record = self._vault.records.record_problem(
            PLATFORM, self._workspace, revision=revision, problem=problem
        )

        async def write() -> None:
            try:
                await record
            except StoreUnavailable as error:
                log.warning("a refused token could not be recorded", error=str(error))

        task = asyncio.create_task(write(), name="slack token: record")
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    # ── renewal ───────────────────────────────────────────────────────────────────────────────
    def _seconds_left(self, stored: StoredInstallation) -> float:
        expires_at = stored.credentials.expires_at
        return float("inf") if expires_at is None else expires_at - self._clock.time()

    async def _renew(self) -> StoredInstallation:
        """Return the installation with a new token. Raises the last attempt's PlatformError."""
        if self._failure is not None and self._clock.monotonic() < self._retry_at:
            raise self._failure
        await result_of(self._start_renewing())
        if self._failure is not None:
            raise self._failure
        return self._known or await self._load()

    def _start_renewing(self) -> asyncio.Task[None]:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._try_renewing(), name="slack token: renew")
        return self._renewing

    async def _try_renewing(self) -> None:
        """Make one attempt; records its failure in `_failure`."""
        try:
            await self._renew_exclusively()
        except PlatformError as error:
            self._failures += 1
            self._failure = error
            pause = RETRIES.after(self._failures)
            self._retry_at = self._clock.monotonic() + pause
            log.error(
                "a Slack token could not be renewed",
                workspace=self._workspace,
                error=str(error),
                retry_in=pause,
            )
        else:
            self._failures, self._failure, self._retry_at = 0, None, float("-inf")

    async def _renew_exclusively(self) -> None:
        if self._exchanging is not None:  # by an attempt that lost its lock
            await asyncio.wait({self._exchanging})
        try:
            async with asyncio.timeout(RENEW_SECONDS) as limit:
                async with self._exclusively(f"slack-token/{self._workspace}"):
                    before = await self._load()  # another process may have renewed it
                    if self._seconds_left(before) > EARLY_SECONDS:
                        return
                    limit.reschedule(None)
                    await result_of(self._start_exchange(before))
                await self._load()
        except (LostOwnership, TimeoutError) as error:
            raise Unsettled("the token was not renewed in time") from error
        log.info("a Slack token was renewed", workspace=self._workspace)

    def _start_exchange(self, before: StoredInstallation) -> asyncio.Task[None]:
        """Start a task that outlives the lock: once Slack answers, the old refresh token is
        revoked."""
        self._exchanging = asyncio.create_task(self._exchange(before), name="slack token: exchange")
        self._exchanging.add_done_callback(_retrieve)
        return self._exchanging

    async def _exchange(self, before: StoredInstallation) -> None:
        """Get new tokens from Slack and store them, retrying for as long as the database fails."""
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                after = await self._ask_slack(before)
        except Gone as error:
            if (await self._load()).revision != before.revision:
                raise Unsettled("another token has replaced this one", code=error.code) from error
            self._record(error.code, before.revision)
            raise
        await retry_while_unavailable(lambda: self._vault.renew(after), self._clock.sleep)

    async def _ask_slack(self, before: StoredInstallation) -> StoredInstallation:
        try:
            bot = await self._rotator.perform_bot_token_rotation(
                bot=to_bot(before), minutes_before_expiration=ALWAYS
            )
        except SlackTokenRotationError as error:
            raise _translate(error.api_error) from error
        except Exception as error:
            # slack_sdk validates nothing: KeyError, ValueError, aiohttp's errors …
            raise translate_error(error) from error
        if bot is None or not bot.bot_token:
            raise Unsettled("Slack's answer has no bot token")
        return renewed(before, bot)


def _translate(error: SlackApiError) -> PlatformError:
    failure = translate_error(error)
    if failure.code in LOST:
        return Gone(code=failure.code)
    return Unsettled(f"Slack does not renew the token: {failure}", code=failure.code)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve the task's error: a caller that lost the lock will fail the same way on the next
    attempt."""
    if not task.cancelled():
        task.exception()
