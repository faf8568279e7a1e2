"""A growing reply on the page: after each change, it looks as the whole text would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from adapters.web.growing_html import GrowingHtml
from adapters.web.reply_changes import ReplyView, changes
from tests.support.browser import House, Visitor, needs_browser
from tests.support.growing_documents import LONG, PLAIN, document

pytestmark = [needs_browser, pytest.mark.asyncio(loop_scope="session")]
Visit = Callable[..., Awaitable[Visitor]]

FOLLOW = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const growth = new Growth();
  const [body, whole] = [new Body(), new Body()];
  document.querySelector("#channel .column").append(body.node, whole.node);
  const compared = (node) => { const copy = node.cloneNode(true); copy.normalize(); return copy; };
  body.show(growth.begin(first).blocks, true);
  const wrong = [];
  steps.forEach(([change, html], k) => {
    const reply = growth.follow(change);
    body.show(reply.blocks, k % 2 === 0);
    whole.show(html, k % 2 === 0);
    if (!compared(body.node).isEqualNode(compared(whole.node)))
      wrong.push([k, body.node.innerHTML, whole.node.innerHTML]);
  });
  body.show(steps.at(-1)[1], false); // the end of a reply comes as one text
  whole.show(steps.at(-1)[1], false);
  if (!compared(body.node).isEqualNode(compared(whole.node))) wrong.push(["end"]);
  if (growth.follow({ id: "turn-1", at: [0, 1], text: "" }) !== null) wrong.push(["base"]);
  return wrong.slice(0, 1);
}"""

PLACES = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const [growth, body] = [new Growth(), new Body()];
  document.querySelector("#channel .column").append(body.node);
  body.show(growth.begin(first).blocks, true);
  const words = [...body.node.querySelectorAll("p, td, .part")].at(0).firstChild;
  getSelection().setBaseAndExtent(words, 0, words, 4);
  let touched = 0;
  const watch = new MutationObserver((all) => { touched += all.filter(
    ({ addedNodes }) => [...addedNodes].some((node) => node.className !== "cursor")).length; });
  watch.observe(body.node, { subtree: true, childList: true });
  for (const [change] of steps) body.show(growth.follow(change).blocks, true);
  await null;
  return [String(getSelection()), words.isConnected, touched, body.node.textContent.length];
}"""

PARTS = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const [growth, body, whole] = [new Growth(), new Body(), new Body()];
  const column = document.querySelector("#channel .column");
  column.append(body.node, whole.node);
  column.closest("[hidden]")?.removeAttribute("hidden");
  const shape = (node) => { const copy = node.cloneNode(true); copy.normalize(); return copy; };
  const height = (node) => node.getBoundingClientRect().height;
  body.show(growth.begin(first).blocks, true);
  const words = body.node.querySelector("p, td").firstChild;
  getSelection().setBaseAndExtent(words, 0, words, 4);
  let most = 0;
  for (const [change] of steps) {
    body.show(growth.follow(change).blocks, true);
    const ends = [...body.node.querySelectorAll("tbody, p")];
    const own = [...ends.at(-1).childNodes].filter((node) => node.className !== "part");
    most = Math.max(most, own.reduce((sum, node) => sum + node.textContent.length, 0));
  }
  whole.show(steps.at(-1)[1], true);
  const found = { most, high: height(whole.node) };
  found.text = body.node.textContent === whole.node.textContent;
  found.parts = body.node.querySelectorAll("tbody, .part").length;
  for (const each of body.node.querySelectorAll("tbody")) each.style.contentVisibility = "visible";
  found.higher = height(body.node) - height(whole.node);
  for (const each of [body, whole]) each.show(steps.at(-1)[1], false);
  found.same = shape(body.node).isEqualNode(shape(whole.node));
  found.selected = String(getSelection());
  body.node.remove();
  whole.node.remove();
  return found;
}"""

RESIZED = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const [growth, body, whole] = [new Growth(), new Body(), new Body()];
  document.querySelector("#channel .column").append(body.node, whole.node);
  body.show(growth.begin(first).blocks, true);
  for (const [change] of steps) body.show(growth.follow(change).blocks, true);
  whole.show(steps.at(-1)[1], false);
  const cells = (node) => [...node.querySelector("table").rows[5].cells];
  const width = (cell) => Math.round(cell.getBoundingClientRect().width);
  const widths = (node) => cells(node).map(width);
  const found = [[widths(body.node), widths(whole.node)]];
  for (const { node } of [body, whole]) node.style.width = "260px";
  for (let k = 0; k < 4; k++) await new Promise(requestAnimationFrame);
  found.push([widths(body.node), widths(whole.node)]);
  found.push(body.node.querySelectorAll("[data-long]").length);
  body.node.remove();
  whole.node.remove();
  return found;
}"""

COPIED = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const [growth, body] = [new Growth(), new Body()];
  document.querySelector("#channel .column").append(body.node);
  body.show(growth.begin(first).blocks, true);
  for (const [change] of steps) body.show(growth.follow(change).blocks, true);
  const isInParts = body.node.querySelector("[data-long], p > .part") !== null;
  getSelection().selectAllChildren(body.node);
  const clipboardData = new DataTransfer();
  document.dispatchEvent(new ClipboardEvent("copy", { clipboardData, bubbles: true }));
  body.show(steps.at(-1)[1], false);
  getSelection().selectAllChildren(body.node);
  const whole = String(getSelection());
  body.node.remove();
  return [isInParts, clipboardData.getData("text/plain").trim(), whole.trim()];
}"""

