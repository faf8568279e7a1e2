"""Logs: one line an event, as text or JSON, with the turn's id; a secret never gets through."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import Any, Literal

import structlog

# Below this length a value is no secret worth hiding, and hiding it would garble the log.
SHORTEST_SECRET = 6
OURS = ("bot", "adapters")


def configure(
    *, level: str, form: Literal["console", "json"], secrets: Iterable[str], stream: Any = None
) -> None:
    """Send our log and the libraries' to `stream` (stderr by default), without `secrets`."""
    hide = Redactor(secrets)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.addFilter(one_line_for_a_lost_connection)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                hide,
                _renderer(form, target),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # libraries speak up only when something is wrong
    for ours in OURS:
        logging.getLogger(ours).setLevel(level)


def one_line_for_a_lost_connection(record: logging.LogRecord) -> bool:
    """Make it a warning when a library tells of one: it tries again by itself.

    The libraries do so at ERROR with a traceback, which looks as if something was broken. Always
    true: it is a filter that drops nothing.
    """
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    library = record.name.partition(".")[0] not in (*OURS, "asyncio")  # that tells of our bugs
    if library and error is not None and _is_lost_connection(error):
        with suppress(TypeError, ValueError):  # a library's bad format is the handler's business
            record.msg, record.args = f"{record.getMessage()}: {error!r}", ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = record.exc_text = None
    return True


def _is_lost_connection(error: BaseException) -> bool:
    kind = type(error)
    # aiohttp has errors that are no ConnectionError, discord.py one for a closed socket.
    theirs = kind.__module__.startswith("aiohttp.") or kind.__name__ == "ConnectionClosed"
    return theirs or isinstance(error, ConnectionError | TimeoutError | socket.gaierror)


class Redactor:
    """A processor that takes secrets out of every value, nested ones and tracebacks included."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Replace the event's values."""
        return {key: self._clean(value) for key, value in event.items()}

    def _clean(self, value: Any) -> Any:
        if isinstance(value, int | float | bool | None):
            return value
        if isinstance(value, dict):
            return {key: self._clean(item) for key, item in value.items()}
        text = value if isinstance(value, str) else repr(value)
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text


def _renderer(form: str, stream: Any) -> Any:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(colors=stream.isatty())
