"""Traces of the running bot: real platform clients, real exporter, and a collector over HTTP."""

from __future__ import annotations

from tests.e2e.test_conversation import STORY, whole
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.collector import Collector, SeenSpan, collecting
from tests.support.harness import BotProcess
from tests.support.platform_driver import PlatformDriver

POSTS = {
    "discord": ("POST /channels/{channel_id}/messages",),
    "slack": ("POST chat.postMessage", "POST chat.startStream"),
}
QUESTION = "is it launch-code-1234?"


async def test_a_turn_that_a_crash_interrupts_is_one_trace(
    driver: PlatformDriver, model: ModelSim, bot: BotProcess
) -> None:
    """It contains the spans of both processes, and the next process adds its first span."""
    await model.script(Answer(text=STORY, wait_at=20, times=1), Answer(text=STORY, rate=0))
    async with collecting() as collector:
        bot.set(
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="api-key=collector-secret",
            OTEL_BSP_SCHEDULE_DELAY="50",
        )
        async with bot:
            thread = await driver.mention(QUESTION)
            await _wait_for_any(collector, POSTS[driver.name])
            await model.until(model.streams)  # whose first answer pauses in the middle
            await bot.kill()
            assert collector.named("turn") == []
            await bot.start()
            await bot.ready()
            await whole(driver, thread, STORY.strip())
            (root,) = await collector.wait_for("turn")
    _judge(collector, root)
    assert "collector-secret" not in bot.log_text()
    assert collector.headers[0]["api-key"] == "collector-secret"
    lines = [line for line in bot.events("turn ended") if line["trace_id"] == root.trace]
    assert [line["turn"] for line in lines] == [1]


async def _wait_for_any(collector: Collector, names: tuple[str, ...]) -> None:
    while not any(span.name in names for span in collector.spans):
        await collector.wait_for_request()


def _judge(collector: Collector, root: SeenSpan) -> None:
    spans = {span.id: span for span in collector.spans if span.trace == root.trace}
    assert len({span.id for span in collector.spans}) == len(collector.spans)
    assert root.parent == "" and root.attributes["threadline.attempts"] == 2
    (attempt,) = (span for span in spans.values() if span.name == "attempt")
    assert attempt.attributes["threadline.attempt.deaths"] == 1
    (link,) = attempt.links
    # The first attempt died with its process, so its span is missing; its children are there.
    orphans = {span.parent for span in spans.values()} - spans.keys() - {""}
    assert link[1] in orphans and link[0] == root.trace
    posted = [s for s in spans.values() if s.name in POSTS["discord"] + POSTS["slack"]]
    assert {span.attributes["http.response.status_code"] for span in posted} == {200}
    assert any(span.parent == attempt.id for span in spans.values() if span.name == "wait for slot")
    (chat, *_) = (s for s in spans.values() if s.name == "chat sim" and s.parent == attempt.id)
    assert chat.attributes["gen_ai.usage.output_tokens"] > 0
    assert all(span.begins <= span.ends for span in spans.values())
    told = b"".join(collector.bodies)
    for text in (b"launch-code", b"Once there was", b"sk-simulated", b"collector-secret", b"Alice"):
        assert text not in told
    assert collector.resources[0]["service.name"] == "threadline"
