"""Discord, Slack and a model server on this machine, the bot between them, and you as Alice.

`python -m tests.sims` (or `make sims`). The bot runs as `python -m bot run` with the real clients;
`--no-bot` prints its settings instead, to start it yourself.
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
from tests.support.scenes import DiscordStage, SlackStage, Stage, ThreadRef

HELP = """\
Write a line: it mentions the bot in the channel, and the next ones go on in its thread.
  :discord :slack   where you are        :new      leave the thread
  :reset :stop      mention that word    :dm TEXT  a direct message
  :log              the bot's log        :quit     (or Ctrl-D)"""

# How often a screen is redrawn at most; platforms show edits about once a second.
REDRAW_SECONDS = 0.1


class Desk:
    """One person's seat in front of both platforms."""

    def __init__(self, stages: dict[str, Stage], bot: BotProcess | None) -> None:
        self._stages, self._bot = stages, bot
        self._stage = next(iter(stages.values()))
        self._place: ThreadRef | None = None
        self._shown: dict[object, str] = {}

    @property
    def prompt(self) -> str:
        """Where the person is."""
        return f"{self._stage.name}{' (thread)' if self._place else ''}> "

    async def take(self, line: str) -> bool:
        """Do what a line says; False to leave."""
        word, _, rest = line.strip().partition(" ")
        match word:
            case ":quit":
                return False
            case ":discord" | ":slack":
                self._stage, self._place = self._stages[word[1:]], None
            case ":new":
                self._place = None
            case ":log":
                print(self._bot.log_tail() if self._bot else "you run the bot yourself")
            case ":help" | "":
                print(HELP)
            case ":reset" | ":stop" if self._place:
                await self._stage.mention_in(self._place, word[1:])
            case ":dm":
                self._place = await self._stage.direct(rest)
            case _ if self._place:
                await self._stage.say(self._place, line)
            case _:
                self._place = await self._stage.mention(line)
        return True

    async def watch(self) -> None:
        """Print what the bot's messages become, for ever."""
        while True:
            await asyncio.sleep(REDRAW_SECONDS)
            if self._place is None:
                continue
            for seen in await self._stage.seen(self._place):
                if self._shown.get(seen.id) != seen.text:
                    self._shown[seen.id] = seen.text
                    print(f"\n  [bot, version {seen.versions}] {seen.text}", flush=True)


async def main() -> None:
    """Run until the person leaves."""
    parser = argparse.ArgumentParser(prog="python -m tests.sims", description=__doc__)
    parser.add_argument("--no-bot", action="store_true", help="print settings, start no bot")
    options = parser.parse_args()
    async with DiscordSim() as discord, SlackSim() as slack, ModelSim() as model:
        stages: dict[str, Stage] = {"discord": DiscordStage(discord), "slack": SlackStage(slack)}
        environ = {
            "LLM": "openai:sim",
            "OPENAI_BASE_URL": model.base_url,
            **{name: value for s in stages.values() for name, value in s.settings().items()},
        }
        await model.pace(rate=15, first_delay=0.4)
        print("\n".join(f"{name}={value}" for name, value in environ.items()), end="\n\n")
        async with _bot(environ, wanted=not options.no_bot) as bot:
            print(HELP)
            await _chat(Desk(stages, bot))


@contextlib.asynccontextmanager
async def _bot(environ: dict[str, str], *, wanted: bool) -> AsyncIterator[BotProcess | None]:
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="threadline-") as folder:
        async with BotProcess(Path(folder), environ) as bot:
            yield bot


async def _chat(desk: Desk) -> None:
    watching = asyncio.create_task(desk.watch())
    try:
        while True:
            print(desk.prompt, end="", flush=True)
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line or not await desk.take(line.rstrip("\n")):
                return
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


if __name__ == "__main__":
    asyncio.run(main())
