"""Draw `docs/conversation.svg` from what the simulated Discord recorded of a real conversation.

`make picture` runs the bot against the simulators, asks two questions, and draws every moment from
the record: nothing in the picture is written by hand.
"""

from __future__ import annotations

import asyncio
import tempfile
import textwrap
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from tests.sims.discord.client import DiscordSim
from tests.sims.model.answers import Answer
from tests.sims.model.client import ModelSim
from tests.support.harness import ROOT, BotProcess
from tests.support.scenes import DiscordStage, Seen, ThreadRef

TARGET = ROOT / "docs" / "conversation.svg"
FIRST, SECOND = "How do I undo my last git commit?", "and if I already pushed it?"
ANSWER = """\
To undo it but **keep your changes** in the working tree:

```sh
git reset --soft HEAD~1
```

To throw the changes away as well, use `--hard` instead of `--soft`."""
FOLLOW_UP = "Then add a commit that reverses it: `git revert HEAD`. Nobody's history changes."

WIDTH, PANE, GAP = 960, 300, 20
LINE, COLUMNS = 20, 38


@dataclass(slots=True)
class Drawing:
    """SVG elements, and how far down they reach."""

    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, kind: str) -> None:
        self.parts.append(f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="{kind}"/>'
        )

    def message(self, x: float, y: float, who: str, text: str) -> float:
        """One message with its author; returns the y below it."""
        kind = "bot" if who == "Threadline" else "person"
        self.parts.append(f'<circle cx="{x + 14}" cy="{y + 12}" r="13" class="{kind}"/>')
        self.text(x + 14, y + 17, who[0], "initial")
        self.text(x + 38, y + 8, who, "name")
        y += 28
        for line, mono in _lines(text):
            if mono:
                self.box(x + 34, y - 15, PANE - 60, LINE + 2, "code")
            self.text(x + 38, y, line, "mono" if mono else "body")
            y += LINE
        return y + 12


def _lines(markdown: str) -> list[tuple[str, bool]]:
    lines: list[tuple[str, bool]] = []
    code = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            code = not code
        elif code:
            lines.append((line, True))
        else:
            plain = line.replace("**", "").replace("`", "")
            lines.extend((part, False) for part in textwrap.wrap(plain, COLUMNS))
    return lines


async def record() -> tuple[list[dict[str, Any]], list[Seen], dict[str, Any]]:
    """Play the conversation; the first reply's versions, all replies, and the thread."""
    with tempfile.TemporaryDirectory() as folder:
        async with DiscordSim() as sim, ModelSim() as model:
            stage = DiscordStage(sim)
            await model.script(
                Answer(match="undo", text=ANSWER, rate=14), Answer(match="pushed", text=FOLLOW_UP)
            )
            environ = {
                **stage.settings(),
                "LLM": "openai:sim",
                "OPENAI_BASE_URL": model.base_url,
            }
            async with BotProcess(Path(folder), environ):
                place = await stage.mention(FIRST)
                await _whole(stage, place, 1)
                await stage.say(place, SECOND, user="alice")
                await _whole(stage, place, 2)
                seen = await stage.seen(place)
                first = await sim.message(seen[0].id)
                return first["versions"], seen, await sim.channel(place.thread)


async def _whole(stage: DiscordStage, place: ThreadRef, count: int) -> None:
    async def check() -> bool:
        seen = await stage.seen(place)
        return len(seen) == count and not seen[-1].working

    await stage.sim.until(check, 30)


def draw(versions: list[dict[str, Any]], seen: list[Seen], thread: dict[str, Any]) -> str:
    """The picture: three moments of the first reply, then the thread as it stands."""
    drawing = Drawing()
    began = versions[0]["at"]
    moments = [versions[0], versions[len(versions) // 2], versions[-1]]
    lowest = 0.0
    drawing.text(GAP, 30, f"# general  ›  {thread['name']}", "thread")
    for column, version in enumerate(moments):
        x, y = GAP + column * (PANE + GAP), 78.0
        after = version["at"] - began
        label = "first words" if column == 0 else f"{after:.1f} s later"
        if column == 2:
            label += ": whole, and the next question"
        drawing.text(x, 56, label, "moment")
        y = drawing.message(x, y, "Alice", f"@Threadline {FIRST}")
        y = drawing.message(x, y, "Threadline", version["content"])
        if column == 2:
            y = drawing.message(x, y, "Alice", SECOND)
            y = drawing.message(x, y, "Threadline", seen[-1].text)
        lowest = max(lowest, y)
    height = int(lowest + 8)
    return _HEAD.format(width=WIDTH, height=height) + "\n".join(drawing.parts) + "\n</svg>\n"


_HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{width}} {{height}}" role="img" \
aria-label="A mention, and the reply as it grows in the thread">
<style>
  text {{{{ font: 14px system-ui, sans-serif; fill: #24292f; }}}}
  .thread {{{{ font-weight: 600; }}}} .moment {{{{ fill: #57606a; font-size: 12px; }}}}
  .name {{{{ font-weight: 600; }}}} .body {{{{ font-size: 13px; }}}}
  .mono {{{{ font: 12.5px ui-monospace, monospace; }}}}
  .initial {{{{ fill: #fff; font-weight: 700; text-anchor: middle; }}}}
  .person {{{{ fill: #8250df; }}}} .bot {{{{ fill: #1a7f64; }}}} .code {{{{ fill: #eaeef2; }}}}
  .paper {{{{ fill: #fff; stroke: #d0d7de; }}}}
</style>
<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="99%" rx="12" class="paper"/>
"""


def main() -> None:
    """Write the picture."""
    TARGET.write_text(draw(*asyncio.run(record())))


if __name__ == "__main__":
    main()
