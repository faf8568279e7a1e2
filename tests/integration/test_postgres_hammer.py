"""Several processes do everything at the same time; afterwards every invariant holds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.postgres_server import SharedServer
from tests.support.store_hammer import check_books, check_eve_is_gone
from tests.support.store_kit import PostgresPlace, check, look

PROCESSES = 3


@pytest.mark.parametrize(
    ("steps", "seed"),
    [(100, 0), *(pytest.param(4_000, 10 * n, marks=pytest.mark.soak) for n in range(1, 6))],
)
def test_every_operation_at_the_same_time(postgres: SharedServer, steps: int, seed: int) -> None:
    """No call fails, nothing waits in a cycle, and the rows are consistent."""
    with postgres.database() as url:
        place = PostgresPlace(url)
        command = [sys.executable, "-m", "tests.support.store_hammer", url, str(steps)]
        started = [
            subprocess.Popen(
                [*command, str(seed + number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            for number in range(PROCESSES)
        ]
        ended = [(process.communicate(timeout=120 + steps), process) for process in started]
        failed = [errors.decode() for (_, errors), process in ended if process.returncode]
        assert not failed, failed[0]
        check(place)
        check_books(place)
        check_eve_is_gone(place)
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert look(place, deadlocks) == [(0,)]
