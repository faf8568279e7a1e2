"""The log: what the libraries tell of connections that come and go."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from aiohttp import ClientConnectionResetError, ServerDisconnectedError
from discord.errors import ConnectionClosed

from bot.logs import one_line_for_a_lost_connection


class Closed:
    """What discord.py makes its error of."""

    close_code = 1006


LOST = [
    ClientConnectionResetError("Cannot write to closing transport"),
    ServerDisconnectedError(),
    ConnectionClosed(Closed(), shard_id=None),  # type: ignore[arg-type]
    TimeoutError("no answer"),
    ConnectionRefusedError(111, "refused"),
]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.handler.addFilter(one_line_for_a_lost_connection)
    yield caplog
    caplog.handler.removeFilter(one_line_for_a_lost_connection)


def tell(name: str, error: Exception) -> None:
    """As a library does it."""
    try:
        raise error
    except Exception:
        logging.getLogger(name).exception("Attempting a reconnect in %.2fs", 0.5)


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_lost_connection_is_a_warning_in_one_line(
    error: Exception, told: pytest.LogCaptureFixture
) -> None:
    """The libraries try again by themselves; the line says what it was."""
    tell("discord.client", error)
    (record,) = told.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage() == f"Attempting a reconnect in 0.50s: {error!r}"


@pytest.mark.parametrize(
    ("name", "error"), [("slack_libraries", KeyError("a bug")), ("bot.turn", OSError("ours"))]
)
def test_what_is_broken_keeps_its_traceback(
    name: str, error: Exception, told: pytest.LogCaptureFixture
) -> None:
    """So does what we log ourselves."""
    tell(name, error)
    (record,) = told.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
