"""Measures how long the turns of killed processes wait for another process."""

from __future__ import annotations

import asyncio
import time

from tests.kills.shared_bots import JOINED, SharedBots

PAUSE = 0.1  # seconds between two checks


class TakeOvers:
    """Watches `bots` while `run` runs; `seconds` has each take-over, from the death to the claim.

    If a turn is a suspect that another process may not claim yet, that wait is included.
    """

    def __init__(self, bots: SharedBots) -> None:
        self._bots, self.seconds = bots, list[float]()
        self._deaths = [0] * len(bots.bots)
        self._died: dict[str, float] = {}  # by process
        self._waiting: dict[int, float] = {}  # since when, by turn

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            self._note_deaths()
            self._look()
            await asyncio.sleep(PAUSE)

    def _note_deaths(self) -> None:
        for number, bot in enumerate(self._bots.bots):
            if bot.deaths > self._deaths[number]:
                self._deaths[number] = bot.deaths
                # The next run has not joined yet: starting takes longer than the interval between
                # checks.
                log = (bot.folder / "bot.log").read_text(errors="replace")
                if joined := JOINED.findall(log):
                    self._died.setdefault(joined[-1], time.monotonic())

    def _look(self) -> None:
        rows = self._bots.query("SELECT id, holder FROM turns WHERE state <> 'done'")
        held = dict(rows)
        for turn, holder in held.items():
            if holder in self._died:
                self._waiting.setdefault(turn, self._died[holder])
            elif holder is not None and turn in self._waiting:
                self.seconds.append(time.monotonic() - self._waiting.pop(turn))
        if rows:  # also none while the database is down
            self._waiting = {turn: at for turn, at in self._waiting.items() if turn in held}
