"""Both kinds of database have the same schema, according to their own catalogs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bot.store.migrate import MIGRATIONS, load, migrate
from bot.store.postgres.migrations import FIRST, POSTGRES_MIGRATIONS
from tests.support.postgres_server import SharedServer
from tests.support.store_kit import PostgresPlace, change, look

TYPES = {
    "INTEGER": "bigint", "REAL": "double precision", "TEXT": "text", "BLOB": "bytea",
}  # fmt: skip


def test_later_migrations_exist_for_both() -> None:
    """There is one ledger: a number and a name mean the same change on both."""
    sqlite = [each.name for each in load(MIGRATIONS)[FIRST:]]
    assert [each.name for each in load(POSTGRES_MIGRATIONS, first=FIRST)[1:]] == sqlite


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    migrate(path)
    return path


@pytest.fixture
def place(postgres: SharedServer) -> Any:
    with postgres.database() as url:
        yield PostgresPlace(url)


def test_the_columns_are_the_same(file: Path, place: PostgresPlace) -> None:
    """Name, type, nullability, and place in the primary key. Text compares by bytes, in the
    collation C."""
    assert postgres_columns(place) == sqlite_columns(file)


def sqlite_columns(path: Path) -> Mapping[tuple[str, str], tuple[Any, ...]]:
    found = look(
        path,
        'SELECT t.name, c.name, c.type, c.pk, c."notnull" OR c.pk > 0 FROM sqlite_schema AS t'
        " JOIN pragma_table_info(t.name) AS c"
        " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'migrations'"
        " AND t.name NOT LIKE 'search_index%'",
    )
    return {
        (table, column): (TYPES[kind], key, bool(required))
        for table, column, kind, key, required in found
    }


def postgres_columns(place: PostgresPlace) -> Mapping[tuple[str, str], tuple[Any, ...]]:
    found = look(
        place,
        "SELECT c.table_name, c.column_name, c.data_type, coalesce(k.ordinal_position, 0),"
        " c.is_nullable = 'NO', c.collation_name FROM information_schema.columns AS c"
        " LEFT JOIN information_schema.table_constraints AS t"
        "  ON t.table_name = c.table_name AND t.constraint_type = 'PRIMARY KEY'"
        " LEFT JOIN information_schema.key_column_usage AS k"
        "  ON k.constraint_name = t.constraint_name AND k.column_name = c.column_name"
        " WHERE c.table_schema = 'public' AND c.table_name <> 'migrations'",
    )
    assert {row[5] for row in found if row[2] == "text"} == {"C"}
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in found}


def test_the_defaults_are_the_same(file: Path, place: PostgresPlace) -> None:
    """Public ids are the exception: SQLite assigns them by a trigger."""
    sqlite = look(
        file,
        "SELECT t.name, c.name, c.dflt_value FROM sqlite_schema AS t"
        " JOIN pragma_table_info(t.name) AS c"
        " WHERE t.type = 'table' AND c.dflt_value IS NOT NULL",
    )
    postgres = look(
        place,
        "SELECT table_name, column_name, column_default FROM information_schema.columns"
        " WHERE table_schema = 'public' AND column_default IS NOT NULL",
    )
    plain = {(table, column, value.split("::")[0]) for table, column, value in postgres}
    uids = {(table, "uid", "(gen_random_uuid())") for table in ("conversations", "messages")}
    assert plain == set(sqlite) | uids


def test_the_indexes_are_the_same(file: Path, place: PostgresPlace) -> None:
    """Name, columns, uniqueness and condition; indexes of constraints are compared by their
    columns."""
    assert postgres_indexes(place) == sqlite_indexes(file)


def sqlite_indexes(path: Path) -> set[tuple[Any, ...]]:
    found = set()
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            " AND name <> 'migrations' AND name NOT LIKE 'search_index%'"
        ).fetchall()
        for (table,) in tables:
            for _, name, unique, origin, _ in db.execute(f"PRAGMA index_list({table})").fetchall():
                columns = [row[2] for row in db.execute(f"PRAGMA index_info({name})")]
                (statement,) = db.execute(
                    "SELECT coalesce(max(sql), '') FROM sqlite_schema WHERE name = ?", (name,)
                ).fetchone()
                if origin != "pk":
                    condition = normal(statement.partition("WHERE")[2])
                    given = name if origin == "c" else ""
                    found.add((table, given, tuple(columns), bool(unique), condition))
    return found


def postgres_indexes(place: PostgresPlace) -> set[tuple[Any, ...]]:
    rows = look(
        place,
        "SELECT t.relname, i.relname, x.indisunique, pg_get_indexdef(i.oid),"
        " EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.oid),"
        " ARRAY(SELECT attname::text FROM unnest(x.indkey) WITH ORDINALITY AS k (number, place)"
        "  JOIN pg_attribute ON attrelid = t.oid AND attnum = k.number ORDER BY place)"
        " FROM pg_index AS x JOIN pg_class AS i ON i.oid = indexrelid"
        " JOIN pg_class AS t ON t.oid = indrelid"
        " WHERE t.relnamespace = 'public'::regnamespace AND NOT indisprimary"
        " AND i.relname <> 'search_documents_tokens'",  # in SQLite a virtual table
    )
    return {
        (
            table,
            "" if is_constraint else name,
            tuple(columns),
            unique,
            normal(text.partition("WHERE")[2]),
        )
        for table, name, unique, text, is_constraint, columns in rows
    }


def normal(condition: str) -> str:
    """A condition without the differences in notation between the two."""
    condition = re.sub(r'::(?:text|bigint|double precision)|\bCOLLATE "C"', "", condition)
    condition = re.sub(r"= ANY \(ARRAY\[([^\]]*)\]\)", r"IN (\1)", condition)
    condition = re.sub(r"<> ALL \(ARRAY\[([^\]]*)\]\)", r"NOT IN (\1)", condition)
    return re.sub(r"[\s()\"]+", "", condition)


def test_the_foreign_keys_are_the_same(file: Path, place: PostgresPlace) -> None:
    sqlite = look(
        file,
        'SELECT t.name, f."from", f."table", f.on_delete FROM sqlite_schema AS t'
        " JOIN pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table'",
    )
    postgres = look(
        place,
        "SELECT conrelid::regclass::text, attname::text, confrelid::regclass::text,"
        " CASE confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE 'NO ACTION' END"
        " FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]"
        " WHERE contype = 'f'",
    )
    assert set(postgres) == set(sqlite)


def test_the_checks_are_the_same(file: Path, place: PostgresPlace) -> None:
    sqlite: set[tuple[str, str]] = set()
    for table, statement in look(
        file, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%CHECK%'"
    ):
        sqlite |= {(table, normal(check)) for check in checks_in(statement)}
    postgres = {
        (table, normal(text.removeprefix("CHECK ")))
        for table, text in look(
            place,
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'c' AND connamespace = 'public'::regnamespace",
        )
    }
    json = re.compile(r"json_valid(\w+)")
    expected = {(table, json.sub(r"\1::jsonISNOTNULL", check)) for table, check in sqlite}
    assert postgres == expected


def checks_in(statement: str) -> list[str]:
    """The conditions in CHECK (…), including nested parentheses."""
    found = []
    statement = re.sub(r"--[^\n]*", "", statement)
    for match in re.finditer(r"CHECK \(", statement):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(statement[end], 0)
            end += 1
        found.append(statement[match.end() : end - 1])
    return found


def test_the_triggers_have_the_same_names(file: Path, place: PostgresPlace) -> None:
    """Their effects are tested through the store. In PostgreSQL, public ids are defaults, and an
    index holds the words of the search."""
    sqlite = look(file, "SELECT tbl_name, name FROM sqlite_schema WHERE type = 'trigger'")
    postgres = look(
        place,
        "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal",
    )
    uids = {("conversations", "conversations_uid"), ("messages", "messages_uid")}
    words = {("search_documents", f"search_documents_{each}") for each in ("add", "remove")}
    assert set(postgres) | uids | words == set(sqlite)


def test_the_audit_is_append_only(place: PostgresPlace) -> None:
    change(
        place,
        "INSERT INTO audit (at, action, platform, workspace, channel, actor, details)"
        " VALUES (1, 'a', 'sim', 'w', 'c', 'U1', '{}')",
    )
    for statement in ("DELETE FROM audit", "UPDATE audit SET actor = 'U2'"):
        with pytest.raises(psycopg.IntegrityError, match="append-only"):
            change(place, statement)
    change(place, "UPDATE audit SET actor = 'erased:1'")
