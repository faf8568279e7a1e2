"""Migrations run in order, completely or not at all, and only on a database that they fit."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain.errors import MigrationError, StoreUnavailable
from bot.store import migrate as runner
from bot.store.migrate import APPLICATION_ID, MIGRATIONS, load, migrate, status

ROOT = Path(__file__).parents[2]
FIRST = "-- 0001: a reason\nCREATE TABLE a (x INTEGER) STRICT;\n"
SECOND = "-- 0002: another; with a semicolon\nCREATE TABLE b (x TEXT DEFAULT ';') STRICT;\n"
# A process that waits for a file, so that two of them start at the same moment.
RACER = """
import pathlib, sys, time
from bot.store.migrate import migrate
path, directory, go = (pathlib.Path(a) for a in sys.argv[1:4])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
print(*migrate(path, directory))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_first.sql").write_text(FIRST)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        return {name for (name,) in rows}


def test_files_are_applied_in_order_and_once(path: Path, directory: Path) -> None:
    (directory / "0002_second.sql").write_text(SECOND)
    assert migrate(path, directory) == ["0001_first", "0002_second"]
    assert migrate(path, directory) == []
    assert tables(path) == {"a", "b", "migrations"}


def test_the_migrations_table_records_each_migration_and_its_time(
    path: Path, directory: Path
) -> None:
    migrate(path, directory)
    with closing(sqlite3.connect(path)) as db:
        ((number, name, sha256, applied_at),) = db.execute("SELECT * FROM migrations")
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    (file,) = load(directory)
    assert (number, name, sha256) == (1, "0001_first", file.sha256)
    assert applied_at > 1_700_000_000


def test_a_new_file_is_applied_on_top_of_the_older_ones(path: Path, directory: Path) -> None:
    migrate(path, directory)
    (directory / "0002_second.sql").write_text(SECOND)
    assert status(path, directory) == runner.MigrationStatus(("0001_first",), ("0002_second",))
    assert migrate(path, directory) == ["0002_second"]
    assert status(path, directory) == runner.MigrationStatus(("0001_first", "0002_second"), ())


def test_only_the_bots_user_can_read_the_database(path: Path, directory: Path) -> None:
    migrate(path, directory)
    assert path.stat().st_mode & 0o077 == 0


def test_status_creates_no_file(path: Path, directory: Path) -> None:
    assert status(path, directory).pending == ("0001_first",)
    assert not path.exists()


@pytest.mark.parametrize(
    "bad",
    [
        "CREATE TABLE b (x); CREATE TABLE a (x);",  # the second statement fails
        "CREATE TABLE b (x); INSERT INTO a VALUES ('text');",  # a STRICT table rejects it
        "CREATE TABLE b (i INTEGER PRIMARY KEY, x REFERENCES b); INSERT INTO b VALUES (1, 7);",
        "CREATE TABLE b (x REFERENCES nothing); INSERT INTO b VALUES (7);",
        "CREATE TABLE b (x); COMMIT; CREATE TABLE c (x);",  # would end its transaction
    ],
)
def test_a_failing_migration_is_rolled_back_and_the_earlier_ones_stay(
    path: Path, directory: Path, bad: str
) -> None:
    (directory / "0002_bad.sql").write_text(bad)
    with pytest.raises(MigrationError, match="0002_bad"):
        migrate(path, directory)
    assert tables(path) == {"a", "migrations"}
    assert status(path, directory).applied == ("0001_first",)


def test_a_trigger_is_one_statement(path: Path, directory: Path) -> None:
    trigger = (
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n"
        "  UPDATE a SET x = 1; UPDATE a SET x = x + 1;\nEND;\n-- the end"
    )
    (directory / "0002_trigger.sql").write_text(trigger)
    migrate(path, directory)
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO a VALUES (40)")
        assert db.execute("SELECT x FROM a").fetchone() == (2,)


def test_a_table_that_others_refer_to_can_be_rebuilt(path: Path, directory: Path) -> None:
    """The usual way to change a CHECK: copy, drop, rename, while rows reference the old table."""
    (directory / "0002_child.sql").write_text(
        "CREATE TABLE p (id INTEGER PRIMARY KEY, s TEXT CHECK (s IN ('old')));"
        "CREATE TABLE c (p INTEGER REFERENCES p (id) ON DELETE CASCADE);"
        "INSERT INTO p VALUES (1, 'old'); INSERT INTO c VALUES (1);"
    )
    (directory / "0003_rebuild.sql").write_text(
        "CREATE TABLE q (id INTEGER PRIMARY KEY, s TEXT CHECK (s IN ('old', 'new')));"
        "INSERT INTO q SELECT * FROM p; DROP TABLE p; ALTER TABLE q RENAME TO p;"
    )
    migrate(path, directory)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM p").fetchall() == [(1, "old")]
        assert db.execute("SELECT * FROM c").fetchall() == [(1,)]


