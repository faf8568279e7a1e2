"""Decides from the standard OTEL_* variables whether turns are traced.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ describes them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import structlog

from bot.ports.tracing import NullTracer, Tracer

log = structlog.stdlib.get_logger(__name__)

PREFIX = "OTEL_"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_PROTOCOL = "http/protobuf"

NOT_INSTALLED = (
    "Turns are not traced: OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed; "
    "install threadline[otel], or unset it."
)


def add_variables(environ: MutableMapping[str, str], dotenv: Mapping[str, str]) -> None:
    """Copy the OTEL_* variables in `.env` to `environ`, where the SDK looks for them."""
    for name, value in dotenv.items():
        if name.startswith(PREFIX) and not environ.get(name):
            environ[name] = value.strip()


def secrets(environ: Mapping[str, str]) -> list[str]:
    """Values that must not reach the log: header values, and passwords in addresses."""
    pairs = (pair for name in _HEADERS for pair in environ.get(name, "").split(","))
    values = [pair.partition("=")[2].strip() for pair in pairs]
    passwords = [urlsplit(environ.get(name, "")).password or "" for name in _ENDPOINTS]
    found = (*values, *map(unquote, values), *passwords)
    # `Bearer TOKEN`: libraries may show the token alone.
    return [part for value in found if value for part in (value, value.split()[-1])]


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the variables name a collector and do not disable traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter in ("", "otlp") and any(environ.get(name, "").strip() for name in _ENDPOINTS)


@asynccontextmanager
async def open_tracer(environ: Mapping[str, str]) -> AsyncIterator[Tracer]:
    """Open the tracer that the variables ask for; on exit it sends its last spans.

    If they ask for none, OpenTelemetry is not imported. With invalid variables there are no traces,
    only a warning, because the variables may have been set for all programs on the machine.
    """
    problem = _problem(environ) if is_wanted(environ) else ""
    if problem:
        log.warning("no traces", reason=problem)
    if problem or not is_wanted(environ):
        yield NullTracer()
        return
    try:
        from bot.tracing.otel import OtelTracer
        from bot.tracing.provider import make_provider

        tracer = OtelTracer(make_provider(environ))
    except ImportError:
        log.warning("no traces", reason=NOT_INSTALLED)
        yield NullTracer()
        return
    except Exception as error:  # noqa: BLE001 - the SDK's errors about variables are of many kinds
        log.warning("no traces", reason=f"An OTEL_* variable is invalid: {error}.")
        yield NullTracer()
        return
    log.info("turns are traced")
    try:
        yield tracer
    finally:
        await tracer.aclose()


def _problem(environ: Mapping[str, str]) -> str:
    protocol = _first(_PROTOCOLS, environ, _PROTOCOL)
    if protocol != _PROTOCOL:
        return (
            f"Turns are not traced: {protocol} is not supported; set OTEL_EXPORTER_OTLP_PROTOCOL "
            f"to {_PROTOCOL}, and the endpoint to the collector's HTTP port (usually 4318)."
        )
    endpoint = _first(_ENDPOINTS, environ, "")
    if urlsplit(endpoint).scheme not in ("http", "https"):
        return "Turns are not traced: OTEL_EXPORTER_OTLP_ENDPOINT is not an http:// address."
    return ""


def _first(names: Iterable[str], environ: Mapping[str, str], default: str) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), default)
