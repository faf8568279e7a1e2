"""Runs simulated Discord, Slack and a model server with the bot, and lets you chat as Alice.

`python -m tests.sims` (or `make sims`). The bot runs as `python -m bot run` with the real
clients; `--no-bot` prints its settings instead, so that you can start it yourself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tests.sims.discord.client import DiscordSim
from tests.sims.model.client import ModelSim
from tests.sims.slack.client import SlackSim
from tests.support.harness import BotProcess
from tests.support.platform_driver import DiscordDriver, PlatformDriver, SlackDriver, ThreadRef

HELP = """\
Write a line: it mentions the bot in the channel, and the next ones go on in its thread.
  :discord :slack   where you are        :new      leave the thread
  :reset :stop      mention that word    :dm TEXT  a direct message
  :log              the bot's log        :quit     (or Ctrl-D)"""

# Seconds between two redraws of a screen; platforms show edits about once a second.
REDRAW_SECONDS = 0.1


class SimSession:
    """One person's view of both platforms."""

    def __init__(self, drivers: dict[str, PlatformDriver], bot: BotProcess | None) -> None:
        self._drivers, self._bot = drivers, bot
        self._driver = next(iter(drivers.values()))
        self._thread: ThreadRef | None = None
        self._shown: dict[object, str] = {}

    @property
    def prompt(self) -> str:
        """The prompt, which says where the person is."""
        return f"{self._driver.name}{' (thread)' if self._thread else ''}> "

    async def take(self, line: str) -> bool:
        """Execute an input line; returns False to quit."""
        word, _, rest = line.strip().partition(" ")
        match word:
            case ":quit":
                return False
            case ":discord" | ":slack":
                self._driver, self._thread = self._drivers[word[1:]], None
            case ":new":
                self._thread = None
            case ":log":
                print(self._bot.log_tail() if self._bot else "you run the bot yourself")
            case ":help" | "":
                print(HELP)
            case ":reset" | ":stop" if self._thread:
                await self._driver.mention_in(self._thread, word[1:])
            case ":dm":
                self._thread = await self._driver.direct(rest)
            case _ if self._thread:
                await self._driver.say(self._thread, line)
            case _:
                self._thread = await self._driver.mention(line)
        return True

    async def watch(self) -> None:
        """Print the bot's messages as they change, until cancelled."""
        while True:
            await asyncio.sleep(REDRAW_SECONDS)
            if self._thread is None:
                continue
            for seen in await self._driver.seen(self._thread):
                if self._shown.get(seen.id) != seen.text:
                    self._shown[seen.id] = seen.text
                    print(f"\n  [bot, version {seen.versions}] {seen.text}", flush=True)


async def main() -> None:
    """Run until the person leaves."""
    parser = argparse.ArgumentParser(prog="python -m tests.sims", description=__doc__)
    parser.add_argument("--no-bot", action="store_true", help="print settings, start no bot")
    options = parser.parse_args()
    async with DiscordSim() as discord, SlackSim() as slack, ModelSim() as model:
        drivers: dict[str, PlatformDriver] = {
            "discord": DiscordDriver(discord),
            "slack": SlackDriver(slack),
        }
        environ = {
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            **{name: value for s in drivers.values() for name, value in s.settings().items()},
        }
        await model.pace(rate=15, first_delay=0.4)
        print("\n".join(f"{name}={value}" for name, value in environ.items()), end="\n\n")
        async with _bot(environ, wanted=not options.no_bot) as bot:
            print(HELP)
            await _chat(SimSession(drivers, bot))


@contextlib.asynccontextmanager
async def _bot(environ: dict[str, str], *, wanted: bool) -> AsyncIterator[BotProcess | None]:
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="threadline-") as folder:
        async with BotProcess(Path(folder), environ) as bot:
            yield bot


async def _chat(session: SimSession) -> None:
    watching = asyncio.create_task(session.watch())
    try:
        while True:
            print(session.prompt, end="", flush=True)
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line or not await session.take(line.rstrip("\n")):
                return
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


if __name__ == "__main__":
    asyncio.run(main())
