"""Where a bot can be killed: derived from a recorded run, never placed by hand.

A point is a moment of one request (received, applied, answered) or of one commit (before, after).
Runs differ in their timing, so a request is named by its form and by how many of that form came
before it.
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
from tests.kills.script import PATIENCE, Scene
from tests.kills.world import Life, World, new_world
from tests.sims.kit import STAGES
from tests.support.transcript import Verdict

_IDS = re.compile(r"\d{6,}")
# They are answered when the connection ends: when the bot is dead already.
_SOCKETS = ("/gateway/", "/link/")


class On(Enum):
    """Whose moment it is."""

    PLATFORM = "platform"
    MODEL = "model"
    COMMIT = "commit"


@dataclass(frozen=True, slots=True)
class Point:
    """One moment. `what` is a request's form (a regular expression) or a commit's transition."""

    on: On
    stage: str
    what: str
    skip: int = 0
    body: str = ""

    @property
    def kind(self) -> str:
        """What it is counted as in reports."""
        return f"{self.on.value} {self.stage}"

    def __str__(self) -> str:
        with_body = f" with {self.body!r}" if self.body else ""
        return f"{self.on.value} {self.stage} {self.what}{with_body} #{self.skip}"


@dataclass(frozen=True, slots=True)
class Recording:
    """A run without a kill: what it asked of the platform and of the model, and its commits."""

    platform: Sequence[Mapping[str, Any]]
    model: Sequence[Mapping[str, Any]]
    commits: Sequence[str]
    verdict: Verdict


def points_of(recording: Recording) -> list[Point]:
    """Every moment of a recorded run."""
    return [
        *_requests(On.PLATFORM, recording.platform),
        *_requests(On.MODEL, recording.model),
        *_commits(recording.commits),
    ]


def _requests(on: On, record: Iterable[Mapping[str, Any]]) -> list[Point]:
    seen: Counter[str] = Counter()
    points = []
    for entry in record:
        form = _form(f"{entry['method']} {entry['path']}")
        stages = STAGES[:1] if entry["path"] in _SOCKETS else STAGES
        points += [Point(on, stage, form, seen[form]) for stage in stages]
        seen[form] += 1
    return points


def _form(request: str) -> str:
    return r"\d+".join(re.escape(part) for part in _IDS.split(request))


def _commits(labels: Iterable[str]) -> list[Point]:
    seen: Counter[str] = Counter()
    points = []
    for label in labels:
        for transition in label.split("+"):
            # A transaction that wrote nothing has no after that differs from its before.
            stages = ("before",) if transition == NOTHING else ("before", "after")
            points += [Point(On.COMMIT, when, transition, seen[transition]) for when in stages]
            seen[transition] += 1
    return points


# ── trying one ────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Trial:
    """What came of kills; `deaths` is less than the points that the run never reached."""

    points: tuple[Point, ...]
    deaths: int
    verdict: Verdict
    notes: tuple[str, ...]
    log: str


async def record(
    platform: str, nursery: ProcessPool, folder: Path, scenery: type[Scene] = Scene
) -> Recording:
    """Play the scene without a kill."""
    commits = folder / "commits"
    async with new_world(platform, nursery, folder, **scenery.settings) as world:
        scene = scenery(world)
        await scene.prologue()
        before = len(await world.stage.sim.requests())
        await world.bot.start(Life({"COMMITS_LOG": str(commits), "PLANTED": ""}))
        verdict = await scene.play()
        return Recording(
            platform=await world.stage.sim.requests(since=before),
            model=await world.model.requests(),
            commits=commits.read_text(encoding="utf-8").split(),
            verdict=verdict,
        )


async def trial(
    points: Sequence[Point],
    platform: str,
    nursery: ProcessPool,
    folder: Path,
    *,
    scenery: type[Scene] = Scene,
    planted: str = "",
    patience: float = PATIENCE,
) -> Trial:
    """Play the scene and kill the bot at the first of `points`, started again at the next, …

    A planted bug stays over the restarts. `patience` is how long people wait for anything, in
    seconds.
    """
    async with new_world(platform, nursery, folder, **scenery.settings) as world:
        lives = [life_of(point, world, planted) for point in points]
        scene = scenery(world, patience=patience)
        await scene.prologue()
        world.bot.later = {"PLANTED": planted}
        world.bot.lives = lives[1:]
        await world.bot.start(lives[0] if lives else None)
        verdict = await scene.play()
        deaths, log = world.bot.deaths, world.bot.log_tail(40)
    return Trial(tuple(points), deaths, verdict, tuple(scene.notes), log)


def life_of(point: Point, world: World, planted: str = "") -> Life:
    """A life that ends at `point`."""
    if point.on is On.COMMIT:
        commit = f"{point.stage} {point.what} {point.skip}"
        return Life({"PLANTED": planted, "KILL_COMMIT": commit})
    sim = world.model if point.on is On.MODEL else world.stage.sim

    async def aim(pid: int) -> None:
        await sim.call(
            "kill",
            pid=pid,
            stage=point.stage,
            pattern=point.what,
            skip=point.skip,
            body=point.body,
        )

    return Life({"PLANTED": planted}, aim)
