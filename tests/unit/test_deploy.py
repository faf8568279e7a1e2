"""The container and the systemd unit have minimal privileges and a health check that works."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(
    ("status", "port", "code"), [(200, True, 0), (503, True, 1), (503, False, 0)]
)
def test_the_containers_health_check_asks_healthz(status: int, port: bool, code: int) -> None:
    """It fails if /healthz does; if no port is configured, it passes without a request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    (words,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    program, *rest = json.loads(words)
    assert program == "python"
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = os.environ | {"HTTP_PORT": str(server.server_port) if port else ""}
        done = subprocess.run(
            [sys.executable, *rest], env=environ, capture_output=True, check=False
        )
        server.shutdown()
    assert done.returncode == code


def test_the_container_runs_as_a_user_on_a_pinned_version() -> None:
    lines = DOCKERFILE.splitlines()
    assert lines.index("USER 10001") < next(
        number for number, line in enumerate(lines) if line.startswith("ENTRYPOINT")
    )
    stages = re.findall(r"^FROM (python:\d+\.\d+\.\d+-\S+)( AS build)?$", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2 and len({image for image, _ in stages}) == 1
    assert DOCKERFILE.count("--require-hashes --no-deps") == 1


def test_the_unit_is_hardened() -> None:
    unit = (ROOT / "deploy" / "systemd" / "threadline.service").read_text()
    options = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    wanted = {
        "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
        "PrivateTmp": "yes", "PrivateDevices": "yes", "CapabilityBoundingSet": "",
        "RestrictNamespaces": "yes", "SystemCallFilter": "@system-service",
        "StateDirectory": "threadline", "DynamicUser": "yes", "UMask": "0077",
        "Type": "notify", "NotifyAccess": "main", "WatchdogSec": "60",
    }  # fmt: skip
    assert {name: options.get(name) for name in wanted} == wanted


def test_the_control_socket_is_where_the_bot_may_write() -> None:
    """This holds with PostgreSQL too, where the default is the working folder, which is read-only
    in both."""
    unit = (ROOT / "deploy" / "systemd" / "threadline.service").read_text()
    for text, folder in ((DOCKERFILE, "/tmp"), (unit, "/run/threadline")):
        (socket,) = re.findall(r"CONTROL_SOCKET=(\S+)", text)
        assert str(Path(socket).parent) == folder
    assert "\nRuntimeDirectory=threadline\n" in unit


def test_settings_history_and_databases_are_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".env", ".threadline_history", "*.db"} <= set(ignored)
