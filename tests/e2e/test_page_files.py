"""Files on the page: pasted, dropped and picked; sent with progress; shown, opened, downloaded."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import FilePayload, Locator, Route, expect

from tests.support.axe import violations_in_both
from tests.support.browser import House, Tab, Visitor, needs_browser, until
from tests.support.small_files import png

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

PICTURE = png()
LOG = "".join(f"12:00:{n % 60:02} service {n} restarted\n" for n in range(300))

# Builds a DataTransfer with files, and dispatches an event with it.
DISPATCH = """(box, { kind, files, text }) => {
  const data = new DataTransfer();
  for (const { name, type, base64 } of files) {
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  if (text) data.setData("text/plain", text);
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent(kind, { ...options, clipboardData: data })
    : new DragEvent(kind, { ...options, dataTransfer: data });
  return !box.dispatchEvent(event);
}"""


def given(name: str, kind: str, data: bytes) -> dict[str, str]:
    return {"name": name, "type": kind, "base64": base64.b64encode(data).decode()}


async def dispatch(node: Locator, kind: str, *files: dict[str, str], text: str = "") -> bool:
    """Paste, or drag over and drop. Returns whether the page handled the event."""
    handled: bool = await node.evaluate(
        DISPATCH, {"kind": kind, "files": list(files), "text": text}
    )
    return handled


def chips(tab: Tab) -> Locator:
    """The files in the thread's message box."""
    return tab.thread.get_by_role("list", name="Files to send").get_by_role("listitem")


def shown(tab: Tab, n: int = -1) -> Locator:
    """The files of the `n`th question in the thread."""
    return tab.questions.nth(n).get_by_role("list", name="Attached").get_by_role("listitem")


async def open_thread(visit: Visit, house: House, **options: Any) -> Tab:
    """A tab with an open thread."""
    tab = await (await visit(house, **options)).tab()
    await tab.mention("begin here")
    await tab.wait_reply("begin here")
    return tab


async def find_violations(tab: Tab) -> list[str]:
    """Violations found by axe. On a phone, an open thread hides the page's head and the heading in
    it."""
    every = await violations_in_both(tab.page)
    return [each for each in every if "page-has-heading-one" not in each]


async def pick(tab: Tab, *files: FilePayload) -> None:
    async with tab.page.expect_file_chooser() as choosing:
        await tab.thread.get_by_role("button", name="Attach files").click()
    await (await choosing.value).set_files(list(files))


async def read_stored(house: House, tab: Tab) -> list[dict[str, Any]]:
    """The files of the thread's messages, as the API gives them."""
    thread = tab.page.url.rpartition("/")[2]
    response = await tab.page.request.get(f"{house.origin}/conversation/{thread}/messages")
    return [file for record in await response.json() for file in record["attachments"]]


# ── adding files ──────────────────────────────────────────────────────────────────────────────
async def test_pasted_picture_is_sent_shown_and_opened(visit: Visit, house: House) -> None:
    """A chip with a thumbnail before sending, a thumbnail in the history afterwards, and the
    picture on a click."""
    tab = await open_thread(visit, house)
    assert await dispatch(tab.box, "paste", given("image.png", "image/png", PICTURE))
    await expect(chips(tab)).to_have_text(re.compile("image.png.*bytes"))
    await expect(chips(tab).locator("img")).to_have_js_property("naturalWidth", 40)
    await tab.say("see this picture")
    await expect(chips(tab)).to_have_count(0)
    picture = shown(tab).get_by_role("img", name="image.png")
    await expect(picture).to_have_js_property("naturalWidth", 40)
    await tab.wait_reply("see this picture")
    assert [(file["name"], file["size"]) for file in await read_stored(house, tab)] == [
        ("image.png", len(PICTURE))
    ]
    await tab.page.reload()
    await expect(picture).to_have_js_property("naturalWidth", 40)
    await shown(tab).get_by_role("button", name="Open image.png").click()
    dialog = tab.page.get_by_role("dialog", name="image.png")
    await expect(dialog.get_by_role("img")).to_have_js_property("naturalWidth", 40)
    await tab.page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(shown(tab).get_by_role("button", name="Open image.png")).to_be_focused()


async def test_picture_in_the_real_clipboard_is_pasted(visit: Visit, house: House) -> None:
    visitor = await visit(house)
    await visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = await visitor.tab()
    await tab.page.evaluate(
        """async (text) => {
          const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
          const blob = new Blob([bytes], { type: "image/png" });
          await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }""",
        base64.b64encode(PICTURE).decode(),
    )
    await tab.channel_box.focus()
    await tab.page.keyboard.press("Control+V")
    await expect(tab.channel.locator(".attached li")).to_have_count(1)
    await tab.mention("from the clipboard")
    await expect(shown(tab).get_by_role("img")).to_have_js_property("naturalWidth", 40)


async def test_text_of_office_programs_stays_text(visit: Visit, house: House) -> None:
    """Office programs add a picture of the cells to the clipboard; a file manager adds the file's
    name."""
    tab = await open_thread(visit, house)
    picture = given("image.png", "image/png", PICTURE)
    assert not await dispatch(tab.box, "paste", picture, text="a\tb\nc\td")
    await expect(chips(tab)).to_have_count(0)
    assert await dispatch(tab.box, "paste", picture, text="/home/me/image.png")
    await expect(chips(tab)).to_have_count(1)


async def test_drop_zone_appears_and_takes_files(visit: Visit, house: House) -> None:
    tab = await open_thread(visit, house)
    zone = tab.thread.get_by_text("Drop files to attach them")
    file = given("notes.md", "text/markdown", b"# Notes")
    await dispatch(tab.thread, "dragover", file)
    await expect(zone).to_be_visible()
    await tab.thread.evaluate("node => node.dispatchEvent(new DragEvent('dragleave'))")
    await expect(zone).to_be_hidden()
    await dispatch(tab.thread, "dragover", file)
    await dispatch(tab.thread, "drop", file)
    await expect(zone).to_be_hidden()
    await expect(chips(tab)).to_contain_text("notes.md")
    await expect(tab.box).to_be_focused()


async def test_drop_beside_the_panes_keeps_the_page(visit: Visit, house: House) -> None:
    tab = await open_thread(visit, house)
    bar = tab.page.locator("header.bar")
    assert await dispatch(bar, "drop", given("a.txt", "text/plain", b"a"))


async def test_picked_files_are_removed_by_key_and_sent_without_a_text(
    visit: Visit, house: House
) -> None:
    """The focus moves to the next file, and then to the box."""
    tab = await open_thread(visit, house)
    await expect(tab.thread.get_by_role("button", name="Send")).to_be_disabled()
    await pick(
        tab,
        FilePayload(name="a.pdf", mimeType="application/pdf", buffer=b"%PDF-1.7 a"),
        FilePayload(name="b.csv", mimeType="text/csv", buffer=b"x,y\n1,2\n"),
        FilePayload(name="c.txt", mimeType="text/plain", buffer=b"third"),
    )
    await expect(chips(tab)).to_have_count(3)
    await tab.thread.get_by_role("button", name="Remove a.pdf").press("Enter")
    await expect(tab.thread.get_by_role("button", name="Remove b.csv")).to_be_focused()
    await tab.thread.get_by_role("button", name="Remove c.txt").press("Enter")
    await tab.box.press("Enter")
    await expect(shown(tab)).to_have_count(1)
    await expect(shown(tab)).to_contain_text("b.csv")
    await expect(tab.questions.last.locator(".text")).to_be_hidden()

    async def has_one() -> bool:
        return [file["name"] for file in await read_stored(house, tab)] == ["b.csv"]

    await until(has_one)
    async with tab.page.expect_download() as downloading:
        await shown(tab).get_by_role("button", name="Download b.csv").click()
    download = await downloading.value
    assert download.suggested_filename == "b.csv"
    data = await asyncio.to_thread(Path(await download.path()).read_bytes)
    assert data == b"x,y\n1,2\n"


# ── long texts ────────────────────────────────────────────────────────────────────────────────
async def test_long_paste_becomes_a_file_that_opens_and_can_be_put_back(
    visit: Visit, house: House
) -> None:
    tab = await open_thread(visit, house)
    assert not await dispatch(tab.box, "paste", text="short " * 100)
    assert await dispatch(tab.box, "paste", text=LOG)
    await expect(chips(tab)).to_contain_text("Pasted text")
    await chips(tab).get_by_role("button", name="Pasted text").first.click()
    dialog = tab.page.get_by_role("dialog", name="Pasted text")
    await expect(dialog).to_contain_text("service 299 restarted")
    await dialog.get_by_role("button", name="Put back as text").click()
    await expect(dialog).to_be_hidden()
    await expect(chips(tab)).to_have_count(0)
    await expect(tab.box).to_have_value(LOG)
    await expect(tab.box).to_be_focused()

    await tab.box.fill("")
    await dispatch(tab.box, "paste", text=LOG)
    await tab.say("which service failed?")
    await expect(shown(tab)).to_contain_text("Pasted text.txt")
    await shown(tab).get_by_role("button", name="Pasted text.txt").first.click()
    sent = tab.page.get_by_role("dialog", name="Pasted text.txt")
    await expect(sent).to_contain_text("service 299 restarted")
    await expect(sent.get_by_role("button", name="Put back as text")).to_be_hidden()


# ── refusals and failures ─────────────────────────────────────────────────────────────────────
async def test_files_over_the_limits_are_named_and_the_text_stays(
    visit: Visit, own_house: House
) -> None:
    own_house.bot.set(ATTACHMENT_MAX_MB="1", ATTACHMENTS_PER_MESSAGE="2")
    async with own_house.bot:
        tab = await open_thread(visit, own_house)
        await tab.box.fill("my question")
        await pick(
            tab,
            FilePayload(name="big.log", mimeType="text/plain", buffer=b"x" * 1_000_001),
            FilePayload(name="fits.log", mimeType="text/plain", buffer=b"x" * 10),
        )
        alert = tab.thread.get_by_role("alert")
        await expect(alert).to_have_text("“big.log” is too large (1 MB): a file may have 1 MB.")
        await expect(chips(tab)).to_contain_text("fits.log")
        small = FilePayload(name="one.txt", mimeType="text/plain", buffer=b"1")
        await pick(tab, small, small)
        await expect(alert).to_have_text("A message takes 2 files at most.")
        await expect(chips(tab)).to_have_count(2)
        await expect(tab.box).to_have_value("my question")
        await tab.box.fill("/reset")
        await tab.box.press("Enter")
        await expect(alert).to_contain_text("A command takes no files")
        await expect(chips(tab)).to_have_count(2)


async def test_attached_files_wait_while_an_effort_is_chosen(visit: Visit, house: House) -> None:
    """They belong to the question being written, as does text that only looks like a command."""
    tab = await open_thread(visit, house)
    await pick(tab, FilePayload(name="app.log", mimeType="text/plain", buffer=b"x" * 10))
    await tab.thread.locator("#effort").click()
    await tab.box.press_sequentially("low")
    await tab.box.press("Enter")
    await expect(tab.thread.locator("#effort")).to_have_text("Effort: low")
    await expect(chips(tab)).to_contain_text("app.log")
    await tab.say("/var/log/app.log is this one")
    await tab.wait_reply("/var/log/app.log")
    await expect(shown(tab)).to_contain_text("app.log")
    await expect(chips(tab)).to_have_count(0)


async def test_without_attachments_there_is_no_button_and_paste_stays_text(
    visit: Visit, own_house: House
) -> None:
    own_house.bot.set(ATTACHMENT_MAX_MB="0")
    async with own_house.bot:
        tab = await open_thread(visit, own_house)
        await expect(tab.page.get_by_role("button", name="Attach files")).to_have_count(0)
        assert not await dispatch(tab.box, "paste", text=LOG)
        assert not await dispatch(tab.box, "paste", given("i.png", "image/png", PICTURE))


async def test_upload_that_fails_is_repeated_and_a_refused_one_returns_with_its_files(
    visit: Visit, house: House
) -> None:
    tab = await open_thread(visit, house)
    answers = ["lost", "refused", "through"]

    async def answer(route: Route) -> None:
        kind = answers.pop(0)
        if kind == "lost":
            await route.abort()
        elif kind == "refused":
            sentence = "“a.txt” is too large: a file may have 1 MB at most."
            await route.fulfill(status=422, json={"error": sentence, "detail": sentence})
        else:
            await route.continue_()

    await tab.page.route("**/app/messages", answer)
    await pick(tab, FilePayload(name="a.txt", mimeType="text/plain", buffer=b"alpha"))
    await tab.say("take it")
    await expect(tab.thread.get_by_role("alert")).to_contain_text("a file may have 1 MB at most")
    assert answers == ["through"]
    await expect(tab.box).to_have_value("take it")
    await expect(chips(tab)).to_contain_text("a.txt")
    await tab.box.press("Enter")
    await expect(shown(tab)).to_contain_text("a.txt")
    await tab.wait_reply("take it")


async def test_progress_is_shown_while_a_file_is_sent(visit: Visit, house: House) -> None:
    """While the request is held back, its message shows a progress bar and the file's name."""
    tab = await open_thread(visit, house)
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await tab.page.route("**/app/messages", hold)
    await pick(tab, FilePayload(name="a.bin", mimeType="", buffer=b"\0" * 300_000))
    await tab.say("sending")
    sending = tab.questions.last
    await expect(sending).to_have_attribute("data-state", "sending")
    await expect(sending).to_contain_text("a.bin")

    async def is_held() -> bool:
        return bool(held)

    await until(is_held)
    await held[0].continue_()
    await expect(sending.get_by_role("progressbar")).to_be_hidden()
    await tab.wait_reply("sending")


async def test_reload_before_sending_loses_only_the_files_and_says_so(
    visit: Visit, house: House
) -> None:
    tab = await open_thread(visit, house)
    await tab.page.route("**/app/messages", lambda route: route.abort())
    await pick(tab, FilePayload(name="a.txt", mimeType="text/plain", buffer=b"alpha"))
    await tab.say("do not lose me")
    await expect(tab.questions.last).to_have_attribute("data-state", "waiting")
    await tab.page.unroute_all()
    await tab.page.reload()
    await expect(tab.thread.get_by_role("alert")).to_contain_text("attach them again")
    await expect(tab.box).to_have_value("do not lose me")


# ── accessibility and safety ──────────────────────────────────────────────────────────────────
async def test_axe_finds_no_violations_with_files(visit: Visit, house: House) -> None:
    """Checks the box, the history, the drop zone and the viewer, and also a width of 360 pixels."""
    tab = await open_thread(visit, house, viewport={"width": 360, "height": 740})
    await pick(
        tab,
        FilePayload(name="a" * 60 + ".png", mimeType="image/png", buffer=PICTURE),
        FilePayload(name="report.pdf", mimeType="application/pdf", buffer=b"%PDF-1.7"),
    )
    await dispatch(tab.box, "paste", text=LOG)
    await expect(chips(tab)).to_have_count(3)
    assert await find_violations(tab) == []
    await tab.say("all of them")
    await expect(shown(tab)).to_have_count(3)
    await expect(shown(tab).get_by_role("img")).to_have_js_property("naturalWidth", 40)
    await tab.wait_reply("all of them")
    assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 360
    await dispatch(tab.thread, "dragover", given("a.txt", "text/plain", b"a"))
    await expect(tab.thread.get_by_text("Drop files")).to_be_visible()
    assert await find_violations(tab) == []
    await shown(tab).get_by_role("button", name="Pasted text.txt").first.click()
    await expect(tab.page.get_by_role("dialog")).to_be_visible()
    assert await find_violations(tab) == []


async def test_hostile_files_never_run(visit: Visit, house: House) -> None:
    """A web page that claims to be a picture, and a name that contains markup and folders."""
    tab = await open_thread(visit, house)
    page = b"<html><script>parent.harmed = 1; window.harmed = 1</script></html>"
    name = '"><img src=x onerror=harmed=1>.png'
    await dispatch(tab.box, "paste", given(f"../../{name}", "image/png", page))
    await tab.say("look at it")
    await expect(shown(tab)).to_contain_text("onerror")
    await tab.wait_reply("look at it")
    address = f"{house.origin}/attachments/{(await read_stored(house, tab))[0]['id']}"
    response = await tab.page.request.get(address)
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment;")
    assert await tab.page.evaluate("window.harmed") is None
