"""The operator's commands on PostgreSQL, with and without a running bot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import PostgresPlace, answer_next, look, opened, said


@pytest.fixture
def place(
    postgres: SharedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PostgresPlace]:
    with postgres.database() as url:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DATABASE_URL", url)
        yield PostgresPlace(url)


@pytest.fixture
async def team(place: PostgresPlace) -> PostgresPlace:
    async with opened(place) as store:
        await store.accept(said(1, "how do we deploy?"))
        await answer_next(store, 1)
    return place


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("migrate", "up to date"),
        ("usage", "nothing was used"),
        ("conversations", "how do we deploy?"),
        ("audit", ""),
        ("prune", ""),
        ("pin sim/w1/c1/t1", ""),
        ("export person sim/w1/U1", "how do we deploy?"),
        ("export feedback", ""),
    ],
)
def test_a_command_works(
    team: PostgresPlace, words: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 0, capsys.readouterr().err
    assert shown in capsys.readouterr().out
    assert team.url.startswith("postgresql://")


@pytest.mark.parametrize(
    ("words", "instead"), [("backup a.db", "pg_dump"), ("restore a.db", "pg_restore")]
)
def test_backups_are_postgresqls(
    place: PostgresPlace, words: str, instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) != 0
    assert instead in capsys.readouterr().err
    assert look(place, "SELECT count(*) FROM messages") == [(0,)]


def test_the_status_is_read_from_the_database_without_a_bot(
    team: PostgresPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 1  # no bot runs
    assert "database works" in capsys.readouterr().out
    assert look(team, "SELECT count(*) FROM turns") == [(1,)]


def test_a_person_is_forgotten(team: PostgresPlace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", "sim/w1/U1", "--yes"]) == 0
    assert "1 message," in capsys.readouterr().out
    assert look(team, "SELECT count(*) FROM messages WHERE content <> ''") == [(0,)]
    assert look(team, "SELECT alive FROM process") == [(0,)]
