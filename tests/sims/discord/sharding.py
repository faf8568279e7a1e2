"""The gateway's rules for shards: their numbers, guilds, pauses and daily sessions.

docs/platform-facts-discord.md has the source of each fact.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

BAD_TOKEN, BAD_SHARD, TOO_MANY_GUILDS = 4004, 4010, 4011
DAY = 86_400.0
SILENT = 0
"""In place of a close code: the gateway accepts the shard's IDENTIFY and sends nothing."""


@dataclass(slots=True)
class ShardRules:
    """The rules for one bot's shards, and the sessions that it has begun.

    `recommended` is returned by GET /gateway/bot. The number of shards must be a multiple of
    `multiple_of` (for bots in more than 150,000 guilds). `refused` has close codes, or SILENT, by
    shard.
    """

    recommended: int = 1
    multiple_of: int = 1
    max_guilds: int = 2_500
    total: int = 1_000
    max_concurrency: int = 1
    identify_seconds: float = 0.0  # 5.0 at Discord; 0 is off
    refused: dict[int, int] = field(default_factory=dict)
    identifies: list[float] = field(default_factory=list)  # Unix time of each session's begin
    hasty: int = 0  # IDENTIFYs that came too soon
    _last: dict[int, float] = field(default_factory=dict)  # by max_concurrency bucket

    def refusal(self, shard: tuple[int, int], guilds: int) -> int:
        """The close code for a shard that would have this many guilds; 0 if it is valid."""
        number, count = shard
        if not 0 <= number < count or count % self.multiple_of:
            return BAD_SHARD
        if guilds > self.max_guilds:
            return TOO_MANY_GUILDS
        return self.refused.get(number, 0)

    def is_silent(self, shard: tuple[int, int]) -> bool:
        """Whether the gateway sends nothing after the shard's IDENTIFY."""
        return self.refused.get(shard[0]) == SILENT

    def too_soon(self, shard: tuple[int, int]) -> bool:
        """Whether the shard's bucket identified within the last `identify_seconds`."""
        bucket, now = shard[0] % self.max_concurrency, time.monotonic()
        if now - self._last.get(bucket, float("-inf")) < self.identify_seconds:
            self.hasty += 1
            return True
        self._last[bucket] = now
        return False

    @property
    def remaining(self) -> int:
        """How many sessions may still begin today; negative once the limit is exceeded."""
        return self.total - sum(at > time.time() - DAY for at in self.identifies)

    @property
    def reset_after(self) -> int:
        """Milliseconds until `remaining` is `total` again."""
        began = [at for at in self.identifies if at > time.time() - DAY]
        return int((began[0] + DAY - time.time()) * 1000) if began else 0