HELD = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const [{ Growth }, { Feed }, { MessageView }] = await Promise.all(
    ["growth.js", "feed.js", "message.js"].map((name) => import(address(name))));
  const [scroller, list, pill] = ["div", "div", "button"].map((tag) => document.createElement(tag));
  scroller.append(list);
  document.body.append(scroller);
  const place = { position: "fixed", inset: "0 auto auto 0", width: "390px", height: "600px" };
  Object.assign(scroller.style, { ...place, overflowY: "auto" });
  const create = (item) => new MessageView(item);
  const feed = new Feed({ scroller, list, pill, create, onPastEnd() {} });
  const growth = new Growth();
  const item = { id: "turn-1", role: "assistant", created_at: "2026-12-01T00:00:00Z" };
  const show = (reply, state) => {
    feed.show([{ ...item, ...reply, state }]);
    feed.draw();
  };
  show(growth.begin(first), "writing");
  for (const [change] of steps) show(growth.follow(change), "writing");
  const frame = () => new Promise(requestAnimationFrame);
  const frames = async () => { for (let k = 0; k < 4; k++) await frame(); };
  await frames();
  const row = list.querySelector("table").rows[150];
  row.scrollIntoView({ block: "center" });
  await frames();
  const top = () => Math.round(row.getBoundingClientRect().top);
  const found = [list.querySelectorAll("[data-long]").length, top()];
  show({ html: steps.at(-1)[1] }, "done");
  await frames();
  found.push(list.querySelectorAll("[data-long]").length, top());
  scroller.remove();
  return found;
}"""

PARSED = """async ([first, steps]) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Growth } = await import(address("growth.js"));
  const { Body } = await import(address("patch.js"));
  const [growth, body] = [new Growth(), new Body()];
  document.querySelector("#channel .column").append(body.node);
  body.show(growth.begin(first).blocks, true);
  const parse = DOMParser.prototype.parseFromString;
  let count = 0;
  DOMParser.prototype.parseFromString = function (...given) {
    count++;
    return parse.apply(this, given);
  };
  for (const [change] of steps) body.show(growth.follow(change).blocks, true);
  DOMParser.prototype.parseFromString = parse;
  body.node.remove();
  return count;
}"""

RIGHT_TO_LEFT = """async (html) => {
  const address = (name) => new URL(name, document.querySelector("script[type=module]").src).href;
  const { Body } = await import(address("patch.js"));
  const body = new Body();
  document.querySelector("#channel .column").append(body.node);
  body.show(html, false);
  const find = (selector) => body.node.querySelector(selector);
  const right = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return Math.round(range.getBoundingClientRect().right);
  };
  const [first, last] = [find("th:first-child"), find("th:last-child")].map(right);
  const quote = getComputedStyle(find("blockquote"));
  const found = {
    items: [...body.node.querySelectorAll("li")].map((item) => right(find("p")) - right(item)),
    border: [quote.borderLeftWidth, quote.borderRightWidth],
    columns: first > last,
    centered: getComputedStyle(find("td.align-center")).textAlign,
    cells: [...body.node.querySelectorAll("td")].map((cell) => getComputedStyle(cell).unicodeBidi),
  };
  body.node.remove();
  return found;
}"""


def recorded(text: str, steps: list[int], begin: int = 1) -> tuple[Any, list[Any]]:
    """A reply's first event and its changes, each with the HTML of the whole text."""
    growing, at = GrowingHtml(), min(begin, len(text))
    views = [ReplyView(0, text[:at], growing.blocks(text[:at]), "writing", False)]
    while at < len(text):
        at = min(len(text), at + steps[len(views) % len(steps)])
        blocks = growing.blocks(text[:at])
        views.append(ReplyView(len(views), text[:at], blocks, "writing", False))
    first = {"id": "turn-1", "version": 0, "text": views[0].text, "blocks": views[0].blocks}
    return first, [(changes("turn-1", one, other), other.html) for one, other in pairwise(views)]


