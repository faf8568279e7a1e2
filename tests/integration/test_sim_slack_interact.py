"""Commands, shortcuts, buttons and modals of the simulated Slack, with the real slack-bolt."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from tests.sims.slack import (
    ALICE,
    GENERAL,
)
from tests.sims.slack.bolt_app import MODES, Connect, connector, create_app, wait_until_delivered
from tests.sims.slack.local import LocalSlack

BUTTON = {
    "type": "button",
    "action_id": "stop",
    "value": "turn-7",
    "text": {"type": "plain_text", "text": "Stop"},
}


@pytest.fixture
async def sim() -> AsyncIterator[LocalSlack]:
    async with LocalSlack() as running:
        await running.delivery(retry_scale=0.001)
        yield running


@pytest.fixture(params=sorted(MODES))
async def connect(request: pytest.FixtureRequest, sim: LocalSlack) -> AsyncIterator[Connect]:
    """Connects an app, in each of the two modes."""
    async with connector(sim, request.param) as connected:
        yield connected


async def test_a_slash_command_is_answered(sim: LocalSlack, connect: Connect) -> None:
    """The answer comes in the acknowledgement and at the response_url; the command cannot be used
    in a thread."""
    app = create_app(sim)

    @app.command("/reset")
    async def reset(ack: Any, respond: Any, command: dict[str, Any]) -> None:
        await ack(f"Which one, {command['user_name']}?")
        await respond("Later: " + command["text"])

    await connect(app)
    result = await sim.slash(ALICE, GENERAL, "/reset", "now")
    assert result["acked"]
    responses = await sim.responses(result["hook"])
    assert {(a["via"], a["text"]) for a in responses} == {
        ("ack", "Which one, alice?"),
        ("response_url", "Later: now"),
    }
    assert len(await sim.ephemeral(ALICE)) == 2
    with pytest.raises(AssertionError, match="not supported in threads"):
        await sim.slash(ALICE, GENERAL, "/reset", thread_ts="1700000000.000001")


async def test_a_shortcut_opens_a_modal(sim: LocalSlack, connect: Connect) -> None:
    """The trigger opens one view, whose submission is first answered with errors, then accepted."""
    app = create_app(sim)
    title = {"type": "plain_text", "text": "Reset"}
    view = {"type": "modal", "callback_id": "sure", "title": title, "blocks": []}

    @app.shortcut("reset")
    async def open_it(ack: Any, shortcut: dict[str, Any], client: AsyncWebClient) -> None:
        await ack()
        await client.views_open(trigger_id=shortcut["trigger_id"], view=view)

    @app.view("sure")
    async def handle_submission(ack: Any, view: dict[str, Any]) -> None:
        if view["state"]["values"]:
            await ack()
        else:
            await ack(response_action="errors", errors={"why": "needed"})

    await connect(app)
    ts = await sim.say(ALICE, GENERAL, "x")
    assert (await sim.shortcut(ALICE, "reset", channel=GENERAL, message_ts=ts))["acked"]
    opened = next(iter((await sim.state())["views"]))
    refused = await sim.view_submit(ALICE, opened, {})
    assert refused["payload"]["response_action"] == "errors"
    assert (await sim.view_submit(ALICE, opened, {"why": {}}))["payload"] is None
    assert (await sim.state())["views"] == {}


async def test_a_button_in_a_thread_is_pressed(sim: LocalSlack, connect: Connect) -> None:
    """The app replaces the message at the response_url."""
    app, clicks = create_app(sim), []

    @app.action("stop")
    async def stop(ack: Any, body: dict[str, Any], respond: Any) -> None:
        await ack()
        clicks.append((body["actions"][0]["value"], body["container"]["thread_ts"]))
        await respond(text="Stopped.", replace_original=True)

    await connect(app)
    root = await sim.say(ALICE, GENERAL, "x")
    blocks = [{"type": "actions", "elements": [BUTTON]}]
    args = {"channel": GENERAL, "text": "writing", "thread_ts": root, "blocks": blocks}
    ts = (await sim.api("chat.postMessage", **args)).body["ts"]
    assert (await sim.click(ALICE, GENERAL, ts, "stop"))["acked"]
    assert clicks == [("turn-7", root)]
    assert (await sim.thread(GENERAL, root))[-1]["shown"] == "Stopped."
    with pytest.raises(AssertionError, match="shows no stop"):
        await sim.click(ALICE, GENERAL, ts, "stop")


async def test_interactions_are_not_delivered_twice(sim: LocalSlack, connect: Connect) -> None:
    """One without a listener fails once."""
    await sim.delivery(ack_seconds=0.1)
    await connect(create_app(sim))
    result = await sim.slash(ALICE, GENERAL, "/unknown")
    assert not result["acked"]
    assert [d["kind"] for d in await wait_until_delivered(sim)].count("slash_commands") == 1


async def test_a_response_url_accepts_five_responses(sim: LocalSlack) -> None:
    """A sixth one, empty ones and other addresses are refused."""
    async with sim.socket() as raw:
        using = asyncio.create_task(sim.slash(ALICE, GENERAL, "/reset"))
        envelope = await raw.next()
        await raw.ack(envelope)
        await using
    url = envelope["payload"]["response_url"]
    assert (await sim.put(url, {}))[0] == 400
    responses = [await sim.put(url, {"text": str(number)}) for number in range(6)]
    assert [status for status, _ in responses] == [200, 200, 200, 200, 200, 404]
    assert (await sim.put(sim.url + "/respond/other", {"text": "x"}))[0] == 404
