"""The bot is killed with SIGKILL at any moment, and people notice only a pause.

The moments come from a recorded run (`tests.kills.points`), and `tests.support.judge` judges what
people saw. A sample runs here; `make soak` tries all moments, and `KILL_SECONDS` ends it early.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.kills.attachment_scenario import AttachmentScenario
from tests.kills.campaign import Report, campaign
from tests.kills.control_scenario import ControlScenario
from tests.kills.points import KillPoint, Target, points_of, record
from tests.kills.process_pool import ProcessPool
from tests.kills.scenario import Scenario
from tests.kills.spending_scenario import SpendingScenario
from tests.kills.world import new_world
from tests.sims.kit import STAGES, SimProcess
from tests.support.attachment_driver import FOLDERS

SECONDS = float(os.environ.get("KILL_SECONDS") or "inf")
IN_A_ROW = 100
# The transitions and outcomes of each scenario.
TRANSITIONS: dict[type[Scenario], set[str]] = {
    Scenario: {"accept", "claim", "intend", "shown", "conclude", "finish", "reset", "command"},
    ControlScenario: {"again", "stop", "edit", "erase", "removed", "reset", "undo", "command"},
    AttachmentScenario: {"accept", "claim", "save_bytes", "save_extract", "omit", "finish"},
}
OUTCOMES: dict[type[Scenario], dict[str, int]] = {
    Scenario: {"answered": 9},
    ControlScenario: {"answered": 7, "stopped": 1},
    AttachmentScenario: {"answered": 6},
}
SCENARIOS = list(OUTCOMES)
SOAKED = [*SCENARIOS, SpendingScenario]
MIN_POINTS = {Scenario: 150, ControlScenario: 150, AttachmentScenario: 100}
POST = {
    "discord": r"POST .*/channels/\d+/messages",
    "slack": r"POST /api/chat\.(?:startStream|postMessage)",
    "slack by edits": r"POST /api/chat\.postMessage",
}
# The request that carries the last text of a short answer; closing a stream may carry it.
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


def shared(platform: str, points: list[KillPoint]) -> list[KillPoint]:
    """Half of the points that depend only on the core: each runs on one of the two platforms here,
    and on all three in `make soak`."""
    return points[platform != "discord" :: 2]


def likely_points(platform: str) -> list[KillPoint]:
    """The moments at which bots most often lose or repeat something."""
    what, words = LAST[platform]
    # Each step of a turn, before or just after its commit.
    steps = [
        KillPoint(Target.COMMIT, "before", "accept", skip=1),
        KillPoint(Target.COMMIT, "after", "claim", skip=2),
        KillPoint(Target.COMMIT, "before", "conclude", skip=1),
        KillPoint(Target.COMMIT, "after", "conclude", skip=2),
        KillPoint(Target.COMMIT, "before", "finish", skip=1),
        KillPoint(Target.COMMIT, "before", "command"),
    ]
    return [
        # The first or second page is posted, but the bot has not recorded it.
        KillPoint(Target.PLATFORM, "applied", POST[platform], body="q00001"),
        KillPoint(Target.PLATFORM, "applied", POST[platform], body="q00001", skip=1),
        # The last text is shown, or is about to be.
        KillPoint(Target.PLATFORM, "applied", what, body=words),
        KillPoint(Target.PLATFORM, "received", what, body=words),
        # Missed messages are being read.
        KillPoint(Target.PLATFORM, "answered", READ[platform]),
        *shared(platform, steps),
    ]


def control_points(platform: str) -> list[KillPoint]:
    """The moments at which a person's action could get lost or happen twice."""
    steps = [
        *(
            KillPoint(Target.COMMIT, "before", what)
            for what in ("again", "stop", "edit", "erase", "undo")
        ),
        *(KillPoint(Target.COMMIT, "after", what) for what in ("again", "stop", "edit", "erase")),
        KillPoint(Target.COMMIT, "after", "removed"),
    ]
    return [
        *shared(platform, steps),
        # The last text of a retried answer.
        KillPoint(Target.PLATFORM, "applied", ".*", body="q00001w0011", skip=1),
    ]


