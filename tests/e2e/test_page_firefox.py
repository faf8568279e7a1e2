"""The page in Firefox: one visit that uses everything in which browsers differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import House, until
from tests.support.firefox import Firefox, firefox, needs_firefox

pytestmark = [needs_firefox, pytest.mark.asyncio(loop_scope="session")]

REPLY = "[...document.querySelectorAll('#thread article.from-assistant')].at(-1)"
STORY = " ".join(f"word{n}" for n in range(200))


async def test_the_page_works_in_firefox(house: House, tmp_path: Path) -> None:
    """Signing in, asking, streaming, stopping, the menu, the keyboard, files and a reload."""
    await house.model.say(STORY, match="a story for the fox", wait_at=20)
    note = tmp_path / "note.txt"
    note.write_text("Foxes are red.")
    (tmp_path / "profile").mkdir()
    async with firefox(tmp_path / "profile") as tab:
        await tab.go(house.origin)
        await tab.until("document.querySelector('#login').open")
        await tab.type(house.new_token() or "")
        await tab.press("Enter")
        await tab.until("document.activeElement?.id === 'message'")
        assert await tab.evaluate("document.cookie + JSON.stringify({ ...localStorage })") == "{}"
        # An answer grows, and is stopped in the middle.
        await tab.type("@threadline a story for the fox")
        await tab.press("Enter")
        await tab.until(f"{REPLY}?.textContent.includes('word10')")
        assert await tab.evaluate(f"{REPLY}.dataset.state") == "writing"
        await tab.click("#stop")
        await tab.until(f"{REPLY}.dataset.state === 'stopped'")
        assert not await tab.evaluate(f"{REPLY}.textContent.includes('word199')")
        # The menu is a popover, help a dialog; both end with Escape, and the focus returns.
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
        # A file goes with a question.
        await tab.attach("#thread input[type=file]", note)
        await tab.until("document.querySelector('#thread .attached li')")
        await tab.click("#reply")
        await tab.type("what is in the note?")
        await tab.press("Enter")
        await tab.until(f"{REPLY}.textContent.includes('what is in the note?')")
        await tab.until(f"{REPLY}.dataset.state === 'done'")
        # Everything is there after a reload, without signing in again.
        await tab.reload()
        await tab.until(f"{REPLY}?.textContent.includes('what is in the note?')")
        await tab.until(
            "document.querySelector('#thread .files .file .name')?.textContent === 'note.txt'"
        )
        assert await tab.evaluate("document.querySelector('#login').open") is False
        assert tab.trouble == []
        # The list of troubles is not empty because nothing reaches it.
        await tab.evaluate("void document.body.append(Object.assign(new Image(), { src: 'x:y' }))")
        await until(lambda: _heard(tab, "violated: img-src"))


async def _heard(tab: Firefox, words: str) -> bool:
    return any(words in text for text in tab.trouble)
