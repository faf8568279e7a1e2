"""Log lines: libraries' errors about lost connections, and control characters."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog
from aiohttp import ClientConnectionResetError, ServerDisconnectedError
from discord.errors import ConnectionClosed

from bot.common import logs
from bot.common.logs import shorten_lost_connection
from bot.domain.policy import Redaction


class Closed:
    """A closed socket, as discord.py's error expects it."""

    close_code = 1006


LOST = [
    ClientConnectionResetError("Cannot write to closing transport"),
    ServerDisconnectedError(),
    ConnectionClosed(Closed(), shard_id=None),  # type: ignore[arg-type]
    TimeoutError("no answer"),
    ConnectionRefusedError(111, "refused"),
]


@pytest.fixture
def filtered(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.handler.addFilter(shorten_lost_connection)
    yield caplog
    caplog.handler.removeFilter(shorten_lost_connection)


def log_error(name: str, error: Exception) -> None:
    """Log an error as libraries do."""
    try:
        raise error
    except Exception:
        logging.getLogger(name).exception("Attempting a reconnect in %.2fs", 0.5)


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_librarys_error_about_a_lost_connection_becomes_a_one_line_warning(
    error: Exception, filtered: pytest.LogCaptureFixture
) -> None:
    """The libraries reconnect on their own."""
    log_error("discord.client", error)
    (record,) = filtered.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage() == f"Attempting a reconnect in 0.50s: {error!r}"


@pytest.mark.parametrize(
    ("name", "error"), [("some_library", KeyError("a bug")), ("bot.turns.runner", OSError("ours"))]
)
def test_other_errors_keep_their_traceback(
    name: str, error: Exception, filtered: pytest.LogCaptureFixture
) -> None:
    """So do the bot's errors about lost connections."""
    log_error(name, error)
    (record,) = filtered.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None


def test_secrets_that_are_added_later_are_redacted_too() -> None:
    """They are redacted as a whole, even if one contains another; very short ones would garble the
    log."""
    out = io.StringIO()
    with restore_logging():
        redactor = logs.configure(level="INFO", form="json", secrets=["first-key"], stream=out)
        ours = structlog.stdlib.get_logger("bot.unit")
        ours.info("a first-key second-key")
        redactor.add(["second-key", "second-key-and-more", "and"])
        ours.info("b first-key second-key second-key-and-more and")
    first, second = out.getvalue().splitlines()
    assert "a … second-key" in first and "b … … … and" in second


# ── control characters ────────────────────────────────────────────────────────────────────────
HOSTILE = (
    "\x1b[31m\x1b]0;title\x07\x9b2J\u202e\u2028\r\n2026-11-28 [info] forged\x00\x7f\u200b\ud800"
)


@pytest.mark.parametrize("form", ["console", "json"])
def test_control_characters_are_escaped_in_the_log(
    form: Literal["console", "json"],
) -> None:
    """They are escaped in events, keys, (nested) values and error messages, from the bot and from
    libraries."""
    out = io.StringIO()
    with restore_logging():
        logs.configure(level="INFO", form=form, secrets=[], stream=out)
        ours = structlog.stdlib.get_logger("bot.unit")
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            ours.exception(f"failed {HOSTILE}", text=HOSTILE, nested={"x": [HOSTILE]})
            logging.getLogger("library").exception("failed %s", HOSTILE)
        ours.info("one", **{f"key{HOSTILE}": HOSTILE})
    text = out.getvalue()
    assert not re.search(r"[^\S \n]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\ud800]", text)
    assert text.count("forged") >= 6
    assert not [line for line in text.split("\n") if line.startswith("2026-11-28 [info]")]


def test_keys_are_redacted_by_their_form_and_other_values_where_they_are_set() -> None:
    out, key = io.StringIO(), "ghp_" + "a1B2c3D4e5" * 4
    with restore_logging():
        redactor = logs.configure(level="INFO", form="json", secrets=[], stream=out)
        ours = structlog.stdlib.get_logger("bot.unit")
        ours.warning("refused", provider_message=f"wrong key {key}", nested=[key])
        ours.warning("asked", text="ann@example.org")
        redactor.add_kinds([Redaction.EMAIL])
        ours.warning("asked", text="ben@example.org")
    assert key not in out.getvalue()
    assert out.getvalue().count("[keys]") == 2
    assert "ann@example.org" in out.getvalue()
    assert "ben@example.org" not in out.getvalue()


@contextlib.contextmanager
def restore_logging() -> Iterator[None]:
    """Restore the logging configuration afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