# ── refused databases ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("0003_gap.sql",), "0003_gap is where 0002 belongs"),
        (("0001_twice.sql",), "0001_twice is where 0002 belongs"),
        (("2_short.sql",), "is not named like"),
        (("0002-dash.sql",), "is not named like"),
    ],
)
def test_files_out_of_order_are_refused_before_the_database_is_touched(
    path: Path, directory: Path, names: tuple[str, ...], sentence: str
) -> None:
    for name in names:
        (directory / name).write_text(SECOND)
    with pytest.raises(MigrationError, match=sentence):
        migrate(path, directory)
    assert not path.exists()


def test_a_directory_without_files_is_an_incomplete_installation(
    path: Path, tmp_path: Path
) -> None:
    with pytest.raises(MigrationError, match="There are no migrations in"):
        migrate(path, tmp_path / "nowhere")


def test_a_changed_old_file_is_refused(path: Path, directory: Path) -> None:
    migrate(path, directory)
    (directory / "0001_first.sql").write_text(FIRST + "-- a second thought\n")
    (directory / "0002_second.sql").write_text(SECOND)
    with pytest.raises(MigrationError, match="0001_first is not what was applied"):
        migrate(path, directory)
    with pytest.raises(MigrationError, match="restore the released file"):
        status(path, directory)
    assert "b" not in tables(path)


def test_other_line_endings_do_not_count_as_a_change(path: Path, directory: Path) -> None:
    migrate(path, directory)
    (directory / "0001_first.sql").write_bytes(FIRST.replace("\n", "\r\n").encode())
    assert migrate(path, directory) == []


def test_a_database_newer_than_the_code_is_refused(path: Path, directory: Path) -> None:
    (directory / "0002_second.sql").write_text(SECOND)
    migrate(path, directory)
    (directory / "0002_second.sql").unlink()
    with pytest.raises(MigrationError, match=r"newer Threadline \(it has 0002_second\): install"):
        migrate(path, directory)


def test_another_programs_database_is_refused_and_left_unchanged(
    path: Path, directory: Path
) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(MigrationError, match="is another program's database"):
        migrate(path, directory)
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_database_is_refused_and_left_unchanged(
    path: Path, directory: Path
) -> None:
    text = "Dear diary, today I wrote more than a hundred bytes into a file. " * 40
    path.write_text(text)
    with pytest.raises(StoreUnavailable, match="is not an SQLite database"):
        migrate(path, directory)
    assert path.read_text() == text


def test_a_missing_directory_is_reported_in_one_sentence(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(StoreUnavailable, match="its directory must exist"):
        migrate(tmp_path / "nowhere" / "test.db", directory)


def test_a_lasting_lock_is_reported_in_one_sentence(
    path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_LOCK_SECONDS", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="is locked by another program"):
            migrate(path, directory)
        other.execute("ROLLBACK")


def test_a_database_that_is_up_to_date_needs_no_lock(path: Path, directory: Path) -> None:
    """It is found to be up to date while another process writes."""
    migrate(path, directory)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert migrate(path, directory) == []


def test_concurrent_processes_apply_each_migration_once(
    path: Path, directory: Path, tmp_path: Path
) -> None:
    for number in range(2, 12):
        (directory / f"{number:04d}_t.sql").write_text(f"CREATE TABLE t{number} (x);")
    go = tmp_path / "go"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(path), str(directory), str(go)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    go.touch()
    results = [racer.communicate(timeout=60) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0], results
    applied = sorted(name for out, _ in results for name in out.split())
    assert applied == [file.name for file in load(directory)]


# ── the project's migrations ──────────────────────────────────────────────────────────────────
def test_every_migration_states_its_reason_in_its_header() -> None:
    for file in load(MIGRATIONS):
        header = [line for line in file.sql.splitlines() if line.startswith("--")]
        assert header[0].startswith(f"-- {file.number:04d}: ")
        assert any("Reason:" in line for line in header)
