"""Everything that a Slack thread shows reaches the model, end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.sims.model.client import ModelSim
from tests.sims.slack import ids
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import SlackDriver


async def test_an_alert_a_forwarded_message_and_a_channels_name_reach_the_model(
    model: ModelSim, tmp_path: Path
) -> None:
    async with SlackSim() as sim:
        settings = {
            **SlackDriver(sim).settings(),
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "sk-simulated",
        }
        alert = await sim.say(
            ids.OTHER_BOT_USER, ids.GENERAL, "api is down &amp; slow", username="Alerts", raw=True
        )
        forward = {"is_share": True, "author_id": ids.BOB, "text": f"it began in <#{ids.RANDOM}>"}
        async with BotProcess(tmp_path, settings):
            await sim.say(
                ids.ALICE,
                ids.GENERAL,
                "why?",
                thread_ts=alert,
                mention=True,
                attachments=[forward],
            )

            async def requests() -> list[dict[str, Any]]:
                return await model.requests("chat/completions")

            (request,) = await sim.until(requests)
    last = request["body"]["messages"][-1]
    assert last["role"] == "user"
    assert last["content"].endswith(
        "Alerts wrote:\n> api is down & slow\n\n"
        "alice: why?\n\nForwarded message from bob:\n> it began in #random"
    )
