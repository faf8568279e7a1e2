"""/metrics, /healthz and /readyz of a running core: who may read them, and what they say."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.common.clock import SystemClock
from bot.common.supervisor import Supervisor
from bot.config.loader import load
from bot.domain.errors import CannotStart
from bot.domain.operation import StoreLoad
from bot.operation.definitions import LIBRARY_METRICS, METRICS
from bot.wiring.web import build_metrics_component
from tests.sims.model.client import ModelSim
from tests.support.ports import free_port
from tests.support.web_kit import Site, serving, until

TOKEN = "metrics-token-of-24-chars"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def model() -> AsyncIterator[ModelSim]:
    async with ModelSim() as sim:
        yield sim


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site that echoes questions."""
    async with serving(tmp_path, METRICS_TOKEN=TOKEN) as site:
        yield site


@pytest.fixture
async def site_with_model(tmp_path: Path, model: ModelSim) -> AsyncIterator[Site]:
    async with serving(tmp_path, model, METRICS_TOKEN=TOKEN) as site:
        yield site


async def get(site: Site, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, content type and body."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(site.url + path, headers=headers) as response,
    ):
        return response.status, response.headers["Content-Type"], await response.text()


async def scrape(site: Site) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples by name, and by the values of their labels in the order of the labels' names."""
    status, _, body = await get(site, "/metrics", **OPERATOR)
    assert status == 200
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(body):
        for sample in family.samples:
            found.setdefault(sample.name, {})[
                tuple(value for _, value in sorted(sample.labels.items()))
            ] = sample.value
    return found


async def ask(site: Site, text: str, status: int = 200) -> None:
    async with site.person() as person:
        await person.post("/api/chat", {"prompt": text}, status)


async def test_metrics_need_their_token(site: Site) -> None:
    """A token of the page does not count as one."""
    for headers in ({}, {"Authorization": "Bearer wrong-token-of-16"}, {"Authorization": TOKEN}):
        status, kind, _ = await get(site, "/metrics", **headers)
        assert (status, kind) == (401, "application/json")
    # Prometheus may use any host name, since the token is what guards the metrics.
    status, kind, body = await get(site, "/metrics", **OPERATOR, Host="threadline.internal")
    assert status == 200 and kind.startswith("text/plain") and "threadline_info{" in body
    asked = "application/openmetrics-text;version=1.0.0"
    status, kind, body = await get(site, "/metrics", **OPERATOR, Accept=asked)
    assert kind.startswith("application/openmetrics-text") and body.endswith("# EOF\n")


async def test_without_a_token_there_are_no_metrics(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        assert site.monitoring.metrics is None
        assert (await get(site, "/metrics", **OPERATOR))[0] == 404


async def test_an_answer_is_counted_at_every_boundary(
    site_with_model: Site, model: ModelSim
) -> None:
    """Turn, first text, tokens, store and events; a failed turn with its reason."""
    site = site_with_model
    await model.say("All is well.")
    await ask(site, "Are you well?")
    await model.refuse("bad_key", times=None)
    await ask(site, "And now?", 502)

    async def find_both_ended() -> Any:
        found = await scrape(site)
        turns = found["threadline_turns_total"]
        if turns["answered", "web"] != 1 or turns["failed", "web"] != 1:
            return None
        # Figures from the database may be a second old.
        return found if sum(found["threadline_turns"].values()) == 0 else None

    found = await until(find_both_ended)
    failures = found["threadline_turn_failures_total"]
    assert {reason for reason, count in failures.items() if count} == {("web", "key_refused")}
    assert found["threadline_first_text_seconds_count"]["web",] == 2
    assert found["threadline_events_total"]["web",] == 2
    assert found["threadline_model_requests_total"] == {("openai:sim", "answer"): 1}
    tokens = found["threadline_model_tokens_total"]
    assert tokens["input", "openai:sim"] > 0 and tokens["output", "openai:sim"] > 0
    assert found["threadline_store_seconds_count"]["write",] > 4
    assert found["threadline_store_seconds_count"]["read",] > 0
    assert found["threadline_store_failures_total"] == {("read",): 0, ("write",): 0}
    assert found["threadline_turns"]["web", "waiting"] == 0
    assert found["threadline_oldest_waiting_question_seconds"]["web",] == 0
    assert found["threadline_database_bytes"][()] > 10_000
    assert found["threadline_part_up"]["database",] == 1
    breakers = found["threadline_circuit_breakers"]
    assert breakers["openai", "closed"] == 1 and breakers["openai", "open"] == 0
    assert found["threadline_last_reply_timestamp_seconds"]["web",] > 1e9


async def test_a_waiting_question_has_an_age_and_a_silent_model_a_slot(
    site_with_model: Site, model: ModelSim
) -> None:
    """Nothing of the reply is visible while the model is silent, so its question counts as
    waiting."""
    site = site_with_model
    await model.say("At last.", wait_at=0)
    async with site.person() as person:
        thread = (await person.say("@threadline take your time"))["thread"]

        async def waits() -> Any:
            found = await scrape(site)
            age = found["threadline_oldest_waiting_question_seconds"]["web",]
            turns = found["threadline_turns"]["web", "running"]
            return age > 0 and turns == found["threadline_answers_running"][()] == 1

        await until(waits)
        await model.release()

        async def is_answered() -> Any:
            return [one for one in await person.replies(thread) if one["state"] == "done"]

        await until(is_answered)


async def test_no_label_has_an_id_or_a_name(site: Site) -> None:
    """No metric contains people or conversations, whatever their names."""
    async with site.person() as person:
        conversation = (await person.post("/conversation"))["id"]
        await person.post("/api/chat", {"prompt": "hello", "name": "Quarterly Numbers"})
    _, _, body = await get(site, "/metrics", **OPERATOR)
    assert conversation not in body and "Quarterly" not in body and "local" not in body
    labels = set(re.findall(r'[{,](\w+)="', body))
    known = {label for each in METRICS for label in each.labels}
    assert labels <= known | {"le", "generation"}


async def test_every_sample_is_defined_and_documented_ones_of_the_library_exist(
    site: Site,
) -> None:
    found = await scrape(site)
    defined = {name for each in METRICS for name in each.sample_names}
    assert set(found) - defined == set(LIBRARY_METRICS)


async def test_readyz_says_no_as_soon_as_the_bot_drains(site: Site) -> None:
    """The rest of the report stays readable."""
    await ask(site, "hello")

    async def ready() -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{site.url}/readyz") as response,
        ):
            return response.status, await response.json()

    async def find_reply() -> Any:
        answer = await ready()
        ended = answer[1]["last_reply_seconds"] is not None
        return answer if ended and answer[1]["oldest_waiting_question_seconds"] == 0 else None

    status, body = await until(find_reply)
    assert (status, body["ready"], body["not_ready"]) == (200, True, [])
    assert body["platforms"] == {"web": {"ok": True}}
    assert body["database"] == {"ok": True}
    assert body["last_event_seconds"] >= body["last_reply_seconds"] >= 0
    assert body["oldest_waiting_question_seconds"] == 0

    site.monitoring.begin_draining()
    status, body = await ready()
    assert status == 503 and body["draining"] is True
    assert body["not_ready"] == ["The bot finishes running answers and starts no new ones."]
    assert (await get(site, "/healthz"))[0] == 200  # it is alive, so nothing should kill it
    assert (await scrape(site))["threadline_draining"][()] == 1


