"""The README's screenshots of the page, taken from a real conversation.

`make pictures` writes them to docs/; other runs only check that they can be taken.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Locator, expect

from tests.sims.model.answers import Answer
from tests.support.browser import PHONE, House, Tab, Visitor, needs_browser

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

DOCS = Path(__file__).parents[2] / "docs"
KEEP = os.environ.get("THREADLINE_SCREENSHOTS") == "1"
SCALE = 1.5 if KEEP else 1.0
MOST_BYTES = 250_000  # the most bytes that a README should make its readers download
MODEL = "openai:gpt-5-mini"

RACE = """\
A **race condition** is a bug whose outcome depends on *timing*: two pieces of code use the same \
state, and which one runs first decides the result.

```python
counter = 0

def add(times: int) -> None:
    global counter
    for _ in range(times):
        counter += 1  # read, add, write: three steps, not one
```

Run it in two threads, and additions get lost:

| step | thread A  | thread B  | counter |
|-----:|:----------|:----------|--------:|
|    1 | reads 41  |           |      41 |
|    2 |           | reads 41  |      41 |
|    3 | writes 42 |           |      42 |
|    4 |           | writes 42 |      42 |

Three ways out:

1. **A lock** around the read and the write: `with lock: counter += 1`
2. **One owner**: a single thread changes it, the others send it messages
3. **No shared state**: each thread counts for itself, and you add up at the end
"""
LOCK = """\
Put the lock where the state is, so that no caller can forget it:

```python
class Counter:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    def add(self, n: int = 1) -> int:
        with self._lock:
            self._value += n
            return self._value
```

`with` releases it even when something inside raises. Hold it for as short as you can: no network,
no file, no `await` while it is held.
"""
TALK = (
    ("name a tool that tells why my CI is slow", "`time` first, then a trace of the jobs."),
    (
        "how do I undo the last commit, but keep the changes?",
        "`git reset --soft HEAD~1` does exactly that.",
    ),
    ("what is a race condition? With a short Python example, please", RACE),
)


TERMINAL = """<body style="margin:0;background:#16181d"><pre style="margin:0;padding:18px 22px;
color:#d6d9e0;font:15px/1.5 'JetBrains Mono',monospace">$ make deploy
<span style="color:#7fd1b9">✓</span> build       41 s
<span style="color:#7fd1b9">✓</span> push        12 s
<span style="color:#ef6f6c">✗</span> migrate      2 s

<span style="color:#ef6f6c">ERROR</span>  duplicate column name: <b>parts</b>
       in migrations/0008_parts.sql, line 3
       (schema is at version 8 already)</pre></body>"""
DIAGNOSIS = """\
The migration ran **twice**. The database already says version 8, so its column `parts` exists, \
and the second `ALTER TABLE` fails.

1. Your build is fine: *build* and *push* passed.
2. Look for two deploy jobs that ran at the same time; the other one did the migration.
3. Run `make deploy` again: it skips version 8.
"""


async def take(tab: Tab, name: str, folder: Path) -> None:
    """Take a screenshot, small enough for a README."""
    await tab.page.evaluate("document.fonts.ready")
    path = folder / f"page-{name}.png"
    await tab.page.screenshot(path=path, animations="disabled", caret="hide")
    if not KEEP:
        return
    with Image.open(path) as shot:  # 256 colors, chosen in several rounds so that rare ones stay
        few = shot.convert("RGB").quantize(256, kmeans=8, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    assert path.stat().st_size <= MOST_BYTES


async def test_pictures_of_the_page(visit: Visit, own_house: House, tmp_path: Path) -> None:
    """Light: a streaming reply; dark: the whole thread; and the thread on a phone."""
    folder = DOCS if KEEP else tmp_path
    house = own_house
    house.bot.set(LLM=MODEL, MODELS=f"{MODEL},openai:gpt-5", HTTP_TOKENS="")
    await house.model.models("gpt-5-mini")
    await house.model.script(
        *(Answer(match=question, text=answer, rate=400) for question, answer in TALK),
        Answer(match="lock", text=LOCK, rate=400, wait_at=62),
    )
    async with house.bot:
        tab = await (await visit(house, color_scheme="light", device_scale_factor=SCALE)).tab()
        for question, answer in TALK:
            await tab.mention(question)
            await tab.wait_reply(answer.split()[-1])
        await tab.say("and what would that lock look like?")
        await expect(tab.replies.last.locator(".text")).to_contain_text("self._value +=")
        await take(tab, "light", folder)
        await house.model.release("lock")
        await tab.wait_reply("while it is held")
        await tab.page.emulate_media(color_scheme="dark")
        await tab.thread.locator(".scroll").evaluate("node => node.scrollTop = 0")
        await take(tab, "dark", folder)
        phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True}
        small = await (await visit(house, device_scale_factor=SCALE, **phone)).tab()
        await small.roots.last.get_by_role("button").tap()
        await small.wait_reply("while it is held")
        await take(small, "phone", folder)


async def test_picture_of_a_question_with_a_screenshot(
    visit: Visit, own_house: House, tmp_path: Path
) -> None:
    """The model gets the picture; the page shows its thumbnail above the answer."""
    house = own_house
    house.bot.set(LLM=MODEL, MODELS=f"{MODEL},openai:gpt-5", HTTP_TOKENS="")
    await house.model.models("gpt-5-mini")
    await house.model.script(
        Answer(match="is the deployment up", text="The last one I know of failed.", rate=400),
        Answer(match="why did this fail", text=DIAGNOSIS, rate=400),
    )
    async with house.bot:
        tab = await (await visit(house, color_scheme="light", device_scale_factor=SCALE)).tab()
        terminal = await tab.page.context.new_page()
        await terminal.set_viewport_size({"width": 520, "height": 252})
        await terminal.set_content(TERMINAL)
        picture = await terminal.screenshot()
        await terminal.close()
        await tab.mention("is the deployment up?")
        await tab.wait_reply("failed.")
        async with tab.page.expect_file_chooser() as choosing:
            await tab.thread.get_by_role("button", name="Attach files").click()
        chooser = await choosing.value
        shot = {"name": "deploy.png", "mimeType": "image/png", "buffer": picture}
        await chooser.set_files([shot])  # type: ignore[list-item]
        await tab.say("why did this fail?")
        await tab.wait_reply("it skips version 8")
        await expect(tab.questions.last.get_by_role("img")).to_be_visible()
        await take(tab, "file", DOCS if KEEP else tmp_path)
        sent = (await house.model.last("why did this fail")).images
        assert [image.media_type for image in sent] == ["image/png"]


# ── usage ─────────────────────────────────────────────────────────────────────────────────────
RULES = """\
llm = ["openai/gpt-5"]
currency = "EUR"
usd_rate = 0.86

