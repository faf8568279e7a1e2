"""When turns are traced: according to the standard variables, and never at the expense of a
turn."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from bot.common.logs import Redactor
from bot.config.env_file import find_misspelled
from bot.domain.inbox import Accepted, Receipt
from bot.ports import tracing
from bot.ports.tracing import NullTracer
from bot.tracing import otel
from bot.tracing.setup import NOT_INSTALLED, add_variables, is_wanted, open_tracer, secrets
from tests.support.collector import collecting
from tests.support.store_kit import key

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({ENDPOINT: "http://collector:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_SERVICE_NAME": "threadline"}, False),
    ],
)
def test_turns_are_traced_if_a_collector_is_named(environ: Mapping[str, str], wanted: bool) -> None:
    assert is_wanted(environ) is wanted


def test_nothing_is_imported_without_a_collector() -> None:
    code = (
        "import asyncio, sys\nfrom bot.tracing.setup import open_tracer\nimport bot.app\n"
        "async def main():\n    async with open_tracer({}): pass\nasyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


async def test_a_missing_package_costs_the_traces_and_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bot.tracing.otel", None)
    with capture_logs() as lines:
        async with open_tracer({ENDPOINT: "http://127.0.0.1:4318"}) as tracer:
            assert isinstance(tracer, NullTracer)
    assert [(line["event"], line["reason"]) for line in lines] == [("no traces", NOT_INSTALLED)]
    assert "threadline[otel]" in NOT_INSTALLED


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({ENDPOINT: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({ENDPOINT: "collector:4318"}, "http://"),
        ({ENDPOINT: "http://c:4318", "OTEL_BSP_MAX_QUEUE_SIZE": "1"}, "invalid"),
    ],
)
async def test_variables_that_cannot_be_used_cost_the_traces_and_one_line(
    environ: Mapping[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as lines:
        async with open_tracer(environ) as tracer:
            assert isinstance(tracer, NullTracer)
    (line,) = lines
    assert words in line["reason"]


async def test_a_collector_that_never_answers_delays_neither_spans_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its queue is bounded, and the process ends after CLOSE_SECONDS."""
    monkeypatch.setattr(otel, "CLOSE_SECONDS", 0.3)
    silent = socket.create_server(("127.0.0.1", 0))  # connections are never accepted
    port = silent.getsockname()[1]
    environ = {ENDPOINT: f"http://127.0.0.1:{port}", "OTEL_BSP_MAX_QUEUE_SIZE": "64"}
    environ |= {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with silent:
        async with open_tracer(environ) as tracer:
            for turn in range(2_000):
                tracer.received(key(), Accepted(Receipt.QUESTION, 1, turn), time.time())
            began = time.monotonic()
        assert time.monotonic() - began < 5


async def test_a_collector_that_fails_costs_only_the_spans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with collecting() as collector:
        collector.status = 400  # which the exporter does not repeat
        monkeypatch.setenv(ENDPOINT, collector.url)
        async with open_tracer({ENDPOINT: collector.url}) as tracer:
            tracer.received(key(), Accepted(Receipt.QUESTION, 1, 1), time.time())
        assert collector.headers != [] and collector.spans == []


async def test_the_last_spans_are_sent_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collecting() as collector:
        monkeypatch.setenv(ENDPOINT, collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "helpdesk")
        async with open_tracer({ENDPOINT: collector.url, "OTEL_SERVICE_NAME": "h"}) as tracer:
            tracer.received(key(), Accepted(Receipt.QUESTION, 1, 7), time.time())
        (span,) = collector.named("receive message")
        assert span.attributes == {"threadline.turn.id": 7, "threadline.platform": "sim"}
        assert collector.resources[0]["service.name"] == "helpdesk"


def test_variables_of_the_env_file_count_and_the_environment_wins() -> None:
    environ = {"OTEL_SERVICE_NAME": "mine"}
    dotenv = {ENDPOINT: " http://c:4318 ", "OTEL_SERVICE_NAME": "other", "LLM": "echo"}
    add_variables(environ, dotenv)
    assert environ == {ENDPOINT: "http://c:4318", "OTEL_SERVICE_NAME": "mine"}
    assert find_misspelled(["LLM"], dotenv, {}) == {}


def test_keys_for_the_collector_stay_out_of_the_log() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abcdef123,tenant=acme-corp",
        ENDPOINT: "https://user:pass-word@collector.test",
    }
    redact = Redactor(secrets(environ))
    line = {"event": "abcdef123 pass-word acme-corp", "url": "https://user:pass-word@x"}
    said = str(redact(None, "", line))
    assert "abcdef123" not in said and "pass-word" not in said and "acme-corp" not in said


def test_outside_of_turns_nothing_is_recorded() -> None:
    with tracing.span("anything") as span:
        span.set({"a": 1})
        span.mark("b")
    with tracing.request_span("GET", "/"):
        assert not tracing.current().is_recording