def attachment_points(platform: str) -> list[KillPoint]:
    """The moments at which a file could get lost, or be downloaded or read twice."""
    downloads = f"{FOLDERS[platform.partition(' ')[0]]}.*"
    steps = [
        *(KillPoint(Target.COMMIT, "before", what) for what in ("save_bytes", "save_extract")),
        *(KillPoint(Target.COMMIT, "after", what) for what in ("save_bytes", "save_extract")),
        KillPoint(Target.COMMIT, "before", "omit"),
        KillPoint(Target.COMMIT, "after", "accept"),
        KillPoint(Target.COMMIT, "after", "claim"),
    ]
    return [
        *(KillPoint(Target.PLATFORM, stage, downloads, skip=1) for stage in STAGES),
        *shared(platform, steps),
    ]


def spending_points() -> list[KillPoint]:
    """The moments at which a request could be counted twice or not at all."""
    return [
        KillPoint(Target.COMMIT, "before", "reserve", skip=1),
        KillPoint(Target.COMMIT, "after", "reserve", skip=1),
        KillPoint(Target.COMMIT, "before", "settle", skip=1),
        KillPoint(Target.COMMIT, "after", "settle", skip=1),
        KillPoint(Target.COMMIT, "before", "conclude", skip=1),
    ]


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    async with ProcessPool() as pool:
        yield pool


@pytest.fixture(params=["discord", "slack", "slack by edits"])
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def accept(report: Report, figures: Callable[[object], None]) -> None:
    """Print the figures, and fail if there are violations."""
    figures(report)
    assert not report.not_started, report.not_started
    assert not report.failed, f"{report}\n{report.failures()}"


