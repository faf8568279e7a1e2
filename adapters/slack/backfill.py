"""Catches up with Slack: at every start, and after the connection was lost for some minutes.

Slack redelivers an event that was not acknowledged, the last time after about six minutes. So after
a short loss nothing needs to be read: the watermarks only wait until all redeliveries are here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapters.slack.edits import EditListener
from adapters.slack.events import PLATFORM
from adapters.slack.history_reader import SlackHistoryReader
from adapters.slack.pace import ReadPace
from adapters.slack.recheck import SlackQuestions
from adapters.slack.workspace import Workspace
from bot.catchup.backfill import Backfill
from bot.catchup.watermark_saver import WatermarkSaver
from bot.domain.conversations import Conversation
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox

# How far the workspace's watermark stays behind its newest message, in microseconds: events of
# different channels arrive only roughly in the order of their ts. One minute.
LAG = 60_000_000
# Slack retries immediately, after one minute and after five more. An event from the beginning of an
# outage still arrives if the outage ends before the last retry; a minute is left for noticing that.
# https://docs.slack.dev/apis/events-api/
SHORT_OUTAGE = 240.0  # seconds
REDELIVERY_SECONDS = 420.0  # after this, no earlier event is redelivered


class SlackBackfill:
    """Decides when to read a workspace.

    `on_conversations` receives the latest conversations once, when the first reads begin.
    """

    def __init__(
        self,
        *,
        workspace: Workspace,
        inbox: Inbox,
        saver: WatermarkSaver,
        clock: Clock,
        on_conversations: Callable[[Sequence[Conversation]], None] = lambda _: None,
    ) -> None:
        self._workspace, self._tracker, self._clock = workspace, saver.tracker, clock
        self._team = workspace.me.team
        self._pace = ReadPace(clock)
        edits = EditListener(workspace=workspace, inbox=inbox)
        self._backfill = Backfill(
            platform=PLATFORM,
            inbox=inbox,
            saver=saver,
            clock=clock,
            questions=SlackQuestions(workspace=workspace, edits=edits),
        )
        self._on_conversations: Callable[[Sequence[Conversation]], None] | None = on_conversations
        self._started = False
        self._lost_at: float | None = None

    def connection_lost(self) -> None:
        """Stop the watermarks: events no longer arrive."""
        self._tracker.open_gap(self._team)
        self._lost_at = self._lost_at or self._clock.monotonic()

    async def connected(self) -> None:
        """Catch up: events arrive, for the first time or again."""
        outage = 0.0 if self._lost_at is None else self._clock.monotonic() - self._lost_at
        self._lost_at = None
        if self._started and outage < SHORT_OUTAGE:
            self._backfill.close_later(self._team, REDELIVERY_SECONDS)
            return
        self._started = True
        await self._backfill.restart()
        self._backfill.start(
            SlackHistoryReader(
                workspace=self._workspace,
                watermark=self._tracker.position_of,
                clock=self._clock,
                pace=self._pace,
                on_conversations=self._report_once,
            )
        )

    async def aclose(self) -> None:
        """Stop all reads."""
        await self._backfill.aclose()

    def _report_once(self, conversations: Sequence[Conversation]) -> None:
        if self._on_conversations is not None:
            self._on_conversations(conversations)
            self._on_conversations = None
