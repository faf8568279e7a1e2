"""A real Prometheus that scrapes one bot, with the project's configuration and shorter
intervals."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from tests.support.ports import free_port
from tests.support.promql import ALERTS

EVERY = "500ms"
"""The interval between scrapes, and between evaluations of alerts; also the time limit of a
scrape."""


class Prometheus:
    """Scrapes `target` (HOST:PORT) with `token`. An alert fires as soon as its condition holds:
    `promtool test rules` checks how long it has to hold."""

    def __init__(self, folder: Path, *, target: str, token: str) -> None:
        folder.mkdir()
        self._folder, self._port = folder, free_port()
        config = yaml.safe_load(ALERTS.with_name("prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": EVERY, "evaluation_interval": EVERY}
        (job,) = config["scrape_configs"]
        job["authorization"] = {"credentials": token}
        job["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        rules, count = re.subn(r"\n +for: \w+", "", ALERTS.read_text())
        assert count > 4
        (folder / ALERTS.name).write_text(rules)

    async def __aenter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._session = aiohttp.ClientSession(
            f"http://127.0.0.1:{self._port}", timeout=aiohttp.ClientTimeout(total=30)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        self._process.kill()  # its data is disposable
        await self._process.wait()

    async def ready(self) -> bool:
        """Whether it answers."""
        assert self._process.returncode is None, (self._folder / "log").read_text()
        try:
            async with self._session.get("/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def query(self, expression: str) -> list[Any]:
        """The result of an expression, which Prometheus must accept."""
        async with self._session.get("/api/v1/query", params={"query": expression}) as response:
            body = await response.json()
        assert body["status"] == "success", (expression, body)
        result: list[Any] = body["data"]["result"]
        return result

    async def firing(self) -> dict[str, dict[str, str]]:
        """The labels of each alert that fires, by its name."""
        async with self._session.get("/api/v1/alerts") as response:
            found = (await response.json())["data"]["alerts"]
        return {
            alert["labels"]["alertname"]: alert["labels"]
            for alert in found
            if alert["state"] == "firing"
        }