def documents() -> Iterator[tuple[str, list[int]]]:
    for seed in range(24):
        yield document(seed), [[1], [3, 1, 8], [13, 40]][seed % 3]


async def test_after_each_change_the_page_shows_what_a_reload_would(
    visit: Visit, house: House
) -> None:
    """Tries every kind of block, cut at any character, with and without the cursor."""
    tab = await (await visit(house)).tab()
    for text, steps in documents():
        assert await tab.page.evaluate(FOLLOW, recorded(text, steps)) == [], text


async def test_existing_nodes_stay_while_a_block_grows(visit: Visit, house: House) -> None:
    """Existing nodes stay the same, so that a selection survives; only new ones are added."""
    tab = await (await visit(house)).tab()
    for kind in ("paragraph", "table", "code"):
        text = PLAIN[kind]
        first, steps = recorded(text, [7], begin=60)
        selected, connected, touched, length = await tab.page.evaluate(PLACES, [first, steps])
        assert connected, kind
        assert len(selected) == 4, kind
        assert length > 0.6 * len(text), kind
        assert touched <= 2 * text.count("|") + 2 * text.count("`") + 5, kind


async def test_growing_code_is_not_parsed_again(visit: Visit, house: House) -> None:
    """Its lines are appended as text. Otherwise the tab would need three times the CPU time."""
    tab = await (await visit(house)).tab()
    text = "```python\n" + "value = other(value)  # a comment\n\n" * 30
    assert await tab.page.evaluate(PARSED, recorded(text, [7], begin=60)) == 0


async def test_a_long_block_grows_in_parts_and_is_whole_at_its_end(
    visit: Visit, house: House
) -> None:
    """Only the last part grows, every line stays where it was, and the selection survives."""
    tab = await (await visit(house)).tab()
    for kind, text in LONG.items():
        found = await tab.page.evaluate(PARTS, recorded(text, [31], begin=60))
        assert found["text"] and found["same"], (kind, found)
        assert found["parts"] >= 4, (kind, found)
        assert found["most"] < 5_000 < len(text), (kind, found)
        assert abs(found["higher"]) < 0.01 * found["high"], (kind, found)
        assert len(found["selected"]) == 4, (kind, found)


async def test_columns_of_a_long_table_follow_the_width_of_the_window(
    visit: Visit, house: House
) -> None:
    """The columns that a growing table keeps are those that it has as a whole."""
    tab = await (await visit(house)).tab()
    row = "|some words that may break|`more` words|12|\n"
    text = "|left|right|n|\n|-|-|-:|\n" + row * 230
    before, after, kept = await tab.page.evaluate(RESIZED, recorded(text, [97], begin=60))
    assert before[0] == pytest.approx(before[1], abs=15)  # the cursor takes room in a cell
    assert after[0] == pytest.approx(after[1], abs=15)
    assert after[0] != before[0]
    assert kept == 1


async def test_what_is_copied_of_a_growing_block_looks_as_at_its_end(
    visit: Visit, house: House
) -> None:
    """Cells are apart by tabs, as spreadsheets expect, and no line ends where the window's did."""
    tab = await (await visit(house)).tab()
    for kind, text in LONG.items():
        is_in_parts, copied, whole = await tab.page.evaluate(COPIED, recorded(text, [97], begin=60))
        assert is_in_parts, kind
        assert copied == whole, kind


async def test_a_reader_keeps_the_place_in_a_table_that_ends(visit: Visit, house: House) -> None:
    """The columns change at the end, and with them the height of all rows above the reader."""
    tab = await (await visit(house)).tab()
    short, long = "|word|x|other|\n", f"|{'word ' * 15}|{'x' * 25}|{'other ' * 35}|\n"
    text = "|a|b|c|\n|-|-|-|\n" + short * 120 + long * 120
    kept, before, after_end, after = await tab.page.evaluate(HELD, recorded(text, [331], begin=60))
    assert (kept, after_end) == (1, 0)
    assert after == pytest.approx(before, abs=2)


async def test_lists_quotations_and_tables_follow_the_direction_of_their_text(
    visit: Visit, house: House
) -> None:
    """Right-to-left: markers are inside the column, the first column and the bar on the right."""
    tab = await (await visit(house)).tab()
    text = (
        "نص قصير\n\n- عنصر\n- *عنصر*\n  1. فرعي\n\n> اقتباس\n\n"
        "|الاسم|n|المدينة|\n|---|:-:|:--|\n|أحمد|25|Paris!|\n"
    )
    found = await tab.page.evaluate(RIGHT_TO_LEFT, GrowingHtml().html(text))
    assert all(indent >= 15 for indent in found["items"]), found
    assert found["border"] == ["0px", "3px"]
    assert found["columns"] and found["centered"] == "center"
    assert found["cells"] == ["plaintext"] * 3