@pytest.mark.parametrize("platform", ["discord", "slack"])  # `make soak` has the third
async def test_kills_at_likely_points_lose_repeat_and_cut_nothing(
    platform: str, pool: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """Every question gets one whole answer in its thread, and no sign of work is left."""
    kills = [[trap] for trap in likely_points(platform)]
    # The second kill comes during the recovery from the first.
    kills.append([*kills[0], KillPoint(Target.COMMIT, "after", "claim", skip=0)])
    report = await campaign(kills, platform, pool, tmp_path)
    accept(report, figures)
    assert [t.points for t in report.trials if t.deaths != len(t.points)] == []


@pytest.mark.parametrize("platform", ["discord", "slack"])  # `make soak` has the third
async def test_kills_lose_no_retry_stop_edit_deletion_or_undo(
    platform: str, pool: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """A retry, a stop, an edit, a deletion and an undo each happen once, whenever the bot dies."""
    kills = [[point] for point in control_points(platform)]
    accept(await campaign(kills, platform, pool, tmp_path, scenario_type=ControlScenario), figures)


@pytest.mark.parametrize("platform", ["discord", "slack"])  # `make soak` has the third
async def test_kills_lose_no_file_and_repeat_no_download(
    platform: str, pool: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """Each answer is based on the files of its question, whenever the bot dies."""
    kills = [[point] for point in attachment_points(platform)]
    report = await campaign(kills, platform, pool, tmp_path, scenario_type=AttachmentScenario)
    accept(report, figures)
    assert [t.points for t in report.trials if t.deaths != len(t.points)] == []


async def test_kills_leave_no_reservation_and_lose_no_cost(
    pool: ProcessPool, tmp_path: Path, figures: Callable[[object], None]
) -> None:
    """Each request is in the books once, whenever the bot dies."""
    kills = [[point] for point in spending_points()]
    report = await campaign(kills, "discord", pool, tmp_path, scenario_type=SpendingScenario)
    accept(report, figures)
    assert [t.points for t in report.trials if t.deaths != len(t.points)] == []


async def test_a_post_in_flight_at_a_kill_is_not_repeated(
    platform: str, pool: ProcessPool, tmp_path: Path
) -> None:
    """The platform applies the post after the restarted bot has already searched for it."""
    async with new_world(platform, pool, tmp_path) as world:
        scenario = Scenario(world)
        await scenario.first_start()
        for match in ("POST /api/v10/channels", "chat.startStream", "chat.postMessage"):
            await world.driver.sim.call("fault", match=match, times=3, delay=1.5)
        await world.bot.start()
        await world.connected()
        question = await scenario.begin("what is it?")
        await scenario.until(lambda: under_way(world.driver.sim, platform), "the post")
        await world.bot.kill()
        await scenario.wait_answered(question)
        await scenario.until(lambda: all_applied(world.driver.sim, platform), "both posts")
        await scenario.settle()
        verdict = await scenario.verdict()
    assert world.bot.deaths == 1
    assert not verdict.violations, verdict


async def under_way(sim: SimProcess, platform: str) -> bool:
    """Whether a post was received but not applied."""
    return any(
        request["applied"] is None
        and re.fullmatch(POST[platform], f"{request['method']} {request['path']}")
        for request in await sim.requests("POST")
    )


async def all_applied(sim: SimProcess, platform: str) -> bool:
    return not await under_way(sim, platform)


# With and without streams, Slack differs only in how pages are written, which the first scenario
# covers.
@pytest.mark.parametrize(
    ("platform", "scenario_type"),
    [
        *((platform, each) for platform in ("discord", "slack") for each in SCENARIOS),
        ("slack by edits", Scenario),
    ],
)
async def test_a_recorded_run_covers_every_kind_of_kill_point(
    platform: str, scenario_type: type[Scenario], pool: ProcessPool, tmp_path: Path
) -> None:
    """The recorded run itself has no violations, and it covers every kind of moment."""
    recording = await record(platform, pool, tmp_path, scenario_type)
    assert not recording.verdict.violations, recording.verdict
    assert recording.verdict.outcomes == OUTCOMES[scenario_type]
    points = points_of(recording)
    assert {point.what for point in points if point.on is Target.COMMIT} >= TRANSITIONS[
        scenario_type
    ]
    kinds = {point.kind for point in points}
    stages = ("received", "applied", "answered")
    assert kinds >= {f"{on} {stage}" for on in ("platform", "model") for stage in stages}
    assert len(points) > MIN_POINTS[scenario_type]


@pytest.mark.soak
@pytest.mark.parametrize("scenario_type", SOAKED)
async def test_a_kill_at_every_point_loses_repeats_and_cuts_nothing(
    platform: str,
    scenario_type: type[Scenario],
    pool: ProcessPool,
    tmp_path: Path,
    figures: Callable[[object], None],
) -> None:
    """The order is random, so that each run under a limited time budget omits different points."""
    points = points_of(await record(platform, pool, tmp_path / "recorded", scenario_type))
    kills = [[point] for point in random.sample(points, len(points))]
    report = await campaign(
        kills, platform, pool, tmp_path, scenario_type=scenario_type, seconds=SECONDS
    )
    accept(report, figures)


@pytest.mark.soak
@pytest.mark.parametrize("scenario_type", SOAKED)
async def test_second_and_third_kills_lose_repeat_and_cut_nothing(
    platform: str,
    scenario_type: type[Scenario],
    pool: ProcessPool,
    tmp_path: Path,
    figures: Callable[[object], None],
) -> None:
    """Each kill comes during the recovery from the previous one, at random points."""
    points = points_of(await record(platform, pool, tmp_path / "recorded", scenario_type))
    early = [point for point in points if point.skip < 3]
    rows = [[random.choice(points), *random.choices(early, k=2)] for _ in range(IN_A_ROW)]
    report = await campaign(
        rows, platform, pool, tmp_path, scenario_type=scenario_type, seconds=SECONDS
    )
    accept(report, figures)
