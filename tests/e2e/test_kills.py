"""The bot dies by SIGKILL at any moment, and nobody notices but by a pause.

The moments come from a recorded run (`tests.kills.points`), and what people saw is judged by
`tests.support.judge`. A sample runs here, all of them in `make soak`; `KILL_SECONDS` ends it early.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.kills.campaign import Report, campaign
from tests.kills.control import Control
from tests.kills.points import On, Point, points_of, record
from tests.kills.process_pool import ProcessPool
from tests.kills.script import Scene
from tests.kills.world import new_world
from tests.sims.kit import SimProcess

SECONDS = float(os.environ.get("KILL_SECONDS") or "inf")
IN_A_ROW = 100
# What a bot does to its database, and what each platform is asked for, in the scene.
TRANSITIONS: dict[type[Scene], set[str]] = {
    Scene: {"accept", "claim", "intend", "shown", "conclude", "finish", "reset", "command"},
    Control: {"again", "stop", "edit", "erase", "removed", "reset", "undo", "command"},
}
OUTCOMES: dict[type[Scene], dict[str, int]] = {
    Scene: {"answered": 9},
    Control: {"answered": 7, "stopped": 1},
}
POST = {
    "discord": r"POST .*/channels/\d+/messages",
    "slack": r"POST /api/chat\.(?:startStream|postMessage)",
    "slack by edits": r"POST /api/chat\.postMessage",
}
# What brings the last text of a short answer; a stream's close has the rest of it, if any.
LAST = {
    "discord": (r"PATCH .*/messages/\d+", "q00003w0011"),
    "slack": (r"POST /api/chat\.stopStream", ""),
    "slack by edits": (r"POST /api/chat\.update", "q00003w0011"),
}
READ = {
    "discord": r"GET .*/channels/\d+/messages",
    "slack": r"GET .*/conversations\.history",
    "slack by edits": r"GET .*/conversations\.history",
}


def traps(platform: str) -> list[Point]:
    """Where a bot that does not keep its promises is caught most often."""
    what, words = LAST[platform]
    return [
        # The first page, and the second, are there, and the bot does not know it.
        Point(On.PLATFORM, "applied", POST[platform], body="q00001"),
        Point(On.PLATFORM, "applied", POST[platform], body="q00001", skip=1),
        # The last text is there; or it is not.
        Point(On.PLATFORM, "applied", what, body=words),
        Point(On.PLATFORM, "received", what, body=words),
        # What was missed is being read.
        Point(On.PLATFORM, "answered", READ[platform]),
        # Each step of a turn, not yet on the disk or just so.
        Point(On.COMMIT, "before", "accept", skip=1),
        Point(On.COMMIT, "after", "claim", skip=2),
        Point(On.COMMIT, "before", "conclude", skip=1),
        Point(On.COMMIT, "after", "conclude", skip=2),
        Point(On.COMMIT, "before", "finish", skip=1),
        Point(On.COMMIT, "before", "command"),
    ]


def changes_of_mind(platform: str) -> list[Point]:
    """Where what somebody wished could be lost, or done twice."""
    return [
        *(Point(On.COMMIT, "before", what) for what in ("again", "stop", "edit", "erase", "undo")),
        *(Point(On.COMMIT, "after", what) for what in ("again", "stop", "edit", "erase")),
        Point(On.COMMIT, "after", "removed"),
        # The last text of an answer that was asked for once more.
        Point(On.PLATFORM, "applied", ".*", body="q00001w0011", skip=1),
    ]


@pytest.fixture
async def nursery() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as nursery:
        yield nursery


@pytest.fixture(params=["discord", "slack", "slack by edits"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def accept(report: Report, figures: Callable[[object], None]) -> None:
    """Show the figures, and fail on anything that was found."""
    figures(report)
    assert not report.broken, report.broken
    assert not report.failed, f"{report}\n{report.failures()}"


async def test_kills_at_the_classic_traps_lose_double_and_cut_nothing(
    platform: str, nursery: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """Every question one whole answer in its place, the history right, no sign of work left."""
    kills = [[trap] for trap in traps(platform)]
    # The second kill comes while the first is being made up for.
    kills.append([*kills[0], Point(On.COMMIT, "after", "claim", skip=0)])
    report = await campaign(kills, platform, nursery, tmp_path)
    accept(report, figures)
    assert [t.points for t in report.trials if t.deaths != len(t.points)] == []


@pytest.mark.parametrize("platform", ["discord", "slack"])  # `make soak` has the third
async def test_kills_while_people_change_their_minds_lose_nothing_that_they_did(
    platform: str, nursery: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """A retry, a stop, an edit, a deletion and an undo are done once, whatever dies in between."""
    kills = [[point] for point in changes_of_mind(platform)]
    accept(await campaign(kills, platform, nursery, tmp_path, scenery=Control), figures)


async def test_a_post_that_was_on_its_way_when_the_bot_died_is_not_made_twice(
    platform: str, nursery: ProcessPool, tmp_path: Path
) -> None:
    """The platform carries it out when the next life has already looked for it."""
    async with new_world(platform, nursery, tmp_path) as world:
        scene = Scene(world)
        await scene.first_start()
        for match in ("POST /api/v10/channels", "chat.startStream", "chat.postMessage"):
            await world.stage.sim.call("fault", match=match, times=3, delay=1.5)
        await world.bot.start()
        await world.connected()
        question = await scene.begin("what is it?")
        await scene.until(lambda: under_way(world.stage.sim, platform), "the post")
        await world.bot.kill()
        await scene.answered(question)
        await scene.until(lambda: carried_out(world.stage.sim, platform), "both posts")
        await scene.settle()
        verdict = await scene.verdict()
    assert world.bot.deaths == 1
    assert not verdict.faults, verdict


async def under_way(sim: SimProcess, platform: str) -> bool:
    """Whether a post came and is not carried out."""
    return any(
        request["applied"] is None
        and re.fullmatch(POST[platform], f"{request['method']} {request['path']}")
        for request in await sim.requests("POST")
    )


async def carried_out(sim: SimProcess, platform: str) -> bool:
    return not await under_way(sim, platform)


@pytest.mark.parametrize("scenery", [Scene, Control])
async def test_a_run_without_a_kill_passes_every_moment_that_is_to_be_tried(
    platform: str, scenery: type[Scene], nursery: ProcessPool, tmp_path: Path
) -> None:
    """The recorded run is itself right, and has each kind of moment."""
    recording = await record(platform, nursery, tmp_path, scenery)
    assert not recording.verdict.faults, recording.verdict
    assert recording.verdict.outcomes == OUTCOMES[scenery]
    points = points_of(recording)
    assert {point.what for point in points if point.on is On.COMMIT} >= TRANSITIONS[scenery]
    kinds = {point.kind for point in points}
    stages = ("received", "applied", "answered")
    assert kinds >= {f"{on} {stage}" for on in ("platform", "model") for stage in stages}
    assert len(points) > 150


@pytest.mark.soak
@pytest.mark.parametrize("scenery", [Scene, Control])
async def test_a_kill_at_every_moment_loses_doubles_and_cuts_nothing(
    platform: str,
    scenery: type[Scene],
    nursery: ProcessPool,
    tmp_path: Path,
    figures: Callable[[object], None],
) -> None:
    """In an order of chance, so that what a time budget leaves out is another part each time."""
    points = points_of(await record(platform, nursery, tmp_path / "recorded", scenery))
    kills = [[point] for point in random.sample(points, len(points))]
    report = await campaign(kills, platform, nursery, tmp_path, scenery=scenery, seconds=SECONDS)
    accept(report, figures)


@pytest.mark.soak
@pytest.mark.parametrize("scenery", [Scene, Control])
async def test_a_second_and_a_third_kill_lose_double_and_cut_nothing(
    platform: str,
    scenery: type[Scene],
    nursery: ProcessPool,
    tmp_path: Path,
    figures: Callable[[object], None],
) -> None:
    """Each in the life that is to make up for the one before; the points are of chance."""
    points = points_of(await record(platform, nursery, tmp_path / "recorded", scenery))
    early = [point for point in points if point.skip < 3]
    rows = [[random.choice(points), *random.choices(early, k=2)] for _ in range(IN_A_ROW)]
    report = await campaign(rows, platform, nursery, tmp_path, scenery=scenery, seconds=SECONDS)
    accept(report, figures)
