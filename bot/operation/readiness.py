"""/readyz: whether this process delivers replies, so that a load balancer may send it events.

A process is not ready while it drains, while its database fails, while a platform has not connected
for the first time, and while no platform is connected. With one of two platforms connected, the
process can still serve that one, so it stays ready and only names the other. A question that has
waited for long is also only named, because taking this process out of service would not answer it.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain import http_texts
from bot.domain.health import Health
from bot.domain.operation import ReadyReport, StoreLoad
from bot.operation.activity import Activity
from bot.operation.readings import Readings

PAGE, DATABASE = "web", "database"


class Readiness:
    """Reports readiness from `readings` and `activity`."""

    def __init__(self, readings: Readings, activity: Activity) -> None:
        self._readings, self._activity = readings, activity

    async def report(self) -> ReadyReport:
        """The current state; takes at most two seconds."""
        load = await self._readings.load()
        health = self._readings.sources.health()
        return ReadyReport(tuple(self._reasons(health, load)), self._details(health, load))

    def _reasons(self, health: Mapping[str, Health], load: StoreLoad | None) -> list[str]:
        reasons = [http_texts.DRAINING] if self._readings.draining else []
        if load is None or not health[DATABASE].ok:
            reasons.append(http_texts.DATABASE_FAILS)
        starting = self._readings.sources.starting()
        reasons += [http_texts.is_starting(name) for name in starting]
        # The page is always up, so it says nothing about the platforms.
        names = [name for name in self._readings.platforms if name != PAGE] or [PAGE]
        if not starting and not any(health[name].ok for name in names):
            reasons += [http_texts.not_connected(name) for name in names]
        return reasons

    def _details(self, health: Mapping[str, Health], load: StoreLoad | None) -> dict[str, object]:
        now = self._readings.clock.time()
        oldest = None
        if load is not None:
            oldest = round(max(self._readings.oldest_questions(load).values(), default=0.0), 1)
        return {
            "draining": self._readings.draining,
            "platforms": {
                name: {"ok": health[name].ok, **health[name].details}
                for name in self._readings.platforms
            },
            "database": {"ok": health[DATABASE].ok, **health[DATABASE].details},
            "last_event_seconds": _age(self._activity.last_events, now),
            "last_reply_seconds": _age(self._activity.last_replies, now),
            "oldest_waiting_question_seconds": oldest,
        }


def _age(times: Mapping[str, float], now: float) -> float | None:
    """Seconds since the latest of `times`; None if nothing has happened since the start."""
    return round(max(0.0, now - max(times.values())), 1) if times else None
