"""The baseline: a plain publisher that edits each stream every second, as most bots do.

Run as `python -m tests.bench.baseline` with the bot's own settings. It uses the platforms' real
clients as they come, with their own handling of limits: discord.py waits and repeats requests by
default; slack_sdk is given its rate limit handler. Streams share no budget.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from bot.llm.openai import make_client
from tests.support.model_kit import openai_provider

EVERY = 1.0  # seconds from an edit's response to the next edit's request
PAGE = {"discord": 2_000, "slack": 3_900}  # characters that fit into a message
RETRIES = 100  # attempts at a request that Slack answers with 429

Post = Callable[[str], Awaitable[Callable[[str], Awaitable[object]]]]


async def publish(tokens: AsyncIterator[str], post: Post, limit: int) -> None:
    """Post the first text immediately, edit every second, and begin a new message when one is
    full."""
    shown, pages, edit, at = "", "", None, 0.0
    async for text in with_pauses(tokens):
        if len(pages) + len(text) > limit and edit is not None:
            await edit(pages)
            pages, edit = "", None
        pages += text
        if not pages.strip() or (edit is not None and time.monotonic() < at + EVERY):
            continue
        if pages != shown:
            edit = await post(pages) if edit is None else await _edit_message(edit, pages)
            shown, at = pages, time.monotonic()
    if edit is not None and pages != shown:
        await edit(pages)


async def _edit_message(
    edit: Callable[[str], Awaitable[object]], text: str
) -> Callable[[str], Awaitable[object]]:
    await edit(text)
    return edit


async def with_pauses(tokens: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yields the text written since the last call, so that a slow request causes no backlog."""
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def fill() -> None:
        async for token in tokens:
            queue.put_nowait(token)
        queue.put_nowait(None)

    filling = asyncio.create_task(fill())
    ended = False
    while not ended:
        parts = [await queue.get()]
        while not queue.empty():
            parts.append(queue.get_nowait())
        ended = parts[-1] is None
        yield "".join(part for part in parts if part is not None)
    await filling


class Model:
    """Answers from the server at OPENAI_BASE_URL."""

    def __init__(self) -> None:
        self._client = make_client(openai_provider(os.environ["OPENAI_BASE_URL"]))

    async def answer(self, question: str) -> AsyncIterator[str]:
        stream = await self._client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": question}], stream=True
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


# ── the platforms ─────────────────────────────────────────────────────────────────────────────
async def on_discord(model: Model) -> None:
    import discord
    import yarl

    discord.http.Route.BASE = os.environ["DISCORD_API_URL"]
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["DISCORD_GATEWAY_URL"])
    intents = discord.Intents.default()
    intents.message_content = True
    client = discord.Client(intents=intents, allowed_mentions=discord.AllowedMentions.none())

    @client.event
    async def on_message(message: discord.Message) -> None:
        if client.user is None or client.user not in message.mentions:
            return

        async def post(text: str) -> Callable[[str], Awaitable[object]]:
            sent = await thread.send(text)
            return lambda text: sent.edit(content=text)

        thread = await message.create_thread(name="Answer")
        await publish(model.answer(message.content), post, PAGE["discord"])

    async with client:
        await client.start(os.environ["DISCORD_TOKEN"])


async def on_slack(model: Model) -> None:
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
    from slack_bolt.async_app import AsyncApp
    from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
    from slack_sdk.web.async_client import AsyncWebClient

    web = AsyncWebClient(
        os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"], timeout=600
    )
    web.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=RETRIES))
    app = AsyncApp(client=web)

    async def handle_mention(event: dict[str, str]) -> None:
        channel, thread = event["channel"], event["ts"]

        async def post(text: str) -> Callable[[str], Awaitable[object]]:
            sent = await web.chat_postMessage(channel=channel, thread_ts=thread, text=text)
            return lambda text: web.chat_update(channel=channel, ts=sent["ts"], text=text)

        await publish(model.answer(event["text"]), post, PAGE["slack"])

    app.event("app_mention")(handle_mention)
    handler = AsyncSocketModeHandler(app, os.environ["SLACK_APP_TOKEN"])
    await handler.start_async()  # type: ignore[no-untyped-call]


def main() -> None:
    """Serve the platform whose token is set until killed."""
    logging.basicConfig(level=logging.ERROR)
    serve = on_discord if os.environ.get("DISCORD_TOKEN") else on_slack

    async def run() -> None:
        await serve(Model())

    asyncio.run(run())


if __name__ == "__main__":
    main()
