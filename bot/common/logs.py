"""Logs: one line an event, as text or JSON, with the turn's id; a secret never gets through."""

from __future__ import annotations

import logging
import re
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
                *_renderers(form, target),
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


def _renderers(form: str, stream: Any) -> list[Any]:
    if form == "json":  # which escapes control characters itself
        return [structlog.processors.JSONRenderer(ensure_ascii=False), _visible]
    return [printable, structlog.dev.ConsoleRenderer(colors=stream.isatty())]


# ── control characters ────────────────────────────────────────────────────────────────────────
# C0 but tab and newline, DEL, C1, what reorders or hides text, line separators, lone surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def printable(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor that shows control characters instead of sending them to a terminal.

    What people and platforms write can stand in any value, and in an error's text. Only an
    exception has lines, which are indented: no line break forges a line of the log.
    """
    lines = {key: _indented(event[key]) for key in ("exception", "stack") if event.get(key)}
    return {_line(key): _line(value) for key, value in event.items()} | lines


def _line(value: Any) -> Any:
    if value is None or isinstance(value, int | float | bool):
        return value
    text = value if isinstance(value, str) else repr(value)
    return _shown(text).replace("\n", "\\n")


def _indented(text: Any) -> str:
    return "\n".join(f"    {line}" for line in _shown(str(text)).split("\n"))


def _shown(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _visible(_logger: Any, _method: str, line: str) -> str:
    """A line of JSON, with what JSON lets through and a terminal does not show as it is."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
