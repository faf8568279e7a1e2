"""The moments at which the bot can be killed, derived from a recorded run.

A kill point is one stage of a request (received, applied, answered) or of a commit (before, after).
Timing differs between runs, so a point identifies a request by its pattern and its number among the
requests that match.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tests.kills.instrumented import NOTHING
from tests.kills.process_pool import ProcessPool
from tests.kills.scenario import PATIENCE, Scenario
from tests.kills.world import BotRun, World, new_world
from tests.sims.kit import STAGES
from tests.support.transcript import Verdict

_IDS = re.compile(r"(F[0-9A-F]{9}|\d{6,})")  # Slack's files, and all of Discord's requests
# These requests are only answered when the connection ends, and by then the bot is dead.
_SOCKETS = ("/gateway/", "/link/")


class Target(Enum):
    """The component whose event triggers the kill."""

    PLATFORM = "platform"
    MODEL = "model"
    COMMIT = "commit"


@dataclass(frozen=True, slots=True)
class KillPoint:
    """One moment. `what` is a request's pattern (a regular expression) or a commit's transition."""

    on: Target
    stage: str
    what: str
    skip: int = 0
    body: str = ""

    @property
    def kind(self) -> str:
        """The category used in reports."""
        return f"{self.on.value} {self.stage}"

    def __str__(self) -> str:
        with_body = f" with {self.body!r}" if self.body else ""
        return f"{self.on.value} {self.stage} {self.what}{with_body} #{self.skip}"


@dataclass(frozen=True, slots=True)
class Recording:
    """A run without a kill: its requests to the platform and the model, and its commits."""

    platform: Sequence[Mapping[str, Any]]
    model: Sequence[Mapping[str, Any]]
    commits: Sequence[str]
    verdict: Verdict


def points_of(recording: Recording) -> list[KillPoint]:
    """Every kill point of a recorded run."""
    return [
        *_requests(Target.PLATFORM, recording.platform),
        *_requests(Target.MODEL, recording.model),
        *_commits(recording.commits),
    ]


def _requests(on: Target, record: Iterable[Mapping[str, Any]]) -> list[KillPoint]:
    seen: Counter[str] = Counter()
    points = []
    for entry in record:
        form = _form(f"{entry['method']} {entry['path']}")
        stages = STAGES[:1] if entry["path"] in _SOCKETS else STAGES
        points += [KillPoint(on, stage, form, seen[form]) for stage in stages]
        seen[form] += 1
    return points


def _form(request: str) -> str:
    """A pattern that matches the same request in another run; `split` puts the ids at odd
    indexes."""
    return "".join(
        re.escape(part) if place % 2 == 0 else r"\d+" if part.isdigit() else r"F[0-9A-F]{9}"
        for place, part in enumerate(_IDS.split(request))
    )


def _commits(labels: Iterable[str]) -> list[KillPoint]:
    seen: Counter[str] = Counter()
    points = []
    for label in labels:
        for transition in label.split("+"):
            # Killing after a transaction that wrote nothing is the same as killing before it.
            stages = ("before",) if transition == NOTHING else ("before", "after")
            points += [
                KillPoint(Target.COMMIT, when, transition, seen[transition]) for when in stages
            ]
            seen[transition] += 1
    return points


# ── trying one ────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one or more kills; `deaths` is smaller than the number of points if the run
    did not reach all of them."""

    points: tuple[KillPoint, ...]
    deaths: int
    verdict: Verdict
    notes: tuple[str, ...]
    log: str


async def record(
    platform: str, pool: ProcessPool, folder: Path, scenario_type: type[Scenario] = Scenario
) -> Recording:
    """Play the scenario without a kill."""
    commits = folder / "commits"
    async with new_world(platform, pool, folder, **scenario_type.settings) as world:
        scenario = scenario_type(world)
        await scenario.prologue()
        before = len(await world.driver.sim.requests())
        await world.bot.start(BotRun({"COMMITS_LOG": str(commits), "PLANTED": ""}))
        verdict = await scenario.play()
        return Recording(
            platform=await world.driver.sim.requests(since=before),
            model=await world.model.requests(),
            commits=commits.read_text(encoding="utf-8").split(),
            verdict=verdict,
        )


async def trial(
    points: Sequence[KillPoint],
    platform: str,
    pool: ProcessPool,
    folder: Path,
    *,
    scenario_type: type[Scenario] = Scenario,
    planted: str = "",
    patience: float = PATIENCE,
) -> Trial:
    """Play the scenario and kill the bot at each of `points`, restarting it in between.

    A planted bug stays planted after restarts. `patience` is the time limit of each wait, in
    seconds.
    """
    async with new_world(platform, pool, folder, **scenario_type.settings) as world:
        next_runs = [run_until(point, world, planted) for point in points]
        scenario = scenario_type(world, patience=patience)
        await scenario.prologue()
        world.bot.later_environ = {"PLANTED": planted}
        world.bot.next_runs = next_runs[1:]
        await world.bot.start(next_runs[0] if next_runs else None)
        verdict = await scenario.play()
        deaths, log = world.bot.deaths, world.bot.log_tail(40)
    return Trial(tuple(points), deaths, verdict, tuple(scenario.notes), log)


def run_until(point: KillPoint, world: World, planted: str = "") -> BotRun:
    """Run the process until it ends at `point`."""
    if point.on is Target.COMMIT:
        commit = f"{point.stage} {point.what} {point.skip}"
        return BotRun({"PLANTED": planted, "KILL_COMMIT": commit})
    sim = world.model if point.on is Target.MODEL else world.driver.sim

    async def arm(pid: int) -> None:
        await sim.call(
            "kill",
            pid=pid,
            stage=point.stage,
            pattern=point.what,
            skip=point.skip,
            body=point.body,
        )

    return BotRun({"PLANTED": planted}, arm)
