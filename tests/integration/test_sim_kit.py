"""The base of the simulators: an error in a simulator also fails its test."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from tests.sims.kit import Sim, SimProcess


class FaultySim(Sim):
    """A simulator with a faulty route."""

    def setup(self) -> None:
        self.app.router.add_get("/mistake", self._fail)
        self.app.router.add_get("/refusal", self._refuse)

    async def _fail(self, _request: web.Request) -> web.Response:
        raise KeyError("missing")

    async def _refuse(self, _request: web.Request) -> web.Response:
        raise web.HTTPForbidden


class FaultyClient(SimProcess):
    """Runs `FaultySim` in this process."""

    def new_server(self) -> Sim:
        return FaultySim(rtt=self.rtt)


async def status_of(sim: SimProcess, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(sim.url + path) as response:
        return response.status


async def test_an_error_of_the_simulator_fails_the_test_that_got_over_it() -> None:
    sim = FaultyClient("tests.sims.none")
    with pytest.raises(AssertionError, match="the simulator failed: KeyError"):
        async with sim:
            assert await status_of(sim, "/mistake") == 500


async def test_refusals_faults_and_dropped_connections_are_no_errors() -> None:
    async with FaultyClient("tests.sims.none") as sim:
        assert await status_of(sim, "/refusal") == 403
        await sim.call("fault", status=500, times=1)
        assert await status_of(sim, "/mistake") == 500
        for after in (False, True):
            await sim.call("fault", drop=True, after=after, times=9)  # the client tries again
            with pytest.raises(aiohttp.ClientError):
                await status_of(sim, "/refusal")
            await sim.call("clear")


async def test_a_test_that_failed_keeps_its_own_error() -> None:
    with pytest.raises(ValueError, match="the test's own"):
        async with FaultyClient("tests.sims.none") as sim:
            await status_of(sim, "/mistake")
            raise ValueError("the test's own")


async def test_controls_give_and_take_copies() -> None:
    """If a test changes an object, the simulator's state does not change, just as over a socket."""
    async with FaultyClient("tests.sims.none") as sim:
        await status_of(sim, "/refusal")
        (await sim.requests())[0]["note"]["changed"] = True
        assert (await sim.requests())[0]["note"] == {}
        body = {"items": [1]}
        await sim.call("fault", match="/mistake", status=418, body=body)
        body["items"].append(2)
        async with aiohttp.ClientSession() as http, http.get(f"{sim.url}/mistake") as response:
            assert await response.json() == {"items": [1]}
