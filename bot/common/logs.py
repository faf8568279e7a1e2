"""Logging: one line per event, as text or JSON, with the turn's id.

Invariant: no line contains a secret, and no text from outside can forge a line.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import Any, Literal

import structlog

from bot.common import sensitive
from bot.domain.policy import Redaction

SHORTEST_SECRET = 6
"""Redacting shorter values would garble the log and protect nothing."""

OWN_LOGGERS = ("bot", "adapters")


def configure(
    *, level: str, form: Literal["console", "json"], secrets: Iterable[str], stream: Any = None
) -> Redactor:
    """Send the logs of the bot and its libraries to `stream` (default: stderr), without `secrets`.

    More secrets can be added to the returned redactor.
    """
    redact = Redactor(secrets)
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
    handler.addFilter(shorten_lost_connection)
    last = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        *_renderers(form, target),
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    )
    _set_levels(handler, level)
    return redact


def _set_levels(handler: logging.Handler, level: str) -> None:
    """Log only through `handler`: the bot's records from `level` on, and warnings and errors of
    libraries."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(level)


def shorten_lost_connection(record: logging.LogRecord) -> bool:
    """A filter that shortens a library's error about a lost connection to a one-line warning.

    The libraries reconnect, but log an ERROR with a traceback, as if something were broken. Always
    returns True, so no record is dropped.
    """
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    library = record.name.partition(".")[0] not in (
        *OWN_LOGGERS,
        "asyncio",
    )  # asyncio reports our own bugs
    if library and error is not None and _is_lost_connection(error):
        with suppress(TypeError, ValueError):  # the handler reports a bad format string
            record.msg, record.args = f"{record.getMessage()}: {error!r}", ()
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.exc_info = record.exc_text = None
    return True


def _is_lost_connection(error: BaseException) -> bool:
    kind = type(error)
    # Some of aiohttp's errors are not ConnectionErrors; discord.py raises ConnectionClosed.
    from_library = kind.__module__.startswith("aiohttp.") or kind.__name__ == "ConnectionClosed"
    return from_library or isinstance(error, ConnectionError | TimeoutError | socket.gaierror)


class Redactor:
    """A structlog processor that redacts secrets in all values, including nested ones and
    tracebacks.

    It recognizes our secrets by their values, and other people's keys by their format.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets: tuple[str, ...] = ()
        self._kinds = frozenset((Redaction.KEYS,))
        self.add(secrets)

    def add_kinds(self, kinds: Iterable[Redaction]) -> None:
        """Also redact values of these kinds."""
        self._kinds |= frozenset(kinds)

    def add(self, secrets: Iterable[str]) -> None:
        """Also redact these values. The longest come first, because one may be part of another."""
        known = {*self._secrets, *(each for each in secrets if len(each) >= SHORTEST_SECRET)}
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return the event without secrets."""
        return {key: self._clean(value) for key, value in event.items()}

    def _clean(self, value: Any) -> Any:
        if isinstance(value, int | float | bool | None):
            return value
        if isinstance(value, dict):
            return {key: self._clean(item) for key, item in value.items()}
        text = value if isinstance(value, str) else repr(value)
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return sensitive.blank(text, self._kinds)


def _renderers(form: str, stream: Any) -> list[Any]:
    if form == "json":  # JSON escapes most control characters anyway
        return [structlog.processors.JSONRenderer(ensure_ascii=False), _escape_json]
    return [escape_control_characters, structlog.dev.ConsoleRenderer(colors=stream.isatty())]


# ── control characters ────────────────────────────────────────────────────────────────────────
# C0 except tab and newline, DEL, C1, bidirectional and invisible characters, line separators, and
# lone surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def escape_control_characters(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor that escapes control characters for the terminal.

    Any value, and the message of an error, may contain text from people and platforms. Only
    tracebacks keep their line breaks, indented, so that no text can forge a log line.
    """
    lines = {key: _indent(event[key]) for key in ("exception", "stack") if event.get(key)}
    return {one_line(key): one_line(value) for key, value in event.items()} | lines


def one_line(value: Any) -> Any:
    """Make a value fit one terminal line: no control characters or line breaks in text."""
    if value is None or isinstance(value, int | float | bool):
        return value
    text = value if isinstance(value, str) else repr(value)
    return escape(text).replace("\n", "\\n")


def _indent(text: Any) -> str:
    return "\n".join(f"    {line}" for line in escape(str(text)).split("\n"))


def escape(text: str) -> str:
    """Escape the control characters in a text for the terminal, except for line breaks."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _escape_json(_logger: Any, _method: str, line: str) -> str:
    """Escape the control characters that JSON permits in a line of JSON."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
