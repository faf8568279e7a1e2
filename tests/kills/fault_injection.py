"""Injects random faults of platforms, models, networks and machines, reproducible by seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from tests.kills.shared_bots import SharedBots
from tests.kills.world import World
from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.slack.client import SlackSim

# Minimum and maximum seconds between two faults.
BETWEEN = (0.2, 1.2)
# Requests that the bot sends to each platform in a conversation.
DISCORD_PATHS = (
    "POST /api/v10/channels",
    "PATCH /api/v10/channels",
    "DELETE /api/v10/channels",
    "GET /api/v10/channels",
    "/threads",
    "/typing",
)
SLACK_PATHS = (
    "chat.postMessage",
    "chat.startStream",
    "chat.appendStream",
    "chat.stopStream",
    "chat.update",
    "chat.delete",
    "setStatus",
    "conversations.",
    "users.info",
    "apps.connections.open",
)
# Seconds. After a crash, the bot does not wait longer for requests of the dead process.
LATEST = 2.0
MODEL_FAULTS = ("rate_limited", "overloaded", "server_error")
QUESTIONS = r"\bq\d{5}\b"  # texts that contain the name of a question: see `question_name`
BREAKS = ("cut", "fin", "end", "error", "garbage")


class FaultInjector:
    """Injects faults until it is cancelled; `counts` has the number of each kind."""

    def __init__(self, world: World, rng: random.Random, said: Sequence[Any]) -> None:
        self._world, self._rng, self._said = world, rng, said
        self.counts: Counter[str] = Counter()
        sim = world.driver.sim
        self._shared = world.bot if isinstance(world.bot, SharedBots) else None
        own: tuple[tuple[int, Callable[[], Awaitable[str]]], ...]
        if isinstance(sim, DiscordSim):
            own = ((6, self._discord_fault), (3, self._gateway))
        else:
            own = ((6, self._slack_fault), (3, self._sockets), (1, self._late_acknowledgements))
        self._kinds = (
            *own,
            (4, self._redelivery),
            (2, self._model_fault),
            (1, self._model_break),
            (1, self._slow_network),
            (1, self._kill),
            *(((1, self._give_up),) if isinstance(sim, SlackSim) and self._shared else ()),
            *((weight, partial(fault, rng)) for weight, fault in world.bot.faults),
        )

    async def run(self) -> None:
        """Inject one fault after another."""
        weights = [weight for weight, _ in self._kinds]
        while True:
            await asyncio.sleep(self._rng.uniform(*BETWEEN))
            ((_, inject),) = self._rng.choices(self._kinds, weights)
            self.counts[await inject()] += 1

    async def clear(self) -> None:
        """Clear all faults."""
        for sim in (self._world.driver.sim, self._world.model):
            await sim.call("clear")
            await sim.call("rtt", seconds=0.0)
        sim = self._world.driver.sim
        if isinstance(sim, DiscordSim | SlackSim):
            await sim.online()
        if isinstance(sim, SlackSim):
            await sim.delivery(ack_seconds=2.0, given_up="")

    # ── requests ──────────────────────────────────────────────────────────────────────────────
    async def _discord_fault(self) -> str:
        wait = round(self._rng.uniform(0.1, 0.8), 3)
        limited = {
            "status": 429,
            "body": {
                "message": "You are being rate limited.",
                "retry_after": wait,
                "global": False,
            },
            "headers": {"Via": "1.1 google", "Retry-After": "1", "X-RateLimit-Scope": "shared"},
        }
        return await self._fault(DISCORD_PATHS, limited)

    async def _slack_fault(self) -> str:
        limited = {
            "status": 429,
            "body": {"ok": False, "error": "ratelimited"},
            "headers": {"Retry-After": "1"},
        }
        return await self._fault(SLACK_PATHS, limited)

    async def _fault(self, paths: Sequence[str], limited: dict[str, Any]) -> str:
        """Make the next one or two matching requests fail: 429, 5xx, a dropped connection or a
        delay."""
        rng = self._rng
        after = {"after": rng.random() < 0.5}
        done = " after it was carried out" if after["after"] else ""
        name, fault = rng.choice(
            [
                ("a platform's 429", limited),
                (f"a platform's 5xx{done}", {"status": rng.choice((500, 502, 503)), **after}),
                (f"a platform's dropped connection{done}", {"drop": True, **after}),
                ("a platform's late answer", {"delay": rng.uniform(0.3, LATEST)}),
            ]
        )
        await self._world.driver.sim.call(
            "fault", match=rng.choice(paths), times=rng.choice((1, 1, 2)), **fault
        )
        return name

    async def _slow_network(self) -> str:
        for sim in (self._world.driver.sim, self._world.model):
            await sim.call("rtt", seconds=self._rng.choice((0.0, 0.05, 0.2)))
        return "another round-trip time"

    # ── the model ─────────────────────────────────────────────────────────────────────────────
    async def _model_fault(self) -> str:
        fault = self._rng.choice(MODEL_FAULTS)
        await self._world.model.script(Answer(fault=fault, times=1, retry_after=1))
        return "a model's 429 or 5xx"

    async def _model_break(self) -> str:
        """Break the next answer within its first words, which belong to no question's answer."""
        how = self._rng.choice(BREAKS)
        await self._world.model.script(Answer(text="Hm. Well, ", breaks=how, at=2, times=1))
        return "a model's broken stream"

    # ── events ────────────────────────────────────────────────────────────────────────────────
    async def _gateway(self) -> str:
        sim = self._world.driver.sim
        assert isinstance(sim, DiscordSim)
        if self._rng.random() < 0.3:
            await sim.offline(forget=self._rng.random() < 0.5)
            await asyncio.sleep(self._rng.uniform(0.2, 1.5))
            await sim.online()
            return "an outage of the gateway"
        how = self._rng.choice(("op7", 4000, "invalid_session"))
        await sim.disconnect(how, resumable=self._rng.random() < 0.5)
        return "a disconnect"

    async def _sockets(self) -> str:
        sim = self._world.driver.sim
        assert isinstance(sim, SlackSim)
        match self._rng.randrange(3):
            case 0:
                await sim.offline()
                await asyncio.sleep(self._rng.uniform(0.2, 1.5))
                await sim.online()
                return "an outage of Socket Mode"
            case 1:
                await sim.drop()
            case _:
                await sim.disconnect(grace=self._rng.uniform(0.1, 1.0))
        return "a disconnect"

    async def _late_acknowledgements(self) -> str:
        sim = self._world.driver.sim
        assert isinstance(sim, SlackSim)
        await sim.delivery(ack_seconds=self._rng.choice((0.02, 0.1, 2.0)))
        return "another patience for acknowledgements"

    async def _redelivery(self) -> str:
        """Deliver an earlier message's event again, late and out of order."""
        if not self._said:
            return "nothing"
        said, sim = self._rng.choice(self._said), self._world.driver.sim
        if isinstance(sim, DiscordSim):
            await sim.deliver_again(said)
        else:
            assert isinstance(sim, SlackSim)
            await sim.deliver_again(said, same_event_id=self._rng.random() < 0.5)
        return "a redelivery"

    async def _give_up(self) -> str:
        """Make Slack give up the questions it sent to a process that no longer answers."""
        sim = self._world.driver.sim
        assert isinstance(sim, SlackSim)
        assert self._shared is not None
        await sim.delivery(ack_seconds=1.0, given_up=QUESTIONS)
        try:
            await self._shared.die_deaf(self._rng)
        finally:
            await sim.delivery(ack_seconds=2.0, given_up="")
        return "events that die with their process"

    # ── the machine ───────────────────────────────────────────────────────────────────────────
    async def _kill(self) -> str:
        await self._world.bot.kill()
        return "a kill"