async def test_livez_says_no_only_for_what_a_restart_repairs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not say no while the bot drains or waits; the probe also works under a pod's
    address."""
    site.monitoring.begin_draining()
    status, _, body = await get(site, "/livez", Host="10.1.2.3:8080")
    assert (status, json.loads(body)) == (200, {"alive": True})

    async def hang() -> StoreLoad:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("bot.operation.readings.LOAD_SECONDS", 0.0)
    monkeypatch.setattr("bot.operation.readings.FRESH_SECONDS", 0.0)
    readings = site.monitoring._readings
    readings.sources = replace(readings.sources, load=hang)
    status, _, body = await get(site, "/livez")
    assert (status, json.loads(body)) == (503, {"alive": False})


async def test_probes_answer_only_get_and_head(site: Site) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/readyz", "/healthz", "/livez"):
            async with session.post(site.url + path) as response:
                assert response.status == 405
            async with session.head(site.url + path) as response:
                assert response.status == 200


async def test_a_separate_port_serves_only_metrics_and_probes(tmp_path: Path) -> None:
    """It needs no token on loopback, but refuses a page's host name that was rebound to
    loopback."""
    port = free_port()
    environ = {"METRICS_PORT": str(port), "METRICS_HOST": "127.0.0.1"}
    async with serving(tmp_path, **environ) as site:
        component = build_metrics_component(load(environ, None), site.monitoring, SystemClock())
        running = asyncio.create_task(component.run())
        assert (await get(site, "/metrics"))[0] == 404
        site.url = f"http://127.0.0.1:{port}"

        async def has_served() -> bool:
            return component.has_served()

        await until(has_served)
        assert "threadline_info{" in (await get(site, "/metrics"))[2]
        assert (await get(site, "/metrics", Host="evil.example"))[0] == 403
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/livez", 200)):
            assert (await get(site, path))[0] == status
        assert (await get(site, "/conversation"))[0] == 404
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_taken_port_for_metrics_is_named_and_costs_only_the_metrics(tmp_path: Path) -> None:
    """The port is taken, for example, when a process starts beside the one that it replaces."""
    async with serving(tmp_path, METRICS_TOKEN=TOKEN) as site:
        environ = {"METRICS_PORT": str(site.port)}
        component = build_metrics_component(load(environ, None), site.monitoring, SystemClock())
        with pytest.raises(CannotStart, match="set METRICS_PORT to a free one"):
            await component.run()
        supervisor = Supervisor(SystemClock())
        supervisor.add(component)
        supervising = asyncio.create_task(supervisor.run())

        async def is_named() -> bool:
            return "METRICS_PORT" in str(supervisor.health().get("metrics"))

        await until(is_named)
        assert not supervising.done()
        supervising.cancel()
        await asyncio.gather(supervising, return_exceptions=True)
