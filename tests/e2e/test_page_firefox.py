"""The page in Firefox: a single visit, in one browser, that uses every feature."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pypdfium2
import pytest

from tests.sims.model.client import ModelSim
from tests.support.browser import until
from tests.support.firefox import Firefox, firefox, needs_firefox
from tests.support.harness import BotProcess
from tests.support.web_kit import HTTP_TOKENS, TOKENS

pytestmark = [needs_firefox, pytest.mark.asyncio(loop_scope="session")]

STORY = " ".join(f"word{n}" for n in range(200))
REPORT = """\
See https://example.org/races: $x^2$ costs $5[^1].

- [x] done
- [ ] *open*

```python
# gauss.py
value = 1
```

```mermaid
flowchart LR
  A[Question] --> B[Answer]
```

[^1]: By **Poisson**.

The end."""

# The thread's newest answer, its texts, and a thread's row in the list.
REPLY = "[...document.querySelectorAll('#thread article.from-assistant')].at(-1)"
TEXTS = "[...document.querySelectorAll('#thread article .text')].map((node) => node.textContent)"
ROW = "[...document.querySelectorAll('.thread-row')].find((row) => row.textContent.includes('%s'))"
LAST = "#thread .feed article:last-child"
LOOK = """(() => {
  Object.defineProperty(document, "hidden", { configurable: true, value: %s });
  document.dispatchEvent(new Event("visibilitychange"));
})()"""
# Without a screen, Firefox's clipboard holds only text, so a script provides the picture.
PASTE = """(() => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File(["no picture"], "image.png", { type: "image/png" }));
  const paste = new Event("paste", { bubbles: true, cancelable: true });
  Object.defineProperty(paste, "clipboardData", { value: clipboardData });
  return !document.querySelector("#reply").dispatchEvent(paste);
})()"""
DROP = """(() => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File(["dropped"], "dropped.txt", { type: "text/plain" }));
  const drop = (kind) => new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
  const pane = document.querySelector("#thread");
  pane.dispatchEvent(drop("dragenter"));
  pane.dispatchEvent(drop("dragover"));
  return !pane.dispatchEvent(drop("drop"));
})()"""


@contextlib.asynccontextmanager
async def bot(folder: Path) -> AsyncIterator[tuple[BotProcess, ModelSim]]:
    """A bot with two users, two models and a shared channel."""
    async with ModelSim() as model:
        await model.pace(rate=2_000, first_delay=0.0)
        await model.say(STORY, match="a story for the fox", wait_at=20)
        await model.say(REPORT, match="a report")
        await model.say("Paris.", match="capital of France")
        await model.say("Rome.", match="capital of Italy")
        await model.say("Roma.", match="capital of Italy", model="sim-2")
        settings = {
            "LLM": "openai:sim", "MODELS": "openai:sim,openai:sim-2",
            "OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-simulated",
            "HTTP_TOKENS": HTTP_TOKENS, "HTTP_CHANNELS": "ops",
        }  # fmt: skip
        async with BotProcess(folder, settings) as process:
            yield process, model


async def test_the_page_works_in_firefox(tmp_path: Path) -> None:
    """Each step is something people expect of the page; there is no error and no policy
    violation."""
    profile, downloads = tmp_path / "profile", tmp_path / "downloads"
    profile.mkdir()
    downloads.mkdir()
    async with bot(tmp_path) as (process, model), firefox(profile, downloads) as tab:
        origin = f"http://127.0.0.1:{process.http_port}"
        await sign_in(tab, origin)
        await stream_and_stop(tab)
        await use_menu_and_keys(tab)
        await attach_files(tab, tmp_path)
        await read_an_answer(tab, downloads)
        await edit_and_try_again(tab)
        await change_settings(tab, model)
        await arrange_conversations(tab)
        await search(tab)
        await export_share_and_print(tab, downloads)
        await watch_in_the_background(tab, model)
        await meet_others(tab, origin)
        assert tab.trouble == []
        # Check that trouble would be recorded at all.
        await tab.evaluate("void document.body.append(Object.assign(new Image(), { src: 'x:y' }))")
        await until(lambda: _hears(tab, "violated: img-src"))


async def sign_in(tab: Firefox, origin: str) -> None:
    """Sign in with a cookie that no script can read and that lasts for later visits."""
    await tab.go(origin)
    await tab.until("document.querySelector('#login').open")
    await tab.write(TOKENS["alice"])
    await tab.press("Enter")
    await tab.until("document.activeElement?.id === 'message'")
    assert await tab.evaluate("document.cookie + JSON.stringify({ ...localStorage })") == "{}"
    [cookie] = await tab.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "strict")
    manifest = "fetch(document.querySelector('link[rel=manifest]').href).then((got) => got.json())"
    assert await tab.evaluate(f"{manifest}.then(({{ display }}) => display)") == "standalone"


async def stream_and_stop(tab: Firefox) -> None:
    """Watch an answer grow, and stop it in the middle."""
    await tab.type("@threadline ")
    await tab.write("a story for the fox")
    await tab.press("Enter")
    await tab.until(f"{REPLY}?.textContent.includes('word10')")
    assert await tab.evaluate(f"{REPLY}.dataset.state") == "writing"
    await tab.click("#stop")
    await tab.until(f"{REPLY}.dataset.state === 'stopped'")
    assert not await tab.evaluate(f"{REPLY}.textContent.includes('word199')")


async def use_menu_and_keys(tab: Firefox) -> None:
    """The menu is a popover and help a dialog; Escape closes both, and the focus returns."""
    await tab.click("#thread-menu")
    await tab.until("document.querySelector('#thread-actions').matches(':popover-open')")
    await tab.press("Escape")
    await tab.until("!document.querySelector('#thread-actions').matches(':popover-open')")
    await tab.click("#reply")
    await tab.press("ArrowUp")
    await tab.until("document.activeElement.matches('#thread article')")
    await tab.press("?")
    await tab.until("document.querySelector('#shortcuts').open")
    await tab.press("Escape")
    await tab.until("!document.querySelector('#shortcuts').open")
    await tab.press("F6")
    await tab.until("document.activeElement.id === 'message'")


async def attach_files(tab: Firefox, folder: Path) -> None:
    """Send picked, pasted and dropped files with a question."""
    note = folder / "note.txt"
    note.write_text("Foxes are red.")
    chips = "document.querySelectorAll('#thread .attached li').length"
    await tab.attach("#thread input[type=file]", note)
    await tab.until(f"{chips} === 1")
    assert await tab.evaluate(PASTE)
    await tab.until(f"{chips} === 2")
    assert await tab.evaluate(DROP)
    await tab.until(f"{chips} === 3")
    await tab.click("#thread .attached li:nth-child(2) button[aria-label^=Remove]")
    await tab.until(f"{chips} === 2")
    await ask(tab, "what is in the note?")
    await tab.until(f"{REPLY}.textContent.includes('what is in the note?')")
    names = "[...document.querySelectorAll('#thread .files .file .name')]"
    listed = f"{names}.map((node) => node.textContent).join() === 'note.txt,dropped.txt'"
    await tab.until(listed)
    # Everything is still there after a reload, without signing in again.
    await tab.reload()
    await tab.until(f"{REPLY}?.textContent.includes('what is in the note?')")
    await tab.until(listed)
    assert await tab.evaluate("document.querySelector('#login').open") is False


async def read_an_answer(tab: Firefox, downloads: Path) -> None:
    """Use a link, a formula, tasks, a footnote and code, and have a diagram drawn."""
    await ask(tab, "a report")
    await tab.until(f"{REPLY}.textContent.includes('The end.')")
    await tab.until(f"{REPLY}.querySelector('.math .katex math')")
    link = await tab.evaluate(f"{REPLY}.querySelector('.text a[href]').outerHTML")
    assert 'href="https://example.org/races"' in link
    assert "noopener" in link
    assert await tab.evaluate(f"{REPLY}.textContent.includes('costs $5')")
    tasks = f"[...{REPLY}.querySelectorAll('[role=checkbox], input[type=checkbox]')].length"
    assert await tab.evaluate(tasks) == 2
    await tab.click(LAST + " a[role=doc-noteref]")
    await tab.until("document.activeElement.matches('.note')")
    await tab.click(LAST + " a[role=doc-backlink]")
    await tab.until("document.activeElement.matches('a[role=doc-noteref]')")
    await tab.click(LAST + " figure.code [data-code=save]")
    await tab.until("document.querySelector('#news').textContent === 'Saved as gauss.py.'")
    await wait_for_file(downloads, "gauss.py", "value = 1")
    await tab.click(LAST + " figure.code [data-code=wrap]")
    await tab.until(f"{REPLY}.querySelector('figure.code').matches('.wrapped')")
    await tab.click(LAST + " figure.code [data-copy=code]")
    await tab.until("document.querySelector('#news').textContent === 'Code copied.'")
    await tab.click("#reply")
    await tab.press("Control", "v")
    await tab.until("document.querySelector('#reply').value.includes('value = 1')")
    await tab.evaluate("document.querySelector('#reply').select()")
    await tab.press("Delete")
    await tab.click(LAST + " [data-code=diagram]")
    await tab.until(f"{REPLY}.querySelector('.diagram img')?.naturalWidth > 50")


async def edit_and_try_again(tab: Firefox) -> None:
    """Edit a question, ask another model, and go back to the earlier version."""
    await begin(tab, "capital of France?")
    await tab.until(f"{REPLY}?.textContent.includes('Paris.')")
    await tab.click("#thread [data-edit]")
    await tab.until("document.activeElement.matches('form.edit textarea')")
    await tab.evaluate("document.activeElement.select()")
    await tab.write("capital of Italy?")
    await tab.press("Control", "Enter")
    await tab.until(f"{TEXTS}.join() === 'capital of Italy?,Rome.'")
    await tab.until(f"{REPLY}.dataset.state === 'done'")
    await tab.click("#thread [aria-label='Try again with…']")
    await choose_in(tab, "#thread .models", "openai:sim-2")
    await tab.until(f"{TEXTS}.join() === 'capital of Italy?,Roma.'")
    await tab.until("document.querySelector('#stop').hidden")
    earlier = "#thread article.from-user [aria-label='Earlier version']:not([aria-disabled=true])"
    await tab.click(earlier)
    await tab.until(f"{TEXTS}.join() === 'capital of France?,Paris.'")


async def change_settings(tab: Firefox, model: ModelSim) -> None:
    """Change the thread's model, its instructions and temperature, and the page's appearance."""
    await tab.click("#model")
    await tab.until("document.activeElement.matches('.models input')")
    await tab.type("sim-2")
    await tab.until("document.querySelectorAll('.models [role=option]').length === 1")
    await tab.press("Enter")
    await tab.until("document.querySelector('#model').textContent === 'openai:sim-2'")
    await choose(tab, "Instructions, temperature")
    await tab.until("document.activeElement.id === 'thread-instructions'")
    await tab.write("Answer in verse.")
    await tab.click("#thread-settings input[type=checkbox]")
    await tab.click("#thread-settings .primary")
    await tab.until("!document.querySelector('#thread-settings').open")
    await ask(tab, "and with settings?")
    await tab.until(f"{REPLY}.dataset.state === 'done'")
    body = (await model.last(match="and with settings?")).body
    assert (body["model"], body["temperature"]) == ("sim-2", 0.7)
    assert "Answer in verse." in body["messages"][0]["content"]
    await tab.click("#settings")
    await tab.click("#settings-dialog input[value=dark]")
    await tab.until("getComputedStyle(document.body).colorScheme.includes('dark')")
    await tab.click("#settings-dialog input[value=compact]")
    await tab.until("document.documentElement.dataset.density === 'compact'")
    await tab.press("Escape")
    await tab.until("!document.querySelector('#settings-dialog').open")


async def arrange_conversations(tab: Firefox) -> None:
    """Rename, pin, archive and delete threads in the list, and undo the last two."""
    await tab.until(ROW % "capital of")
    await tab.press("Shift", "F6")
    await tab.until("document.activeElement.matches('.row-link')")
    await tab.press("F2")
    await tab.until("document.activeElement.matches('.rename')")
    await tab.evaluate("document.activeElement.select()")
    await tab.write("Capitals")
    await tab.press("Enter")
    await tab.until(f"{ROW % 'Capitals'} && document.activeElement.matches('.row-link')")
    for action, group in (("Pin", "Pinned"), ("Unpin", "Today")):
        await choose_of_row(tab, action)
        first = "document.querySelector('.list-group h3').textContent"
        await tab.until(f"{first} === '{group}'")
    await choose_of_row(tab, "Archive")
    await tab.until(f"!({ROW % 'Capitals'})")
    await tab.click(".toast .undo")
    await tab.until(ROW % "Capitals")
    await tab.evaluate("document.querySelector('.row-link[aria-current]').focus()")
    await tab.press("Delete")
    await tab.until(f"!({ROW % 'Capitals'}) && document.querySelector('#thread').hidden")
    await tab.click(".toast .undo")
    await tab.until(ROW % "Capitals")
    await tab.until("!document.querySelector('#thread').hidden")


async def search(tab: Firefox) -> None:
    """Open the search with Ctrl-K, and go to a message with Enter."""
    await tab.press("Control", "k")
    await tab.until("document.activeElement.matches('#search-dialog input')")
    await tab.type("foxes")
    await tab.evaluate("document.activeElement.select()")
    await tab.type("the note")
    await tab.until("document.querySelector('#search-hits mark')?.textContent")
    await tab.press("ArrowUp")
    await tab.press("Enter")
    await tab.until("document.activeElement.matches('#thread article')")
    await tab.until("document.activeElement.textContent.includes('what is in the note?')")


async def export_share_and_print(tab: Firefox, downloads: Path) -> None:
    """Save a thread as a file, share it by link, and print it."""
    await choose(tab, "Save as Markdown")
    await wait_for_file(downloads, "a story for the fox *.md", "what is in the note?")
    await choose(tab, "Share with the team")
    await tab.click("#share-dialog .primary")
    link = await tab.until("document.querySelector('#share-link')?.value")
    await tab.press("Escape")
    await tab.evaluate("void (window.print = () => (window.printed = true))")
    await choose(tab, "Print")
    await tab.until("window.printed")
    document = pypdfium2.PdfDocument(await tab.pdf())
    text = " ".join(page.get_textpage().get_text_range() for page in document)
    assert "what is in the note?" in text
    assert "The end." in text
    assert "Reply…" not in text
    await tab.evaluate("void dispatchEvent(new Event('afterprint'))")
    await tab.until("!document.querySelector('#sheet')")
    await tab.evaluate(f"void (location.href = {json.dumps(link)})")
    await tab.until("document.querySelectorAll('#shared article').length === 6")
    assert await tab.evaluate("document.querySelectorAll('#shared textarea').length") == 0
    await tab.click("#shared .close")
    await tab.until("document.querySelector('#shared').hidden")


async def watch_in_the_background(tab: Firefox, model: ModelSim) -> None:
    """While the tab is hidden, see the answer in its title and in a notification."""
    await model.say("Light over the sea.", match="a lighthouse", wait_at=1, times=1)
    await begin(tab, "a lighthouse")
    await tab.until("!document.querySelector('#stop').hidden")
    await tab.evaluate(LOOK % "true")
    await tab.until("document.title.startsWith('… writing · ')")
    await model.release("a lighthouse")
    await tab.until("document.title === '(1) ● answered · a lighthouse'")
    await tab.evaluate(LOOK % "false")
    await tab.until("document.title === 'a lighthouse · Threadline'")


async def meet_others(tab: Firefox, origin: str) -> None:
    """See a question that another user asks in a shared channel."""
    await tab.click("#shared-channels button")
    await tab.until("document.querySelector('#channel h2').textContent.includes('ops')")
    asked = {
        "text": "@threadline why is it slow?",
        "channel": "ops",
        "client_id": str(uuid.uuid4()),
    }
    headers = {"Authorization": f"Bearer {TOKENS['bob']}"}
    async with (
        aiohttp.ClientSession(headers=headers) as bob,
        bob.post(f"{origin}/app/messages", json=asked) as response,
    ):
        assert response.status == 200, await response.text()
    root = "document.querySelector('#channel article.root')"
    await tab.until(f"{root}?.textContent.includes('bob')")
    await tab.click("#channel article.root [data-open]")
    await tab.until(f"{REPLY}?.textContent.includes('why is it slow?')")


# ── user actions ──────────────────────────────────────────────────────────────────────────────
async def ask(tab: Firefox, text: str) -> None:
    """Ask in the open thread, and wait for the end of the reply."""
    before = await tab.evaluate(
        "document.querySelectorAll('#thread article.from-assistant').length"
    )
    await tab.click("#reply")
    await tab.write(text)
    await tab.press("Enter")
    more = f"document.querySelectorAll('#thread article.from-assistant').length > {before}"
    await tab.until(f"{more} && {REPLY}.dataset.state === 'done'")


async def begin(tab: Firefox, text: str) -> None:
    """Begin a new conversation with its shortcut, which the browser uses too."""
    await tab.press("Control", "Shift", "O")
    await tab.until("document.activeElement.id === 'reply' && location.hash === '#/new'")
    await tab.write(text)
    await tab.press("Enter")


async def choose(tab: Firefox, name: str) -> None:
    """Choose an action from the thread's menu."""
    await tab.click("#thread-menu")
    await choose_in(tab, "#thread-actions", name)


async def choose_of_row(tab: Firefox, name: str) -> None:
    """Choose an action from the menu of the open thread's row."""
    await tab.click(".row-link[aria-current]", right=True)
    await choose_in(tab, "#row-actions", name)


async def choose_in(tab: Firefox, menu: str, name: str) -> None:
    """Wait until the menu has the focus, and click on an item."""
    items = f"{menu} [role=menuitem]"
    await tab.until(f"document.activeElement.matches('{items}')")
    names = f"[...document.querySelectorAll('{items}')].map((item) => item.textContent)"
    at = await tab.evaluate(f"{names}.indexOf('{name}')")
    assert at >= 0, f"no {name} in {menu}"
    await tab.click(f"{items}:nth-child({at + 1})")


async def wait_for_file(folder: Path, pattern: str, words: str) -> None:
    """Wait until a file that contains these words exists."""

    async def is_there() -> bool:
        files = await asyncio.to_thread(lambda: list(folder.glob(pattern)))
        return any([words in await asyncio.to_thread(file.read_text) for file in files])

    await until(is_there)


async def _hears(tab: Firefox, words: str) -> bool:
    return any(words in text for text in tab.trouble)