[models."openai/gpt-5"]
price = { input = 1.25, output = 10.0 }

[[budgets]]
name = "everyone"
amount = "2 € a day"
"""
A_LONG_TALK = {"prompt_tokens": 180_000, "completion_tokens": 9_000, "total_tokens": 189_000}
WORTH = (0.4, 1.1, 0.7, 0.9, 1.6, 0, 0, 0.8, 1.3, 1.9, 0.6, 1.0, 0, 0.2, 1.2, 0.5, 1.7, 1.4, 0.9)
"""How many times this conversation's usage each earlier day gets, newest first."""
MOST_BYTES_OF_USAGE = 150_000

_COPY = """INSERT INTO usage_by_day ({}) SELECT {} FROM usage_by_day WHERE day = ?"""


def spread_usage(database: Path) -> None:
    """Assign part of today's usage to each earlier day."""
    with closing(sqlite3.connect(database)) as db, db:
        names = [row[1] for row in db.execute("PRAGMA table_info(usage_by_day)")]
        (today,) = db.execute("SELECT max(day) FROM usage_by_day").fetchone()
        for ago, share in enumerate(WORTH, 1):
            day = date.fromisoformat(today) - timedelta(days=ago)
            values = {"day": f"'{day}'", "cost": f"CAST(cost * {share} AS INTEGER)"}
            columns = ", ".join(values.get(name, name) for name in names)
            db.execute(_COPY.format(", ".join(names), columns), (today,))


async def take_part(part: Locator, name: str, folder: Path) -> None:
    """Take a picture of part of the page."""
    await part.page.evaluate("document.fonts.ready")
    path = folder / f"page-{name}.png"
    await part.screenshot(path=path, animations="disabled", caret="hide")
    assert path.stat().st_size <= MOST_BYTES_OF_USAGE


async def test_pictures_of_usage(visit: Visit, own_house: House, tmp_path: Path) -> None:
    """`/usage` in a thread, and the chart of the last days, light and dark."""
    folder, house = DOCS if KEEP else tmp_path, own_house
    question, answer = TALK[1]
    house.bot.set(LLM="", MODELS="", HTTP_TOKENS="", TIMEZONE="Europe/Berlin")
    (house.bot.folder / "threadline.toml").write_text(RULES)
    await house.model.models("gpt-5")
    await house.model.script(Answer(match=question, text=answer, rate=400, usage=A_LONG_TALK))
    async with house.bot:
        tab = await (await visit(house)).tab()
        await tab.mention(question)
        await tab.wait_reply(answer.split()[-1])
        await house.bot.terminate()
    spread_usage(house.bot.folder / "threadline.db")
    async with house.bot:
        size = {"width": 1100, "height": 620}
        light: dict[str, object] = {
            "color_scheme": "light",
            "device_scale_factor": SCALE,
            "viewport": size,
        }
        light["timezone_id"] = "Europe/Berlin"
        tab = await (await visit(house, **light)).tab()
        await tab.roots.last.get_by_role("button").click()
        await tab.wait_reply(answer.split()[-1])
        await tab.say("/usage")
        await expect(tab.notices.last).to_contain_text("of €2.00 left")
        await take_part(tab.thread, "usage", folder)
        await tab.page.get_by_role("button", name="Your usage").click()
        chart = tab.page.get_by_role("dialog", name="Your usage")
        await expect(chart).to_contain_text("of €2.00 left")
        await take_part(chart, "chart-light", folder)
        await tab.page.emulate_media(color_scheme="dark")
        await take_part(chart, "chart-dark", folder)
