"""The random sequences of the unit tests, on PostgreSQL: the same models, the same invariants.

Each example is one transaction that is rolled back, so that the next begins with empty tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.store.postgres.dialect import named_rows, register
from bot.store.postgres.session import Session
from tests.support.postgres_server import SharedServer
from tests.unit import test_store_attachments_properties as attachments
from tests.unit import test_store_contexts_properties as contexts
from tests.unit import test_store_edits_properties as edits
from tests.unit import test_store_properties as transitions
from tests.unit import test_store_spending_properties as spending

FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
_TRANSACTIONS = {
    "BEGIN IMMEDIATE": "SAVEPOINT step",
    "COMMIT": "RELEASE SAVEPOINT step",
    "ROLLBACK": "ROLLBACK TO SAVEPOINT step",
}


class Scratch(Session):
    """Empty tables, whose ids begin with 1. Transactions are savepoints."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)
        self.raw = connection
        connection.execute("BEGIN")
        connection.execute(
            "SELECT setval(pg_get_serial_sequence(table_name, 'id'), 1, false)"
            " FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND is_identity = 'YES'"
        )

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Run a statement, or begin and end a step."""
        return super().execute(_TRANSACTIONS.get(sql, sql), parameters)

    def close(self) -> None:
        """Discard everything."""
        self.raw.execute("ROLLBACK")


@pytest.fixture(scope="module")
def connection(postgres: SharedServer) -> Iterator[psycopg.Connection[Any]]:
    with (
        postgres.database() as url,
        psycopg.connect(url, autocommit=True, row_factory=named_rows) as connection,
    ):
        register(connection)
        OnPostgres.connection = connection
        yield connection


@contextmanager
def scratch(connection: psycopg.Connection[Any]) -> Iterator[Scratch]:
    db = Scratch(connection)
    try:
        yield db
    finally:
        db.close()


@FEW
@given(steps=st.lists(edits.STEPS, max_size=40))
def test_after_any_sequence_of_changes_the_rows_agree_and_every_turn_ends(
    connection: psycopg.Connection[Any], steps: list[Any]
) -> None:
    with scratch(connection) as db:
        edits.Random(db).check_after_each(steps)


@FEW
@given(steps=st.lists(attachments.STEPS, max_size=40))
def test_after_any_sequence_the_files_are_exactly_those_that_attachments_have(
    connection: psycopg.Connection[Any], steps: list[Any]
) -> None:
    with scratch(connection) as db:
        attachments.Random(db).check_after_each(steps)


@FEW
@given(steps=st.lists(contexts.STEPS, max_size=40))
def test_a_summary_covers_what_its_model_saw_and_windows_only_advance(
    connection: psycopg.Connection[Any], steps: list[Any]
) -> None:
    with scratch(connection) as db:
        contexts.World(db).check_after_each(steps)  # type: ignore[arg-type]


@FEW
@given(steps=st.lists(spending.STEPS, min_size=15, max_size=40))
def test_the_books_equal_the_sum_of_all_requests(
    connection: psycopg.Connection[Any], steps: list[tuple[object, ...]]
) -> None:
    with scratch(connection) as db:
        spending.check_after_each(spending.World(db), steps)  # type: ignore[arg-type]


class OnPostgres(transitions.Transitions):
    """The state machine of all transitions, on PostgreSQL."""

    connection: ClassVar[psycopg.Connection[Any]]

    def new_database(self) -> Scratch:
        """Empty tables."""
        return Scratch(self.connection)


OnPostgres.TestCase.settings = settings(FEW, stateful_step_count=30)


@pytest.mark.usefixtures("connection")
class TestTransitions(OnPostgres.TestCase):  # type: ignore[name-defined, misc]
    """Runs the state machine."""
